// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a number of the bench rests on: the clock, the uncertainty budget, the decision rule, the distribution.
//!
//! Sources: JCGM 100 (GUM) for budgets, ISO/IEC 17025:2017 §7.8.6 and ILAC-G8:09/2019 for decision
//! rules. Nothing here touches an async timer: stamps are taken by the thread that blocks in `read()`.

mod clock;
mod decision;
mod distribution;
mod noise;
mod stall;
mod uncertainty;

pub use clock::{BenchClock, ClockPair};
pub use decision::{
    DECISION_RULE, Decision, Fitness, decide_between, decide_lower, decide_upper, fitness,
};
pub use distribution::{
    Distribution, HlogEntry, HlogError, QuantileStatement, quantile_confidence, samples_needed,
};
pub use noise::{NoiseFloor, NoiseProbe};
pub use stall::StallWatch;
pub use uncertainty::{Budget, Shape, Term};
