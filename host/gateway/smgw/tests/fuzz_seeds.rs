// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed property over its seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn netlink_answer() {
    // Type and code of an acknowledgement.
    hold("netlink_answer", &[2, 0, 0, 0], 5000, properties::netlink);
}
