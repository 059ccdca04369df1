//! The decision for a request, told and not acted on: nobody is called and
//! nothing is recorded.

use serde::Serialize;

use super::Engine;
use super::fleet::Fleet;
use crate::catalog::{self, ModelRef, Tier};
use crate::journal::Skipped;
use crate::routing::{Candidate, Decision, Fit, Refusal, Why, cost, count, fit, fit_counted};
use crate::wire::Ask;

/// What savings are counted against: the model that the documentation names
/// as the baseline.
const BASELINE: (&str, &str) = ("anthropic", "claude-opus-4-8");

/// A decision, in the documented shape.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The decision itself.
    pub decision: Explained,
}

/// The parts of a decision. Names are stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The model that would be asked first.
    pub model: String,
    /// The tier of the chain.
    pub tier: Option<Tier>,
    /// The kind of work, when the classifier was asked.
    pub category: Option<&'static str>,
    /// How sure the classifier is of the tier.
    pub confidence: f64,
    /// Always `rules`.
    pub method: &'static str,
    /// The score and the signals that made it, for a reader.
    pub reasoning: String,
    /// USD, when the first model's price is known.
    pub cost_estimate: Option<f64>,
    /// USD at the baseline model.
    pub baseline_cost: Option<f64>,
    /// What is saved against the baseline, as a fraction.
    pub savings: Option<f64>,
    /// The chain after all filters.
    pub filtered_chain: Vec<String>,
    /// How the model was chosen.
    pub profile: &'static str,
    /// The floor that the conversation so far sets.
    pub history_floor: Option<Tier>,
    /// `tools` when the request declares tools.
    pub tool_scenario: Option<&'static str>,
    /// The first model's function-calling score, when tools are declared and it is known.
    pub bfcl_score: Option<f64>,
    /// What was left out, and why.
    pub skipped: Vec<Skipped>,
    /// The signals, the weightiest first.
    pub signals: Vec<Told>,
}

/// One signal.
#[derive(Debug, Serialize)]
pub struct Told {
    /// The dimension.
    pub dimension: &'static str,
    /// What it added to the score.
    pub contribution: f64,
    /// Words that it was found by.
    pub matched: Vec<&'static str>,
}

impl Engine {
    /// Decides for a request, and calls nobody. May count tokens, so it is not
    /// for a thread that serves requests.
    pub fn explain(&self, ask: &Ask) -> Result<Explanation, Refusal> {
        let fleet = self.fleet();
        let decision = self.decide(&fleet, ask)?;
        Ok(Explanation { decision: explain(&fleet, ask, &decision) })
    }
}

fn explain(fleet: &Fleet, ask: &Ask, decision: &Decision) -> Explained {
    let unlisted = decision.unlisted.as_deref();
    let chain: Vec<&Candidate> = unlisted.into_iter().chain(decision.chain.iter().filter_map(|id| fleet.candidate(*id))).collect();
    let mut skipped: Vec<Skipped> =
        decision.skipped.iter().filter_map(|(id, why)| Some(left_out(fleet.candidate(*id)?, *why, None))).collect();
    let tokens = std::cell::OnceCell::new();
    let exactly = |candidate: &Candidate| match fit(&candidate.facts, ask) {
        Fit::Near => fit_counted(&candidate.facts, ask, *tokens.get_or_init(|| count(ask))),
        fit => fit,
    };
    let fits = |candidate: &&&Candidate| match exactly(candidate) {
        Fit::May | Fit::Near => true,
        Fit::Never { needs, window } => {
            skipped.push(left_out(candidate, Why::ContextWindow, Some((needs, window))));
            false
        }
    };
    let kept: Vec<&Candidate> = chain.iter().filter(fits).copied().collect();
    let first = kept.first().or(chain.first());
    let found = decision.classification.as_deref();
    let estimate = first.and_then(|candidate| cost(&candidate.facts, ask));
    let baseline = baseline_cost(ask);
    Explained {
        model: first.map(|candidate| candidate.label.to_string()).unwrap_or_default(),
        tier: decision.tier,
        category: found.map(|found| found.category.name()),
        confidence: rounded(decision.confidence),
        method: "rules",
        reasoning: reasoning(decision),
        cost_estimate: estimate,
        baseline_cost: baseline,
        savings: savings(estimate, baseline).map(rounded),
        filtered_chain: kept.iter().map(|candidate| candidate.label.to_string()).collect(),
        profile: decision.profile.name(),
        history_floor: found.and_then(|found| found.history_floor),
        tool_scenario: ask.needs.tools.then_some("tools"),
        bfcl_score: first.filter(|_| ask.needs.tools).and_then(|candidate| candidate.facts.bfcl),
        skipped,
        signals: found.map(|found| found.signals.iter().map(told).collect()).unwrap_or_default(),
    }
}

/// What the request would cost at the baseline model, in USD.
pub(super) fn baseline_cost(ask: &Ask) -> Option<f64> {
    let (provider, model) = BASELINE;
    catalog::builtin().model(&ModelRef::new(provider, model)).and_then(|facts| cost(facts, ask))
}

/// The saved part of the baseline's cost; negative when the model costs more.
pub(super) fn savings(estimate: Option<f64>, baseline: Option<f64>) -> Option<f64> {
    let baseline = baseline.filter(|cost| *cost > 0.0)?;
    Some(1.0 - estimate? / baseline)
}

fn reasoning(decision: &Decision) -> String {
    let Some(found) = decision.classification.as_deref() else {
        return "the request names its model or tier".to_owned();
    };
    let signal = |signal: &crate::routing::Signal| match signal.matched.as_slice() {
        [] => signal.dimension.to_owned(),
        words => format!("{} ({})", signal.dimension, words.join(", ")),
    };
    let signals: Vec<String> = found.signals.iter().map(signal).collect();
    format!("rules: score={:.3}, confidence={:.2}, signals=[{}]", found.score, found.confidence, signals.join(", "))
}

fn told(signal: &crate::routing::Signal) -> Told {
    Told { dimension: signal.dimension, contribution: rounded(signal.contribution), matched: signal.matched.clone() }
}

fn left_out(candidate: &Candidate, why: Why, sizes: Option<(u64, u64)>) -> Skipped {
    let facts = &candidate.facts;
    let (needs_tokens, has_tokens) = sizes.unzip();
    Skipped { provider: facts.provider.clone(), model: facts.id.clone(), why, needs_tokens, has_tokens }
}

/// Three places are enough for a reader.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
