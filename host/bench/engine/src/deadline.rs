// SPDX-License-Identifier: MIT OR Apache-2.0
//! Deadlines handed down through calls, instead of nested time-outs that add up.

use std::time::{Duration, Instant};

/// The instant by which something must have happened.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Deadline(Instant);

impl Deadline {
    /// The deadline `budget` from now.
    pub fn after(budget: Duration) -> Self {
        Self(Instant::now() + budget)
    }

    /// What is left of the budget; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the deadline has passed.
    pub fn expired(self) -> bool {
        self.remaining().is_zero()
    }

    /// The earlier of this deadline and `budget` from now.
    pub fn at_most(self, budget: Duration) -> Self {
        self.min(Self::after(budget))
    }
}
