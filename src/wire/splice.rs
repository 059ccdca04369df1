//! Changes single top-level fields of a request. Everything else goes out
//! byte for byte, and large bodies are not copied.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

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
pub struct Pieces(SmallVec<[Bytes; 4]>);

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

    /// Up to this size one copy is cheaper than several writes.
    const FLAT: usize = 64 * 1024;
}

/// The request for one model: `model` is its id, `routor_*` fields are left
/// out, and `edit` decides for each other field by its name.
pub fn splice<'e>(ask: &Ask, model: &str, edit: impl Fn(&str) -> Edit<'e>) -> Pieces {
    let model = serde_json::to_string(model).unwrap_or_default();
    let mut out = Writer { ask, parts: SmallVec::new(), at: 0 };
    let mut named = false;
    for (at, member) in ask.members.iter().enumerate() {
        let name = member.name(&ask.body);
        if name == "model" {
            named = true;
            out.replace(member.value.clone(), model.as_str());
            continue;
        }
        let change = if name.starts_with("routor_") { Edit::Drop } else { edit(name) };
        match change {
            Edit::Keep => {}
            Edit::Rename(name) => out.replace(member.key.clone(), format!("\"{name}\"")),
            Edit::Drop => out.drop_member(at),
        }
    }
    out.copy_to(ask.body.len());
    if !named {
        out.insert_first(format!("\"model\":{model},"));
    }
    out.pieces()
}

/// A part of what goes out: bytes of the request, or others.
enum Part<'a> {
    Body(Range<usize>),
    Text(Cow<'a, str>),
}

/// Goes over the body in order, with replacements.
struct Writer<'a> {
    ask: &'a Ask,
    parts: SmallVec<[Part<'a>; 6]>,
    /// The first byte of the body that is not in a part yet.
    at: usize,
}

impl<'a> Writer<'a> {
    fn copy_to(&mut self, end: usize) {
        if end > self.at {
            self.parts.push(Part::Body(self.at..end));
            self.at = end;
        }
    }

    fn replace(&mut self, place: Range<usize>, text: impl Into<Cow<'a, str>>) {
        self.copy_to(place.start);
        self.parts.push(Part::Text(text.into()));
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

    /// The field before the last was left out too: the text so far ends with
    /// the comma in front of it.
    fn cut_back_comma(&mut self) {
        while let Some(Part::Body(range)) = self.parts.last_mut() {
            let bytes = self.ask.body.get(range.clone()).unwrap_or_default();
            if let Some(last) = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
                range.end = range.start + last + usize::from(bytes.get(last) != Some(&b','));
                return;
            }
            self.parts.pop();
        }
    }

    /// Puts a field in front of the first one, which the first part goes up to or beyond.
    fn insert_first(&mut self, text: String) {
        let open = memchr::memchr(b'{', &self.ask.body).map_or(0, |at| at + 1);
        if let Some(Part::Body(range)) = self.parts.first_mut() {
            range.start = open;
        }
        self.parts.insert(0, Part::Text(text.into()));
        self.parts.insert(0, Part::Body(0..open));
    }

    fn pieces(self) -> Pieces {
        let body = &self.ask.body;
        let len: usize = self.parts.iter().map(|part| part.bytes(body).len()).sum();
        if len <= Pieces::FLAT {
            let mut flat = BytesMut::with_capacity(len);
            self.parts.iter().for_each(|part| flat.put_slice(part.bytes(body)));
            return Pieces::whole(flat.freeze());
        }
        let piece = |part: Part<'_>| match part {
            Part::Body(range) => body.slice(range),
            Part::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        };
        Pieces(self.parts.into_iter().map(piece).filter(|piece| !piece.is_empty()).collect())
    }
}

impl Part<'_> {
    /// What it stands for; `body` is that of its request.
    fn bytes<'b>(&'b self, body: &'b [u8]) -> &'b [u8] {
        match self {
            Part::Body(range) => body.get(range.clone()).unwrap_or_default(),
            Part::Text(text) => text.as_bytes(),
        }
    }
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
