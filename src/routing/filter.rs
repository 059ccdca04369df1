//! What a request needs and a model lacks. An unknown fact excludes nothing.

use serde::{Deserialize, Serialize};

use super::table::Candidate;
use crate::catalog::{Capability, Facts};
use crate::wire::Ask;

/// Why a candidate was left out. The names are stable: scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It calls no tools.
    Tools,
    /// It reads no images.
    Vision,
    /// It hears no audio.
    Audio,
    /// It reads no files.
    Files,
    /// It does not answer by a JSON schema.
    JsonSchema,
    /// It would cost more than `routor_max_cost`.
    MaxCost,
    /// Its function-calling score is below `routor_bfcl_min`.
    BfclMin,
    /// The alias keeps requests on this machine.
    LocalOnly,
    /// The prompt does not fit its context window.
    ContextWindow,
    /// Its provider rejected the key a moment ago.
    Auth,
    /// It was being left alone, and another one answered.
    Cooling,
    /// Its provider is configured and not in the pool.
    NotInPool,
}

impl Why {
    /// The reason for a reader.
    pub fn text(self) -> &'static str {
        match self {
            Why::Tools => "it cannot call tools",
            Why::Vision => "it cannot read images",
            Why::Audio => "it cannot hear audio",
            Why::Files => "it cannot read files",
            Why::JsonSchema => "it cannot answer by a JSON schema",
            Why::MaxCost => "it would cost more than routor_max_cost",
            Why::BfclMin => "its function-calling score is below routor_bfcl_min",
            Why::LocalOnly => "the alias keeps requests on this machine",
            Why::ContextWindow => "the prompt does not fit its context window",
            Why::Auth => "its provider rejected the key a moment ago",
            Why::Cooling => "it was cooling, and another one answered",
            Why::NotInPool => "its provider is not in the pool; `routor check` says why",
        }
    }
}

/// The first thing that a candidate cannot do, if there is one.
pub(super) fn misfit(candidate: &Candidate, ask: &Ask, local_only: bool) -> Option<Why> {
    let facts = &candidate.facts;
    let needs = [
        (ask.needs.tools, Capability::Tools, Why::Tools),
        (ask.needs.vision, Capability::Vision, Why::Vision),
        (ask.needs.audio, Capability::Audio, Why::Audio),
        (ask.needs.files, Capability::Files, Why::Files),
        (ask.needs.json_schema, Capability::JsonSchema, Why::JsonSchema),
    ];
    if local_only && !candidate.loopback {
        return Some(Why::LocalOnly);
    }
    if let Some((_, _, why)) = needs.into_iter().find(|(needed, capability, _)| *needed && facts.lacks(*capability)) {
        return Some(why);
    }
    if let (Some(most), Some(cost)) = (ask.wishes.max_cost, cost(facts, ask))
        && cost > most
    {
        return Some(Why::MaxCost);
    }
    let below = |least: f64| facts.bfcl.is_some_and(|score| score < least);
    (ask.needs.tools && ask.wishes.bfcl_min.is_some_and(below)).then_some(Why::BfclMin)
}

/// What the request would cost at this model, in USD, when its prices are
/// known. Four bytes of prompt are taken for a token (English and code are
/// near that), and 1,000 tokens for an answer that names no limit.
pub fn cost(facts: &Facts, ask: &Ask) -> Option<f64> {
    const BYTES_PER_TOKEN: f64 = 4.0;
    const USUAL_ANSWER: u32 = 1000;
    let tokens = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    let prompt = tokens(ask.prompt_bytes) / BYTES_PER_TOKEN;
    let answer = ask.max_tokens.map_or(f64::from(USUAL_ANSWER), tokens);
    Some((prompt * facts.input_usd_per_mtok? + answer * facts.output_usd_per_mtok?) / 1e6)
}
