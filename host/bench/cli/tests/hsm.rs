// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm` as a user types it, on SoftHSM2 and on the module in memory.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use hsm_pkcs11::softhsm::in_child;
use serde_json::Value;

const PIN: &str = "1234567890";

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_smgw-bench"))
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."))
        .env("NO_COLOR", "1")
        .env("SMGW_TEST_PIN", PIN)
        .stdin(Stdio::null())
        .output()
        .expect("the program runs")
}

/// The JSON of a verb that succeeds.
fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The words of a verb of `hsm` on the token labelled "t".
fn on_token<'a>(library: &'a str, verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let head = ["hsm", verb, "--module", library, "--token", "t"];
    [&head[..], &["--pin-env", "SMGW_TEST_PIN"], more].concat()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_token_is_provisioned_shown_and_used() {
    in_child(
        "a_token_is_provisioned_shown_and_used",
        &["t"],
        PIN,
        |library| {
            let library = library.to_str().expect("a path in ASCII");
            let at = |verb: &str, more: &[&str]| run(&on_token(library, verb, more));
            let call = |verb, more: &[&str]| json(&on_token(library, verb, more));
            let first = call("provision", &["--key", "gw-tls", "--common-name", "a.smgw"]);
            let again = call("provision", &["--key", "gw-tls", "--common-name", "a.smgw"]);
            assert_eq!(first["point"], again["point"], "the key is kept");
            let info = call("info", &["--format", "json"]);
            assert_eq!(info["keys"][0]["name"], "gw-tls");
            assert_eq!(info["keys"][0]["public-key"], first["point"]);
            assert_eq!(info["keys-stay-inside"], true);
            let digest = "ab".repeat(32);
            let signed = call("sign", &["--key", "gw-tls", "--digest", &digest]);
            assert_eq!(signed["signature"].as_str().expect("hex").len(), 128);

            let speed = call(
                "bench",
                &["--seconds", "0.01", "--threads", "2", "--format", "json"],
            );
            assert_eq!(speed["rows"].as_array().expect("rows").len(), 11);
            let info = call("info", &["--format", "json"]);
            assert_eq!(info["keys"].as_array().expect("keys").len(), 1, "only ours");

            let output = at("sign", &["--key", "gw-tsl", "--digest", &digest]);
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            assert!(stderr(&output).contains("hsm info"), "{output:?}");
        },
    );
}

#[test]
fn the_selftest_of_a_token_passes_and_leaves_nothing() {
    in_child(
        "the_selftest_of_a_token_passes_and_leaves_nothing",
        &["t"],
        PIN,
        |library| {
            let library = library.to_str().expect("a path in ASCII");
            let call = |verb: &str, more: &[&str]| run(&on_token(library, verb, more));
            let output = call("selftest", &["--format", "json"]);
            assert!(output.status.success(), "{output:?}");
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(report["passed"], true, "{report}");
            println!("{} checks passed", report["checks"]);
            let info: Value =
                serde_json::from_slice(&call("info", &["--format", "json"]).stdout).expect("JSON");
            assert_eq!(info["keys"].as_array().map(Vec::len), Some(0), "{info}");
            assert_eq!(info["objects"].as_array().map(Vec::len), Some(0), "{info}");
        },
    );
}

#[test]
fn the_command_line_says_what_is_missing() {
    let table: &[(&[&str], i32, &[&str])] = &[
        (&["hsm", "info"], 2, &["--module", "--card", "--soft"]),
        (
            &["hsm", "info", "--module", "/lib.so"],
            2,
            &["--token LABEL", "discover"],
        ),
        (
            &["hsm", "info", "--module", "/lib.so", "--token", "t"],
            2,
            &["--pin-env NAME", "--pin-file FILE", "--pin-prompt"],
        ),
        (
            &[
                "hsm",
                "info",
                "--module",
                "/nowhere/lib.so",
                "--token",
                "t",
                "--pin-env",
                "SMGW_TEST_PIN",
            ],
            107,
            &["/nowhere/lib.so", "discover"],
        ),
        (&["hsm", "info", "--soft", "--card", "x"], 2, &["--card"]),
        (&["hsm", "bench", "--soft", "--seconds", "0"], 2, &["0.01"]),
        (
            &["hsm", "sign", "--soft", "--key", "k", "--digest", "12"],
            2,
            &["64 hex digits"],
        ),
    ];
    for (arguments, code, said) in table {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(*code),
            "{arguments:?}: {output:?}"
        );
        for part in *said {
            assert!(
                stderr(&output).contains(part),
                "{arguments:?}: {part} is missing in {output:?}"
            );
        }
    }
}

#[test]
fn a_module_in_memory_passes_its_selftest_as_a_table() {
    let output = run(&["hsm", "selftest", "--soft"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("makes and removes the keys conformance-sign"),
        "{text}"
    );
    assert!(
        text.lines()
            .any(|line| line.starts_with("pass     promises, brainpoolP512r1")),
        "{text}"
    );
    assert!(
        text.trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("PASS: ")),
        "{text}"
    );
}

#[test]
fn a_test_pki_is_made_that_openssl_accepts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().to_str().expect("a path in ASCII");
    for (generation, role, name) in [
        ("first", "smgw", "esmb0012345678"),
        ("second", "emt", "Example"),
    ] {
        let (out, partner) = (format!("{output}/{generation}"), format!("{role}={name}"));
        let manifest = json(&[
            "hsm",
            "provision",
            "--soft",
            "--pki",
            generation,
            "--role",
            &partner,
            "--output",
            &out,
        ]);
        let written = std::fs::read(format!("{out}/manifest.json")).expect("the manifest");
        assert_eq!(
            manifest,
            serde_json::from_slice::<Value>(&written).expect("JSON")
        );
        let partners = manifest["partners"].as_array().expect("partners");
        assert_eq!(partners.len(), 3, "SIG, ENC and TLS: {manifest}");
        for entry in partners {
            let leaf = format!("{out}/{}", entry["file"].as_str().expect("a file"));
            let verified = Command::new("openssl")
                .args(["verify", "-CAfile", &format!("{out}/root.pem")])
                .args(["-untrusted", &format!("{out}/sub-ca.pem"), &leaf])
                .output();
            let Ok(verified) = verified else {
                println!("SKIPPED: openssl is not installed");
                return;
            };
            assert!(verified.status.success(), "{leaf}: {verified:?}");
        }
    }
    let wrong: &[(&[&str], &str)] = &[
        (
            &["--pki", "third", "--role", "emt=X", "--output", "x"],
            "first and second",
        ),
        (
            &["--pki", "first", "--role", "emt", "--output", "x"],
            "ROLE=NAME",
        ),
        (
            &["--pki", "first", "--role", "abc=X", "--output", "x"],
            "gwa, gwh and emt",
        ),
        (&["--pki", "first"], "--role"),
        (&["--key", "k"], "--common-name"),
    ];
    for (arguments, said) in wrong {
        let output = run(&[&["hsm", "provision", "--soft"], *arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {output:?}");
    }
}

#[test]
fn certificates_are_linted_and_damage_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_str().expect("a path in ASCII");
    let made = run(&[
        "hsm",
        "provision",
        "--soft",
        "--pki",
        "second",
        "--role",
        "emt=Example",
        "--output",
        out,
    ]);
    assert!(made.status.success(), "{made:?}");
    let chain = format!("{out}/Example.EMT-TLS.pem");
    let root = format!("{out}/root.pem");
    let good = run(&[
        "hsm",
        "lint-cert",
        &chain,
        "--issuer",
        &root,
        "--profile",
        "EMT/TLS",
    ]);
    assert!(good.status.success(), "{good:?}");
    assert!(
        String::from_utf8_lossy(&good.stdout).contains("EMT/TLS: "),
        "{good:?}"
    );
    let other = run(&[
        "hsm",
        "lint-cert",
        &chain,
        "--profile",
        "SMGW-W/ENC",
        "--format",
        "json",
    ]);
    assert_eq!(other.status.code(), Some(100), "{other:?}");
    let judged: Value = serde_json::from_slice(&other.stdout).expect("JSON");
    assert_eq!(judged[0]["passed"], false, "{judged}");
    assert!(
        judged[0]["report"]["findings"][0]["rule"].is_string(),
        "{judged}"
    );

    let broken = folder.path().join("broken.der");
    std::fs::write(&broken, [0x30, 3, 2, 1, 1]).expect("own file");
    let broken = run(&[
        "hsm",
        "lint-cert",
        broken.to_str().expect("a path in ASCII"),
    ]);
    assert_eq!(broken.status.code(), Some(100), "{broken:?}");
    for (file, code) in [("/nowhere.pem", 106), ("Cargo.toml", 106)] {
        let output = run(&["hsm", "lint-cert", file]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    let unknown = run(&["hsm", "lint-cert", &root, "--profile", "TLS"]);
    assert!(stderr(&unknown).contains("EMT/TLS"), "{unknown:?}");
}
