//! Who is in the pool: checks at the start, when a key is refused, when an
//! unreachable provider may be back, after a reload.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::fleet::{Fleet, cools};
use crate::config::{Provider, Settings};
use crate::journal::Moment;
use crate::routing::Candidate;
use crate::upstream::{Checked, Standing};

/// How long a model is left alone whose request was refused although the key is good.
const REFUSED_MODEL: Duration = Duration::from_secs(600);

impl Engine {
    /// Checks every configured provider at once and routes by what was found.
    /// `progress` is told each result as it comes.
    pub async fn validate(self: &Arc<Self>, progress: impl Fn(&Provider, &Checked)) {
        let fleet = self.fleet();
        let results = self.check_all(&fleet.settings, progress).await;
        self.enter(&fleet.settings, results, None);
    }

    /// Takes every provider with a usable key into the pool without asking.
    pub fn trust(self: &Arc<Self>) {
        let fleet = self.fleet();
        let results = fleet.settings.providers.iter().map(Checked::unasked).collect();
        self.enter(&fleet.settings, results, None);
    }

    /// Checks the providers of new settings and swaps to them. Requests that
    /// run finish on the old ones.
    pub async fn reload(self: &Arc<Self>, settings: Settings) {
        let settings = Arc::new(settings);
        let results = self.check_all(&settings, |_, _| {}).await;
        let before = self.fleet();
        for (_, state) in before.providers() {
            state.forget();
        }
        self.enter(&settings, results, Some(&before));
    }

    /// Asks again those providers that `which` picks, and lets them in or out.
    pub async fn recheck(self: &Arc<Self>, which: impl Fn(&Provider, Option<Standing>) -> bool) {
        let fleet = self.fleet();
        let mut checks = tokio::task::JoinSet::new();
        for (place, (provider, state)) in fleet.providers().enumerate() {
            let before = state.checked().map(|(checked, _)| checked.standing);
            if which(provider, before) {
                let (engine, provider, patience) = (Arc::clone(self), provider.clone(), fleet.settings.validation.timeout);
                checks.spawn(async move { (place, engine.validator.check(&provider, patience).await) });
            }
        }
        let mut changed = false;
        while let Some(Ok((place, checked))) = checks.join_next().await {
            let Some((provider, state)) = fleet.provider(place) else { continue };
            let before = state.checked().map(|(checked, _)| checked);
            if let Some(wait) = cools(checked.standing) {
                state.cool(Instant::now(), wait);
            }
            state.set_checked(checked, Moment::now().to_string());
            let after = state.checked().map(|(checked, _)| checked);
            let pool = |checked: &Option<Checked>| checked.as_ref().map(|checked| (checked.standing.in_pool(), checked.models.clone()));
            if let (true, Some(after)) = (pool(&before) != pool(&after), &after) {
                changed = true;
                tell_change(provider, before.as_ref(), after);
            }
        }
        if changed {
            self.rebuild();
        }
    }

    /// Asks providers only what models they have; who is in the pool stays.
    pub async fn learn_models(self: &Arc<Self>, which: impl Fn(&Provider) -> bool) {
        let fleet = self.fleet();
        for (provider, state) in fleet.providers().filter(|(provider, _)| which(provider)) {
            let asked = self.validator.check(provider, fleet.settings.validation.timeout).await;
            let known = state.checked().map(|(checked, _)| checked);
            if let (Some(models), Some(known)) = (asked.models, known) {
                state.set_checked(Checked { models: Some(models), ..known }, Moment::now().to_string());
            }
        }
        self.rebuild();
    }

    async fn check_all(self: &Arc<Self>, settings: &Arc<Settings>, progress: impl Fn(&Provider, &Checked)) -> Vec<Checked> {
        let patience = settings.validation.timeout;
        let mut checks = tokio::task::JoinSet::new();
        for (place, provider) in settings.providers.iter().cloned().enumerate() {
            let engine = Arc::clone(self);
            checks.spawn(async move { (place, engine.validator.check(&provider, patience).await) });
        }
        let mut results: Vec<Option<Checked>> = vec![None; settings.providers.len()];
        while let Some(done) = checks.join_next().await {
            let Ok((place, checked)) = done else { continue };
            if let (Some(provider), Some(slot)) = (settings.providers.get(place), results.get_mut(place)) {
                progress(provider, &checked);
                *slot = Some(checked);
            }
        }
        let unasked = |(result, provider): (Option<Checked>, &Provider)| result.unwrap_or_else(|| Checked::unasked(provider));
        results.into_iter().zip(&settings.providers).map(unasked).collect()
    }

    /// Routes by settings and results.
    fn enter(&self, settings: &Arc<Settings>, results: Vec<Checked>, before: Option<&Fleet>) {
        let _turn = self.take_turn();
        let now = Instant::now();
        let current = self.fleet();
        // The states are taken over first, so that the routes are built from the new results.
        let fresh = Fleet::new(Arc::clone(settings), before.or(Some(&current)));
        for ((_, state), checked) in fresh.providers().zip(results) {
            if let Some(wait) = cools(checked.standing) {
                state.cool(now, wait);
            }
            state.set_out(false);
            state.set_checked(checked, Moment::now().to_string());
        }
        self.fleet.store(Arc::new(Fleet::new(Arc::clone(settings), Some(&fresh))));
    }

    /// Works the routes out anew from the states.
    fn rebuild(&self) {
        let _turn = self.take_turn();
        let fleet = self.fleet();
        self.fleet.store(Arc::new(Fleet::new(Arc::clone(&fleet.settings), Some(&fleet))));
    }

    /// A provider refused its key in the middle of work: it is out, and asked
    /// once in the background whether the key is really bad. A request that
    /// began before a reload says nothing about a key that came with it.
    pub(super) fn key_refused(self: &Arc<Self>, fleet: &Arc<Fleet>, candidate: &Candidate, detail: &str) {
        let Some((provider, state)) = fleet.provider(candidate.provider) else { return };
        if !self.still_uses(provider) || state.set_out(true) {
            return;
        }
        let source = provider.key_source.as_deref().unwrap_or("its key");
        tracing::warn!("{} refused its key ({source}: {detail}); it gets no requests until the key has been checked", provider.name);
        let (engine, provider, state, label) = (Arc::clone(self), provider.clone(), Arc::clone(state), Arc::clone(&candidate.label));
        let patience = fleet.settings.validation.timeout;
        self.tasks.spawn(async move {
            let checked = engine.validator.check(&provider, patience).await;
            if !engine.still_uses(&provider) {
                state.set_out(false);
                return;
            }
            if checked.standing == Standing::Rejected {
                let source = provider.key_source.as_deref().unwrap_or("its key");
                tracing::warn!("{}: the key is rejected; set {source} anew and restart (or reload, for a key file)", provider.name);
                state.set_checked(checked, Moment::now().to_string());
                engine.rebuild();
                return;
            }
            if let Some(wait) = cools(checked.standing) {
                state.cool(Instant::now(), wait);
            }
            engine.fleet().model(&label).cool(Instant::now(), REFUSED_MODEL);
            state.set_out(false);
            tracing::warn!("{}: the key was not found to be bad, so it is back; {label} is left alone for 10 min", provider.name);
        });
    }

    /// Whether requests still go to this provider with this key.
    fn still_uses(&self, provider: &Provider) -> bool {
        let key = |provider: &Provider| provider.key.key().map(|key| key.expose().to_owned());
        let fleet = self.fleet();
        fleet.providers().any(|(now, _)| now.name == provider.name && now.endpoint == provider.endpoint && key(now) == key(provider))
    }
}

fn tell_change(provider: &Provider, before: Option<&Checked>, after: &Checked) {
    let was_in = before.is_some_and(|checked| checked.standing.in_pool());
    match (was_in, after.standing.in_pool()) {
        // A server that nobody named comes and goes; that is no news.
        _ if provider.optional => tracing::debug!("{} is {}", provider.name, after.standing.name()),
        (false, true) => tracing::info!("{} is back in the pool ({})", provider.name, after.standing.name()),
        (true, false) => tracing::info!("{} has left the pool ({})", provider.name, after.standing.name()),
        _ => tracing::debug!("{} lists other models than before", provider.name),
    }
}
