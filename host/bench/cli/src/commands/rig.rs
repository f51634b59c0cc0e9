// SPDX-License-Identifier: MIT OR Apache-2.0
//! `rig`: check, show and document rig files.

use std::path::Path;

use bench_engine::ExitCode;
use bench_rig::discover::serial_ports;
use bench_rig::{Resource, Rig, schema};

use crate::args::{RigCommand, SchemaOf};
use crate::failure::Failure;
use crate::inputs::invalid;

/// Runs the verb.
pub fn run(command: &RigCommand) -> Result<ExitCode, Failure> {
    match command {
        RigCommand::Check { rig } => check(rig),
        RigCommand::Show { rig } => show(rig),
        RigCommand::Schema { of } => {
            let text = match of {
                SchemaOf::Rig => schema::File::Rig.json_schema(),
                SchemaOf::Ics => schema::File::Ics.json_schema(),
                SchemaOf::Assumptions => schema::File::Assumptions.json_schema(),
                SchemaOf::Plan => schema::File::Plan.json_schema(),
                SchemaOf::Results => bench_evidence::results::schema(),
                SchemaOf::Meter => smgw_meters::profile::json_schema(),
            };
            print!("{text}");
            Ok(ExitCode::Success)
        }
    }
}

fn check(path: &Path) -> Result<ExitCode, Failure> {
    let rig = Rig::load(path).map_err(invalid)?;
    println!("parsed        {} ({})", rig.name, rig.summary);
    let mut missing = 0;
    for (name, resource) in &rig.resources {
        let (found, what) = presence(resource);
        missing += usize::from(found == Some(false));
        let word = match found {
            Some(true) => "present",
            Some(false) => "MISSING",
            None => "not looked at",
        };
        println!("{word:<14}resource.{name}: {what}");
    }
    let undrivable = rig.undrivable();
    for part in &undrivable {
        println!("not drivable  {}: {}", part.part, part.reason);
    }
    let capabilities: Vec<_> = rig.capabilities().iter().map(|c| c.as_str()).collect();
    println!("offers        {}", capabilities.join(", "));
    for note in rig.notes() {
        println!("note          {note}");
    }
    if missing > 0 {
        return Err(Failure::with_help(
            ExitCode::ResourceMissing,
            format!("{missing} resource(s) missing"),
            "`smgw-bench discover` lists what is attached, ready to paste",
        ));
    }
    if !undrivable.is_empty() {
        return Err(Failure::with_help(
            ExitCode::ResourceMissing,
            format!(
                "{} part(s) cannot be driven by this build",
                undrivable.len()
            ),
            "cases that need them are skipped or the run is refused",
        ));
    }
    println!("ready         {}", path.display());
    Ok(ExitCode::Success)
}

/// Whether a resource is there (none: nobody can tell yet), and how that was seen. Opens nothing.
fn presence(resource: &Resource) -> (Option<bool>, String) {
    let kind = resource.kind();
    match resource {
        Resource::Pty(_) => (Some(true), format!("{kind}, made for each run")),
        Resource::SoftHsm(soft) => match soft.module_path() {
            Some(path) => (Some(true), format!("{kind}, library {}", path.display())),
            None => (
                Some(false),
                format!("{kind}, library not found; apt-get install softhsm2"),
            ),
        },
        Resource::Pkcs11(token) => (
            Some(token.module.is_file()),
            format!("{kind}, library {}", token.module.display()),
        ),
        Resource::Serial(serial) => match serial.selector.select(&serial_ports(Path::new("/"))) {
            Ok(port) => (
                Some(true),
                format!("{kind}, found at {}", port.node.display()),
            ),
            Err(error) => (Some(false), format!("{kind}: {error}")),
        },
        _ => (None, kind.to_owned()),
    }
}

fn show(path: &Path) -> Result<ExitCode, Failure> {
    let rig = Rig::load(path).map_err(invalid)?;
    println!("{}: {}", rig.name, rig.summary);
    for (label, value) in &rig.labels {
        println!("label         {label} = {value}");
    }
    for (name, resource) in &rig.resources {
        println!("resource      {name} ({})", resource.kind());
    }
    for (role, what) in rig.roles() {
        println!("role          {role}: {what}");
    }
    println!(
        "period        {} s",
        rig.metering.registration_period.0.as_secs_f64()
    );
    println!("multiplier    {}", rig.timeout_multiplier);
    Ok(ExitCode::Success)
}
