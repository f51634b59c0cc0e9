// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes the decoder of captures; the function itself also runs as an ordinary test of its crate.
#![no_main]

#[path = "../../host/bench/decode/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::decode_any(data));
