// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written is read again, and damage is seen.

use proptest::prelude::*;
use smgw_iec62056::{
    Bcc, Block, Command, Event, Framer, Identification, LineError, Message, Telegram, encode_block,
    encode_unchecked, p1, write_set,
};
use smgw_units::{Decimal, Nanos};

const LINES: &[u8] = b"F.F(00)\r\n1.8.0(000285.40*kWh)\r\n9.4(088*C&082*C)0.2.0(V1#A)\r\n";

fn identification(line: &str) -> Identification<'_> {
    Identification::parse(line.as_bytes()).unwrap()
}

#[test]
fn no_damaged_block_has_a_good_check() {
    let block = encode_block(LINES);
    assert_eq!(Block::parse(&block).bcc, Bcc::Good);
    for at in 0..block.len() {
        for bit in 0..8 {
            let mut damaged = block.clone();
            damaged[at] ^= 1 << bit;
            assert_ne!(Block::parse(&damaged).bcc, Bcc::Good, "{at} {bit}");
        }
    }
    let message = Message::Command {
        command: Command::READ,
        data: b"1.8.0()",
    }
    .encode();
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut damaged = message.clone();
            damaged[at] ^= 1 << bit;
            let verdict = Message::decode(&damaged).map(|(_, bcc)| bcc);
            assert_ne!(verdict, Some(Bcc::Good), "{at} {bit}");
        }
    }
}

#[test]
fn no_damaged_p1_telegram_has_a_good_checksum() {
    let telegram = p1::encode(&identification("/ABC5\\2x"), LINES);
    assert_eq!(Telegram::parse(&telegram).unwrap().crc(), p1::Crc::Good);
    let end = telegram.len() - 2;
    for at in 0..end {
        for bit in 0..8 {
            let mut damaged = telegram.clone();
            damaged[at] ^= 1 << bit;
            let Some(read) = Telegram::parse(&damaged) else {
                continue;
            };
            // The case of a hex digit is no damage.
            let same = damaged.eq_ignore_ascii_case(&telegram) && at + 4 >= end;
            assert_eq!(read.crc() == p1::Crc::Good, same, "{at} {bit}");
        }
    }
}

#[test]
fn lines_keep_what_the_meter_wrote() {
    let block = Block::parse(LINES);
    let sets: Vec<_> = block.sets().map(Result::unwrap).collect();
    assert_eq!(sets.len(), 4);
    let values: Vec<_> = sets.iter().flat_map(|set| set.values()).collect();
    let printed: Vec<_> = values.iter().map(|value| value.to_string()).collect();
    assert_eq!(printed, ["00", "285.4", "88", "82", "V1", "A"]);
    assert_eq!(values[1].number(), Some(Decimal::new(28_540, -2)));
    assert_eq!(values[1].text, "000285.40");
    assert_eq!((values[2].unit, values[4].unit), (Some("C"), None));
    assert_eq!(sets[2].raw(), "088*C&082*C");
}

#[test]
fn numbers_are_exact_or_none() {
    let number = |text: &str| {
        let line = format!("1.8.0({text}*kWh)");
        let set = Block::parse(line.as_bytes())
            .sets()
            .next()
            .unwrap()
            .unwrap();
        set.values()
            .next()
            .map(|value| (value.number(), value.to_string()))
            .unwrap()
    };
    let exact = |mantissa, exponent| Some(Decimal::new(mantissa, exponent));
    assert_eq!(number("+000.8"), (exact(8, -1), "0.8".into()));
    assert_eq!(number("-12.50"), (exact(-1250, -2), "-12.5".into()));
    assert_eq!(number("  80"), (exact(80, 0), "80".into()));
    assert_eq!(
        number("9007199254740993.1"),
        (
            exact(90_071_992_547_409_931, -1),
            "9007199254740993.1".into()
        )
    );
    assert_eq!(
        number("10000000000000000"),
        (exact(10_000_000_000_000_000, 0), "10000000000000000".into())
    );
    for text in ["", ".", "1.2.3", "1e5", "12:30", "--1", &"9".repeat(50)] {
        assert_eq!(number(text), (None, text.to_owned()));
    }
}

#[test]
fn broken_lines_are_told_and_passed() {
    let lines = b"stray\r\n1.8.0(1*kWh)\r\n2.8.0(2\r\n\xff(3)\r\n3.8.0(4)\r\n";
    let block = Block::parse(lines);
    let sets: Vec<_> = block.sets().map(|set| set.map(|set| set.address)).collect();
    assert_eq!(
        sets,
        [
            Err(LineError::NoValue),
            Ok("1.8.0"),
            Err(LineError::Unclosed),
            Err(LineError::NotText),
            Ok("3.8.0"),
        ]
    );
}

#[test]
fn old_gas_meters_are_read_over_two_lines() {
    let lines = b"0-1:24.1.0(03)\r\n0-1:24.3.0(121030140000)(00)(60)(1)(0-1:24.2.1)(m3)\r\n(00024.123)\r\n0-1:24.4.0(1)\r\n";
    let block = Block::parse(lines);
    let devices = p1::devices(&block);
    let [device] = &devices[..] else {
        panic!("{devices:?}")
    };
    let value = device.value.unwrap();
    assert_eq!(
        (value.number(), value.unit),
        (Some(Decimal::new(24_123, -3)), Some("m3"))
    );
    assert_eq!((device.kind, device.valve), (Some(3), Some("1")));
    assert_eq!(device.time.unwrap().to_string(), "2012-10-30T14:00:00");
}

#[test]
fn power_failures_are_listed() {
    let lines = b"1-0:99.97.0(2)(0-0:96.7.19)(101208152415W)(0000000240*s)(632525252525W)(0*s)\r\n";
    let block = Block::parse(lines);
    let failures: Vec<_> = p1::power_failures(&block)
        .map(|(end, duration)| (end.to_string(), duration.to_string(), duration.unit))
        .collect();
    assert_eq!(
        failures,
        [("2010-12-08T15:24:15".into(), "240".into(), Some("s"))]
    );
}

#[test]
fn telegrams_are_found_between_noise() {
    let first = encode_unchecked(&identification("/ABC3x"), LINES);
    let second = [
        identification("/DEF5y").encode(),
        b"\x06050\r\n".to_vec(),
        encode_block(LINES),
    ];
    let stream = [
        b"m3/h)/AB/0?!",
        &first[..],
        b"/?!\r\n",
        &second.concat(),
        b"/GHI5cut\r\n1.8.0(1",
    ]
    .concat();
    let mut framer = Framer::new(std::time::Duration::from_secs(1), 4096);
    let mut found = Vec::new();
    let mut take = |event: Option<Event<'_>>| match event {
        Some(Event::Telegram {
            telegram,
            noise,
            first,
            last,
        }) => {
            assert_eq!(last.0 - first.0 + 1, telegram.bytes.len() as u64);
            found.push(format!(
                "{} {noise} {:?}",
                telegram.identification.id, telegram.block.bcc
            ));
        }
        Some(Event::Discarded { bytes, reason, .. }) => found.push(format!("{bytes} {reason:?}")),
        None => {}
    };
    for (at, byte) in stream.iter().enumerate() {
        take(framer.push(*byte, Nanos(at as u64)));
    }
    take(framer.idle(Nanos(u64::MAX)));
    assert_eq!(found, ["x 12 Absent", "y 5 Good", "17 Truncated"]);
}

#[test]
fn endless_telegrams_are_given_up() {
    let mut framer = Framer::new(std::time::Duration::from_secs(1), 100);
    let endless = b"/ABC3x\r\n"
        .iter()
        .chain(std::iter::repeat(&b'1'))
        .take(1000);
    let oversize = endless
        .filter(|byte| {
            matches!(
                framer.push(**byte, Nanos(0)),
                Some(Event::Discarded { bytes: 100, .. })
            )
        })
        .count();
    assert_eq!(oversize, 1);
}

proptest! {
    #[test]
    fn registers_survive(
        sets in prop::collection::vec(
            ("[0-9]{1,3}\\.[0-9]{1,2}", prop::collection::vec("[ -'*-~]{0,20}", 1..4)), 0..20,
        ),
        z in "[0-9A-I@]",
        id in "[A-Za-z0-9]{0,16}",
    ) {
        let mut lines = Vec::new();
        for (code, brackets) in &sets {
            let brackets: Vec<_> = brackets.iter().map(String::as_str).collect();
            write_set(&mut lines, code, &brackets);
        }
        let text = format!("/XyZ{z}{id}");
        let identification = identification(&text);
        let checked = [identification.encode(), encode_block(&lines)].concat();
        let telegrams =
            [checked, encode_unchecked(&identification, &lines), p1::encode(&identification, &lines)];
        for (index, bytes) in telegrams.iter().enumerate() {
            let telegram = Telegram::parse(bytes).unwrap();
            prop_assert_eq!(telegram.identification, identification);
            prop_assert_eq!(telegram.block.bcc, if index == 0 { Bcc::Good } else { Bcc::Absent });
            let crc = if index == 2 { p1::Crc::Good } else { p1::Crc::Absent };
            prop_assert_eq!(telegram.crc(), crc);
            let read: Vec<_> = telegram
                .block
                .sets()
                .map(|set| set.map(|set| {
                    let brackets: Vec<_> = set.brackets().map(str::to_owned).collect();
                    (set.address.to_owned(), brackets)
                }).unwrap())
                .collect();
            prop_assert_eq!(&read, &sets);
        }
    }

    #[test]
    fn messages_survive(letter in b'A'..=b'Z', digit in b'0'..=b'9', data in "[ -~]{0,60}", more: bool) {
        let data = data.as_bytes();
        let command = Command(letter, digit);
        for message in [Message::Command { command, data }, Message::Answer { data, more }] {
            let line = message.encode();
            prop_assert_eq!(Message::decode(&line), Some((message, Bcc::Good)));
        }
    }
}
