//! The attempt loop: the one way from a request to a reply, streamed or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::explain::{baseline_cost, savings};
use super::fleet::Fleet;
use super::relay::{Pace, Relay};
use super::reply::{Reply, Routed};
use super::ticket::Ticket;
use super::{Desk, Engine};
use crate::failover::{Aftermath, Class, Verdict, View, aftermath, judge, share};
use crate::health::Took;
use crate::journal::{Draft, Outcome, Skipped, millis};
use crate::routing::{Bearings, Candidate, Decision, Fit, Refusal, Why, cost, count, decide, fit, fit_counted};
use crate::turn;
use crate::upstream::{Caller, Failure, Live, Refused, Sent, Task, Upstream, Whole, send};
use crate::wire::Ask;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A request on its way through the engine.
#[derive(Debug)]
pub struct Call<'a> {
    /// What is asked.
    pub ask: Box<Ask>,
    /// The caller's headers.
    pub caller: Caller<'a>,
    /// The record that is written when the request ends.
    pub draft: Draft,
}

impl Engine {
    /// Answers a request. Dropping the future cancels the attempt that runs
    /// and makes no other.
    pub async fn answer(self: &Arc<Self>, desk: &Desk, call: Call<'_>) -> Reply {
        let fleet = self.fleet();
        let Call { ask, caller, mut draft } = call;
        note_ask(&mut draft, &ask);
        let decision = match self.decide(&fleet, &ask) {
            Ok(decision) => decision,
            Err(refusal) => return refuse(draft, refusal, &fleet),
        };
        note_decision(&mut draft, &fleet, &decision);
        let upstream = desk.upstream(self, &fleet);
        let run = Run { engine: self, fleet: &fleet, upstream: &upstream.1, ask: &ask, caller: &caller, started: draft.started() };
        run.attempts(&decision, draft).await
    }
}

impl Engine {
    /// The decision for a request, by the fleet as it is now.
    pub(super) fn decide(&self, fleet: &Fleet, ask: &Ask) -> Result<Decision, Refusal> {
        let latency = |place: usize| {
            let figures = fleet.provider(place)?.1.figures(self.uptime());
            figures.quantiles.map(|(median, _)| median)
        };
        decide(&fleet.table, ask, Bearings { routing: fleet.settings.routing, latency: &latency })
    }
}

/// What stays the same over all attempts of a request.
struct Run<'a> {
    engine: &'a Arc<Engine>,
    fleet: &'a Arc<Fleet>,
    upstream: &'a Upstream,
    ask: &'a Ask,
    caller: &'a Caller<'a>,
    started: Instant,
}

/// What the attempts so far have shown.
#[derive(Default)]
struct Progress {
    made: usize,
    /// The prompt's tokens, once they had to be counted.
    tokens: Option<u64>,
    /// Windows up to this size are known to be too small.
    too_small: Option<u64>,
    /// How many candidates failed or were left out for size alone.
    oversized: usize,
    others_failed: bool,
}

impl Run<'_> {
    /// Candidates in order; those that cool are kept for the end and tried
    /// all the same when nothing else is left.
    async fn attempts(&self, decision: &Decision, mut draft: Draft) -> Reply {
        let chain = || self.chain(decision);
        let routed = Routed {
            tier: decision.tier,
            confidence: decision.confidence,
            profile: decision.profile,
            history_floor: decision.classification.as_ref().and_then(|found| found.history_floor),
            ..Routed::default()
        };
        let mut progress = Progress::default();
        let mut cooling: Vec<&Candidate> = Vec::new();
        let (first, mut left, mut ready) = (chain().next(), chain().count(), chain());
        let mut forced = Vec::new().into_iter();
        let mut in_reserve = false;
        loop {
            let candidate = match if in_reserve { forced.next() } else { ready.next() } {
                Some(candidate) => candidate,
                None if in_reserve => break,
                None => {
                    in_reserve = true;
                    forced = std::mem::take(&mut cooling).into_iter();
                    continue;
                }
            };
            if self.leaves_out(candidate, &mut progress, &mut draft).await {
                left -= 1;
                continue;
            }
            let now = turn::now();
            let ticket = if in_reserve { self.fleet.force(candidate, now) } else { self.fleet.admit(candidate, now) };
            let Some(ticket) = ticket else {
                if in_reserve {
                    left -= 1;
                } else {
                    cooling.push(candidate);
                }
                continue;
            };
            left -= 1;
            let is_first = first.is_some_and(|first| first.label == candidate.label);
            let Some(sent) = self.attempt(candidate, left, now, &mut draft).await else { break };
            progress.made += 1;
            if !matches!(sent, Sent::Failed(_)) {
                put_off(if in_reserve { forced.as_slice() } else { &cooling }, &mut draft);
            }
            match sent {
                Sent::Whole(whole) => {
                    return self.deliver_whole(whole, Won { candidate, ticket, started: now, is_first }, draft, routed);
                }
                Sent::Live(live) => {
                    return self.deliver_stream(live, Won { candidate, ticket, started: now, is_first }, draft, routed);
                }
                Sent::Failed(failure) => {
                    let verdict = judge(failure.class, is_first);
                    self.note_failure(candidate, ticket, &failure, &mut draft, &mut progress);
                    match (verdict, failure.refused) {
                        (Verdict::Refuse, Some(refused)) => return self.pass_on(refused, candidate, draft, routed, progress.made),
                        (Verdict::Stop, _) => break,
                        (Verdict::Deliver | Verdict::Refuse | Verdict::TryNext | Verdict::TryLarger, _) => {}
                    }
                }
            }
        }
        self.all_failed(draft, routed, &progress, chain())
    }

    /// The candidates in order.
    fn chain<'d>(&'d self, decision: &'d Decision) -> impl Iterator<Item = &'d Candidate> {
        let ids = decision.chain.iter().filter_map(|id| self.fleet.candidate(*id));
        decision.unlisted.as_deref().into_iter().chain(ids)
    }

    /// Whether a candidate cannot be tried at all, which is written down.
    async fn leaves_out(&self, candidate: &Candidate, progress: &mut Progress, draft: &mut Draft) -> bool {
        let window = candidate.facts.context_window;
        let fit = match fit(&candidate.facts, self.ask) {
            Fit::Near => fit_counted(&candidate.facts, self.ask, Box::pin(self.tokens(progress)).await),
            fit => fit,
        };
        let (why, needs, has) = match fit {
            _ if self.fleet.provider(candidate.provider).is_none_or(|(_, state)| state.is_out()) => (Why::Auth, None, None),
            Fit::Never { needs, window } => (Why::ContextWindow, Some(needs), Some(window)),
            _ if progress.too_small.zip(window).is_some_and(|(small, window)| window <= small) => (Why::ContextWindow, None, window),
            Fit::May | Fit::Near => return false,
        };
        match why {
            Why::ContextWindow => progress.oversized += 1,
            _ => progress.others_failed = true,
        }
        draft.edit(|record| record.skipped.push(skipped(candidate, why, needs, has)));
        true
    }

    /// The prompt's tokens, counted once and on a thread of its own. If that
    /// fails, nothing is known of them, and nothing is left out for it.
    async fn tokens(&self, progress: &mut Progress) -> u64 {
        if let Some(tokens) = progress.tokens {
            return tokens;
        }
        let ask = self.ask.clone();
        let tokens = tokio::task::spawn_blocking(move || count(&ask)).await.unwrap_or(0);
        progress.tokens = Some(tokens);
        tokens
    }

    /// Makes one attempt within its share of the time; `None` when no time is left.
    async fn attempt(&self, candidate: &Candidate, behind: usize, now: Instant, draft: &mut Draft) -> Option<Sent> {
        let (provider, _) = self.fleet.provider(candidate.provider)?;
        let timeouts = self.fleet.timeouts(candidate);
        let left = timeouts.total.checked_sub(now.saturating_duration_since(self.started)).filter(|left| !left.is_zero())?;
        let own = if self.ask.stream { timeouts.first } else { timeouts.response };
        let deadline = now + share(own, left, behind);
        let (ask, caller, facts) = (self.ask, self.caller, candidate.facts.as_ref());
        draft.begin(&facts.provider, &facts.id, now);
        let task = Task { place: candidate.provider, connect: timeouts.connect, provider, facts, ask, caller, deadline };
        Some(send(self.upstream, task).await)
    }

    fn note_failure(&self, candidate: &Candidate, ticket: Ticket, failure: &Failure, draft: &mut Draft, progress: &mut Progress) {
        // What this machine lacks says nothing about the provider.
        let after = if failure.ours { Aftermath::default() } else { aftermath(failure.class, failure.hint) };
        let now = turn::now();
        ticket.failed(failure.class, after, self.fleet.policy(), now, self.engine.uptime_at(now));
        match failure.class {
            Class::ModelGone => tracing::warn!("{} is not there: {}; it is left out for 10 min", candidate.label, failure.detail),
            class if failure.loud && self.fleet.provider(candidate.provider).is_some_and(|(_, state)| state.warns_first()) => {
                tracing::warn!("{}: {class} ({}); it is not trusted, and the next model is tried", candidate.label, failure.detail);
            }
            class => tracing::debug!("{}: {class} ({})", candidate.label, failure.detail),
        }
        draft.concluded(now, |attempt| {
            attempt.class = failure.class;
            attempt.status = failure.status;
            attempt.possible_duplicate = failure.is_possible_duplicate();
            attempt.upstream_id = failure.refused.as_ref().and_then(|refused| self.upstream_id(&refused.headers));
        });
        match failure.class {
            Class::ContextWindow => {
                progress.oversized += 1;
                progress.too_small = progress.too_small.max(candidate.facts.context_window);
            }
            _ => progress.others_failed = true,
        }
        if after.out {
            self.engine.key_refused(self.fleet, candidate, &failure.detail);
        }
    }

    fn deliver_whole(&self, whole: Whole, won: Won<'_>, mut draft: Draft, routed: Routed) -> Reply {
        let (status, now) = (whole.status.as_u16(), turn::now());
        let told = self.told(&whole.headers, whole.other_model.as_deref());
        let routed = self.priced(won.candidate, won.note(now, &mut draft, routed, status, None, told));
        won.ticket.committed(now).good(self.engine.uptime_at(now), Took::Whole(now.saturating_duration_since(won.started)));
        draft.edit(|record| {
            record.prompt_tokens = whole.usage.prompt;
            record.completion_tokens = whole.usage.completion;
        });
        draft.end(if routed.fallback { Outcome::Fallback } else { Outcome::Served }, Some(status));
        Reply::Whole { status: whole.status, headers: whole.headers, body: whole.body, routed }
    }

    fn deliver_stream(&self, live: Box<Live>, won: Won<'_>, mut draft: Draft, routed: Routed) -> Reply {
        let now = turn::now();
        let first = now.saturating_duration_since(won.started);
        let (status, headers) = (live.status, live.headers.clone());
        let told = self.told(&headers, live.other_model.as_deref());
        let routed = self.priced(won.candidate, won.note(now, &mut draft, routed, status.as_u16(), Some(first), told));
        let since = now.saturating_duration_since(draft.started());
        draft.edit(|record| record.first_ms = Some(millis(since)));
        let idle = self.fleet.timeouts(won.candidate).idle;
        let pace = Pace { started: won.started, first, idle };
        let relay = Relay::new(self.engine, self.fleet, live, won.ticket.committed(now), draft, routed.fallback, pace);
        Reply::Stream { status, headers, relay: Box::new(relay), routed }
    }

    /// Adds what the answer saves against the baseline, which only debug headers tell.
    fn priced(&self, candidate: &Candidate, routed: Routed) -> Routed {
        if !self.fleet.settings.server.debug_routing {
            return routed;
        }
        Routed { savings: savings(cost(&candidate.facts, self.ask), baseline_cost(self.ask)), ..routed }
    }

    /// The provider's refusal is the caller's business: it gets it as it came,
    /// with keys masked.
    fn pass_on(&self, mut refused: Refused, candidate: &Candidate, mut draft: Draft, routed: Routed, attempts: usize) -> Reply {
        draft.end(Outcome::Rejected, Some(refused.status.as_u16()));
        let body = match self.fleet.redactor.mask(&refused.body) {
            std::borrow::Cow::Borrowed(_) => refused.body,
            std::borrow::Cow::Owned(masked) => masked.into(),
        };
        for value in refused.headers.values_mut() {
            if let std::borrow::Cow::Owned(masked) = self.fleet.redactor.mask(value.as_bytes()) {
                *value = HeaderValue::from_bytes(&masked).unwrap_or(HeaderValue::from_static("***"));
            }
        }
        let routed = Routed { model: Some(Arc::clone(&candidate.label)), attempts, ..routed };
        Reply::Whole { status: refused.status, headers: refused.headers, body, routed }
    }

    /// The provider's own id for a request, when it is one and no key.
    fn upstream_id(&self, headers: &HeaderMap) -> Option<String> {
        self.name(headers.get(X_REQUEST_ID).or_else(|| headers.get(REQUEST_ID))?.to_str().ok()?)
    }

    fn told(&self, headers: &HeaderMap, other_model: Option<&str>) -> Told {
        Told { upstream_id: self.upstream_id(headers), answered_as: other_model.and_then(|name| self.name(name)) }
    }

    /// A word of the provider's that is short enough to be a name, without keys.
    fn name(&self, value: &str) -> Option<String> {
        (!value.is_empty() && value.len() <= 128).then(|| self.fleet.redactor.mask_text(value))
    }

    fn all_failed<'d>(&self, mut draft: Draft, routed: Routed, progress: &Progress, chain: impl Iterator<Item = &'d Candidate>) -> Reply {
        let too_long = progress.oversized > 0 && !progress.others_failed;
        let attempts = draft.read(|record| record.attempts.clone());
        let as_request = too_long && self.fleet.settings.server.overflow == crate::config::Overflow::BadRequest;
        draft.end(if as_request { Outcome::Rejected } else { Outcome::Failed }, Some(if as_request { 400 } else { 502 }));
        let routed = Routed { attempts: attempts.len(), ..routed };
        Reply::AllFailed { attempts, retry_after: self.retry_after(chain), too_long: as_request, routed }
    }

    /// Seconds until the first candidate may be tried again; `None` unless all
    /// are cooling.
    fn retry_after<'d>(&self, chain: impl Iterator<Item = &'d Candidate>) -> Option<u64> {
        let now = turn::now();
        let wait = |candidate: &Candidate| {
            let (_, provider) = self.fleet.provider(candidate.provider)?;
            let left = |view| match view {
                View::Ready => None,
                View::Cooling(left) => Some(left),
                View::Probing => Some(Duration::ZERO),
            };
            left(provider.view(now)).max(left(self.fleet.model(&candidate.label).view(now)))
        };
        let waits: Option<Vec<Duration>> = chain.map(wait).collect();
        waits?.into_iter().min().map(|soonest| soonest.as_secs().saturating_add(u64::from(soonest.subsec_nanos() > 0)).max(1))
    }
}

/// The attempt that brought an answer.
struct Won<'a> {
    candidate: &'a Candidate,
    ticket: Ticket,
    started: Instant,
    /// Whether it is the first of the chain.
    is_first: bool,
}

/// What an answer says of itself.
struct Told {
    upstream_id: Option<String>,
    answered_as: Option<String>,
}

impl Won<'_> {
    /// Writes down who answered.
    fn note(&self, now: Instant, draft: &mut Draft, routed: Routed, status: u16, first: Option<Duration>, told: Told) -> Routed {
        let label = &self.candidate.label;
        draft.concluded(now, |attempt| {
            attempt.class = Class::Ok;
            attempt.status = Some(status);
            attempt.first_ms = first.map(millis);
            attempt.upstream_id = told.upstream_id;
            attempt.answered_as = told.answered_as;
        });
        draft.edit(|record| record.served_by = Some(Arc::clone(label)));
        let attempts = draft.read(|record| record.attempts.len());
        Routed { model: Some(Arc::clone(label)), attempts, fallback: !self.is_first, ..routed }
    }
}

/// Writes down who was put off and then not needed.
fn put_off(cooling: &[&Candidate], draft: &mut Draft) {
    if !cooling.is_empty() {
        draft.edit(|record| record.skipped.extend(cooling.iter().map(|candidate| skipped(candidate, Why::Cooling, None, None))));
    }
}

fn refuse(mut draft: Draft, mut refusal: Refusal, fleet: &Fleet) -> Reply {
    // A caller may have put a key where the model belongs.
    draft.edit(|record| record.model = fleet.redactor.mask_text(&record.model));
    if let Refusal::UnknownModel { name, .. } | Refusal::NotInPool(name) = &mut refusal {
        *name = fleet.redactor.mask_text(name);
    }
    let status = match refusal {
        Refusal::UnknownModel { .. } => 404,
        Refusal::NoCapableModel(_) => 400,
        Refusal::NotInPool(_) | Refusal::EmptyPool => 503,
    };
    draft.end(if status == 503 { Outcome::Failed } else { Outcome::Rejected }, Some(status));
    Reply::Refused(refusal)
}

fn note_ask(draft: &mut Draft, ask: &Ask) {
    // A name can be as long as the body; the record keeps what a reader needs of it.
    let name = ask.model.as_deref().unwrap_or("auto");
    let end = name.char_indices().nth(256).map_or(name.len(), |(end, _)| end);
    draft.edit(|record| {
        record.model.push_str(name.get(..end).unwrap_or_default());
        record.stream = ask.stream;
    });
}

fn note_decision(draft: &mut Draft, fleet: &Fleet, decision: &Decision) {
    let label = |id: &u32| fleet.candidate(*id).map(|candidate| Arc::clone(&candidate.label));
    let unlisted = decision.unlisted.iter().map(|candidate| Arc::clone(&candidate.label));
    let chain = unlisted.chain(decision.chain.iter().filter_map(label));
    let left_out = decision.skipped.iter().filter_map(|(id, why)| Some(skipped(fleet.candidate(*id)?, *why, None, None)));
    draft.edit(|record| {
        record.tier = decision.tier;
        record.chain.extend(chain);
        record.skipped.extend(left_out);
    });
}

fn skipped(candidate: &Candidate, why: Why, needs_tokens: Option<u64>, has_tokens: Option<u64>) -> Skipped {
    let facts = &candidate.facts;
    Skipped { provider: facts.provider.clone(), model: facts.id.clone(), why, needs_tokens, has_tokens }
}
