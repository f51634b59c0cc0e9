// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files and the selection that describe a run, read and checked before anything is touched.

use bench_cases::bench::Bench;
use bench_engine::{ExitCode, Selected};
use bench_rig::{Assumptions, Filter, FilterError, Ics, LoadError, Rig};

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
    /// The filter expression that counts: the one given, else the rig's default; empty when there is neither.
    pub filter: String,
    /// Which cases, and why some are not run.
    pub selection: Vec<Selected<Bench>>,
}

impl Inputs {
    /// Reads and resolves all of it.
    pub fn load(arguments: &InputArgs) -> Result<Self, Failure> {
        let rig = Rig::load(&arguments.rig).map_err(invalid)?;
        let ics = Ics::load(&arguments.ics).map_err(invalid)?;
        let assumptions = Assumptions::load(&arguments.assumptions).map_err(invalid)?;
        let given = arguments
            .filter
            .as_deref()
            .map(|text| Ok((text.to_owned(), text.parse::<Filter>()?)))
            .transpose()
            .map_err(|error: FilterError| Failure::diagnostic(ExitCode::Usage, error))?;
        let (filter, parsed) = given.or_else(|| rig.default_filter.clone()).unzip();
        let selection = bench_cases::select(parsed.as_ref(), &ics, &rig.capabilities());
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
            filter: filter.unwrap_or_default(),
            selection,
        })
    }

    /// What a reader of the verdicts must know about cases that were not selected.
    pub fn left_out(&self) -> Option<String> {
        let (selected, all) = (self.selection.len(), bench_cases::catalogue().len());
        (selected < all).then(|| {
            format!(
                "partial run: the filter {} selected {selected} of {all} cases",
                self.filter
            )
        })
    }
}

/// An input file that cannot be used.
pub fn invalid(error: LoadError) -> Failure {
    Failure::diagnostic(ExitCode::InvalidInput, error)
}
