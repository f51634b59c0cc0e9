// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end for the smartcard of TR-03109-2: PACE, secure messaging, PC/SC.
//!
//! [`CardModule`] is the module; below it [`CardSession`] is the protected channel, and [`CardTransport`] the way to the
//! card. What is only remembered or assumed of the card's command set stands in one table, [`CardProfile`], with its
//! confidence; a real card's own table can be supplied as a file.

mod card;
pub mod directory;
mod driver;
pub mod pace;
pub mod profile;
mod session;
mod trace;
mod transport;

pub use driver::{Administrator, CardModule, CardOptions, administrator};
pub use profile::CardProfile;
pub use session::{CardSession, Clock, LEAST_DIGITS, LONGEST_SESSION};
pub use trace::{ApduRecord, Recorder, Recording};
pub use transport::{CardTransport, InProcess, Signal, TransportError};
#[cfg(feature = "pcsc")]
pub use transport::{PcscReader, readers};
