// SPDX-License-Identifier: MIT OR Apache-2.0
//! `run`: locks the rig, brings it up, runs the cases, tears everything down, seals the evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bench_cases::BringUpError;
use bench_cases::bench::Bench;
use bench_cases::bringup::{Grounds, Surroundings, bring_up};
use bench_engine::{ExitCode, Interrupt, RunOutcome, Runner, exit_code};
use bench_evidence::results::{
    AssumptionInfo, CaseResult, Measurement, Results, RigInfo, RunInfo, SCHEMA, Verdict,
};
use bench_evidence::{Bundle, BundleMeta, new_run_id};
use bench_rig::discover::serial_ports;
use bench_rig::lock::{Holder, LockDir, LockError, RigLock};
use bench_rig::{Rig, Span};
use bench_timing::{BenchClock, DECISION_RULE};
use serde_json::json;
use smgw_cls::defect::Defect;

use crate::args::RunArgs;
use crate::commands::plan::{plan, tool};
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::progress::{Progress, word};
use crate::signals;

/// Runs the verb.
pub fn run(arguments: &RunArgs) -> Result<ExitCode, Failure> {
    let inputs = Inputs::load(&arguments.inputs)?;
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let interactive =
        !arguments.non_interactive && std::env::var_os("CI").is_none_or(|value| value.is_empty());
    let asks_for_pin = inputs.rig.asks_for_pin();
    if asks_for_pin && !interactive {
        return Err(Failure::with_help(
            ExitCode::Usage,
            "the rig wants a person to type the PIN, and nobody may be asked in this run",
            "leave out --non-interactive and CI=true, or use pin = { env = … } or { file = … } in the rig file",
        ));
    }
    let interrupt = Arc::new(Interrupt::default());
    signals::watch(Arc::clone(&interrupt))
        .map_err(|error| Failure::new(ExitCode::Internal, format!("signal handlers: {error}")))?;

    let clock = BenchClock::start();
    let started = clock.anchor().utc;
    let run_id = new_run_id();
    let lock = lock(&inputs.rig, arguments, &run_id, &started.to_string())?;

    let revision = env!("SMGW_BENCH_REVISION").to_owned();
    let meta = BundleMeta {
        run_id: run_id.clone(),
        rig: inputs.rig.name.clone(),
        started,
        tool: tool(),
        revision: revision.clone(),
    };
    let bundle = Bundle::create(&arguments.report_dir, meta, &clock).map_err(evidence)?;
    keep_inputs(&bundle, &inputs, seed).map_err(evidence)?;
    let progress = Arc::new(Progress::new(bundle.events().clone(), interactive));
    progress.say(&format!("run           {run_id}  seed {seed}"));
    if let Some(left_out) = inputs.left_out() {
        progress.say(&format!("              {left_out}"));
    }

    progress.stage("making tokens and the sealing key");
    let prepare = || Grounds::prepare(&inputs.rig, &run_id);
    let grounds = if asks_for_pin {
        progress.without_live_line(prepare)
    } else {
        prepare()
    };
    let mut record = Record::new(
        &inputs,
        arguments.defect.as_deref(),
        &run_id,
        seed,
        &started.to_string(),
        revision,
    );
    let surroundings = Surroundings {
        rig: &inputs.rig,
        ics: &inputs.ics,
        clock: &clock,
        trace: bundle.trace(),
        gateway_log: bundle.path().join("logs/gateway.log"),
        defect: arguments.defect.clone(),
        stage: &|what| progress.stage(what),
        interrupt: &interrupt,
    };
    let runner = Runner {
        observer: Arc::clone(&progress) as _,
        interrupt: Arc::clone(&interrupt),
        seed,
        budget_multiplier: inputs.rig.timeout_multiplier,
        grace: Duration::from_secs(10),
    };
    let (grounds, brought_up) = match grounds {
        Ok(grounds) => {
            let brought_up = bring_up(&grounds, &surroundings);
            (Some(grounds), brought_up)
        }
        Err(error) => (None, Err(error)),
    };
    let (finished, trouble) = match brought_up {
        Ok(bench) => (execute(&inputs, &runner, bench, &bundle, &mut record), None),
        Err(error) => (not_executed(&inputs, &error), Some(error)),
    };
    progress.finish();
    drop(lock);

    let ended = clock.utc_of(BenchClock::now()).0;
    let code = match &trouble {
        Some(error) => bring_up_code(error),
        None => match exit_code(&finished.cases) {
            // What ran may have passed, but the operator ended the run before it was complete.
            ExitCode::Success | ExitCode::Outstanding if finished.reason == "aborted" => {
                ExitCode::Interrupted
            }
            code => code,
        },
    };
    let results = record.results(finished.cases, finished.reason, &ended.to_string());
    summarise(&progress, &results);
    match grounds {
        Some(grounds) => {
            let certificate = grounds.seal_certificate.as_bytes();
            bundle
                .add_input("seal-certificate.pem", certificate)
                .map_err(evidence)?;
            let sealed = bundle.finish(&results, &grounds.signer).map_err(evidence)?;
            progress.say(&format!("bundle        {}", sealed.path.display()));
            progress.say(&format!("report        {}", sealed.report().display()));
        }
        None => {
            let _ = bundle.events().finish(finished.reason);
            progress.say(&format!("unsealed      {}", bundle.path().display()));
        }
    }
    match trouble {
        Some(error) => Err(bring_up_failure(code, error)),
        None => Ok(code),
    }
}

struct Finished {
    cases: Vec<CaseResult>,
    reason: &'static str,
}

/// Runs the cases and tears the rig down.
fn execute(
    inputs: &Inputs,
    runner: &Runner,
    bench: Bench,
    bundle: &Bundle,
    record: &mut Record,
) -> Finished {
    record.uncertainty = bench.own_uncertainty();
    let RunOutcome {
        cases,
        reason,
        environment,
    } = runner.run(&inputs.selection, bench);
    if let Some(bench) = environment {
        for (name, distribution) in bench.take_histograms() {
            if let Err(error) = bundle.add_histogram(&name, &distribution) {
                tracing::error!(%error, name, "histogram not kept");
            }
        }
        bench.stop_roles();
        let _ = bundle
            .events()
            .record("teardown", &json!({ "roles": "ended" }));
    }
    Finished { cases, reason }
}

fn not_executed(inputs: &Inputs, trouble: &BringUpError) -> Finished {
    let now = BenchClock::now().0;
    let cases = inputs
        .selection
        .iter()
        .map(|selected| {
            let (verdict, reason) = selected
                .instead
                .clone()
                .unwrap_or_else(|| (Verdict::Skipped, format!("not executed: {trouble}")));
            selected.case.unexecuted(verdict, reason, now)
        })
        .collect();
    let reason = match trouble {
        BringUpError::Interrupted => "aborted",
        _ => "rig-error",
    };
    Finished { cases, reason }
}

fn bring_up_code(error: &BringUpError) -> ExitCode {
    match error {
        BringUpError::Missing { .. } => ExitCode::Setup,
        BringUpError::NotDrivable { .. } => ExitCode::ResourceMissing,
        BringUpError::Usage { .. } => ExitCode::Usage,
        BringUpError::Interrupted => ExitCode::Interrupted,
        _ => ExitCode::RigError,
    }
}

fn bring_up_failure(code: ExitCode, error: BringUpError) -> Failure {
    let help = match &error {
        BringUpError::Missing { help, .. } => help.clone(),
        BringUpError::NotDrivable { .. } => {
            "`smgw-bench rig check` lists every part this build cannot drive".to_owned()
        }
        BringUpError::Usage { help, .. } => help.clone(),
        _ => "the rig, not the device under test, is at fault; nothing was left running".to_owned(),
    };
    Failure::with_help(code, format!("the rig did not come up: {error}"), help)
}

fn lock(rig: &Rig, arguments: &RunArgs, run_id: &str, since: &str) -> Result<RigLock, Failure> {
    let wait = match &arguments.wait {
        Some(text) => {
            text.parse::<Span>()
                .map_err(|error| Failure::new(ExitCode::Usage, format!("--wait {text}: {error}")))?
                .0
        }
        None => Duration::ZERO,
    };
    let holder = Holder::this_process(run_id, since);
    let keys = rig
        .lock_keys(&serial_ports(Path::new("/")))
        .map_err(|error| Failure::diagnostic(ExitCode::ResourceMissing, error))?;
    LockDir::resolve(&rig.lock_dir)
        .acquire_within(&keys, &holder, wait, |busy| eprintln!("waiting: {busy}"))
        .map_err(|error| {
            let code = match error {
                LockError::Busy { .. } => ExitCode::RigBusy,
                _ => ExitCode::Setup,
            };
            Failure::diagnostic(code, error)
        })
}

fn keep_inputs(
    bundle: &Bundle,
    inputs: &Inputs,
    seed: u64,
) -> Result<(), bench_evidence::EvidenceError> {
    bundle.add_input("rig.toml", inputs.rig.text.as_bytes())?;
    bundle.add_input("ics.toml", inputs.ics.text.as_bytes())?;
    bundle.add_input("assumptions.toml", inputs.assumptions.text.as_bytes())?;
    let plan = plan(inputs, seed).to_toml();
    bundle.add_input("plan.lock.toml", plan.as_bytes())
}

/// What the results say besides the cases.
struct Record {
    run: RunInfo,
    rig: RigInfo,
    assumptions: Vec<AssumptionInfo>,
    uncertainty: Vec<Measurement>,
}

impl Record {
    fn new(
        inputs: &Inputs,
        defect: Option<&str>,
        run_id: &str,
        seed: u64,
        started: &str,
        revision: String,
    ) -> Self {
        let product = &inputs.ics.product;
        let mut notes = inputs.rig.notes();
        notes.extend(inputs.left_out());
        if let Some(defect) = defect {
            let who = match Defect::named(defect) {
                Some(_) => "the board",
                None => "the reference gateway",
            };
            notes.push(format!("{who} misbehaves on purpose: {defect}"));
        }
        let dut = BTreeMap::from([
            ("product".to_owned(), product.name.clone()),
            ("manufacturer".to_owned(), product.manufacturer.clone()),
            ("version".to_owned(), product.version.clone()),
            ("device-id".to_owned(), product.device_id.to_string()),
        ]);
        let used: BTreeSet<_> = inputs
            .selection
            .iter()
            .flat_map(|selected| selected.case.assumptions)
            .collect();
        let assumptions = inputs
            .assumptions
            .iter()
            .filter(|(key, _)| used.contains(key))
            .map(|(key, assumption)| AssumptionInfo {
                key: key.to_owned(),
                value: assumption.value.clone(),
                source: assumption.source.clone(),
                confidence: assumption.confidence.as_str().to_owned(),
            })
            .collect();
        Self {
            run: RunInfo {
                id: run_id.to_owned(),
                started: started.to_owned(),
                ended: String::new(),
                reason: String::new(),
                tool: tool(),
                revision,
                host: host(),
                seed,
                decision_rule: DECISION_RULE.to_owned(),
                dut,
                uncertainty: Vec::new(),
                notes,
            },
            rig: RigInfo {
                name: inputs.rig.name.clone(),
                summary: inputs.rig.summary.clone(),
                labels: inputs.rig.labels.clone(),
                roles: inputs.rig.roles(),
            },
            assumptions,
            uncertainty: Vec::new(),
        }
    }

    fn results(mut self, cases: Vec<CaseResult>, reason: &str, ended: &str) -> Results {
        self.run.ended = ended.to_owned();
        self.run.reason = reason.to_owned();
        self.run.uncertainty = self.uncertainty;
        let mut counts: BTreeMap<_, _> = Verdict::ALL.map(|verdict| (verdict, 0)).into();
        for case in &cases {
            *counts.entry(case.verdict).or_default() += 1;
        }
        Results {
            schema: SCHEMA.to_owned(),
            run: self.run,
            rig: self.rig,
            counts,
            cases,
            assumptions: self.assumptions,
        }
    }
}

fn summarise(progress: &Progress, results: &Results) {
    let counts: Vec<_> = results
        .counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(verdict, count)| format!("{count} {}", word(*verdict).to_lowercase()))
        .collect();
    progress.say(&format!("verdicts      {}", counts.join(", ")));
}

/// Host name, kernel and CPU count.
fn host() -> String {
    let read = |path: &str| {
        fs::read_to_string(Path::new(path))
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, Linux {}, {cpus} CPUs",
        read("/proc/sys/kernel/hostname"),
        read("/proc/sys/kernel/osrelease")
    )
}

/// A seed nobody chose; 32 bits, so that it is easily typed again.
fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) & 0xffff_ffff
}

fn evidence(error: bench_evidence::EvidenceError) -> Failure {
    Failure::with_help(
        ExitCode::Setup,
        format!("the evidence cannot be kept: {error}"),
        "check free space and permissions of --report-dir",
    )
}
