// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traces of meter lines as Wireshark shows them: SML by its own dissector, M-Bus by ours in
//! fixtures/wireshark. Needs `tshark`; says so where it is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bench_evidence::trace::{Direction, Trace};
use bench_timing::BenchClock;

/// Selection, acknowledgement, request, and an answer with every part the dissector knows: energy,
/// a maximum with storage and tariff, a date and time, an extended table, a text unit, a text value,
/// manufacturer's data.
const SELECT: &str = "680b0b6853fd5278563412ffffffffb216";
const ACK: &str = "e5";
const REQUEST: &str = "107bfd7816";
const RECORDS: &str = "04031514cd00\
     d4112d80000000\
     046d0b0bcd13\
     02fd48e608\
     02fc03485225742215\
     0d7803313233\
     0c14f4ffffff";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Runs tshark on the trace; none, with a visible remark, where it is not installed.
fn tshark(trace: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(trace)
        .args(arguments)
        .output();
    let Ok(output) = output else {
        println!("SKIPPED: tshark absent");
        return None;
    };
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{err}");
    assert!(!err.contains("Lua"), "{err}");
    Some(out)
}

fn trace(folder: &Path) -> (Trace, PathBuf) {
    let path = folder.join("run.pcapng");
    let clock = BenchClock::start();
    (Trace::create(&path, &clock).unwrap(), path)
}

#[test]
fn mbus_lines_are_dissected() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, path) = trace(folder.path());
    let tap = trace.serial("lmn1");
    let now = BenchClock::now();
    tap.tx(now, &unhex(SELECT));
    tap.rx(now, &unhex(ACK));
    tap.tx(now, &unhex(REQUEST));
    let answer = answer();
    // A line has no packets: the answer comes in two pieces.
    let (head, rest) = answer.split_at(20);
    tap.rx(now, head);
    tap.rx(now + Duration::from_millis(1), rest);
    let mut damaged = answer.clone();
    damaged[30] ^= 1;
    tap.rx(now + Duration::from_millis(2), &damaged);
    trace.close().unwrap();
    let script = format!(
        "lua_script:{}",
        repository().join("fixtures/wireshark/mbus.lua").display()
    );
    let fields = |names: &[&'static str]| -> Vec<String> {
        let mut all = vec![
            "-X".to_owned(),
            script.clone(),
            "-T".into(),
            "fields".into(),
        ];
        all.extend(["-d".to_owned(), "rtacser.data,mbus".to_owned()]);
        all.extend(["-E".into(), "aggregator=|".into()]);
        all.extend(
            names
                .iter()
                .flat_map(|name| ["-e".to_owned(), (*name).to_owned()]),
        );
        all
    };
    let show = |names: &[&'static str]| {
        let arguments = fields(names);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        tshark(&path, &arguments)
    };
    let Some(links) = show(&["_ws.col.Info", "mbus.c", "mbus.a", "mbus.ci", "mbus.fcb"]) else {
        return;
    };
    let lines: Vec<_> = links.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "SND_UD a=253 selection\t0x53\t253\t0x52\t0",
            "ACK\t\t\t\t",
            "REQ_UD2 a=253\t0x7b\t253\t\t1",
        ]
    );
    assert_eq!(lines[4], "RSP_UD a=1 data, long header\t0x08\t1\t0x72\t");
    let head = show(&[
        "mbus.id",
        "mbus.manufacturer",
        "mbus.version",
        "mbus.medium",
        "mbus.access",
    ]);
    assert_eq!(
        head.unwrap().lines().nth(4),
        Some("12345678\tSMB\t1\t0x02\t7")
    );
    let columns = [
        (
            "mbus.quantity",
            "energy|power|date and time|voltage|named by text|fabrication number|volume",
        ),
        (
            "mbus.value",
            "13440021|128|2014-03-13 11:11|2278|5410|321|no number",
        ),
        ("mbus.unit", "Wh|W||V|%RH||m3"),
        ("mbus.exponent", "0|2|0|-1|-2|0|-2"),
        ("mbus.function", "0|1|0|0|0|0|0"),
        ("mbus.storage", "0|3|0|0|0|0|0"),
        ("mbus.tariff", "0|1|0|0|0|0|0"),
        ("mbus.manufacturer_data", "c0ffee"),
    ];
    for (name, expected) in columns {
        let seen = show(&[name]).unwrap();
        assert_eq!(seen.lines().nth(4), Some(expected), "{name}");
    }
    let wrong = show(&["mbus.checksum.bad"]).unwrap();
    let wrong: Vec<_> = wrong.lines().map(|line| !line.is_empty()).collect();
    assert_eq!(wrong, [false, false, false, false, false, true]);
}

/// RSP_UD of meter SMB 12345678.
fn answer() -> Vec<u8> {
    let header = "080172785634 12a24d010207000000".replace(' ', "");
    let body = [unhex(&header), unhex(RECORDS), unhex("0fc0ffee")].concat();
    let length = body.len() as u8;
    let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let mut frame = vec![0x68, length, length, 0x68];
    frame.extend(body);
    frame.extend([sum, 0x16]);
    frame
}

#[test]
fn sml_files_are_dissected_by_wireshark_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (trace, path) = trace(folder.path());
    let payload = std::fs::read(repository().join("fixtures/sml/push.sml")).unwrap();
    let push = smgw_sml::transport::encode(&payload);
    trace
        .sml("lmn0.sml")
        .frame(BenchClock::now(), Direction::Inbound, &push);
    trace.close().unwrap();
    let arguments = [
        "-d",
        "udp.port==7259,sml",
        "-o",
        "sml.crc:TRUE",
        "-T",
        "fields",
        "-E",
        "aggregator=|",
    ];
    let fields = [
        "-e",
        "sml.messagebody",
        "-e",
        "sml.objname",
        "-e",
        "sml.value",
        "-e",
        "sml.crc.status",
    ];
    if let Some(seen) = tshark(&path, &[&arguments[..], &fields[..]].concat()) {
        // Three messages, four registers (the manufacturer, import, power, export), each checksum good, that of the file too.
        let expected = "0x0101|0x0701|0x0201\t\
            010060320101|0100010800ff|0100100700ff|0100020800ff\t\
            04534d42|534d42|69ffffffffffffffff|ffffffffffffffff|53f1f0|f1f0|01\t1|1|1|1\n";
        assert_eq!(seen, expected);
    }
}
