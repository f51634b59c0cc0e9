// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// An empty sequence in BER, ended; and the critical flag.
const TOKEN: [u8; 7] = [0x30, 0x80, 0, 0, 1, 1, 0xff];

#[test]
fn lint_certificate() {
    hold(
        "lint_certificate",
        &TOKEN,
        500,
        properties::lint_certificate,
    );
}

#[test]
fn revocation_list() {
    hold("revocation_list", &TOKEN, 2000, properties::revocation_list);
}

#[test]
fn request_package() {
    hold("request_package", &TOKEN, 2000, properties::request_package);
}
