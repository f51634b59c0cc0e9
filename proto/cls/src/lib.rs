// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a controllable local system keeps, says and does: settings, commands of the market participant, and the limit on
//! its power (§14a EnWG; the states are those of EEBUS LPC).
//!
//! Nothing here reads a socket, a flash or a clock.
#![cfg_attr(not(feature = "std"), no_std)]
#![doc = include_str!("../README.md")]

extern crate alloc;

pub mod command;
pub mod defect;
pub mod limiter;
pub mod settings;
