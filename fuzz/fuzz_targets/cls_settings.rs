// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets as the settings of a CLS.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../proto/cls/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::settings(bytes));
