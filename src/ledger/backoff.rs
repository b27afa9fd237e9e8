//! How long to wait before a store that failed is asked again.

use std::time::Duration;

use crate::draws::Draws;

/// The wait after the first failure, before it is drawn.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from failure to failure. Of each wait a random half is left out, drawn from a seed, so
/// that the gateways of a store that comes back do not come all at once.
pub(crate) struct Backoff {
    draws: Draws,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws(seed), failures: 0 }
    }

    /// The wait after one more failure: between a half of the longest one and all of it.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        self.draws.about(whole)
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_are_drawn_from_the_upper_half() {
        let (mut one, mut same) = (Backoff::new(7), Backoff::new(7));
        let mut whole = FIRST;
        let mut different = false;
        for _ in 0..40 {
            let wait = one.failed();
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
            assert_eq!(wait, same.failed());
            different |= wait != whole / 2;
            whole = (whole * 2).min(LONGEST);
        }
        assert!(different);
        one.succeeded();
        assert!(one.failed() <= FIRST);
    }
}
