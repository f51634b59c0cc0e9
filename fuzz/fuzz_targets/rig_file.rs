// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any text as a rig file: all problems are reported, nothing panics (rig schema 1).
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = bench_rig::Rig::parse(std::path::Path::new("fuzz.toml"), text.to_owned());
});
