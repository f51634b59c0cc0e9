// SPDX-License-Identifier: MIT OR Apache-2.0
//! The driver through a real pcscd with the emulated card in its reader: the suite, removal in the middle of a command,
//! and a restart of pcscd.
//!
//! libpcsclite takes pcscd's socket from the environment, so each test runs itself again in a child that has it set. The
//! child asks for what happens to card and reader by lines on its standard output.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use hsm_api::{Curve, Fault, KeyUsage, Pin, Reason, SecurityModule};
use hsm_card::{CardModule, CardOptions, PcscReader, readers};
use hsm_card_emulator::pcscd::{Pcscd, READERS, StartError};
use hsm_card_emulator::process::{CardProcess, DONE, program};
use hsm_soft::SoftModule;
use hsm_suite::{Effort, Names, Suite};

const PIN: &str = "1234567890";
const INSIDE: &str = "SMGW_TEST_CARD_INSIDE";
/// What the child's requests begin with.
const ASKS: &str = "please: ";

/// Runs `inside` in a child whose PC/SC is an isolated one with a card in the first slot.
fn with_card(test: &str, inside: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut pcscd = match Pcscd::start() {
        Ok(pcscd) => pcscd,
        Err(StartError::Absent(why)) => return println!("SKIPPED: {why}"),
        Err(error) => panic!("{error}"),
    };
    if program().is_none() {
        return println!("SKIPPED: smgw-card is not built (cargo build -p hsm-card-emulator)");
    }
    let folder = tempfile::tempdir().unwrap();
    let pin = folder.path().join("pin");
    std::fs::write(&pin, PIN).unwrap();
    let options = [
        "--pin-file".as_ref(),
        pin.as_os_str(),
        "--state".as_ref(),
        folder.path().join("state").as_os_str(),
    ]
    .map(std::ffi::OsStr::to_owned);
    let put_in = |pcscd: &Pcscd| CardProcess::start(pcscd, 0, &options).unwrap();
    let mut card = put_in(&pcscd);
    let (variable, socket) = pcscd.environment();
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
        match wish {
            "insert" => card.insert().unwrap(),
            "remove" => card.remove().unwrap(),
            "restart" => {
                drop(card);
                pcscd.restart().unwrap();
                card = put_in(&pcscd);
            }
            other => {
                card.tell(other).unwrap();
                card.until(DONE).unwrap();
            }
        }
        writeln!(answers, "done").unwrap();
    }
    assert!(child.wait().unwrap().success());
}

/// Asks the parent for something, and waits until it is so.
fn please(wish: impl fmt::Display) {
    println!("\n{ASKS}{wish}");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).unwrap();
    assert_eq!(answer, "done\n");
}

fn open() -> CardModule {
    let reader = PcscReader::new(READERS[0]);
    CardModule::open(Box::new(reader), Pin::new(PIN), CardOptions::default()).unwrap()
}

#[test]
fn card_passes_the_suite_through_pcscd() {
    with_card("card_passes_the_suite_through_pcscd", || {
        assert_eq!(readers().unwrap(), READERS);
        let module = open();
        let suite = Suite {
            module: &module,
            oracle: &SoftModule::new(),
            import: None,
            names: &Names::default(),
            effort: Effort::QUICK,
        };
        let report = suite.run(|row| println!("{}: {}", row.name, row.outcome));
        assert!(report.passed(), "{report}");
        assert!(report.checks() > 300, "{report}");
    });
}

#[test]
fn the_driver_comes_back_to_a_card_that_left_or_whose_service_was_restarted() {
    let name = "the_driver_comes_back_to_a_card_that_left_or_whose_service_was_restarted";
    with_card(name, || {
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
        let nowhere = PcscReader::new("no such reader");
        let opened = CardModule::open(Box::new(nowhere), Pin::new(PIN), CardOptions::default());
        assert_eq!(opened.unwrap_err().reason(), Reason::Gone);
        // The card is ours alone.
        let reader = PcscReader::new(READERS[0]);
        let second = CardModule::open(Box::new(reader), Pin::new(PIN), CardOptions::default());
        assert_eq!(second.unwrap_err().reason(), Reason::NotAllowed);
    });
}
