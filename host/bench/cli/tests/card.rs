// SPDX-License-Identifier: MIT OR Apache-2.0
//! `card apdu`, and `hsm` on a smartcard behind the isolated pcscd.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hsm_card_emulator::pcscd::READERS;
use hsm_card_emulator::process::Rig;
use serde_json::Value;

const PIN: &str = "1234567890";

/// A card in a reader of its own, as long as this lives.
struct Scene(Rig);

impl Scene {
    fn new() -> Option<Self> {
        Rig::for_test(PIN, &[]).map(Self)
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let (name, socket) = self.0.pcscd.environment();
        let mut child = Command::new(env!("CARGO_BIN_EXE_smgw-bench"))
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."))
            .env("NO_COLOR", "1")
            .env("SMGW_TEST_PIN", PIN)
            .env("SMGW_WRONG_PIN", "0987654321")
            .env(name, socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut pipe = child.stdin.take().expect("piped");
        // Who does not read has ended.
        let _ = pipe.write_all(input.as_bytes());
        drop(pipe);
        child.wait_with_output().expect("own child")
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const PROTECTED: [&str; 7] = [
    "card",
    "apdu",
    "--card",
    READERS[0],
    "--pace",
    "--pin-env",
    "SMGW_TEST_PIN",
];

#[test]
fn commands_are_explained_with_their_answers() {
    let Some(scene) = Scene::new() else { return };
    // Only one of the two readers holds a card.
    let plain = scene.run(&["card", "apdu", "-"], "00 B0 9C 00 00 # access\n\n");
    let text = stdout(&plain);
    assert!(text.contains("-> READ BINARY"), "{plain:?}");
    assert!(plain.status.success(), "{plain:?}");
    let help = stdout(&scene.run(&["card", "apdu", "--help"], ""));
    assert!(
        help.contains("--card <READER>") && !help.contains("[default: \"\"]"),
        "{help}"
    );
    let refused = scene.run(&["card", "apdu", "--card", READERS[0], "0084000008"], "");
    assert_eq!(
        refused.status.code(),
        Some(100),
        "no channel, no randomness: {refused:?}"
    );

    let challenge = [&PROTECTED[..], &["0084000010", "--format", "json"]].concat();
    let challenge = scene.run(&challenge, "");
    assert!(challenge.status.success(), "{challenge:?}");
    let lines: Vec<Value> = stdout(&challenge)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let last = lines.last().expect("a record");
    assert!(
        last["command"]
            .as_str()
            .is_some_and(|text| text.starts_with("GET CHALLENGE")),
        "{last}"
    );
    assert!(
        last["protected"].is_string(),
        "through secure messaging: {last}"
    );
    assert_eq!(last["status"], "9000");
    assert!(!stdout(&challenge).contains(PIN), "the PIN is nowhere");

    let wrong = scene.run(&["card", "apdu", "--card", READERS[0], "00zz"], "");
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn the_hsm_verbs_work_on_a_card() {
    let Some(scene) = Scene::new() else { return };
    let at = ["--card", READERS[0], "--pin-env", "SMGW_TEST_PIN"];
    let call = |verb: &str, more: &[&str]| {
        let output = scene.run(&[&["hsm", verb], &at[..], more].concat(), "");
        assert!(output.status.success(), "{verb}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let made = call("provision", &["--key", "gw-tls", "--common-name", "a.smgw"]);
    let info = call("info", &["--format", "json"]);
    assert_eq!(info["keys"][0]["public-key"], made["point"], "{info}");
    assert!(
        info["peculiarities"]
            .as_array()
            .is_some_and(|rows| rows.len() > 10),
        "{info}"
    );
    let report = call("selftest", &["--format", "json"]);
    assert_eq!(report["passed"], true, "{report}");
    println!("{} checks passed on the card", report["checks"]);
    let signed = call("sign", &["--key", "gw-tls", "--digest", &"ab".repeat(32)]);
    assert_eq!(signed["signature"].as_str().map(str::len), Some(128));
}

#[test]
fn a_wrong_pin_is_told_and_tried_once() {
    let Some(scene) = Scene::new() else { return };
    let at = ["--card", READERS[0], "--pin-env", "SMGW_WRONG_PIN"];
    let output = scene.run(&[&["hsm", "info"], &at[..]].concat(), "");
    assert_eq!(output.status.code(), Some(107), "{output:?}");
    let right = ["--card", READERS[0], "--pin-env", "SMGW_TEST_PIN"];
    let output = scene.run(&[&["hsm", "info"], &right[..]].concat(), "");
    assert!(output.status.success(), "two tries are left: {output:?}");
}
