// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed property over its seeds and thousands of mutations of them.

mod properties;

use bench_decode::{Options, decode};
use test_material::seeds;

#[test]
fn seeds_and_mutations_hold() {
    test_material::hold("decode_any", b"7e a0", 150, properties::decode_any);
}

/// Every seed is read by itself, in the protocol its name tells; none but those with faults on purpose fail.
#[test]
fn seeds_are_recognised() {
    for (name, seed) in seeds("decode_any") {
        let protocol = match name.split('_').next().unwrap() {
            "rtl" => "wmbus".to_owned(),
            other => other.to_owned(),
        };
        let mut good = 0;
        let summary = decode(&seed, &Options::default(), &mut |frame| {
            assert_eq!(frame.protocol.name(), protocol, "{name}");
            good += usize::from(frame.failure().is_none());
        });
        assert!(summary.is_ok() && good > 0, "{name}: {summary:?}");
    }
}

/// A changed byte in a frame with a checksum is noticed, wherever it is.
#[test]
fn every_changed_byte_of_a_checked_frame_is_noticed() {
    for name in ["sml_stream", "hdlc_stream", "mbus_line"] {
        let mut seeds = seeds("decode_any").into_iter();
        let (_, seed) = seeds.find(|(found, _)| found == name).unwrap();
        let frames = |bytes: &[u8]| {
            let mut found = Vec::new();
            let protocol = bench_decode::Protocol::LIST
                .into_iter()
                .find(|protocol| name.starts_with(protocol.name()));
            let options = Options {
                protocol,
                form: bench_decode::Form::Raw,
                ..Options::default()
            };
            decode(bytes, &options, &mut |frame| {
                if frame.failure().is_none() && frame.coverage().1 > 5 {
                    found.push(frame.json().to_string());
                }
            })
            .unwrap();
            found
        };
        let whole = frames(&seed);
        assert!(!whole.is_empty(), "{name}");
        for at in 0..seed.len() {
            let mut damaged = seed.clone();
            damaged[at] ^= 0x10;
            // What is still read was read before: no frame with a changed byte passes.
            for frame in frames(&damaged) {
                assert!(whole.contains(&frame), "{name} byte {at}: {frame}");
            }
        }
    }
}
