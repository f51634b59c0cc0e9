// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes CBC records of TLS 1.2; the function itself also runs as an ordinary test of its crate.
#![no_main]

// Each target uses one function of several.
#[allow(dead_code)]
#[path = "../../hsm/tls/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::cbc_record(data));
