// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn evaluation_profile() {
    hold(
        "evaluation_profile",
        b"\"06:00\", 1",
        400,
        properties::profile,
    );
}

#[test]
fn evaluation_state() {
    hold(
        "evaluation_state",
        &[0xff, 0xff, 0xff, 0x7f],
        1_500,
        |bytes| {
            properties::state_of_example(bytes);
        },
    );
}
