// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with captures of real meters that other decoders have read; they are not part of the
//! repository, see [`test_material::corpus`].

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use smgw_sml::transport::{Discard, Event, Framer};
use smgw_sml::{
    Body, CrcKind, Elements, File, Int, Kind, ListEntry, Message, MessageCrc, Quirk, Quirks, Time,
    TimeChoice, Value, elements, readings,
};
use smgw_units::Nanos;
use test_material::{corpus, hex, unhex};

fn lines(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// One transmission or incident: where it is, what became of it.
#[derive(Debug, PartialEq)]
struct Transmission {
    offset: u64,
    bytes: usize,
    fill: Option<u8>,
    outcome: &'static str,
    payload: Option<Vec<u8>>,
}

fn transmissions(capture: &[u8]) -> Vec<Transmission> {
    let mut framer = Framer::new();
    let mut found = Vec::new();
    let mut note = |event: Event<'_>| match event {
        Event::File {
            payload,
            offset,
            bytes,
            fill,
            ..
        } => found.push(Transmission {
            offset,
            bytes,
            fill: Some(fill),
            outcome: "ok",
            payload: Some(payload.to_vec()),
        }),
        Event::Discarded {
            offset,
            bytes,
            reason,
            ..
        } => {
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
                offset,
                bytes,
                fill: None,
                outcome,
                payload: None,
            });
        }
    };
    let mut rest = capture;
    while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
        note(event);
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
        Value::List(elements) => elements.iter().map(|it| neutral_value(&it)).collect(),
    }
}

/// The neutral form of a time: as sent, with all widths.
fn neutral_time(time: Option<Time>) -> Json {
    let Some(time) = time else {
        return Json::Null;
    };
    let seconds = json!([format!("u{}", time.seconds.width), time.seconds.value]);
    let minutes = |it: Int<i16>| json!([format!("i{}", it.width), it.value]);
    let content = match time.offsets {
        Some(offsets) => json!([seconds, minutes(offsets.zone), minutes(offsets.season)]),
        None => seconds,
    };
    let tag = match time.choice {
        TimeChoice::Bare => return content,
        TimeChoice::SecIndex => 1,
        TimeChoice::Timestamp => 2,
        TimeChoice::Local => 3,
    };
    json!([["u1", tag], content])
}

/// The next element of the flat view of `payload` and all below it, with null for an absent one.
fn raw_tree(payload: &[u8], elements: &mut Elements<'_>) -> Json {
    let element = elements.next().unwrap().unwrap();
    match element.kind {
        Kind::Octets if element.length == 0 => Json::Null,
        Kind::List => (0..element.length)
            .map(|_| raw_tree(payload, elements))
            .collect(),
        Kind::End => json!("end"),
        Kind::Octets | Kind::Bool | Kind::Signed | Kind::Unsigned => {
            neutral_value(&Value::parse(&payload[element.offset..]).unwrap().0)
        }
    }
}

fn neutral_entry(entry: &ListEntry<'_>) -> Json {
    json!({
        "obis": hex(entry.name),
        "status": entry.status.map(|status| status.value),
        "time": neutral_time(entry.time),
        "unit": entry.unit,
        "scaler": entry.scaler,
        "value": entry.value.as_ref().map(neutral_value),
        "signature": octets(entry.signature),
    })
}

/// The neutral form of a message, and of one that is no list as the flat view gives it.
fn neutral_message(message: &Message<'_>, raw: &Json) -> Json {
    let crc = match message.crc {
        MessageCrc::Good(CrcKind::X25) => "x25",
        MessageCrc::Good(CrcKind::Kermit) => "kermit",
        MessageCrc::Wrong(_) => "wrong",
    };
    let mut neutral = json!({ "crc": crc, "transaction": hex(message.transaction_id) });
    let fields = match &message.body {
        Body::ListResponse(list) => json!({
            "tag": "0701",
            "client": octets(list.client_id),
            "server": hex(list.server_id),
            "list_name": octets(list.list_name),
            "sensor_time": neutral_time(list.sensor_time),
            "signature": octets(list.signature),
            "gateway_time": neutral_time(list.gateway_time),
            "entries": list.entries.iter().map(|entry| neutral_entry(&entry)).collect::<Vec<_>>(),
        }),
        body => json!({ "tag": format!("{:04x}", body.tag()), "body": raw[3][1] }),
    };
    let target = neutral.as_object_mut().unwrap();
    target.extend(fields.as_object().unwrap().clone());
    neutral
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
    let (mut files, mut entries, mut identical) = (0, 0, 0);
    let mut disagreements = Vec::new();
    for name in &names {
        let capture = fs::read(root.join("captures").join(name)).unwrap();
        let found = transmissions(&capture);
        let of_this = frames.iter().filter(|frame| frame["file"] == name.as_str());
        let mut compared = 0;
        for (frame, one) in of_this.clone().zip(&found) {
            let same = frame["off"] == one.offset && frame["status"] == one.outcome;
            let same_form = one.outcome != "ok"
                || frame["len"] == one.bytes
                    && frame["pad"] == json!(one.fill)
                    && frame["payload"] == one.payload.as_deref().map(hex).unwrap_or_default();
            if !same || !same_form {
                disagreements.push(format!("{name}: {one:?} instead of {frame:?}"));
            }
            compared += 1;
        }
        assert_eq!(
            (compared, of_this.count()),
            (found.len(), found.len()),
            "{name}"
        );
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
            identical += usize::from(file.encode() == *payload);
            let mut walk = elements(payload);
            let got: Vec<_> = file
                .messages
                .iter()
                .map(|message| {
                    let raw = raw_tree(payload, &mut walk);
                    assert_eq!(
                        walk.by_ref().take(message.form.fill).count(),
                        message.form.fill
                    );
                    neutral_message(message, &raw)
                })
                .collect();
            assert_eq!(walk.next(), None);
            let expected = oracle["messages"].as_array().unwrap().clone();
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
    println!("re-encoded byte for byte: {identical} of {files}");
    assert_eq!(identical, files);
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

/// Long recordings of one meter: known numbers of files, each encoded as it was sent.
#[test]
fn long_recordings_agree() {
    let Some(root) = corpus("sml-smartmeter-obis") else {
        return;
    };
    let known = [
        ("ttyUSB0.dump", 878, 0),
        ("ttyUSB0-2.dump", 2, 1),
        ("ttyUSB0-3.dump", 518, 1),
    ];
    for (name, files, truncated) in known {
        // Not every copy of the set has all recordings.
        let Ok(capture) = fs::read(root.join(name)) else {
            println!("SKIPPED: corpora absent ({name})");
            continue;
        };
        let found = transmissions(&capture);
        let count = |outcome| found.iter().filter(|one| one.outcome == outcome).count();
        println!(
            "{name}: {} files, {} truncated",
            count("ok"),
            count("truncated")
        );
        assert_eq!(
            (count("ok"), count("truncated")),
            (files, truncated),
            "{name}"
        );
        for payload in found.iter().filter_map(|one| one.payload.as_ref()) {
            let file = File::parse(payload, Quirks::ALL).unwrap();
            assert!(file.is_intact());
            assert_eq!(&file.encode(), payload);
        }
    }
}

/// The sign of the power and the status word agree in every list, except in the capture of a meter known
/// for the error.
#[test]
fn signs_and_status_words_agree() {
    let Some(root) = corpus("sml-libsml-testing") else {
        return;
    };
    let mut lists = 0;
    for capture in fs::read_dir(root.join("captures")).unwrap() {
        let capture = capture.unwrap();
        let name = capture.file_name().into_string().unwrap();
        for one in transmissions(&fs::read(capture.path()).unwrap()) {
            let payload = one.payload.unwrap_or_default();
            let file = File::parse(&payload, Quirks::ALL).unwrap();
            for list in file.lists() {
                let (Some(status), Some(power)) = (
                    list.meter_status(),
                    list.readings(Quirks::ALL)
                        .find(|it| it.obis.0 == [1, 0, 16, 7, 0, 255]),
                ) else {
                    continue;
                };
                lists += 1;
                assert!(status.basic_meter(), "{name}");
                let known = name == "DZG_DVS-7412.2_jmberg.bin";
                assert_eq!(
                    status.export() == (power.value.mantissa < 0),
                    !known,
                    "{name}"
                );
                assert_eq!(
                    list.wrapped_power().map(|it| it.meant),
                    known.then_some(35_624)
                );
            }
        }
    }
    println!("{lists} lists with status and power");
    assert!(lists > 0);
}

/// Each bit of each byte of each good transmission, changed alone: no file with all its checksums right.
#[test]
fn no_damage_goes_unnoticed() {
    let Some(root) = corpus("sml-libsml-testing") else {
        return;
    };
    let (mut mutations, mut accepted) = (0, 0);
    for capture in fs::read_dir(root.join("captures")).unwrap() {
        let capture = fs::read(capture.unwrap().path()).unwrap();
        for one in transmissions(&capture) {
            let Some(payload) = &one.payload else {
                continue;
            };
            let start = one.offset as usize;
            let mut line = capture[start..start + one.bytes].to_vec();
            let mut framer = Framer::new();
            for at in 0..line.len() {
                for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                    line[at] ^= flip;
                    mutations += 1;
                    let mut rest = &line[..];
                    while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
                        let Event::File { payload, crc, .. } = event else {
                            continue;
                        };
                        // One in 65536 fits the other checksum by chance; then the messages do not.
                        accepted += 1;
                        assert_eq!(crc, CrcKind::Kermit);
                        let intact =
                            File::parse(payload, Quirks::ALL).is_ok_and(|file| file.is_intact());
                        assert!(!intact, "byte {at} flipped by {flip:02x} went unnoticed");
                    }
                    framer.flush();
                    line[at] ^= flip;
                }
            }
            // The same in a payload whose transmission is right.
            let mut damaged = payload.clone();
            for at in 0..damaged.len() {
                damaged[at] ^= 0x01;
                let good = File::parse(&damaged, Quirks::ALL).is_ok_and(|file| file.is_intact());
                assert!(!good, "byte {at} of a payload");
                damaged[at] ^= 0x01;
            }
        }
    }
    println!("{mutations} mutations, {accepted} of them with a fitting transport checksum");
}
