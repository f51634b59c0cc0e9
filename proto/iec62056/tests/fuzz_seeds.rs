// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 3] = *b"/!(";

#[test]
fn d0_telegram() {
    hold("d0_telegram", &TOKEN, 3000, properties::telegram);
}

#[test]
fn d0_reader() {
    hold("d0_reader", &TOKEN, 3000, properties::dialogue);
}

#[test]
fn p1_telegram() {
    hold("p1_telegram", &TOKEN, 3000, properties::p1);
}
