// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets against the SOCKS frame parsers (DS §11).
#![no_main]

#[path = "../../proto/socks/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| properties::frame(octets));
