// SPDX-License-Identifier: MIT OR Apache-2.0
//! The framer finds every good transmission, and only those, whatever happens to the line.

use proptest::prelude::*;
use smgw_sml::transport::{Discard, Event, Framer, encode, encode_with, offset_on_line};
use smgw_sml::{CrcKind, Quirk, Quirks};
use smgw_units::Nanos;

/// An event without its borrow.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    File(Vec<u8>, u64, u64, CrcKind),
    Lost(usize, u64, Discard),
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::File {
            payload,
            first,
            last,
            crc,
            ..
        } => Seen::File(payload.to_vec(), first.0, last.0, crc),
        Event::Discarded {
            bytes,
            first,
            reason,
            ..
        } => Seen::Lost(bytes, first.0, reason),
    }
}

/// Pushes `line` with its offsets as stamps and tells the end of the line.
fn frames_with(mut framer: Framer, line: &[u8]) -> Vec<Seen> {
    let mut events = Vec::new();
    for (at, byte) in line.iter().enumerate() {
        events.extend(framer.push(*byte, Nanos(at as u64)).map(seen));
    }
    while let Some(event) = framer.flush() {
        events.push(seen(event));
    }
    events
}

fn frames(line: &[u8]) -> Vec<Seen> {
    frames_with(Framer::new(), line)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn published_vectors() {
    for (payload, line) in [
        ("12345678", "1b1b1b1b01010101 12345678 1b1b1b1b1a00b87b"),
        ("", "1b1b1b1b01010101 1b1b1b1b1a00c6e5"),
        ("123456", "1b1b1b1b01010101 12345600 1b1b1b1b1a0191a5"),
        (
            "121b1b1b1b",
            "1b1b1b1b01010101 121b1b1b1b1b1b1b1b000000 1b1b1b1b1a03be25",
        ),
        (
            "1234567812341b1b",
            "1b1b1b1b01010101 1234567812341b1b 1b1b1b1b1a001ac5",
        ),
    ] {
        let line = hex(line);
        assert_eq!(encode(&hex(payload)), line, "{payload}");
        let whole = Seen::File(hex(payload), 0, line.len() as u64 - 1, CrcKind::X25);
        assert_eq!(frames(&line), [whole], "{payload}");
    }
}

#[test]
fn kermit_is_a_quirk() {
    let line = encode_with(b"holley", CrcKind::Kermit);
    let last = line.len() as u64 - 1;
    assert_eq!(
        frames(&line),
        [Seen::File(b"holley".to_vec(), 0, last, CrcKind::Kermit)]
    );
    let strict = Framer::with(Quirks::ALL.without(Quirk::KermitCrc), 1000);
    assert_eq!(
        frames_with(strict, &line),
        [Seen::Lost(line.len(), 0, Discard::BadCrc)]
    );
}

#[test]
fn stamps_name_the_first_and_last_byte() {
    let mut line = hex("1b1b ff 1b");
    line.extend(encode(b"abcd"));
    assert_eq!(
        frames(&line),
        [
            Seen::Lost(4, 0, Discard::Noise),
            Seen::File(b"abcd".to_vec(), 4, 23, CrcKind::X25),
        ]
    );
}

#[test]
fn restart_is_told_and_survived() {
    let whole = encode(b"abcdefgh");
    let mut line = whole[..13].to_vec();
    line.extend(&whole);
    assert_eq!(
        frames(&line),
        [
            Seen::Lost(13, 0, Discard::Restart),
            Seen::File(b"abcdefgh".to_vec(), 13, 36, CrcKind::X25),
        ]
    );
}

#[test]
fn every_truncation_leaves_the_next_transmission_whole_or_the_one_after() {
    let whole = encode(&hex("7601021b1b1b1b0304"));
    for cut in 0..whole.len() {
        let mut line = whole[..cut].to_vec();
        line.extend(&whole);
        line.extend(&whole);
        let files = frames(&line);
        let good = files
            .iter()
            .filter(|event| matches!(event, Seen::File(..)))
            .count();
        // Cut between two of four doubled escape bytes, the next start sequence is torn apart.
        let run = whole[..cut].iter().rev().take_while(|byte| **byte == 0x1b);
        let torn = (5..8).contains(&run.count());
        assert!(good == 2 || torn && good == 1, "cut at {cut}: {files:?}");
    }
}

#[test]
fn long_transmissions_are_given_up() {
    let mut line = encode(&[7; 100]);
    line.extend(encode(b"ok"));
    let events = frames_with(Framer::with(Quirks::ALL, 64), &line);
    assert_eq!(events[0], Seen::Lost(65, 0, Discard::TooLong));
    assert!(
        matches!(&events[events.len() - 1], Seen::File(payload, ..) if payload == b"ok"),
        "{events:?}"
    );
}

/// What looks like a swallowed transmission may be content, and then it is content.
#[test]
fn a_start_sequence_may_be_content() {
    let payload = [&START[..], &[0x76], &START, b"end", &START].concat();
    let line = encode(&payload);
    let last = line.len() as u64 - 1;
    assert_eq!(
        frames(&line),
        [Seen::File(payload.clone(), 0, last, CrcKind::X25)]
    );
    // Swallowed by another one, it is still whole.
    let cut = [&encode(b"abcd")[..16], &line].concat();
    assert_eq!(
        frames(&cut),
        [
            Seen::Lost(16, 0, Discard::Restart),
            Seen::File(payload, 16, last + 16, CrcKind::X25)
        ]
    );
}

const START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];

/// Damage seen on infrared heads, between two good transmissions: what is lost, and why.
#[test]
fn damage_of_infrared_heads_costs_one_transmission() {
    let whole = encode(&hex("760102030405060708090a0b"));
    let end = whole.len() - 8;
    let without = |range: std::ops::Range<usize>| {
        let mut line = whole.clone();
        line.drain(range);
        line
    };
    let noise = [0xff; 13].to_vec();
    for (damaged, expected) in [
        // Only three of the four escape bytes of the end came through.
        (without(end..end + 1), vec![Discard::Restart]),
        // All behind the escape bytes of the end is lost.
        (without(end + 4..end + 8), vec![Discard::Restart]),
        // The whole end marker is lost.
        (without(end..end + 8), vec![Discard::Restart]),
        // A byte of the content is lost.
        (without(12..13), vec![Discard::Misaligned]),
        // The start sequence lost a byte.
        (without(0..1), vec![Discard::Noise]),
        (without(6..7), vec![Discard::Noise]),
        // The head sends FF while nothing comes in.
        (noise.clone(), vec![Discard::Noise]),
        ([&whole[..15], &noise].concat(), vec![Discard::Restart]),
    ] {
        let line = [&whole[..], &damaged, &whole].concat();
        let events = frames(&line);
        let reasons: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Seen::Lost(_, _, reason) => Some(*reason),
                Seen::File(..) => None,
            })
            .collect();
        assert_eq!(reasons, expected, "{damaged:02x?}");
        assert_eq!(events.len() - reasons.len(), 2, "{damaged:02x?}");
    }
}

/// No transmission with one wrong byte is accepted with that byte.
#[test]
fn no_damage_goes_unnoticed() {
    let payload = hex("7605f12cad07620062007263010176010102310b0a01445a4700");
    let whole = encode(&payload);
    for at in 0..whole.len() {
        for flip in 1..=255u8 {
            let mut line = whole.clone();
            line[at] ^= flip;
            for event in frames(&line) {
                assert!(
                    !matches!(event, Seen::File(..)),
                    "byte {at} flipped by {flip:02x} went unnoticed"
                );
            }
        }
    }
}

fn escapes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0x1bu8), 1 => Just(1u8), 1 => Just(0x1a), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..80)
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(payload in escapes(), kermit: bool) {
        let crc = if kermit { CrcKind::Kermit } else { CrcKind::X25 };
        let line = encode_with(&payload, crc);
        prop_assert_eq!(line.len() % 4, 0);
        let last = line.len() as u64 - 1;
        prop_assert_eq!(frames(&line), [Seen::File(payload, 0, last, crc)]);
    }

    #[test]
    fn every_payload_byte_has_its_place_on_the_line(payload in escapes()) {
        let line = encode(&payload);
        for (offset, byte) in payload.iter().enumerate() {
            prop_assert_eq!(line[offset_on_line(&payload, offset)], *byte);
        }
        let end = offset_on_line(&payload, payload.len()).next_multiple_of(4);
        prop_assert_eq!(end + 8, line.len());
    }

    /// Whatever comes before, the second of two transmissions is found, and no byte is lost from the books.
    #[test]
    fn finds_its_way_back(noise in escapes(), payload in prop::collection::vec(any::<u8>(), 0..40)) {
        let whole = encode(&payload);
        let mut line = noise.clone();
        for _ in 0..3 {
            line.extend(&whole);
        }
        let last = line.len() as u64 - 1;
        let events = frames(&line);
        prop_assert_eq!(
            events.last(),
            Some(&Seen::File(payload, last + 1 - whole.len() as u64, last, CrcKind::X25))
        );
        let counted: usize = events
            .iter()
            .map(|event| match event {
                Seen::File(_, first, last, _) => (last - first) as usize + 1,
                Seen::Lost(bytes, ..) => *bytes,
            })
            .sum();
        prop_assert_eq!(counted, line.len());
    }
}
