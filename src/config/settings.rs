//! The settings as the rest of the program reads them: every default filled
//! in, every reference checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::key::Key;
use super::providers::Provider;
use crate::catalog::{Facts, ModelRef, PerTier, Tier};

/// Everything that was decided, by the user or by default.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// The HTTP side.
    pub server: Server,
    /// Time limits for all providers; see [`Timeouts::resolve`].
    pub timeouts: TimeoutSet,
    /// How providers are checked.
    pub validation: Validation,
    /// The configured providers: built-in ones in catalogue order, then those of the file.
    pub providers: Vec<Provider>,
    /// The known models of the configured providers and of the catalogue, facts of the file laid over.
    pub models: Vec<Facts>,
    /// Time limits for single models.
    pub model_timeouts: Vec<(ModelRef, TimeoutSet)>,
    /// The chain of each tier.
    pub tiers: PerTier<Vec<ModelRef>>,
    /// Which tiers the file set.
    pub tiers_set: PerTier<bool>,
    /// How chains are ordered and how far they reach.
    pub routing: Routing,
    /// Names that apps send, and what they stand for.
    pub aliases: Vec<Alias>,
    /// When a model is left alone.
    pub breaker: Breaker,
    /// The request log.
    pub log: Log,
    /// What is allowed but likely not meant, for a reader.
    pub warnings: Vec<String>,
}

/// `[server]`.
#[derive(Debug, Clone)]
pub struct Server {
    /// The addresses to listen on.
    pub listen: Listen,
    /// What clients must send as a bearer token, if anything.
    pub client_key: Option<Key>,
    /// The variable that holds it.
    pub client_key_env: String,
    /// Whether answers tell how they were routed.
    pub debug_routing: bool,
    /// The largest request body, in bytes.
    pub max_body: u64,
    /// Browser origins that may call.
    pub allow_origins: Vec<String>,
    /// Host names accepted beside loopback names and the listen addresses, in lower case.
    pub allow_hosts: Vec<String>,
    /// What to answer when a prompt was too long for every candidate.
    pub overflow: Overflow,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Addresses that must be had.
    pub required: Vec<SocketAddr>,
    /// Whether `[::1]` is bound as well, at the same port, when it can be.
    pub also_v6_loopback: bool,
}

/// `server.overflow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// As for every chain that failed.
    AllFailed,
    /// As OpenAI does for a long prompt.
    BadRequest,
}

/// `[pool]`.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// When not empty, the only providers to use.
    pub only: Vec<String>,
    /// Providers not to use.
    pub except: Vec<String>,
}

/// `[timeouts]`, at one of its three levels; what is not set is taken from the level above.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeoutSet {
    /// Until a connection stands, name lookup and TLS included.
    pub connect: Option<Duration>,
    /// Until the first content of a stream.
    pub first: Option<Duration>,
    /// Until the whole answer of a call that does not stream.
    pub response: Option<Duration>,
    /// Between two events of a stream.
    pub idle: Option<Duration>,
    /// For the chain, until the commit point.
    pub total: Option<Duration>,
}

/// The limits of one attempt at one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, name lookup and TLS included.
    pub connect: Duration,
    /// Until the first content of a stream.
    pub first: Duration,
    /// Until the whole answer of a call that does not stream.
    pub response: Duration,
    /// Between two events of a stream.
    pub idle: Duration,
    /// For the chain, until the commit point.
    pub total: Duration,
}

impl Timeouts {
    /// The limits from the nearest level that sets them. `patient` is for
    /// reasoning models and servers on this machine, whose first content takes
    /// longer: 180 s rather than 30 s.
    pub fn resolve(levels: [&TimeoutSet; 3], patient: bool) -> Self {
        let pick = |get: fn(&TimeoutSet) -> Option<Duration>, default: u64| {
            levels.iter().rev().find_map(|level| get(level)).unwrap_or(Duration::from_secs(default))
        };
        Self {
            connect: pick(|level| level.connect, 5),
            first: pick(|level| level.first, if patient { 180 } else { 30 }),
            response: pick(|level| level.response, 300),
            idle: pick(|level| level.idle, 60),
            total: pick(|level| level.total, 600),
        }
    }
}

/// `[validation]`.
#[derive(Debug, Clone, Copy)]
pub struct Validation {
    /// How long one provider may take to answer.
    pub timeout: Duration,
    /// How often unreachable providers are asked again; `None` is never.
    pub recheck: Option<Duration>,
}

/// `[routing]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Routing {
    /// The order of a tier's chain.
    pub order: Order,
    /// The lowest tier that the classifier may pick.
    pub floor: Option<Tier>,
    /// The highest tier that the classifier may pick.
    pub ceiling: Option<Tier>,
    /// Whether a chain goes on with the next tier up when its own is exhausted.
    pub spill_up: bool,
}

/// In which order the candidates of a tier are tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// As the tier lists them.
    #[default]
    Listed,
    /// The cheapest for this request first.
    Cost,
    /// Half quality, half saving; the most expensive one last.
    Value,
    /// The provider that answered fastest over the last five minutes first.
    Latency,
}

impl Order {
    /// The values that configuration may use.
    pub const NAMES: [(&'static str, Order); 4] =
        [("listed", Order::Listed), ("cost", Order::Cost), ("value", Order::Value), ("latency", Order::Latency)];
}

/// What an alias stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The classifier picks a tier.
    Auto,
    /// A tier's chain.
    Tier(Tier),
    /// A model, then its tier's chain.
    Model(ModelRef),
    /// Exactly these models, in this order.
    List(Vec<ModelRef>),
}

/// One name of `[aliases]`.
#[derive(Debug, Clone)]
pub struct Alias {
    /// The name that apps send; `*` is every name that nobody knows.
    pub name: String,
    /// What it stands for.
    pub target: Target,
    /// Nothing leaves this machine.
    pub local_only: bool,
}

/// `[breaker]`.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    /// Failures in a row until a model cools; 0 switches breaker and health ordering off.
    pub failures: u32,
    /// The first cooldown.
    pub cooldown: Duration,
}

/// `[log]`.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Whether requests are recorded.
    pub requests: bool,
    /// How many days records are kept.
    pub keep_days: u64,
    /// The most bytes the log may take.
    pub max_size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_level_decides_and_patience_only_moves_the_default() {
        let secs = |seconds| Some(Duration::from_secs(seconds));
        let global = TimeoutSet { connect: secs(9), ..TimeoutSet::default() };
        let provider = TimeoutSet { connect: secs(8), idle: secs(7), ..TimeoutSet::default() };
        let model = TimeoutSet { connect: secs(6), ..TimeoutSet::default() };
        let got = Timeouts::resolve([&global, &provider, &model], true);
        assert_eq!((got.connect, got.idle, got.first), (Duration::from_secs(6), Duration::from_secs(7), Duration::from_secs(180)));
        let first = TimeoutSet { first: secs(12), ..TimeoutSet::default() };
        assert_eq!(Timeouts::resolve([&first, &provider, &model], true).first, Duration::from_secs(12));
    }
}
