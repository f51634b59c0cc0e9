// SPDX-License-Identifier: MIT OR Apache-2.0
//! HDLC, D0 and P1: vectors of our own generator, of a DLMS library, and of readout libraries.

use std::fs;
use std::path::Path;

use bench_decode::{Options, Protocol};
use serde_json::{Value as Json, json};

use crate::score::{Score, decoded, json as read_json, no_excuse};
use test_material::files;

fn options(protocol: Protocol) -> Options {
    Options {
        protocol: Some(protocol),
        ..Options::default()
    }
}

/// Wired LMN: every field of good frames, and the fault of bad ones.
pub fn lmn_synthetic(root: &Path) -> Score {
    let mut score = Score::new("lmn-synthetic");
    for vector in read_json(&root.join("lmn-synthetic/vectors.json"))
        .as_array()
        .unwrap()
    {
        if vector["kind"] != "hdlc" {
            continue;
        }
        let got = decoded(
            vector["frame"].as_str().unwrap().as_bytes(),
            &options(Protocol::Hdlc),
        );
        let keys = ["valid", "why", "control", "dst", "src", "info"];
        let wanted: serde_json::Map<_, _> = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), vector.get(*key)?.clone())))
            .collect();
        score.cases += 1;
        score.compare(
            vector["name"].as_str().unwrap(),
            &got[0],
            &wanted.into(),
            &no_excuse,
        );
    }
    score
}

/// DLMS: every framed byte string is one good frame.
pub fn dlms(root: &Path) -> Score {
    let mut score = Score::new("dlms-hdlc-pwitab");
    let vectors = read_json(&root.join("dlms-hdlc-pwitab/vectors.json"));
    let framed = |vector: &&Json| {
        vector["hex"]
            .as_str()
            .is_some_and(|hex| hex.starts_with("7ea"))
    };
    for vector in vectors.as_array().unwrap().iter().filter(framed) {
        let got = decoded(
            vector["hex"].as_str().unwrap().as_bytes(),
            &options(Protocol::Hdlc),
        );
        score.cases += 1;
        let wanted = json!([{ "valid": true, "profile": "dlms" }]);
        score.compare(
            vector["name"].as_str().unwrap(),
            &json!(got),
            &wanted,
            &no_excuse,
        );
    }
    let bare = vectors.as_array().unwrap().len() - score.cases;
    score
        .notes
        .push(format!("{bare} byte strings are messages without a frame"));
    score
}

/// Dialogues: the registers another program reads from them.
pub fn d0(root: &Path) -> Score {
    let mut score = Score::new("d0-smartmeter-obis");
    for (name, path) in files(&root.join("d0-smartmeter-obis"), "json") {
        let case = read_json(&path);
        let stream: String = case["meter_sends"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| part.as_str().unwrap())
            .collect();
        let got = decoded(stream.as_bytes(), &options(Protocol::D0));
        score.cases += 1;
        let telegrams: Vec<_> = got.iter().filter(|one| one["obis"].is_object()).collect();
        if telegrams.is_empty() {
            score
                .differences
                .push(format!("{name}: no telegram in {got:?}"));
            continue;
        }
        for (code, expected) in case["expected_obis"].as_object().unwrap() {
            let first = expected["raw"]
                .as_str()
                .unwrap()
                .split(", ")
                .next()
                .unwrap();
            let bare = code.split_once(':').map_or(code.as_str(), |(_, bare)| bare);
            // Some expectations belong to another telegram than the one that follows them.
            let holds = |one: &&&Json| {
                let lines = one["lines"].as_array().unwrap();
                lines.iter().any(|line| {
                    line["raw"].as_str().unwrap().starts_with(first)
                        && line["code"].as_str().unwrap().ends_with(bare)
                })
            };
            let Some(telegram) = telegrams.iter().find(holds) else {
                score
                    .notes
                    .push(format!("{name}: {code} is in none of the telegrams sent"));
                continue;
            };
            let found = &telegram["obis"][code.as_str()];
            score.compare(&format!("{name}.{code}"), found, expected, &no_excuse);
        }
        let maker = &case["expected_session"]["deviceManufacturer"];
        if maker.is_string() {
            let at = format!("{name}.manufacturer");
            score.compare(&at, &telegrams[0]["manufacturer"], maker, &no_excuse);
        }
    }
    score
}

/// P1 telegrams: the verdict on their checksum.
pub fn p1(root: &Path) -> Score {
    let mut score = Score::new("p1-dsmr_parser");
    for (name, path) in files(&root.join("p1-dsmr_parser"), "txt") {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let tail = text
            .lines()
            .find_map(|line| line.strip_prefix('!'))
            .unwrap_or("")
            .trim();
        // Telegrams without a checksum look like any readout of mode D.
        let protocol = if tail.is_empty() {
            Some(Protocol::P1)
        } else {
            None
        };
        let got = decoded(
            &bytes,
            &Options {
                protocol,
                ..Options::default()
            },
        );
        score.cases += 1;
        let wanted = json!({
            "protocol": "p1",
            "crc": if tail.is_empty() { "absent" } else { "good" },
            "unpadded": tail.len() == 3,
        });
        score.compare(&name, &got[0], &wanted, &no_excuse);
        score.notes.push(format!(
            "{name}: {}, {} lines",
            got[0]["crc"],
            got[0]["lines"].as_array().map_or(0, Vec::len)
        ));
    }
    score
}
