//! What the engine hands back.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::relay::Relay;
use crate::catalog::Tier;
use crate::journal::Attempt;
use crate::routing::Refusal;
use crate::wire::Profile;

/// How a request was routed: what the debug headers tell.
#[derive(Debug, Clone, Default)]
pub struct Routed {
    /// The model that answered.
    pub model: Option<Arc<str>>,
    /// The tier that was decided.
    pub tier: Option<Tier>,
    /// How sure the classifier was.
    pub confidence: f64,
    /// How the model was chosen.
    pub profile: Profile,
    /// The floor that the conversation so far sets.
    pub history_floor: Option<Tier>,
    /// What is saved against the baseline model, as a fraction; only in debug mode.
    pub savings: Option<f64>,
    /// How many attempts were made.
    pub attempts: usize,
    /// Whether another model than the chain's first answered.
    pub fallback: bool,
}

/// The end of the engine's work on a request.
#[derive(Debug)]
pub enum Reply {
    /// A whole answer, or a provider's refusal that is the caller's business.
    Whole {
        /// Its status.
        status: StatusCode,
        /// Its headers as the provider sent them.
        headers: HeaderMap,
        /// Its body.
        body: Bytes,
        /// How it was routed.
        routed: Routed,
    },
    /// An answer that comes in pieces.
    Stream {
        /// Its status.
        status: StatusCode,
        /// Its headers as the provider sent them.
        headers: HeaderMap,
        /// Its body.
        relay: Box<Relay>,
        /// How it was routed.
        routed: Routed,
    },
    /// Every candidate failed.
    AllFailed {
        /// What was tried.
        attempts: Vec<Attempt>,
        /// Seconds until the first candidate may be tried again, when all are cooling.
        retry_after: Option<u64>,
        /// The prompt was too long for every candidate, and nothing else went wrong.
        too_long: bool,
        /// How it was routed.
        routed: Routed,
    },
    /// There was no chain.
    Refused(Refusal),
}
