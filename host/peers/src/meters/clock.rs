// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bench time: `CLOCK_MONOTONIC`, absolute sleeping, and its relation to UTC.

use std::time::Duration;

use rustix::thread::{ClockId, clock_nanosleep_absolute};
use rustix::time::{Timespec, clock_gettime};
use smgw_units::{Nanos, UtcNanos};

/// The clock every stamp of the bench is read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock;

impl Clock {
    /// The present instant.
    pub fn now() -> Nanos {
        let now = clock_gettime(ClockId::Monotonic);
        // The monotonic clock counts from the machine's start: never negative.
        Nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    /// Sleeps until `instant`, however often signals interrupt; returns at once when it has passed.
    pub fn sleep_until(instant: Nanos) {
        let request = timespec(instant.0);
        while clock_nanosleep_absolute(ClockId::Monotonic, &request).is_err() {
            if Self::now() >= instant {
                return;
            }
        }
    }
}

pub(super) fn timespec(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as _,
    }
}

/// One instant on both clocks: ties UTC grid points to bench time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    /// The instant in bench time.
    pub bench: Nanos,
    /// The same instant in UTC.
    pub utc: UtcNanos,
}

impl Grid {
    /// The first instant after `after` at which UTC is a multiple of `period` plus `offset`
    /// (nanoseconds, of either sign). A period of zero counts as one nanosecond.
    pub fn next(&self, after: Nanos, period: Duration, offset: i64) -> Nanos {
        let period = i128::try_from(period.as_nanos())
            .unwrap_or(i128::MAX)
            .max(1);
        let shift = i128::from(self.utc.0) - i128::from(self.bench.0) - i128::from(offset);
        let point = ((i128::from(after.0) + shift).div_euclid(period)).saturating_add(1);
        let instant = point.saturating_mul(period).saturating_sub(shift);
        Nanos(u64::try_from(instant).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_points_are_utc_multiples() {
        let grid = Grid {
            bench: Nanos(500),
            utc: UtcNanos(10_030),
        };
        let period = Duration::from_nanos(100);
        // UTC 10100 is bench 570.
        assert_eq!(grid.next(Nanos(500), period, 0), Nanos(570));
        assert_eq!(grid.next(Nanos(569), period, 0), Nanos(570));
        assert_eq!(grid.next(Nanos(570), period, 0), Nanos(670));
        assert_eq!(grid.next(Nanos(500), period, -20), Nanos(550));
        assert_eq!(grid.next(Nanos(550), period, -20), Nanos(650));
        assert_eq!(grid.next(Nanos(500), period, 25), Nanos(595));
    }

    #[test]
    fn sleeping_never_ends_early() {
        let instant = Clock::now() + Duration::from_millis(2);
        Clock::sleep_until(instant);
        assert!(Clock::now() >= instant);
    }
}
