//! The rules of failover, pure: what a failure is, what follows from it, when
//! a model is left alone, how much time an attempt gets. No I/O, no clock:
//! `now` is an argument.

mod breaker;
mod budget;
mod class;
mod classify;
mod error_body;
mod retry_hint;
mod verdict;

pub use breaker::{Breaker, Pass, Policy, View, millis_left};
pub use budget::share;
pub use class::Class;
pub use classify::{blames_key, classify, classify_embedded};
pub use error_body::ErrorText;
pub use retry_hint::{Hint, retry_hint};
pub use verdict::{Aftermath, Verdict, aftermath, judge};
