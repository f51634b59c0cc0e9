// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed property over its seed and thousands of mutations of it.

mod properties;

#[test]
fn pkcs11_trace() {
    test_material::hold("pkcs11_trace", b"\n7: C_", 2000, properties::trace);
}
