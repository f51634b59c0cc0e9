// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes logs of PKCS#11 calls; the function itself also runs as an ordinary test of its crate.
#![no_main]

#[path = "../../hsm/pkcs11/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::trace(data));
