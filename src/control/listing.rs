//! What can be asked for: the models of a fleet, for `routor models`.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::catalog::Tier;
use crate::engine::Fleet;
use crate::failover::{View, millis_left};
use crate::routing::Candidate;

/// Everything that can stand in a request's `model`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listing {
    /// `auto`, the tiers and the aliases.
    pub names: Vec<String>,
    /// The models, grouped by provider.
    pub models: Vec<ModelLine>,
}

/// One model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelLine {
    /// What to ask for: `provider/model`.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// The tier that it is known to be of.
    pub tier: Option<Tier>,
    /// Tokens that it has room for.
    pub context_window: Option<u64>,
    /// USD for a million tokens of a prompt.
    pub input_usd_per_mtok: Option<f64>,
    /// USD for a million tokens of an answer.
    pub output_usd_per_mtok: Option<f64>,
    /// Whether its provider is in the pool.
    pub in_pool: bool,
    /// `ready`, `cooling` or `probing`; `not_configured` when its provider is not.
    pub state: String,
    /// How long it still cools.
    pub cooling_ms: u64,
}

impl Listing {
    /// What a fleet has.
    pub fn of(fleet: &Fleet, now: Instant) -> Self {
        let own = ["auto"].into_iter().chain(Tier::ALL.map(Tier::name)).chain(fleet.table.alias_names());
        Self {
            names: own.map(str::to_owned).collect(),
            models: fleet.table.candidates().map(|(_, candidate)| line(fleet, candidate, now)).collect(),
        }
    }
}

fn line(fleet: &Fleet, candidate: &Candidate, now: Instant) -> ModelLine {
    let facts = &candidate.facts;
    let provider = fleet.provider(candidate.provider);
    let in_pool = candidate.in_pool && provider.is_some_and(|(_, state)| !state.is_out());
    let view = provider.map(|(_, state)| fleet.model(&candidate.label).view(now).max_with(state.view(now)));
    let (state, left) = match view {
        None => ("not_configured", Duration::ZERO),
        Some(View::Ready) => ("ready", Duration::ZERO),
        Some(View::Cooling(left)) => ("cooling", left),
        Some(View::Probing) => ("probing", Duration::ZERO),
    };
    ModelLine {
        model: candidate.label.to_string(),
        provider: facts.provider.to_string(),
        tier: facts.tier,
        context_window: facts.context_window,
        input_usd_per_mtok: facts.input_usd_per_mtok,
        output_usd_per_mtok: facts.output_usd_per_mtok,
        in_pool,
        state: state.to_owned(),
        cooling_ms: millis_left(left),
    }
}
