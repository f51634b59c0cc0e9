// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files and the selection that describe a run, read and checked before anything is touched.

use bench_cases::bench::Bench;
use bench_engine::{ExitCode, Selected};
use bench_rig::{Assumptions, Filter, Ics, LoadError, Rig};

use crate::args::InputArgs;
use crate::failure::Failure;

/// Everything a run is made from.
pub struct Inputs {
    /// What is wired.
    pub rig: Rig,
    /// What is declared.
    pub ics: Ics,
    /// What is assumed.
    pub assumptions: Assumptions,
    /// Which cases, and why some are not run.
    pub selection: Vec<Selected<Bench>>,
}

impl Inputs {
    /// Reads and resolves all of it.
    pub fn load(arguments: &InputArgs) -> Result<Self, Failure> {
        let rig = Rig::load(&arguments.rig).map_err(invalid)?;
        let ics = Ics::load(&arguments.ics).map_err(invalid)?;
        let assumptions = Assumptions::load(&arguments.assumptions).map_err(invalid)?;
        let filter = arguments
            .filter
            .as_deref()
            .map(str::parse::<Filter>)
            .transpose()
            .map_err(|error| Failure::diagnostic(ExitCode::Usage, error))?;
        let selection = bench_cases::select(filter.as_ref(), &ics, &rig.capabilities());
        if selection.is_empty() {
            return Err(Failure::with_help(
                ExitCode::NothingSelected,
                "the filter matches no case",
                "`smgw-bench list` prints all cases with interface, level and needs",
            ));
        }
        let keys = selection
            .iter()
            .flat_map(|selected| selected.case.assumptions);
        if let Some((key, near)) = assumptions.missing(keys.copied()).into_iter().next() {
            let help = match near {
                Some(near) => format!("the file has an entry `{near}`"),
                None => "add an entry with value, source and confidence".to_owned(),
            };
            return Err(Failure::with_help(
                ExitCode::InvalidInput,
                format!(
                    "{}: no assumption `{key}`, on which a case rests",
                    assumptions.path.display()
                ),
                help,
            ));
        }
        Ok(Self {
            rig,
            ics,
            assumptions,
            selection,
        })
    }
}

/// An input file that cannot be used.
pub fn invalid(error: LoadError) -> Failure {
    Failure::diagnostic(ExitCode::InvalidInput, error)
}
