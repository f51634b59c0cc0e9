// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fuzzes what a timing probe hears; the functions themselves also run as an ordinary test of its crate.
#![no_main]

#[path = "../../firmware/timing-probe/tests/properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::host(data);
    properties::text(data);
});
