// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wired M-Bus (EN 13757-2 link, EN 13757-3 application): frames, records, slave and master machines.
//!
//! Bytes from a line go into a [`Framer`]; [`Telegram::parse`] reads a frame, its records keep every
//! digit ([`Record`]), and [`obis::reading`] maps the basic ones to OBIS codes. [`Master`] and
//! [`Slave`] are the two ends of the line without a line: bytes and stamps in, bytes and events out;
//! [`Search`] finds the slaves of a [`Bus`]. [`Command`] is what a master tells.
//!
//! Nothing here panics on outside input or keeps more than one frame of it.
//!
//! ```
//! use smgw_mbus::{Data, Device, Header, Manufacturer, NewRecord, Telegram, response};
//!
//! let header = Header {
//!     device: Some(Device {
//!         id: [0x78, 0x56, 0x34, 0x12],
//!         manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
//!         version: 1,
//!         medium: 0x02,
//!     }),
//!     access: 7,
//!     status: 0,
//!     config: 0,
//! };
//! let energy = NewRecord::new(&[0x03], Data::Integer { value: 1_234_567, bytes: 8 });
//! let frame = response(1, &header, &energy.encode().unwrap()).unwrap();
//!
//! let telegram = Telegram::parse(&frame).unwrap();
//! assert_eq!(telegram.header(), Some(&header));
//! let record = telegram.records().next().unwrap().unwrap();
//! assert_eq!(record.decimal().unwrap().to_string(), "1234567");
//! ```
#![cfg_attr(not(feature = "std"), no_std)]
#![warn(clippy::unwrap_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

pub mod bus;
pub mod ci;
mod command;
mod date;
mod encode;
mod error;
mod fixed;
mod frame;
mod framer;
mod header;
pub mod master;
pub mod obis;
mod profile;
mod readout;
mod record;
pub mod search;
mod select;
pub mod slave;
mod telegram;
mod timing;
mod value;
mod vif;

pub use bus::Bus;
pub use command::{Command, Request};
pub use date::{Calendar, Date, DateTime, Time};
pub use encode::{Data, NewRecord, alarm_response, error_response, fixed_response, response};
pub use error::Error;
pub use fixed::{Counter, FixedData, FixedReading};
pub use frame::{Frame, control};
pub use framer::{Discard, Event, Framer};
pub use header::{Device, Header, Manufacturer, device_type};
pub use master::Master;
pub use profile::{Increment, Profile, ProfileKind, Spacing};
pub use readout::Readout;
pub use record::{Function, Record, RecordError, RecordHead, Records, Trailer};
pub use search::Search;
pub use select::Mask;
pub use slave::Slave;
pub use telegram::{ApplicationError, Body, Telegram};
pub use timing::Timing;
pub use value::{Latin1, Value};
pub use vif::{Action, Extension, Measure, Quantity, RecordFault, TextOrder, Vib};
