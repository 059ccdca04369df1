//! For the tests of what a panic in one request does to the others. Not in a
//! release build.

use std::sync::LazyLock;

use http::HeaderMap;

use crate::paths;

/// Only a process that was started for that heeds the header.
static HEEDED: LazyLock<bool> = LazyLock::new(|| paths::env("ROUTOR_TEST_PANIC").is_some());

fn asked(headers: &HeaderMap, place: &str) -> bool {
    headers.get("x-routor-test-panic").is_some_and(|wanted| wanted == place) && *HEEDED
}

/// Panics when the request asks for it.
pub(super) fn in_handler(headers: &HeaderMap) {
    assert!(!asked(headers, "handler"), "asked to");
}

/// How many pieces of the body are good before one panics, when the request asks for it.
pub(super) fn in_stream(headers: &HeaderMap) -> Option<usize> {
    asked(headers, "stream").then_some(1)
}

/// Panics when the count has come down to nothing.
pub(super) fn panic_at(left: &mut Option<usize>) {
    let Some(count) = left else { return };
    match count.checked_sub(1) {
        Some(fewer) => *count = fewer,
        None => {
            *left = None;
            assert!(left.is_some(), "asked to");
        }
    }
}
