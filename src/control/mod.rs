//! The local socket: how commands find the daemon and talk to it. One JSON
//! object a line, a handshake first.

mod client;
mod instance;
mod listing;
mod protocol;
mod server;

pub use client::{Client, Connection};
pub use instance::{Instance, InstanceError};
pub use listing::{Listing, ModelLine};
pub use protocol::{Command, CoolingModel, Hello, Line, ProviderLine, Status};
pub use server::{Order, bind, serve};
