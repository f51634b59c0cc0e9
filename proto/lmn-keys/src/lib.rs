// SPDX-License-Identifier: MIT OR Apache-2.0
//! Symmetric protection on the LMN (BSI TR-03116-3 §7; OMS vol. 2 §9): key derivation, modes, counters.
//!
//! A [`Key`] is wiped when dropped and never prints itself. [`Key::derive`] is the one derivation of
//! radio and wire; the modes of operation work in place on the caller's bytes. [`CounterGuard`]
//! refuses replays.
//!
//! ```
//! use smgw_lmn_keys::{Key, KeyKind, Meter};
//!
//! let master = Key::new([7; 16]);
//! let kenc = master.derive(KeyKind::Kenc, 1, &Meter::Radio([0x78, 0x56, 0x34, 0x12]));
//! let mut data = *b"2f2f and 14 more";
//! kenc.cbc_encrypt(&[0; 16], &mut data).unwrap();
//! kenc.cbc_decrypt(&[0; 16], &mut data).unwrap();
//! assert_eq!(&data, b"2f2f and 14 more");
//! assert_eq!(format!("{kenc:?}"), "Key(..)");
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

mod counter;
mod error;
mod key;
mod modes;

pub use counter::{CounterGuard, StoreWithin};
pub use error::Error;
pub use key::{Key, KeyKind, Meter};
pub use modes::CcmTag;
