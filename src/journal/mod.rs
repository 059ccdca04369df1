//! The request log: one record per request, written when the request ends,
//! whatever its end. It never blocks or fails a request.

mod batch;
mod line;
mod query;
mod record;
mod spare;
mod store;
mod trim;
mod writer;

pub use batch::Batch;
pub use query::Query;
pub use record::{Attempt, Draft, Moment, Outcome, Record, Skipped, millis};
pub use store::{Found, Store, StoreError, Stored};
pub use writer::{Feed, Journal, Limits, Observer, Observers};
