// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets as question and as answer of NTP (DS §14).
#![no_main]

#[path = "../../proto/ntp/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| properties::packet(octets));
