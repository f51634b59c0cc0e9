// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 5] = [0x1b; 5];

#[test]
fn sml_transport() {
    hold("sml_transport", &TOKEN, 4000, properties::transport);
}

#[test]
fn sml_file() {
    hold("sml_file", &TOKEN, 4000, properties::file);
}

#[test]
fn sml_client() {
    hold("sml_client", &TOKEN, 4000, properties::client);
}

#[test]
fn sml_server() {
    hold("sml_server", &TOKEN, 4000, properties::server);
}
