// SPDX-License-Identifier: MIT OR Apache-2.0
//! The security module of TR-03109-2 as a virtual smartcard, and an isolated pcscd to put it into.

pub mod card;
pub mod dice;
pub mod fault;
pub mod latency;
pub mod pcscd;
pub mod play;
pub mod process;
pub mod randomness;
pub mod state;
pub mod vpcd;

pub use card::{Card, SharedCard};
