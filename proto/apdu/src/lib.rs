// SPDX-License-Identifier: MIT OR Apache-2.0
//! Smartcard commands and answers (ISO/IEC 7816-4), BER-TLV, and AES secure messaging (BSI TR-03110-3 appendix F).
//!
//! Both ends are here: the gateway that sends [`Command`]s and the card that answers with [`Response`]s. A
//! [`SecureChannel`] wraps and unwraps either. Contents are wiped when dropped, and neither [`core::fmt::Debug`] nor
//! [`describe`] shows them.
//!
//! ```
//! use smgw_apdu::{Command, Response, SecureChannel, SessionKeys, StatusWord};
//!
//! let keys = || SessionKeys::new([1; 16], [2; 16]);
//! let (mut gateway, mut card) = (SecureChannel::new(keys()), SecureChannel::new(keys()));
//!
//! let challenge = Command::new(0x00, 0x84, 0x00, 0x00).expecting(8);
//! let sent = gateway.protect_command(&challenge)?.encode()?;
//! let received = card.open_command(&Command::decode(&sent)?)?;
//! assert_eq!(received, challenge);
//!
//! let answer = card.protect_response(&Response::new([7; 8], StatusWord::OK))?;
//! assert_eq!(gateway.open_response(&answer)?.data, [7; 8]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod command;
mod describe;
mod response;
mod secure;
mod status;
pub mod tlv;

pub use command::{Command, CommandError};
pub use describe::{describe, describe_response};
pub use response::{Response, ResponseTooShort};
pub use secure::{SecureChannel, SecureError, SessionKeys};
pub use status::StatusWord;
