//! Changes single top-level fields of a request. Everything else goes out
//! byte for byte, and large bodies are not copied.

use std::ops::Range;

use bytes::Bytes;
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

/// A body as the parts it consists of, most of which stand in the request.
#[derive(Debug)]
pub struct Pieces<'a> {
    body: &'a Bytes,
    /// The name of the model, as JSON.
    model: String,
    parts: SmallVec<[Part; 4]>,
}

impl Pieces<'_> {
    /// The length of the body in bytes.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| self.bytes(part).len()).sum()
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one copy is cheaper than several writes.
    pub fn is_small(&self) -> bool {
        self.len() <= Self::FLAT
    }

    /// Appends the body to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.parts.iter().for_each(|part| out.extend_from_slice(self.bytes(part)));
    }

    /// The body as parts, none of them empty; nothing of a large request is copied.
    pub fn share(&self) -> SmallVec<[Bytes; 4]> {
        if self.is_small() {
            let mut flat = Vec::with_capacity(self.len());
            self.write_to(&mut flat);
            return smallvec::smallvec![flat.into()];
        }
        let share = |part: &Part| match part {
            Part::Body(range) => self.body.slice(range.clone()),
            Part::Model | Part::Text(_) => Bytes::copy_from_slice(self.bytes(part)),
        };
        self.parts.iter().map(share).filter(|part| !part.is_empty()).collect()
    }

    fn bytes<'p>(&'p self, part: &'p Part) -> &'p [u8] {
        match part {
            Part::Body(range) => self.body.get(range.clone()).unwrap_or_default(),
            Part::Model => self.model.as_bytes(),
            Part::Text(text) => text.as_bytes(),
        }
    }

    const FLAT: usize = 64 * 1024;
}

/// The request for one model: `model` is its id, `routor_*` fields are left
/// out, and `edit` decides for each other field by its name.
pub fn splice<'a, 'e>(ask: &'a Ask, model: &str, edit: impl Fn(&str) -> Edit<'e>) -> Pieces<'a> {
    let mut out = Writer { ask, parts: SmallVec::new(), at: 0 };
    let mut named = false;
    for (at, member) in ask.members.iter().enumerate() {
        let name = member.name(&ask.body);
        if name == "model" {
            named = true;
            out.replace(member.value.clone(), Part::Model);
            continue;
        }
        let change = if name.starts_with("routor_") { Edit::Drop } else { edit(name) };
        match change {
            Edit::Keep => {}
            Edit::Rename(name) => out.replace(member.key.clone(), Part::Text(format!("\"{name}\""))),
            Edit::Drop => out.drop_member(at),
        }
    }
    out.copy_to(ask.body.len());
    if !named {
        out.insert_model();
    }
    Pieces { body: &ask.body, model: serde_json::to_string(model).unwrap_or_default(), parts: out.parts }
}

/// A part of what goes out.
#[derive(Debug)]
enum Part {
    /// Bytes of the request.
    Body(Range<usize>),
    /// The model's name.
    Model,
    /// Other text.
    Text(String),
}

/// Goes over the body in order, with replacements.
struct Writer<'a> {
    ask: &'a Ask,
    parts: SmallVec<[Part; 4]>,
    /// The first byte of the body that is not in a part yet.
    at: usize,
}

impl Writer<'_> {
    fn copy_to(&mut self, end: usize) {
        if end > self.at {
            self.parts.push(Part::Body(self.at..end));
            self.at = end;
        }
    }

    fn replace(&mut self, place: Range<usize>, part: Part) {
        self.copy_to(place.start);
        self.parts.push(part);
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

    /// Puts the model in front of the first field, which the first part goes up to or beyond.
    fn insert_model(&mut self) {
        let open = memchr::memchr(b'{', &self.ask.body).map_or(0, |at| at + 1);
        if let Some(Part::Body(range)) = self.parts.first_mut() {
            range.start = open;
        }
        let field = [Part::Body(0..open), Part::Text("\"model\":".to_owned()), Part::Model, Part::Text(",".to_owned())];
        self.parts.insert_many(0, field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn changed(text: &str, edit: impl Fn(&str) -> Edit<'static>) -> String {
        let ask = parse(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        let bytes: Vec<u8> = splice(&ask, "m\"1", edit).share().into_iter().flatten().collect();
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
        let parts: Vec<Bytes> = splice(&ask, "z", |_| Edit::Keep).share().into_vec();
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
            }).share().into_iter().flatten().collect();
            let got: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_else(|problem| panic!("{problem}: {text} -> {}", String::from_utf8_lossy(&bytes)));
            proptest::prop_assert_eq!(got, serde_json::Value::Object(wanted));
        }
    }
}
