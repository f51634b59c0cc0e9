// SPDX-License-Identifier: MIT OR Apache-2.0
//! Wireless M-Bus: telegrams with the decodes of wmbusmeters, m-bus-parser and wireless-mbus-parser, and
//! security vectors.

use std::fs;
use std::path::Path;

use bench_decode::{Key, Options};
use serde_json::{Value as Json, json};

use crate::mbus;
use crate::score::{Score, decoded, json, no_excuse};

fn options(key: &str) -> Options {
    Options {
        keys: key.parse::<Key>().into_iter().collect(),
        ..Options::default()
    }
}

/// The decode of one frame; some lines hold a further one behind it.
fn one(frame: &str, key: &str) -> Json {
    let mut frames = decoded(frame.as_bytes(), &options(key));
    frames.remove(0)
}

/// Every field of every layer and record, and the driver-independent numbers wmbusmeters prints.
pub fn wmbusmeters(root: &Path) -> Score {
    let mut score = Score::new("wmbus-wmbusmeters");
    let path = root.join("wmbus-wmbusmeters/telegrams.jsonl");
    let text = fs::read_to_string(path).unwrap();
    let mut numbers = 0;
    for line in text.lines() {
        // Reals that are no number are no JSON.
        let row: Json = serde_json::from_str(&line.replace("NaN", "null")).unwrap();
        let name = row["name"].as_str().unwrap();
        let got = one(
            row["telegram"].as_str().unwrap(),
            row["key"].as_str().unwrap(),
        );
        let mut expected = row["neutral"].clone();
        let fields = expected.as_object_mut().unwrap();
        let checkable = fields.remove("checkable_fields").unwrap_or_default();
        score.cases += 1;
        let cut = |at: &str, ours: &Json, theirs: &Json| {
            (got["error"] == "truncated")
                .then_some("frames the corpus cuts short, where the payload is encrypted and beyond reading")
                .or_else(|| mbus::excuse(at, ours, theirs))
        };
        score.compare(name, &got, &expected, &cut);
        for field in checkable.as_array().into_iter().flatten() {
            let field = field.as_str().unwrap();
            let expected = row["expected"][field].as_f64().unwrap();
            let suffix = field.rsplit('_').next().unwrap();
            // The other side prints six digits behind the point.
            let close = |got: f64| (got - expected).abs() <= (1e-6 * expected.abs()).max(1e-6);
            let records = got["records"].as_array().into_iter().flatten();
            let found = records.filter_map(|it| number(it, suffix)).any(close);
            numbers += 1;
            score.compare(
                &format!("{name}.{field}"),
                &json!(found),
                &json!(true),
                &no_excuse,
            );
        }
    }
    score.notes.push(format!(
        "{numbers} numbers of wmbusmeters itself among them"
    ));
    score
}

/// A record's number in the unit that `suffix` stands for; tests only may use floats for values.
fn number(record: &Json, suffix: &str) -> Option<f64> {
    let scaled = |exponent: &Json| {
        let raw = record["value"][1].as_f64()?;
        Some(raw * 10f64.powi(i32::try_from(exponent.as_i64()?).ok()?))
    };
    let (unit, scale) = (record["unit"].as_str()?, &record["scale"]);
    let seconds = match (unit, scale[1].as_u64()) {
        ("s", Some(0)) => 1.0,
        ("s", Some(1)) => 60.0,
        ("s", Some(2)) => 3600.0,
        ("s", Some(3)) => 86_400.0,
        ("a", _) => 365.25 * 86_400.0,
        _ => 0.0,
    };
    let value = match record["exact"].as_str() {
        Some(exact) => exact.parse().ok()?,
        None => scaled(if scale.is_i64() { scale } else { &Json::Null })?,
    };
    Some(match (suffix, unit) {
        ("kwh", "J") | ("kw", "J/h") => value / 3.6e6,
        ("kwh" | "kvarh", "Wh" | "varh") | ("kw", "W") => value / 1e3,
        ("m3h", "m^3/min") => value * 60.0,
        ("m3h", "m^3/s") => value * 3600.0,
        ("s", _) if seconds > 0.0 => value * seconds,
        ("h", _) if seconds > 0.0 => value * seconds / 3600.0,
        ("y", _) if seconds > 0.0 => value * seconds / (365.25 * 86_400.0),
        _ => value,
    })
}

/// Numbers, storage and function of selected records.
pub fn m_bus_parser(root: &Path) -> Score {
    let mut score = Score::new("wmbus-m-bus-parser");
    let vectors = json(&root.join("wmbus-m-bus-parser/test_vectors.json"));
    for (index, vector) in vectors.as_array().unwrap().iter().enumerate() {
        let got = one(vector["input"].as_str().unwrap(), "");
        let expected = &vector["expected"];
        score.cases += 1;
        let at = format!("vector {index}");
        let id = expected["identification_number"].as_u64().unwrap();
        let access = [&got["tpl"]["acc"], &got["ell"]["acc"]];
        let header = json!({
            "id": got["id"].as_str().and_then(|id| id.parse::<u64>().ok()),
            "m": got["m"],
            "version": got["version"],
            "acc": access.into_iter().find(|number| !number.is_null()),
            "status": got["tpl"]["status"],
        });
        let wanted = json!({
            "id": id, "m": expected["manufacturer"], "version": expected["version"],
            "acc": expected["access_number"], "status": expected["status"],
        });
        let excuse = |at: &str, ours: &Json, theirs: &Json| {
            if got["kind"] == "mfct" && ours.is_null() {
                return Some(
                    "values of a manufacturer's own layout (CI A0 to B7), unknown to the standard",
                );
            }
            if at.ends_with(".exponent") && theirs == "kJ" {
                return Some("joules the other side prints as kJ whatever their power of ten");
            }
            (at.ends_with(".status") && ours.is_null() && got["ell"]["cc"] == *theirs).then_some(
                "the other side takes the control field of the extended link layer for a status",
            )
        };
        score.compare(&at, &header, &wanted, &excuse);
        // It lists numbers only, and not all of them; those it lists come in our order.
        let records = got["records"].as_array().into_iter().flatten();
        let number =
            |record: &&Json| matches!(record["value"][0].as_str(), Some("int" | "bcd" | "real"));
        let mut records = records.filter(number);
        for (place, record) in expected["data_records"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            let same = |one: &&Json| one["value"][1] == record["value"];
            let found = records.find(same).unwrap_or(&Json::Null);
            let kinds = ["Instantaneous", "Maximum", "Minimum", "ValueDuringError"];
            let function = found["function"]
                .as_u64()
                .and_then(|kind| kinds.get(kind as usize));
            let ours = json!({
                "value": found["value"][1], "exponent": found["scale"],
                "storage_number": found["storage"], "function": function,
            });
            // The text of a unit has no power of ten in its JSON shape, its value has.
            let texts = found["quantity"] == "text" || record["unit"] == "kJ";
            let exponent = if texts {
                &record["unit"]
            } else {
                &record["exponent"]
            };
            let theirs = json!({
                "value": record["value"], "exponent": exponent,
                "storage_number": record["storage_number"], "function": record["function"],
            });
            score.compare(&format!("{at} record {place}"), &ours, &theirs, &excuse);
        }
    }
    score
}

/// Security vectors: plain text, MAC verdicts, formats of CRCs.
pub fn oms_vectors(root: &Path) -> Score {
    let mut score = Score::new("oms-vectors");
    let vectors = json(&root.join("oms-vectors/vectors.json"));
    let mut compact = Vec::new();
    for vector in vectors.as_array().unwrap() {
        score.cases += 1;
        if vector["format_signature"].is_string() {
            compact.push(vector.clone());
            continue;
        }
        security(&mut score, vector);
    }
    // A full frame gives the format of the compact one that follows it.
    compact.sort_by_key(|vector| vector["name"].as_str().unwrap().contains("compact"));
    let frames: Vec<_> = compact
        .iter()
        .map(|vector| vector["frame"].as_str().unwrap())
        .collect();
    let got = decoded(frames.join("\n").as_bytes(), &options(""));
    for (vector, got) in compact.iter().zip(&got) {
        let name = vector["name"].as_str().unwrap();
        let intact =
            json!({ "error": got["error"], "records": got["records"].as_array().map(Vec::len) });
        let wanted = json!({ "error": null, "records": vector["records"] });
        score.compare(name, &intact, &wanted, &no_excuse);
    }
    score
}

/// Frames another encoder made, good and bad ones.
pub fn oms_synthetic(root: &Path) -> Score {
    let mut score = Score::new("oms-synthetic");
    for vector in json(&root.join("oms-synthetic/vectors.json"))
        .as_array()
        .unwrap()
    {
        score.cases += 1;
        security(&mut score, vector);
    }
    score
}

fn security(score: &mut Score, vector: &Json) {
    let name = vector["name"].as_str().unwrap();
    let got = one(
        vector["frame"].as_str().unwrap(),
        vector["key"].as_str().unwrap_or_default(),
    );
    if vector["link_crc_ok"] == false {
        // A damaged frame of format B in one block looks like one that never had CRCs.
        let refused = got["error"].is_string();
        let at = format!("{name}.refused");
        return score.compare(&at, &json!(refused), &json!(true), &no_excuse);
    }
    let format = match vector["format"].as_str().unwrap() {
        "none" => Json::Null,
        other => json!(other),
    };
    let mac = match vector["mac_ok"].as_bool() {
        Some(true) => json!("good"),
        Some(false) => json!("wrong"),
        None => got["mac"].clone(),
    };
    let mut wanted = json!({ "crc_format": format, "mac": mac });
    let mut put = |key: &str, value: Option<Json>| {
        if let Some(value) = value {
            wanted[key] = value;
        }
    };
    if vector["mac_ok"] != false {
        put("plain", vector.get("plain").cloned());
    } else {
        put("error", Some(json!("mac-wrong")));
    }
    score.compare(name, &got, &wanted, &no_excuse);
    let tpl = |key: &str| vector.get(key).cloned();
    let header = json!({ "acc": tpl("acc"), "status": tpl("status"), "mode": tpl("mode") });
    let wanted: serde_json::Map<_, _> = header
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    score.compare(
        &format!("{name}.tpl"),
        &got["tpl"],
        &wanted.into(),
        &no_excuse,
    );
}
