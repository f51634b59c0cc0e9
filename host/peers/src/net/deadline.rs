// SPDX-License-Identifier: MIT OR Apache-2.0
//! The clock of the network peers and the latest instant a wait may last to.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use smgw_units::Nanos;

/// `CLOCK_MONOTONIC` now.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    // The monotonic clock starts at boot: never negative, and 2^64 ns are 584 years.
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// The latest instant an operation may last to.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Deadline(Nanos);

impl Deadline {
    /// No limit; for threads that end by a signal instead.
    pub(crate) const NEVER: Self = Self(Nanos(u64::MAX));

    /// `limit` from now.
    pub fn within(limit: Duration) -> Self {
        Self(now() + limit)
    }

    /// At an instant of `CLOCK_MONOTONIC`.
    pub const fn at(instant: Nanos) -> Self {
        Self(instant)
    }

    /// The instant.
    pub const fn instant(self) -> Nanos {
        self.0
    }

    /// Time left; zero when passed.
    pub fn left(self) -> Duration {
        self.0.saturating_since(now())
    }

    /// The earlier of this and `limit` from now.
    pub fn but_within(self, limit: Duration) -> Self {
        self.min(Self::within(limit))
    }
}
