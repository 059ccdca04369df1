//! How much time an attempt may use.

use std::time::Duration;

/// What each candidate behind the current one is left with, when there is enough.
const RESERVE: Duration = Duration::from_secs(15);

/// The time of one attempt: its own clock or, if less, what is left of the
/// chain's after a reserve for each of the `behind` candidates that follow,
/// but never less than an equal share of what is left.
pub fn share(own: Duration, left: Duration, behind: usize) -> Duration {
    let behind = u32::try_from(behind).unwrap_or(u32::MAX - 1);
    let after_reserve = left.saturating_sub(RESERVE.saturating_mul(behind));
    let equal = left / (behind + 1);
    own.min(after_reserve.max(equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let secs = Duration::from_secs;
        for (own, left, behind, wanted) in
            [(30, 600, 4, 30), (300, 600, 2, 300), (600, 600, 2, 570), (300, 40, 2, 13), (300, 20, 0, 20), (5, 20, 3, 5), (300, 0, 3, 0)]
        {
            assert_eq!(share(secs(own), secs(left), behind).as_secs(), wanted, "{own} {left} {behind}");
        }
    }

    proptest::proptest! {
        /// Attempts that all run out of time never use more than there is, and the last one gets some.
        #[test]
        fn the_chain_keeps_within_its_total(own in 1u64..1000, total in 1u64..1000, candidates in 1usize..20) {
            let mut left = Duration::from_secs(total);
            for index in 0..candidates {
                let part = share(Duration::from_secs(own), left, candidates - index - 1);
                proptest::prop_assert!(part <= left && !part.is_zero());
                left -= part;
            }
        }
    }
}
