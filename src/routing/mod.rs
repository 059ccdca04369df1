//! From a request to its chain: which models, in which order, and what was
//! left out and why. Pure: it sees the facts of a request and a table of what
//! is in the pool, and neither a clock nor a socket.

mod classify;
mod decide;
mod filter;
mod names;
mod order;
mod table;
mod tokens;
mod window;

pub use classify::{Category, Classification, Signal, Talk, classify};
pub use decide::{Bearings, Decision, Refusal, decide};
pub use filter::{Why, cost};
pub use names::Found;
pub use table::{Candidate, CandidateId, Member, Table, TierChain};
pub use tokens::count;
pub use window::{Fit, fit, fit_counted};
