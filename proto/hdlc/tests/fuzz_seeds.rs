// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 3] = [0x7e, 0xa0, 9];

#[test]
fn hdlc_frame() {
    hold("hdlc_frame", &TOKEN, 3000, properties::frame);
}

#[test]
fn hdlc_link() {
    hold("hdlc_link", &TOKEN, 3000, properties::link);
}
