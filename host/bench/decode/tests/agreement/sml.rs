// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML: captures of German meters, read by libsml, sml-rs and an independent decoder.

use std::fs;
use std::path::Path;

use bench_decode::{Options, Protocol};
use serde_json::{Value as Json, json};

use crate::score::{Score, decoded, json, json_lines, no_excuse};
use test_material::files;

fn options(file: Option<String>) -> Options {
    Options {
        protocol: Some(Protocol::Sml),
        file,
        ..Options::default()
    }
}

/// Every file entry for entry, and every incident with its place and kind.
pub fn libsml(root: &Path) -> Score {
    let mut score = Score::new("sml-libsml-testing");
    let root = root.join("sml-libsml-testing");
    let frames = json_lines(&root.join("frames.jsonl"));
    let neutral = json_lines(&root.join("neutral.jsonl"));
    let (mut entries, mut incidents) = (0, 0);
    for (name, path) in files(&root.join("captures"), "bin") {
        score.cases += 1;
        let name = format!("{name}.bin");
        let found = decoded(&fs::read(path).unwrap(), &options(Some(name.clone())));
        let of = |all: &[Json]| -> Vec<Json> {
            let ours = all.iter().filter(|one| one["file"] == name.as_str());
            ours.cloned().collect()
        };
        let transmissions: Vec<_> = found
            .iter()
            .filter(|one| one["status"] != "noise")
            .cloned()
            .collect();
        incidents += transmissions
            .iter()
            .filter(|one| one["status"] != "ok")
            .count();
        score.compare(
            &name,
            &json!(transmissions),
            &json!(of(&frames)),
            &no_excuse,
        );
        let good: Vec<_> = found
            .iter()
            .filter(|one| one["status"] == "ok")
            .cloned()
            .collect();
        let messages = good
            .iter()
            .flat_map(|one| one["messages"].as_array().into_iter().flatten());
        entries += messages
            .filter_map(|message| message["entries"].as_array().map(Vec::len))
            .sum::<usize>();
        score.compare(&name, &json!(good), &json!(of(&neutral)), &no_excuse);
    }
    score
        .notes
        .push(format!("{entries} list entries, {incidents} incidents"));
    score
}

/// Published regression frames: verdicts on transport and messages.
pub fn smllib(root: &Path) -> Score {
    let mut score = Score::new("sml-smllib");
    for frame in json(&root.join("sml-smllib/frames.json"))
        .as_array()
        .unwrap()
    {
        let name = frame["name"].as_str().unwrap();
        let found = decoded(frame["hex"].as_str().unwrap().as_bytes(), &options(None));
        let good: Vec<_> = found.iter().filter(|one| one["status"] == "ok").collect();
        score.cases += 1;
        let [one] = good.as_slice() else {
            score.notes.push(format!(
                "{name}: {} files, {} incidents",
                good.len(),
                found.len()
            ));
            continue;
        };
        let intact = one["messages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|message| !message["crc"].is_null());
        // The published frames 65 and 76 had their serial numbers replaced.
        let anonymised = ["test_frames_65", "test_frames_76"].contains(&name);
        let crc = if name == "test_frames_154" {
            "kermit"
        } else {
            "x25"
        };
        let got = json!({ "crc": one["crc"], "intact": intact });
        let expected = json!({ "crc": crc, "intact": !anonymised });
        score.compare(name, &got, &expected, &no_excuse);
    }
    score
}

/// Long recordings of one meter: exact numbers of files.
pub fn smarty(root: &Path) -> Score {
    let mut score = Score::new("sml-smartmeter-obis");
    for (name, path) in files(&root.join("sml-smartmeter-obis"), "dump") {
        let files = match name.as_str() {
            "ttyUSB0" => 878,
            "ttyUSB0-2" => 2,
            "ttyUSB0-3" => 518,
            _ => continue,
        };
        let found = decoded(&fs::read(path).unwrap(), &options(None));
        let good = found.iter().filter(|one| one["status"] == "ok").count();
        score.cases += 1;
        score.compare(&name, &json!(good), &json!(files), &no_excuse);
    }
    score
}
