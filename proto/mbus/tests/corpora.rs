// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with frames of real meters that libmbus and an independent decoder have read; they are
//! not part of the repository, see `SMGW_BENCH_CORPORA`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use smgw_mbus::{
    ApplicationError, Body, Error, Function, Measure, Quantity, Record, Records, Telegram, Value,
};

fn corpus() -> Option<PathBuf> {
    let root = std::env::var_os("SMGW_BENCH_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let path = root.join("mbus-rscada");
    if path.is_dir() {
        return Some(path);
    }
    println!("SKIPPED: corpora absent ({})", path.display());
    None
}

fn frames(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut frames: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hex"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let byte = |word: &str| u8::from_str_radix(word, 16);
            let bytes = text.split_whitespace().map(byte).collect::<Result<_, _>>();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            // Some files are no hex dump at all; they stand for an empty line.
            (name, bytes.unwrap_or_default())
        })
        .collect();
    frames.sort();
    frames
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn function(record: &Record<'_>) -> u8 {
    match record.function {
        Function::Instantaneous => 0,
        Function::Maximum => 1,
        Function::Minimum => 2,
        Function::DuringError => 3,
    }
}

fn value(record: &Record<'_>) -> Json {
    let bcd = (9..=12).contains(&record.data_field) || record.data_field == 14;
    let digits = || hex(&record.data.iter().rev().copied().collect::<Vec<_>>());
    match record.value {
        Value::None => Json::Null,
        Value::Integer(number) if bcd => json!(["bcd", number, digits()]),
        Value::Integer(number) => json!(["int", number]),
        Value::Digits(_) => json!(["bcd", null, digits()]),
        Value::Real(number) => json!(["real", f64::from(number)]),
        Value::Text(text) => json!(["str", text.to_string()]),
        Value::Date(date) => json!(["date", [date.year, date.month, date.day]]),
        Value::DateTime(at) => json!(["dt", {
            "invalid": u8::from(at.invalid),
            "summer": u8::from(at.summer),
            "y": at.date.year,
            "hy": at.century,
            "m": at.date.month,
            "d": at.date.day,
            "h": at.time.hour,
            "mi": at.time.minute,
        }]),
        Value::Time(_) | Value::Bytes(_) => json!(["bytes", hex(record.data)]),
    }
}

/// Unit and scale in the oracle's words.
fn unit(record: &Record<'_>) -> Json {
    let vib = &record.vib;
    let (unit, scale) = match vib.measure {
        Measure::WattHour => ("Wh", json!(vib.exponent)),
        Measure::Joule => ("J", json!(vib.exponent)),
        Measure::CubicMetre => ("m^3", json!(vib.exponent)),
        Measure::CubicMetrePerHour => ("m^3/h", json!(vib.exponent)),
        Measure::Watt => ("W", json!(vib.exponent)),
        Measure::Celsius => ("C", json!(vib.exponent)),
        Measure::Kelvin => ("K", json!(vib.exponent)),
        Measure::Volt => ("V", json!(vib.exponent)),
        Measure::Ampere => ("A", json!(vib.exponent)),
        Measure::HeatCostUnit => ("hca", json!(vib.exponent)),
        Measure::Second => ("s", json!(["T", 0])),
        Measure::Minute => ("s", json!(["T", 1])),
        Measure::Hour => ("s", json!(["T", 2])),
        Measure::Day => ("s", json!(["T", 3])),
        Measure::None => match (vib.quantity, &vib.text) {
            (Quantity::Date, _) => return json!(["date", 0]),
            (Quantity::DateTime, _) => return json!(["datetime", 0]),
            (Quantity::Text, Some((text, _))) => return json!([text.to_string(), 0]),
            (Quantity::Reserved, _) if vib.vif & 0x7f == 0x7b => return json!([null, null]),
            _ => ("", json!(vib.exponent)),
        },
        other => return json!([format!("{other:?}"), vib.exponent]),
    };
    json!([unit, scale])
}

/// Equality, where the oracle's way of writing differs made alike.
fn same(record: &Record<'_>, key: &str, got: &Json, expected: &Json) -> bool {
    if key != "value" || got == expected {
        return got == expected;
    }
    match (record.value, expected[0].as_str()) {
        // The oracle leaves the sign out of the digits, and writes them in upper case.
        (Value::Integer(_), Some("bcd")) => got[1] == expected[1],
        (Value::Digits(_), Some("bcd")) => {
            let digits = got[2].as_str().map(str::to_uppercase);
            expected[1].is_null() && digits.as_deref() == expected[2].as_str()
        }
        (Value::Real(number), Some("real")) => expected[1]
            .as_f64()
            .is_some_and(|expected| expected as f32 == number),
        // Dates of an exceeded limit (VIFE 6A to 6F), which the oracle leaves as raw numbers.
        (Value::DateTime(_), Some("int")) => {
            let bytes = record.data.iter().rev();
            let raw = bytes.fold(0, |number, byte| number << 8 | i64::from(*byte));
            expected[1] == raw
        }
        _ => false,
    }
}

#[test]
fn rscada_frames_agree() {
    let Some(root) = corpus() else { return };
    let neutral: Json =
        serde_json::from_str(&fs::read_to_string(root.join("neutral.json")).unwrap()).unwrap();
    let frames = frames(&root.join("test-frames"));
    assert!(!frames.is_empty());
    println!("{:32} {:>7} {:>7}", "frame", "records", "agree");
    let (mut total, mut agreed, mut disagreements) = (0, 0, Vec::new());
    for (name, bytes) in &frames {
        let oracle = &neutral[name];
        let telegram = match Telegram::parse(bytes) {
            Ok(telegram) => telegram,
            Err(error) => {
                disagreements.push(format!("{name}: {error}"));
                continue;
            }
        };
        assert_eq!(telegram.control, oracle["c"], "{name}");
        assert_eq!(telegram.address, oracle["a"], "{name}");
        if let Body::Fixed(fixed) = telegram.body() {
            // The oracle decodes no further; the frame is one of two in the captures.
            println!("{name:32} fixed {:?}", fixed.counters);
            assert_eq!(
                fixed.counters.map(|counter| counter.value),
                [Some(6531), Some(69)]
            );
            continue;
        }
        let header = telegram.header().unwrap();
        let device = header.device.unwrap();
        let got = json!({
            "id": device.id_text().to_string(), "manufacturer": device.manufacturer.to_string(),
            "version": device.version, "medium": device.medium,
            "access": header.access, "status": header.status,
        });
        for (key, value) in got.as_object().unwrap() {
            assert_eq!(value, &oracle[key], "{name} {key}");
        }
        let mut expected = oracle["records"].as_array().unwrap().iter();
        let mut records = telegram.records();
        let (mut count, mut agree) = (0, 0);
        for record in records.by_ref() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    disagreements.push(format!("{name} record {count}: {error}"));
                    break;
                }
            };
            count += 1;
            let Some(expected) = expected.next() else {
                disagreements.push(format!("{name}: record {count} unknown to the oracle"));
                break;
            };
            let vif = hex(&[&[record.vib.vif], record.vib.extensions].concat());
            let [unit, scale] = [unit(&record)[0].clone(), unit(&record)[1].clone()];
            let got = json!({
                "vif": vif, "function": function(&record), "storage": record.storage,
                "tariff": record.tariff, "subunit": record.subunit, "data": hex(record.data),
                "value": value(&record), "unit": unit, "scale": scale,
            });
            let differing: Vec<_> = got
                .as_object()
                .unwrap()
                .iter()
                .filter(|(key, value)| !same(&record, key, value, &expected[key.as_str()]))
                .map(|(key, value)| format!("{key} {value} instead of {}", expected[key.as_str()]))
                .collect();
            if differing.is_empty() {
                agree += 1;
            } else {
                disagreements.push(format!("{name} record {count}: {}", differing.join(", ")));
            }
        }
        let trailer = records.trailer();
        let kind = trailer.map(|trailer| if trailer.more_follows { "more" } else { "mfr" });
        let expected = expected.next();
        if kind.map(Json::from) != expected.map(|trailer| trailer["kind"].clone()) {
            disagreements.push(format!("{name}: trailer {kind:?} instead of {expected:?}"));
        }
        if let (Some(trailer), Some(expected)) = (trailer, expected) {
            assert_eq!(hex(trailer.data), expected["data"], "{name}");
        }
        println!("{name:32} {count:7} {agree:7}");
        total += count;
        agreed += agree;
    }
    println!("{:32} {total:7} {agreed:7}", "total");
    assert!(disagreements.is_empty(), "{}", disagreements.join("\n"));
}

/// What a damaged or refusing frame comes to.
#[derive(Debug, PartialEq)]
enum Kind {
    Fault(Error),
    Refusal(ApplicationError),
}

#[test]
fn rscada_errors_are_told_apart() {
    let Some(root) = corpus() else { return };
    use ApplicationError as Refusal;
    let expected = |name: &str| {
        Some(match name {
            "application_busy" => Kind::Refusal(Refusal::Busy),
            "error" => Kind::Refusal(Refusal::Unspecified),
            "premature_end_of_record" => Kind::Refusal(Refusal::PrematureEnd),
            "too_many_readouts" => Kind::Refusal(Refusal::TooManyReadouts),
            "too_many_records" => Kind::Refusal(Refusal::TooManyRecords),
            "unimplemented_ci" => Kind::Refusal(Refusal::UnimplementedCi),
            "premature_end_of_data2" => Kind::Fault(Error::TruncatedData),
            "premature_end_of_dif2" => Kind::Fault(Error::TruncatedDib),
            "premature_end_of_var_vif1" | "too_long_var_vif" => Kind::Fault(Error::TruncatedVib),
            "too_many_dife" => Kind::Fault(Error::TooManyDife),
            "too_short_header" => Kind::Fault(Error::ShortHeader),
            _ => return None,
        })
    };
    for (name, bytes) in frames(&root.join("error-frames")) {
        let kind = match Telegram::parse(&bytes) {
            Err(error) => Some(Kind::Fault(error)),
            Ok(telegram) => match telegram.body() {
                Body::Error(refusal) => Some(Kind::Refusal(*refusal)),
                _ => telegram
                    .records()
                    .find_map(|record| record.err().map(Kind::Fault)),
            },
        };
        println!("{name:32} {kind:?}");
        assert!(kind.is_some(), "{name} went unnoticed");
        if let Some(expected) = expected(&name) {
            assert_eq!(kind, Some(expected), "{name}");
        }
    }
}

#[test]
fn rscada_unsupported_frames_do_no_harm() {
    let Some(root) = corpus() else { return };
    for (name, bytes) in frames(&root.join("unsupported-frames")) {
        let verdict = Telegram::parse(&bytes).map(|telegram| {
            let records: Records<'_> = telegram.records();
            (telegram.ci, records.count())
        });
        println!("{name:32} {verdict:?}");
        if name.starts_with("invalid_length") {
            assert!(verdict.is_err(), "{name}");
        }
    }
}
