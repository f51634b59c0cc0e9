// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters described by files: a simulator that plays them, with faults on demand, and a reader that finds out by itself
//! what a meter speaks.
//!
//! A [`Profile`] says what a meter is and shows. A [`Simulator`] plays it without a line: bytes and stamps in,
//! [`Transmission`]s out, so that it runs in virtual time as well as on a wire. A [`Player`] gives it a wire. The other
//! way round, a [`Detector`] finds protocol and speed of a line, also without one, and [`read::port`] gives it one.

pub mod profile;
pub mod read;
pub mod sim;

pub use profile::{Profile, ProfileError};
pub use read::Detector;
pub use sim::{Fault, Player, Simulator, Transmission};
