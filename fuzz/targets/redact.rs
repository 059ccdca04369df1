//! Masking: no key and no eight characters of one are left, what is left is as
//! it was, and masking twice is masking once.
//!
//! Input: keys, each on a line, an empty line, the text; `@0` in it stands for
//! the first key, and so on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use routor::redact::{Redactor, printable};

const PART: usize = 8;

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let (keys, text) = input.split_once("\n\n").unwrap_or((&input, ""));
    // Keys are printable ASCII, and shorter ones than this are not masked by
    // design. The mask itself is made of asterisks, so a key with some could come
    // about by masking something else.
    let usable = |key: &&str| key.len() >= 4 && key.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'*');
    let keys: Vec<&str> = keys.lines().filter(usable).take(10).collect();
    let mut text = text.to_owned();
    for (at, key) in keys.iter().enumerate() {
        text = text.replace(&format!("@{at}"), key);
    }
    let redactor = Redactor::new(keys.iter().copied());
    let masked = redactor.mask_text(&text);
    for key in &keys {
        assert!(!masked.contains(key), "{key} is in {masked}");
        let parts = key.as_bytes().windows(PART);
        assert!(!parts.into_iter().any(|part| holds(&masked, part)), "a part of {key} is in {masked}");
    }
    assert_eq!(redactor.mask_text(&masked), masked);
    if !text.contains('*') {
        // What is left is the text, in order, with gaps.
        let mut rest = text.as_str();
        for kept in masked.split("***") {
            let at = rest.find(kept).unwrap_or_else(|| panic!("{text} became {masked}"));
            rest = &rest[at + kept.len()..];
        }
    }

    let shown = printable(&text, 40);
    assert!(shown.chars().count() <= 41 && !shown.contains(char::is_control), "{shown:?}");
});

fn holds(text: &str, part: &[u8]) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window == part)
}
