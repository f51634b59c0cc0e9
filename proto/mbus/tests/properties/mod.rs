// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::time::Duration;

use smgw_mbus::{Event, Frame, Framer, Records, Telegram, obis};
use smgw_units::Nanos;

/// Every byte of a line is accounted for, and every frame is written as it was read.
pub fn frame(line: &[u8]) {
    let mut framer = Framer::new(Duration::from_secs(1));
    let mut counted = 0;
    for (at, byte) in line.iter().enumerate() {
        match framer.push(*byte, Nanos(at as u64)) {
            Some(Event::Frame { bytes, noise, .. }) => {
                counted += bytes.len() + noise;
                let frame = Frame::parse(bytes).expect("the framer checks frames");
                assert_eq!(frame.encode().as_deref(), Ok(bytes));
                if let Ok(telegram) = Telegram::parse(bytes) {
                    assert!(telegram.records().count() <= bytes.len());
                }
            }
            Some(Event::Discarded { bytes, .. }) => counted += bytes,
            None => {}
        }
    }
    if let Some(Event::Discarded { bytes, .. }) = framer.idle(Nanos(u64::MAX)) {
        counted += bytes;
    }
    assert_eq!(counted, line.len());
}

/// Records end, stay inside their bytes, and map without a panic.
pub fn records(data: &[u8]) {
    let mut records = Records::new(data);
    let mut taken = 0;
    for record in records.by_ref().flatten() {
        taken += record.data.len() + 2;
        for medium in [2, 3, 4, 6, 7, 10] {
            let _ = obis::reading(medium, &record);
        }
        let _ = record.vib.combinable().count();
    }
    taken += records
        .trailer()
        .map_or(0, |trailer| trailer.data.len() + 1);
    assert!(taken <= data.len());
}
