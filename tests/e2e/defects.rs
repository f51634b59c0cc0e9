// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bench that never fails proves nothing: each seeded defect of the gateway, and of the board that plays a
//! controllable system, must be caught by exactly its case.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bench_evidence::results::Verdict;
use serde::Deserialize;
use smgw_tests::{Run, Running, program, quiet_machine, skip};

#[derive(Clone, Debug, Deserialize)]
struct Defect {
    part: String,
    id: String,
    case: String,
    summary: String,
}

/// Cases of a few seconds, run beside the defect's own to see that they stay untouched.
const QUICK: &str = "id(TLS-*) | id(CON-*) | id(HTT-*) | id(PRX-01) | id(PRX-03) | id(PRX-04) | \
                     id(PRX-05) | id(PRX-06) | id(PRX-12)";

/// No run with one defect takes longer.
const LONGEST: Duration = Duration::from_secs(900);

#[test]
fn each_seeded_defect_of_the_gateway_is_caught_by_exactly_its_case() {
    all_are_caught("gateway", "rigs/virtual.toml", 5, |defect| {
        // Cases that look at the same lists: a defect of one must leave the others untouched.
        const LISTS: [&str; 3] = ["MET-01", "MET-02", "MET-03"];
        const TARIFFS: [&str; 6] = ["MET-06", "MET-07", "MET-08", "MET-17", "MET-18", "MET-20"];
        let own = [defect.case.as_str()];
        let group = [&LISTS[..], &TARIFFS[..]]
            .into_iter()
            .find(|group| group.contains(&defect.case.as_str()))
            .unwrap_or(&own);
        let own: Vec<_> = group.iter().map(|id| format!("id({id})")).collect();
        format!("{} | {QUICK}", own.join(" | "))
    });
}

#[test]
fn each_seeded_defect_of_the_board_is_caught_by_exactly_its_case() {
    let name = "each_seeded_defect_of_the_board_is_caught_by_exactly_its_case";
    if Command::new("qemu-system-arm")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip(name, "qemu-system-arm is not installed");
    }
    // A board that greets wrongly or never comes back spoils what follows; opening a channel is what all have in common.
    all_are_caught("board", "rigs/virtual-board.toml", 3, |defect| {
        format!("id({}) | id(CLS-01)", defect.case)
    });
}

/// Checks all defects of one part, on a rig, with the cases that the filter selects for each. Most of a run is waiting for
/// registration periods or for a board, so some share the machine well.
fn all_are_caught(
    part: &str,
    rig: &str,
    at_a_time: usize,
    filter: impl Fn(&Defect) -> String + Sync,
) {
    let _quiet = quiet_machine();
    let defects: VecDeque<_> = listed()
        .into_iter()
        .filter(|defect| defect.part == part)
        .collect();
    assert!(defects.len() >= 10, "{defects:?}");
    let queue = Mutex::new(defects);
    let problems = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(defect) = next else { return };
                    if let Err(problem) = check(&defect, rig, &filter(&defect)) {
                        problems
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(problem);
                    }
                }
            });
        }
    });
    let problems = problems
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn listed() -> Vec<Defect> {
    let mut command = Command::new(program("smgw-bench"));
    command.args(["list", "--defects", "--format", "json"]);
    let finished = Running::start(&mut command).finish(Duration::from_secs(20));
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).expect("an array of {id, case, summary}")
}

fn check(defect: &Defect, rig: &str, filter: &str) -> Result<(), String> {
    let (finished, bundle) =
        Run::on(rig, ["--defect", defect.id.as_str(), "-E", filter]).finish(LONGEST);
    let results = bundle.results();
    let not_passed: Vec<_> = results
        .cases
        .iter()
        .filter(|case| !matches!(case.verdict, Verdict::Pass | Verdict::Measured))
        .map(|case| format!("{} {:?} ({})", case.id, case.verdict, case.reason))
        .collect();
    let exactly = results.cases.iter().all(|case| {
        let expected = case.id == defect.case;
        expected == (case.verdict == Verdict::Fail)
            && (expected || matches!(case.verdict, Verdict::Pass | Verdict::Measured))
    });
    println!(
        "{:<28} {:<7} exit {}",
        defect.id,
        defect.case,
        finished.code()
    );
    if exactly && finished.code() == 100 {
        return Ok(());
    }
    Err(format!(
        "{} ({}): exit {}, expected exactly {} to fail, saw {not_passed:?}\n{}",
        defect.id,
        defect.summary,
        finished.code(),
        defect.case,
        finished.stderr
    ))
}
