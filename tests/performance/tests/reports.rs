// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every benchmark runs to its end and leaves the figures others rely on.

use std::process::Command;

use serde_json::Value;

/// Runs a benchmark shortly and reads its report.
fn quick(program: &str, name: &str, corpora: Option<&str>) -> Value {
    let kind = if corpora.is_some() { "own" } else { "here" };
    let output = std::env::temp_dir().join(format!("{name}-{kind}-{}.json", std::process::id()));
    let run = Command::new(program)
        .envs(corpora.map(|folder| (test_material::CORPORA_VARIABLE, folder)))
        .args(["--quick", "--output"])
        .arg(&output)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let report = std::fs::read_to_string(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    serde_json::from_str(&report).unwrap()
}

#[test]
fn metering_compares_with_both_peers() {
    judge_metering(&quick(env!("CARGO_BIN_EXE_metering"), "metering", None));
}

/// Telegrams of our own stand in for captures, and the peers can read them.
#[test]
fn metering_needs_no_captures() {
    let nowhere = Some("/nonexistent");
    let report = quick(env!("CARGO_BIN_EXE_metering"), "metering", nowhere);
    for (input, expected) in [
        (
            0,
            "ours 200, sml-rs 200; list entries ours 1400, sml-rs 1400",
        ),
        (1, "records ours 840, m-bus-parser 840"),
    ] {
        let input = report["inputs"][input].as_str().unwrap();
        assert!(input.contains(expected), "{input}");
    }
    judge_metering(&report);
}

fn judge_metering(report: &Value) {
    assert_eq!(report["name"], "metering");
    assert!(report["machine"]["processors"].as_u64() > Some(0));
    for (metric, peer) in [("sml decode", "sml-rs"), ("m-bus records", "m-bus-parser")] {
        let rows = report["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["metric"] == metric).unwrap();
        assert!(
            row["peer_name"].as_str().unwrap().starts_with(peer),
            "{row}"
        );
        for figure in ["ours", "peer", "ratio", "n"] {
            assert!(row[figure].as_f64() > Some(0.0), "{row}");
        }
        assert!(row["unit"].is_string());
    }
}

#[test]
fn core_compares_with_the_reference_models() {
    let report = quick(env!("CARGO_BIN_EXE_core"), "core", None);
    assert_eq!(report["name"], "core");
    let rows = report["rows"].as_array().unwrap();
    let mut expected = vec![
        ("value lists, TAF 7", "meter-days/s", None),
        ("a day of 1000 meters x 96 values, TAF 7", "s", None),
        (
            "100 meters, TAF 1, 2 and 7",
            "meter-days/s",
            Some("10 meters"),
        ),
        ("TAF 2 alone", "meter-days/s", Some("reference model")),
        ("inner signatures, soft", "1/s", None),
    ];
    if hsm_pkcs11::softhsm::installed().is_some() {
        expected.push(("inner signatures, SoftHSM2", "1/s", None));
    } else {
        println!("SKIPPED: softhsm2 is not installed");
    }
    for (metric, unit, peer) in expected {
        let row = rows.iter().find(|row| row["metric"] == metric);
        let row = row.unwrap_or_else(|| panic!("{metric}"));
        assert_eq!(
            (row["unit"].as_str(), row["peer_name"].as_str()),
            (Some(unit), peer),
            "{row}"
        );
        assert!(row["ours"].as_f64() > Some(0.0), "{row}");
        assert_eq!(row["ratio"].as_f64() > Some(0.0), peer.is_some(), "{row}");
    }
}

#[test]
fn hsm_compares_with_both_peers() {
    let report = quick(env!("CARGO_BIN_EXE_hsm"), "hsm", None);
    assert_eq!(report["name"], "hsm");
    let rows = report["rows"].as_array().unwrap();
    let mut expected = vec![
        ("sign brainpoolP256r1, soft", Some("openssl speed")),
        ("ECDH brainpoolP256r1, soft", Some("openssl speed")),
        ("TLS 1.2 handshake, soft", None),
        ("TLS 1.3 handshake, soft", None),
    ];
    if hsm_pkcs11::softhsm::installed().is_some() {
        expected.extend([
            ("sign brainpoolP256r1, 1 session", Some("raw cryptoki")),
            ("sign brainpoolP256r1, 2 sessions", Some("raw cryptoki")),
            ("ECDH brainpoolP512r1, 1 session", Some("raw cryptoki")),
            ("ECDH P-384, 2 sessions", Some("raw cryptoki")),
            ("verify P-256, 1 session", Some("raw cryptoki")),
            ("random 32 B, 1 session", Some("raw cryptoki")),
            ("sign scaling 2 sessions/1 session", Some("1 session")),
            ("sign brainpoolP256r1, SoftHSM2", Some("openssl speed")),
            ("TLS 1.3 handshake, SoftHSM2", None),
        ]);
    } else {
        println!("SKIPPED: softhsm2 is not installed");
    }
    for (metric, peer) in expected {
        let row = rows.iter().find(|row| row["metric"] == metric);
        let row = row.unwrap_or_else(|| panic!("{metric}"));
        assert_eq!(row["peer_name"].as_str(), peer, "{row}");
        let figures: &[&str] = match peer {
            Some(_) => &["ours", "peer", "ratio", "n"],
            None => &["ours", "n"],
        };
        for figure in figures {
            assert!(row[*figure].as_f64() > Some(0.0), "{row}");
        }
    }
}

#[test]
fn a_wrong_flag_is_refused() {
    let run = Command::new(env!("CARGO_BIN_EXE_metering"))
        .arg("--fast")
        .output()
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("--quick"));
}
