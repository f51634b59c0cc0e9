// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any text as a filter expression.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = text.parse::<bench_rig::Filter>();
});
