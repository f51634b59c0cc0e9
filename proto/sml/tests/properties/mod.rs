// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_sml::transport::{Event, Framer, encode};
use smgw_sml::{File, Quirks, readings};
use smgw_units::Nanos;

/// Every byte of a line is accounted for, and every payload survives another transmission.
pub fn transport(line: &[u8]) {
    let mut framer = Framer::with(Quirks::ALL, 512);
    let mut counted = 0;
    let mut payloads = Vec::new();
    let mut note = |event: Event<'_>| match event {
        Event::File { payload, bytes, .. } => {
            counted += bytes;
            payloads.push(payload.to_vec());
        }
        Event::Discarded { bytes, .. } => counted += bytes,
    };
    for (at, byte) in line.iter().enumerate() {
        if let Some(event) = framer.push(*byte, Nanos(at as u64)) {
            note(event);
        }
    }
    if let Some(event) = framer.flush() {
        note(event);
    }
    assert_eq!(counted, line.len());
    for payload in payloads {
        let mut framer = Framer::new();
        let again = encode(&payload);
        let found = again.iter().any(|byte| {
            matches!(framer.push(*byte, Nanos(0)), Some(Event::File { payload: found, .. }) if found == payload)
        });
        assert!(found);
    }
}

/// Whatever can be read can be written and read again.
pub fn file(payload: &[u8]) {
    let Ok(file) = File::parse(payload, Quirks::ALL) else {
        return;
    };
    let _ = readings(&file).count();
    let encoded = file.encode();
    let again = File::parse(&encoded, Quirks::ALL).expect("the encoder follows SML");
    // A checksum that was wrong may happen to fit the bytes as the encoder writes them.
    assert!(again == file || !file.is_intact());
}
