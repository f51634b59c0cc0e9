// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any text as a PKCS#11 call log.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = bench_cases::pkcs11_trace::Pkcs11Trace::parse(text);
});
