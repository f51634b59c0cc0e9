// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security-module back-end for the smartcard of TR-03109-2: PACE, secure messaging, PC/SC.
//!
//! What is only remembered or assumed of the card's command set stands in one table, [`CardProfile`], with its
//! confidence; a real card's own table can be supplied as a file.

pub mod pace;
pub mod profile;

pub use profile::CardProfile;
