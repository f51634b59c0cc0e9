// SPDX-License-Identifier: MIT OR Apache-2.0
//! Smart Message Language 1.03-1.05 (BSI TR-03109-1 annex IV): transport, every message, both sides.
//!
//! Bytes from a line go into a [`transport::Framer`], its payloads into [`messages`] (which allocates
//! nothing) or [`File::parse`], and [`readings`] turns the list responses of a file into exact values.
//! [`elements`] walks over the same bytes without knowing any message. [`File::encode`] and
//! [`transport::encode`] are the way back. [`client`] asks a meter, [`server`] is one that can be asked.
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
//! let (mut rest, mut files) = (&line[..], 0);
//! while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
//!     if let transport::Event::File { payload, .. } = event {
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

mod body;
pub mod client;
mod coded;
mod crc;
mod elements;
mod error;
mod list;
mod message;
mod number;
mod parameter;
mod profile;
mod quirks;
mod reading;
pub mod register_tree;
pub mod server;
mod session;
mod status;
mod time;
mod tl;
pub mod transport;
mod value;

pub use body::{Access, Body};
pub use coded::{Coded, Iter, List};
pub use crc::CrcKind;
pub use elements::{Element, Elements, elements};
pub use error::{ErrorKind, ParseError};
pub use list::{ListEntry, ListRequest, ListResponse};
pub use message::{File, Form, Message, MessageCrc, Messages, messages};
pub use number::Int;
pub use parameter::{
    Parameter, ParameterRequest, ParameterResponse, SetParameterRequest, Tree, Tuple,
};
pub use profile::{
    PeriodEntry, ProfileHeader, ProfileListResponse, ProfilePackResponse, ProfilePeriod,
    ProfileRequest, ProfileValue,
};
pub use quirks::{Quirk, Quirks};
pub use reading::{Reading, readings};
pub use session::{
    Attention, AttentionNumber, CloseRequest, CloseResponse, OpenRequest, OpenResponse,
};
pub use status::{MeterStatus, WrappedPower};
pub use time::{Offsets, Time, TimeChoice};
pub use tl::Kind;
pub use value::{CosemValue, ListValue, ScalerUnit, TimestampedValue, Value};
