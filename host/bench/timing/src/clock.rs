// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one timescale of a run: `CLOCK_MONOTONIC`, tied to the wall clock by bracketed pairs.
//!
//! Linux disciplines `CLOCK_MONOTONIC` and `CLOCK_REALTIME` at the same rate; they part only when the
//! wall clock is stepped. One pair therefore converts every stamp of a run, intervals in UTC equal
//! intervals on the bench clock, and later pairs only show whether somebody stepped the wall clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, Timespec, clock_gettime};
use smgw_units::{Nanos, UtcNanos};

/// One wall-clock reading enclosed by two monotonic ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClockPair {
    /// Middle of the two monotonic readings.
    pub mono: Nanos,
    /// The wall clock in between.
    pub utc: UtcNanos,
    /// Half the distance of the monotonic readings: the true instant lies within `mono` ± this.
    pub half_width: Duration,
}

impl ClockPair {
    /// Takes the narrowest of a few brackets, so that one pre-emption does not spoil the pair.
    pub fn take() -> Self {
        (0..BRACKETS)
            .map(|_| Self::take_once())
            .min_by_key(|pair| pair.half_width)
            .unwrap_or_else(Self::take_once)
    }

    fn take_once() -> Self {
        let before = BenchClock::now();
        let utc = utc_now();
        let after = BenchClock::now();
        let half_width = after.saturating_since(before) / 2;
        Self {
            mono: before + half_width,
            utc,
            half_width,
        }
    }
}

/// The bench clock. Cheap to clone; all clones share the pairs.
#[derive(Clone, Debug)]
pub struct BenchClock {
    anchor: ClockPair,
    /// The widest disagreement between the anchor and a later pair.
    step: Arc<Mutex<Duration>>,
}

impl BenchClock {
    /// Ties the monotonic clock to the wall clock as it stands now.
    pub fn start() -> Self {
        Self::anchored(ClockPair::take())
    }

    /// A clock tied by a pair from elsewhere: a recording, or a test.
    pub fn anchored(anchor: ClockPair) -> Self {
        Self {
            anchor,
            step: Arc::new(Mutex::new(Duration::ZERO)),
        }
    }

    /// The current instant of `CLOCK_MONOTONIC`.
    pub fn now() -> Nanos {
        let now = clock_gettime(ClockId::Monotonic);
        Nanos(now.tv_sec as u64 * NANOS_PER_SECOND as u64 + now.tv_nsec as u64)
    }

    /// The pair every conversion uses.
    pub fn anchor(&self) -> ClockPair {
        self.anchor
    }

    /// Takes another pair and remembers how far the wall clock was stepped since the start.
    /// Worth calling at the start and the end of a case.
    pub fn check(&self) -> ClockPair {
        let pair = ClockPair::take();
        self.compare(&pair);
        pair
    }

    /// The largest step of the wall clock any pair has shown, beyond what the brackets explain.
    pub fn wall_step(&self) -> Duration {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// UTC of a stamp, and by how much the conversion may be off: the anchor's bracket plus any
    /// step of the wall clock seen so far. The offset of the host's wall clock from true UTC is not part of it;
    /// only a disciplined reference can state that.
    pub fn utc_of(&self, at: Nanos) -> (UtcNanos, Duration) {
        let since = at.signed_since(self.anchor.mono);
        let utc = UtcNanos(self.anchor.utc.0.saturating_add(since));
        (utc, self.anchor.half_width + self.wall_step())
    }

    /// The stamp of an instant in UTC; instants before the clock's zero become zero.
    pub fn nanos_of(&self, utc: UtcNanos) -> Nanos {
        let since = utc.0.saturating_sub(self.anchor.utc.0);
        Nanos(self.anchor.mono.0.saturating_add_signed(since))
    }

    /// Blocks the calling thread until `deadline`, which lies on the absolute schedule of the caller:
    /// an overshoot never moves the next deadline.
    pub fn sleep_until(deadline: Nanos) {
        let request = Timespec {
            tv_sec: (deadline.0 / NANOS_PER_SECOND as u64) as i64,
            tv_nsec: (deadline.0 % NANOS_PER_SECOND as u64) as _,
        };
        // The deadline is absolute, so a signal only costs another call.
        while clock_nanosleep_absolute(ClockId::Monotonic, &request) == Err(Errno::INTR) {}
    }

    fn compare(&self, pair: &ClockPair) {
        let expected = self.anchor.utc.0 + pair.mono.signed_since(self.anchor.mono);
        let apart = Duration::from_nanos(pair.utc.0.abs_diff(expected));
        let explained = self.anchor.half_width + pair.half_width;
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        *step = (*step).max(apart.saturating_sub(explained));
    }
}

fn utc_now() -> UtcNanos {
    let now = clock_gettime(ClockId::Realtime);
    UtcNanos(now.tv_sec * NANOS_PER_SECOND + now.tv_nsec as i64)
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Brackets per pair; the narrowest one counts.
const BRACKETS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> BenchClock {
        BenchClock::anchored(ClockPair {
            mono: Nanos(5_000_000_000),
            utc: UtcNanos::from_seconds(1_800_000_000),
            half_width: Duration::from_nanos(40),
        })
    }

    #[test]
    fn stamps_convert_both_ways_and_back() {
        let clock = fixed();
        let (utc, uncertainty) = clock.utc_of(Nanos(6_000_000_007));
        assert_eq!(utc, UtcNanos(1_800_000_001_000_000_007));
        assert_eq!(uncertainty, Duration::from_nanos(40));
        assert_eq!(clock.nanos_of(utc), Nanos(6_000_000_007));
        assert_eq!(
            clock.utc_of(Nanos(4_000_000_000)).0,
            UtcNanos::from_seconds(1_799_999_999)
        );
        assert_eq!(clock.nanos_of(UtcNanos(0)), Nanos(0));
        assert_eq!(clock.nanos_of(UtcNanos(i64::MIN)), Nanos(0));
        clock.utc_of(Nanos(u64::MAX));
    }

    #[test]
    fn a_step_of_the_wall_clock_widens_every_conversion() {
        let clock = fixed();
        let later = ClockPair {
            mono: Nanos(7_000_000_000),
            utc: UtcNanos(1_800_000_002_000_000_060),
            half_width: Duration::from_nanos(30),
        };
        clock.compare(&later);
        assert_eq!(
            clock.wall_step(),
            Duration::ZERO,
            "the brackets explain 60 ns"
        );
        clock.compare(&ClockPair {
            utc: UtcNanos(1_800_000_001_000_000_000),
            ..later
        });
        assert_eq!(clock.wall_step(), Duration::from_nanos(999_999_930));
        assert_eq!(clock.utc_of(Nanos(0)).1, Duration::from_nanos(999_999_970));
    }

    #[test]
    fn a_deadline_in_the_past_returns_and_one_ahead_is_never_early() {
        BenchClock::sleep_until(Nanos(0));
        let deadline = BenchClock::now() + Duration::from_millis(2);
        BenchClock::sleep_until(deadline);
        assert!(BenchClock::now() >= deadline);
        let clock = BenchClock::start();
        clock.check();
        assert!(clock.utc_of(BenchClock::now()).0 > UtcNanos::from_seconds(1_600_000_000));
    }
}
