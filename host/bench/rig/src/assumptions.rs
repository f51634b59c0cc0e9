// SPDX-License-Identifier: MIT OR Apache-2.0
//! What we assumed where a published specification could not be read (schema `smgw-bench.assumptions/1`).
//! A laboratory with the paper in hand corrects a value here, not in code.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeValue;

use crate::diagnostic::{LoadError, Problem, Problems, nearest, read_text};
use crate::document::Reader;

/// The schema this build reads.
pub const ASSUMPTIONS_SCHEMA: &str = "smgw-bench.assumptions/1";

/// How sure we are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Read in the source named.
    Verified,
    /// Remembered with high confidence.
    RememberedHigh,
    /// Remembered with medium confidence.
    RememberedMedium,
    /// Remembered with low confidence.
    RememberedLow,
    /// Our own conclusion or convention.
    Derived,
}

impl Confidence {
    /// The word used in files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::RememberedHigh => "remembered-high",
            Self::RememberedMedium => "remembered-medium",
            Self::RememberedLow => "remembered-low",
            Self::Derived => "derived",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One assumption.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Assumption {
    /// What we assume.
    pub value: String,
    /// Where it comes from: document and clause, or who concluded it from what.
    pub source: String,
    /// How sure we are.
    pub confidence: Confidence,
    /// What a reader should know besides.
    #[serde(default)]
    pub note: String,
}

/// All assumptions by key.
#[derive(Clone, Debug)]
pub struct Assumptions {
    /// The file they came from.
    pub path: PathBuf,
    /// The file's text, for the evidence bundle.
    pub text: String,
    entries: BTreeMap<String, Assumption>,
}

impl Assumptions {
    /// Reads an assumptions file.
    ///
    /// # Errors
    /// The file cannot be read, or it has problems: all that could be found are listed.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read_text("assumptions", path)?;
        Ok(Self::parse(path, text)?)
    }

    /// Reads the text of an assumptions file.
    ///
    /// # Errors
    /// All problems that could be found.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        match read(&text) {
            Ok(entries) => Ok(Self {
                path: path.to_owned(),
                text,
                entries,
            }),
            Err(problems) => Err(Problems::new("assumptions", path, &text, problems)),
        }
    }

    /// The assumption of that key.
    pub fn get(&self, key: &str) -> Option<&Assumption> {
        self.entries.get(key)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Assumption)> {
        self.entries
            .iter()
            .map(|(key, assumption)| (key.as_str(), assumption))
    }

    /// Of the keys a case names, those that stand in no file, with the nearest one that does.
    pub fn missing<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Vec<(&'k str, Option<&str>)> {
        let unknown = keys
            .into_iter()
            .filter(|key| !self.entries.contains_key(*key));
        unknown
            .map(|key| (key, nearest(key, self.entries.keys().map(String::as_str))))
            .collect()
    }
}

fn read(text: &str) -> Result<BTreeMap<String, Assumption>, Vec<Problem>> {
    let mut reader = Reader::default();
    let Some(table) = reader.open(text, ASSUMPTIONS_SCHEMA) else {
        return Err(reader.problems);
    };
    reader.only(&table, &["schema", "assumption"], "the file");
    let mut entries = BTreeMap::new();
    for (key, value) in table {
        if key.get_ref() != "assumption" {
            continue;
        }
        if !matches!(value.get_ref(), DeValue::Table(_)) {
            reader.problem(
                value.span(),
                "`assumption` must be a table",
                "write [assumption.KEY]",
            );
            continue;
        }
        for named in reader.named(value, "assumption") {
            let key = named.name.into_inner();
            if let Some(entry) = reader.read(named.value, &format!("[assumption.{key}]")) {
                entries.insert(key, entry);
            }
        }
    }
    reader.finish(Some(entries))
}

/// The whole file, for the schema only; reading goes entry by entry.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes the file")]
pub(crate) struct AssumptionsFile {
    #[schemars(extend("const" = ASSUMPTIONS_SCHEMA))]
    schema: String,
    #[schemars(default)]
    assumption: BTreeMap<String, Assumption>,
}
