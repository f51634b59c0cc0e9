// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a user sees who types something wrong, or asks before acting.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use smgw_tests::{Finished, Running, program, workspace};

fn bench<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Finished {
    let mut command = Command::new(program("smgw-bench"));
    command
        .args(arguments)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "110");
    Running::start(&mut command).finish(Duration::from_secs(30))
}

/// A copy of the virtual rig with one thing changed.
fn changed_rig(from: &str, to: &str) -> tempfile::NamedTempFile {
    let text = fs::read_to_string(workspace().join("rigs/virtual.toml")).expect("the default rig");
    assert!(text.contains(from), "the rig has no {from:?}");
    let file = tempfile::Builder::new()
        .suffix(".toml")
        .tempfile()
        .expect("a temporary file");
    fs::write(file.path(), text.replacen(from, to, 1)).expect("own file");
    file
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

#[test]
fn a_typo_in_the_rig_file_is_pointed_at_with_the_nearest_word() {
    let rig = changed_rig("baud = 9600", "bawd = 9600");
    let finished = bench(["run", "--rig", text(rig.path())]);
    assert_eq!(finished.code(), 106, "{finished:?}");
    let line = finished
        .stderr
        .lines()
        .find(|line| line.contains("bawd = 9600"));
    assert!(
        line.is_some(),
        "the line is not shown:\n{}",
        finished.stderr
    );
    assert!(finished.stderr.contains("baud"), "{}", finished.stderr);
}

#[test]
fn an_unknown_case_and_a_broken_filter_say_what_to_type() {
    let nothing = bench(["plan", "-E", "id(XYZ-99)"]);
    assert_eq!(nothing.code(), 4, "{nothing:?}");
    assert!(
        nothing.stderr.contains("smgw-bench list"),
        "{}",
        nothing.stderr
    );
    let broken = bench(["plan", "-E", "id(MET-01) &"]);
    assert_eq!(broken.code(), 2, "{broken:?}");
    assert!(broken.stderr.contains("id(MET-01) &"), "{}", broken.stderr);
}

#[test]
fn a_missing_library_is_named_with_its_remedy() {
    let rig = changed_rig(
        "kind = \"softhsm\"",
        "kind = \"softhsm\"\nmodule = \"/nowhere/libsofthsm2.so\"",
    );
    let reports = tempfile::tempdir().expect("a temporary folder");
    let finished = bench([
        "run",
        "--rig",
        text(rig.path()),
        "--report-dir",
        text(reports.path()),
        "-E",
        "id(TLS-01)",
    ]);
    assert!(matches!(finished.code(), 96 | 103 | 107), "{finished:?}");
    assert!(
        finished.stderr.contains("/nowhere/libsofthsm2.so"),
        "{}",
        finished.stderr
    );
    assert!(
        !finished.stdout.contains("FAIL"),
        "a missing library is no failure of the device"
    );
}

#[test]
fn an_unknown_defect_is_a_usage_error() {
    let reports = tempfile::tempdir().expect("a temporary folder");
    let finished = bench([
        "run",
        "--report-dir",
        text(reports.path()),
        "-E",
        "id(TLS-01)",
        "--defect",
        "no-such-defect",
    ]);
    assert_eq!(finished.code(), 2, "{finished:?}");
    assert!(
        finished.stderr.contains("list --defects"),
        "{}",
        finished.stderr
    );
}

#[test]
fn planning_touches_nothing_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plan = |name: &str| {
        let path = folder.path().join(name);
        let finished = bench(["plan", "--output", text(&path)]);
        assert_eq!(finished.code(), 0, "{finished:?}");
        fs::read_to_string(path).expect("the plan")
    };
    let first = plan("a.toml");
    assert_eq!(first, plan("b.toml"));
    for case in ["MET-01", "PRX-19", "SEC-03"] {
        assert!(
            first.contains(&format!("id = \"{case}\"")),
            "{case} is not planned"
        );
    }
    let explained = bench(["plan", "--explain", "MET-01"]);
    for word in [
        "DS §10.1",
        "meter.sml.simulated",
        "registration-tolerance",
        "step 1",
    ] {
        assert!(
            explained.stdout.contains(word),
            "{word} is missing:\n{}",
            explained.stdout
        );
    }
}

#[test]
fn the_shipped_rigs_and_schemas_are_sound() {
    assert_eq!(bench(["rig", "check", "rigs/virtual.toml"]).code(), 0);
    let real = bench(["rig", "show", "rigs/example-real.toml"]);
    assert_eq!(real.code(), 0, "{real:?}");
    let missing = bench(["rig", "check", "rigs/example-real.toml"]);
    assert_eq!(
        missing.code(),
        107,
        "its devices are not attached here: {missing:?}"
    );
    for (kind, file) in [
        ("rig", "rig-1.json"),
        ("ics", "ics-1.json"),
        ("assumptions", "assumptions-1.json"),
        ("plan", "plan-1.json"),
        ("results", "results-1.json"),
    ] {
        let printed = bench(["rig", "schema", kind]);
        let committed = fs::read_to_string(workspace().join("rigs/schema").join(file));
        assert_eq!(
            printed.stdout,
            committed.expect("a committed schema"),
            "{kind} drifted"
        );
    }
}

#[test]
fn discover_prints_blocks_a_rig_file_can_take() {
    let finished = bench(["discover", "--format", "toml"]);
    assert_eq!(finished.code(), 0, "{finished:?}");
    let json = bench(["discover", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert!(value.get("serial").is_some(), "{value}");
}

#[test]
fn captures_are_decoded_and_damage_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let capture = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("own file");
        path
    };
    let good = capture("good.hex", "# request\n10 5B 01 5C 16\n0xE5\n");
    let decoded = bench(["decode", text(&good)]);
    assert_eq!(decoded.code(), 0, "{decoded:?}");
    let lines: Vec<_> = decoded.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{decoded:?}");
    assert!(lines[0].contains(r#""function":"REQ_UD2""#), "{decoded:?}");
    let explained = bench(["decode", "--format", "explain", text(&good)]);
    assert!(
        explained.stdout.contains("5 of 5 bytes understood (100 %)"),
        "{explained:?}"
    );
    let damaged = capture("damaged.hex", "10 5B 01 5D 16\n");
    let decoded = bench(["decode", "--format", "table", text(&damaged)]);
    assert_eq!(decoded.code(), 6, "{decoded:?}");
    assert!(decoded.stdout.contains("5d instead of 5c"), "{decoded:?}");
    let nothing = capture("nothing.txt", "good morning");
    let decoded = bench(["decode", text(&nothing)]);
    assert_eq!(decoded.code(), 2, "{decoded:?}");
    assert!(decoded.stderr.contains("--protocol"), "{decoded:?}");
    let decoded = bench(["decode", "--key", "00", text(&good)]);
    assert_eq!(decoded.code(), 2, "{decoded:?}");
}
