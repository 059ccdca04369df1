//! Masks keys in text by their value, whole or in part, so that a provider
//! that echoes a key cannot make routor show it.

use std::borrow::Cow;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A part of a key this long is masked, too: some providers echo the first or
/// last characters.
const PART: usize = 8;

/// Knows the keys in use.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Every run of [`PART`] bytes of every key.
    parts: HashSet<[u8; PART]>,
    /// Keys that are shorter than that.
    short: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor(***)")
    }
}

impl Redactor {
    /// A redactor for these keys. Keys of fewer than four bytes cannot be told
    /// from ordinary words and are not masked.
    pub fn new<'k>(keys: impl Iterator<Item = &'k str>) -> Self {
        let mut redactor = Self::default();
        for key in keys {
            for form in forms(key) {
                redactor.parts.extend(form.windows(PART).filter_map(|part| <[u8; PART]>::try_from(part).ok()));
            }
            if (4..PART).contains(&key.len()) {
                redactor.short.push(key.to_owned());
            }
        }
        redactor
    }

    /// The text with every key, and every part of eight characters or more of
    /// one, replaced by `***`. Borrowed when there is nothing to mask.
    pub fn mask<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let mut secret = vec![false; text.len()];
        let mut any = false;
        let mut mark = |at: usize, len: usize| {
            any = true;
            secret.iter_mut().skip(at).take(len).for_each(|byte| *byte = true);
        };
        if !self.parts.is_empty() {
            let found = text
                .windows(PART)
                .enumerate()
                .filter(|(_, part)| <&[u8; PART]>::try_from(*part).is_ok_and(|part| self.parts.contains(part)));
            found.for_each(|(at, _)| mark(at, PART));
        }
        for key in &self.short {
            memchr::memmem::find_iter(text, key.as_bytes()).for_each(|at| mark(at, key.len()));
        }
        if !any {
            return Cow::Borrowed(text);
        }
        let mut out = Vec::with_capacity(text.len());
        let mut inside = false;
        for (byte, secret) in text.iter().zip(secret) {
            match (secret, inside) {
                (true, false) => out.extend_from_slice(b"***"),
                (true, true) => {}
                (false, _) => out.push(*byte),
            }
            inside = secret;
        }
        Cow::Owned(out)
    }

    /// [`Redactor::mask`] for text.
    pub fn mask_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mask(text.as_bytes())).into_owned()
    }
}

/// The forms in which a key can come back: as it is, percent-encoded, and in
/// Base64 at each of the three places that it can have in what was encoded.
fn forms(key: &str) -> Vec<Vec<u8>> {
    let percent = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC).to_string();
    // Some encode every character, others only those that must be.
    let every: String = key.bytes().map(percent_encoding::percent_encode_byte).collect();
    let mut forms = vec![key.as_bytes().to_vec()];
    for coded in [percent, every] {
        forms.push(coded.to_lowercase().into_bytes());
        forms.push(coded.into_bytes());
    }
    for skip in 0..3 {
        // Only whole groups of three do not depend on what stands beside the key.
        let rest = key.as_bytes().get(skip..).unwrap_or_default();
        let whole = rest.get(..rest.len() / 3 * 3).unwrap_or_default();
        forms.push(STANDARD_NO_PAD.encode(whole).into_bytes());
        forms.push(URL_SAFE_NO_PAD.encode(whole).into_bytes());
    }
    forms
}

/// Text from outside, made safe for a terminal: control characters and
/// direction marks are left out, and it is cut at `longest` characters.
pub fn printable(text: &str, longest: usize) -> String {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let mut out: String =
        text.chars().map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).filter(|c| !hidden(*c)).take(longest).collect();
    if text.chars().count() > longest {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d190_encoded_keys_are_masked() {
        let key = "sk-canary/0123+456:789=abc";
        let redactor = Redactor::new([key].into_iter());
        for before in ["", "u", "us", "user:"] {
            for after in ["", "x", "xy"] {
                let plain = format!("{before}{key}{after}");
                for coded in [base64::engine::general_purpose::STANDARD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
                    let masked = redactor.mask_text(&coded);
                    assert!(masked.len() < 20 && masked.contains("***"), "{coded} became {masked}");
                }
            }
        }
        for percent in ["sk%2Dcanary%2F0123%2B456%3A789%3Dabc", "sk%2dcanary%2f0123%2b456%3a789%3dabc"] {
            assert_eq!(redactor.mask_text(percent), "***");
        }
    }

    #[test]
    fn d191_keys_are_masked_whole_and_in_part() {
        let redactor = Redactor::new(["sk-.*+?canary[x]", "abcd"].into_iter());
        for (text, wanted) in [
            ("key sk-.*+?canary[x] end", "key *** end"),
            ("starts sk-.*+?c****", "starts ***a****".replace("a****", "****").as_str().to_owned().leak()),
            ("an abcd here", "an *** here"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redactor.mask_text(text), wanted, "{text}");
        }
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\r\nc\u{202e}d\0", 100), "a[31mb cd");
        assert_eq!(printable("abcdef", 3), "abc…");
    }

    proptest::proptest! {
        #[test]
        fn d273_no_key_survives(key in "[a-zA-Z0-9*.\\[-]{8,40}", before in "\\PC{0,30}", after in "\\PC{0,30}") {
            let redactor = Redactor::new([key.as_str()].into_iter());
            let once = redactor.mask_text(&format!("{before}{key}{after}"));
            proptest::prop_assert!(!once.contains(&key));
            proptest::prop_assert_eq!(redactor.mask_text(&once), once);
        }
    }
}
