// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver through a real pcscd with the emulated card in its reader: the whole suite to the end of the card's life,
//! removal in the middle of a command, and a restart of pcscd.
//!
//! libpcsclite takes pcscd's socket from the environment, so each test runs itself again in a child that has it set. The
//! child asks for what happens to card and reader by lines on its standard output.

// Each test file uses its part of it.
#[allow(dead_code)]
mod bench_card;

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use bench_card::{PIN, an_administrator, fixed_names};
use hsm_api::{
    Curve, Fault, Import, KeyId, KeyUsage, ModuleError, Pin, PublicKey, Reason, SecurityModule,
};
use hsm_card::{CardModule, CardOptions, PcscReader, readers};
use hsm_card_emulator::pcscd::READERS;
use hsm_card_emulator::process::Rig;
use hsm_soft::{PrivateKey, SoftModule};
use hsm_suite::{Effort, Suite};

const INSIDE: &str = "SMGW_TEST_CARD_INSIDE";
/// What the child's requests begin with.
const ASKS: &str = "please: ";

/// Runs `inside` in a child whose PC/SC is an isolated one with a card in the first slot; `kept` says whether the card
/// keeps its state when it is restarted.
fn with_card(test: &str, kept: bool, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = ["--state", state.to_str().unwrap()];
    let options = if kept { &state[..] } else { &[] };
    let Some(mut rig) = Rig::for_test(PIN, options) else {
        return;
    };
    let (variable, socket) = rig.pcscd.environment();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .env(variable, socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = child.stdin.take().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    for line in said.lines() {
        let line = line.unwrap();
        let Some((_, wish)) = line.split_once(ASKS) else {
            println!("{line}");
            continue;
        };
        let answer = match wish {
            "insert" => rig.card.insert(),
            "remove" => rig.card.remove(),
            "restart" => rig.restart().map_err(std::io::Error::other),
            order => rig.card.order(order),
        };
        let answer = answer.map_or_else(|why| why.to_string(), |()| DONE.to_owned());
        writeln!(answers, "{answer}").unwrap();
    }
    assert!(child.wait().unwrap().success());
}

const DONE: &str = "done";

/// Asks the parent for something, and waits until it is so or says why it is not.
fn ask(wish: impl fmt::Display) -> Result<(), String> {
    println!("\n{ASKS}{wish}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).unwrap();
    match answer.trim_end() {
        DONE => Ok(()),
        why => Err(why.to_owned()),
    }
}

fn please(wish: impl fmt::Display) {
    ask(wish).unwrap();
}

/// The card's maker, who sits at the card's own terminal: no command brings a private key into it.
struct Maker;

impl Import for Maker {
    fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError> {
        let public = PrivateKey::from_bytes(curve, scalar)?.public_key().clone();
        let usage = match usage {
            KeyUsage::Sign => "sign",
            KeyUsage::Agree => "agree",
        };
        let digits: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
        ask(format!("key {key} {curve} {usage} {digits}"))
            .map_err(ModuleError::module)
            .map(|()| public)
    }
}

fn try_to_open(reader: &str, options: CardOptions) -> Result<CardModule, ModuleError> {
    CardModule::open(Box::new(PcscReader::new(reader)), Pin::new(PIN), options)
}

fn open() -> CardModule {
    try_to_open(READERS[0], CardOptions::default()).unwrap()
}

/// Everything: given private keys, all of Wycheproof, ten thousand agreements, the end of the card's life.
#[test]
fn card_passes_the_whole_suite_through_pcscd_to_the_end_of_its_life() {
    let name = "card_passes_the_whole_suite_through_pcscd_to_the_end_of_its_life";
    with_card(name, false, || {
        assert_eq!(readers().unwrap(), READERS);
        let (public, administrator) = an_administrator();
        open().trust_administrator(&public).unwrap();
        let administrator = Some(administrator);
        let options = CardOptions {
            administrator,
            ..CardOptions::default()
        };
        let module = try_to_open(READERS[0], options).unwrap();
        let effort = Effort {
            end_of_life: true,
            ..Effort::FULL
        };
        let suite = Suite {
            module: &module,
            oracle: &SoftModule::new(),
            import: Some(&Maker),
            names: &fixed_names(),
            effort,
        };
        let mut begun = Instant::now();
        let report = suite.run(|row| {
            let took = begun.elapsed().as_secs_f64();
            println!("{}: {} in {took:.1} s", row.name, row.outcome);
            begun = Instant::now();
        });
        assert!(report.passed(), "{report}");
        let not_run: Vec<_> = report.not_run().map(ToString::to_string).collect();
        assert_eq!(not_run, Vec::<String>::new());
        println!(
            "{} checks, {} of them agreements in a row",
            report.checks(),
            effort.agreements
        );
        assert!(report.checks() > 9_000 + effort.agreements, "{report}");
    });
}

#[test]
fn the_driver_comes_back_to_a_card_that_left_or_whose_service_was_restarted() {
    let name = "the_driver_comes_back_to_a_card_that_left_or_whose_service_was_restarted";
    with_card(name, true, || {
        let module = open();
        let (key, curve) = ("gw-tls".into(), Curve::BrainpoolP256r1);
        let public = module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let digest = [7; 32];
        let sign = || module.sign_digest(&key, &digest);
        let works = || {
            let signature = sign().unwrap();
            assert!(hsm_soft::verify(&public, &digest, &signature).unwrap());
        };
        please("fault removal-mid-apdu@1");
        for _ in 0..2 {
            let error = sign().unwrap_err();
            assert_eq!(
                (error.fault(), error.reason()),
                (Fault::Transport, Reason::Gone),
                "{error}"
            );
        }
        please("insert");
        works();
        please("remove");
        please("insert");
        works();
        please("restart");
        works();
        please("fault wrong-mac@1");
        works();
        // The card is ours alone.
        for (reader, reason) in [
            ("no such reader", Reason::Gone),
            (READERS[0], Reason::NotAllowed),
        ] {
            let opened = try_to_open(reader, CardOptions::default());
            assert_eq!(opened.unwrap_err().reason(), reason);
        }
    });
}
