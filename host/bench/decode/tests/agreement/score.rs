// SPDX-License-Identifier: MIT OR Apache-2.0
//! Comparing values one by one, and counting.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use bench_decode::{Options, decode};
use serde_json::Value as Json;

/// How one set went.
#[derive(Debug, Default)]
pub struct Score {
    pub set: &'static str,
    pub cases: usize,
    pub compared: usize,
    pub agree: usize,
    /// Differences with a reason, counted by it.
    pub accepted: BTreeMap<&'static str, usize>,
    /// Differences without.
    pub differences: Vec<String>,
    /// What else is worth a line.
    pub notes: Vec<String>,
}

/// Why a difference is right: gets where it is, what we say and what the other side says.
pub type Excuse<'e> = dyn Fn(&str, &Json, &Json) -> Option<&'static str> + 'e;

/// No difference is right.
pub fn no_excuse(_: &str, _: &Json, _: &Json) -> Option<&'static str> {
    None
}

impl Score {
    pub fn new(set: &'static str) -> Self {
        Self {
            set,
            ..Self::default()
        }
    }

    /// Compares every value `expected` has; what we say beyond that does not matter.
    pub fn compare(&mut self, at: &str, got: &Json, expected: &Json, excuse: &Excuse<'_>) {
        if got != expected
            && let Some(reason) = excuse(at, got, expected)
        {
            self.compared += 1;
            *self.accepted.entry(reason).or_default() += 1;
            return;
        }
        match expected {
            Json::Object(fields) if got.is_object() => {
                for (key, value) in fields {
                    self.compare(&format!("{at}.{key}"), &got[key.as_str()], value, excuse);
                }
            }
            Json::Array(items) if got.as_array().is_some_and(|got| got.len() == items.len()) => {
                for (index, value) in items.iter().enumerate() {
                    self.compare(&format!("{at}[{index}]"), &got[index], value, excuse);
                }
            }
            _ => {
                self.compared += 1;
                if got == expected {
                    self.agree += 1;
                } else {
                    self.differences
                        .push(format!("{at}: {got} instead of {expected}"));
                }
            }
        }
    }
}

/// All sets side by side, with the reasons for what was accepted.
pub fn table(scores: &[Score]) -> String {
    let mut out = format!(
        "{:24} {:>6} {:>9} {:>9} {:>9} {:>7}\n",
        "set", "cases", "compared", "agree", "accepted", "differ"
    );
    for score in scores {
        let accepted: usize = score.accepted.values().sum();
        let _ = writeln!(
            out,
            "{:24} {:6} {:9} {:9} {accepted:9} {:7}",
            score.set,
            score.cases,
            score.compared,
            score.agree,
            score.differences.len()
        );
        for (reason, count) in &score.accepted {
            let _ = writeln!(out, "    {count} accepted: {reason}");
        }
        for note in &score.notes {
            let _ = writeln!(out, "    {note}");
        }
    }
    out
}

/// What the command line would print for `input`.
pub fn decoded(input: &[u8], options: &Options) -> Vec<Json> {
    let mut frames = Vec::new();
    let result = decode(input, options, &mut |frame| frames.push(frame.json()));
    if let Err(error) = result {
        frames.push(serde_json::json!({ "error": "input", "reason": error.to_string() }));
    }
    frames
}

pub fn json(path: &Path) -> Json {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

pub fn json_lines(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{path:?}: {error}")))
        .collect()
}
