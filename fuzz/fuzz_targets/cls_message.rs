// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets as commands and reports of a CLS.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../proto/cls/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::message(bytes));
