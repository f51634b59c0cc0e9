// SPDX-License-Identifier: MIT OR Apache-2.0
//! The administrator's place: sets of profiles over the local socket, status, metrics, and exports that OpenSSL verifies
//! (catalogue rows ADM-02, LOG-07).

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::rig::{Gateway, Rig, SmlMeter, refusing_address, until};
use crate::{on_rig, sml_meter};

const METER: &str = "1smb0000000001";
const SYSTEM_LOG: &str = "/smgw/srv/v1/exp/log";

/// Runs `smgw` with these arguments and the rig's configuration.
fn smgw(rig: &Rig, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smgw"));
    command.args(arguments).args(["--config", "smgw.toml"]);
    command.current_dir(&rig.folder).output().unwrap()
}

/// What it prints when it succeeds.
fn told(rig: &Rig, arguments: &[&str]) -> String {
    let output = smgw(rig, arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {text}{said}");
    text
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A set for the rig's meter and users, with more tables at its end.
fn set(rig: &Rig, more: &str) -> String {
    let pem = |name: &str| std::fs::read_to_string(rig.folder.join(name)).unwrap();
    format!(
        "schema = \"smgw.profiles/1\"\n[[meter]]\nmeter = \"{METER}\"\nregisters = [\"1-0:1.8.0*255\"]\n\
         [[user]]\nname = \"consumer\"\nrole = {{ consumer = {{ meters = [\"{METER}\"] }} }}\n\
         certificate = \"\"\"\n{}\"\"\"\n\
         [[user]]\nname = \"technician\"\nrole = \"technician\"\ncertificate = \"\"\"\n{}\"\"\"\n{more}",
        pem("consumer.pem"),
        pem("technician.pem"),
    )
}

/// A gateway with a local socket.
fn start(rig: &Rig, meters: &str) -> Gateway {
    let path = rig.configure(900, meters, refusing_address());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "[local]\nsocket = \"smgw.sock\"\n").unwrap();
    Gateway::start(&path, None)
}

/// Messages of the system log as the technician reads it.
fn messages(rig: &Rig, gateway: &Gateway) -> Vec<String> {
    let log = json(&rig.get(gateway.han, "technician", SYSTEM_LOG));
    let entries = log["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn sets_of_profiles_are_taken_or_refused_as_a_whole() {
    let test = "local::sets_of_profiles_are_taken_or_refused_as_a_whole";
    on_rig(test, |rig| {
        let meter = SmlMeter::start(METER.parse().unwrap());
        let gateway = start(&rig, &sml_meter(METER, &meter.port));
        let submit = |document: &str| {
            std::fs::write(rig.folder.join("set.toml"), document).unwrap();
            let output = smgw(&rig, &["submit", "set.toml"]);
            let answer = json(&String::from_utf8(output.stdout).unwrap());
            (output.status.code(), answer)
        };
        assert_eq!(
            json(&told(&rig, &["profiles"]))["versions"],
            Value::Array(vec![])
        );
        let (code, taken) = submit(&set(&rig, ""));
        assert_eq!((code, &taken["number"]), (Some(0), &1.into()), "{taken}");
        assert_eq!(taken["active"], true);

        let strange = "[[meter]]\nmeter = \"1smb0000009999\"\nregisters = [\"1-0:1.8.0*255\"]\n";
        let user = "[[user]]\nname = \"x\"\nrole = \"technician\"\ncertificate = \"none\"\n";
        let good = set(&rig, "");
        for (document, reason) in [
            (good.replace("profiles/1", "profiles/2"), "smgw.profiles/2"),
            (good.replacen('\n', "\nsurprise = 1\n", 1), "surprise"),
            (set(&rig, strange), "1smb0000009999"),
            (set(&rig, user), "certificate"),
            ("[[".into(), "TOML"),
        ] {
            let (code, answer) = submit(&document);
            let refused = answer["refused"].as_str().unwrap();
            assert_eq!(code, Some(1), "{answer}");
            assert!(refused.contains(reason), "{refused}");
        }

        let profiles = json(&told(&rig, &["profiles"]));
        let versions = profiles["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1, "{profiles}");
        let status = json(&told(&rig, &["status"]));
        assert_eq!(status["profiles"], 1);
        assert_eq!(status["state"], "measuring");
        assert_eq!(status["meters"][0]["id"], METER);
        rig.get(gateway.han, "consumer", "/smgw/con/v1/rts/meters");
        let messages = until("all is taken down", || {
            let messages = messages(&rig, &gateway);
            let refused = |told: &&String| told.starts_with("profile gateway refused: ");
            (messages.iter().filter(refused).count() == 5).then_some(messages)
        });
        let active = messages
            .iter()
            .filter(|told| *told == "profile gateway version 1 active");
        assert_eq!(active.count(), 1, "{messages:?}");
    });
}

/// `prometheus_client`'s parser of the OpenMetrics text, which knows nothing of ours.
const PARSER: &str = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
for family in parse(sys.stdin.read()): print(family.name, family.type, len(family.samples))";

#[test]
fn a_foreign_parser_reads_the_metrics() {
    let test = "local::a_foreign_parser_reads_the_metrics";
    on_rig(test, |rig| {
        let _gateway = start(&rig, "");
        let metrics = told(&rig, &["metrics"]);
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(metrics.contains("\nsmgw_profile_set 0\n"), "{metrics}");
        let python = std::env::var_os("SMGW_BENCH_PYTHON").unwrap_or_else(|| "python3".into());
        let known = Command::new(&python)
            .args(["-c", "import prometheus_client"])
            .stderr(Stdio::null())
            .status();
        if !known.is_ok_and(|status| status.success()) {
            println!("SKIPPED: the Python package prometheus_client is not installed");
            return;
        }
        let file = rig.folder.join("metrics");
        std::fs::write(&file, &metrics).unwrap();
        let output = Command::new(&python)
            .args(["-c", PARSER])
            .stdin(std::fs::File::open(file).unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{metrics}");
        let families = String::from_utf8(output.stdout).unwrap();
        assert!(
            families.contains("smgw_uptime_seconds gauge 1"),
            "{families}"
        );
        assert!(families.contains("smgw_entries_kept counter"), "{families}");
    });
}

#[test]
fn openssl_verifies_an_export_beside_the_running_gateway() {
    let test = "local::openssl_verifies_an_export_beside_the_running_gateway";
    on_rig(test, |rig| {
        let gateway = start(&rig, "");
        let log = json(&rig.get(gateway.han, "technician", SYSTEM_LOG));
        let last = log["entries"].as_array().unwrap().last().unwrap();
        let at = last["timestamp"].as_str().unwrap();
        let range = [
            "log", "export", "--book", "system", "--from", at, "--to", at,
        ];
        let printed = told(&rig, &range);
        assert_eq!(printed.trim(), "./system-0001.json");
        let part = std::fs::read_to_string(rig.folder.join("system-0001.json")).unwrap();
        // Both ends count, so the entry itself is there.
        let entries = json(&part)["entries"].clone();
        assert!(entries.as_array().unwrap().contains(last), "{part}");

        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            let output = command.args(arguments).current_dir(&rig.folder).output();
            output.unwrap().status.success()
        };
        // The certificate is the one everybody pinned.
        assert_eq!(
            std::fs::read(rig.folder.join("system.der")).unwrap(),
            rig.gateway.as_ref()
        );
        let key = [
            "x509",
            "-in",
            "gateway.pem",
            "-noout",
            "-pubkey",
            "-out",
            "key.pem",
        ];
        assert!(openssl(&key));
        let verify = |document: &Path| {
            let document = document.to_str().unwrap();
            let signature = ["-signature", "system-0001.sig", document];
            openssl(&[&["dgst", "-sha256", "-verify", "key.pem"][..], &signature].concat())
        };
        assert!(verify(Path::new("system-0001.json")));
        std::fs::write(
            rig.folder.join("changed"),
            part.replace("SUCCESS", "FAILURE"),
        )
        .unwrap();
        assert!(!verify(Path::new("changed")));
    });
}
