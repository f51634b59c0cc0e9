// SPDX-License-Identifier: MIT OR Apache-2.0
//! Renders a bundle again from its `results.json`.

use std::path::Path;
use std::str::FromStr;

use bench_timing::Distribution;

use crate::manifest::{Entry, RESULTS, walk};
use crate::results::{Results, SCHEMA};
use crate::verify::read_bounded;
use crate::{EvidenceError, NamedDistribution, csv, html, junit, markdown};

/// A report format.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// One self-contained page that prints on A4.
    Html,
    /// JUnit XML.
    Junit,
    /// Comma-separated values, one row per measurement.
    Csv,
    /// A summary in Markdown.
    Markdown,
    /// The results document itself.
    Json,
}

impl Format {
    /// All formats with the names the command line takes.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("html", Self::Html),
        ("junit", Self::Junit),
        ("csv", Self::Csv),
        ("markdown", Self::Markdown),
        ("json", Self::Json),
    ];
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, format)| *format).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            format!("no report format `{name}`; there are {names}")
        })
    }
}

/// Renders the bundle at `path`. Reads `results.json` and, for HTML, `hist/*.hlog`; does not verify the seal.
///
/// # Errors
/// The results are missing or malformed. Damaged histograms are left out.
pub fn render(path: &Path, format: Format) -> Result<String, EvidenceError> {
    let results = load_results(path)?;
    match format {
        Format::Html => Ok(html(&results, &distributions(path))),
        Format::Junit => junit(&results),
        Format::Csv => Ok(csv(&results)),
        Format::Markdown => Ok(markdown(&results)),
        Format::Json => serde_json::to_string_pretty(&results)
            .map(|text| text + "\n")
            .map_err(|error| EvidenceError::Render {
                format: "json",
                why: error.to_string(),
            }),
    }
}

/// Reads the results of the bundle at `path`.
///
/// # Errors
/// `results.json` is missing, too large, or not of this schema.
pub fn load_results(path: &Path) -> Result<Results, EvidenceError> {
    let path = path.join(RESULTS);
    let bytes = read_bounded(&path, MAX_RESULTS).map_err(EvidenceError::io("read", &path))?;
    parse_results(&bytes).map_err(|why| EvidenceError::Malformed {
        path,
        expected: SCHEMA,
        why,
    })
}

/// Parses a results document of exactly our schema.
pub(crate) fn parse_results(bytes: &[u8]) -> Result<Results, String> {
    let results: Results = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if results.schema == SCHEMA {
        Ok(results)
    } else {
        Err(format!("schema is `{}`", results.schema.escape_debug()))
    }
}

fn distributions(path: &Path) -> Vec<NamedDistribution> {
    let Ok(entries) = walk(path) else {
        return Vec::new();
    };
    let logs = entries.iter().filter_map(|(name, entry)| {
        let stem = name.strip_prefix("hist/")?.strip_suffix(".hlog")?;
        matches!(entry, Entry::File(_)).then_some((name, stem))
    });
    logs.take(MAX_HISTOGRAMS)
        .filter_map(|(name, stem)| {
            let bytes = read_bounded(&path.join(name), MAX_HISTOGRAM).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let entries = Distribution::from_hlog(&text).ok()?;
            let mut all = Distribution::new();
            entries
                .iter()
                .for_each(|entry| all.merge(&entry.distribution));
            Some(NamedDistribution::new(stem, all))
        })
        .collect()
}

pub(crate) const MAX_RESULTS: u64 = 64 << 20;
const MAX_HISTOGRAM: u64 = 4 << 20;
const MAX_HISTOGRAMS: usize = 500;
