// SPDX-License-Identifier: MIT OR Apache-2.0
//! The controllable local system as an application that all boards share: [`App`] is given a board's parts and its
//! settings, and polled.
//!
//! It opens a channel to a market participant through the gateway's proxy (TR-03109-1 detail specifications §11): TCP,
//! SOCKS greeting with method 06, TLS inside SOCKS-TLS frames, CONNECT by name. Inside the channel it carries out
//! commands ([`smgw_cls::command`]) and drives a relay by their limit ([`smgw_cls::limiter`]).
//!
//! | module | holds |
//! |---|---|
//! | [`app`] | the whole, poll by poll |
//! | [`board`] | what a board has to offer |
//! | [`channel`] | the protocol of one connection, without network or clock |
//! | `defects` | what images for it do wrong, to be caught |
//! | `load` | the settings out of flash |
//! | [`session`] | TLS without sockets |
//! | [`station`] | the IP stack and its one connection |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod app;
pub mod board;
pub mod channel;
mod defects;
mod load;
mod log;
pub mod session;
pub mod station;

pub use app::{App, StartError, start};
pub use board::{Board, PulseCounter, Watchdog};
pub use defects::Defects;
pub use load::NoSettings;
