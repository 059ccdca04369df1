//! `check --live`: one small, billed call to each provider in the pool, through
//! the same engine as any other request.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::catalog::Tier;
use crate::engine::{Call, Desk, Engine, Fleet, Reply};
use crate::failover::Class;
use crate::journal::{Draft, millis};
use crate::upstream::Caller;
use crate::wire::parse;

/// What a call came to.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The model that was asked.
    pub model: String,
    /// What it came to.
    pub class: Class,
    /// The provider's status, if it gave one.
    pub status: Option<u16>,
    /// How long it took.
    pub ms: u64,
}

impl Answer {
    /// Whether it answered.
    pub fn is_good(&self) -> bool {
        self.class == Class::Ok
    }
}

/// Asks one model of each provider in the pool; by the provider's name.
pub async fn ask_all(engine: &Arc<Engine>) -> HashMap<String, Answer> {
    let fleet = engine.fleet();
    let mut calls = tokio::task::JoinSet::new();
    for (place, (provider, _)) in fleet.providers().enumerate() {
        let Some(model) = pick(&fleet, place) else { continue };
        let (engine, name) = (Arc::clone(engine), provider.name.clone());
        calls.spawn(async move { (name, ask(&engine, model).await) });
    }
    calls.join_all().await.into_iter().collect()
}

/// The provider's first model in a chain, the small tiers first, else any that it lists.
fn pick(fleet: &Fleet, place: usize) -> Option<String> {
    let of_tier = |tier: Tier| fleet.table.tier(tier).chain.iter().filter_map(|id| fleet.candidate(*id));
    let in_chains = Tier::ALL.into_iter().flat_map(of_tier).find(|candidate| candidate.provider == place);
    let any = || fleet.models_of(place).map(|(candidate, _)| candidate).next();
    in_chains.or_else(any).map(|candidate| candidate.label.to_string())
}

async fn ask(engine: &Arc<Engine>, model: String) -> Answer {
    let body = json!({
        "model": model, "routor_profile": "direct", "max_tokens": 16,
        "messages": [{"role": "user", "content": "Say yes."}],
    });
    let since = Instant::now();
    let mut answer = Answer { model, class: Class::BadRequest, status: None, ms: 0 };
    let Ok(ask) = parse(Bytes::from(body.to_string())) else { return answer };
    let draft = Draft::open(engine.journal(), "check");
    let headers = http::HeaderMap::new();
    let caller = Caller::new(&headers, engine.id.clone());
    match engine.answer(&Desk::new(engine), Call { ask, caller, draft }).await {
        Reply::Whole { status, .. } | Reply::Stream { status, .. } => {
            answer.class = if status.is_success() { Class::Ok } else { Class::BadRequest };
            answer.status = Some(status.as_u16());
        }
        Reply::AllFailed { attempts, .. } => {
            if let Some(attempt) = attempts.last() {
                (answer.class, answer.status) = (attempt.class, attempt.status);
            }
        }
        Reply::Refused(_) => {}
    }
    answer.ms = millis(since.elapsed());
    answer
}
