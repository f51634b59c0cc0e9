// SPDX-License-Identifier: MIT OR Apache-2.0
//! Benchmarks that stand beside a peer: interleaved slices, processor time (elapsed time where threads or processes wait
//! for each other), ratios.
//!
//! Shared machines vary by a factor of two and more between runs, so no figure here is worth anything alone. Ours and the
//! peer's take turns in short slices, and the ratio is the median of the ratios of neighbouring slices.

mod arguments;
mod compare;
mod inputs;
mod own;
mod report;

pub use arguments::Arguments;
pub use compare::{Measured, OnThreads, Rounds, alone, beside, rate, take_turns};
pub use inputs::{Input, mbus_frames, sml_recording};
pub use report::{Report, Row};
