//! HTTP in: what the daemon's port answers. It guards, reads, asks the engine
//! and writes; it decides nothing about models.

mod answering;
mod api;
mod body;
mod capacity;
mod chat;
mod connection;
mod debug;
mod error;
mod events;
mod framing;
mod guards;
#[cfg(debug_assertions)]
mod hooks;
mod large;
mod models;
mod page;
mod reactor;
mod reply;
mod routes;
mod server;
mod wakers;

pub use body::Out;
pub use capacity::Capacity;
pub use error::{ALL_FAILED, ApiError, json_response};
pub use reply::into_response;
pub use server::{Bound, Gateway, Listeners, Shared};
