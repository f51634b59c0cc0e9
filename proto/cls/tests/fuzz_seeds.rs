// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// The start of a map whose first key is 0.
const TOKEN: [u8; 2] = [0xa2, 0];

#[test]
fn cls_message() {
    hold("cls_message", &TOKEN, 2000, properties::message);
}

#[test]
fn cls_settings() {
    hold("cls_settings", &TOKEN, 2000, properties::settings);
}

/// Mutations mostly destroy, so the seeds themselves must be good ones.
#[test]
fn seeds_are_accepted() {
    for (name, seed) in test_material::seeds("cls_settings") {
        let settings = smgw_cls::settings::Settings::decode(&seed);
        assert!(settings.is_ok(), "{name}: {settings:?}");
    }
    for (name, seed) in test_material::seeds("cls_message") {
        let command = smgw_cls::command::Command::parse(&seed).is_ok_and(|found| found.is_some());
        let report = smgw_cls::command::Report::parse(&seed).is_ok_and(|found| found.is_some());
        assert!(command || report, "{name}");
    }
}
