// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wireless M-Bus: the unit cases of the TypeScript library wireless-mbus-parser with its snapshots.

use std::fs;
use std::path::Path;

use bench_decode::{Key, Options, Protocol};
use serde_json::{Map, Value as Json, json};

use crate::score::{Score, decoded, json as read_json, no_excuse};

pub fn cases(root: &Path) -> Score {
    let mut score = Score::new("wmbus-lvogt");
    let root = root.join("wmbus-lvogt");
    let text = fs::read_to_string(root.join("legacy.spec.ts.snap")).unwrap();
    for case in read_json(&root.join("cases.json")).as_array().unwrap() {
        let (suite, name) = case["name"].as_str().unwrap().split_once('/').unwrap();
        let hex: Vec<_> = case["hex"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hex| hex.as_str().unwrap())
            .collect();
        let key = hex.get(1).and_then(|key| key.parse::<Key>().ok());
        let frames: Vec<_> = hex
            .iter()
            .filter(|hex| hex.parse::<Key>().is_err())
            .copied()
            .collect();
        let options = Options {
            protocol: Some(Protocol::Wmbus),
            keys: key.into_iter().collect(),
            ..Options::default()
        };
        let one = || decoded(frames[0].as_bytes(), &options).remove(0);
        match suite {
            "legacy" => snapshot(&mut score, name, &one(), &text),
            "crcHandler" if name.starts_with("Frame Type") || name.starts_with("Any") => {
                let got = one();
                let (key, wanted) = match name {
                    "Any frame type too short" => ("error", json!("truncated")),
                    _ if name.contains("but too short") => ("error", json!("truncated")),
                    _ if name.contains("wrong CRC") => ("error", json!("crc")),
                    _ if name.contains("without CRC") => ("crc_format", Json::Null),
                    _ if name.starts_with("Frame Type A") => ("crc_format", json!("A")),
                    _ => ("crc_format", json!("B")),
                };
                let at = format!("{suite}/{name}.{key}");
                score.compare(&at, &got[key], &wanted, &format_b);
            }
            "parser" if name.contains("Encrypted but") => {
                let word = if name.contains("no key") {
                    "no-key"
                } else {
                    "wrong-key"
                };
                let got = &one()["error"];
                // Without its key a MAC cannot be right.
                let mac = |_: &str, got: &Json, _: &Json| {
                    (got == "mac-wrong").then_some("a wrong key is seen by the MAC first")
                };
                score.compare(&format!("{suite}/{name}"), got, &json!(word), &mac);
            }
            "parser" if name.starts_with("Compact frame") => {
                let errors: Vec<_> = decoded(frames.join("\n").as_bytes(), &options)
                    .iter()
                    .map(|frame| frame["error"].clone())
                    .collect();
                let unknown = json!("unknown-format");
                let wanted = [unknown, Json::Null, Json::Null];
                let at = format!("{suite}/{name}");
                score.compare(
                    &at,
                    &json!(errors),
                    &json!(wanted[..errors.len()]),
                    &no_excuse,
                );
            }
            _ => continue,
        }
        score.cases += 1;
    }
    score
}

fn format_b(_: &str, got: &Json, wanted: &Json) -> Option<&'static str> {
    (got != "crc" && wanted == "crc")
        .then_some("a damaged frame of format B in one block looks like one without CRCs")
}

fn snapshot(score: &mut Score, name: &str, got: &Json, text: &str) {
    let head = format!("> {name} 1`] = `");
    let start = text
        .find(&head)
        .unwrap_or_else(|| panic!("no snapshot {name}"))
        + head.len();
    let body = &text[start..];
    let body = &body[..body.find("`;").unwrap()];
    let expected = literal(
        &mut body.lines().map(str::trim).filter(|line| !line.is_empty()),
        None,
    );
    let info = &expected["deviceInformation"];
    let tpl = &got["tpl"];
    let long = |key: &str| {
        if tpl[key].is_null() {
            got[key].clone()
        } else {
            tpl[key].clone()
        }
    };
    let header = json!({
        "Id": long("id"), "Manufacturer": long("m"), "Version": long("version"),
        "Status": tpl["status"].as_u64().unwrap_or(0),
    });
    let wanted = json!({
        "Id": info["Id"], "Manufacturer": info["Manufacturer"], "Version": info["Version"],
        "Status": info["Status"],
    });
    score.compare(&format!("legacy/{name}"), &header, &wanted, &no_excuse);
    let records: Vec<_> = got["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["kind"].is_null())
        .collect();
    let expected = expected["dataRecord"].as_array().unwrap();
    score.compare(
        &format!("legacy/{name}.records"),
        &json!(records.len()),
        &json!(expected.len()),
        &|_, ours, _| {
            (got["error"] == "truncated-blocks" && *ours == 7)
                .then_some("a frame one byte short: only whole encrypted blocks are read here")
        },
    );
    for (index, (got, expected)) in records.iter().zip(expected).enumerate() {
        let mut fields = json!({
            "storageNo": got["storage"], "tariff": got["tariff"], "devUnit": got["subunit"],
            "functionField": got["function"],
        });
        let mut wanted = json!({
            "storageNo": expected["storageNo"], "tariff": expected["tariff"],
            "devUnit": expected["devUnit"], "functionField": expected["functionField"],
        });
        if let (Some(exact), Some(value)) = (got["exact"].as_str(), expected["value"].as_f64()) {
            let exact: f64 = exact.parse().unwrap();
            fields["value"] = json!((exact - value).abs() <= 1e-9 * value.abs());
            wanted["value"] = json!(true);
        }
        let makers = got["quantity"] == "mfr";
        let scaled = |_: &str, got: &Json, _: &Json| {
            (makers && got == false).then_some(
                "registers behind VIF FF that the other side knows for this manufacturer",
            )
        };
        score.compare(
            &format!("legacy/{name}[{index}]"),
            &fields,
            &wanted,
            &scaled,
        );
    }
}

/// A snapshot has one token per line: `"key": {`, `"key": 1,`, `],`; some scalars are no JSON.
fn literal<'t>(lines: &mut impl Iterator<Item = &'t str>, opened: Option<&str>) -> Json {
    let opened = match opened {
        Some(opened) => opened,
        None => lines.next().unwrap(),
    };
    match opened.trim_end_matches(',') {
        "{" => {
            let mut fields = Map::new();
            while let Some(line) = lines.next().filter(|line| !line.starts_with('}')) {
                let (key, value) = line.split_once(": ").unwrap();
                fields.insert(
                    key.trim_matches('"').to_owned(),
                    literal(lines, Some(value)),
                );
            }
            Json::Object(fields)
        }
        "[" => {
            let mut items = Vec::new();
            while let Some(line) = lines.next().filter(|line| !line.starts_with(']')) {
                items.push(literal(lines, Some(line)));
            }
            Json::Array(items)
        }
        "[]" => json!([]),
        scalar => serde_json::from_str(scalar).unwrap_or_else(|_| json!(scalar)),
    }
}
