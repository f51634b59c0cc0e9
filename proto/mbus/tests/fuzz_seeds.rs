// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 3] = [0x68, 3, 3];

#[test]
fn mbus_frame() {
    hold("mbus_frame", &TOKEN, 2000, properties::frame);
}

#[test]
fn mbus_records() {
    hold("mbus_records", &TOKEN, 2000, properties::records);
}

#[test]
fn mbus_slave() {
    hold("mbus_slave", &TOKEN, 2000, properties::slave);
}

#[test]
fn mbus_master() {
    hold("mbus_master", &TOKEN, 2000, properties::master);
}
