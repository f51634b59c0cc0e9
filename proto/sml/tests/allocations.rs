// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framing and decoding allocate nothing per file once the framer has seen a file.

use std::path::Path;

use smgw_sml::transport::{Event, Framer, encode};
use smgw_sml::{ListValue, Quirks, Value, elements, messages};
use smgw_units::Nanos;

/// Decodes everything there is; returns files and registers.
fn decode(framer: &mut Framer, recording: &[u8]) -> (usize, usize) {
    let (mut files, mut registers) = (0, 0);
    // Pieces as a serial port delivers them.
    for piece in recording.chunks(512) {
        let mut rest = piece;
        while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
            let Event::File { payload, .. } = event else {
                continue;
            };
            files += 1;
            assert!(elements(payload).all(|element| element.is_ok()));
            for message in messages(payload, Quirks::ALL) {
                let Ok(message) = message else { continue };
                let Some(list) = message.list() else { continue };
                assert!(list.readings(Quirks::ALL).count() <= list.entries.len());
                for entry in list.entries {
                    registers += 1;
                    if let Some(value @ Value::List(_)) = entry.value {
                        assert!(ListValue::of(&value).is_some());
                    }
                }
            }
        }
    }
    (files, registers)
}

fn assert_no_allocation(recording: &[u8]) -> (usize, usize) {
    let mut framer = Framer::new();
    let warm = decode(&mut framer, recording);
    let mut again = (0, 0);
    let info = allocation_counter::measure(|| again = decode(&mut framer, recording));
    assert_eq!(info.count_total, 0);
    assert_eq!(again, warm);
    again
}

#[test]
fn nothing_is_allocated_per_file() {
    let push = encode(include_bytes!("../../../fixtures/sml/push.sml"));
    assert_eq!(assert_no_allocation(&push.repeat(50)), (50, 200));
    // What is counted is real.
    let info = allocation_counter::measure(|| drop(vec![0u8; 1]));
    assert_eq!(info.count_total, 1);
}

#[test]
fn nothing_is_allocated_over_a_real_recording() {
    let root = std::env::var_os("SMGW_BENCH_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        Into::into,
    );
    let path = root.join("sml-smartmeter-obis/ttyUSB0-3.dump");
    match std::fs::read(&path) {
        Ok(recording) => println!("{:?}", assert_no_allocation(&recording)),
        Err(_) => println!("SKIPPED: corpora absent ({})", path.display()),
    }
}
