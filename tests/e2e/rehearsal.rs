// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole catalogue on the virtual rig, and what foreign tools make of the evidence.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use bench_evidence::results::Verdict;
use smgw_tests::{Run, Running, processes_naming, quiet_machine, skip};

#[test]
fn the_reference_gateway_passes_and_the_evidence_holds() {
    let _quiet = quiet_machine();
    let (finished, bundle) = Run::start(["--seed", "7"]).finish(Duration::from_secs(1200));
    let results = bundle.results();
    let failed: Vec<_> = results
        .cases
        .iter()
        .filter(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Measured))
        .map(|case| (&case.id, case.verdict, &case.reason))
        .collect();
    assert_eq!(
        finished.code(),
        0,
        "{failed:?}\n{}\n{}",
        finished.stdout,
        finished.stderr
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(results.run.seed, 7);
    let ids: BTreeSet<_> = results.cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!(ids.len(), results.cases.len(), "every case once");
    assert_eq!(ids.len(), 56, "{ids:?}");
    for case in &results.cases {
        let line = finished.stdout.lines().find(|line| line.contains(&case.id));
        assert!(
            line.is_some(),
            "no line for {} in\n{}",
            case.id,
            finished.stdout
        );
    }

    let report = finished
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("report"));
    let report = report.expect("the report's path is printed").trim();
    let html = fs::read_to_string(report).expect("the printed path exists");
    assert!(html.contains("PRX-04"));
    for outside in ["src=\"http", "href=\"http", "url(http", "@import"] {
        assert!(
            !html.contains(outside),
            "the report reaches for the network: {outside}"
        );
    }

    let verified = bundle.verify();
    assert_eq!(verified.code(), 0, "{}{}", verified.stdout, verified.stderr);
    assert_eq!(
        processes_naming("smgw-bench-run-"),
        [],
        "processes left over"
    );

    let results_file = bundle.path.join("results.json");
    let mut bytes = fs::read(&results_file).expect("results.json");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&results_file, bytes).expect("own folder");
    let verified = bundle.verify();
    assert_eq!(
        verified.code(),
        109,
        "{}{}",
        verified.stdout,
        verified.stderr
    );
    assert!(
        verified.stderr.contains("results.json"),
        "{}",
        verified.stderr
    );

    tshark_reads_the_trace(&bundle);
}

fn tshark_reads_the_trace(bundle: &smgw_tests::Bundle) {
    if Command::new("tshark").arg("--version").output().is_err() {
        return skip("tshark reads the trace", "tshark is not installed");
    }
    let trace = bundle.path.join("trace/run.pcapng");
    let count = |filter: &str| {
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(&trace)
            .args(["-Y", filter, "-T", "fields", "-e", "frame.number"]);
        let finished = Running::start(&mut command).finish(Duration::from_secs(120));
        assert!(finished.status.success(), "{}", finished.stderr);
        finished.stdout.lines().count()
    };
    assert!(count("rtacser") > 100, "serial taps");
    assert!(
        count("tls.handshake.type == 1") > 10,
        "TLS ClientHello on the network legs"
    );
    assert_eq!(count("_ws.malformed && !tls"), 0, "malformed packets");
}
