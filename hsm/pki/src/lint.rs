// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates held against the profiles of the smart metering PKI (TR-03109-4 annex A, TR-03116-3 §2, §3).

mod examined;
mod extensions;
mod rules;

use std::fmt;
use std::time::SystemTime;

use hsm_api::SecurityModule;
use rustls_pki_types::CertificateDer;
use serde::Serialize;

use crate::{Confidence, Generation, Profile};
use examined::Examined;

pub use rules::RULES;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Warning,
    /// Against the rule.
    Error,
}

impl Severity {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One rule.
pub struct Rule {
    /// Its name: `key-usage`, `validity.length`, …
    pub id: &'static str,
    /// Where it is written.
    pub clause: &'static str,
    /// How sure it is; what is only assumed gives warnings.
    pub confidence: Confidence,
    /// What it demands.
    pub demand: &'static str,
    pub(crate) check: fn(&Examined<'_>, &mut Breaches<'_>),
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).finish()
    }
}

/// What a certificate is expected to be; whatever is left open is detected, or not judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation<'a> {
    /// Its profile; detected from names and usage.
    pub profile: Option<Profile>,
    /// Its generation; else either will do.
    pub generation: Option<Generation>,
    /// The time at which it shall be valid; not judged without.
    pub time: Option<SystemTime>,
    /// The certificate of its issuer; links between both are not judged without.
    pub issuer: Option<&'a CertificateDer<'a>>,
    /// What verifies the signature; not judged without it and the issuer.
    pub verifier: Option<&'a dyn SecurityModule>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: &'static str,
    /// Where the rule is written.
    pub clause: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// How sure the rule is.
    pub confidence: Confidence,
    /// The part of the certificate.
    pub at: String,
    /// What is wrong, a lower-case fragment.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            clause,
            severity,
            at,
            what,
            ..
        } = self;
        write!(f, "{}: {at}: {what} [{rule}; {clause}]", severity.name())
    }
}

/// What the linter saw.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The profile it judged by; none when neither expected nor to be told.
    #[serde(serialize_with = "as_text")]
    pub profile: Option<Profile>,
    /// What is wrong, in the order of [`RULES`].
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether no rule that is sure was broken.
    pub fn passed(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.severity < Severity::Error)
    }
}

/// Holds a DER certificate against the rules.
pub fn lint(certificate: &CertificateDer<'_>, expectation: &Expectation<'_>) -> Report {
    let examined = match Examined::new(certificate, expectation) {
        Ok(examined) => examined,
        Err(why) => return unreadable(&why),
    };
    let mut findings = Vec::new();
    for rule in RULES {
        let mut breaches = Breaches {
            rule,
            findings: &mut findings,
        };
        (rule.check)(&examined, &mut breaches);
    }
    Report {
        profile: examined.profile,
        findings,
    }
}

/// Takes down the breaches of one rule.
pub(crate) struct Breaches<'a> {
    rule: &'static Rule,
    findings: &'a mut Vec<Finding>,
}

impl Breaches<'_> {
    pub(crate) fn add(&mut self, at: impl Into<String>, what: impl Into<String>) {
        self.add_sure(self.rule.confidence, at, what);
    }

    /// A breach that is as sure as the number it is about.
    pub(crate) fn add_sure(
        &mut self,
        confidence: Confidence,
        at: impl Into<String>,
        what: impl Into<String>,
    ) {
        // One rule never says more than a reader can take in.
        let said = self.findings.iter().rev();
        if said
            .take_while(|finding| finding.rule == self.rule.id)
            .count()
            < MAX_PER_RULE
        {
            self.findings
                .push(finding(self.rule, confidence, at.into(), what.into()));
        }
    }
}

const MAX_PER_RULE: usize = 8;

fn finding(rule: &'static Rule, confidence: Confidence, at: String, what: String) -> Finding {
    Finding {
        rule: rule.id,
        clause: rule.clause,
        severity: match confidence {
            Confidence::Verified => Severity::Error,
            Confidence::Assumed => Severity::Warning,
        },
        confidence,
        at,
        what,
    }
}

/// A report on something that is no certificate: the first rule speaks of the encoding.
fn unreadable(why: &str) -> Report {
    let findings = RULES
        .iter()
        .take(1)
        .map(|rule| finding(rule, rule.confidence, "certificate".into(), why.to_owned()))
        .collect();
    Report {
        profile: None,
        findings,
    }
}

fn as_text<S: serde::Serializer>(
    profile: &Option<Profile>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match profile {
        Some(profile) => serializer.collect_str(profile),
        None => serializer.serialize_none(),
    }
}
