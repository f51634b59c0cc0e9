// SPDX-License-Identifier: MIT OR Apache-2.0
//! Exit codes of the bench: what a CI system may conclude from a run without reading a report.

use bench_evidence::results::{CaseResult, Verdict};

/// Documented process exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// Every executed case passed or was measured.
    Success = 0,
    /// A bug of the bench.
    Internal = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The selection matches no case.
    NothingSelected = 4,
    /// What ran passed, but planned cases are outstanding.
    Outstanding = 5,
    /// `decode` met frames that are damaged or that it does not understand.
    Undecoded = 6,
    /// The environment is not set up: a tool or library is missing.
    Setup = 96,
    /// At least one case failed.
    Failed = 100,
    /// No failure, but at least one case is inconclusive.
    Inconclusive = 101,
    /// A case or the bench broke.
    CaseError = 102,
    /// The rig broke; trying again elsewhere is sensible.
    RigError = 103,
    /// The rig is in use and the wait ran out.
    RigBusy = 104,
    /// The lease was lost during the run.
    LeaseLost = 105,
    /// A rig, ICS, assumption or plan file is invalid.
    InvalidInput = 106,
    /// A resource is missing or failed its health check.
    ResourceMissing = 107,
    /// The calibration expired or the uncertainty is too large for the limits.
    Unfit = 108,
    /// A bundle does not verify.
    BundleInvalid = 109,
    /// A replay differs from the recorded verdicts.
    ReplayDiffers = 110,
    /// Ended by the operator.
    Interrupted = 130,
}

impl ExitCode {
    /// All codes with their meaning, for `--help` and the documentation.
    pub const TABLE: [(Self, &str); 19] = [
        (Self::Success, "all executed cases passed or were measured"),
        (Self::Internal, "internal error of the bench"),
        (Self::Usage, "wrong command line"),
        (Self::NothingSelected, "the selection matches no case"),
        (
            Self::Outstanding,
            "passed, but planned cases are outstanding",
        ),
        (Self::Undecoded, "decoded, but not every frame"),
        (
            Self::Setup,
            "a tool or library of the environment is missing",
        ),
        (Self::Failed, "at least one case failed"),
        (
            Self::Inconclusive,
            "no failure, at least one case inconclusive",
        ),
        (Self::CaseError, "a case or the bench broke"),
        (
            Self::RigError,
            "the rig broke; retrying elsewhere is sensible",
        ),
        (Self::RigBusy, "the rig is busy and the wait ran out"),
        (Self::LeaseLost, "the lease was lost during the run"),
        (
            Self::InvalidInput,
            "rig, ICS, assumption or plan file invalid",
        ),
        (
            Self::ResourceMissing,
            "a resource is missing or its health check failed",
        ),
        (
            Self::Unfit,
            "calibration expired or uncertainty too large for the limits",
        ),
        (Self::BundleInvalid, "bundle verification failed"),
        (
            Self::ReplayDiffers,
            "replay differs from the recorded verdicts",
        ),
        (Self::Interrupted, "ended by the operator"),
    ];

    /// The number given to the operating system.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// The exit code of a run: a seen violation first, because it stays true whatever broke later.
pub fn exit_code(cases: &[CaseResult]) -> ExitCode {
    let any = |verdict| cases.iter().any(|case| case.verdict == verdict);
    let executed = cases
        .iter()
        .any(|case| !matches!(case.verdict, Verdict::NotApplicable | Verdict::Skipped));
    if any(Verdict::Fail) {
        ExitCode::Failed
    } else if any(Verdict::RigError) {
        ExitCode::RigError
    } else if any(Verdict::Error) {
        ExitCode::CaseError
    } else if any(Verdict::Aborted) {
        ExitCode::Interrupted
    } else if any(Verdict::Inconclusive) {
        ExitCode::Inconclusive
    } else if cases.is_empty() {
        ExitCode::NothingSelected
    } else if any(Verdict::Skipped) || !executed {
        ExitCode::Outstanding
    } else {
        ExitCode::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(verdict: Verdict) -> CaseResult {
        CaseResult {
            id: "X-01".into(),
            version: 1,
            title: String::new(),
            level: "must".into(),
            interface: "HAN".into(),
            requirements: Vec::new(),
            verdict,
            reason: String::new(),
            measurements: Vec::new(),
            assumptions: Vec::new(),
            steps: Vec::new(),
            started_ns: 0,
            ended_ns: 0,
        }
    }

    #[test]
    fn follows_the_documented_order() {
        use Verdict::*;
        let table: [(&[Verdict], ExitCode); 10] = [
            (&[], ExitCode::NothingSelected),
            (&[Pass, Measured], ExitCode::Success),
            (&[Pass, NotApplicable], ExitCode::Success),
            (&[NotApplicable], ExitCode::Outstanding),
            (&[Pass, Skipped], ExitCode::Outstanding),
            (&[Pass, Inconclusive, Skipped], ExitCode::Inconclusive),
            (&[Aborted, Skipped, Pass], ExitCode::Interrupted),
            (&[Error, Inconclusive], ExitCode::CaseError),
            (&[RigError, Error, Skipped], ExitCode::RigError),
            (&[Fail, RigError, Error], ExitCode::Failed),
        ];
        for (verdicts, expected) in table {
            let cases: Vec<_> = verdicts.iter().copied().map(case).collect();
            assert_eq!(exit_code(&cases), expected, "{verdicts:?}");
        }
    }

    #[test]
    fn numbers_are_unique_and_documented() {
        let mut numbers: Vec<_> = ExitCode::TABLE
            .iter()
            .map(|(code, _)| code.code())
            .collect();
        assert!(numbers.is_sorted());
        numbers.dedup();
        assert_eq!(numbers.len(), ExitCode::TABLE.len());
    }
}
