// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::time::Duration;

use smgw_iec62056::{
    Bcc, Block, Command, Event, Framer, Identification, Meter, Mode, Reader, Telegram, Transmit,
    guess_medium, meter, p1, reader,
};
use smgw_units::Nanos;

const GAP: Duration = Duration::from_secs(1);

/// Every byte of a line is in a telegram or counted as lost, and telegrams read to their end.
pub fn telegram(line: &[u8]) {
    let mut framer = Framer::new(GAP, 4096);
    let mut counted = 0;
    let mut take = |event: Option<Event<'_>>| match event {
        Some(Event::Telegram {
            telegram,
            first,
            last,
            noise,
        }) => {
            assert!(first < last);
            assert_eq!(Telegram::parse(telegram.bytes), Some(telegram));
            counted += telegram.bytes.len() + noise;
            block(&telegram.block);
            let identification = telegram.identification;
            let written = identification.encode();
            assert_eq!(Identification::parse(&written), Some(identification));
        }
        Some(Event::Discarded { bytes, .. }) => counted += bytes,
        None => {}
    };
    for (at, byte) in line.iter().enumerate() {
        take(framer.push(*byte, Nanos(at as u64)));
    }
    take(framer.idle(Nanos(u64::MAX)));
    assert_eq!(counted, line.len());
    block(&Block::parse(line));
}

fn block(block: &Block<'_>) {
    let mut bytes = 0;
    for set in block.sets().flatten() {
        bytes += set.address.len()
            + set
                .brackets()
                .map(|bracket| bracket.len() + 2)
                .sum::<usize>();
        for value in set.values() {
            let _ = (value.number(), value.to_string());
        }
        if let Some(code) = set.code() {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }
    assert!(bytes <= block.lines.len());
    let _ = guess_medium(block.lines);
}

/// P1: a checksum that holds is that of the bytes; what hangs behind the meter is read.
pub fn p1(line: &[u8]) {
    telegram(line);
    if let Some(telegram) = Telegram::parse(line) {
        if matches!(telegram.crc(), p1::Crc::Good | p1::Crc::GoodUnpadded) {
            let bangs = line.iter().enumerate().filter(|(_, byte)| **byte == b'!');
            let tail = std::str::from_utf8(telegram.block.tail).unwrap();
            let crc = u16::from_str_radix(tail, 16).unwrap();
            assert!(
                bangs
                    .map(|(at, _)| p1::crc(&line[..=at]))
                    .any(|good| good == crc)
            );
        }
        let sets = telegram.block.sets().count();
        assert!(p1::devices(&telegram.block).len() <= sets);
        assert!(p1::power_failures(&telegram.block).count() <= line.len());
    }
}

/// Readers of every kind and a meter take any bytes: dialogues end, and no more is sent than tries allow.
pub fn dialogue(line: &[u8]) {
    let programming = reader::Access::Programming {
        password: Some("1".into()),
        commands: vec![(Command::READ, b"1.8.0()".to_vec())],
    };
    let kinds = [
        (reader::Access::Readout, None),
        (reader::Access::Readout, Some(Mode::D)),
        (reader::Access::Hdlc, None),
        (programming, None),
    ];
    for (access, mode) in kinds {
        let config = reader::Config {
            access,
            mode,
            limit: 1024,
            ..reader::Config::default()
        };
        let mut reader = Reader::new(config);
        reader.start(Nanos(0));
        let (mut sent, mut now) = (0, Nanos(0));
        let mut act = |reader: &mut Reader, now: Nanos| {
            while let Some(action) = reader.poll_transmit(now) {
                sent += usize::from(matches!(action, Transmit::Bytes(_)));
            }
            while let Some(event) = reader.poll_event() {
                if let reader::Event::Readout {
                    block: bytes, bcc, ..
                } = event
                {
                    let found = Block::parse(&bytes);
                    assert_eq!(found.bcc, bcc);
                    block(&found);
                    if bcc == Bcc::Good {
                        assert!(bytes.contains(&2));
                    }
                }
            }
        };
        for byte in line {
            now = now + Duration::from_millis(30);
            act(&mut reader, now);
            reader.handle_timeout(now);
            reader.handle_input(now, *byte);
        }
        for _ in 0..64 {
            act(&mut reader, now);
            let Some(due) = reader.poll_timeout() else {
                break;
            };
            now = now.max(due);
            reader.handle_timeout(now);
        }
        act(&mut reader, now);
        assert!(reader.is_idle() || mode == Some(Mode::D));
        // Requests, choices, blocks to repeat or to acknowledge (three bytes at least).
        assert!(sent <= 16 + line.len());
    }
    let identification = Identification::parse(b"/ABC5\\2x").unwrap();
    let mut config = meter::Config::new(&identification);
    config.registers = vec![("1.8.0".into(), "1*kWh".into())];
    let mut meter = Meter::new(config, Nanos(0));
    for (at, byte) in line.iter().enumerate() {
        let now = Nanos(at as u64 * 30_000_000);
        meter.handle_timeout(now);
        meter.handle_input(now, *byte);
        while meter.poll_transmit(now).is_some() {}
        while meter.poll_event().is_some() {}
    }
}
