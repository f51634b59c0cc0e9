// SPDX-License-Identifier: MIT OR Apache-2.0
//! Speed of the gateway's measuring core: meter-days through value lists and tariff use cases, beside the reference models
//! of the tests, and what inner signatures add.

mod fleet;

// The reference models, as the tests of the core have them.
#[allow(dead_code)]
#[path = "../../../../../host/gateway/core/tests/taf/history.rs"]
mod history;
#[allow(dead_code)]
#[path = "../../../../../host/gateway/core/tests/taf/plain.rs"]
mod plain;
#[allow(dead_code)]
#[path = "../../../../../host/gateway/core/tests/taf/series.rs"]
mod series;
#[allow(dead_code)]
#[path = "../../../../../host/gateway/core/tests/taf/steps.rs"]
mod steps;

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Duration;

use fleet::{Fleet, NEW_YEAR, PERIOD, QUARTERS, meter_id, profile, value};
use history::{Outcome, Seen};
use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pkcs11::softhsm::{CONF_VARIABLE, SoftHsmToken, installed};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use smgw_core::profile::EvaluationProfile;
use smgw_core::taf::Evaluation;
use smgw_core::{CombinedStatus, Content, Entry};
use smgw_performance::{Arguments, Measured, OnThreads, Report, Rounds, Row, alone, beside, rate};
use smgw_units::{Obis, Unit, UtcNanos};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const UNIT: &str = "meter-days/s";
const MODEL: &str = "reference model";
const LABEL: &str = "bench";
const PIN: &str = "1234567890";
/// Set in the child, which finds its token by the environment.
const CHILD: &str = "SMGW_BENCH_CORE_CHILD";

/// A day of so many meters with these use cases.
fn day(meters: usize, tafs: &[u8], saving: bool) {
    let mut fleet = Fleet::new(meters, tafs);
    fleet.live(QUARTERS, saving, |_| ());
    assert_eq!(fleet.entries, meters * QUARTERS as usize);
    black_box(fleet.digest());
}

fn through_the_core(report: &mut Report, rounds: Rounds) {
    const METERS: usize = 50;
    let rows: [(&str, &[u8], bool); 6] = [
        ("value lists", &[], false),
        ("value lists, TAF 1", &[1], false),
        ("value lists, TAF 2", &[2], false),
        ("value lists, TAF 7", &[7], false),
        ("value lists, TAF 1, 2 and 7", &[1, 2, 7], false),
        ("the same, states saved each period", &[1, 2, 7], true),
    ];
    for (metric, tafs, saving) in rows {
        let measured = alone(rounds, METERS, || day(METERS, tafs, saving));
        report.row(Row::of(metric, UNIT, &measured, None));
    }
}

/// Seconds of processor time of one pass, from the rate of passes.
fn seconds(rounds: usize, mut pass: impl FnMut()) -> Measured {
    let once = |pass: &mut dyn FnMut()| 1.0 / rate(Duration::ZERO, 1, pass);
    let ours = (0..rounds).map(|_| once(&mut pass)).collect();
    let peer = Vec::new();
    Measured { ours, peer }
}

fn long_runs(report: &mut Report, rounds: Rounds) {
    let quick = rounds.rounds < Rounds::USUAL.rounds;
    let measured = seconds(rounds.rounds.min(5), || day(1_000, &[7], false));
    report.row(Row::of(
        "a day of 1000 meters x 96 values, TAF 7",
        "s",
        &measured,
        None,
    ));

    let (days, turns) = if quick { (10, 1) } else { (365, 3) };
    let mut digests = Vec::new();
    let measured = seconds(turns, || {
        let mut fleet = Fleet::new(10, &[1, 2, 7]);
        fleet.live(days * QUARTERS, false, |_| ());
        digests.push(fleet.digest());
    });
    let metric = format!("{days} days of 10 meters, TAF 1, 2 and 7");
    report.row(Row::of(&metric, "s", &measured, None));
    let mut again = Fleet::new(10, &[1, 2, 7]);
    again.live(days * QUARTERS, false, |_| ());
    digests.push(again.digest());
    let same = digests.windows(2).all(|pair| pair[0] == pair[1]);
    assert!(same, "the same inputs gave other outputs: {digests:x?}");
    let runs = digests.len();
    report.input(format!(
        "{days} days of 10 meters, digest of all outputs: {:016x}, {runs} runs",
        digests[0]
    ));
}

fn growth(report: &mut Report, rounds: Rounds) {
    let quick = rounds.rounds < Rounds::USUAL.rounds;
    let sizes: &[usize] = if quick {
        &[10, 100]
    } else {
        &[10, 100, 1_000, 10_000]
    };
    for meters in sizes {
        let turns = Rounds {
            rounds: rounds.rounds.min(5),
            ..rounds
        };
        let ours = || day(*meters, &[1, 2, 7], false);
        let ten = || day(10, &[1, 2, 7], false);
        // Rates are of meter-days on both sides.
        let measured = smgw_performance::take_turns(
            turns.rounds,
            || rate(turns.slice, *meters, &mut { ours }),
            || rate(turns.slice, 10, &mut { ten }),
        );
        let metric = format!("{meters} meters, TAF 1, 2 and 7");
        report.row(Row::of(&metric, UNIT, &measured, Some("10 meters")));
    }
}

/// A week of entries, through the engine and through the model that the tests compare it with.
fn beside_models(report: &mut Report, rounds: Rounds) {
    type Model = fn(&EvaluationProfile, UtcNanos, &[Seen]) -> Outcome;
    const DAYS: i64 = 7;
    let id = meter_id(0);
    let entries: Vec<Entry> = (0..DAYS * QUARTERS)
        .map(|quarter| {
            let target = UtcNanos::from_seconds(NEW_YEAR + quarter * PERIOD);
            Entry {
                obis: Obis::IMPORT_TOTAL,
                target,
                status: CombinedStatus::of_value(1 << 2),
                content: Content::Value {
                    capture: target,
                    value: value(0, quarter),
                    unit: Unit::WATT_HOUR,
                },
            }
        })
        .collect();
    let point = |entry: &Entry| Seen::Point(entry.target, vec![Some(*entry)]);
    let seen: Vec<Seen> = entries.iter().map(point).collect();
    let models: [(u8, Model); 3] = [(1, series::taf1), (2, steps::taf2), (7, series::taf7)];
    let start = UtcNanos::from_seconds(NEW_YEAR);
    for (taf, model) in models {
        let profile = profile(taf, id);
        let ours = || {
            let mut evaluation = Evaluation::new(profile.clone(), start);
            for entry in &entries {
                evaluation.handle_entry(id, entry);
                while let Some(effect) = evaluation.poll_effect() {
                    black_box(effect);
                }
            }
        };
        let peer = || {
            black_box(model(&profile, start, &seen).derived.len());
        };
        let measured = beside(rounds, DAYS as usize, ours, peer);
        report.row(Row::of(
            &format!("TAF {taf} alone"),
            UNIT,
            &measured,
            Some(MODEL),
        ));
    }
}

/// What inner signatures cost: the signature alone, and a day of a meter with one for each value.
fn signed(
    report: &mut Report,
    rounds: Rounds,
    name: &str,
    module: &dyn SecurityModule,
) -> Result<()> {
    let key = KeyId("inner".into());
    module.generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)?;
    let sign = || black_box(module.sign_digest(&key, &[0x5a; 32])).map(drop);
    sign()?;
    let by_clock = |pass: &(dyn Fn(usize) + Sync), items: usize, rounds: usize| {
        let work = OnThreads { threads: 1, pass };
        let ours = (0..rounds)
            .map(|_| work.rate(Duration::from_millis(50)) * items as f64)
            .collect();
        Measured {
            ours,
            peer: Vec::new(),
        }
    };
    let measured = by_clock(&|_| sign().expect("it signed before"), 1, rounds.rounds);
    report.row(Row::of(
        &format!("inner signatures, {name}"),
        "1/s",
        &measured,
        None,
    ));
    let day = |_: usize| {
        let mut fleet = Fleet::new(1, &[1, 2, 7]);
        fleet.live(QUARTERS, false, |_| sign().expect("it signed before"));
        black_box(fleet.digest());
    };
    let measured = by_clock(&day, 1, rounds.rounds);
    let metric = format!("TAF 1, 2 and 7 with signatures, {name}");
    report.row(Row::of(&metric, UNIT, &measured, None));
    Ok(())
}

fn run(arguments: Arguments) -> Result<()> {
    let rounds = arguments.rounds;
    let mut report = Report::new("core");
    report.input("rising registers of our own, the examples in fixtures/profiles; brainpoolP256r1");
    through_the_core(&mut report, rounds);
    long_runs(&mut report, rounds);
    growth(&mut report, rounds);
    beside_models(&mut report, rounds);
    signed(&mut report, rounds, "soft", &SoftModule::new())?;
    if let Some(library) = installed() {
        let module = Pkcs11Module::open(Pkcs11Config {
            sessions: 1,
            ..Pkcs11Config::new(&library, TokenSelector::Label(LABEL.into()), Pin::new(PIN))
        })?;
        signed(&mut report, rounds, "SoftHSM2", &module)?;
    }
    report.write(arguments.output)?;
    Ok(())
}

/// Starts this program again with a fresh token: SoftHSM2 learns from the environment where it is.
fn in_child() -> Result<ExitCode> {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?);
    if installed().is_some() {
        let token = SoftHsmToken::create(dir.path(), LABEL, &Pin::new(PIN))?;
        child.env(CONF_VARIABLE, token.conf());
    } else {
        println!("SKIPPED: softhsm2 is not installed");
    }
    let status = child
        .args(std::env::args_os().skip(1))
        .env(CHILD, "1")
        .status()?;
    let success = status.success();
    Ok(if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    let purpose =
        "core: meter-days through value lists and tariff use cases, beside the reference models";
    let arguments = match Arguments::of_process(purpose) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let outcome = match std::env::var_os(CHILD) {
        Some(_) => run(arguments).map(|()| ExitCode::SUCCESS),
        None => in_child(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("core: {error}");
        ExitCode::FAILURE
    })
}
