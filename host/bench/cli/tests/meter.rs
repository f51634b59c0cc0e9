// SPDX-License-Identifier: MIT OR Apache-2.0
//! `meter sim` and `meter read` as a user types them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smgw-bench"));
    command
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.."))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    bench(arguments).output().expect("the program runs")
}

/// A simulator, ended when dropped.
struct Sim {
    child: Child,
    path: String,
}

impl Sim {
    fn start(arguments: &[&str]) -> Self {
        let mut all = vec!["meter", "sim"];
        all.extend(arguments);
        let mut child = bench(&all)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        let mut path = String::new();
        let output = child.stdout.take().expect("piped");
        // The path is said once the line is there.
        BufReader::new(output)
            .read_line(&mut path)
            .expect("the path to open");
        let path = path.trim().to_owned();
        Self { child, path }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_played_meter_is_read_by_the_other_verb() {
    let sim = Sim::start(&["heat"]);
    let options = [
        "--once",
        "--format",
        "json",
        "--protocol",
        "mbus",
        "--address",
        "5",
    ];
    let mut arguments = vec!["meter", "read", &sim.path];
    arguments.extend(options);
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let read: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&read["protocol"], &read["baud"]),
        (&"mbus".into(), &2400.into())
    );
    let rows = read["registers"].as_array().expect("registers");
    let value = |register: &str| {
        let row = rows.iter().find(|row| row["register"] == register);
        row.map(|row| (row["value"].as_str(), row["unit"].as_str()))
    };
    assert_eq!(value("6-0:1.0.0*255"), Some((Some("12345000"), Some("Wh"))));
    assert_eq!(value("6-0:2.0.0*255"), Some((Some("987.654"), Some("m³"))));
    assert_eq!(value("flow temperature"), Some((Some("65.3"), Some("°C"))));
}

#[test]
fn bytes_on_standard_output_are_counted_out_without_waiting() {
    let output = run(&[
        "meter", "sim", "p1", "--stdout", "--fast", "--count", "3", "--quiet",
    ]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("ASCII");
    assert_eq!(text.matches("/SMB5").count(), 3);
    assert_eq!(text.matches("1-0:1.8.1(000123.456*kWh)").count(), 3);
}

#[test]
fn wrong_words_are_answered_with_the_right_ones() {
    let fault = run(&["meter", "sim", "heat", "--fault", "slient"]);
    assert_eq!(fault.status.code(), Some(2));
    let profile = run(&["meter", "sim", "no-such-meter"]);
    assert_eq!(profile.status.code(), Some(106));
    let told = String::from_utf8_lossy(&profile.stderr).into_owned();
    assert!(told.contains("meter profiles"), "{told}");
    let port = run(&["meter", "read", "/dev/no-such-port"]);
    assert_eq!(port.status.code(), Some(107));
    let stdout = run(&["meter", "sim", "heat", "--stdout"]);
    assert_eq!(stdout.status.code(), Some(2));
    let listed = run(&["meter", "sim", "--list-faults"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains("stuck-counter"));
}
