// SPDX-License-Identifier: MIT OR Apache-2.0
//! However a run ends, nothing of it is left running and the evidence says how it ended.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use bench_evidence::results::Verdict;
use smgw_tests::{Run, children_of, processes_naming, quiet_machine};

/// A case that mostly waits, so that there is time to break something in it.
const LONG: [&str; 2] = ["-E", "id(MET-01)"];

#[test]
fn a_killed_gateway_ends_the_run_as_a_rig_error() {
    let _quiet = quiet_machine();
    let run = Run::start(LONG);
    let gateway = wait_for_gateway(&run);
    run.wait_for_case();
    signal("KILL", gateway);
    let killed = Instant::now();
    let (finished, bundle) = run.finish(Duration::from_secs(60));
    assert!(
        killed.elapsed() < Duration::from_secs(30),
        "took {:?}",
        killed.elapsed()
    );
    assert!(matches!(finished.code(), 102 | 103), "{finished:?}");
    let results = bundle.results();
    let case = &results.cases[0];
    assert_eq!(case.verdict, Verdict::RigError, "{}", case.reason);
    assert!(case.reason.contains("signal 9"), "{}", case.reason);
    assert_eq!(results.run.reason, "rig-error");
    assert_eq!(
        bundle.verify().code(),
        0,
        "the evidence of a broken run is sealed too"
    );
    assert_eq!(processes_naming("smgw-bench-run-"), []);
}

#[test]
fn a_terminated_bench_tears_everything_down() {
    let _quiet = quiet_machine();
    let run = Run::start(LONG);
    run.wait_for_case();
    signal("TERM", run.running.child.id());
    let (finished, bundle) = run.finish(Duration::from_secs(60));
    assert_eq!(finished.code(), 130, "{finished:?}");
    let results = bundle.results();
    assert_eq!(results.cases[0].verdict, Verdict::Aborted);
    assert_eq!(results.run.reason, "aborted");
    assert_eq!(bundle.verify().code(), 0);
    assert_eq!(processes_naming("smgw-bench-run-"), []);
}

#[test]
fn a_stop_during_the_set_up_is_sealed_as_aborted() {
    let _quiet = quiet_machine();
    let run = Run::start(LONG);
    wait_for_gateway(&run);
    signal("TERM", run.running.child.id());
    let (finished, bundle) = run.finish(Duration::from_secs(60));
    assert_eq!(finished.code(), 130, "{finished:?}");
    assert!(matches!(
        bundle.results().cases[0].verdict,
        Verdict::Aborted | Verdict::Skipped
    ));
    assert_eq!(bundle.verify().code(), 0);
    assert_eq!(processes_naming("smgw-bench-run-"), []);
}

#[test]
fn a_gateway_killed_while_it_starts_is_a_rig_error() {
    let _quiet = quiet_machine();
    let run = Run::start(LONG);
    let gateway = wait_for_gateway(&run);
    signal("KILL", gateway);
    let (finished, bundle) = run.finish(Duration::from_secs(60));
    assert_eq!(finished.code(), 103, "{finished:?}");
    let results = bundle.results();
    assert!(
        !results
            .cases
            .iter()
            .any(|case| case.verdict == Verdict::Fail),
        "{finished:?}"
    );
    assert_eq!(bundle.verify().code(), 0);
    assert_eq!(processes_naming("smgw-bench-run-"), []);
}

#[test]
fn a_killed_bench_takes_its_gateway_along() {
    let _quiet = quiet_machine();
    let run = Run::start(LONG);
    let gateway = wait_for_gateway(&run);
    signal("KILL", run.running.child.id());
    let end = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&format!("/proc/{gateway}")).exists() {
        assert!(Instant::now() < end, "the gateway outlived the bench");
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_gateway(run: &Run) -> u32 {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        if let [gateway] = children_of(run.running.child.id(), "smgw")[..] {
            return gateway;
        }
        assert!(Instant::now() < end, "no gateway was started");
        thread::sleep(Duration::from_millis(20));
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status();
    assert!(status.expect("kill is everywhere").success());
}
