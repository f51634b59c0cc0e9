// SPDX-License-Identifier: MIT OR Apache-2.0
//! A verb that did not come to its end: what to show, and the exit code.

use std::fmt;

use bench_engine::ExitCode;
use miette::Diagnostic;
use serde::Serialize;

/// What stopped a verb.
pub struct Failure {
    /// Shown to the operator.
    pub report: Box<dyn Diagnostic + Send + Sync>,
    /// Told to the caller.
    pub code: ExitCode,
}

impl Failure {
    /// A diagnostic that knows more than a sentence.
    pub fn diagnostic(code: ExitCode, report: impl Diagnostic + Send + Sync + 'static) -> Self {
        Self {
            report: Box::new(report),
            code,
        }
    }

    /// A sentence.
    pub fn new(code: ExitCode, what: impl Into<String>) -> Self {
        Self::diagnostic(
            code,
            Sentence {
                what: what.into(),
                help: None,
            },
        )
    }

    /// A sentence and what to do about it.
    pub fn with_help(code: ExitCode, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self::diagnostic(
            code,
            Sentence {
                what: what.into(),
                help: Some(help.into()),
            },
        )
    }
}

#[derive(Debug)]
struct Sentence {
    what: String,
    help: Option<String>,
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Sentence {}

impl Diagnostic for Sentence {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

/// Prints JSON for people who read it.
pub fn print_json(value: &impl Serialize) -> Result<ExitCode, Failure> {
    println!("{}", serde_json::to_string_pretty(value).map_err(internal)?);
    Ok(ExitCode::Success)
}

/// Prints JSON for programs, on one line.
pub fn print_json_line(value: &impl Serialize) -> Result<ExitCode, Failure> {
    println!("{}", serde_json::to_string(value).map_err(internal)?);
    Ok(ExitCode::Success)
}

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ExitCode::Internal, error.to_string())
}
