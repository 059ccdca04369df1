//! The providers and models in use, with what is known of how they do: one
//! immutable snapshot of the routes, and the states that requests share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ticket::Ticket;
use crate::config::{Provider, Settings, Timeouts};
use crate::failover::{Breaker, Class, Policy, View};
use crate::health::{Figures, Point, Window};
use crate::redact::Redactor;
use crate::routing::{Candidate, CandidateId, Member, Table};
use crate::upstream::{Checked, Standing};

/// The state of one provider, shared by all requests and kept over changes of the pool.
#[derive(Debug, Default)]
pub struct ProviderState {
    pub(super) window: Mutex<Window>,
    pub(super) breaker: Mutex<Breaker>,
    /// Its key was refused by a request, and is being looked at.
    out: AtomicBool,
    checked: Mutex<Option<(Checked, String)>>,
    /// Why it was last left alone as a whole.
    pub(super) cooled: Mutex<Option<Class>>,
    /// What is wrong with it was said, and it has not answered since.
    pub(super) warned: AtomicBool,
}

/// The state of one model, shared likewise.
#[derive(Debug, Default)]
pub struct ModelState {
    pub(super) breaker: Mutex<Breaker>,
}

/// A panic while a state was locked leaves a state that is still sound.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProviderState {
    /// The figures of the last five minutes; `uptime` is the engine's.
    pub fn figures(&self, uptime: Duration) -> Figures {
        lock(&self.window).figures(uptime)
    }

    /// The last five minutes bit by bit; `uptime` is the engine's.
    pub fn series(&self, uptime: Duration) -> Vec<Point> {
        lock(&self.window).series(uptime)
    }

    /// Its breaker's state.
    pub fn view(&self, now: Instant) -> View {
        lock(&self.breaker).view(now)
    }

    /// Why it is left alone as a whole, while it is.
    pub fn cooled_for(&self, now: Instant) -> Option<Class> {
        (*lock(&self.cooled)).filter(|_| matches!(self.view(now), View::Cooling(_)))
    }

    /// The last check and when it was made, RFC 3339.
    pub fn checked(&self) -> Option<(Checked, String)> {
        lock(&self.checked).clone()
    }

    /// Whether its key was refused by a request and has not been cleared.
    pub fn is_out(&self) -> bool {
        self.out.load(Ordering::Acquire)
    }

    /// Whether a warning about it would be the first since its last answer; the next one is not.
    pub(super) fn warns_first(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// Takes it out or lets it back in; returns what it was before.
    pub(super) fn set_out(&self, out: bool) -> bool {
        self.out.swap(out, Ordering::AcqRel)
    }

    /// Keeps the list of models from before when this check brought none: a
    /// name that was good a moment ago stays known.
    pub(super) fn set_checked(&self, mut checked: Checked, at: String) {
        let mut last = lock(&self.checked);
        if checked.models.is_none() {
            checked.models = last.take().and_then(|(before, _)| before.models);
        }
        *last = Some((checked, at));
    }

    /// Makes it cool when too few of its answers of the last five minutes were good.
    pub(super) fn trip_if_failing(&self, policy: Policy, now: Instant, uptime: Duration) {
        if policy.failures == 0 || !lock(&self.window).is_failing(uptime) {
            return;
        }
        let mut breaker = lock(&self.breaker);
        if breaker.view(now) == View::Ready {
            breaker.trip(now, policy);
        }
    }

    pub(super) fn cool(&self, now: Instant, wait: Duration) {
        lock(&self.breaker).cool(now, wait);
    }

    pub(super) fn forget(&self) {
        self.set_out(false);
        lock(&self.breaker).reset();
    }
}

impl ModelState {
    /// Its breaker's state.
    pub fn view(&self, now: Instant) -> View {
        lock(&self.breaker).view(now)
    }

    pub(super) fn cool(&self, now: Instant, wait: Duration) {
        lock(&self.breaker).cool(now, wait);
    }
}

/// A snapshot of what can be routed to.
pub struct Fleet {
    /// The settings that it was made from.
    pub settings: Arc<Settings>,
    /// The routes.
    pub table: Table,
    /// Masks every key in use.
    pub redactor: Arc<Redactor>,
    providers: Vec<Arc<ProviderState>>,
    models: HashMap<Arc<str>, Arc<ModelState>, foldhash::fast::RandomState>,
    /// States of models that only their providers can know.
    unlisted: Arc<Mutex<HashMap<Arc<str>, Arc<ModelState>>>>,
}

/// More models than this that nobody lists are not told apart.
const MOST_UNLISTED: usize = 1000;

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fleet({} providers, {} models)", self.providers.len(), self.models.len())
    }
}

impl Fleet {
    /// A snapshot for the settings. States of providers at the same address,
    /// and of models with the same name, are taken over from `before`.
    pub fn new(settings: Arc<Settings>, before: Option<&Fleet>) -> Self {
        let providers: Vec<Arc<ProviderState>> =
            settings.providers.iter().map(|provider| before.and_then(|before| before.state_of(provider)).unwrap_or_default()).collect();
        let table = build_table(&settings, &providers);
        let mut models = HashMap::default();
        for (_, candidate) in table.candidates().filter(|(_, candidate)| candidate.in_pool) {
            let known = before.and_then(|before| before.models.get(&candidate.label)).cloned();
            models.insert(Arc::clone(&candidate.label), known.unwrap_or_default());
        }
        let redactor = Arc::new(redactor(&settings));
        let unlisted = before.map(|before| Arc::clone(&before.unlisted)).unwrap_or_default();
        Self { settings, table, redactor, providers, models, unlisted }
    }

    fn state_of(&self, provider: &Provider) -> Option<Arc<ProviderState>> {
        let same = |other: &Provider| other.name == provider.name && other.endpoint == provider.endpoint;
        let at = self.settings.providers.iter().position(same)?;
        self.providers.get(at).cloned()
    }

    /// The configured providers with their states, in order.
    pub fn providers(&self) -> impl Iterator<Item = (&Provider, &Arc<ProviderState>)> {
        self.settings.providers.iter().zip(&self.providers)
    }

    /// A provider and its state by its place.
    pub fn provider(&self, place: usize) -> Option<(&Provider, &Arc<ProviderState>)> {
        Some((self.settings.providers.get(place)?, self.providers.get(place)?))
    }

    /// A model's state.
    pub fn model(&self, label: &Arc<str>) -> Arc<ModelState> {
        if let Some(state) = self.models.get(label) {
            return Arc::clone(state);
        }
        let mut unlisted = lock(&self.unlisted);
        if unlisted.len() >= MOST_UNLISTED {
            unlisted.clear();
        }
        Arc::clone(unlisted.entry(Arc::clone(label)).or_default())
    }

    /// The models of one provider that can be asked for, with their states.
    pub fn models_of(&self, place: usize) -> impl Iterator<Item = (&Candidate, Arc<ModelState>)> {
        let own = self.table.candidates().filter(move |(_, candidate)| candidate.provider == place && candidate.in_pool);
        own.map(|(_, candidate)| (candidate, self.model(&candidate.label)))
    }

    /// The candidate of a decision.
    pub fn candidate(&self, id: CandidateId) -> Option<&Candidate> {
        self.table.candidate(id)
    }

    /// How many providers are in the pool now.
    pub fn pool_size(&self) -> usize {
        self.providers.iter().filter(|state| in_pool(state) && !state.is_out()).count()
    }

    /// The time limits for an attempt at a candidate.
    pub fn timeouts(&self, candidate: &Candidate) -> Timeouts {
        let settings = &self.settings;
        let none = Default::default();
        let provider = settings.providers.get(candidate.provider).map_or(&none, |provider| &provider.timeouts);
        let own =
            |model: &crate::catalog::ModelRef| *model.provider == *candidate.facts.provider && candidate.facts.answers_to(&model.model);
        let model = settings.model_timeouts.iter().find(|(model, _)| own(model)).map_or(&none, |(_, timeouts)| timeouts);
        Timeouts::resolve([&settings.timeouts, provider, model], candidate.is_patient())
    }

    /// When failures make a model cool.
    pub fn policy(&self) -> Policy {
        Policy { failures: self.settings.breaker.failures, cooldown: self.settings.breaker.cooldown }
    }

    /// Leave to try a candidate now; `None` while it or its provider cools or
    /// is probed by another request.
    pub(super) fn admit(&self, candidate: &Candidate, now: Instant) -> Option<Ticket> {
        let (_, provider) = self.provider(candidate.provider)?;
        Ticket::admit(provider, self.model(&candidate.label), now)
    }

    /// Leave to try a candidate although it cools; `None` when it is gone.
    pub(super) fn force(&self, candidate: &Candidate, now: Instant) -> Option<Ticket> {
        let (_, provider) = self.provider(candidate.provider)?;
        Ticket::force(provider, self.model(&candidate.label), now)
    }
}

/// Whether its last check lets it be routed to. One whose key was refused a
/// moment ago stays in the routes; requests pass it over until that is cleared.
fn in_pool(state: &ProviderState) -> bool {
    lock(&state.checked).as_ref().is_some_and(|(checked, _)| checked.standing.in_pool())
}

fn build_table(settings: &Settings, states: &[Arc<ProviderState>]) -> Table {
    let checks: Vec<(Option<Checked>, bool)> =
        states.iter().map(|state| (state.checked().map(|(checked, _)| checked), in_pool(state))).collect();
    let members: Vec<Member<'_>> = settings
        .providers
        .iter()
        .zip(&checks)
        .map(|(provider, (checked, in_pool))| Member {
            name: &provider.name,
            in_pool: *in_pool,
            loopback: provider.endpoint.is_loopback(),
            local: provider.local,
            listed: checked.as_ref().and_then(|checked| checked.models.as_deref()).unwrap_or_default(),
        })
        .collect();
    Table::build(settings, &members)
}

fn redactor(settings: &Settings) -> Redactor {
    let keys = settings.providers.iter().filter_map(|provider| provider.key.key());
    let headers = settings
        .providers
        .iter()
        .flat_map(|provider| &provider.headers)
        .filter(|header| header.variable.is_some())
        .map(|header| &header.value);
    let own = settings.server.client_key.iter();
    Redactor::new(keys.chain(headers).chain(own).map(|key| key.expose()))
}

/// Whether a standing, once found, makes the provider cool.
pub(super) fn cools(standing: Standing) -> Option<Duration> {
    (standing == Standing::NoCredit).then_some(Duration::from_secs(3600))
}
