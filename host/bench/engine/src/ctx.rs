// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a case works with: steps, findings, measurements, and waits that notice trouble.

use std::sync::Arc;
use std::time::Duration;

use bench_evidence::results::{Measurement, Step, Verdict};
use bench_timing::{Decision, decide_upper};

use crate::deadline::Deadline;
use crate::environment::{Health, Interrupt, Observer, Trouble};
use crate::ledger::Ledger;
use crate::stop::Stop;

/// The hands of a case. There is no `pass()`: a case that ends without a finding has passed.
pub struct Ctx {
    pub(crate) ledger: Ledger,
    pub(crate) steps: Vec<Step>,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) assumptions: Vec<String>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) health: Arc<dyn Health>,
    pub(crate) interrupt: Arc<Interrupt>,
    pub(crate) case: &'static str,
    pub(crate) deadline: Deadline,
    pub(crate) seed: u64,
}

impl Ctx {
    /// The case's id.
    pub fn case(&self) -> &'static str {
        self.case
    }

    /// The deadline of the whole case.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// A deadline for one phase, never beyond the case's own.
    pub fn phase(&self, budget: Duration) -> Deadline {
        self.deadline.at_most(budget)
    }

    /// The seed of this case: everything random in it derives from here.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Records a step that only informs.
    pub fn note(&mut self, action: impl Into<String>, observed: impl Into<String>) {
        self.push(Step {
            action: action.into(),
            expected: String::new(),
            observed: observed.into(),
            ok: None,
        });
    }

    /// Records a step and fails the case when `ok` is false. Returns `ok`.
    pub fn expect(
        &mut self,
        ok: bool,
        action: impl Into<String>,
        expected: impl Into<String>,
        observed: impl Into<String>,
    ) -> bool {
        let step = Step {
            action: action.into(),
            expected: expected.into(),
            observed: observed.into(),
            ok: Some(ok),
        };
        if !ok {
            let reason = format!(
                "{}: expected {}, saw {}",
                step.action, step.expected, step.observed
            );
            self.ledger.worsen(Verdict::Fail, reason);
        }
        self.push(step);
        ok
    }

    /// The device violates the requirement.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.ledger.worsen(Verdict::Fail, reason);
    }

    /// The case cannot decide.
    pub fn inconclusive(&mut self, reason: impl Into<String>) {
        self.ledger.worsen(Verdict::Inconclusive, reason);
    }

    /// The numbers stand for themselves (level C); no limit is judged.
    pub fn characterised(&mut self, reason: impl Into<String>) {
        self.ledger.worsen(Verdict::Measured, reason);
    }

    /// The declaration excludes the case.
    pub fn not_applicable(&mut self, reason: impl Into<String>) {
        self.ledger.worsen(Verdict::NotApplicable, reason);
    }

    /// The verdict rests on this assumption too.
    pub fn assume(&mut self, key: impl Into<String>) {
        let key = key.into();
        if !self.assumptions.contains(&key) {
            self.assumptions.push(key);
        }
    }

    /// Whether anything but plain passing has been found.
    pub fn verdict(&self) -> Verdict {
        self.ledger.verdict()
    }

    /// Records a number without judging it.
    pub fn measure(&mut self, measurement: Measurement) {
        self.observer.measured(self.case, &measurement);
        self.measurements.push(measurement);
    }

    /// Records a number and judges `value <= limit` by guarded acceptance (ILAC-G8): pass below
    /// `limit - U`, fail above `limit + U`, inconclusive between, rig-error when U is unfit for the limit.
    pub fn judge_upper(&mut self, mut measurement: Measurement, limit: f64) -> Result<(), Stop> {
        measurement.limit = Some(format!("<= {limit}"));
        let uncertainty = measurement.uncertainty.unwrap_or(0.0);
        let decision = decide_upper(measurement.value, uncertainty, limit);
        let text = format!(
            "{} = {:.3} {} ± {:.3}, limit {limit}",
            measurement.name, measurement.value, measurement.unit, uncertainty
        );
        self.measure(measurement);
        match decision {
            Decision::Pass { .. } => {}
            Decision::Fail => self.fail(text),
            Decision::Inconclusive => {
                self.inconclusive(format!("{text}: the limit lies inside the uncertainty"));
            }
            Decision::Unfit => {
                return Err(Stop::Rig(format!(
                    "{text}: the uncertainty is too large to judge"
                )));
            }
        }
        Ok(())
    }

    /// Fails fast when the operator stopped the run or the rig or device broke meanwhile.
    pub fn check(&self) -> Result<(), Stop> {
        if self.interrupt.abort_now() {
            return Err(Stop::Aborted);
        }
        match self.health.trouble() {
            Some(Trouble::Rig(what)) => Err(Stop::Rig(what)),
            Some(Trouble::Device(what)) => Err(Stop::Device(what)),
            None => Ok(()),
        }
    }

    /// Waits until `ready` gives a value; `None` when the deadline passes first.
    ///
    /// # Errors
    /// [`Stop`] as soon as the run is stopped or something breaks.
    pub fn wait_for<T>(
        &mut self,
        deadline: Deadline,
        mut ready: impl FnMut(&mut Self) -> Result<Option<T>, Stop>,
    ) -> Result<Option<T>, Stop> {
        const POLL: Duration = Duration::from_millis(20);
        let deadline = deadline.min(self.deadline);
        loop {
            self.check()?;
            if let Some(value) = ready(self)? {
                return Ok(Some(value));
            }
            if deadline.expired() {
                return Ok(None);
            }
            std::thread::sleep(POLL.min(deadline.remaining()));
        }
    }

    /// Lets bench time pass until `deadline`, noticing trouble. For schedules of the physical world
    /// (a registration period), never for guessing when something is done.
    pub fn pass_time(&mut self, deadline: Deadline) -> Result<(), Stop> {
        self.wait_for(deadline, |_| Ok(None::<()>)).map(|_| ())
    }

    /// Tells the operator what the case is busy with.
    pub fn progress(&self, what: &str) {
        self.observer.progress(self.case, what);
    }

    fn push(&mut self, step: Step) {
        self.observer.step(self.case, &step);
        self.steps.push(step);
    }
}
