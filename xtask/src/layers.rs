// SPDX-License-Identifier: MIT OR Apache-2.0
//! The layer rules: which room of the workspace may use which. A room only uses rooms below it.

use crate::cargo::{Kind, Package};

const LICENCE: &str = "MIT OR Apache-2.0";

/// What the protocol crates and the gateway's core must do without: they get bytes and the time from their caller.
const NO_IO: [&str; 10] = [
    "tokio",
    "rustls",
    "tokio-rustls",
    "serialport",
    "hyper",
    "rusqlite",
    "rustix",
    "mio",
    "socket2",
    "rand",
];

/// The security module's back-ends, which the gateway may construct but not otherwise know.
const BACK_ENDS: [&str; 5] = [
    "hsm-open",
    "hsm-pkcs11",
    "hsm-soft",
    "hsm-card",
    "hsm-card-emulator",
];

/// What tests are fed with, and what fails for them on demand: those of every room may use it.
const TEST_MATERIAL: [&str; 2] = ["test-material", "pkcs11-faults"];

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Room {
    Proto,
    Hsm,
    Gateway,
    Peers,
    Bench,
    Tests,
    Xtask,
}

impl Room {
    fn of(directory: &str) -> Option<Self> {
        const ROOMS: [(&str, Room); 7] = [
            ("proto", Room::Proto),
            ("hsm", Room::Hsm),
            ("host/gateway", Room::Gateway),
            ("host/peers", Room::Peers),
            ("host/bench", Room::Bench),
            ("tests", Room::Tests),
            ("xtask", Room::Xtask),
        ];
        let within = |room: &str| directory == room || directory.starts_with(&format!("{room}/"));
        ROOMS
            .iter()
            .find(|(prefix, _)| within(prefix))
            .map(|(_, room)| *room)
    }

    /// Whether a package here may use one there. Tests of a package see no more rooms than the package,
    /// but those of the gateway may play its partners.
    fn may_use(self, other: Self, kind: Kind) -> bool {
        match self {
            Self::Proto => other == Self::Proto,
            Self::Hsm => matches!(other, Self::Proto | Self::Hsm),
            Self::Gateway if kind == Kind::Dev => {
                matches!(other, Self::Proto | Self::Hsm | Self::Gateway | Self::Peers)
            }
            Self::Gateway => matches!(other, Self::Proto | Self::Hsm | Self::Gateway),
            Self::Peers => matches!(other, Self::Proto | Self::Hsm | Self::Peers),
            Self::Bench => matches!(other, Self::Proto | Self::Hsm | Self::Peers | Self::Bench),
            Self::Tests => true,
            Self::Xtask => false,
        }
    }
}

/// All breaches of the layer and licence rules.
pub(crate) fn breaches(packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        if package.licence.as_deref() != Some(LICENCE) {
            let licence = package.licence.as_deref().unwrap_or("none");
            breaches.push(format!(
                "{}: licence is {licence}, not {LICENCE}",
                package.name
            ));
        }
        match Room::of(&package.directory) {
            Some(room) => dependencies(package, room, packages, &mut breaches),
            None => breaches.push(format!(
                "{}: the directory {} is no room of the house (see xtask/src/layers.rs)",
                package.name, package.directory
            )),
        }
    }
    breaches
}

fn dependencies(package: &Package, room: Room, packages: &[Package], breaches: &mut Vec<String>) {
    let without_io = room == Room::Proto || package.directory == "host/gateway/core";
    for dependency in &package.dependencies {
        let (name, kind) = (dependency.name.as_str(), dependency.kind);
        let ours = packages.iter().find(|other| other.name == name);
        if let Some(other) = ours.and_then(|other| Room::of(&other.directory)) {
            if kind == Kind::Dev && TEST_MATERIAL.contains(&name) {
                continue;
            }
            if !room.may_use(other, kind) {
                breaches.push(format!(
                    "{}: {room:?} must not use {name} ({other:?})",
                    package.name
                ));
            } else if room == Room::Gateway && other == Room::Hsm && kind != Kind::Dev {
                let known = matches!(name, "hsm-api" | "hsm-tls") || BACK_ENDS.contains(&name);
                if !known || without_io {
                    breaches.push(format!(
                        "{}: the gateway sees the security module only through hsm-api and hsm-tls, not {name}",
                        package.name
                    ));
                }
            }
        } else if without_io && kind != Kind::Dev && NO_IO.contains(&name) {
            breaches.push(format!(
                "{}: sans-IO code must not use {name}",
                package.name
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::Dependency;

    fn package(name: &str, directory: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependencies = dependencies.iter();
        Package {
            name: name.to_owned(),
            directory: directory.to_owned(),
            licence: Some(LICENCE.to_owned()),
            dependencies: dependencies
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: *kind,
                })
                .collect(),
        }
    }

    fn house() -> Vec<Package> {
        vec![
            package("smgw-units", "proto/units", &[]),
            package(
                "smgw-sml",
                "proto/sml",
                &[
                    ("smgw-units", Kind::Normal),
                    ("test-material", Kind::Dev),
                    ("sml-rs", Kind::Dev),
                ],
            ),
            package("hsm-api", "hsm/api", &[]),
            package("hsm-pkcs11", "hsm/pkcs11", &[("hsm-api", Kind::Normal)]),
            package("hsm-pki", "hsm/pki", &[("hsm-api", Kind::Normal)]),
            package(
                "smgw-core",
                "host/gateway/core",
                &[("smgw-units", Kind::Normal)],
            ),
            package(
                "smgw",
                "host/gateway/smgw",
                &[
                    ("smgw-core", Kind::Normal),
                    ("hsm-pkcs11", Kind::Normal),
                    ("hsm-pki", Kind::Dev),
                ],
            ),
            package("smgw-peers", "host/peers", &[("hsm-api", Kind::Normal)]),
            package(
                "bench-rig",
                "host/bench/rig",
                &[("smgw-units", Kind::Normal)],
            ),
            package(
                "smgw-tests",
                "tests",
                &[("bench-rig", Kind::Dev), ("smgw-core", Kind::Dev)],
            ),
            package("test-material", "tests/material", &[]),
            package("xtask", "xtask", &[("serde_json", Kind::Normal)]),
        ]
    }

    #[test]
    fn a_tidy_house_has_no_breaches() {
        assert_eq!(breaches(&house()), Vec::<String>::new());
    }

    #[test]
    fn each_wrong_dependency_is_named() {
        for (name, dependency, kind, expected) in [
            (
                "smgw-units",
                "hsm-api",
                Kind::Normal,
                "Proto must not use hsm-api",
            ),
            (
                "smgw-units",
                "test-material",
                Kind::Normal,
                "Proto must not use test-material",
            ),
            (
                "smgw-sml",
                "tokio",
                Kind::Normal,
                "sans-IO code must not use tokio",
            ),
            (
                "smgw-core",
                "serialport",
                Kind::Build,
                "sans-IO code must not use serialport",
            ),
            (
                "smgw-core",
                "hsm-pkcs11",
                Kind::Normal,
                "only through hsm-api and hsm-tls, not hsm-pkcs11",
            ),
            (
                "smgw",
                "hsm-pki",
                Kind::Normal,
                "only through hsm-api and hsm-tls, not hsm-pki",
            ),
            (
                "smgw",
                "bench-rig",
                Kind::Dev,
                "Gateway must not use bench-rig",
            ),
            (
                "smgw",
                "smgw-peers",
                Kind::Normal,
                "Gateway must not use smgw-peers",
            ),
            (
                "hsm-api",
                "bench-rig",
                Kind::Dev,
                "Hsm must not use bench-rig",
            ),
            (
                "bench-rig",
                "smgw-core",
                Kind::Dev,
                "Bench must not use smgw-core",
            ),
            (
                "smgw-peers",
                "smgw",
                Kind::Normal,
                "Peers must not use smgw",
            ),
            (
                "xtask",
                "bench-rig",
                Kind::Normal,
                "Xtask must not use bench-rig",
            ),
        ] {
            let mut house = house();
            let package = house.iter_mut().find(|package| package.name == name);
            let dependencies = &mut package.expect("the house has it").dependencies;
            dependencies.push(Dependency {
                name: dependency.to_owned(),
                kind,
            });
            let found = breaches(&house);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains(expected) && found[0].starts_with(name),
                "{found:?}"
            );
        }
    }

    #[test]
    fn licence_and_place_are_checked() {
        let mut house = house();
        house[0].licence = Some("GPL-3.0".to_owned());
        house.push(package("stray", "attic/stray", &[]));
        let found = breaches(&house);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("GPL-3.0") && found[1].contains("attic/stray"),
            "{found:?}"
        );
    }
}
