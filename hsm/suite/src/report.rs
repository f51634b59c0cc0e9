// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of the suite ran and how it ended.

use std::fmt;

use crate::Failure;

/// How one part of the suite ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// So many checks passed.
    Passed(usize),
    /// The first that did not, as a text for people.
    Failed(String),
    /// It could not be asked of this module; the text says why.
    NotRun(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed(count) => write!(f, "passed, {count} checks"),
            Self::Failed(what) => write!(f, "failed: {what}"),
            Self::NotRun(why) => write!(f, "not run: {why}"),
        }
    }
}

impl From<Result<usize, Failure>> for Outcome {
    fn from(result: Result<usize, Failure>) -> Self {
        match result {
            Ok(count) => Self::Passed(count),
            Err(failure) => Self::Failed(failure.to_string()),
        }
    }
}

/// One part of the suite.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// What was checked, and on which curve.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:44} {}", self.name, self.outcome)
    }
}

/// All parts of one run, in their order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// The parts.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether something passed and nothing failed.
    pub fn passed(&self) -> bool {
        let failed = |row: &Row| matches!(row.outcome, Outcome::Failed(_));
        self.checks() > 0 && !self.rows.iter().any(failed)
    }

    /// The parts that did not run.
    pub fn not_run(&self) -> impl Iterator<Item = &Row> {
        let not_run = |row: &&Row| matches!(row.outcome, Outcome::NotRun(_));
        self.rows.iter().filter(not_run)
    }

    /// How many checks passed.
    pub fn checks(&self) -> usize {
        let passed = |row: &Row| match row.outcome {
            Outcome::Passed(count) => count,
            Outcome::Failed(_) | Outcome::NotRun(_) => 0,
        };
        self.rows.iter().map(passed).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        write!(f, "{} checks passed", self.checks())
    }
}
