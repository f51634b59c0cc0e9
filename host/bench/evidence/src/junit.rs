// SPDX-License-Identifier: MIT OR Apache-2.0
//! `junit.xml`: one suite per interface, one test case per case, for continuous integration.
//!
//! A fail is a `<failure>`; what is not the device's fault (bench, rig, operator) is an `<error>`; no
//! judgement (inconclusive, not applicable, skipped) is `<skipped>` with its reason.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::EvidenceError;
use crate::markdown::one_line;
use crate::results::{CaseResult, Results, Verdict};

/// Renders the results as JUnit XML.
///
/// # Errors
/// [`EvidenceError::Render`] when the writer fails; a defect of the bench.
pub fn junit(results: &Results) -> Result<String, EvidenceError> {
    let run = &results.run;
    let mut report = Report::new(format!("smgw-bench {}", run.id));
    let mut interfaces: Vec<&str> = results.cases.iter().map(|c| c.interface.as_str()).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    for interface in interfaces {
        let mut suite = TestSuite::new(interface);
        suite
            .extra
            .insert("timestamp".into(), run.started.as_str().into());
        let own = [
            ("rig", &results.rig.name),
            ("tool", &run.tool),
            ("revision", &run.revision),
            ("decision-rule", &run.decision_rule),
        ];
        suite.add_properties(own.map(|(name, value)| (name, value.as_str())));
        let dut = run
            .dut
            .iter()
            .map(|(name, value)| (format!("dut.{name}"), value.clone()));
        suite.add_properties(dut.collect::<Vec<_>>());
        let mut time = Duration::ZERO;
        for case in results
            .cases
            .iter()
            .filter(|case| case.interface == interface)
        {
            time += duration(case);
            suite.add_test_case(test_case(case));
        }
        suite.set_time(time);
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| EvidenceError::Render {
        format: "junit",
        why: error.to_string(),
    })
}

fn duration(case: &CaseResult) -> Duration {
    Duration::from_nanos(case.ended_ns.saturating_sub(case.started_ns))
}

fn test_case(case: &CaseResult) -> TestCase {
    let mut test = TestCase::new(format!("{}@{}", case.id, case.version), status(case));
    test.set_classname(case.interface.as_str());
    test.set_time(duration(case));
    let mut property = |name: &str, value: &str| {
        test.add_property((name, value));
    };
    property("title", &case.title);
    property("level", &case.level);
    property("verdict", case.verdict.name());
    if case.is_marginal() {
        property("marginal", "true");
    }
    for requirement in &case.requirements {
        property("requirement", requirement);
    }
    for measurement in &case.measurements {
        let line = one_line(measurement);
        let value = line.split_once(" = ").map_or("", |(_, value)| value);
        property(&format!("m.{}", measurement.name), value);
    }
    for assumption in &case.assumptions {
        property("assumption", assumption);
    }
    test
}

fn status(case: &CaseResult) -> TestCaseStatus {
    let broken = |kind| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(kind).set_message(case.reason.as_str());
        status
    };
    match case.verdict {
        Verdict::Pass | Verdict::Measured => TestCaseStatus::success(),
        Verdict::Fail => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("fail").set_message(case.reason.as_str());
            let steps = steps(case);
            if !steps.is_empty() {
                status.set_description(steps);
            }
            status
        }
        Verdict::Error => broken("bench"),
        Verdict::RigError => broken("rig"),
        Verdict::Aborted => broken("aborted"),
        Verdict::Inconclusive | Verdict::NotApplicable | Verdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            let verdict = case.verdict.name();
            status.set_message(format!("{verdict}: {}", case.reason));
            status
        }
    }
}

/// The steps that were not as expected, one a line.
fn steps(case: &CaseResult) -> String {
    let wrong = case.steps.iter().filter(|step| step.ok == Some(false));
    wrong
        .map(|s| {
            format!(
                "{}: expected {}, observed {}",
                s.action, s.expected, s.observed
            )
        })
        .collect::<Vec<_>>()
        .join("\n")
}
