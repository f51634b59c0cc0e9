// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_lmn_keys::Key;
use smgw_wmbus::stick::{Amber, Cul, Framer, Framing, Heard, Im871a, Packet, RtlWmbus};
use smgw_wmbus::{CrcFormat, FormatCache, Frame, Keys, Reassembler, Telegram, encode_link};

/// Every layer lies inside the bytes, records end, and a frame with CRCs is written as it was read.
pub fn telegram(input: &[u8]) {
    let keys = Keys::all(Key::new([7; 16]));
    let mut formats = FormatCache::new(4);
    let mut fragments = Reassembler::new(2, 300);
    for format in [CrcFormat::A, CrcFormat::B, CrcFormat::Stripped] {
        let Ok(frame) = Frame::decode(input, format) else {
            continue;
        };
        assert!(frame.bytes.len() + frame.trailing <= input.len());
        let whole = frame.missing == 0;
        if whole {
            let again = encode_link(&frame.bytes, format).expect("it was a frame");
            assert!(input.starts_with(&again));
        }
        if let Ok(telegram) = Telegram::of_frame(frame, &keys, &mut formats) {
            inside(&telegram);
            if let Ok(Some(message)) = fragments.push(&telegram, &keys, &mut formats) {
                inside(&message);
            }
        }
    }
    for keys in [&keys, &Keys::new()] {
        for telegram in [
            Telegram::decode(input, keys, &mut formats),
            Telegram::decode_wired(input, keys, &mut formats),
        ] {
            telegram.iter().for_each(inside);
        }
    }
}

fn inside(telegram: &Telegram) {
    let end = telegram.bytes.len();
    assert!(telegram.payload.end() <= end);
    assert!(telegram.ell.is_none_or(|ell| ell.span.end() <= end));
    assert!(telegram.afl.is_none_or(|afl| afl.span.end() <= end));
    assert!(telegram.tpl.is_none_or(|tpl| tpl.span.end() <= end));
    let mut last = 0;
    for (place, record) in telegram.records().flatten() {
        assert!(place.at >= last && place.end() <= telegram.record_bytes().len());
        assert_eq!(
            place.of(telegram.record_bytes()).get(..record.head.len()),
            Some(record.head)
        );
        last = place.end();
    }
    let _ = (
        telegram.ci(),
        telegram.meter(),
        telegram.counter(),
        telegram.verdict.to_string(),
    );
}

/// Every byte of a line is noise or part of a packet, and packets do not depend on how the line is cut.
pub fn sticks(line: &[u8]) {
    framing(Im871a, line, |packet: Packet| packet.heard());
    framing(Cul { rssi: true }, line, Some);
    framing(Cul { rssi: false }, line, Some);
    framing(RtlWmbus, line, Some);
    for command_mode in [false, true] {
        for rssi in [false, true] {
            framing(Amber { command_mode, rssi }, line, Result::ok);
        }
    }
}

fn framing<F: Framing + Copy>(framing: F, line: &[u8], heard: impl Fn(F::Packet) -> Option<Heard>) {
    let run = |size: usize| {
        let mut framer = Framer::new(framing);
        let mut all = Vec::new();
        for piece in line.chunks(size) {
            framer.feed(piece, |packet| all.extend(heard(packet)));
        }
        framer.idle();
        (all, framer.noise())
    };
    let (whole, noise) = run(line.len().max(1));
    assert!(noise <= line.len() as u64);
    assert!(whole.iter().map(|heard| heard.frame.len()).sum::<usize>() <= line.len());
    assert_eq!(run(3), (whole, noise));
}
