// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plays a random history to an evaluation, with restarts in between, and compares what comes out with what the model says.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use smgw_core::profile::EvaluationProfile;
use smgw_core::taf::{Effect, Evaluation, Finding, Trigger};
use smgw_core::{Content, Entry};
use smgw_units::{DeviceId, UtcNanos};

/// What an evaluation is told.
#[derive(Clone, Debug)]
pub enum Action {
    Entry(DeviceId, Entry),
    Trigger(UtcNanos, Trigger),
    Time(UtcNanos),
}

/// A profile and everything that happens to it.
pub struct History {
    pub profile: EvaluationProfile,
    pub start: UtcNanos,
    pub actions: Vec<Action>,
}

/// What happens to a use case, in the order in which it gets to know: points once all inputs have told of them.
#[derive(Clone, Debug)]
pub enum Seen {
    Point(UtcNanos, Vec<Option<Entry>>),
    Trigger(UtcNanos, Trigger),
    Time(UtcNanos),
}

/// Lines of text, so that differences can be read: derived lines, deliveries, findings, and all else.
#[derive(Default)]
pub struct Outcome {
    pub derived: Vec<String>,
    pub deliveries: Vec<String>,
    pub findings: Vec<String>,
    pub signals: Vec<String>,
}

impl Outcome {
    pub fn derive(&mut self, line: &Entry) {
        self.derived.push(text(line));
    }

    pub fn deliver(&mut self, to: &str, due: UtcNanos, lines: &[Entry]) {
        let lines: Vec<String> = lines.iter().map(text).collect();
        self.deliveries.push(format!("{to} {due} {lines:?}"));
    }

    /// To everybody, unless nothing is ever sent.
    pub fn deliver_all(&mut self, profile: &EvaluationProfile, due: UtcNanos, lines: &[Entry]) {
        use smgw_core::profile::evaluation::Every;
        let plan = profile.send_plan();
        if plan.every != Every::Never {
            for recipient in profile.recipients() {
                let due = UtcNanos(due.0 + i64::from(plan.delay) * 1_000_000_000);
                self.deliver(recipient.as_str(), due, lines);
            }
        }
    }

    pub fn find(&mut self, at: UtcNanos, finding: Finding) {
        self.findings.push(format!("{at} {finding:?}"));
    }

    fn all(&self) -> [&Vec<String>; 4] {
        [
            &self.derived,
            &self.findings,
            &self.signals,
            &self.deliveries,
        ]
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Derived(derived) => self.derive(&derived.entry),
            Effect::Delivery(delivery) => {
                self.deliver(delivery.recipient.as_str(), delivery.due, &delivery.lines);
            }
            Effect::Finding { at, finding } => self.find(at, finding),
            Effect::Display(lines) => {
                let lines: Vec<String> = lines.iter().map(text).collect();
                self.signals.push(format!("display {lines:?}"));
            }
            Effect::Warning { available } => {
                self.signals
                    .push(format!("warning {:?}", available.normalized()));
            }
            Effect::Breakers { closed, .. } => self.signals.push(format!("closed {closed}")),
            Effect::Expired { before } => self.signals.push(format!("expired {before}")),
        }
    }
}

pub fn text(line: &Entry) -> String {
    let content = match line.content {
        Content::Value {
            capture,
            value,
            unit,
        } => {
            format!("{capture} {:?} {}", value.normalized(), unit.0)
        }
        Content::Gap(reason) => reason.to_string(),
    };
    format!("{} {} {} {content}", line.obis, line.target, line.status)
}

/// What the use case sees of a history.
fn seen(history: &History) -> Vec<Seen> {
    let inputs = history.profile.inputs();
    let (from, to) = history.profile.validity();
    let period = i64::from(history.profile.registration_period()) * 1_000_000_000;
    let mut newest = vec![i64::MIN; inputs.len()];
    let mut waiting: BTreeMap<i64, Vec<Option<Entry>>> = BTreeMap::new();
    let mut done = history.start.0 - 1;
    let mut seen = Vec::new();
    for action in &history.actions {
        let mut patience = i64::MIN;
        match action {
            Action::Entry(meter, entry) => {
                let at = entry.target.0;
                for (index, input) in inputs.iter().enumerate() {
                    let ours = input.meter == *meter && input.obis == entry.obis;
                    let valid = at % period == 0 && at >= from.0 && at <= to.0;
                    if ours && valid && at > done && at > newest[index] {
                        newest[index] = at;
                        let parts = waiting.entry(at).or_insert(vec![None; inputs.len()]);
                        parts[index] = Some(*entry);
                    }
                }
            }
            Action::Trigger(at, trigger) => seen.push(Seen::Trigger(*at, trigger.clone())),
            Action::Time(now) => patience = now.0 - 2 * period,
        }
        while let Some((target, parts)) = waiting.first_key_value() {
            let all = newest.iter().all(|newest| newest >= target);
            if !all && *target > patience {
                break;
            }
            done = *target;
            seen.push(Seen::Point(UtcNanos(*target), parts.clone()));
            waiting.pop_first();
        }
        if let Action::Time(now) = action {
            seen.push(Seen::Time(*now));
        }
    }
    seen
}

/// What the evaluation makes of it, with a restart before every action that `restarts` picks.
fn play(history: &History, mut restarts: impl FnMut() -> bool) -> Outcome {
    let mut evaluation = Evaluation::new(history.profile.clone(), history.start);
    let mut outcome = Outcome::default();
    for action in &history.actions {
        if restarts() {
            let state = evaluation.save();
            let registers = evaluation.registers();
            evaluation = Evaluation::restore(history.profile.clone(), &state).unwrap();
            assert_eq!(evaluation.registers(), registers);
            assert_eq!(evaluation.save(), state);
        }
        match action {
            Action::Entry(meter, entry) => evaluation.handle_entry(*meter, entry),
            Action::Trigger(at, trigger) => evaluation.handle_event(*at, trigger),
            Action::Time(now) => evaluation.handle_time(*now),
        }
        while let Some(effect) = evaluation.poll_effect() {
            outcome.take(effect);
        }
    }
    outcome
}

type World = fn(&mut fastrand::Rng) -> History;
type Model = fn(&EvaluationProfile, UtcNanos, &[Seen]) -> Outcome;

/// Compares evaluation and model on as many histories as asked for.
pub fn agree(world: World, model: Model) {
    let number = |name: &str, usual: u64| {
        let set = std::env::var(name).ok().and_then(|text| text.parse().ok());
        set.unwrap_or(usual)
    };
    let (histories, seed) = (number("SMGW_HISTORIES", 10_000), number("SMGW_SEED", 1));
    let mut lines = 0;
    for seed in seed..seed + histories {
        let once = catch_unwind(AssertUnwindSafe(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            let history = world(&mut random);
            let mut expected = model(&history.profile, history.start, &seen(&history));
            let restarts = random.bool();
            let mut got = play(&history, || restarts && random.u8(..10) == 0);
            // What triggers and registers have to say is told in any order.
            got.findings.sort_unstable();
            expected.findings.sort_unstable();
            for (got, expected) in got.all().into_iter().zip(expected.all()) {
                for (got, expected) in got.iter().zip(expected) {
                    assert_eq!(got, expected);
                }
                assert_eq!(
                    got.len(),
                    expected.len(),
                    "{:?} {:?}",
                    got.last(),
                    expected.last()
                );
            }
            got.derived.len() + got.deliveries.len() + got.signals.len()
        }));
        match once {
            Ok(count) => lines += count,
            Err(panic) => {
                println!("to see it again: SMGW_SEED={seed} SMGW_HISTORIES=1");
                resume_unwind(panic);
            }
        }
    }
    println!(
        "{histories} histories from seed {seed} on: {lines} lines, deliveries and signals agree"
    );
    assert!(
        histories < 1_000 || lines as u64 > histories,
        "the histories are too poor"
    );
}
