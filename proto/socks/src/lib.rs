// SPDX-License-Identifier: MIT OR Apache-2.0
//! SOCKSv5 with TLS inside SOCKS-TLS frames: the CLS proxy protocol of TR-03109-1 detail specifications §11.
//!
//! Greeting and request follow RFC 1928, narrowed by REQ.SOCKS.NegotiateAuth.* and REQ.SOCKS.Connect.*; the frames
//! follow draft-ietf-aft-socks-ssl-00 (assumption `socks-tls-frame`). Parsers take what has arrived so far and answer
//! `Ok(None)` while octets are missing; nothing here reads a socket or a clock, except the `stream` adaptor of feature `std`.
//!
//! ```
//! use smgw_socks::{ConnectName, Greeting, Method, MethodChoice, Request};
//!
//! let (greeting, _) = Greeting::parse(&[5, 1, 6])?.expect("complete");
//! let choice = if greeting.offers(Method::TLS) { Method::TLS } else { Method::NONE };
//! assert_eq!(MethodChoice(choice).encode(), [5, 6]);
//!
//! let (request, _) = Request::parse(b"\x05\x01\x00\x03\x03emt\x01\xbb")?.expect("complete");
//! assert_eq!(request.port, 443);
//! assert!(ConnectName::parse(b"EMT").is_err());
//! # Ok::<(), smgw_socks::SocksError>(())
//! ```
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod error;
mod frame;
mod greeting;
mod request;
#[cfg(feature = "std")]
pub mod stream;

pub use error::SocksError;
pub use frame::{
    FRAME_VERSION, Fragment, FrameDecoder, FrameError, FrameState, HEADER_LEN, MAX_PAYLOAD,
    encode_header,
};
pub use greeting::{Greeting, Method, MethodChoice};
pub use request::{Address, Command, ConnectName, ConnectNameError, Reply, ReplyCode, Request};

/// The version octet of every SOCKSv5 message.
pub const SOCKS_VERSION: u8 = 5;
