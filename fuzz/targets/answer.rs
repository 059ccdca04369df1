//! Answers and chunks of streams: an error in disguise is never taken for an
//! answer, and what says something is never taken for silence.
//!
//! Input: the body, or the data of one event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use routor::wire::{Answer, Chunk, Usage, read_answer, read_chunk};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let answer = read_answer(data);
    let (chunk, notes) = read_chunk(data);
    assert_eq!(notes.finished & !notes.choices, 0, "a choice is finished that the event is not about");
    assert_eq!(chunk == Chunk::Done, data.trim_ascii() == b"[DONE]");
    if !matches!(chunk, Chunk::Content | Chunk::Finish | Chunk::BadFinish) {
        assert_eq!(notes.finished, 0);
    }
    let text = String::from_utf8_lossy(data);
    let Ok(value) = serde_json::from_str::<Value>(&text) else { return };
    let Value::Object(fields) = &value else {
        let passed = matches!(chunk, Chunk::Garbled | Chunk::Error);
        assert!(passed, "what is no object is {chunk:?}: {text}");
        assert!(matches!(answer, Answer::Garbled(_) | Answer::Error), "what is no object is {answer:?}: {text}");
        return;
    };
    let said = fields.get("error").is_some_and(filled) || fields.get("type") == Some(&"error".into());
    if said {
        assert!(!matches!(answer, Answer::Completion(..)), "an error is taken for an answer: {text}");
        assert!(!matches!(chunk, Chunk::Content | Chunk::Finish | Chunk::Nothing), "an error is passed over: {text}");
    }
    let none = Vec::new();
    let choices = fields.get("choices").and_then(Value::as_array).unwrap_or(&none);
    if let Answer::Completion(usage, _) = answer {
        assert!(!choices.is_empty());
        if fields.get("usage").is_none_or(Value::is_object) {
            assert_eq!(usage, counted(fields.get("usage")), "{text}");
        }
    }
    let speaks = choices.iter().any(|choice| {
        let field = |name: &str| choice.get(name).is_some_and(filled);
        let parts = choice.get("delta").and_then(Value::as_object);
        parts.is_some_and(|parts| parts.iter().any(|(name, part)| name != "role" && filled(part))) || field("text") || field("message")
    });
    let finished = choices.iter().any(|choice| choice.get("finish_reason").and_then(Value::as_str).is_some());
    match chunk {
        Chunk::Content if choices.iter().all(usual) => assert!(speaks, "silence is taken for content: {text}"),
        Chunk::Finish if choices.iter().all(usual) => assert!(finished),
        // Only of what has the usual form can it be said what it is.
        Chunk::Nothing if choices.iter().all(usual) && single(&text, &value) => {
            let plain = |choice: &Value| choice.pointer("/delta/content").and_then(Value::as_str).is_some_and(|words| !words.is_empty());
            assert!(!choices.iter().any(plain), "content is taken for silence: {text}");
        }
        _ => {}
    }
});

/// Whether a value is there and neither null, false nor empty.
fn filled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// Whether a choice's own fields have the types that the format gives them.
fn usual(choice: &Value) -> bool {
    let Some(fields) = choice.as_object() else { return false };
    fields.iter().all(|(name, value)| match name.as_str() {
        "index" => value.is_null() || value.as_u64().is_some_and(|index| u32::try_from(index).is_ok()),
        "finish_reason" => value.is_null() || value.is_string(),
        "delta" => value.is_null() || value.is_object(),
        _ => true,
    })
}

/// Whether no name stands twice in an object: a parser shows the last one, and hides that.
fn single(text: &str, value: &Value) -> bool {
    text.matches(':').count() == value.to_string().matches(':').count()
}

/// Negative and odd counts are no counts.
fn counted(usage: Option<&Value>) -> Usage {
    let Some(Value::Object(fields)) = usage else { return Usage::default() };
    let small = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(|count| u64::try_from(count).ok()).ok_or(()),
    };
    match (small("prompt_tokens"), small("completion_tokens")) {
        (Ok(prompt), Ok(completion)) => Usage { prompt, completion },
        _ => Usage::default(),
    }
}
