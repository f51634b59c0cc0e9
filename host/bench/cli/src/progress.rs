// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator sees while a run goes on: a live line on a terminal, plain lines elsewhere; and the event log beside it.

use std::io::IsTerminal;
use std::time::Duration;

use bench_engine::Observer;
use bench_evidence::events::EventLog;
use bench_evidence::results::{CaseResult, Measurement, Step, Verdict};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// Reports to the operator and to the event log.
pub struct Progress {
    events: EventLog,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A live line needs a terminal and somebody in front of it.
    pub fn new(events: EventLog, interactive: bool) -> Self {
        let live = interactive && std::io::stderr().is_terminal();
        let bar = live.then(|| {
            let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { events, bar }
    }

    /// A line for the operator that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }

    /// Runs `work` while the terminal belongs to it, for instance to ask for a PIN.
    pub fn without_live_line<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }

    /// What the bench is doing outside any case.
    pub fn stage(&self, what: &str) {
        self.record("stage", &json!({ "what": what }));
        match &self.bar {
            Some(bar) => {
                bar.set_prefix("set-up");
                bar.set_message(what.to_owned());
            }
            None => println!("set-up        {what}"),
        }
    }

    /// Takes the live line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// The run must not end because its diary cannot be written; a hole shows in `verify`.
    fn record(&self, kind: &str, data: &serde_json::Value) {
        if let Err(error) = self.events.record(kind, data) {
            tracing::error!(%error, kind, "event not recorded");
        }
    }
}

impl Observer for Progress {
    fn case_started(&self, id: &str, title: &str, index: usize, total: usize) {
        self.record("case.started", &json!({ "id": id, "title": title }));
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("{index}/{total} {id}"));
            bar.set_message(title.to_owned());
        }
    }

    fn progress(&self, id: &str, what: &str) {
        self.record("case.progress", &json!({ "id": id, "what": what }));
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    fn step(&self, id: &str, step: &Step) {
        self.record("case.step", &json!({ "id": id, "step": step }));
    }

    fn measured(&self, id: &str, measurement: &Measurement) {
        self.record(
            "case.measured",
            &json!({ "id": id, "measurement": measurement }),
        );
    }

    fn case_ended(&self, result: &CaseResult) {
        let summary = json!({
            "id": result.id, "verdict": result.verdict, "reason": result.reason,
        });
        self.record("case.ended", &summary);
        self.say(&line(result));
    }
}

/// One line per case: verdict, id, time, title or reason.
pub fn line(result: &CaseResult) -> String {
    let seconds = result.ended_ns.saturating_sub(result.started_ns) as f64 / 1e9;
    let what = if result.reason.is_empty() {
        &result.title
    } else {
        &result.reason
    };
    format!(
        "{:<14}{:<8}{seconds:>6.1} s   {what}",
        word(result.verdict),
        result.id
    )
}

/// The verdict as written in results and reports.
pub fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Measured => "measured",
        Verdict::NotApplicable => "not-applicable",
        Verdict::Skipped => "skipped",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Fail => "FAIL",
        Verdict::Aborted => "aborted",
        Verdict::Error => "ERROR",
        Verdict::RigError => "RIG-ERROR",
    }
}
