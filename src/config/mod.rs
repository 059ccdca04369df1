//! Settings: what the user decided, laid over what the catalogue knows. Reads
//! no file and no environment itself; both are handed in as [`Surroundings`].

mod address;
mod key;
mod load;
mod problem;
mod providers;
mod reader;
mod routes;
mod settings;
#[cfg(test)]
mod tests;

pub use address::{Endpoint, is_private_host};
pub use key::{Key, KeyState};
pub use load::{Surroundings, is_on, load};
pub use problem::{Problem, Problems};
pub use providers::{Header, Provider};
pub use settings::{
    Alias, Breaker, Listen, Log, Order, Overflow, Pool, Routing, Server, Settings, Target, TimeoutSet, Timeouts, Validation,
};
