// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and mutations of them.

mod properties;

use test_material::hold;

#[test]
fn card_apdu() {
    hold("card_apdu", &[5, 0, 0x84, 0, 0], 300, properties::card_apdu);
}

#[test]
fn vpcd() {
    hold("vpcd", &[0, 1, 4], 2000, properties::vpcd);
}
