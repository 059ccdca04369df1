//! routor: a failover proxy for LLM APIs.
//!
//! The modules stand in the order of the floors they belong to: each uses
//! only those above it in this list, and a test (`tests/shape.rs`) holds it to
//! that. A request's way:
//!
//! 1. `gateway` takes it from a socket, guards it, reads its body;
//! 2. `wire` reads the few fields that matter;
//! 3. `routing` decides its chain of candidates;
//! 4. `engine` goes through them, each once, until one answers;
//! 5. `upstream` makes one attempt and waits for its first content;
//! 6. `failover` judges what came: deliver, refuse, try the next;
//! 7. `engine::Relay` passes a stream on, whole events only;
//! 8. `journal` writes down what happened, when the request is dropped.

#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

// Floor 0, words: what things are called, what was configured, what is read of JSON.
pub mod catalog;
pub mod config;
pub mod wire;
// Floor 1, rules: pure, no I/O, no clock.
pub mod sse;
pub mod failover;
pub mod health;
pub mod routing;
pub mod redact;
// Floor 2, doors: one outside thing each.
pub mod turn;
pub mod system;
pub mod paths;
pub mod journal;
pub mod metrics;
pub mod traces;
pub mod upstream;
// Floor 3, the engine.
pub mod engine;
// Floor 4, service: the daemon and its ways in.
pub mod gateway;
pub mod control;
pub mod demo;
pub mod daemon;
// Floor 5, commands.
pub mod cli;
