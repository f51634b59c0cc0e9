// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wired M-Bus: frames of some 45 manufacturers, read by libmbus and an independent decoder.

use std::fs;
use std::path::Path;

use bench_decode::{Options, Protocol};
use serde_json::{Value as Json, json};

use crate::score::{Score, decoded, json, no_excuse};
use test_material::files;

fn options() -> Options {
    Options {
        protocol: Some(Protocol::Mbus),
        ..Options::default()
    }
}

pub fn rscada(root: &Path) -> Score {
    let mut score = Score::new("mbus-rscada");
    let root = root.join("mbus-rscada");
    let neutral = json(&root.join("neutral.json"));
    let mut records = 0;
    for (name, path) in files(&root.join("test-frames"), "hex") {
        let frames = decoded(&fs::read(path).unwrap(), &options());
        score.cases += 1;
        if frames.len() != 1 {
            score
                .differences
                .push(format!("{name}: {} frames", frames.len()));
            continue;
        }
        score.compare(&name, &frames[0], &neutral[&name], &excuse);
        records += frames[0]["records"].as_array().map_or(0, Vec::len);
    }
    score.notes.push(format!("{records} records"));
    // The other decoder reads the fixed structure no further than its frame; libmbus says 6531 kWh, 69 l.
    let fixed = decoded(
        &fs::read(root.join("test-frames/sen_pollusonic_2.hex")).unwrap_or_default(),
        &options(),
    );
    if let [frame] = fixed.as_slice() {
        let expected = json!([
            { "value": 6531, "unit": "Wh", "scale": 3 },
            { "value": 69, "unit": "m^3", "scale": -3 },
        ]);
        let counters = &frame["fixed"]["counters"];
        score.compare("sen_pollusonic_2.counters", counters, &expected, &no_excuse);
    }
    score
}

pub(crate) fn excuse(at: &str, got: &Json, expected: &Json) -> Option<&'static str> {
    let both = |kind: &str, other: &str| got[0] == kind && expected[0] == other;
    let single = |value: &Json| value[1].as_f64().map(|value| value as f32);
    if at.ends_with(".value") && both("real", "real") && single(got) == single(expected) {
        return Some("reals that are the same in single precision");
    }
    None
}

/// What a damaged or refusing frame comes to, by the name of its file.
pub fn rscada_errors(root: &Path) -> Score {
    let mut score = Score::new("mbus-rscada errors");
    let expected = |name: &str| {
        let at_frame = name == "invalid_length";
        let name = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
        Some(match name {
            "application_busy" => ("application_error", "busy"),
            "error" => ("application_error", "unspecified"),
            "premature_end_of_record" => ("application_error", "premature-end"),
            "too_many_readouts" => ("application_error", "too-many-readouts"),
            "too_many_records" => ("application_error", "too-many-records"),
            "unimplemented_ci" => ("application_error", "unimplemented-ci"),
            "buffer_too_long" => ("application_error", "buffer-too-long"),
            "application_too_many_difes" => ("application_error", "too-many-dife"),
            "application_too_many_vifes" => ("application_error", "too-many-vife"),
            "premature_end_of_data" => ("error", "truncated-data"),
            "premature_end_of_dif" => ("error", "truncated-dib"),
            "premature_end_of_vif" => ("error", "truncated-vib"),
            "premature_end_of_var_vif" | "too_long_var_vif" => ("error", "truncated-vib"),
            "too_many_dife" => ("error", "too-many-dife"),
            "too_many_vife" => ("error", "too-many-vife"),
            "too_short_header" => ("error", "short-header"),
            "invalid_length" if at_frame => ("error", "length"),
            // Its frame is whole, but too short for two counters.
            "invalid_length" => ("error", "truncated-data"),
            _ => return None,
        })
    };
    for folder in ["error-frames", "unsupported-frames"] {
        for (name, path) in files(&root.join("mbus-rscada").join(folder), "hex") {
            score.cases += 1;
            let frames = decoded(&fs::read(path).unwrap(), &options());
            let Some(frame) = frames.first() else {
                score.differences.push(format!("{name} went unnoticed"));
                continue;
            };
            match expected(&name) {
                Some((key, word)) => score.compare(&name, &frame[key], &json!(word), &no_excuse),
                None => {
                    let error = ["error", "application_error", "kind"].map(|key| &frame[key]);
                    score.notes.push(format!("{name}: {error:?}"));
                }
            }
        }
    }
    score
}
