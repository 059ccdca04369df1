//! The top-level fields of a request: what they are called and where they stand.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::ask::Fault;
use super::skim::Skim;

/// One top-level field: where it stands in the body.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// The name, where it is not what stands in the body.
    decoded: Option<Box<str>>,
    /// The bytes of the name with its quotes.
    pub key: Range<usize>,
    /// The bytes of the value.
    pub value: Range<usize>,
}

impl Member {
    /// The name, escapes resolved; `body` is that of its request.
    pub fn name<'a>(&'a self, body: &'a [u8]) -> &'a str {
        std::str::from_utf8(self.bytes(body)).unwrap_or_default()
    }

    /// The same as bytes, for which nobody looks whether they are UTF-8 (they are).
    pub fn bytes<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        match &self.decoded {
            Some(name) => name.as_bytes(),
            None => body.get(self.key.start + 1..self.key.end.saturating_sub(1)).unwrap_or_default(),
        }
    }
}

/// The fields of a request in order.
pub(super) type Members = SmallVec<[Member; 12]>;

/// More fields than this are not a chat request.
const MOST: usize = 256;

/// What kinds of parts messages have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub images: bool,
    pub audio: bool,
    pub files: bool,
}

impl Parts {
    /// Notes a string of a message, as it stands.
    fn note(&mut self, text: &[u8]) {
        match text {
            b"image_url" => self.images = true,
            b"input_audio" => self.audio = true,
            b"file_data" | b"file_id" => self.files = true,
            _ => {}
        }
    }

    /// Those of `messages`, which is JSON: no name is without its quotes, and none begins with an escaped one.
    fn of(messages: &[u8]) -> Self {
        let mut parts = Self::default();
        for quote in memchr::memchr_iter(b'"', messages) {
            let rest = messages.get(quote + 1..).unwrap_or_default();
            let is_escaped = quote.checked_sub(1).and_then(|before| messages.get(before)) == Some(&b'\\');
            if let (false, Some(b'i' | b'f')) = (is_escaped, rest.first())
                && let Some(end) = memchr::memchr(b'"', rest.get(..LONGEST_PART).unwrap_or(rest))
            {
                parts.note(rest.get(..end).unwrap_or_default());
            }
        }
        parts
    }
}

/// More than the longest name of a part has, with the quote behind it.
const LONGEST_PART: usize = 16;

/// Puts the fields of a JSON object into `members`, none twice that matters, and
/// says what parts its messages have. The error is the caller's mistake.
pub(super) fn read_members(body: &[u8], members: &mut Members) -> Result<Parts, Fault> {
    if let Some(parts) = skim(body, members) {
        return Ok(parts);
    }
    members.clear();
    read(body, members)?;
    let messages = members.iter().find(|member| member.bytes(body) == b"messages");
    Ok(messages.and_then(|member| body.get(member.value.clone())).map(Parts::of).unwrap_or_default())
}

/// Does so for an object in a plain form in which nothing is wrong.
fn skim(body: &[u8], members: &mut Members) -> Option<Parts> {
    let mut parts = Parts::default();
    Skim::whole(body, |skim| {
        skim.object(|skim, name| {
            let key = name.start.checked_sub(1)?..name.end + 1;
            let value = match body.get(name)? {
                b"messages" => skim.value_with(|text| parts.note(text))?,
                _ => skim.value()?,
            };
            let member = Member { decoded: None, key, value };
            let name = member.bytes(body);
            let is_fault = members.len() == MOST || is_read(name) && members.iter().any(|other| other.bytes(body) == name);
            members.push(member);
            (!is_fault).then_some(())
        })
    })?;
    Some(parts)
}

/// Does so for any object, or says what is wrong with it.
fn read(body: &[u8], members: &mut Members) -> Result<(), Fault> {
    let fields = serde_json::from_slice::<Careful<'_>>(body).map_err(|problem| {
        let text = problem.to_string();
        let message = match text.strip_prefix("routor: ") {
            Some(own) => own.split(" at line ").next().unwrap_or(own).to_owned(),
            None => format!("the request body is not a JSON object: {text}"),
        };
        Fault { message, param: None }
    })?;
    let mut behind = 0;
    for (name, value) in fields.0 {
        let value = within(body, value.get());
        let key = between(body, behind, value.start);
        behind = value.end;
        let decoded = match name.0 {
            Cow::Borrowed(_) => None,
            Cow::Owned(name) => Some(name.into()),
        };
        members.push(Member { decoded, key, value });
    }
    Ok(())
}

/// The part of `body` that `text`, a slice of it, stands at.
fn within(body: &[u8], text: &str) -> Range<usize> {
    let start = (text.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + text.len()
}

/// Where the name of a field stands, with its quotes: between the field before
/// it and its own value there is nothing else but punctuation.
fn between(body: &[u8], before: usize, value: usize) -> Range<usize> {
    let space = body.get(before..value).unwrap_or_default();
    let start = memchr::memchr(b'"', space).unwrap_or(0);
    let end = memchr::memrchr(b'"', space).map_or(start, |quote| quote + 1);
    before + start..before + end
}

fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// A field's name, a part of the body unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether routor acts on a field: then its being there twice is a mistake,
/// since the provider might take the other one.
fn is_read(name: &[u8]) -> bool {
    matches!(name, b"model" | b"messages" | b"stream") || name.starts_with(b"routor_")
}

/// The fields as the library reads them.
struct Careful<'a>(SmallVec<[(Name<'a>, &'a RawValue); 12]>);

impl<'de> Deserialize<'de> for Careful<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Careful<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with \"messages\"")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members: SmallVec<[(Name<'de>, &'de RawValue); 12]> = SmallVec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    if is_read(name.0.as_bytes()) && members.iter().any(|(other, _)| other.0 == name.0) {
                        return Err(A::Error::custom(format!("routor: the field \"{}\" is there twice", shorten(&name.0))));
                    }
                    if members.len() == MOST {
                        return Err(A::Error::custom("routor: the request has more than 256 fields"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Careful(members))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fault, Members, Parts, read, read_members, skim};

    type Places = Vec<(String, std::ops::Range<usize>, std::ops::Range<usize>)>;

    fn places(body: &[u8], members: Members) -> Places {
        members.into_iter().map(|member| (member.name(body).to_owned(), member.key, member.value)).collect()
    }

    fn with<T>(body: &[u8], reader: impl FnOnce(&[u8], &mut Members) -> T) -> (T, Places) {
        let mut members = Members::new();
        let done = reader(body, &mut members);
        (done, places(body, members))
    }

    fn skimmed(body: &[u8]) -> Option<Places> {
        let (parts, places) = with(body, skim);
        parts.map(|_| places)
    }

    fn careful(body: &[u8]) -> Result<Places, Fault> {
        let (done, places) = with(body, read);
        done.map(|()| places)
    }

    #[test]
    fn a_plain_request_is_skimmed_and_any_other_is_read_with_care() {
        for (body, is_plain) in [
            (&br#" {"model" : "auto","messages":[{"role":"user","content":"a \"b\" \u00e4"}], "x":{} } "#[..], true),
            ("{\"messages\":[\"ünïcödé in a string that is longer than one block of bytes, which are sixty-four\"]}".as_bytes(), true),
            (br#"{"mod\u0065l":"auto","messages":[1]}"#, false),
            (br#"{"x":1,"x":2}"#, true),
        ] {
            assert_eq!(skimmed(body).is_some(), is_plain, "{}", String::from_utf8_lossy(body));
            assert_eq!(Ok(with(body, read_members).1), careful(body));
        }
        for body in [&br#"{"model":1,"model":2}"#[..], br#"{"routor_x":1,"routor_x":2}"#, b"[]", b"{\"a\":\"\xff\"}"] {
            assert!(skimmed(body).is_none() && with(body, read_members).0.is_err(), "{}", String::from_utf8_lossy(body));
        }
        let many = |count: usize| format!("{{{}}}", (0..count).map(|at| format!("\"f{at}\":{at}")).collect::<Vec<_>>().join(","));
        assert!(skimmed(many(256).as_bytes()).is_some() && with(many(257).as_bytes(), read_members).0.is_err());
    }

    #[test]
    fn what_kinds_of_parts_there_are_is_seen_in_both_ways() {
        let (images, audio, files) = (
            Parts { images: true, ..Parts::default() },
            Parts { audio: true, ..Parts::default() },
            Parts { files: true, ..Parts::default() },
        );
        for (messages, parts) in [
            (r#"[{"content":[{"type":"image_url"}]}]"#, images),
            (r#"[{"content":[{"image_url":{"url":"data:"}}]}]"#, images),
            (r#"[{"content":[{"type":"text","text":"input_audio"},{"type":"x"}]}]"#, audio),
            (r#"[{"content":[{"file":{"file_id":"f"}}]}]"#, files),
            (r#"[{"content":[{"file":{"file_data":""}}]}]"#, files),
            (r#"[{"content":[{"file":{}}]}]"#, Parts::default()),
            (r#"[{"content":"an \"image_url\" in a text, image_url"}]"#, Parts::default()),
            (r#"[{"image_urls":1,"file_ids":2,"fil":"","":"i"}]"#, Parts::default()),
        ] {
            // An escape in a name is not plain.
            let (plain, other) =
                (format!(r#"{{"messages":{messages},"x":"file_id"}}"#), format!(r#"{{"\u0078":"file_id","messages":{messages}}}"#));
            assert_eq!((with(plain.as_bytes(), skim).0, with(other.as_bytes(), skim).0), (Some(parts), None), "{messages}");
            assert_eq!(with(other.as_bytes(), read_members).0, Ok(parts), "{messages}");
        }
    }

    proptest! {
        #[test]
        fn skimming_says_what_reading_says(body in "[{]( ?\"(model|stream|messages|x|x)\" ?: ?(1|\"a\"|\\[1, ?2\\]|[{]\"y\": ?null[}]),){0,4}\"z\":0[}] ?") {
            let body = body.as_bytes();
            if let Some(skimmed) = skimmed(body) {
                prop_assert_eq!(Ok(skimmed), careful(body));
            } else {
                prop_assert!(careful(body).is_err());
            }
        }

        #[test]
        fn parts_are_the_same_in_both_ways(words in proptest::collection::vec("(image_url|file_id|i|f|\\\\\"|\\\\\\\\|a)", 0..6)) {
            let messages = format!("[\"{}\",{{\"{}\":0}}]", words.concat(), words.iter().rev().map(String::as_str).collect::<String>());
            let body = format!("{{\"messages\":{messages}}}");
            prop_assert_eq!(with(body.as_bytes(), skim).0, Some(Parts::of(messages.as_bytes())));
        }
    }
}
