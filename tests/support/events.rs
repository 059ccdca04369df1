//! The texts of server-sent events as an OpenAI-compatible provider writes
//! them. Each function gives one whole event, its blank line included.

use serde_json::{Value, json};

/// One event with this value as its data.
pub fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

fn chunk(delta: &Value, finish: &Value) -> String {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m1",
        "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]
    }))
}

/// The first chunk of a stream: the role and no content yet.
pub fn role() -> String {
    chunk(&json!({"role": "assistant", "content": ""}), &Value::Null)
}

/// A piece of the answer's text.
pub fn content(text: &str) -> String {
    chunk(&json!({"content": text}), &Value::Null)
}

/// A piece of the model's reasoning.
pub fn reasoning(text: &str) -> String {
    chunk(&json!({"reasoning_content": text}), &Value::Null)
}

/// A piece of a tool call: the first has a name, later ones only arguments.
pub fn tool_call(name: Option<&str>, arguments: &str) -> String {
    let call = match name {
        Some(name) => json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}),
        None => json!({"index": 0, "function": {"arguments": arguments}}),
    };
    chunk(&json!({"tool_calls": [call]}), &Value::Null)
}

/// The chunk that ends a choice: `stop`, `length`, `tool_calls`, `error`, …
pub fn finish(reason: &str) -> String {
    chunk(&json!({}), &json!(reason))
}

/// The chunk with the token counts and no choices.
pub fn usage(prompt: u64, completion: u64) -> String {
    event(&json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m1", "choices": [],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    }))
}

/// A provider's own error inside a stream.
pub fn error(message: &str) -> String {
    event(&json!({"error": {"message": message, "type": "server_error", "param": null, "code": null}}))
}

/// A comment, which keeps a connection alive and says nothing.
pub fn comment(text: &str) -> String {
    format!(": {text}\n\n")
}

/// The end mark.
pub fn done() -> String {
    "data: [DONE]\n\n".to_owned()
}
