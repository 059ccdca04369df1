//! How a provider did over the last five minutes: constant memory, exact
//! counts, quantiles within 3.2 %. Pure: `now` is the time since a start that
//! the caller chose.

mod histogram;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use histogram::Histogram;

/// The window is 30 slots of 10 s: an event is forgotten after 290 to 300 s.
const SLOTS: usize = 30;
const SLOT: Duration = Duration::from_secs(10);

/// Fewer attempts than this say nothing.
pub const ENOUGH: u32 = 5;
/// A success rate below this is down.
const DOWN: f64 = 0.70;
/// A success rate below this is degraded.
const HEALTHY: f64 = 0.95;
/// A P95 above this is degraded.
const SLOW: Duration = Duration::from_secs(5);

/// A provider's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Success at least 95 % and P95 at most 5 s.
    Healthy,
    /// Success from 70 to 95 %, or P95 above 5 s.
    Degraded,
    /// Success below 70 %, or it failed validation.
    Down,
    /// Fewer than five attempts.
    NoData,
}

/// What took the time that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// The first content of a stream.
    First(Duration),
    /// A whole answer.
    Whole(Duration),
}

#[derive(Debug, Default)]
struct Slot {
    /// Which 10 s since the start this slot holds.
    number: u64,
    succeeded: u32,
    failed: u32,
    /// The same counts since the last restart, for ordering.
    counted: [u32; 2],
    first: Option<Box<Histogram>>,
    whole: Option<Box<Histogram>>,
}

/// The attempts at one provider in the last five minutes.
#[derive(Debug)]
pub struct Window {
    slots: [Slot; SLOTS],
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| Slot::default()) }
    }
}

/// The figures of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Attempts that counted.
    pub attempts: u32,
    /// Those of them that failed.
    pub failed: u32,
    /// Median and 95th percentile of the time to the first content or, where
    /// nothing was streamed, of whole answers.
    pub quantiles: Option<(Duration, Duration)>,
    /// The state in one word.
    pub status: Status,
}

/// Ten seconds of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Attempts that brought an answer.
    pub succeeded: u32,
    /// Attempts that counted and failed.
    pub failed: u32,
    /// The median time of those that brought one.
    pub median: Option<Duration>,
}

impl Figures {
    /// Failed attempts as a fraction; 0 when there were none.
    pub fn error_rate(&self) -> f64 {
        if self.attempts == 0 { 0.0 } else { f64::from(self.failed) / f64::from(self.attempts) }
    }
}

impl Window {
    /// Records an attempt that counts.
    pub fn record(&mut self, now: Duration, succeeded: bool, took: Option<Took>) {
        let number = number(now);
        let Some(slot) = usize::try_from(number % SLOTS as u64).ok().and_then(|at| self.slots.get_mut(at)) else { return };
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        let [good, bad] = &mut slot.counted;
        let (count, counted) = if succeeded { (&mut slot.succeeded, good) } else { (&mut slot.failed, bad) };
        *count = count.saturating_add(1);
        *counted = counted.saturating_add(1);
        match took.filter(|_| succeeded) {
            Some(Took::First(time)) => slot.first.get_or_insert_default().record(time),
            Some(Took::Whole(time)) => slot.whole.get_or_insert_default().record(time),
            None => {}
        }
    }

    /// The figures of the last five minutes.
    pub fn figures(&self, now: Duration) -> Figures {
        let mut failed = 0u32;
        let mut succeeded = 0u32;
        let mut first = Histogram::default();
        let mut whole = Histogram::default();
        for slot in self.live(now) {
            failed = failed.saturating_add(slot.failed);
            succeeded = succeeded.saturating_add(slot.succeeded);
            slot.first.iter().for_each(|times| first.add(times));
            slot.whole.iter().for_each(|times| whole.add(times));
        }
        let attempts = succeeded.saturating_add(failed);
        let streamed = first.quantiles();
        let figures = Figures { attempts, failed, quantiles: streamed.or_else(|| whole.quantiles()), status: Status::NoData };
        let slow = streamed.is_some_and(|(_, p95)| p95 > SLOW);
        let success = 1.0 - figures.error_rate();
        let status = match () {
            () if attempts < ENOUGH => Status::NoData,
            () if success < DOWN => Status::Down,
            () if success < HEALTHY || slow => Status::Degraded,
            () => Status::Healthy,
        };
        Figures { status, ..figures }
    }

    /// The last five minutes bit by bit, oldest first, for a chart.
    pub fn series(&self, now: Duration) -> Vec<Point> {
        let newest = number(now);
        let point = |back: u64| {
            let slot = self.live(now).find(|slot| newest - slot.number == back);
            let times = slot.and_then(|slot| slot.first.as_ref().or(slot.whole.as_ref())).and_then(|times| times.quantiles());
            Point {
                succeeded: slot.map_or(0, |slot| slot.succeeded),
                failed: slot.map_or(0, |slot| slot.failed),
                median: times.map(|(median, _)| median),
            }
        };
        (0..SLOTS as u64).rev().map(point).collect()
    }

    /// Whether the success rate since the last restart is below 70 %, on
    /// enough attempts to say so.
    pub fn is_failing(&self, now: Duration) -> bool {
        let (mut good, mut bad) = (0u32, 0u32);
        for slot in self.live(now) {
            let [more_good, more_bad] = slot.counted;
            good = good.saturating_add(more_good);
            bad = bad.saturating_add(more_bad);
        }
        let all = good.saturating_add(bad);
        all >= ENOUGH && f64::from(good) < DOWN * f64::from(all)
    }

    /// Starts the count for ordering anew, after a probe that went well. The
    /// figures stay.
    pub fn restart(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.counted = [0, 0]);
    }

    /// The slots that hold something of the last five minutes.
    fn live(&self, now: Duration) -> impl Iterator<Item = &Slot> {
        let newest = number(now);
        self.slots.iter().filter(move |slot| slot.number <= newest && newest - slot.number < SLOTS as u64)
    }
}

/// Slots are counted from 1, so that an unused slot (0) is never live.
fn number(now: Duration) -> u64 {
    now.as_secs() / SLOT.as_secs() + SLOTS as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn window(good: u32, bad: u32, took: Option<Took>) -> Window {
        let mut window = Window::default();
        (0..good).for_each(|_| window.record(at(0), true, took));
        (0..bad).for_each(|_| window.record(at(0), false, took));
        window
    }

    #[test]
    fn d158_status_by_rate_and_time() {
        let fast = Some(Took::First(Duration::from_millis(300)));
        let slow = Some(Took::First(Duration::from_secs(8)));
        let slow_whole = Some(Took::Whole(Duration::from_secs(60)));
        for (good, bad, took, wanted) in [
            (0, 0, fast, Status::NoData),
            (4, 0, fast, Status::NoData),
            (0, 4, fast, Status::NoData),
            (5, 0, fast, Status::Healthy),
            (19, 1, fast, Status::Healthy),
            (18, 2, fast, Status::Degraded),
            (7, 3, fast, Status::Degraded),
            (69, 31, fast, Status::Down),
            (20, 0, slow, Status::Degraded),
            (20, 0, slow_whole, Status::Healthy),
        ] {
            assert_eq!(window(good, bad, took).figures(at(1)).status, wanted, "{good} good, {bad} bad, {took:?}");
        }
    }

    #[test]
    fn d154_events_are_forgotten_after_five_minutes() {
        let window = window(10, 10, None);
        assert_eq!(window.figures(at(289)).attempts, 20);
        assert_eq!(window.figures(at(300)).attempts, 0);
        assert_eq!(window.figures(at(300)).status, Status::NoData);
    }

    #[test]
    fn a_restart_forgets_for_ordering_and_keeps_the_figures() {
        let mut window = window(1, 9, None);
        assert!(window.is_failing(at(1)));
        window.restart();
        assert!(!window.is_failing(at(1)));
        assert_eq!(window.figures(at(1)).failed, 9);
    }

    #[test]
    fn the_series_is_thirty_points_with_the_newest_last() {
        let mut window = Window::default();
        window.record(at(5), true, Some(Took::First(Duration::from_millis(10))));
        window.record(at(25), false, None);
        let series = window.series(at(25));
        assert_eq!(series.len(), 30);
        assert_eq!(series[29], Point { succeeded: 0, failed: 1, median: None });
        assert_eq!(series[27].succeeded, 1);
        assert!(series[27].median.is_some());
        assert_eq!(series[..27].iter().map(|point| point.succeeded + point.failed).sum::<u32>(), 0);
    }

    #[test]
    fn d159_a_clock_that_jumps_does_no_harm() {
        let mut window = window(3, 3, None);
        window.record(at(8 * 3600), true, None);
        assert_eq!(window.figures(at(8 * 3600)).attempts, 1);
    }

    #[test]
    fn d153_of_10_000_outcomes_the_rate_is_exact_and_the_quantiles_are_within_a_bucket() {
        let mut window = Window::default();
        for number in 0..10_000u64 {
            // 7,919 is prime, so that each time from 1 to 10,000 ms comes once.
            let millis = number * 7_919 % 10_000 + 1;
            window.record(Duration::from_millis(number * 29), millis % 8 != 0, Some(Took::First(Duration::from_millis(millis))));
        }
        let figures = window.figures(at(290));
        assert_eq!((figures.attempts, figures.failed, figures.error_rate()), (10_000, 1_250, 0.125));
        let good: Vec<u64> = (1..=10_000).filter(|millis| millis % 8 != 0).collect();
        let (p50, p95) = figures.quantiles.unwrap();
        for (got, percent) in [(p50, 50), (p95, 95)] {
            let exact = good[(good.len() * percent).div_ceil(100) - 1] as f64;
            let got = got.as_secs_f64() * 1000.0;
            assert!((got - exact).abs() <= exact * 0.032, "P{percent}: {got} for {exact}");
        }
    }

    #[test]
    fn d154_an_idle_provider_has_no_data_and_neither_0_nor_100_percent() {
        let mut window = window(10, 10, Some(Took::Whole(Duration::from_secs(1))));
        let nothing = Figures { attempts: 0, failed: 0, quantiles: None, status: Status::NoData };
        assert_eq!(window.figures(at(300)), nothing);
        assert!(!window.is_failing(at(300)));
        window.record(at(300), true, None);
        assert_eq!(window.figures(at(300)), Figures { attempts: 1, ..nothing });
    }

    #[test]
    fn d161_ten_million_events_take_no_more_memory_than_one_for_each_slot() {
        let mut window = Window::default();
        for number in 0..10_000_000u64 {
            let took = if number % 2 == 0 { Took::First(Duration::from_millis(5)) } else { Took::Whole(Duration::from_millis(9)) };
            window.record(Duration::from_micros(number * 29), number % 10 != 0, Some(took));
        }
        let figures = window.figures(at(290));
        assert_eq!((figures.attempts, figures.failed), (10_000_000, 1_000_000));
        let histograms =
            window.slots.iter().map(|slot| usize::from(slot.first.is_some()) + usize::from(slot.whole.is_some())).sum::<usize>();
        assert!(histograms <= 2 * SLOTS, "{histograms}");
        assert!(size_of::<Window>() + histograms * size_of::<Histogram>() < 128 << 10);
    }

    proptest::proptest! {
        /// However the clock jumps, nothing is made up and nothing panics.
        #[test]
        fn d159_a_clock_that_jumps_either_way_makes_up_no_events(events in proptest::collection::vec((0u64..100_000, proptest::bool::ANY), 1..200)) {
            let mut window = Window::default();
            for (before, (second, good)) in events.into_iter().enumerate() {
                window.record(at(second), good, Some(Took::First(Duration::from_millis(second))));
                let figures = window.figures(at(second));
                proptest::prop_assert!((1..=before + 1).contains(&(figures.attempts as usize)));
                proptest::prop_assert!(figures.failed <= figures.attempts);
            }
        }

        /// Each event counts for 290 s and no longer than 300 s.
        #[test]
        fn d154_an_event_is_gone_within_one_slot_of_five_minutes(millis in 0u64..100_000_000) {
            let mut window = Window::default();
            let then = Duration::from_millis(millis);
            window.record(then, false, None);
            proptest::prop_assert_eq!(window.figures(then + at(290)).failed, 1);
            proptest::prop_assert_eq!(window.figures(then + at(300)).failed, 0);
        }

        /// The window agrees with a plain list of events.
        #[test]
        fn d275_agrees_with_a_list(events in proptest::collection::vec((0u64..40, proptest::bool::ANY, 1u64..100_000), 0..300)) {
            let mut window = Window::default();
            let mut list: Vec<(u64, bool, u64)> = Vec::new();
            let mut now = 0;
            for (wait, good, millis) in events {
                now += wait;
                window.record(at(now), good, Some(Took::First(Duration::from_millis(millis))));
                list.push((now / 10, good, millis));
            }
            list.retain(|(slot, _, _)| now / 10 - slot < 30);
            let figures = window.figures(at(now));
            proptest::prop_assert_eq!(figures.attempts as usize, list.len());
            proptest::prop_assert_eq!(figures.failed as usize, list.iter().filter(|(_, good, _)| !good).count());
            let mut times: Vec<u64> = list.iter().filter(|(_, good, _)| *good).map(|(_, _, millis)| *millis).collect();
            times.sort_unstable();
            if let Some((p50, p95)) = figures.quantiles {
                for (got, q) in [(p50, 0.50), (p95, 0.95)] {
                    let exact = times[((times.len() as f64 * q).ceil() as usize).max(1) - 1] as f64;
                    let got = got.as_secs_f64() * 1000.0;
                    proptest::prop_assert!((got - exact).abs() <= exact * 0.032 + 1.0, "{got} for {exact}");
                }
            }
        }
    }
}
