// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading a frame to its last decimal takes no memory.

use smgw_mbus::{Framer, Telegram, obis};
use smgw_units::Nanos;

#[test]
fn reading_allocates_nothing() {
    let frame = include_bytes!("../../../fixtures/mbus/rsp-ud.bin");
    let mut readings = 0;
    let info = allocation_counter::measure(|| {
        let telegram = Telegram::parse(frame).unwrap();
        for record in telegram.records() {
            let record = record.unwrap();
            readings += usize::from(record.decimal().is_some());
            readings += usize::from(obis::reading(2, &record).is_some());
        }
    });
    assert_eq!((readings, info.count_total), (4, 0));
}

/// A framer keeps its memory from frame to frame.
#[test]
fn framing_allocates_at_first_only() {
    let frame = include_bytes!("../../../fixtures/mbus/rsp-ud.bin");
    let mut framer = Framer::new(std::time::Duration::from_secs(1));
    let mut at = 0;
    let mut run = |frames| {
        let mut seen = 0;
        for byte in std::iter::repeat_n(frame, frames).flatten() {
            at += 1;
            seen += usize::from(framer.push(*byte, Nanos(at)).is_some());
        }
        seen
    };
    assert_eq!(run(2), 2);
    let info = allocation_counter::measure(|| assert_eq!(run(20), 20));
    assert_eq!(info.count_total, 0);
}
