//! When a model, or a whole provider, is left alone: ready → cooling →
//! probing → ready. Exactly one request probes.

use std::time::{Duration, Instant};

/// When failures in a row make it cool, and for how long at first.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Failures in a row; 0 never.
    pub failures: u32,
    /// The first cooldown; each failed probe doubles it up to [`Policy::LONGEST`].
    pub cooldown: Duration,
}

impl Policy {
    /// The longest cooldown that failures alone lead to.
    pub const LONGEST: Duration = Duration::from_secs(300);
}

/// The state, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Takes requests.
    Ready,
    /// Is left alone for so long.
    Cooling(Duration),
    /// One request is trying it.
    Probing,
}

/// Whole milliseconds of a cooldown that are left, rounded up: 0 only when it is over.
pub fn millis_left(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl View {
    /// The less ready of two: a model is as ready as its provider at most.
    pub fn max_with(self, other: Self) -> Self {
        match (self, other) {
            (View::Cooling(own), View::Cooling(other)) => View::Cooling(own.max(other)),
            (View::Ready, other) => other,
            (View::Cooling(_), _) | (View::Probing, View::Ready) => self,
            (View::Probing, other) => other,
        }
    }
}

/// Leave to make an attempt. It is given back with the outcome, which counts
/// only if the state has not moved on in the meantime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    epoch: u64,
    probe: bool,
}

impl Pass {
    /// Whether the attempt is the probe.
    pub fn is_probe(self) -> bool {
        self.probe
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    Ready { failures: u32 },
    Cooling { until: Instant, firm: bool },
    Probing,
}

/// The breaker of one model or one provider.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// The next cooldown that failure leads to; `None` is the policy's first.
    step: Option<Duration>,
    /// Counts the changes of state, so that late outcomes are known as such.
    epoch: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Ready { failures: 0 }, step: None, epoch: 0 }
    }
}

impl Breaker {
    /// Asks for an attempt. `None` while it cools or somebody else probes;
    /// after the cooldown one caller gets a pass that is the probe.
    pub fn admit(&mut self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Ready { .. } => Some(Pass { epoch: self.epoch, probe: false }),
            State::Cooling { until, .. } if until <= now => {
                self.enter(State::Probing);
                Some(Pass { epoch: self.epoch, probe: true })
            }
            State::Cooling { .. } | State::Probing => None,
        }
    }

    /// A pass for an attempt that is made although it cools, because nothing
    /// else is left; `None` when there is nothing there to try.
    pub fn force(&self, now: Instant) -> Option<Pass> {
        match self.state {
            State::Cooling { until, firm: true } if until > now => None,
            State::Ready { .. } | State::Cooling { .. } | State::Probing => Some(Pass { epoch: self.epoch, probe: false }),
        }
    }

    /// The attempt has begun to answer, which ends a cooldown or a probe.
    /// Whether it was a success is known at its end, and told with the pass
    /// that comes back.
    pub fn begun(&mut self, pass: Pass) -> Pass {
        if pass.epoch != self.epoch {
            return pass;
        }
        match self.state {
            State::Ready { .. } => {}
            State::Cooling { .. } | State::Probing => self.enter(State::Ready { failures: 0 }),
        }
        Pass { epoch: self.epoch, probe: false }
    }

    /// The attempt succeeded.
    pub fn succeeded(&mut self, pass: Pass) {
        if pass.epoch != self.epoch {
            return;
        }
        self.step = None;
        match self.state {
            State::Ready { failures: 0 } => {}
            State::Ready { .. } => self.state = State::Ready { failures: 0 },
            State::Cooling { .. } | State::Probing => self.enter(State::Ready { failures: 0 }),
        }
    }

    /// The attempt failed in a way that counts.
    pub fn failed(&mut self, pass: Pass, now: Instant, policy: Policy) {
        if pass.epoch != self.epoch {
            return;
        }
        match self.state {
            State::Ready { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Ready { failures };
                if policy.failures > 0 && failures >= policy.failures {
                    self.trip(now, policy);
                }
            }
            // Another request probes; this one was made although it cools.
            State::Probing if !pass.probe => {}
            State::Probing if policy.failures == 0 => self.enter(State::Ready { failures: 0 }),
            State::Probing => self.trip(now, policy),
            // An attempt that was made although it cools proves nothing new.
            State::Cooling { .. } => {}
        }
    }

    /// Makes it cool now, by the policy's cooldown, as after failures in a row.
    pub fn trip(&mut self, now: Instant, policy: Policy) {
        let wait = self.step.unwrap_or(policy.cooldown).min(Policy::LONGEST);
        self.step = Some(wait.saturating_mul(2).min(Policy::LONGEST));
        self.enter(State::Cooling { until: now + wait, firm: false });
    }

    /// Makes it cool for a time that somebody named. A longer cooldown that
    /// runs already stays.
    pub fn cool(&mut self, now: Instant, wait: Duration) {
        self.cool_until(now + wait, false);
    }

    /// Takes it out for a time: unlike one that cools, it is not tried even
    /// when nothing else is left.
    pub fn take_out(&mut self, now: Instant, wait: Duration) {
        self.cool_until(now + wait, true);
    }

    fn cool_until(&mut self, until: Instant, firm: bool) {
        match self.state {
            State::Cooling { until: already, .. } if already >= until => {}
            State::Ready { .. } | State::Cooling { .. } | State::Probing => self.enter(State::Cooling { until, firm }),
        }
    }

    /// The attempt ended without an outcome that counts (the caller left, or
    /// it was the caller's mistake): a probe is given back, so that the next
    /// request probes.
    pub fn returned(&mut self, pass: Pass, now: Instant) {
        if pass.epoch == self.epoch && pass.probe {
            self.enter(State::Cooling { until: now, firm: false });
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.step = None;
        self.enter(State::Ready { failures: 0 });
    }

    /// The state for people. A cooldown that is over shows as no time left.
    pub fn view(&self, now: Instant) -> View {
        match self.state {
            State::Ready { .. } => View::Ready,
            State::Cooling { until, .. } => View::Cooling(until.saturating_duration_since(now)),
            State::Probing => View::Probing,
        }
    }

    /// Whether it is ready and nothing has failed since the last success, so
    /// that a further success changes nothing.
    pub fn is_untroubled(&self) -> bool {
        matches!(self.state, State::Ready { failures: 0 }) && self.step.is_none()
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { failures: 3, cooldown: Duration::from_secs(30) };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fail(breaker: &mut Breaker, now: Instant) {
        let pass = breaker.admit(now).expect("it admits");
        breaker.failed(pass, now, POLICY);
    }

    #[test]
    fn a_cooldown_with_no_millisecond_left_is_over() {
        for (nanos, wanted) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)] {
            assert_eq!(millis_left(Duration::from_nanos(nanos)), wanted);
        }
    }

    #[test]
    fn failures_in_a_row_make_it_cool_and_a_success_between_does_not() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        let pass = breaker.admit(now).unwrap();
        breaker.succeeded(pass);
        fail(&mut breaker, now);
        fail(&mut breaker, now);
        assert_eq!(breaker.view(now), View::Ready);
        fail(&mut breaker, now);
        assert_eq!(breaker.view(now), View::Cooling(secs(30)));
    }

    #[test]
    fn d140_exactly_one_request_probes() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.trip(now, POLICY);
        assert!(breaker.admit(now + secs(29)).is_none());
        let later = now + secs(30);
        let passes: Vec<Pass> = (0..100).filter_map(|_| breaker.admit(later)).collect();
        assert_eq!(passes.len(), 1);
        breaker.succeeded(passes[0]);
        assert_eq!(breaker.view(later), View::Ready);
    }

    #[test]
    fn d137_each_failed_probe_doubles_the_cooldown_up_to_five_minutes() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        breaker.trip(now, POLICY);
        for wanted in [60, 120, 240, 300, 300] {
            let View::Cooling(left) = breaker.view(now) else { panic!("not cooling") };
            now += left;
            fail(&mut breaker, now);
            assert_eq!(breaker.view(now), View::Cooling(secs(wanted)));
        }
    }

    #[test]
    fn rate_limited_probe_keeps_cooling() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.cool(now, secs(10));
        let later = now + secs(10);
        assert!(breaker.admit(later).is_some());
        breaker.cool(later, secs(20));
        assert_eq!(breaker.view(later), View::Cooling(secs(20)));
    }

    #[test]
    fn a_cancelled_probe_is_given_back() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.cool(now, secs(1));
        let later = now + secs(1);
        let pass = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_none());
        breaker.returned(pass, later);
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn a_late_outcome_does_not_count() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        let early = breaker.admit(now).unwrap();
        breaker.cool(now, secs(60));
        breaker.succeeded(early);
        assert_eq!(breaker.view(now), View::Cooling(secs(60)));
        breaker.failed(early, now, POLICY);
        assert_eq!(breaker.view(now), View::Cooling(secs(60)));
    }

    #[test]
    fn d141_a_forced_attempt_that_succeeds_ends_the_cooldown() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.trip(now, POLICY);
        let pass = breaker.force(now).unwrap();
        breaker.failed(pass, now, POLICY);
        assert_eq!(breaker.view(now), View::Cooling(secs(30)));
        breaker.succeeded(pass);
        assert_eq!(breaker.view(now), View::Ready);
    }

    #[test]
    fn what_is_out_is_not_tried_even_when_nothing_else_is_left() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.take_out(now, secs(600));
        assert!(breaker.force(now).is_none());
        assert!(breaker.admit(now + secs(600)).is_some());
    }

    #[test]
    fn answers_that_begin_and_break_are_failures_in_a_row() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 {
            let pass = breaker.admit(now).unwrap();
            let pass = breaker.begun(pass);
            breaker.failed(pass, now, POLICY);
        }
        assert_eq!(breaker.view(now), View::Cooling(secs(30)));
    }

    #[test]
    fn a_policy_of_no_failures_never_trips() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..1000 {
            let pass = breaker.admit(now).unwrap();
            breaker.failed(pass, now, Policy { failures: 0, ..POLICY });
        }
        assert_eq!(breaker.view(now), View::Ready);
    }

    #[test]
    fn d159_after_a_sleep_of_hours_one_request_probes_and_no_time_is_negative() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.trip(now, POLICY);
        let awake = now + secs(8 * 3600);
        assert_eq!(breaker.view(awake), View::Cooling(Duration::ZERO));
        let passes: Vec<Pass> = (0..100).filter_map(|_| breaker.admit(awake)).collect();
        assert_eq!(passes.len(), 1);
        breaker.failed(passes[0], awake, POLICY);
        assert_eq!(breaker.view(awake), View::Cooling(secs(60)));
        // A look with a time before the last change, as two threads may take it.
        assert_eq!(breaker.view(now), View::Cooling(secs(8 * 3600 + 60)));
    }

    proptest::proptest! {
        /// However requests come and end, there is never more than one probe at a time,
        /// and it never stays shut for good.
        #[test]
        fn d140_at_most_one_probe(steps in proptest::collection::vec((0u8..6, 0u64..40), 1..200)) {
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            let mut open: Vec<Pass> = Vec::new();
            for (action, wait) in steps {
                now += secs(wait);
                match action {
                    0 | 1 => open.extend(breaker.admit(now)),
                    2 => if let Some(pass) = open.pop() { breaker.succeeded(pass) },
                    3 => if let Some(pass) = open.pop() { breaker.failed(pass, now, POLICY) },
                    4 => if let Some(pass) = open.pop() { breaker.returned(pass, now) },
                    _ => breaker.cool(now, secs(wait)),
                }
                let probes = open.iter().filter(|pass| pass.probe && pass.epoch == breaker.epoch).count();
                proptest::prop_assert!(probes <= 1);
            }
            for pass in open { breaker.returned(pass, now) }
            proptest::prop_assert!(breaker.admit(now + secs(301)).is_some());
        }
    }
}
