// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn timing_probe() {
    hold("timing_probe", b"*\n 09", 2000, |bytes| {
        properties::host(bytes);
        properties::text(bytes);
    });
}
