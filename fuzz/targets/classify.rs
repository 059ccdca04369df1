//! Failures: every status and body has a class, a server's error is not blamed
//! on the key, and a body says the same however its JSON is written.
//!
//! Input: the status on a line of its own, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use routor::failover::{Class, ErrorText, blames_key, classify, classify_embedded};
use serde_json::Value;

/// Far above what a body is read for; only the order of magnitude matters.
const LONGEST: usize = 256 * 1024;

fuzz_target!(|input: &[u8]| {
    let line = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (status, body) = input.split_at(line);
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok()).unwrap_or(line as u16);
    let body = body.get(1..).unwrap_or_default();
    let text = ErrorText::read(body);
    assert!(text.codes.len() + text.prose.len() <= LONGEST);
    assert_eq!(text.empty, body.trim_ascii().is_empty());
    assert!(text.status.is_none_or(|status| (400..600).contains(&status)));

    let class = classify(status, &text);
    let never = [Class::Ok, Class::Network, Class::Truncated, Class::ClientClosed];
    assert!(!never.contains(&class), "{status} is {class:?}");
    if (500..600).contains(&status) {
        assert!(class != Class::Auth || blames_key(&text), "{status} is blamed on the key");
        assert!(!matches!(class, Class::Forbidden | Class::BadRequest), "{status} is {class:?}");
    }
    if text.empty {
        assert_eq!(class == Class::Auth, status == 401);
    }
    let embedded = classify_embedded(&text);
    assert!(!never.contains(&embedded) && embedded != Class::BadRequest, "inside an answer it is {embedded:?}");

    // What cannot be parsed is prose; what can is the same in every spelling. (Of a field that is there twice, a
    // value keeps one.)
    let Ok(value) = serde_json::from_slice::<Value>(body.trim_ascii()) else { return };
    if colons(body) != fields(&value) {
        return;
    }
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert_eq!(ErrorText::read(&pretty), text);
    // The caller's own words, sent back, are not the provider's.
    if let Value::Object(mut fields) = value
        && !fields.contains_key("input")
    {
        fields.insert("input".to_owned(), "insufficient_quota invalid_api_key overloaded".into());
        assert_eq!(ErrorText::read(&serde_json::to_vec(&fields).unwrap()), text);
    }
});

/// The colons outside of strings.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The fields of all objects.
fn fields(value: &Value) -> usize {
    match value {
        Value::Object(own) => own.len() + own.values().map(fields).sum::<usize>(),
        Value::Array(items) => items.iter().map(fields).sum(),
        _ => 0,
    }
}
