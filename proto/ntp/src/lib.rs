// SPDX-License-Identifier: MIT OR Apache-2.0
//! NTPv4 packets (RFC 5905) with the client and server rules of TR-03109-1 detail specifications §9 and §14.
//!
//! A message is exactly 48 octets: no extension fields, no NTP authentication (REQ.TA.NTP.BuildRequest.10–40,
//! ProcessResponse.10–110, ProcessRequest.10, BuildResponse.10–41). The machines take octets and instants and give
//! octets and findings; nothing here reads a socket, a clock or random numbers.
#![no_std]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod client;
mod packet;
mod server;
mod timestamp;

pub use client::{Answer, Client, ClientRules, Ignored};
pub use packet::{LEN, Leap, LengthError, Mode, Packet, VERSION};
pub use server::{ServerState, Unanswered, answer};
pub use timestamp::{Short, Timestamp};
