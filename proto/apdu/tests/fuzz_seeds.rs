// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn apdu_command() {
    hold("apdu_command", &[0, 1, 0], 2000, properties::command);
}

#[test]
fn apdu_tlv() {
    hold("apdu_tlv", &[0x7f, 0x49, 0x81], 2000, properties::objects);
}

#[test]
fn apdu_secure_messaging() {
    hold(
        "apdu_secure_messaging",
        &[0x8e, 8],
        2000,
        properties::secure,
    );
}

/// The seeds were written by another implementation, so what opens here shows that the two agree.
#[test]
fn protected_seeds_of_another_implementation_open() {
    let opened = test_material::seeds("apdu_secure_messaging")
        .iter()
        .filter(|(_, seed)| properties::opens(seed))
        .count();
    assert_eq!(opened, 10);
}
