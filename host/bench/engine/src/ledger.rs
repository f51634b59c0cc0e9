// SPDX-License-Identifier: MIT OR Apache-2.0
//! Folding findings into one verdict that only worsens (the TTCN-3 rule, keeping the first reason of the worst class).

use bench_evidence::results::Verdict;

/// The verdict of a case so far and the reasons behind it.
#[derive(Clone, Debug)]
pub struct Ledger {
    verdict: Verdict,
    findings: Vec<(Verdict, String)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            verdict: Verdict::Pass,
            findings: Vec::new(),
        }
    }
}

impl Ledger {
    /// Adds a finding; the verdict becomes the worse of what it was and `verdict`.
    ///
    /// A violation that was seen stays true whatever breaks later: once the verdict is
    /// [`Verdict::Fail`], trouble of the rig or the bench is kept as a reason but does not hide it.
    pub fn worsen(&mut self, verdict: Verdict, reason: impl Into<String>) {
        self.findings.push((verdict, reason.into()));
        if self.verdict != Verdict::Fail {
            self.verdict = self.verdict.max(verdict);
        }
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The first reason of the worst class, then all others in order, separated by `; `.
    pub fn reason(&self) -> String {
        let first = self
            .findings
            .iter()
            .position(|(verdict, _)| *verdict == self.verdict);
        let rest = self.findings.iter().enumerate();
        first
            .and_then(|index| self.findings.get(index))
            .into_iter()
            .chain(
                rest.filter(|(index, _)| Some(*index) != first)
                    .map(|(_, finding)| finding),
            )
            .map(|(_, reason)| reason.as_str())
            .filter(|reason| !reason.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Verdict; 9] = [
        Verdict::Pass,
        Verdict::Measured,
        Verdict::NotApplicable,
        Verdict::Skipped,
        Verdict::Inconclusive,
        Verdict::Fail,
        Verdict::Aborted,
        Verdict::Error,
        Verdict::RigError,
    ];

    #[test]
    fn keeps_the_first_reason_of_the_worst_class_in_front() {
        let mut ledger = Ledger::default();
        ledger.worsen(Verdict::Inconclusive, "limit inside U");
        ledger.worsen(Verdict::Fail, "value on a gap");
        ledger.worsen(Verdict::Fail, "second value on a gap");
        assert_eq!(ledger.verdict(), Verdict::Fail);
        assert_eq!(
            ledger.reason(),
            "value on a gap; limit inside U; second value on a gap"
        );
    }

    #[test]
    fn a_seen_violation_outlives_later_rig_trouble() {
        let mut ledger = Ledger::default();
        ledger.worsen(Verdict::Fail, "wrong code");
        ledger.worsen(Verdict::RigError, "gateway was killed");
        assert_eq!(ledger.verdict(), Verdict::Fail);
        assert_eq!(ledger.reason(), "wrong code; gateway was killed");
    }

    #[test]
    fn rig_trouble_before_any_violation_is_no_failure() {
        let mut ledger = Ledger::default();
        ledger.worsen(Verdict::RigError, "port vanished");
        ledger.worsen(Verdict::Fail, "no value seen");
        assert_eq!(ledger.verdict(), Verdict::RigError);
    }

    proptest! {
        #[test]
        fn never_improves(sequence in proptest::collection::vec(0usize..9, 0..20)) {
            let mut ledger = Ledger::default();
            let mut failed = false;
            let mut before = ledger.verdict();
            for index in sequence {
                ledger.worsen(ALL[index], "x");
                failed |= before == Verdict::Fail;
                prop_assert!(ledger.verdict() >= before);
                prop_assert!(!failed || ledger.verdict() == Verdict::Fail);
                before = ledger.verdict();
            }
        }
    }
}
