//! What the tests of streams look at, whatever the stream.

// Each test file uses a part of it.
#![allow(dead_code)]

use serde_json::Value;

use crate::support::{Daemon, Pair, StreamReader, event_data};

/// The text of all content deltas.
pub fn text(events: &[String]) -> String {
    let data = events.iter().filter_map(|event| serde_json::from_str::<Value>(&event_data(event)).ok());
    data.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

/// How often `[DONE]` is among the events.
pub fn dones(events: &[String]) -> usize {
    events.iter().filter(|event| event_data(event) == "[DONE]").count()
}

/// The `error` object of the last event.
#[track_caller]
pub fn last_error(events: &[String]) -> Value {
    let last = events.last().expect("an event");
    let data: Value = serde_json::from_str(&event_data(last)).unwrap_or_else(|problem| panic!("{problem}: {last}"));
    assert!(data["error"].is_object(), "{last}");
    data["error"].clone()
}

/// Reads a stream that must end properly.
#[track_caller]
pub fn all(mut stream: StreamReader) -> Vec<String> {
    assert_eq!(stream.status, 200);
    assert!(stream.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")), "{:?}", stream.headers);
    let events = stream.events();
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
    assert_eq!(stream.read_to_end(), "", "nothing but whole events");
    events
}

/// The whole stream is B's, and nothing of A is in it.
#[track_caller]
pub fn assert_b_alone(pair: &Pair, what: &str) {
    let events = all(pair.stream());
    assert_eq!((text(&events).as_str(), dones(&events)), ("from B", 1), "{what}");
    assert!(!events.iter().any(|event| event.contains("of A")), "{what}: {events:?}");
}

/// The stream ends with routor's own error, after this text.
#[track_caller]
pub fn assert_interrupted(events: &[String], wanted: &str, what: &str) {
    assert_eq!((text(events).as_str(), dones(events)), (wanted, 0), "{what}");
    assert_eq!(last_error(events)["code"], "stream_interrupted", "{what}");
}

/// An error event's data under the event name that Anthropic uses.
pub fn named_error() -> String {
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded, says A of A\"}}\n\n"
        .to_owned()
}

/// The most memory that the daemon has had so far, in MiB; only Linux tells.
pub fn most_memory(daemon: &Daemon) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
}
