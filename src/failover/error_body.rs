//! The words of an error body, whatever its shape: nested, flat, an array,
//! plain text. Codes and prose are kept apart, both in lower case.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What an error body says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ErrorText {
    /// Codes, types and reasons, each followed by a space.
    pub codes: String,
    /// Messages and other prose.
    pub prose: String,
    /// A status inside the body (`"code": 502`).
    pub status: Option<u16>,
    /// It was called a code, which is nearer to the cause than a status.
    by_code: bool,
    /// The body is an HTML page.
    pub html: bool,
    /// The body has nothing in it.
    pub empty: bool,
}

/// More codes, or more prose, than this is not needed to know an error.
const ENOUGH: usize = 16 * 1024;
/// Where servers repeat what they were sent: the caller's words, not theirs.
const ECHOES: [&str; 7] = ["input", "body", "request", "messages", "content", "prompt", "ctx"];
/// Deeper than this, nobody hides a code.
const DEEPEST: usize = 8;

impl ErrorText {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Self {
        let mut text = Self::default();
        let trimmed = body.trim_ascii();
        if trimmed.is_empty() {
            text.empty = true;
            return text;
        }
        let mut json = serde_json::Deserializer::from_slice(trimmed);
        let walk = Walk { text: &mut text, key: "", depth: 0 };
        if walk.deserialize(&mut json).and_then(|()| json.end()).is_err() {
            text = Self::default();
            text.plain(trimmed);
        }
        text
    }

    fn plain(&mut self, body: &[u8]) {
        let head = body.get(..ENOUGH.min(body.len())).unwrap_or(body);
        let words = String::from_utf8_lossy(head).to_lowercase();
        self.html = words.starts_with("<!doctype") || words.starts_with("<html") || words.contains("</html>");
        self.prose = words;
    }

    fn words(&mut self, key: &str, words: &str) {
        // A code has no spaces; what has is prose, wherever it stands.
        let into = if words.contains(' ') { &mut self.prose } else { &mut self.codes };
        let start = into.len();
        let room = ENOUGH.saturating_sub(start);
        if room > 0 {
            match words.get(..room.min(words.len())).filter(|words| words.is_ascii()) {
                Some(head) => into.push_str(head),
                None => into.extend(words.chars().take(room).flat_map(char::to_lowercase)),
            }
            into.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
            into.push(' ');
        }
        if matches!(key, "code" | "status") {
            self.number(key, words.parse().ok());
        }
    }

    fn number(&mut self, key: &str, number: Option<u64>) {
        let Some(number) = number.filter(|_| matches!(key, "code" | "status" | "status_code" | "error_code")) else { return };
        if self.codes.len() < ENOUGH {
            self.codes.push_str(&number.to_string());
            self.codes.push(' ');
        }
        let by_code = matches!(key, "code" | "error_code");
        if (400..600).contains(&number) && (self.status.is_none() || by_code && !self.by_code) {
            (self.status, self.by_code) = (u16::try_from(number).ok(), by_code);
        }
    }

    /// Whether the body holds all of the words, in its codes or its prose.
    pub fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.codes.contains(word) || self.prose.contains(word))
    }

    /// Whether one of the codes is exactly this.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes.split(' ').any(|own| own == code)
    }
}

/// Takes the words out of a value that stands under `key`, without making a tree of it.
struct Walk<'t> {
    text: &'t mut ErrorText,
    key: &'t str,
    depth: usize,
}

/// The name of a field, a part of the body unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth > DEEPEST {
            return IgnoredAny::deserialize(deserializer).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(key)) = map.next_key()? {
            if ECHOES.contains(&key.as_ref()) {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { text: self.text, key: &key, depth: self.depth + 1 })?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk { text: self.text, key: self.key, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, words: &str) -> Result<(), E> {
        self.text.words(self.key, words);
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.text.number(self.key, Some(number));
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_codes_in_every_shape() {
        for body in [
            r#"{"error":{"code":"c_1","message":"Some Words"}}"#,
            r#"[{"error":{"code":400,"message":"Some Words","details":[{"reason":"C_1"}]}}]"#,
            r#"{"code":"C_1","error":"Some Words"}"#,
            r#"{"object":"error","type":"c_1","message":"Some Words"}"#,
            r#"{"error":{"error":{"error":{"type":"c_1","detail":"Some Words"}}}}"#,
        ] {
            let text = ErrorText::read(body.as_bytes());
            assert!(text.has_code("c_1") && text.says(&["some words"]), "{body}: {text:?}");
        }
    }

    #[test]
    fn what_the_caller_said_is_not_the_providers_word() {
        let body = r#"{"detail":[{"type":"missing","msg":"Field required","input":{"content":"why insufficient balance?"},"ctx":"invalid api key"}]}"#;
        let text = ErrorText::read(body.as_bytes());
        assert!(text.says(&["field required"]) && !text.says(&["insufficient balance"]) && !text.says(&["invalid api key"]), "{text:?}");
    }

    #[test]
    fn a_code_behind_a_long_message_counts() {
        let long = format!(r#"{{"error":{{"message":"too Long {}","code":"C_1","status":503}}}}"#, "é".repeat(ENOUGH));
        let text = ErrorText::read(long.as_bytes());
        assert!(text.has_code("c_1") && text.says(&["too long"]) && text.status == Some(503));
        assert!(text.prose.len() <= 2 * ENOUGH);
        let many = format!(r#"[{}1]"#, r#""some words","a_code",{"code":7},"#.repeat(ENOUGH));
        let text = ErrorText::read(many.as_bytes());
        assert!(text.prose.len() < ENOUGH + 16 && text.codes.len() < ENOUGH + 32, "{} {}", text.prose.len(), text.codes.len());
    }

    #[test]
    fn knows_pages_texts_and_nothing() {
        assert!(ErrorText::read(b" <HTML><head>").html);
        assert!(ErrorText::read(b"\n").empty);
        assert_eq!(ErrorText::read(br#"{"error":{"code":502}}"#).status, Some(502));
        assert_eq!(ErrorText::read(br#"{"error":{"code":"429"}}"#).status, Some(429));
        for body in [
            r#"{"status":500,"error":{"code":429}}"#,
            r#"{"error":{"code":"429","status":503}}"#,
            r#"{"code":429,"error":{"code":503}}"#,
            r#"{"error":{"status":429}}"#,
        ] {
            assert_eq!(ErrorText::read(body.as_bytes()).status, Some(429), "{body}");
        }
        assert!(ErrorText::read(b"Upstream Busy").says(&["upstream busy"]));
    }

    proptest::proptest! {
        #[test]
        fn d064_no_body_makes_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = ErrorText::read(&bytes);
        }
    }
}
