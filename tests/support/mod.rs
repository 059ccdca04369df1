//! The black-box harness: scripted providers, the real binary in a home of its
//! own, and a plain HTTP client. A test file says `mod support;` and takes what
//! it needs with `use support::{Daemon, Provider, Reply};`.

#![forbid(unsafe_code)]
// Every test file compiles this module anew and uses only a part of it.
#![allow(dead_code, unused_imports)]

pub mod collect;
pub mod config;
mod connection;
pub mod daemon;
pub mod events;
pub mod home;
pub mod http;
pub mod pair;
pub mod process;
pub mod provider;
pub mod reply;
mod request;
mod script;
pub mod stream;
mod wire;

pub use config::{chain_config, chain_config_with};
pub use daemon::Daemon;
pub use events::{content, done, finish, role, usage};
pub use home::{Home, routor};
pub use http::{Client, Response, get, post, post_chat, raw};
pub use pair::{ASK, ASK_STREAM, Pair, classes, text_of, tried};
pub use process::{Finished, Input, Process};
pub use provider::Provider;
pub use reply::{Gate, Reply, Step};
pub use script::Received;
pub use stream::{StreamReader, event_data, open_stream};

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the harness waits for what must come: well above any limit that a
/// test sets, so that only a real failure meets it.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Locks, also after a thread that held the lock has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `met` says yes, at most `bound`; the guard that comes back tells
/// the caller what was there in the end.
fn wait_until<'a, T>(mutex: &'a Mutex<T>, changed: &Condvar, bound: Duration, mut met: impl FnMut(&mut T) -> bool) -> MutexGuard<'a, T> {
    let waited = changed.wait_timeout_while(lock(mutex), bound, |value| !met(value));
    waited.unwrap_or_else(PoisonError::into_inner).0
}
