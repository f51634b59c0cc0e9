// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes both ends of an HDLC link; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../proto/hdlc/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::link(data));
