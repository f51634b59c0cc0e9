// SPDX-License-Identifier: MIT OR Apache-2.0
//! The plan lock file (schema `smgw-bench.plan/1`): which cases a run will execute, with everything that decides them.
//! Same inputs give the same bytes, so that a plan can be reviewed, kept and compared.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{LoadError, Problems, read_text};
use crate::document::Reader;
use crate::duration::Span;

/// The schema this build reads and writes.
pub const PLAN_SCHEMA: &str = "smgw-bench.plan/1";

/// An input the plan was made from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlanInput {
    /// File name as given.
    pub file: String,
    /// SHA-256 of its bytes, lower-case hex.
    pub sha256: String,
}

/// Whether a planned case runs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disposition {
    /// It runs.
    Run,
    /// The statement (ICS) rules it out.
    NotApplicable,
    /// The rig lacks something it needs, or the selection leaves it out.
    Skipped,
}

/// A case of the plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlannedCase {
    /// Catalogue id.
    pub id: String,
    /// Version of the case.
    pub version: u32,
    /// Whether it runs.
    pub disposition: Disposition,
    /// Why it does not run; empty when it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Deadline of the whole case.
    pub deadline: Span,
    /// Seed of everything random in it.
    pub seed: u64,
    /// Official requirement ids and other sources.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Keys of the assumptions it rests on.
    #[serde(default)]
    pub assumptions: Vec<String>,
}

/// A plan.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// Always [`PLAN_SCHEMA`].
    #[schemars(extend("const" = PLAN_SCHEMA))]
    pub schema: String,
    /// Name and version of the tool that made it.
    pub tool: String,
    /// Seed of the run.
    pub seed: u64,
    /// The decision rule in words.
    pub decision_rule: String,
    /// The filter expression, as given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// The rig file.
    pub rig: PlanInput,
    /// The statement.
    pub ics: PlanInput,
    /// The assumptions file.
    pub assumptions: PlanInput,
    /// The cases in order of execution.
    #[serde(default)]
    pub case: Vec<PlannedCase>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// The file cannot be read, or it has problems.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read_text("plan", path)?;
        Ok(Self::parse(path, &text)?)
    }

    /// Reads the text of a plan.
    ///
    /// # Errors
    /// All problems that could be found.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::default();
        let plan = reader.whole(text, PLAN_SCHEMA);
        reader
            .finish(plan)
            .map_err(|problems| Problems::new("plan", path, text, problems))
    }

    /// The plan as a file.
    pub fn to_toml(&self) -> String {
        let body = toml::to_string(self).expect("strings and numbers are always representable");
        format!(
            "# Written by the bench; execute exactly this with `smgw-bench run --plan FILE`.\n{body}"
        )
    }
}
