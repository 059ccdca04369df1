//! Leave to make an attempt, and what its outcome does to the states that
//! requests share. Locks are taken one at a time, but for a provider's window
//! inside that of its breaker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::fleet::{ModelState, ProviderState, lock};
use crate::failover::{Aftermath, Class, Pass, Policy, View};
use crate::health::Took;
use crate::turn;

/// Leave to make one attempt. When it is dropped without an outcome, as when
/// the caller leaves, a probe is given back and nobody is blamed.
#[derive(Debug)]
pub(super) struct Ticket {
    provider: Arc<ProviderState>,
    model: Arc<ModelState>,
    provider_pass: Pass,
    model_pass: Pass,
    settled: bool,
}

impl Ticket {
    /// Leave to try a model of a provider now; `None` while either cools or is
    /// probed by another request.
    pub fn admit(provider: &Arc<ProviderState>, model: Arc<ModelState>, now: Instant) -> Option<Self> {
        let model_pass = lock(&model.breaker).admit(now)?;
        let Some(provider_pass) = lock(&provider.breaker).admit(now) else {
            lock(&model.breaker).returned(model_pass, now);
            return None;
        };
        Some(Self { provider: Arc::clone(provider), model, provider_pass, model_pass, settled: false })
    }

    /// Leave to try it although it cools; `None` when it is gone.
    pub fn force(provider: &Arc<ProviderState>, model: Arc<ModelState>, now: Instant) -> Option<Self> {
        let model_pass = lock(&model.breaker).force(now)?;
        let provider_pass = lock(&provider.breaker).force(now)?;
        Some(Self { provider: Arc::clone(provider), model, provider_pass, model_pass, settled: false })
    }

    /// The attempt has begun to answer, which ends a cooldown or a probe. How
    /// it counts is told at its end.
    pub fn committed(mut self, now: Instant) -> Report {
        self.settled = true;
        self.model_pass = lock(&self.model.breaker).begun(self.model_pass);
        let mut provider = lock(&self.provider.breaker);
        if self.provider_pass.is_probe() || provider.view(now) != View::Ready {
            // Before it is ready again, or what was before would make it cool at once.
            lock(&self.provider.window).restart();
        }
        self.provider_pass = provider.begun(self.provider_pass);
        drop(provider);
        Report(self)
    }

    /// The attempt failed; `uptime` is the engine's.
    pub fn failed(mut self, class: Class, after: Aftermath, policy: Policy, now: Instant, uptime: Duration) {
        self.settled = true;
        debug_assert!(class != Class::Ok);
        let mut model = lock(&self.model.breaker);
        match after.cool_model {
            Some(wait) if after.gone => model.take_out(now, wait),
            Some(wait) => model.cool(now, wait),
            None if after.blame_model => model.failed(self.model_pass, now, policy),
            None => model.returned(self.model_pass, now),
        }
        drop(model);
        if after.health == Some(false) {
            lock(&self.provider.window).record(uptime, false, None);
        }
        if let Some(wait) = after.cool_provider {
            *lock(&self.provider.cooled) = Some(class);
            return lock(&self.provider.breaker).cool(now, wait);
        }
        match after.blame_model && policy.failures > 0 {
            true if self.provider_pass.is_probe() => lock(&self.provider.breaker).failed(self.provider_pass, now, policy),
            blamed => {
                lock(&self.provider.breaker).returned(self.provider_pass, now);
                if blamed {
                    self.provider.trip_if_failing(policy, now, uptime);
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            let now = turn::now();
            lock(&self.model.breaker).returned(self.model_pass, now);
            lock(&self.provider.breaker).returned(self.provider_pass, now);
        }
    }
}

/// Tells how an answer that had begun went on. Nothing is told of one whose
/// caller left.
#[derive(Debug)]
pub(super) struct Report(Ticket);

impl Report {
    /// The answer came to its end.
    pub fn good(&self, uptime: Duration, took: Took) {
        let Ticket { provider, model, provider_pass, model_pass, .. } = &self.0;
        lock(&provider.window).record(uptime, true, Some(took));
        if provider.warned.load(Ordering::Relaxed) {
            provider.warned.store(false, Ordering::Relaxed);
        }
        lock(&model.breaker).succeeded(*model_pass);
        lock(&provider.breaker).succeeded(*provider_pass);
    }

    /// The answer broke, or its provider said why it goes no further.
    pub fn broken(&self, after: Aftermath, policy: Policy, now: Instant, uptime: Duration) {
        let Ticket { provider, model, model_pass, .. } = &self.0;
        if after.health == Some(false) {
            lock(&provider.window).record(uptime, false, None);
        }
        match after.cool_model {
            Some(wait) => lock(&model.breaker).cool(now, wait),
            None if after.blame_model => lock(&model.breaker).failed(*model_pass, now, policy),
            None => {}
        }
        match after.cool_provider {
            Some(wait) => lock(&provider.breaker).cool(now, wait),
            None if after.blame_model => provider.trip_if_failing(policy, now, uptime),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::failover::aftermath;

    const THREADS: usize = 4;

    /// Runs it on several threads at once, each with its number; what does not
    /// end is a deadlock.
    fn together(act: impl Fn(usize) + Send + Sync + 'static) {
        let (act, (done, ended)) = (Arc::new(act), mpsc::channel());
        for number in 0..THREADS {
            let (act, done) = (Arc::clone(&act), done.clone());
            thread::spawn(move || {
                act(number);
                done.send(()).unwrap();
            });
        }
        drop(done);
        for _ in 0..THREADS {
            ended.recv_timeout(Duration::from_secs(60)).expect("it ends, and does not fail");
        }
    }

    fn states() -> (Arc<ProviderState>, Arc<ModelState>) {
        (Arc::default(), Arc::default())
    }

    fn failure() -> Aftermath {
        aftermath(Class::ServerError, None)
    }

    #[test]
    fn d277_no_failure_is_lost_between_threads() {
        const EACH: u32 = 500;
        let in_all = EACH * THREADS as u32;
        for (failures, cools) in [(in_all, true), (in_all + 1, false)] {
            let (provider, model) = states();
            let policy = Policy { failures, cooldown: Duration::from_secs(60) };
            let now = Instant::now();
            let states = (Arc::clone(&provider), Arc::clone(&model));
            together(move |_| {
                let (provider, model) = &states;
                for _ in 0..EACH {
                    let ticket = Ticket::admit(provider, Arc::clone(model), now);
                    // The provider cools of itself when most of its answers are bad.
                    let ticket = ticket.or_else(|| Ticket::force(provider, Arc::clone(model), now)).unwrap();
                    ticket.failed(Class::ServerError, failure(), policy, now, Duration::ZERO);
                }
            });
            assert_eq!(matches!(model.view(now), View::Cooling(_)), cools, "{failures}");
            assert_eq!(provider.figures(Duration::ZERO).failed, in_all);
        }
    }

    /// How many probe one breaker now, and have probed it.
    #[derive(Default)]
    struct Probes {
        now: AtomicUsize,
        all: AtomicUsize,
    }

    impl Probes {
        fn take(&self, pass: Pass) {
            if pass.is_probe() {
                assert_eq!(self.now.fetch_add(1, Ordering::SeqCst), 0, "another one probes");
                self.all.fetch_add(1, Ordering::SeqCst);
            }
        }

        fn give_back(&self, pass: Pass) {
            if pass.is_probe() {
                self.now.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    /// A provider with two models, how they are probed, and a time that goes on
    /// with each look at it, for all.
    #[derive(Default)]
    struct Scene {
        provider: Arc<ProviderState>,
        models: [Arc<ModelState>; 2],
        probes: [Probes; 3],
        looks: AtomicUsize,
    }

    impl Scene {
        fn time(&self, started: Instant) -> Instant {
            started + Duration::from_millis(self.looks.fetch_add(1, Ordering::SeqCst) as u64)
        }

        /// Makes an attempt that ends as chance has it.
        fn attempt(&self, started: Instant, rng: &mut fastrand::Rng) {
            let policy = Policy { failures: 1, cooldown: Duration::from_millis(rng.u64(1..9)) };
            let at = rng.usize(..2);
            let Some(ticket) = Ticket::admit(&self.provider, Arc::clone(&self.models[at]), self.time(started)) else { return };
            let passes = [(at, ticket.model_pass), (2, ticket.provider_pass)];
            passes.iter().for_each(|(at, pass)| self.probes[*at].take(*pass));
            thread::yield_now();
            passes.iter().for_each(|(at, pass)| self.probes[*at].give_back(*pass));
            let (now, uptime) = (self.time(started), Duration::ZERO);
            match rng.u8(..4) {
                0 => drop(ticket),
                1 => ticket.committed(now).good(uptime, Took::Whole(Duration::ZERO)),
                2 => ticket.committed(now).broken(failure(), policy, now, uptime),
                _ => ticket.failed(Class::ServerError, failure(), policy, now, uptime),
            }
        }
    }

    #[test]
    fn d277_one_thread_probes_at_a_time_and_no_probe_is_forgotten() {
        let (scene, started) = (Arc::new(Scene::default()), Instant::now());
        let shared = Arc::clone(&scene);
        together(move |number| {
            let mut rng = fastrand::Rng::with_seed(number as u64);
            (0..100_000).for_each(|_| shared.attempt(started, &mut rng));
        });
        let probed = scene.probes.each_ref().map(|probes| probes.all.load(Ordering::SeqCst));
        assert!(probed.iter().all(|probed| *probed > 10), "{probed:?}");
        let later = scene.time(started) + 2 * Policy::LONGEST;
        let views = [scene.provider.view(later), scene.models[0].view(later), scene.models[1].view(later)];
        assert!(!views.contains(&View::Probing), "{views:?}");
        assert!(scene.models.iter().all(|model| Ticket::admit(&scene.provider, Arc::clone(model), later).is_some()));
    }
}
