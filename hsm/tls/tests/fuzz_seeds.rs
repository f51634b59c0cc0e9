// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

#[test]
fn tls_cbc_record() {
    hold("tls_cbc_record", &[15; 16], 2000, properties::cbc_record);
}

#[test]
fn sm_pki_chain() {
    hold(
        "sm_pki_chain",
        &[0x30, 0x82, 1],
        150,
        properties::sm_pki_chain,
    );
}
