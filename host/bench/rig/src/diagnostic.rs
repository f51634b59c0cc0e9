// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a file, where, and what to write instead: every problem of a file in one report.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use toml::de::{DeTable, DeValue};

/// One problem in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    message: String,
    label: String,
    span: Range<usize>,
    help: Option<String>,
}

impl Problem {
    /// A problem at `span` (bytes of the file); `label` is printed beneath the marked text.
    pub fn new(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: label.into(),
            span,
            help: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The marked bytes of the file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What to do about it, if there is something to say.
    pub fn help_text(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_deref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.label.clone()), self.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// All problems of one file, in the order of the file.
#[derive(Debug)]
pub struct Problems(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    what: &'static str,
    path: PathBuf,
    source: NamedSource<String>,
    problems: Vec<Problem>,
}

impl Problems {
    pub(crate) fn new(
        what: &'static str,
        path: &Path,
        text: &str,
        mut problems: Vec<Problem>,
    ) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        problems.dedup();
        let source = NamedSource::new(path.display().to_string(), masked(text));
        let path = path.to_owned();
        Self(Box::new(Refusal {
            what,
            path,
            source,
            problems,
        }))
    }

    /// The single problems.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.problems.iter()
    }

    /// The file they are in.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// The text with every PIN in it starred out: reports are kept and shared.
fn masked(text: &str) -> String {
    fn pins(value: &DeValue<'_>, spans: &mut Vec<Range<usize>>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    if key.get_ref() == "pin" && value.get_ref().is_str() {
                        spans.push(value.span());
                    }
                    pins(value.get_ref(), spans);
                }
            }
            DeValue::Array(array) => array.iter().for_each(|value| pins(value.get_ref(), spans)),
            _ => {}
        }
    }
    let (table, _) = DeTable::parse_recoverable(text);
    let mut spans = Vec::new();
    pins(&DeValue::Table(table.into_inner()), &mut spans);
    let mut masked = text.to_owned();
    for span in spans {
        if masked.get(span.clone()).is_some() {
            masked.replace_range(span.clone(), &"*".repeat(span.len()));
        }
    }
    masked
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.problems.len() == 1 {
            "problem"
        } else {
            "problems"
        };
        let (count, what) = (self.0.problems.len(), self.0.what);
        write!(
            f,
            "{count} {plural} in the {what} file {}",
            self.0.path.display()
        )
    }
}

impl std::error::Error for Problems {}

impl Diagnostic for Problems {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(
            self.0
                .problems
                .iter()
                .map(|problem| problem as &dyn Diagnostic),
        ))
    }
}

/// Why a file could not be used. Exit code 106 of the bench.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the {what} file {}", path.display())]
    #[diagnostic(help("{}", unreadable_help(source)))]
    Unreadable {
        /// `rig`, `ICS`, `assumptions` or `plan`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file can be read but not used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Invalid(#[from] Problems),
}

fn unreadable_help(error: &std::io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "check the path; rigs/virtual.toml needs no hardware",
        ErrorKind::InvalidData => "the file must be UTF-8 text",
        ErrorKind::FileTooLarge => "check that it is the file you mean",
        _ => "check that you may read it",
    }
}

/// No file of ours is larger.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file as text for parsing.
pub(crate) fn read_text(what: &'static str, path: &Path) -> Result<String, LoadError> {
    let read = || {
        let mut text = String::new();
        File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(std::io::Error::new(
                ErrorKind::FileTooLarge,
                "it is larger than 1 MiB",
            ));
        }
        Ok(text)
    };
    read().map_err(|source| LoadError::Unreadable {
        what,
        path: path.to_owned(),
        source,
    })
}

/// The known word a misspelt one most likely means.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let tolerance = 1 + word.chars().count() / 4;
    known
        .into_iter()
        .filter_map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            let prefix = word.len().min(lower.len()) >= 3
                && (word.starts_with(&lower) || lower.starts_with(&word));
            let distance = edit_distance(&word, &lower);
            (distance <= tolerance || prefix).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn one word into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// `a`, `b`, `c` for messages.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// Help for an unknown word: the nearest known one, or all of them.
pub(crate) fn did_you_mean(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("known here: {}", listed(known.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_but_not_strangers() {
        let known = ["serial", "softhsm", "pkcs11", "baud", "protocol"];
        for (word, expected) in [
            ("seral", Some("serial")),
            ("sreial", Some("serial")),
            ("baudrate", Some("baud")),
            ("Protokoll", Some("protocol")),
            ("pkcs-11", Some("pkcs11")),
            ("telephone", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
