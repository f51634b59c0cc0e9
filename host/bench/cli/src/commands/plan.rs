// SPDX-License-Identifier: MIT OR Apache-2.0
//! `plan`: what would run and why not. Deterministic: the same inputs give the same plan.

use std::fs;
use std::path::Path;

use bench_cases::bench::Bench;
use bench_cases::module_tool::hex;
use bench_engine::{ExitCode, Selected};
use bench_evidence::results::Verdict;
use bench_rig::plan::{Disposition, PLAN_SCHEMA, PlanInput, PlannedCase};
use bench_rig::{Plan, Span};
use bench_timing::DECISION_RULE;
use sha2::{Digest, Sha256};

use crate::args::PlanArgs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::progress::word;

/// Runs the verb.
pub fn run(arguments: &PlanArgs) -> Result<ExitCode, Failure> {
    let inputs = Inputs::load(&arguments.inputs)?;
    if let Some(id) = &arguments.explain {
        return explain(&inputs, id);
    }
    if let Some(path) = &arguments.output {
        let plan = plan(&inputs, 0);
        fs::write(path, plan.to_toml()).map_err(|error| {
            Failure::new(ExitCode::Usage, format!("{}: {error}", path.display()))
        })?;
        println!("plan            {}", path.display());
        return Ok(ExitCode::Success);
    }
    for selected in &inputs.selection {
        match &selected.instead {
            None => println!(
                "{:<16}{:<8}{}",
                "run", selected.case.id, selected.case.title
            ),
            Some((verdict, reason)) => {
                println!("{:<16}{:<8}{reason}", word(*verdict), selected.case.id);
            }
        }
    }
    if let Some(left_out) = inputs.left_out() {
        println!("{:<16}{left_out}", "");
    }
    for part in inputs.rig.undrivable() {
        println!("not drivable    {}: {}", part.part, part.reason);
    }
    Ok(ExitCode::Success)
}

/// The selection as a plan file.
pub fn plan(inputs: &Inputs, seed: u64) -> Plan {
    let input = |path: &Path, text: &str| PlanInput {
        file: path.display().to_string(),
        sha256: hex(&Sha256::digest(text.as_bytes())),
    };
    Plan {
        schema: PLAN_SCHEMA.to_owned(),
        tool: tool(),
        seed,
        decision_rule: DECISION_RULE.to_owned(),
        filter: inputs.filter.clone(),
        rig: input(&inputs.rig.path, &inputs.rig.text),
        ics: input(&inputs.ics.path, &inputs.ics.text),
        assumptions: input(&inputs.assumptions.path, &inputs.assumptions.text),
        case: inputs
            .selection
            .iter()
            .map(|selected| planned(selected, inputs, seed))
            .collect(),
    }
}

fn planned(selected: &Selected<Bench>, inputs: &Inputs, seed: u64) -> PlannedCase {
    let case = selected.case;
    let (disposition, reason) = match &selected.instead {
        None => (Disposition::Run, String::new()),
        Some((Verdict::NotApplicable, reason)) => (Disposition::NotApplicable, reason.clone()),
        Some((_, reason)) => (Disposition::Skipped, reason.clone()),
    };
    PlannedCase {
        id: case.id.to_owned(),
        version: case.version,
        disposition,
        reason,
        deadline: Span(inputs.rig.stretch(case.budget)),
        seed: bench_engine::case_seed(seed, case.id),
        requirements: case
            .requirements
            .iter()
            .map(|id| (*id).to_owned())
            .collect(),
        assumptions: case
            .assumptions
            .iter()
            .map(|key| (*key).to_owned())
            .collect(),
    }
}

fn explain(inputs: &Inputs, id: &str) -> Result<ExitCode, Failure> {
    let wanted = inputs
        .selection
        .iter()
        .find(|selected| selected.case.id.eq_ignore_ascii_case(id));
    let Some(selected) = wanted else {
        return Err(Failure::with_help(
            ExitCode::NothingSelected,
            format!("no case {id} in the selection"),
            "`smgw-bench list` prints all cases",
        ));
    };
    let case = selected.case;
    println!("{}@{}  {}", case.id, case.version, case.title);
    println!("level         {}", case.level);
    println!("interface     {}", case.interface);
    println!("sources       {}", case.requirements.join(", "));
    let needs: Vec<_> = case.needs.iter().map(|need| need.as_str()).collect();
    println!("needs         {}", needs.join(", "));
    for key in case.assumptions {
        let value = inputs
            .assumptions
            .get(key)
            .map_or("", |assumption| assumption.value.as_str());
        println!("assumes       {key}: {value}");
    }
    println!(
        "deadline      {} s",
        inputs.rig.stretch(case.budget).as_secs()
    );
    match &selected.instead {
        None => println!("disposition   run"),
        Some((verdict, reason)) => println!("disposition   {}: {reason}", word(*verdict)),
    }
    for (index, step) in case.steps.iter().enumerate() {
        println!("step {:<9}{step}", index + 1);
    }
    Ok(ExitCode::Success)
}

/// Tool name and version.
pub fn tool() -> String {
    concat!("smgw-bench ", env!("CARGO_PKG_VERSION")).to_owned()
}
