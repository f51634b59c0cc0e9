// SPDX-License-Identifier: MIT OR Apache-2.0
//! A terminal that shares no code with us: PACE and secure messaging of OpenPACE's libeac (TR-03110-3) against the card.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hsm_api::{Curve, Import, KeyUsage, Pin};
use hsm_card::CardProfile;
use hsm_card_emulator::fault::Fault;
use hsm_card_emulator::randomness::System;
use hsm_card_emulator::state::{State, Volatile};
use hsm_card_emulator::{Card, SharedCard};
use sha2::{Digest, Sha256};

const PIN: &str = "1234567890";

/// Compiles the terminal; none where libeac is not installed.
fn compiled(folder: &Path) -> Option<PathBuf> {
    for (header, package) in [
        ("/usr/include/eac/eac.h", "libeac-dev"),
        ("/usr/include/openssl/evp.h", "libssl-dev"),
    ] {
        if !Path::new(header).is_file() {
            println!(
                "SKIPPED: {header} is missing; install the package {package} (`cargo xtask setup`)"
            );
            return None;
        }
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign_terminal/terminal.c");
    let program = folder.join("terminal");
    let compiler = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([&program, &source])
        .args(["-leac", "-lcrypto"])
        .output()
        .unwrap();
    assert!(compiler.status.success(), "{compiler:?}");
    Some(program)
}

fn card() -> SharedCard {
    let profile = CardProfile::tr03109_2_assumed();
    let state = State::fresh(&profile, "00", Pin::new(PIN));
    SharedCard::new(Card::new(profile, state, Volatile, System))
}

/// Lets the terminal speak with the card; gives status and data of each command, or what the terminal says is wrong.
fn speak(
    program: &Path,
    card: &SharedCard,
    pin: &str,
    commands: &[&str],
) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut terminal = Command::new(program)
        .arg(pin)
        .args(commands)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = terminal.stdin.take().unwrap();
    let mut said = Vec::new();
    for line in BufReader::new(terminal.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.strip_prefix("= ") {
            Some(told) => {
                let (status, data) = told.split_once(' ').unwrap();
                said.push((status.to_owned(), unhex(data)));
            }
            None => writeln!(answers, "{}", hex(&card.transmit(&unhex(&line)))).unwrap(),
        }
    }
    let mut wrong = String::new();
    terminal
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut wrong)
        .unwrap();
    match terminal.wait().unwrap().success() {
        true => Ok(said),
        false => Err(wrong),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_terminal_of_openpace_opens_a_channel_and_uses_a_key_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path()) else {
        return;
    };
    let card = card();
    let curve = Curve::BrainpoolP256r1;
    let public = card
        .import_key(&"gw-sig".into(), curve, KeyUsage::Sign, &[0x2a; 32])
        .unwrap();
    let digest = Sha256::digest(b"asked for by a terminal of others");
    let sign = format!("002a9e9a:{}:00", hex(&digest));
    let commands = [
        // Without data, with data, with both; data of whole blocks; a refusal.
        "00840000::10",
        "002241b6:840112:",
        &sign,
        "00a4020c:ffff:",
        "00840000::0f",
    ];
    // Values have leading zeros now and then, which every part must keep.
    for _ in 0..20 {
        let said = speak(&program, &card, PIN, &commands).unwrap();
        let told: Vec<_> = said
            .iter()
            .map(|(status, data)| (status.as_str(), data.len()))
            .collect();
        assert_eq!(
            told,
            [
                ("9000", 16),
                ("9000", 0),
                ("9000", 64),
                ("6a82", 0),
                ("9000", 15)
            ]
        );
        assert!(hsm_soft::verify(&public, &digest, &said[2].1).unwrap());
    }
}

#[test]
fn what_one_side_does_wrong_the_other_notices() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path()) else {
        return;
    };
    let card = card();
    let commands = ["00840000::10"];
    let refused = speak(&program, &card, "0987654321", &commands).unwrap_err();
    assert!(refused.contains("refuses the token"), "{refused}");
    assert_eq!(card.with(|card| card.state().tries_left), 2);
    for fault in [Fault::WrongMac, Fault::WrongCounter] {
        let card = self::card();
        card.with(|card| card.plan(fault.at(1)));
        let refused = speak(&program, &card, PIN, &commands).unwrap_err();
        assert!(refused.contains("wrong checksum"), "{refused}");
    }
}
