// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results of a run, schema `smgw-bench.results/1`: the truth every report is rendered from.

use std::collections::BTreeMap;
use std::fmt;

use bench_timing::Decision;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Limit;

/// The schema this build writes.
pub const SCHEMA: &str = "smgw-bench.results/1";

/// The outcome of a case. The order of the variants is the order of severity within a case:
/// a verdict only ever moves towards the end.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All expectations hold with guard band.
    Pass,
    /// A number was recorded that has no limit.
    Measured,
    /// The declaration (ICS) says the case does not concern this device.
    NotApplicable,
    /// Not selected, quarantined, or a role it needs is broken or missing.
    Skipped,
    /// The limit lies within value ± U, or the precondition was not reached.
    Inconclusive,
    /// The device violates the expectation, uncertainty considered.
    Fail,
    /// The operator ended the run.
    Aborted,
    /// The case or the bench broke.
    Error,
    /// A resource of the rig vanished or misbehaved.
    RigError,
}

impl Verdict {
    /// All verdicts in order of severity.
    pub const ALL: [Self; 9] = [
        Self::Pass,
        Self::Measured,
        Self::NotApplicable,
        Self::Skipped,
        Self::Inconclusive,
        Self::Fail,
        Self::Aborted,
        Self::Error,
        Self::RigError,
    ];

    /// The name as it stands in the results document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Measured => "measured",
            Self::NotApplicable => "not-applicable",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Aborted => "aborted",
            Self::Error => "error",
            Self::RigError => "rig-error",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One measured number with everything needed to judge it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Measurement {
    /// Stable name, unique within the case.
    pub name: String,
    /// The value in `unit`; `null` in the document when it is no finite number.
    #[serde(deserialize_with = "nan_for_null")]
    #[schemars(with = "Option<f64>", required)]
    pub value: f64,
    /// Unit symbol, e.g. `ms`, `Wh`, `count`.
    pub unit: String,
    /// Limit in words and number, e.g. `<= 500`; none for characterisations.
    pub limit: Option<String>,
    /// Expanded uncertainty (k = 2) in `unit`.
    pub uncertainty: Option<f64>,
    /// The clock behind the value, e.g. `monotonic, host`; none for counts.
    pub clock: Option<String>,
    /// Number of samples behind the value.
    pub n: Option<u64>,
}

impl Measurement {
    /// What value, uncertainty and limit say by the decision rule; none without a limit that can be read.
    pub fn decision(&self) -> Option<Decision> {
        let limit = Limit::parse(self.limit.as_deref()?)?;
        Some(limit.decide(self.value, self.uncertainty.unwrap_or(0.0)))
    }
}

/// One case's record.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct CaseResult {
    /// Catalogue id, e.g. `MET-01`.
    pub id: String,
    /// Version of the case; rises when steps or limits change.
    pub version: u32,
    /// What the case shows, one sentence.
    pub title: String,
    /// `must`, `should`, `must-not`, `ics`, `characterise`.
    pub level: String,
    /// Interface, e.g. `HAN`, `CLS`, `LMN`, `SM`.
    pub interface: String,
    /// Official requirement ids and other sources.
    pub requirements: Vec<String>,
    /// The outcome.
    pub verdict: Verdict,
    /// First reason of the worst class, then later ones; empty for a plain pass.
    pub reason: String,
    /// Measured numbers.
    pub measurements: Vec<Measurement>,
    /// Keys of the assumptions the verdict rests on.
    pub assumptions: Vec<String>,
    /// What was done and seen, in order.
    pub steps: Vec<Step>,
    /// Start, nanoseconds on the bench clock.
    pub started_ns: u64,
    /// End, nanoseconds on the bench clock.
    pub ended_ns: u64,
}

impl CaseResult {
    /// Whether the case passed with at least one measurement near its limit or measured coarsely.
    pub fn is_marginal(&self) -> bool {
        let near = |m: &Measurement| m.decision() == Some(Decision::Pass { marginal: true });
        self.verdict == Verdict::Pass && self.measurements.iter().any(near)
    }
}

/// One step of a case: what was expected and what was seen.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Step {
    /// Stimulus or observation.
    pub action: String,
    /// What the requirement wants.
    pub expected: String,
    /// What happened.
    pub observed: String,
    /// Whether it is as expected; none when the step only informs.
    pub ok: Option<bool>,
}

/// Identification of the run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct RunInfo {
    /// UUID v7.
    pub id: String,
    /// ISO 8601 UTC.
    pub started: String,
    /// ISO 8601 UTC.
    pub ended: String,
    /// Why the run ended: `finished`, `aborted`, `rig-error`, …
    pub reason: String,
    /// Tool name and version.
    pub tool: String,
    /// Git revision the tool was built from, with `-dirty` when it was; `unknown` outside a checkout.
    pub revision: String,
    /// Host name, kernel and CPU count.
    pub host: String,
    /// Seed of everything random.
    pub seed: u64,
    /// The decision rule in words.
    pub decision_rule: String,
    /// What is under test: product, version, device id.
    pub dut: BTreeMap<String, String>,
    /// What the rig measured of itself: noise floor, clock pairs, uncertainty per tap.
    pub uncertainty: Vec<Measurement>,
    /// Notes a reader must see on page one (no calibration, virtual rig, …).
    pub notes: Vec<String>,
}

/// The rig in short.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct RigInfo {
    /// Name from the rig file.
    pub name: String,
    /// Summary from the rig file.
    pub summary: String,
    /// Labels from the rig file.
    pub labels: BTreeMap<String, String>,
    /// Role name to what plays it.
    pub roles: BTreeMap<String, String>,
}

/// An assumption printed with the verdicts that rest on it.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AssumptionInfo {
    /// Key.
    pub key: String,
    /// Value as text.
    pub value: String,
    /// Where it comes from.
    pub source: String,
    /// `verified`, `remembered-high`, `remembered-medium`, `remembered-low`, `derived`.
    pub confidence: String,
}

/// A whole run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Results {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The run.
    pub run: RunInfo,
    /// The rig.
    pub rig: RigInfo,
    /// Number of cases per verdict; every verdict appears.
    pub counts: BTreeMap<Verdict, u64>,
    /// The cases in order of execution.
    pub cases: Vec<CaseResult>,
    /// The assumptions the cases rest on.
    pub assumptions: Vec<AssumptionInfo>,
}

/// JSON has no spelling for a number that is none; it arrives as `null`.
fn nan_for_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The JSON Schema of a results document, pretty-printed; `rigs/schema/results-1.json` holds a copy.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Results);
    let mut text = serde_json::to_string_pretty(&schema)
        .expect("a generated schema holds strings, numbers and maps with string keys only");
    text.push('\n');
    text
}

/// Counts the cases per verdict; every verdict appears.
pub fn count(cases: &[CaseResult]) -> BTreeMap<Verdict, u64> {
    let mut counts: BTreeMap<Verdict, u64> = Verdict::ALL.into_iter().map(|v| (v, 0)).collect();
    for case in cases {
        *counts.entry(case.verdict).or_default() += 1;
    }
    counts
}
