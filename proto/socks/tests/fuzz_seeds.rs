// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use test_material::hold;

/// Bytes that mean something to the format.
const TOKEN: [u8; 3] = [5, 1, 0];

#[test]
fn socks_greeting() {
    hold("socks_greeting", &TOKEN, 2000, properties::greeting);
}

#[test]
fn socks_request() {
    hold("socks_request", &TOKEN, 2000, properties::request);
}

#[test]
fn socks_frame() {
    hold("socks_frame", &TOKEN, 2000, properties::frame);
}

/// Every prefix of a seed is a seed of its own: requests come in pieces.
#[test]
fn prefixes() {
    let targets: [(&str, test_material::Property); 3] = [
        ("socks_greeting", properties::greeting),
        ("socks_request", properties::request),
        ("socks_frame", properties::frame),
    ];
    for (target, property) in targets {
        for (_, seed) in test_material::seeds(target) {
            (0..=seed.len()).for_each(|end| property(&seed[..end]));
        }
    }
}
