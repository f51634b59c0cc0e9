// SPDX-License-Identifier: MIT OR Apache-2.0
//! The registration grid: points of time, counted from the Unix epoch, that each get one entry.

use core::time::Duration;

use smgw_units::UtcNanos;
use thiserror::Error;

/// How far from a grid point a value may lie, in per cent of the registration period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tolerance(u8);

impl Tolerance {
    /// ±1 %, the only one a gateway may use (catalogue row MET-01).
    pub const ONE_PERCENT: Self = Self(1);

    /// Any other tolerance below a quarter of the period; only a gateway that is meant to be wrong
    /// needs it.
    pub fn percent(percent: u8) -> Option<Self> {
        (1..25).contains(&percent).then_some(Self(percent))
    }
}

/// A period no grid can be built on.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the registration period must be whole seconds, from 1 second to 31 days")]
pub struct GridError;

/// A registration period with the window around each of its points.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grid {
    period: i64,
    window: i64,
}

impl Grid {
    /// A grid of `period`; whole seconds so that grid points are second-exact.
    ///
    /// # Errors
    /// [`GridError`] for fractions of a second, less than one second or more than 31 days.
    pub fn new(period: Duration, tolerance: Tolerance) -> Result<Self, GridError> {
        let seconds = period.as_secs();
        if period.subsec_nanos() != 0 || !(1..=31 * 86_400).contains(&seconds) {
            return Err(GridError);
        }
        let period = seconds as i64 * NANOS_PER_SECOND;
        Ok(Self {
            period,
            window: period / 100 * i64::from(tolerance.0),
        })
    }

    /// The registration period in whole seconds.
    pub fn period_seconds(&self) -> i64 {
        self.period / NANOS_PER_SECOND
    }

    /// The first grid point strictly after `instant`.
    pub fn first_after(&self, instant: UtcNanos) -> UtcNanos {
        UtcNanos((instant.0.div_euclid(self.period) + 1).saturating_mul(self.period))
    }

    /// The grid point nearest to `instant`.
    pub fn nearest(&self, instant: UtcNanos) -> UtcNanos {
        let shifted = instant.0.saturating_add(self.period / 2);
        UtcNanos(shifted.div_euclid(self.period).saturating_mul(self.period))
    }

    /// Whether `instant` lies in the window of `point`, ends included.
    pub fn in_window(&self, point: UtcNanos, instant: UtcNanos) -> bool {
        instant.0.abs_diff(point.0) <= self.window.unsigned_abs()
    }

    /// When the window of `point` opens and closes.
    pub fn window_of(&self, point: UtcNanos) -> (UtcNanos, UtcNanos) {
        (
            UtcNanos(point.0 - self.window),
            UtcNanos(point.0 + self.window),
        )
    }

    /// When the entry of `point` is decided: after its window, plus the time a telegram that began
    /// inside the window takes to end on a slow line, well before the next window opens.
    pub fn decision_of(&self, point: UtcNanos) -> UtcNanos {
        let telegram = (self.period / 4).min(LONGEST_TELEGRAM);
        UtcNanos(point.0.saturating_add(self.window + telegram))
    }

    /// The point after `point`.
    pub fn next(&self, point: UtcNanos) -> UtcNanos {
        UtcNanos(point.0.saturating_add(self.period))
    }
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// 400 bytes at 2400 baud with 11 bits each, rounded up.
const LONGEST_TELEGRAM: i64 = 2 * NANOS_PER_SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_catalogue() {
        let grid = Grid::new(Duration::from_secs(900), Tolerance::ONE_PERCENT).unwrap();
        let point = UtcNanos::from_seconds(1_800);
        let at = |offset_ms: i64| UtcNanos(point.0 + offset_ms * 1_000_000);
        for (offset_ms, inside) in [
            (0, true),
            (8_900, true),
            (-8_900, true),
            (9_000, true),
            (9_100, false),
            (-9_100, false),
        ] {
            assert_eq!(
                grid.in_window(point, at(offset_ms)),
                inside,
                "{offset_ms} ms"
            );
            assert_eq!(grid.nearest(at(offset_ms)), point);
        }
        assert_eq!(grid.first_after(point), UtcNanos::from_seconds(2_700));
        assert_eq!(grid.first_after(at(-1)), point);
        assert_eq!(grid.decision_of(point), at(11_000));
    }

    #[test]
    fn refuses_periods_without_second_exact_points() {
        for period in [0, 500, 1_500, 32 * 86_400_000] {
            let grid = Grid::new(Duration::from_millis(period), Tolerance::ONE_PERCENT);
            assert_eq!(grid, Err(GridError), "{period} ms");
        }
    }
}
