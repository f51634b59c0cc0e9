// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hsm info`: what a module is and holds. Reads only.

use bench_cases::module_tool::hex;
use bench_engine::ExitCode;
use hsm_api::{KeyUsage, ModuleError, SecurityModule};
use serde::Serialize;

use super::args::{AnswerFormat, ModuleArgs};
use super::failed;
use super::table::columns;
use crate::failure::{Failure, print_json};

/// What is printed.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    place: String,
    name: String,
    version: String,
    life_cycle: String,
    keys_stay_inside: bool,
    parallel: usize,
    largest_object: Option<usize>,
    curves: Vec<String>,
    keys: Vec<Key>,
    objects: Vec<Object>,
    /// How the driver treats modules of this kind, and why.
    peculiarities: Vec<Detail>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    what: String,
    value: String,
    source: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Key {
    name: String,
    curve: String,
    usage: &'static str,
    /// Uncompressed, in hex.
    public_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    kind: String,
    name: String,
    bytes: usize,
}

/// Runs the verb.
pub fn run(at: &ModuleArgs, format: AnswerFormat) -> Result<ExitCode, Failure> {
    let module = at.open(Some(1))?;
    let place = at.place()?;
    let mut info = Info::read(place.to_string(), module.as_ref()).map_err(failed)?;
    let peculiarities = place.peculiarities().map_err(failed)?.into_iter();
    info.peculiarities = peculiarities
        .map(|one| Detail {
            what: one.what,
            value: one.value,
            source: one.source,
        })
        .collect();
    match format {
        AnswerFormat::Json => print_json(&info),
        AnswerFormat::Table => {
            print!("{}", info.text());
            Ok(ExitCode::Success)
        }
    }
}

impl Info {
    fn read(place: String, module: &dyn SecurityModule) -> Result<Self, ModuleError> {
        let capabilities = module.capabilities();
        let keys = module.keys()?.into_iter().map(|info| {
            Ok(Key {
                public_key: hex(&module.public_key(&info.key)?.point),
                name: info.key.0,
                curve: info.curve.to_string(),
                usage: match info.usage {
                    KeyUsage::Sign => "sign",
                    KeyUsage::Agree => "agree",
                },
            })
        });
        let objects = module.objects()?.into_iter().map(|object| {
            Ok(Object {
                bytes: module.read_object(&object)?.len(),
                kind: object.kind.to_string(),
                name: object.name,
            })
        });
        Ok(Self {
            place,
            life_cycle: module.life_cycle()?.to_string(),
            keys: keys.collect::<Result<_, ModuleError>>()?,
            objects: objects.collect::<Result<_, ModuleError>>()?,
            peculiarities: Vec::new(),
            keys_stay_inside: capabilities.keys_stay_inside,
            parallel: capabilities.parallel,
            largest_object: capabilities.largest_object,
            curves: capabilities
                .curves
                .iter()
                .map(ToString::to_string)
                .collect(),
            name: capabilities.name,
            version: capabilities.version,
        })
    }

    fn text(&self) -> String {
        let or =
            |text: &str, otherwise: &str| if text.is_empty() { otherwise } else { text }.to_owned();
        let facts = [
            ("place", self.place.clone()),
            ("name", self.name.clone()),
            ("version", or(&self.version, "not told")),
            ("life cycle", self.life_cycle.clone()),
            (
                "private keys",
                if self.keys_stay_inside {
                    "stay inside"
                } else {
                    "can leave"
                }
                .into(),
            ),
            ("at once", self.parallel.to_string()),
            (
                "largest object",
                self.largest_object
                    .map_or("not limited".into(), |bytes| format!("{bytes} bytes")),
            ),
            ("curves", or(&self.curves.join(", "), "none")),
        ];
        let mut text = String::new();
        for (name, value) in facts {
            text.push_str(&format!("{name:<16}{value}\n"));
        }
        let keys: Vec<_> = self
            .keys
            .iter()
            .map(|key| [key.name.clone(), key.curve.clone(), key.usage.into()])
            .collect();
        let objects: Vec<_> = self
            .objects
            .iter()
            .map(|object| {
                [
                    object.name.clone(),
                    object.kind.clone(),
                    object.bytes.to_string(),
                ]
            })
            .collect();
        let details: Vec<_> = self
            .peculiarities
            .iter()
            .map(|one| [one.what.clone(), one.value.clone(), one.source.clone()])
            .collect();
        for (what, table) in [
            ("keys", columns(["key", "curve", "usage"], &keys)),
            ("objects", columns(["object", "kind", "bytes"], &objects)),
        ] {
            match table.lines().count() {
                1 => text.push_str(&format!("\nno {what}\n")),
                _ => text.push_str(&format!("\n{table}")),
            }
        }
        if !details.is_empty() {
            let table = columns(["how the driver treats it", "", "known from"], &details);
            text.push_str(&format!("\n{table}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use hsm_api::{Curve, ObjectId};
    use hsm_soft::SoftModule;

    use super::*;

    #[test]
    fn a_module_is_shown_with_what_it_holds() {
        let module = SoftModule::new();
        let read = || Info {
            // These two differ from machine to machine and from release to release.
            parallel: 2,
            version: "1.2".into(),
            ..Info::read("software".into(), &module).unwrap()
        };
        insta::assert_snapshot!("empty", read().text());
        module
            .generate_key(&"gw-tls".into(), Curve::BrainpoolP256r1, KeyUsage::Sign)
            .unwrap();
        module
            .generate_key(&"gw-enc".into(), Curve::NistP384, KeyUsage::Agree)
            .unwrap();
        module
            .write_object(&ObjectId::data("note"), &[0; 12])
            .unwrap();
        let info = read();
        insta::assert_snapshot!("filled", info.text());
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["keys"][0]["name"], "gw-enc");
        assert_eq!(
            json["keys"][0]["public-key"].as_str().unwrap().len(),
            2 * 97
        );
        assert_eq!(json["objects"][0]["bytes"], 12);
    }
}
