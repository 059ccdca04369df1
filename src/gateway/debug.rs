//! `POST /v1/routing/debug`: the decision for a request, with no provider
//! called.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::{self, Out, Sent};
use super::error::{ApiError, json_response};
use super::guards::Visit;
use super::server::Gateway;
use crate::config::Server;
use crate::wire::{Ask, Fault, parse};

/// Fields that mean in this call what they mean in a chat completion.
const SAME: [&str; 4] = ["tools", "response_format", "max_tokens", "max_completion_tokens"];

/// Answers with the decision.
pub(super) async fn explain(gateway: &Gateway, server: &Server, visit: Visit<'_>, body: Sent) -> Result<Response<Out>, ApiError> {
    let mut room = gateway.shared.capacity.room();
    let bytes = body::read(body, server.max_body, &mut room, visit.clocks).await?;
    let (engine, ask) = (Arc::clone(&gateway.engine), ask(&bytes)?);
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the decision could not be made");
    let explanation = tokio::task::spawn_blocking(move || engine.explain(&ask)).await.map_err(failed)??;
    Ok(json_response(StatusCode::OK, serde_json::to_string(&explanation).unwrap_or_default()))
}

/// The chat completion that is asked about: `prompt`, `system_prompt`,
/// `messages`, `max_output_tokens`, `tools`, `profile`, and `model`.
fn ask(bytes: &[u8]) -> Result<Box<Ask>, Fault> {
    let fault = |message: String| Fault { message, param: None };
    let fields: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|problem| fault(format!("the request body is not a JSON object: {problem}")))?;
    let text = |name: &'static str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault { message: format!("\"{name}\" must be a string"), param: Some(name) }),
    };
    let mut messages = match fields.get("messages") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(messages)) => messages.clone(),
        Some(_) => return Err(Fault { message: "\"messages\" must be a list of messages".to_owned(), param: Some("messages") }),
    };
    if let Some(system) = text("system_prompt")? {
        messages.insert(0, json!({"role": "system", "content": system}));
    }
    match text("prompt")? {
        Some(prompt) => messages.push(json!({"role": "user", "content": prompt})),
        None if fields.get("messages").is_none() => {
            return Err(Fault { message: "\"prompt\" is missing; it is the text to decide about".to_owned(), param: Some("prompt") });
        }
        None => {}
    }
    let mut call = Map::new();
    call.insert("messages".to_owned(), messages.into());
    for (name, value) in &fields {
        let into = match name.as_str() {
            "model" => "model",
            "profile" => "routor_profile",
            "max_output_tokens" => "max_tokens",
            name if SAME.contains(&name) || name.starts_with("routor_") => name,
            _ => continue,
        };
        call.insert(into.to_owned(), value.clone());
    }
    parse(Bytes::from(Value::from(call).to_string()))
}
