//! The request log: one record per request, written when the request ends,
//! whatever its end. It never blocks or fails a request.

mod record;
mod store;
mod writer;

pub use record::{Attempt, Draft, Outcome, Record, Skipped, millis, now_text};
pub use store::{Query, Store, StoreError};
pub use writer::{Feed, Journal, Limits, Observer};
