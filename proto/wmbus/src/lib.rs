// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wireless M-Bus (EN 13757-4, EN 13757-7) and OMS vol. 2: from a stick to records, and back.
//!
//! [`stick`] finds frames in what receivers send; [`Telegram::decode`] reads one through all its
//! layers, decrypts it, checks its MAC and says by a [`Verdict`] whether to believe it.
//! [`NewTelegram`] is the other direction. [`ReplayGuard`] refuses what was there before, and
//! [`Reassembler`] puts fragments together. [`Telegram::decode_wired`] reads encrypted wired frames.
//!
//! ```
//! use smgw_lmn_keys::Key;
//! use smgw_mbus::{Device, Header, Manufacturer};
//! use smgw_wmbus::{CrcFormat, FormatCache, Keys, NewTelegram, Protection, Telegram, Verdict};
//!
//! let sender = Device {
//!     id: [0x78, 0x56, 0x34, 0x12],
//!     manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
//!     version: 1,
//!     medium: 0x03,
//! };
//! let header = Header { device: None, access: 7, status: 0, config: 0 };
//! let key = Key::new([7; 16]);
//! let mut telegram = NewTelegram::new(sender, header, &[0x0c, 0x14, 0x27, 0x04, 0x85, 0x02]);
//! telegram.protection =
//!     Protection::B { key: &key, counter: 1, mac: 5, length: false, key_information: None };
//! let frame = telegram.encode(CrcFormat::A).unwrap();
//!
//! let read = Telegram::decode(&frame, &Keys::all(key), &mut FormatCache::default()).unwrap();
//! assert_eq!(read.verdict, Verdict::Authenticated);
//! let (place, record) = read.records().next().unwrap().unwrap();
//! assert_eq!(record.decimal().unwrap().to_string(), "28504.27");
//! assert_eq!(place.of(&read.bytes).len(), 6);
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod compact;
mod crc;
mod encode;
mod error;
mod keys;
mod layers;
mod link;
mod reassembly;
mod records;
mod replay;
mod security;
pub mod stick;
mod telegram;

pub use compact::{Compact, CompactError, FormatCache, compact, format};
pub use crc::crc;
pub use encode::{NewEll, NewTelegram, Protection};
pub use error::{Error, Layer};
pub use keys::{Keys, Whose};
pub use layers::{Afl, Ell, HeaderKind, Session, Span, Tpl, mac_length, mode};
pub use link::{CrcFormat, Frame, Link, control, encode as encode_link};
pub use reassembly::Reassembler;
pub use records::LocatedRecords;
pub use replay::{Refused, ReplayGuard};
pub use security::{MacCheck, Verdict, ccm_nonce, persistent_iv};
pub use telegram::{Body, Carrier, Telegram};
