//! Request bodies: whatever parses is JSON still when its fields have been
//! changed, the same but for those fields, and was read rightly.
//!
//! Input: the body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use routor::wire::{Ask, Edit, parse, splice};
use serde_json::{Map, Value};

/// A name that has to be escaped.
const MODEL: &str = "pro\"vi\\der/\u{1}é";

fuzz_target!(|body: &[u8]| {
    let Ok(ask) = parse(Bytes::copy_from_slice(body)) else { return };
    let kept = changed(&ask, |_| Edit::Keep);
    let edited = changed(&ask, |name| edit(&ask, name));
    for text in [&kept, &edited] {
        serde_json::from_slice::<serde::de::IgnoredAny>(text)
            .unwrap_or_else(|problem| panic!("{problem}: {}", String::from_utf8_lossy(text)));
    }
    words(&ask);
    // Lone surrogates, huge numbers and deep nesting pass through routor and are nothing that can be compared.
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else { return };
    understood(&ask, &fields);
    assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), expected(&fields, |_| Edit::Keep));
    assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected(&fields, |name| edit(&ask, name)));
    if fields.contains_key("model") && !fields.keys().any(|name| name.starts_with("routor_")) {
        let before = kept.iter().zip(body).take_while(|(one, other)| one == other).count();
        let after = kept.iter().rev().zip(body.iter().rev()).take_while(|(one, other)| one == other).count();
        let model = serde_json::to_string(MODEL).unwrap().len();
        assert!(before + model + after >= kept.len(), "more than the model changed");
    }
});

/// As a dialect does it: some fields are left out, one is renamed.
fn edit(ask: &Ask, name: &str) -> Edit<'static> {
    match name {
        "max_tokens" if !ask.has_field("max_completion_tokens") => Edit::Rename("max_completion_tokens"),
        _ if name.starts_with(['d', 's', 't']) => Edit::Drop,
        _ => Edit::Keep,
    }
}

fn changed<'e>(ask: &Ask, edit: impl Fn(&str) -> Edit<'e>) -> Vec<u8> {
    let pieces = splice(ask, MODEL, edit);
    let len = pieces.len();
    let bytes: Vec<u8> = pieces.share().into_iter().flatten().collect();
    assert_eq!(bytes.len(), len);
    let mut written = Vec::new();
    pieces.write_to(&mut written);
    assert_eq!(written, bytes);
    bytes
}

fn expected<'e>(fields: &Map<String, Value>, edit: impl Fn(&str) -> Edit<'e>) -> Value {
    let mut wanted = Map::new();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with("routor_") && *name != "model") {
        match edit(name) {
            Edit::Keep => drop(wanted.insert(name.clone(), value.clone())),
            Edit::Rename(new) => drop(wanted.insert(new.to_owned(), value.clone())),
            Edit::Drop => {}
        }
    }
    wanted.insert("model".to_owned(), MODEL.into());
    Value::Object(wanted)
}

/// The few fields that are read hold what a JSON parser finds there.
fn understood(ask: &Ask, fields: &Map<String, Value>) {
    let model = fields.get("model").and_then(Value::as_str).filter(|name| !name.is_empty());
    assert_eq!(ask.model.as_deref(), model);
    assert_eq!(ask.stream, fields.get("stream") == Some(&Value::Bool(true)));
    fields.keys().for_each(|name| assert!(ask.has_field(name), "{name}"));
    let messages = fields.get("messages").and_then(Value::as_array);
    let messages = messages.expect("without a list of messages it is refused").len();
    assert!(messages > 0);
    assert_eq!(ask.each_text(|_| {}), messages as u64);
}

/// The words for the classifier stay within their bounds.
fn words(ask: &Ask) {
    let words = ask.conversation();
    assert!(words.last_user.len() <= words.last_user_bytes.min(16 * 1024) + 1);
    assert!(words.system.len() <= 4 * 1024 + 1);
    assert!(words.history.len() <= 6 && words.history.iter().all(|text| text.len() <= 2 * 1024 + 1));
}
