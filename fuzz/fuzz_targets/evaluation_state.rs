// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes saved states of evaluations; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../host/gateway/core/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::state_of_example(data));
