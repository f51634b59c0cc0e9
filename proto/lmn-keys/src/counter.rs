// SPDX-License-Identifier: MIT OR Apache-2.0
//! Message counters that only rise (TR-03109-1 detail specifications §10.1 and TR-03116-3 §7.3).

use core::time::Duration;

use smgw_units::Nanos;

use crate::Error;

/// How far the counter in lasting storage may lag behind the one in use, which is how much of the
/// past can be replayed after a loss of power.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreWithin(pub Duration);

impl StoreWithin {
    /// The most the gateway may allow itself.
    pub const TWELVE_HOURS: Self = Self(Duration::from_secs(12 * 3600));
    /// Storage never lags: every accepted counter is to be stored at once.
    pub const AT_ONCE: Self = Self(Duration::ZERO);
}

/// The counter of one master key. It never wraps; only a new master key, and thus a new guard,
/// starts again.
#[derive(Clone, Debug)]
pub struct CounterGuard {
    last: Option<u32>,
    policy: StoreWithin,
    /// When the oldest counter that is not stored yet was accepted.
    unstored_since: Option<Nanos>,
}

impl CounterGuard {
    /// `stored` is the counter out of lasting storage, `None` for a new master key.
    pub const fn new(stored: Option<u32>, policy: StoreWithin) -> Self {
        Self {
            last: stored,
            policy,
            unstored_since: None,
        }
    }

    /// Takes the counter of a message whose authentication has been verified.
    ///
    /// # Errors
    /// [`Error::Replay`] unless it is higher than all before.
    pub fn accept(&mut self, counter: u32, now: Nanos) -> Result<(), Error> {
        match self.last {
            Some(last) if counter <= last => Err(Error::Replay { last, got: counter }),
            _ => {
                self.last = Some(counter);
                self.unstored_since.get_or_insert(now);
                Ok(())
            }
        }
    }

    /// The highest counter accepted.
    pub const fn last(&self) -> Option<u32> {
        self.last
    }

    /// When [`CounterGuard::last`] must be in lasting storage at the latest; `None` when it is.
    pub fn store_by(&self) -> Option<Nanos> {
        self.unstored_since.map(|since| since + self.policy.0)
    }

    /// Says that [`CounterGuard::last`] is in lasting storage.
    pub fn stored(&mut self) {
        self.unstored_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rises_and_never_wraps() {
        let mut guard = CounterGuard::new(Some(7), StoreWithin::AT_ONCE);
        assert_eq!(
            guard.accept(7, Nanos(0)),
            Err(Error::Replay { last: 7, got: 7 })
        );
        assert_eq!(guard.accept(u32::MAX, Nanos(0)), Ok(()));
        for replayed in [0, 8, u32::MAX] {
            assert!(guard.accept(replayed, Nanos(0)).is_err());
        }
        assert_eq!(guard.last(), Some(u32::MAX));
    }

    #[test]
    fn a_new_key_starts_anywhere() {
        assert_eq!(
            CounterGuard::new(None, StoreWithin::AT_ONCE).accept(0, Nanos(0)),
            Ok(())
        );
    }

    #[test]
    fn storage_is_due_twelve_hours_after_the_oldest_counter_it_lacks() {
        let hours = |hours: u64| Nanos(hours * 3_600_000_000_000);
        let mut guard = CounterGuard::new(None, StoreWithin::TWELVE_HOURS);
        assert_eq!(guard.store_by(), None);
        guard.accept(1, hours(5)).unwrap();
        guard.accept(2, hours(9)).unwrap();
        assert_eq!(guard.store_by(), Some(hours(17)));
        guard.stored();
        assert_eq!(guard.store_by(), None);
        guard.accept(2, hours(10)).unwrap_err();
        assert_eq!(guard.store_by(), None);
    }
}
