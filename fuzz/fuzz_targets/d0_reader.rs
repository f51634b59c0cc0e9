// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes readers and a meter of IEC 62056-21; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../proto/iec62056/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::dialogue(data));
