// SPDX-License-Identifier: MIT OR Apache-2.0
//! `report`: renders a bundle's results again, without changing the bundle.

use std::fs;

use bench_engine::ExitCode;
use bench_evidence::{Format, render};

use crate::args::{ReportArgs, ReportFormat};
use crate::failure::Failure;

/// Runs the verb.
pub fn run(arguments: &ReportArgs) -> Result<ExitCode, Failure> {
    let format = match arguments.format {
        ReportFormat::Html => Format::Html,
        ReportFormat::Junit => Format::Junit,
        ReportFormat::Json => Format::Json,
        ReportFormat::Csv => Format::Csv,
        ReportFormat::Markdown => Format::Markdown,
    };
    let text = render(&arguments.bundle, format)
        .map_err(|error| Failure::new(ExitCode::BundleInvalid, error.to_string()))?;
    match &arguments.output {
        Some(path) => fs::write(path, text).map_err(|error| {
            Failure::new(ExitCode::Usage, format!("{}: {error}", path.display()))
        })?,
        None => print!("{text}"),
    }
    Ok(ExitCode::Success)
}
