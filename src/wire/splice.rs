//! Changes single top-level fields of a request. Everything else goes out
//! byte for byte, and large bodies are not copied.

use bytes::{BufMut, Bytes, BytesMut};

use super::ask::Ask;

/// What to do with one top-level field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Leave it as it is.
    Keep,
    /// Leave it out.
    Drop,
    /// Send it under another name.
    Rename(&'a str),
}

/// A body as the parts it consists of; cloning copies no bytes.
#[derive(Debug, Clone, Default)]
pub struct Pieces(smallvec::SmallVec<[Bytes; 4]>);

impl Pieces {
    /// A body in one part.
    pub fn whole(bytes: Bytes) -> Self {
        Self(smallvec::smallvec![bytes])
    }

    /// The length of the body in bytes.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in order.
    pub fn into_parts(self) -> impl Iterator<Item = Bytes> {
        self.0.into_iter()
    }

    fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.0.push(piece);
        }
    }

    /// Up to this size one copy is cheaper than several writes.
    const FLAT: usize = 64 * 1024;

    fn flatten_if_small(self) -> Self {
        let len = self.len();
        if len > Self::FLAT || self.0.len() < 2 {
            return self;
        }
        let mut flat = BytesMut::with_capacity(len);
        self.0.iter().for_each(|piece| flat.put_slice(piece));
        Self::whole(flat.freeze())
    }
}

/// The request for one model: `model` is its id, `routor_*` fields are left
/// out, and `edit` decides for each other field by its name.
pub fn splice<'e>(ask: &Ask, model: &str, edit: impl Fn(&str) -> Edit<'e>) -> Pieces {
    let model = serde_json::to_string(model).unwrap_or_default();
    let mut out = Writer::new(ask);
    let mut named = false;
    for (at, member) in ask.members.iter().enumerate() {
        let name = member.name(&ask.body);
        if name == "model" {
            named = true;
            out.replace(member.value.clone(), &model);
            continue;
        }
        let change = if name.starts_with("routor_") { Edit::Drop } else { edit(name) };
        match change {
            Edit::Keep => {}
            Edit::Rename(name) => out.replace(member.key.clone(), &format!("\"{name}\"")),
            Edit::Drop => out.drop_member(at),
        }
    }
    let mut pieces = out.finish();
    if !named {
        pieces = insert_first(ask, pieces, &format!("\"model\":{model},"));
    }
    pieces.flatten_if_small()
}

/// Copies the body in order, with replacements.
struct Writer<'a> {
    ask: &'a Ask,
    pieces: Pieces,
    /// The first byte that is not written yet.
    at: usize,
}

impl<'a> Writer<'a> {
    fn new(ask: &'a Ask) -> Self {
        Self { ask, pieces: Pieces::default(), at: 0 }
    }

    fn copy_to(&mut self, end: usize) {
        if end > self.at {
            self.pieces.push(self.ask.body.slice(self.at..end));
            self.at = end;
        }
    }

    fn replace(&mut self, place: std::ops::Range<usize>, text: &str) {
        self.copy_to(place.start);
        self.pieces.push(Bytes::copy_from_slice(text.as_bytes()));
        self.at = place.end;
    }

    /// Leaves a field out with the comma that belongs to it: the one behind
    /// it, or for the last field the one before.
    fn drop_member(&mut self, index: usize) {
        let members = &self.ask.members;
        let Some(member) = members.get(index) else { return };
        if let Some(next) = members.get(index + 1) {
            self.copy_to(member.key.start);
            self.at = next.key.start;
            return;
        }
        if self.at <= member.key.start {
            // Copy up to the end of the last field that was kept, if there is one.
            let before = index.checked_sub(1).and_then(|before| members.get(before));
            match before {
                Some(before) if before.value.end >= self.at => self.copy_to(before.value.end),
                _ => self.cut_back_comma(),
            }
        }
        self.at = self.at.max(member.value.end);
    }

    /// The field before the last was left out too: the text written so far
    /// ends with the comma in front of it.
    fn cut_back_comma(&mut self) {
        while let Some(last) = self.pieces.0.pop() {
            let kept = last.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
            match last.get(kept.saturating_sub(1)) {
                Some(b',') => return self.pieces.push(last.slice(..kept - 1)),
                Some(_) if kept > 0 => return self.pieces.push(last.slice(..kept)),
                _ => {}
            }
        }
    }

    fn finish(mut self) -> Pieces {
        self.copy_to(self.ask.body.len());
        self.pieces
    }
}

/// Puts a field in front of the first one.
fn insert_first(ask: &Ask, pieces: Pieces, text: &str) -> Pieces {
    let open = memchr::memchr(b'{', &ask.body).map_or(0, |at| at + 1);
    let mut out = Pieces::default();
    let mut left = Some(open);
    for piece in pieces.into_parts() {
        match left {
            Some(skip) if piece.len() >= skip => {
                out.push(piece.slice(..skip));
                out.push(Bytes::copy_from_slice(text.as_bytes()));
                out.push(piece.slice(skip..));
                left = None;
            }
            Some(skip) => {
                left = Some(skip - piece.len());
                out.push(piece);
            }
            None => out.push(piece),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn changed(text: &str, edit: impl Fn(&str) -> Edit<'static>) -> String {
        let ask = parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let bytes: Vec<u8> = splice(&ask, "m\"1", edit).into_parts().flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_the_model_changes() {
        let text = "{ \"a\":1e-7 ,\"model\" : \"auto\",\n\"messages\":[ {\"x\":12345678901234567890} ] }\n";
        assert_eq!(changed(text, |_| Edit::Keep), text.replace("\"auto\"", "\"m\\\"1\""));
    }

    #[test]
    fn a_missing_model_is_put_in_front() {
        assert_eq!(changed(" {\"messages\":[1]}", |_| Edit::Keep), " {\"model\":\"m\\\"1\",\"messages\":[1]}");
        assert_eq!(changed("{\"routor_tier\":\"LIGHT\",\"messages\":[1]}", |_| Edit::Keep), "{\"model\":\"m\\\"1\",\"messages\":[1]}");
    }

    #[test]
    fn fields_are_left_out_with_their_comma() {
        let drop = |name: &str| if name.starts_with('d') { Edit::Drop } else { Edit::Keep };
        for (text, wanted) in [
            (r#"{"d":1,"model":"x","messages":[1]}"#, r#"{"model":"m\"1","messages":[1]}"#),
            (r#"{"model":"x","d":1,"messages":[1]}"#, r#"{"model":"m\"1","messages":[1]}"#),
            (r#"{"model":"x","messages":[1],"d":1}"#, r#"{"model":"m\"1","messages":[1]}"#),
            (r#"{"model":"x","messages":[1] , "d1":1 , "d2":{"a":[2]} }"#, r#"{"model":"m\"1","messages":[1]  }"#),
            (
                r#"{"d1":1,"d2":2,"model":"x","d3":3,"d4":4,"messages":[1],"d5":5,"routor_tier":"LIGHT","d6":6}"#,
                r#"{"model":"m\"1","messages":[1]}"#,
            ),
        ] {
            assert_eq!(changed(text, drop), wanted, "{text}");
        }
    }

    #[test]
    fn fields_are_renamed() {
        let rename = |name: &str| if name == "max_tokens" { Edit::Rename("max_completion_tokens") } else { Edit::Keep };
        assert_eq!(
            changed(r#"{"model":"x","max_tokens":5,"messages":[1]}"#, rename),
            r#"{"model":"m\"1","max_completion_tokens":5,"messages":[1]}"#
        );
    }

    #[test]
    fn a_large_body_is_not_copied() {
        let text = format!("{{\"model\":\"x\",\"messages\":[\"{}\"]}}", "y".repeat(Pieces::FLAT));
        let ask = parse(Bytes::from(text)).unwrap();
        let parts: Vec<Bytes> = splice(&ask, "z", |_| Edit::Keep).into_parts().collect();
        let body = ask.body.as_ptr() as usize..ask.body.as_ptr() as usize + ask.body.len();
        assert!(parts.iter().filter(|part| part.len() > 10).all(|part| body.contains(&(part.as_ptr() as usize))));
    }

    proptest::proptest! {
        /// Any mix of kept, dropped and renamed fields gives the JSON one would expect.
        #[test]
        fn the_result_is_the_edited_object(fields in proptest::collection::vec(("[dkr][a-z]{0,3}", 0..100u32, " {0,2}"), 0..12)) {
            let mut wanted = serde_json::Map::new();
            let mut text = String::from("{");
            let mut seen = std::collections::HashSet::new();
            for (name, value, space) in &fields {
                if name == "model" || !seen.insert(name.clone()) { continue; }
                text.push_str(&format!("{space}\"{name}\"{space}:{space}{value}{space},"));
                if name.starts_with('k') { wanted.insert(name.clone(), (*value).into()); }
                if name.starts_with('r') { wanted.insert("R".to_owned() + name, (*value).into()); }
            }
            let at = text.len() / 2;
            let comma = text[..at].rfind(',').map_or(1, |at| at + 1);
            text.insert_str(comma, "\"messages\":[1],");
            text.pop();
            text.push('}');
            wanted.insert("messages".into(), serde_json::json!([1]));
            wanted.insert("model".into(), "m".into());
            let ask = parse(Bytes::from(text.clone())).unwrap();
            let names: Vec<String> = fields.iter().map(|(name, _, _)| format!("R{name}")).collect();
            let bytes: Vec<u8> = splice(&ask, "m", |name| match name.as_bytes().first() {
                Some(b'd') => Edit::Drop,
                Some(b'r') => names.iter().find(|known| known[1..] == *name).map_or(Edit::Keep, |known| Edit::Rename(known)),
                _ => Edit::Keep,
            }).into_parts().flatten().collect();
            let got: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_else(|problem| panic!("{problem}: {text} -> {}", String::from_utf8_lossy(&bytes)));
            proptest::prop_assert_eq!(got, serde_json::Value::Object(wanted));
        }
    }
}
