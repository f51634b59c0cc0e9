// SPDX-License-Identifier: MIT OR Apache-2.0
//! Running the selected cases against one environment, with deadlines, health and interruption watched from outside.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bench_evidence::results::{CaseResult, Verdict};
use bench_timing::BenchClock;

use crate::case::Case;
use crate::ctx::Ctx;
use crate::deadline::Deadline;
use crate::environment::{Environment, Interrupt, Observer, Trouble};
use crate::ledger::Ledger;
use crate::stop::Stop;

/// A case of the plan: to be run, or the reason why not.
pub struct Selected<E: 'static> {
    /// The row.
    pub case: &'static Case<E>,
    /// Set when the case is not run: the verdict (`not-applicable` or `skipped`) and why.
    pub instead: Option<(Verdict, String)>,
}

/// What the run ended with.
pub struct RunOutcome<E> {
    /// One record per selected case, in order.
    pub cases: Vec<CaseResult>,
    /// `finished`, `aborted`, `rig-error` or `error`.
    pub reason: &'static str,
    /// The environment, unless a case never gave it back.
    pub environment: Option<E>,
}

/// Runs cases one after the other.
pub struct Runner {
    /// Where everything is reported.
    pub observer: Arc<dyn Observer>,
    /// Requests to end.
    pub interrupt: Arc<Interrupt>,
    /// Seed of the run.
    pub seed: u64,
    /// The rig's `timeout-multiplier`.
    pub budget_multiplier: f64,
    /// How long a case that overran may take to notice, before the kill switch.
    pub grace: Duration,
}

impl Runner {
    /// Runs the plan. The environment moves into each case's thread and back.
    pub fn run<E: Environment>(&self, plan: &[Selected<E>], environment: E) -> RunOutcome<E> {
        let mut environment = Some(environment);
        let mut broken: Option<(&'static str, String)> = None;
        let mut cases = Vec::with_capacity(plan.len());
        for (index, selected) in plan.iter().enumerate() {
            let case = selected.case;
            let instead = selected
                .instead
                .clone()
                .or_else(|| {
                    let (_, what) = broken.as_ref()?;
                    Some((Verdict::Skipped, format!("not executed: {what}")))
                })
                .or_else(|| {
                    self.interrupt.no_more_cases().then(|| {
                        (
                            Verdict::Skipped,
                            "not executed: ended by the operator".into(),
                        )
                    })
                });
            let result = match (instead, environment.take()) {
                (Some((verdict, reason)), kept) => {
                    environment = kept;
                    unexecuted(case, verdict, reason)
                }
                (None, None) => unexecuted(
                    case,
                    Verdict::Skipped,
                    "not executed: an earlier case never returned".into(),
                ),
                (None, Some(live)) => {
                    self.observer
                        .case_started(case.id, case.title, index + 1, plan.len());
                    let (result, kept, trouble) = self.execute(case, live);
                    environment = kept;
                    broken = broken.or(trouble);
                    result
                }
            };
            self.observer.case_ended(&result);
            cases.push(result);
        }
        let reason = match broken {
            Some((reason, _)) => reason,
            None if self.interrupt.no_more_cases() => "aborted",
            None => "finished",
        };
        RunOutcome {
            cases,
            reason,
            environment,
        }
    }

    /// Runs one case in a thread of its own; returns the environment unless the case is stuck.
    fn execute<E: Environment>(
        &self,
        case: &'static Case<E>,
        environment: E,
    ) -> (CaseResult, Option<E>, Option<(&'static str, String)>) {
        let health = environment.health();
        let kill = environment.kill_switch();
        let budget = case.budget.mul_f64(self.budget_multiplier.max(1.0));
        let deadline = Deadline::after(budget);
        let started = BenchClock::now();
        let ctx = Ctx {
            ledger: Ledger::default(),
            steps: Vec::new(),
            measurements: Vec::new(),
            assumptions: case
                .assumptions
                .iter()
                .map(|key| (*key).to_owned())
                .collect(),
            observer: Arc::clone(&self.observer),
            health: Arc::clone(&health),
            interrupt: Arc::clone(&self.interrupt),
            case: case.id,
            deadline,
            seed: case_seed(self.seed, case.id),
        };
        let (sender, receiver) = mpsc::channel();
        let spawned = thread::Builder::new()
            .name(case.id.to_owned())
            .spawn(move || {
                let mut ctx = ctx;
                let mut environment = environment;
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    environment.settle()?;
                    (case.run)(&mut ctx, &mut environment)
                }));
                // The receiver is gone only when the runner gave this case up; then nobody waits for it.
                let _ = sender.send((ctx, environment, ended));
            });
        if let Err(error) = spawned {
            let reason = format!("cannot start a thread for the case: {error}");
            return (
                unexecuted(case, Verdict::Error, reason.clone()),
                None,
                Some(("error", reason)),
            );
        }
        match receiver.recv_timeout(budget + self.grace) {
            Ok((mut ctx, environment, ended)) => {
                let trouble = fold(&mut ctx.ledger, ended, health.trouble());
                if deadline.expired() && trouble.is_none() {
                    ctx.ledger.worsen(
                        Verdict::Error,
                        format!("the case overran its budget of {} s", budget.as_secs()),
                    );
                }
                let result = CaseResult {
                    measurements: ctx.measurements,
                    assumptions: ctx.assumptions,
                    steps: ctx.steps,
                    ended_ns: BenchClock::now().0,
                    ..case.unexecuted(ctx.ledger.verdict(), ctx.ledger.reason(), started.0)
                };
                (result, Some(environment), trouble)
            }
            Err(_) => {
                kill();
                let reason = format!(
                    "{} did not return within {} s and was given up",
                    case.id,
                    budget.as_secs()
                );
                let mut result = unexecuted(case, Verdict::Error, reason.clone());
                result.started_ns = started.0;
                (result, None, Some(("error", reason)))
            }
        }
    }
}

fn unexecuted<E>(case: &Case<E>, verdict: Verdict, reason: String) -> CaseResult {
    case.unexecuted(verdict, reason, BenchClock::now().0)
}

/// Folds how the case ended into its ledger; returns what broke for good, if anything did.
fn fold(
    ledger: &mut Ledger,
    ended: Result<Result<(), Stop>, Box<dyn Any + Send>>,
    trouble: Option<Trouble>,
) -> Option<(&'static str, String)> {
    // A dead device explains whatever the case tripped over, so it is named first.
    match &trouble {
        Some(Trouble::Rig(what)) => ledger.worsen(Verdict::RigError, what.clone()),
        Some(Trouble::Device(what)) => ledger.worsen(Verdict::Fail, what.clone()),
        None => {}
    }
    match ended {
        Ok(Ok(()) | Err(Stop::Done)) => {}
        Ok(Err(Stop::Rig(what))) if trouble.is_none() => ledger.worsen(Verdict::RigError, what),
        Ok(Err(Stop::Device(what))) if trouble.is_none() => ledger.worsen(Verdict::Fail, what),
        Ok(Err(Stop::Rig(_) | Stop::Device(_))) => {}
        Ok(Err(Stop::Bench(what))) => ledger.worsen(Verdict::Error, what),
        Ok(Err(Stop::Aborted)) => ledger.worsen(Verdict::Aborted, "ended by the operator"),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            ledger.worsen(Verdict::Error, format!("the case panicked: {text}"));
        }
    }
    trouble.map(|trouble| match trouble {
        Trouble::Rig(what) => ("rig-error", what),
        Trouble::Device(what) => ("device-lost", what),
    })
}

/// The seed of one case of a run: the same whichever other cases run beside it.
pub fn case_seed(run: u64, case: &str) -> u64 {
    // FNV-1a over the case's id.
    case.bytes()
        .fold(run ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use bench_evidence::results::{Measurement, Step};
    use bench_rig::Capability;

    use super::*;
    use crate::case::{Interface, Level};
    use crate::environment::Health;
    use crate::exit::{ExitCode, exit_code};

    #[derive(Default)]
    struct Watch {
        trouble: Mutex<Option<Trouble>>,
        killed: AtomicBool,
    }

    impl Health for Watch {
        fn trouble(&self) -> Option<Trouble> {
            self.trouble.lock().unwrap().clone()
        }
    }

    struct Rig(Arc<Watch>);

    impl Environment for Rig {
        fn health(&self) -> Arc<dyn Health> {
            Arc::clone(&self.0) as Arc<dyn Health>
        }

        fn kill_switch(&self) -> Arc<dyn Fn() + Send + Sync> {
            let watch = Arc::clone(&self.0);
            Arc::new(move || watch.killed.store(true, Ordering::SeqCst))
        }

        fn settle(&mut self) -> Result<(), Stop> {
            Ok(())
        }
    }

    struct Silent;

    impl Observer for Silent {
        fn case_started(&self, _: &str, _: &str, _: usize, _: usize) {}
        fn progress(&self, _: &str, _: &str) {}
        fn step(&self, _: &str, _: &Step) {}
        fn measured(&self, _: &str, _: &Measurement) {}
        fn case_ended(&self, _: &CaseResult) {}
    }

    const fn case(
        id: &'static str,
        budget: Duration,
        run: fn(&mut Ctx, &mut Rig) -> Result<(), Stop>,
    ) -> Case<Rig> {
        Case {
            id,
            version: 1,
            title: "a case",
            level: Level::Must,
            interface: Interface::Han,
            requirements: &[],
            applies_if: &[],
            assumptions: &[],
            needs: &[Capability::Gateway],
            budget,
            steps: &[],
            run,
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);
    static PASSES: Case<Rig> = case("OK-1", MINUTE, |_, _| Ok(()));
    static PANICS: Case<Rig> = case("PANIC-1", MINUTE, |_, _| panic!("boom"));
    static RIG: Case<Rig> = case("RIG-1", MINUTE, |_, _| Err(Stop::Rig("no port".into())));
    static FAILS: Case<Rig> = case("FAIL-1", MINUTE, |ctx, _| {
        ctx.expect(false, "asking", "yes", "no");
        Err(Stop::Rig("later trouble".into()))
    });
    static DEVICE_DIES: Case<Rig> = case("DIES-1", MINUTE, |ctx, rig| {
        *rig.0.trouble.lock().unwrap() = Some(Trouble::Device("it crashed".into()));
        ctx.check()
    });
    static KILLED: Case<Rig> = case("KILLED-1", MINUTE, |ctx, rig| {
        *rig.0.trouble.lock().unwrap() = Some(Trouble::Rig("killed from outside".into()));
        // What a case concludes from a dead device is an echo of the kill, not a finding.
        ctx.check()
    });
    static HANGS: Case<Rig> = case("HANG-1", Duration::from_millis(1), |_, _| {
        loop {
            thread::park();
        }
    });

    fn run(cases: &[&'static Case<Rig>], interrupt: Interrupt) -> (RunOutcome<Rig>, Arc<Watch>) {
        let watch = Arc::new(Watch::default());
        let runner = Runner {
            observer: Arc::new(Silent),
            interrupt: Arc::new(interrupt),
            seed: 1,
            budget_multiplier: 1.0,
            grace: Duration::from_millis(50),
        };
        let plan: Vec<_> = cases
            .iter()
            .map(|case| Selected {
                case,
                instead: None,
            })
            .collect();
        (runner.run(&plan, Rig(Arc::clone(&watch))), watch)
    }

    fn verdicts(outcome: &RunOutcome<Rig>) -> Vec<Verdict> {
        outcome.cases.iter().map(|case| case.verdict).collect()
    }

    #[test]
    fn a_panic_is_an_error_of_the_bench_and_the_next_case_runs() {
        let (outcome, _) = run(&[&PANICS, &PASSES], Interrupt::default());
        assert_eq!(verdicts(&outcome), [Verdict::Error, Verdict::Pass]);
        assert!(
            outcome.cases[0].reason.contains("boom"),
            "{}",
            outcome.cases[0].reason
        );
        assert!(outcome.environment.is_some());
        assert_eq!(exit_code(&outcome.cases), ExitCode::CaseError);
    }

    #[test]
    fn trouble_of_the_rig_is_no_failure_and_a_seen_failure_stays() {
        let (outcome, _) = run(&[&RIG, &FAILS], Interrupt::default());
        assert_eq!(verdicts(&outcome), [Verdict::RigError, Verdict::Fail]);
        assert_eq!(
            outcome.cases[1].reason,
            "asking: expected yes, saw no; later trouble"
        );
        assert_eq!(exit_code(&outcome.cases), ExitCode::Failed);
    }

    #[test]
    fn after_a_kill_the_rest_is_skipped_with_the_cause() {
        let (outcome, _) = run(&[&KILLED, &PASSES], Interrupt::default());
        assert_eq!(verdicts(&outcome), [Verdict::RigError, Verdict::Skipped]);
        assert!(outcome.cases[1].reason.contains("killed from outside"));
        assert_eq!(outcome.reason, "rig-error");
    }

    #[test]
    fn a_device_that_dies_by_itself_fails() {
        let (outcome, _) = run(&[&DEVICE_DIES], Interrupt::default());
        assert_eq!(verdicts(&outcome), [Verdict::Fail]);
        assert_eq!(outcome.reason, "device-lost");
    }

    #[test]
    fn a_case_that_never_returns_is_given_up_and_everything_is_killed() {
        let (outcome, watch) = run(&[&HANGS, &PASSES], Interrupt::default());
        assert_eq!(verdicts(&outcome), [Verdict::Error, Verdict::Skipped]);
        assert!(outcome.environment.is_none());
        assert!(watch.killed.load(Ordering::SeqCst));
    }

    #[test]
    fn one_request_ends_the_run_between_cases() {
        let interrupt = Interrupt::default();
        interrupt.request();
        assert!(!interrupt.abort_now());
        let (outcome, _) = run(&[&PASSES], interrupt);
        assert_eq!(verdicts(&outcome), [Verdict::Skipped]);
        assert_eq!(outcome.reason, "aborted");
        assert_eq!(exit_code(&outcome.cases), ExitCode::Outstanding);
    }
}
