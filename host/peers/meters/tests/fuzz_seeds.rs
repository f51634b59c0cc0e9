// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::{hold, seeds};

#[test]
fn meter_profile() {
    hold(
        "meter_profile",
        b"99999999999999999999",
        5_000,
        properties::profile,
    );
}

#[test]
fn meter_detector() {
    hold(
        "meter_detector",
        &[0x7e, 0xa0, 9],
        1_000,
        properties::detector,
    );
}

#[test]
fn meter_asked() {
    hold("meter_asked", &[0x7e, 0xa0, 9], 3_000, properties::asked);
}

/// Mutations of what leads nowhere would lead nowhere.
#[test]
fn every_seed_of_the_reader_is_read() {
    for (name, seed) in seeds("meter_detector") {
        assert!(properties::telegrams(&seed) > 0, "{name}");
    }
}
