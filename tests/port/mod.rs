//! What the tests of the port share: bodies, small settings, and what every
//! error of routor's own must look like. Taken with `mod port;` beside `mod
//! support;`.

// Every test file compiles this module anew and uses only a part of it.
#![allow(dead_code)]

use serde_json::{Value, json};

use crate::support::{Daemon, Provider, Reply, Response, chain_config_with};

pub const CHAT: &str = "/v1/chat/completions";
pub const JSON: (&str, &str) = ("content-type", "application/json");

/// A chat call for this model.
pub fn ask(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

/// A chat call with these fields beside the messages.
pub fn ask_with(fields: &Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let more = fields.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    body.to_string()
}

/// One provider `a` that works, and a daemon with this TOML added.
pub fn one_with(extra: &str) -> (Provider, Daemon) {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], extra));
    (a, daemon)
}

pub fn one() -> (Provider, Daemon) {
    one_with("")
}

/// Two providers whose answers are their names, and a daemon whose file has
/// these tiers and whatever else is in `rest`.
pub fn two(rest: &str) -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    b.always(Reply::answer("from b"));
    let daemon = Daemon::start(format!("{}{}[pool]\nonly = [\"a\", \"b\"]\n{rest}\n", table("a", &a), table("b", &b)));
    (a, b, daemon)
}

pub fn table(name: &str, provider: &Provider) -> String {
    format!("[providers.{name}]\nbase_url = \"{}\"\napi_key_env = \"\"\n", provider.base_url())
}

/// Asserts an error of routor's own: status, code, OpenAI's shape, and the
/// headers that all of them carry.
#[track_caller]
pub fn own_error(response: &Response, status: u16, code: &str) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    let body = response.json();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("no error object: {body}"));
    let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "message", "param", "type"], "{body}");
    assert_eq!(error["code"], code, "{body}");
    assert_eq!(response.header("x-should-retry"), Some("false"), "{:?}", response.headers);
    assert!(response.header("x-request-id").is_some(), "{:?}", response.headers);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{:?}", response.headers);
    error["message"].as_str().expect("a message").to_owned()
}

#[track_caller]
pub fn no_cors(response: &Response) {
    let cors: Vec<_> = response.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert!(cors.is_empty(), "{cors:?}");
}

/// The text of a completion.
#[track_caller]
pub fn said(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}
