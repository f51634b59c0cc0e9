// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a profile: line, mistake and remedy, all of a file in one report.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// One mistake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A profile that cannot be used.
#[derive(Debug)]
pub struct ProfileError(Box<Refusal>);

#[derive(Debug)]
struct Refusal {
    path: PathBuf,
    source: NamedSource<String>,
    text: String,
    problems: Vec<Problem>,
}

impl ProfileError {
    pub(super) fn new(path: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self(Box::new(Refusal {
            path: path.to_owned(),
            source: NamedSource::new(path.display().to_string(), text.to_owned()),
            text: text.to_owned(),
            problems,
        }))
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let problem = Problem {
            span: 0..0,
            message: format!("cannot be read: {error}"),
            help: "`smgw-bench meter profiles` lists those that ship".to_owned(),
        };
        Self::new(path, "", vec![problem])
    }

    /// Every mistake, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }

    /// The line a mistake is in, from 1.
    pub fn line(&self, problem: &Problem) -> usize {
        let before = self
            .0
            .text
            .get(..problem.span.start)
            .unwrap_or(&self.0.text);
        before.matches('\n').count() + 1
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no usable meter profile", self.0.path.display())?;
        for problem in &self.0.problems {
            write!(
                f,
                "\n  line {}: {}; {}",
                self.line(problem),
                problem.message,
                problem.help
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for ProfileError {}

impl Diagnostic for ProfileError {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.0.text.is_empty()).then_some(&self.0.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.0.text.is_empty() {
            return None;
        }
        let label = |problem: &Problem| {
            LabeledSpan::new_with_span(Some(problem.message.clone()), problem.span.clone())
        };
        Some(Box::new(self.0.problems.iter().map(label)))
    }
}
