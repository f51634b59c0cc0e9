// SPDX-License-Identifier: MIT OR Apache-2.0
//! Smart Message Language 1.03-1.05 (BSI TR-03109-1 annex IV): transport, messages, encoder.
//!
//! Bytes from a line go into a [`transport::Framer`], its payloads into [`File::parse`], and
//! [`readings`] turns the list responses of a file into exact values. [`File::encode`] and
//! [`transport::encode`] are the way back, so that a meter can be played.
//!
//! Nothing here panics on outside input, recurses without limit or keeps more than a set number of
//! bytes.
//!
//! ```
//! use smgw_sml::{File, Quirks, transport};
//! use smgw_units::Nanos;
//!
//! let line = transport::encode(&File::default().encode());
//! let mut framer = transport::Framer::new();
//! let mut files = 0;
//! for (nanos, byte) in line.iter().enumerate() {
//!     if let Some(transport::Event::File { payload, .. }) = framer.push(*byte, Nanos(nanos as u64)) {
//!         assert_eq!(File::parse(payload, Quirks::ALL), Ok(File::default()));
//!         files += 1;
//!     }
//! }
//! assert_eq!(files, 1);
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod crc;
mod encode;
mod error;
mod message;
mod parse;
mod quirks;
mod reading;
mod tl;
pub mod transport;
mod value;

pub use crc::CrcKind;
pub use error::{ErrorKind, ParseError};
pub use message::{
    Body, CloseResponse, File, ListEntry, ListResponse, Message, MessageCrc, OpenResponse,
};
pub use quirks::{Quirk, Quirks};
pub use reading::{Reading, readings};
pub use value::{Time, Value};
