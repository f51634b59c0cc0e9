// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long a token that did not come back is left alone.

use std::time::{Duration, Instant};

/// Pauses that double after each failure; the time comes from the caller.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// `first` is the pause after the first failure; no pause is longer than 32 times that.
    pub(crate) fn new(first: Duration) -> Self {
        Self {
            first,
            failures: 0,
            until: None,
        }
    }

    /// How long nobody may try, if at all.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// It was tried and failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        let pause = self.first.saturating_mul(1 << self.failures.min(5));
        self.failures = self.failures.saturating_add(1);
        self.until = now.checked_add(pause);
    }

    /// It works.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_limit_and_end_with_success() {
        let second = Duration::from_secs(1);
        let mut now = Instant::now();
        let mut backoff = Backoff::new(second);
        assert_eq!(backoff.left(now), None);
        for seconds in [1, 2, 4, 8, 16, 32, 32] {
            backoff.failed(now);
            assert_eq!(backoff.left(now), Some(seconds * second));
            now += seconds * second;
            assert_eq!(backoff.left(now), None);
        }
        backoff.succeeded();
        backoff.failed(now);
        assert_eq!(backoff.left(now), Some(second));
        backoff.succeeded();
        assert_eq!(backoff.left(now), None);
    }

    #[test]
    fn no_pause_is_no_pause() {
        let mut backoff = Backoff::new(Duration::ZERO);
        let now = Instant::now();
        backoff.failed(now);
        assert_eq!(backoff.left(now), None);
    }
}
