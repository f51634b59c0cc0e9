// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed property over its seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn flash_store() {
    hold("flash_store", b"SMGWFS", 2000, properties::open);
}
