//! Keys: read from a variable or a file, checked for the usual paste errors,
//! never shown.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A secret that authenticates routor at a provider, or a client at routor.
/// Neither `Debug` nor `Display` shows it, and its memory is wiped on drop.
#[derive(Clone)]
pub struct Key(SecretString);

/// Longer than any key in use, short enough for a header.
const LONGEST: usize = 8 * 1024;

impl Key {
    /// Takes a key as it was found. The error says what is wrong with it and
    /// never repeats it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.trim().is_empty() {
            return Err("is empty");
        }
        if text.len() > LONGEST {
            return Err("is longer than 8 KiB, which no key is");
        }
        if text.starts_with(['"', '\'']) || text.ends_with(['"', '\'']) {
            return Err("is wrapped in quotes; set it without them");
        }
        if text.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
            return Err("starts with \"Bearer \"; set the key alone");
        }
        if text.contains(['\n', '\r']) {
            return Err("holds a line break; set the key alone");
        }
        if text.contains([' ', '\t']) {
            return Err("holds a space; set the key alone");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds a character that no key has (not printable ASCII)");
        }
        Ok(Self(SecretString::from(text.to_owned())))
    }

    /// The value of a configured header, which may be a secret and may hold
    /// spaces; the caller has checked that it can be sent.
    pub(super) fn header(value: &str) -> Self {
        Self(SecretString::from(value.to_owned()))
    }

    /// The key itself: for a header that is marked sensitive, a comparison or redaction.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Whether a provider has a usable key.
#[derive(Debug, Clone)]
pub enum KeyState {
    /// It takes requests without one.
    NotNeeded,
    /// It has one.
    Present(Key),
    /// It has none, or one that cannot be used; the text says why, for a reader.
    Missing(String),
}

impl KeyState {
    /// The key, if there is one.
    pub fn key(&self) -> Option<&Key> {
        match self {
            KeyState::Present(key) => Some(key),
            KeyState::NotNeeded | KeyState::Missing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paste_errors_are_named_and_the_key_is_never_repeated() {
        let rows = [
            ("", "empty"),
            ("   ", "empty"),
            ("\"sk-canary\"", "quotes"),
            ("Bearer sk-canary", "Bearer"),
            ("sk-canary\n", "line break"),
            ("sk canary", "space"),
            ("sk-cänary", "ASCII"),
        ];
        for (text, says) in rows {
            let problem = Key::new(text).expect_err(text);
            assert!(problem.contains(says), "{text:?}: {problem}");
            assert!(!problem.contains("canary"));
        }
        assert!(Key::new(&"k".repeat(10_000)).is_err());
        assert!(Key::new("sk-.*%+$[]").is_ok());
    }

    #[test]
    fn d193_debug_hides_the_key() {
        let key = Key::new("sk-canary").unwrap();
        assert!(!format!("{key:?} {:?}", KeyState::Present(key.clone())).contains("canary"));
    }
}
