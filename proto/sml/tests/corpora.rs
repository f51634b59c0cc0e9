// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with captures of real meters that other decoders have read; they are not part of the
//! repository, see `SMGW_BENCH_CORPORA`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use smgw_sml::transport::{Discard, Event, Framer};
use smgw_sml::{
    Body, CrcKind, File, ListEntry, Message, MessageCrc, Quirk, Quirks, Time, Value, readings,
};
use smgw_units::Nanos;

fn corpus(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SMGW_BENCH_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let path = root.join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("SKIPPED: corpora absent ({})", path.display());
    None
}

fn lines(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.as_bytes().chunks(2).map(byte).collect()
}

/// One transmission or incident: where it began, what became of it.
#[derive(Debug, PartialEq)]
struct Transmission {
    offset: u64,
    outcome: &'static str,
    payload: Option<Vec<u8>>,
}

fn transmissions(capture: &[u8]) -> Vec<Transmission> {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    let mut note = |event: Event<'_>| match event {
        Event::File { payload, first, .. } => found.push(Transmission {
            offset: first.0,
            outcome: "ok",
            payload: Some(payload.to_vec()),
        }),
        Event::Discarded { first, reason, .. } => {
            let outcome = match reason {
                Discard::Noise => return,
                Discard::BadCrc => "crc",
                // A misaligned end is told at once here, while the oracle waits for the next start.
                Discard::Restart | Discard::Misaligned => "restart",
                Discard::BadEscape => "escape",
                Discard::Truncated => "truncated",
                Discard::TooLong => "too long",
            };
            found.push(Transmission {
                offset: first.0,
                outcome,
                payload: None,
            });
        }
    };
    for (at, byte) in capture.iter().enumerate() {
        if let Some(event) = framer.push(*byte, Nanos(at as u64)) {
            note(event);
        }
    }
    if let Some(event) = framer.flush() {
        note(event);
    }
    found
}

fn octets(bytes: Option<&[u8]>) -> Json {
    bytes.map_or(Json::Null, |bytes| json!(hex(bytes)))
}

fn neutral_value(value: &Value<'_>) -> Json {
    match value {
        Value::Octets(bytes) => json!(["o", hex(bytes)]),
        Value::Bool(flag) => json!(["b", flag]),
        Value::Signed { value, width } => json!([format!("i{width}"), value]),
        Value::Unsigned { value, width } => json!([format!("u{width}"), value]),
        Value::List(elements) => elements.iter().map(neutral_value).collect(),
    }
}

/// The neutral form of a time without the width of its number, which decoding does not keep.
fn neutral_time(time: Option<Time>) -> Json {
    match time {
        None => Json::Null,
        Some(Time::SecIndex(seconds)) => json!([1, seconds]),
        Some(Time::Timestamp(seconds)) => json!([2, seconds]),
        Some(Time::Local {
            timestamp,
            local_offset,
            season_offset,
        }) => json!([3, [timestamp, local_offset, season_offset]]),
    }
}

/// Drops the widths from a time of the oracle; a bare number is a seconds index.
fn without_widths(time: &Json) -> Json {
    match time.as_array().map(Vec::as_slice) {
        Some([Json::String(_), seconds]) => json!([1, seconds]),
        Some([tag, seconds]) => json!([tag[1], seconds[1]]),
        _ => Json::Null,
    }
}

fn neutral_entry(entry: &ListEntry<'_>) -> Json {
    json!({
        "obis": hex(entry.name),
        "status": entry.status,
        "time": neutral_time(entry.time),
        "unit": entry.unit,
        "scaler": entry.scaler,
        "value": entry.value.as_ref().map(neutral_value),
        "signature": octets(entry.signature),
    })
}

fn neutral_message(message: &Message<'_>) -> Json {
    let crc = match message.crc {
        MessageCrc::Good(CrcKind::X25) => "x25",
        MessageCrc::Good(CrcKind::Kermit) => "kermit",
        MessageCrc::Wrong(_) => "wrong",
    };
    let mut neutral = json!({ "crc": crc, "transaction": hex(message.transaction_id) });
    let fields = match &message.body {
        Body::OpenResponse(open) => json!({
            "tag": "0101",
            "body": [
                open.codepage.map(|bytes| json!(["o", hex(bytes)])),
                open.client_id.map(|bytes| json!(["o", hex(bytes)])),
                json!(["o", hex(open.request_file_id)]),
                json!(["o", hex(open.server_id)]),
                neutral_time(open.reference_time),
                open.version,
            ],
        }),
        Body::ListResponse(list) => json!({
            "tag": "0701",
            "client": octets(list.client_id),
            "server": hex(list.server_id),
            "list_name": octets(list.list_name),
            "sensor_time": neutral_time(list.sensor_time),
            "signature": octets(list.signature),
            "gateway_time": neutral_time(list.gateway_time),
            "entries": list.entries.iter().map(neutral_entry).collect::<Vec<_>>(),
        }),
        Body::CloseResponse(close) => json!({
            "tag": "0201",
            "body": [close.signature.map(|bytes| json!(["o", hex(bytes)]))],
        }),
        Body::Other { tag, .. } => json!({ "tag": format!("{tag:04x}") }),
    };
    let target = neutral.as_object_mut().unwrap();
    target.extend(fields.as_object().unwrap().clone());
    neutral
}

/// The oracle's message with the widths decoding does not keep taken out.
fn narrowed(message: &Json) -> Json {
    let mut message = message.clone();
    for key in ["sensor_time", "gateway_time"] {
        if let Some(time) = message.get_mut(key) {
            *time = without_widths(time);
        }
    }
    if message["tag"] == "0101" {
        message["body"][4] = without_widths(&message["body"][4]);
        message["body"][5] = message["body"][5][1].clone();
    }
    if let Some(entries) = message.get_mut("entries").and_then(Json::as_array_mut) {
        for entry in entries {
            entry["time"] = without_widths(&entry["time"]);
        }
    }
    message
}

#[test]
fn libsml_captures_agree() {
    let Some(root) = corpus("sml-libsml-testing") else {
        return;
    };
    let frames = lines(&root.join("frames.jsonl"));
    let neutral = lines(&root.join("neutral.jsonl"));
    let mut names: Vec<_> = fs::read_dir(root.join("captures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    println!(
        "{:42} {:>5} {:>9} {:>7} {:>7}",
        "capture", "files", "incidents", "entries", "agree"
    );
    let (mut files, mut entries, mut disagreements) = (0, 0, Vec::new());
    for name in &names {
        let capture = fs::read(root.join("captures").join(name)).unwrap();
        let found = transmissions(&capture);
        let expected: Vec<_> = frames
            .iter()
            .filter(|frame| frame["file"] == name.as_str())
            .map(|frame| {
                (
                    frame["off"].as_u64().unwrap(),
                    frame["status"].as_str().unwrap(),
                )
            })
            .collect();
        let got: Vec<_> = found.iter().map(|one| (one.offset, one.outcome)).collect();
        if got != expected {
            disagreements.push(format!(
                "{name}: transmissions {got:?} instead of {expected:?}"
            ));
        }
        let mut oracle = neutral.iter().filter(|file| file["file"] == name.as_str());
        let (mut good, mut count, mut agree) = (0, 0, 0);
        for one in &found {
            let Some(payload) = &one.payload else {
                continue;
            };
            good += 1;
            let Some(oracle) = oracle.next() else {
                disagreements.push(format!(
                    "{name}: file at {} unknown to the oracle",
                    one.offset
                ));
                continue;
            };
            let file = match File::parse(payload, Quirks::ALL) {
                Ok(file) => file,
                Err(error) => {
                    disagreements.push(format!("{name} at {}: {error}", one.offset));
                    continue;
                }
            };
            let encoded = file.encode();
            assert_eq!(
                File::parse(&encoded, Quirks::ALL).as_ref(),
                Ok(&file),
                "{name}"
            );
            let got: Vec<_> = file.messages.iter().map(neutral_message).collect();
            let expected: Vec<_> = oracle["messages"]
                .as_array()
                .unwrap()
                .iter()
                .map(narrowed)
                .collect();
            let listed = file.lists().map(|list| list.entries.len()).sum::<usize>();
            count += listed;
            if got == expected {
                agree += listed;
            } else {
                disagreements.push(format!(
                    "{name} at {}: {got:?} instead of {expected:?}",
                    one.offset
                ));
            }
            assert!(readings(&file).count() <= listed);
        }
        let incidents = found.len() - good;
        println!("{name:42} {good:5} {incidents:9} {count:7} {agree:7}");
        files += good;
        entries += count;
    }
    println!("{:42} {files:5} {:9} {entries:7}", "total", "");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

#[test]
fn smllib_frames_agree() {
    let Some(root) = corpus("sml-smllib") else {
        return;
    };
    let frames: Json =
        serde_json::from_str(&fs::read_to_string(root.join("frames.json")).unwrap()).unwrap();
    println!(
        "{:20} {:>9} {:>7} {:>8}",
        "frame", "transport", "intact", "entries"
    );
    for frame in frames.as_array().unwrap() {
        let name = frame["name"].as_str().unwrap();
        let line = unhex(frame["hex"].as_str().unwrap());
        let mut framer = Framer::new();
        let mut verdict = None;
        for (at, byte) in line.iter().enumerate() {
            if let Some(Event::File { payload, crc, .. }) = framer.push(*byte, Nanos(at as u64)) {
                let file = File::parse(payload, Quirks::ALL).unwrap();
                let entries = file.lists().map(|list| list.entries.len()).sum::<usize>();
                verdict = Some((crc, file.is_intact(), entries));
            }
        }
        match verdict {
            Some((crc, intact, entries)) => {
                println!("{name:20} {:>9} {intact:7} {entries:8}", format!("{crc:?}"));
                // The published frames 65 and 76 had their serial numbers replaced.
                let anonymised = ["test_frames_65", "test_frames_76"].contains(&name);
                assert_eq!(intact, !anonymised, "{name}");
                let holley = name == "test_frames_154";
                assert_eq!(crc == CrcKind::Kermit, holley, "{name}");
                if holley {
                    let strict = Quirks::ALL.without(Quirk::KermitCrc);
                    let mut framer = Framer::with(strict, Framer::DEFAULT_LIMIT);
                    let accepted = line.iter().any(|byte| {
                        matches!(framer.push(*byte, Nanos(0)), Some(Event::File { .. }))
                    });
                    assert!(!accepted);
                }
            }
            None => println!("{name:20} {:>9}", "none"),
        }
    }
}
