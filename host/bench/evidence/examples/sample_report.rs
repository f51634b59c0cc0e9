// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes the report of an invented run: `cargo run -p bench-evidence --example sample_report > report.html`.

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() {
    let results = sample::results();
    print!(
        "{}",
        bench_evidence::html(&results, &sample::distributions())
    );
}
