//! What is said on the local socket.

use serde::{Deserialize, Serialize};

use super::listing::Listing;
use crate::journal::Record;

/// Rises when an older command would misunderstand a newer daemon.
pub const PROTOCOL: u32 = 1;

/// The daemon's first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Always `routor`.
    pub hello: String,
    /// The version of this protocol that the daemon speaks.
    pub protocol: u32,
    /// The daemon's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Where it serves HTTP; empty while it starts.
    pub addresses: Vec<String>,
}

/// What a client asks, in one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// How it is.
    Status,
    /// What can be asked for.
    Models,
    /// Read the configuration again.
    Reload,
    /// Stop as on SIGTERM.
    Stop,
    /// Every request that ends, from now on.
    Events,
}

/// What the daemon answers, in one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// To [`Command::Status`].
    Status(Box<Status>),
    /// To [`Command::Models`].
    Models(Box<Listing>),
    /// It was done; a text for the reader.
    Done(String),
    /// It was not done; why.
    Failed(String),
    /// To [`Command::Events`]: all records of `writer` up to `after` are in
    /// the store, and those behind it follow.
    Subscribed {
        /// Tells the daemon's records in the store from those of others.
        writer: i64,
        /// The number of its last record that is in the store.
        after: i64,
    },
    /// A request has ended.
    Request(Box<Record>),
    /// The reader was too slow, and missed so many.
    Missed(u64),
}

/// The daemon's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Where it serves HTTP.
    pub addresses: Vec<String>,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// Whether clients must send a key.
    pub client_key: bool,
    /// Requests that could not be recorded.
    pub log_dropped: u64,
    /// The providers.
    pub providers: Vec<ProviderLine>,
}

/// One provider of [`Status`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProviderLine {
    /// Its name.
    pub provider: String,
    /// Where it is.
    pub base_url: String,
    /// The proxy that it is reached through, from the environment.
    #[serde(default)]
    pub proxy: Option<String>,
    /// A server that nobody named: its absence is no news.
    pub optional: bool,
    /// Whether it is in the pool.
    pub in_pool: bool,
    /// What its last check came to.
    pub validation: String,
    /// What to know of that.
    pub detail: String,
    /// Its models that are cooling, with the time left.
    pub cooling: Vec<CoolingModel>,
}

/// A model that is left alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CoolingModel {
    /// Its id.
    pub model: String,
    /// `cooling` or `probing`.
    pub state: String,
    /// How long it still is.
    pub cooling_ms: u64,
}
