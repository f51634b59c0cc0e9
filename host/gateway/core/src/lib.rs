// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway's measuring core: registration grid, value lists, status words, time; sans-IO.
//!
//! Readings and faults go in with the UTC stamp of their reception, the caller says what time it is,
//! and one [`Entry`] per register and grid point comes out: a value or a reason-coded gap, never an
//! invented number (TR-03109-1 detail specifications §10.1 and §15; original value lists of the
//! VDE application rule 1.33, 1.38, 1.43). Nothing here reads a clock, sleeps, or opens anything.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod calendar;
pub mod clock;
mod grid;
mod inner_signature;
mod list;
pub mod log;
mod meter;
pub mod profile;
mod status;
pub mod taf;

pub use grid::{Grid, GridError, Tolerance};
pub use inner_signature::inner_signature_input;
pub use list::{Content, Entry, GapReason, LogicalName, Newest, Reading, ValueList};
pub use meter::Meter;
pub use status::CombinedStatus;
