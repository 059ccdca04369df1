//! Goes over JSON text from front to back and builds nothing. It knows the
//! plain forms that nearly all text has; at anything else it gives up
//! (`None`), and a JSON library says what there is. So what it accepts, the
//! library accepts, with the same meaning; that is tested.
//!
//! It is here because the library looks for the end of a string eight bytes at
//! a time, after a look at the whole for being UTF-8: a fifth of all time for a
//! large request (`bench/NOTES.md`).

use std::ops::Range;

/// The most levels inside a value: one bit for each says whether it is an object.
const LEVELS: u32 = 64;
/// So many times eight bytes of a string are looked at before blocks are.
const SHORT: usize = 3;
/// Bytes looked at together.
const BLOCK: usize = 64;

/// Where in a text the next value stands.
pub(super) struct Skim<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Skim<'a> {
    /// At the beginning of `text`.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Reads the whole text as one value.
    pub fn whole<T>(text: &'a [u8], value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut skim = Self::new(text);
        skim.space();
        let value = value(&mut skim)?;
        skim.space();
        (skim.at == text.len()).then_some(value)
    }

    /// Reads an object: `field` is given the place of each name between its
    /// quotes and has to read the value behind it. Names with escapes are given up.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, Range<usize>) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        self.space();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.plain_string()?;
            self.colon()?;
            field(self, name)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
            self.space();
        }
    }

    /// Reads a list; `item` has to read each value in it.
    pub fn list(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        self.space();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            item(self)?;
            self.space();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
            self.space();
        }
    }

    /// Reads `null`, if it stands here.
    pub fn null(&mut self) -> Option<()> {
        self.word(b"null")
    }

    /// Reads a whole number. (`-0` is none: to the library it is a fraction.)
    pub fn integer(&mut self) -> Option<i64> {
        let place = self.number()?;
        let digits = self.text.get(place).filter(|digits| *digits != b"-0")?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Reads a string without escapes and gives the place of what is between its quotes.
    pub fn plain_string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let start = self.at;
        if self.plain_bytes()? != b'"' {
            return None;
        }
        self.at += 1;
        Some(start..self.at - 1)
    }

    /// Reads any value and gives its place.
    pub fn value(&mut self) -> Option<Range<usize>> {
        self.value_with(|_| ())
    }

    /// The same; `heed` is given every string in it, names too, as it stands between its quotes.
    pub fn value_with(&mut self, mut heed: impl FnMut(&'a [u8])) -> Option<Range<usize>> {
        let start = self.at;
        // The levels that are open, the innermost in the lowest bit: 1 for an object.
        let (mut depth, mut objects) = (0u32, 0u64);
        loop {
            let opened = match self.text.get(self.at)? {
                b'"' => self.string().map(|text| {
                    heed(text);
                    false
                }),
                b'{' | b'[' if depth == LEVELS => None,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    depth += 1;
                    objects = objects << 1 | u64::from(*open == b'{');
                    Some(true)
                }
                b'-' | b'0'..=b'9' => self.number().map(|_| false),
                _ => self.word(b"true").or_else(|| self.word(b"false")).or_else(|| self.null()).map(|()| false),
            }?;
            if opened {
                self.space();
            }
            // Behind a value, levels may end; behind an opening bracket, only its own.
            let mut begun = opened;
            loop {
                if depth == 0 {
                    return Some(start..self.at);
                }
                if !begun {
                    self.space();
                }
                let object = objects & 1 == 1;
                if self.take(if object { b'}' } else { b']' }).is_some() {
                    (depth, objects, begun) = (depth - 1, objects >> 1, false);
                    continue;
                }
                if !begun {
                    self.take(b',')?;
                    self.space();
                }
                if object {
                    heed(self.string()?);
                    self.colon()?;
                }
                break;
            }
        }
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn colon(&mut self) -> Option<()> {
        self.space();
        self.take(b':')?;
        self.space();
        Some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if self.take(b'e').or_else(|| self.take(b'E')).is_some() {
            let _ = self.take(b'+').or_else(|| self.take(b'-'));
            self.digits()?;
        }
        Some(start..self.at)
    }

    /// Reads a string, escapes and all, and gives what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let start = self.at;
        while self.plain_bytes()? == b'\\' {
            self.escape()?;
        }
        self.at += 1;
        self.text.get(start..self.at - 1)
    }

    fn escape(&mut self) -> Option<()> {
        let digits = match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 0,
            b'u' if self.text.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => 4,
            _ => return None,
        };
        self.at += 2 + digits;
        Some(())
    }

    /// Goes to the next byte that ends a string or begins an escape, and says
    /// which it is. Letters beyond ASCII must be UTF-8.
    fn plain_bytes(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        let ascii = run::<true>(rest);
        self.at += ascii;
        match *rest.get(ascii)? {
            stop @ (b'"' | b'\\') => Some(stop),
            0x80.. => self.letters(),
            _ => None,
        }
    }

    /// The same from a letter beyond ASCII on.
    fn letters(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        let letters = run::<false>(rest);
        std::str::from_utf8(rest.get(..letters)?).ok()?;
        self.at += letters;
        rest.get(letters).copied().filter(|stop| matches!(stop, b'"' | b'\\'))
    }
}

/// The text of a string that has no escapes, and nothing around it.
pub(super) fn plain_string(text: &[u8]) -> Option<&str> {
    let place = Skim::whole(text, Skim::plain_string)?;
    std::str::from_utf8(text.get(place)?).ok()
}

/// Whether a text stands in JSON as it is, between quotes.
pub fn is_plain(text: &str) -> bool {
    run::<false>(text.as_bytes()) == text.len()
}

/// How many bytes come before a quote, a backslash, a control character or,
/// with `ASCII`, a byte beyond that.
fn run<const ASCII: bool>(bytes: &[u8]) -> usize {
    let mut at = 0;
    for eight in bytes.as_chunks().0.iter().take(SHORT) {
        match first_stop::<ASCII>(*eight) {
            8 => at += 8,
            stop => return at + stop,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at += BLOCK * rest.as_chunks::<BLOCK>().0.iter().take_while(|block| !has_stop::<ASCII>(block)).count();
    let (eights, last) = bytes.get(at..).unwrap_or_default().as_chunks();
    for eight in eights {
        match first_stop::<ASCII>(*eight) {
            8 => at += 8,
            stop => return at + stop,
        }
    }
    at + last.iter().position(|byte| stops::<ASCII>(*byte)).unwrap_or(last.len())
}

/// Without a branch, so that the compiler takes many bytes at once.
fn stops<const ASCII: bool>(byte: u8) -> bool {
    // With a sign, the bytes beyond ASCII are below the control characters: one comparison for both.
    let low = if ASCII { byte.cast_signed() < b' '.cast_signed() } else { byte < b' ' };
    low | (byte == b'"') | (byte == b'\\')
}

fn has_stop<const ASCII: bool>(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |seen, byte| seen | stops::<ASCII>(*byte))
}

/// Where in eight bytes the first one that stops is, or 8. Arithmetic on all
/// at once, exact up to that first one ("Bit Twiddling Hacks", haszero and hasless).
fn first_stop<const ASCII: bool>(eight: [u8; 8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = ONES << 7;
    let bytes = u64::from_le_bytes(eight);
    let is = |byte: u8| (bytes ^ (ONES * u64::from(byte))).wrapping_sub(ONES) & !(bytes ^ (ONES * u64::from(byte)));
    let control = bytes.wrapping_sub(ONES * u64::from(b' ')) & !bytes;
    let beyond = if ASCII { bytes } else { 0 };
    let stops = (is(b'"') | is(b'\\') | control | beyond) & HIGH;
    stops.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::Skim;

    fn place(text: &[u8]) -> Option<&[u8]> {
        text.get(Skim::whole(text, Skim::value)?)
    }

    #[test]
    fn plain_json_is_read_to_its_end() {
        let long = format!("\"{}\"", "long text with ünïcödé ".repeat(40));
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-1.5e+10",
            "12E-3",
            "\"\"",
            "\"a\\n\\u00e4\\ud800\\\\\\\"\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,[2,{\"a\":[]}],\"]\"]",
            "{\"a\":1, \"b\" : {\"c\":[true,null]} }",
            &long,
        ] {
            let padded = format!(" \n\t{text}\r ");
            assert_eq!(place(padded.as_bytes()), Some(text.as_bytes()), "{text}");
            assert!(serde_json::from_str::<&RawValue>(&padded).is_ok(), "{text}");
        }
    }

    #[test]
    fn anything_else_is_given_up() {
        for text in [
            "",
            " ",
            "nul",
            "nulls",
            "tru e",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "-",
            "\"",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "[",
            "]",
            "[1",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{",
            "{}}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "[1}",
            "{\"a\":1]",
            "{\"a\" 1}",
            "[:]",
        ] {
            assert_eq!(place(text.as_bytes()), None, "{text}");
            assert!(serde_json::from_str::<&RawValue>(text).is_err(), "{text}");
        }
        assert_eq!(place(b"\"\xff\""), None);
        assert_eq!(place(b"\"long enough for blocks to be looked at, and then \xc3(\""), None);
        assert!(place(&[b"[".repeat(65), b"]".repeat(65)].concat()).is_none());
        assert!(place(&[b"[".repeat(64), b"]".repeat(64)].concat()).is_some());
    }

    #[test]
    fn wherever_a_string_ends_its_end_is_found() {
        for length in 0..120 {
            for last in ["\"", "\u{1}\"", "é\"", "\\n\""] {
                let text = format!("\"{}{last}", "x".repeat(length));
                let found = place(text.as_bytes()).is_some();
                assert_eq!(found, serde_json::from_str::<&RawValue>(&text).is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn objects_and_lists_are_read_by_their_parts() {
        let text = br#"{"a": [1, -2 ,3], "b":null,"c":{"d":"x"}}"#;
        let (mut numbers, mut names) = (Vec::new(), Vec::new());
        let read = Skim::whole(text, |skim| {
            skim.object(|skim, name| {
                names.push(text[name.clone()].to_vec());
                match &text[name] {
                    b"a" => skim.list(|skim| {
                        numbers.push(skim.integer()?);
                        Some(())
                    }),
                    b"b" => skim.null(),
                    _ => skim.value().map(|_| ()),
                }
            })
        });
        assert_eq!((read, numbers, names), (Some(()), vec![1, -2, 3], vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]));
    }

    /// Text made of the pieces of JSON, seldom but at times well formed.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&[u8]] = &[
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b"\"",
            b"\"a\"",
            b"\"a\":",
            b"\\",
            b"\\n",
            b"\\u00",
            b"e4",
            b"0",
            b"-1",
            b".5",
            b"e",
            b"+",
            b"1e9",
            b"null",
            b"true",
            b"false",
            b" ",
            b"\n",
            b"\xc3",
            b"\xa4",
            b"\xed\xa0\x80",
            b"\x01",
            b"\x7f",
            b"/",
            b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ];
        prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
    }

    /// A value of JSON as text.
    fn json() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            any::<f64>().prop_map(|number| serde_json::json!(number)),
            any::<i64>().prop_map(|number| serde_json::json!(number)),
            "\\PC{0,60}".prop_map(|text| serde_json::json!(text)),
            any::<bool>().prop_map(|value| serde_json::json!(value)),
            Just(serde_json::Value::Null),
        ];
        let value = leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::btree_map("\\PC{0,20}", inner, 0..6).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        (value, any::<bool>()).prop_map(|(value, pretty)| {
            if pretty { serde_json::to_vec_pretty(&value).unwrap() } else { serde_json::to_vec(&value).unwrap() }
        })
    }

    proptest! {
        #[test]
        fn what_it_accepts_the_library_accepts(text in pieces()) {
            let library = serde_json::from_slice::<&RawValue>(&text).ok().map(|raw| raw.get().as_bytes());
            if let Some(place) = place(&text) {
                prop_assert_eq!(Some(place), library);
            }
        }

        #[test]
        fn all_json_is_accepted(text in json()) {
            prop_assert_eq!(place(&text), Some(text.as_slice()));
        }

        /// A byte changed anywhere: still the same as the library.
        #[test]
        fn damaged_json_is_judged_as_the_library_does(text in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = text;
            let at = at.index(text.len());
            text[at] = byte;
            let library = serde_json::from_slice::<&RawValue>(&text).ok().map(|raw| raw.get().as_bytes());
            prop_assert_eq!(place(&text), library);
        }
    }
}
