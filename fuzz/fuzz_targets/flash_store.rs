// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes what a flash partition may hold; the function itself also runs as an ordinary test of its crate.
#![no_main]

#[path = "../../proto/flash-store/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::open(data));
