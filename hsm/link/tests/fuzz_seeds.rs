// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn link_message() {
    // An array of two that begins with an empty one.
    hold("link_message", &[0x82, 0x80], 2000, properties::message);
}

#[test]
fn link_stranger() {
    // Length of the first part of a handshake.
    hold("link_stranger", &[0x00, 0x30], 2000, properties::stranger);
}
