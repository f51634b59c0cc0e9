// SPDX-License-Identifier: MIT OR Apache-2.0
//! The committed schema of the results document is the one the model generates, and documents keep reading.
//!
//! `BLESS=1 cargo test -p bench-evidence --test schema` rewrites the committed file.

mod sample;

use std::path::Path;

use bench_evidence::results::{Results, Verdict, schema};

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../rigs/schema/results-1.json");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, schema()).expect("written");
    }
    let committed =
        std::fs::read_to_string(&path).expect("rigs/schema/results-1.json is committed");
    assert!(
        committed == schema(),
        "run with BLESS=1 and commit {}",
        path.display()
    );
}

#[test]
fn results_survive_a_round_trip() {
    let results = sample::results();
    let text = serde_json::to_string(&results).expect("serialises");
    assert_eq!(
        serde_json::from_str::<Results>(&text).expect("reads back"),
        results
    );
    assert_eq!(results.counts.len(), Verdict::ALL.len());
    for verdict in Verdict::ALL {
        assert_eq!(
            serde_json::to_value(verdict).expect("a string"),
            verdict.name()
        );
    }
}

#[test]
fn a_value_that_is_no_number_stays_readable() {
    let mut results = sample::results();
    results.cases[0].measurements[0].value = f64::NAN;
    let text = serde_json::to_string(&results).expect("serialises");
    let read: Results = serde_json::from_str(&text).expect("reads back");
    assert!(read.cases[0].measurements[0].value.is_nan());
}
