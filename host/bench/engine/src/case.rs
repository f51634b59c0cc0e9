// SPDX-License-Identifier: MIT OR Apache-2.0
//! One row of the catalogue.

use std::fmt;
use std::time::Duration;

use bench_evidence::results::{CaseResult, Verdict};
use bench_rig::Capability;

use crate::ctx::Ctx;
use crate::stop::Stop;

/// How binding the requirement behind a case is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// MUST.
    Must,
    /// MUST NOT.
    MustNot,
    /// SHOULD.
    Should,
    /// Depends on the declaration (ICS).
    Ics,
    /// Records a number, gives no verdict.
    Characterise,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Must => "must",
            Self::MustNot => "must-not",
            Self::Should => "should",
            Self::Ics => "ics",
            Self::Characterise => "characterise",
        })
    }
}

/// The gateway interface a case looks at (TR-03109-1 logical interfaces).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interface {
    /// IF_GW_CON and IF_GW_SRV.
    Han,
    /// IF_GW_CLS.
    Cls,
    /// IF_GW_WAN.
    Wan,
    /// IF_GW_MTR.
    Lmn,
    /// IF_GW_SM.
    SecurityModule,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Han => "HAN",
            Self::Cls => "CLS",
            Self::Wan => "WAN",
            Self::Lmn => "LMN",
            Self::SecurityModule => "SM",
        })
    }
}

/// A case: what it shows, what it needs, and the function that does it. `E` is the live rig.
pub struct Case<E> {
    /// Catalogue id.
    pub id: &'static str,
    /// Rises when steps or limits change.
    pub version: u32,
    /// What the case shows, one sentence.
    pub title: &'static str,
    /// How binding.
    pub level: Level,
    /// Which interface.
    pub interface: Interface,
    /// Official requirement ids and other sources.
    pub requirements: &'static [&'static str],
    /// Keys of the ICS that must be answered yes, else the case is not applicable.
    pub applies_if: &'static [&'static str],
    /// Keys of the assumptions the verdict rests on.
    pub assumptions: &'static [&'static str],
    /// What the rig must offer.
    pub needs: &'static [Capability],
    /// Budget of wall time before the rig's multiplier; beyond it the bench is at fault, not the device.
    pub budget: Duration,
    /// Steps in words, for `plan --explain`.
    pub steps: &'static [&'static str],
    /// The case itself. Ending with `Ok` and without a finding is a pass.
    pub run: fn(&mut Ctx, &mut E) -> Result<(), Stop>,
}

impl<E> Case<E> {
    /// The record of this case when it was not run, at bench time `now_ns`.
    pub fn unexecuted(&self, verdict: Verdict, reason: String, now_ns: u64) -> CaseResult {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CaseResult {
            id: self.id.to_owned(),
            version: self.version,
            title: self.title.to_owned(),
            level: self.level.to_string(),
            interface: self.interface.to_string(),
            requirements: owned(self.requirements),
            verdict,
            reason,
            measurements: Vec::new(),
            assumptions: owned(self.assumptions),
            steps: Vec::new(),
            started_ns: now_ns,
            ended_ns: now_ns,
        }
    }
}
