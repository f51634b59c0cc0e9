// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 3] = [0x90, 0x0f, 0x7a];

#[test]
fn wmbus_telegram() {
    hold("wmbus_telegram", &TOKEN, 8000, properties::telegram);
}

#[test]
fn wmbus_sticks() {
    hold("wmbus_sticks", &TOKEN, 8000, properties::sticks);
}
