// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets as an event log: damage is found, nothing panics.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let _ = bench_evidence::events::check(octets);
});
