// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes commands to the emulated card, plain and under secure messaging; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../hsm/card-emulator/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::card_apdu(data));
