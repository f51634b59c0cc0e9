// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes requests to and answers of a linked security module; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../hsm/link/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::message(data));
