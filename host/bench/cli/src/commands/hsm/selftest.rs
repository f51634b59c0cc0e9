// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm selftest`: the suite that the tests of the bench run, against the user's module.

use std::io::IsTerminal;

use bench_engine::ExitCode;
use hsm_api::{LifeCycle, SecurityModule};
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Outcome, Report, Row, Suite};
use serde_json::json;

use super::args::{AnswerFormat, EffortOption, SelftestArgs};
use super::failed;
use crate::failure::{Failure, print_json};

/// Runs the verb.
pub fn run(arguments: &SelftestArgs) -> Result<ExitCode, Failure> {
    let module = arguments.at.open(None)?;
    let names = Names::default();
    require_unused(module.as_ref(), &names, arguments.yes)?;
    let place = arguments.at.place()?.to_string();
    let people = arguments.format == AnswerFormat::Table;
    if people {
        println!("{place}: {}", module.capabilities().name);
        println!(
            "makes and removes the keys {} and {}, the {} and the {}\n",
            names.sign, names.agree, names.certificate, names.data
        );
    } else if std::io::stderr().is_terminal() {
        eprintln!("testing {place}");
    }
    let suite = Suite {
        module: module.as_ref(),
        oracle: &SoftModule::new(),
        import: None,
        names: &names,
        effort: match arguments.effort {
            EffortOption::Quick => Effort::QUICK,
            EffortOption::Full => Effort::FULL,
        },
    };
    let report = suite.run(|row| {
        if people {
            println!("{}", line(row));
        }
    });
    if people {
        println!("\n{}", verdict(&report));
    } else {
        print_json(&json(&place, &report))?;
    }
    Ok(if report.passed() {
        ExitCode::Success
    } else {
        ExitCode::Failed
    })
}

/// A module that works for somebody is not played with, and nobody's keys are touched.
fn require_unused(module: &dyn SecurityModule, names: &Names, yes: bool) -> Result<(), Failure> {
    let phase = module.life_cycle().map_err(failed)?;
    if phase == LifeCycle::Decommissioned {
        return Err(Failure::new(
            ExitCode::ResourceMissing,
            "the module is decommissioned; nothing of it can be tested any more",
        ));
    }
    if phase == LifeCycle::Operation && !yes {
        return Err(Failure::with_help(
            ExitCode::Usage,
            "the module is in operation",
            "add --yes to test it all the same; keys and objects of other names stay as they are",
        ));
    }
    let keys = module.keys().map_err(failed)?;
    let objects = module.objects().map_err(failed)?;
    let key = keys
        .iter()
        .find(|info| info.key == names.sign || info.key == names.agree)
        .map(|info| format!("key {}", info.key));
    let object = objects
        .iter()
        .find(|object| **object == names.certificate || **object == names.data)
        .map(ToString::to_string);
    match key.or(object) {
        None => Ok(()),
        Some(there) => Err(Failure::with_help(
            ExitCode::ResourceMissing,
            format!("the module has a {there} already, which the self-test would make and remove"),
            "remove it with the tools of the module's maker if an interrupted self-test left it",
        )),
    }
}

fn line(row: &Row) -> String {
    let (word, what) = match &row.outcome {
        Outcome::Passed(count) => ("pass", format!("{count} checks")),
        Outcome::Failed(what) => ("FAIL", what.clone()),
        Outcome::NotRun(why) => ("not run", why.clone()),
    };
    format!("{word:<9}{:<44}{what}", row.name)
}

fn verdict(report: &Report) -> String {
    let word = if report.passed() { "PASS" } else { "FAIL" };
    let not_run = match report.not_run().count() {
        0 => String::new(),
        count => format!("; {count} of {} parts did not run", report.rows.len()),
    };
    format!("{word}: {} checks passed{not_run}", report.checks())
}

fn json(place: &str, report: &Report) -> serde_json::Value {
    let rows = report.rows.iter().map(|row| {
        let (outcome, checks, text) = match &row.outcome {
            Outcome::Passed(count) => ("passed", *count, None),
            Outcome::Failed(what) => ("failed", 0, Some(what)),
            Outcome::NotRun(why) => ("not-run", 0, Some(why)),
        };
        json!({ "name": row.name, "outcome": outcome, "checks": checks, "text": text })
    });
    json!({
        "place": place,
        "passed": report.passed(),
        "checks": report.checks(),
        "rows": rows.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use hsm_api::{Curve, KeyUsage};

    use super::*;

    fn report(last: Outcome) -> Report {
        let row = |name: &str, outcome| Row {
            name: name.into(),
            outcome,
        };
        Report {
            rows: vec![
                row("promises, P-256", Outcome::Passed(41)),
                row(
                    "known answers, P-256",
                    Outcome::NotRun("no way to give it keys".into()),
                ),
                row("endurance, brainpoolP512r1", last),
            ],
        }
    }

    #[test]
    fn people_see_a_table_and_a_verdict() {
        let text = |report: Report| {
            let lines: Vec<_> = report.rows.iter().map(line).collect();
            format!("{}\n{}", lines.join("\n"), verdict(&report))
        };
        insta::assert_snapshot!("passed", text(report(Outcome::Passed(25))));
        insta::assert_snapshot!(
            "failed",
            text(report(Outcome::Failed("the two sides differ".into())))
        );
        let json = json("software", &report(Outcome::Failed("it".into())));
        assert_eq!(
            (&json["passed"], &json["checks"]),
            (&false.into(), &41.into())
        );
    }

    #[test]
    fn nobodys_keys_are_touched() {
        let module = SoftModule::new();
        let names = Names::default();
        assert!(require_unused(&module, &names, false).is_ok());
        module
            .generate_key(&names.sign, Curve::NistP256, KeyUsage::Sign)
            .unwrap();
        assert!(require_unused(&module, &names, true).is_err());
        module.remove_key(&names.sign).unwrap();
        module.enter_phase(LifeCycle::Operation).unwrap();
        assert!(require_unused(&module, &names, false).is_err());
        assert!(require_unused(&module, &names, true).is_ok());
        module.enter_phase(LifeCycle::Decommissioned).unwrap();
        assert!(require_unused(&module, &names, true).is_err());
    }
}
