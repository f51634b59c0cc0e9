// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bench that never fails proves nothing: each seeded defect of the gateway must be caught by exactly its case.

use std::collections::VecDeque;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bench_evidence::results::Verdict;
use serde::Deserialize;
use smgw_tests::{Run, Running, program, quiet_machine};

#[derive(Clone, Debug, Deserialize)]
struct Defect {
    id: String,
    case: String,
    summary: String,
}

/// Cases of a few seconds, run beside the defect's own to see that they stay untouched.
const QUICK: &str = "id(TLS-*) | id(CON-*) | id(HTT-*) | id(PRX-01) | id(PRX-03) | id(PRX-04) | \
                     id(PRX-05) | id(PRX-06) | id(PRX-12)";

#[test]
fn each_seeded_defect_is_caught_by_exactly_its_case() {
    let _quiet = quiet_machine();
    let defects = listed();
    assert!(defects.len() >= 10, "{defects:?}");
    let queue = Mutex::new(defects.into_iter().collect::<VecDeque<_>>());
    let problems = Mutex::new(Vec::new());
    // Most of a run is waiting for registration periods, so three share the machine well.
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let next = queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(defect) = next else { return };
                    if let Err(problem) = check(&defect) {
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

fn check(defect: &Defect) -> Result<(), String> {
    // The metering cases look at the same lists, so each of their defects must leave the others untouched.
    let own = if defect.case.starts_with("MET-") {
        "MET-*"
    } else {
        &defect.case
    };
    let filter = format!("id({own}) | {QUICK}");
    let (finished, bundle) = Run::start(["--defect", defect.id.as_str(), "-E", filter.as_str()])
        .finish(Duration::from_secs(600));
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
        "{:<26} {:<7} exit {}",
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
