//! A daemon with two providers, `a` before `b` in every chain: the smallest
//! setting in which one model can take over from another.

use serde_json::Value;

use super::config::chain_config_with;
use super::daemon::{Builder, Daemon};
use super::http::{Response, post_chat};
use super::provider::Provider;
use super::reply::Reply;
use super::stream::{StreamReader, open_stream};

/// A chat call that wants a whole answer.
pub const ASK: &str = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}]}"#;
/// A chat call that wants a stream.
pub const ASK_STREAM: &str = r#"{"model":"auto","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// `a` answers "from A", `b` answers "from B", until they are told otherwise.
pub struct Pair {
    /// The first of the chain.
    pub a: Provider,
    /// The second.
    pub b: Provider,
    /// The daemon in front of them.
    pub daemon: Daemon,
}

impl Pair {
    /// With more TOML at the end of the configuration.
    #[track_caller]
    pub fn start(extra: &str) -> Self {
        Self::start_with(extra, |builder| builder)
    }

    /// With more TOML, and a daemon that is changed before its start.
    #[track_caller]
    pub fn start_with(extra: &str, change: impl FnOnce(Builder) -> Builder) -> Self {
        let (a, b) = (Provider::start(), Provider::start());
        a.always(Reply::answer("from A"));
        b.always(Reply::answer("from B"));
        let config = chain_config_with(&[("a", &a), ("b", &b)], extra);
        let daemon = change(Daemon::builder().config(config)).start();
        Self { a, b, daemon }
    }

    /// One call with [`ASK`].
    #[track_caller]
    pub fn ask(&self) -> Response {
        post_chat(self.daemon.port(), ASK)
    }

    /// The text of the answer to one call with [`ASK`].
    #[track_caller]
    pub fn said(&self) -> String {
        text_of(&self.ask())
    }

    /// One call with [`ASK_STREAM`], at the head of its answer.
    #[track_caller]
    pub fn stream(&self) -> StreamReader {
        open_stream(self.daemon.port(), ASK_STREAM)
    }

    /// The record of the request that came as number `count`, counted from 1.
    #[track_caller]
    pub fn record(&self, count: usize) -> Value {
        self.daemon.wait_logs(count).swap_remove(count - 1)
    }
}

/// The text of a whole answer.
///
/// # Panics
/// When it is not a good answer.
#[track_caller]
pub fn text_of(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    let body = response.json();
    let text = body["choices"][0]["message"]["content"].as_str();
    text.unwrap_or_else(|| panic!("no text in {body}")).to_owned()
}

/// The classes of a record's attempts, in order.
pub fn classes(record: &Value) -> Vec<&str> {
    let attempts = record["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    attempts.iter().filter_map(|attempt| attempt["class"].as_str()).collect()
}

/// The providers of a record's attempts, in order.
pub fn tried(record: &Value) -> Vec<&str> {
    let attempts = record["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    attempts.iter().filter_map(|attempt| attempt["provider"].as_str()).collect()
}
