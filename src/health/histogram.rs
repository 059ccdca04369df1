//! Counts of durations in buckets that grow with the duration: 16 to each
//! doubling, so a midpoint is at most 3.2 % away from what it stands for.

use std::time::Duration;

/// Below this many milliseconds each has its own bucket.
const LINEAR: u64 = 16;
/// Doublings above that; the last bucket begins at half an hour.
const DOUBLINGS: usize = 17;
const BUCKETS: usize = LINEAR as usize * (DOUBLINGS + 1);

/// Counts per bucket of milliseconds.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [u32; BUCKETS],
    total: u32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub fn record(&mut self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(millis)) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// Median and 95th percentile; `None` when nothing was recorded.
    pub fn quantiles(&self) -> Option<(Duration, Duration)> {
        (self.total > 0).then(|| (self.quantile(50), self.quantile(95)))
    }

    fn quantile(&self, percent: u64) -> Duration {
        let rank = (u64::from(self.total) * percent).div_ceil(100).max(1);
        let mut seen = 0u64;
        let found = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        Duration::from_micros(middle(found.unwrap_or(BUCKETS - 1)))
    }
}

fn bucket(millis: u64) -> usize {
    if millis < LINEAR {
        return usize::try_from(millis).unwrap_or(0);
    }
    // 16 has its highest bit at 4; the four bits below the highest choose among 16 buckets.
    let high = 63 - u64::from(millis.leading_zeros());
    let doubling = high - 3;
    let within = (millis >> (high - 4)) - LINEAR;
    usize::try_from(doubling * LINEAR + within).map_or(BUCKETS - 1, |at| at.min(BUCKETS - 1))
}

/// The middle of a bucket, in microseconds.
fn middle(bucket: usize) -> u64 {
    let (doubling, within) = (bucket as u64 / LINEAR, bucket as u64 % LINEAR);
    if doubling == 0 {
        return within * 1000;
    }
    let width = 1u64 << (doubling - 1);
    let low = (LINEAR + within) * width;
    (low * 2 + width - 1) * 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d153_every_duration_falls_into_a_bucket_around_it() {
        for millis in (0..5000).chain([60_000, 600_000, 1_800_000]) {
            let middle = middle(bucket(millis)) as f64 / 1000.0;
            let off = (middle - millis as f64).abs();
            assert!(off <= millis as f64 * 0.032, "{millis} ms is shown as {middle} ms");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
