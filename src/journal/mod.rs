//! The request log: one record per request, written when the request ends,
//! whatever its end. It never blocks or fails a request.

mod query;
mod record;
mod store;
mod writer;

pub use query::Query;
pub use record::{Attempt, Draft, Outcome, Record, Skipped, millis, now_text};
pub use store::{Found, Store, StoreError, Stored};
pub use writer::{Feed, Journal, Limits, Observer};
