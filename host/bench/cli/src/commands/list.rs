// SPDX-License-Identifier: MIT OR Apache-2.0
//! `list`: the catalogue, or the defects that the reference gateway and our boards can be told to have.

use std::process::Command;
use std::time::Duration;

use bench_cases::catalogue;
use bench_cases::module_tool::{run as run_command, sibling};
use bench_engine::{Deadline, ExitCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use smgw_cls::defect;

use crate::args::{ListArgs, ListFormat};
use crate::failure::{Failure, print_json};

/// A seeded defect as the gateway lists it.
#[derive(Debug, Deserialize, Serialize)]
struct Defect {
    /// Who has it.
    #[serde(default = "gateway")]
    part: String,
    id: String,
    case: String,
    summary: String,
}

fn gateway() -> String {
    "gateway".to_owned()
}

/// Runs the verb.
pub fn run(arguments: &ListArgs) -> Result<ExitCode, Failure> {
    if arguments.format == ListFormat::Toml {
        return Err(Failure::new(
            ExitCode::Usage,
            "list prints a table or JSON, not TOML",
        ));
    }
    if arguments.defects {
        defects(arguments)
    } else {
        cases(arguments.format)
    }
}

fn cases(format: ListFormat) -> Result<ExitCode, Failure> {
    if format == ListFormat::Json {
        let rows: Vec<_> = catalogue()
            .iter()
            .map(|case| {
                json!({
                    "id": case.id, "version": case.version, "title": case.title,
                    "level": case.level.to_string(), "interface": case.interface.to_string(),
                    "requirements": case.requirements, "assumptions": case.assumptions,
                    "needs": case.needs.iter().map(|need| need.as_str()).collect::<Vec<_>>(),
                })
            })
            .collect();
        return print_json(&rows);
    }
    println!("{:<8}{:<6}{:<14}title", "id", "iface", "level");
    for case in catalogue() {
        println!(
            "{:<8}{:<6}{:<14}{}",
            case.id, case.interface, case.level, case.title
        );
    }
    Ok(ExitCode::Success)
}

fn defects(arguments: &ListArgs) -> Result<ExitCode, Failure> {
    let program = match &arguments.gateway {
        Some(program) => program.clone(),
        None => {
            sibling("smgw").map_err(|error| Failure::new(ExitCode::Internal, error.to_string()))?
        }
    };
    let mut command = Command::new(&program);
    command.arg("--list-defects");
    let text = run_command(command, Deadline::after(Duration::from_secs(10))).map_err(|error| {
        Failure::with_help(
            ExitCode::Setup,
            format!("{}: {error}", program.display()),
            "build the gateway with `cargo build -p smgw --features defects`, or give --gateway",
        )
    })?;
    let mut defects: Vec<Defect> = serde_json::from_str(&text).map_err(|error| {
        Failure::new(
            ExitCode::Setup,
            format!("{} lists no defects: {error}", program.display()),
        )
    })?;
    let none = defects.is_empty();
    defects.extend(defect::TABLE.iter().map(|row| Defect {
        part: "board".to_owned(),
        id: row.id.to_owned(),
        case: row.case.to_owned(),
        summary: row.summary.to_owned(),
    }));
    if arguments.format == ListFormat::Json {
        return print_json(&defects);
    }
    if none {
        println!("this build of the gateway has no seeded defects (feature `defects`)");
    }
    for defect in &defects {
        println!("{:<28}{:<8}{}", defect.id, defect.case, defect.summary);
    }
    Ok(ExitCode::Success)
}
