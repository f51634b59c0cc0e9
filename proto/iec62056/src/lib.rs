// SPDX-License-Identifier: MIT OR Apache-2.0
//! IEC 62056-21 (D0) and DSMR P1: telegrams, data lines, reader and meter machines.
//!
//! [`Framer`] finds telegrams on a line, [`Telegram`] and [`Block`] read them with a verdict on their
//! checks, [`DataSet`] and [`Value`] keep every digit and the text as the meter wrote it. [`Reader`] and
//! [`Meter`] are the two ends of a dialogue in modes A to E without a line; [`p1`] is what P1 ports have
//! of their own.
//!
//! Nothing here panics on outside input or keeps more of it than one telegram.
//!
//! ```
//! use smgw_iec62056::{Bcc, Telegram};
//!
//! let telegram = Telegram::parse(b"/ABC5meter\r\n\x021.8.0(000285.40*kWh)\r\n!\r\n\x03A").unwrap();
//! assert_eq!(telegram.identification.id, "meter");
//! assert_eq!(telegram.block.bcc, Bcc::Good);
//! let set = telegram.block.sets().next().unwrap().unwrap();
//! assert_eq!(set.code().unwrap().with_medium(1).to_string(), "1-0:1.8.0");
//! let value = set.values().next().unwrap();
//! assert_eq!((value.text, value.unit), ("000285.40", Some("kWh")));
//! assert_eq!(value.number().unwrap().mantissa, 28540);
//! assert_eq!(value.to_string(), "285.4");
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod block;
mod code;
mod command;
mod identification;
mod line;
pub mod meter;
mod outbox;
pub mod p1;
pub mod reader;
mod telegram;

pub use block::{Bcc, Block, bcc, encode_block};
pub use code::{Code, CodeError};
pub use command::{Command, Message, OptionSelect, request, requested};
pub use identification::{Baud, Identification, Mode};
pub use line::{DataSet, DataSets, LineError, Value, guess_medium, write_set};
pub use meter::Meter;
pub use outbox::Transmit;
pub use reader::Reader;
pub use telegram::{Discard, Event, Framer, Telegram, encode_unchecked};
