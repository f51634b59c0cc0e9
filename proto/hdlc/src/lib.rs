// SPDX-License-Identifier: MIT OR Apache-2.0
//! HDLC for the wired LMN (TR-03109-1 detail specifications ch. 8; ISO/IEC 13239 type 3), and for DLMS
//! (IEC 62056-46).
//!
//! Bytes from a line go into a [`Framer`]; [`Frame`] reads and writes single frames in the form its
//! [`Profile`] tells. [`Primary`] and [`Secondary`] are the two ends of a line in normal response mode
//! without a line: bytes and stamps in, bytes and events out. [`SlotDiscovery`] finds out who is there,
//! [`SymSession`] protects the messages that pair a gateway with a meter.
//!
//! Nothing here panics on outside input or keeps more of it than one frame and one message per link.
//!
//! ```
//! use smgw_hdlc::{Address, Control, Frame, Profile};
//!
//! let frame = Frame {
//!     segmented: false,
//!     destination: Address::lmn(1, 3),
//!     source: Address::lmn(1, 1),
//!     control: Control::Snrm { poll: true },
//!     info: &[],
//! };
//! let line = frame.encode(&Profile::LMN).unwrap();
//! assert_eq!(line, *b"\x7e\xa0\x09\x02\x07\x02\x03\x93\xf6\x34\x7e");
//! assert_eq!(Frame::decode(&Profile::LMN, &line), Ok(frame));
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod address;
mod control;
mod crc;
mod discovery;
mod frame;
mod framer;
mod llc;
pub mod primary;
pub mod secondary;
mod sym;
mod transfer;

pub use address::{Address, Addressing};
pub use control::Control;
pub use crc::CrcKind;
pub use discovery::{
    Discovery, DiscoveryConfig, DiscoveryEvent, Entry, SlotDiscovery, SlotParticipant,
};
pub use frame::{EncodeError, FLAG, Fault, Frame, Profile};
pub use framer::{Event, Framer};
pub use llc::{Llc, Negotiation};
pub use primary::Primary;
pub use secondary::Secondary;
pub use sym::{
    MAX_PAYLOAD, PlaceholderLayout, Sender, SymCodec, SymError, SymKind, SymMaster, SymMessage,
    SymSession,
};
