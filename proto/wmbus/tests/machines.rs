// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written is read back, whatever it is; replays, fragments and receivers.

mod corpora;

use corpora::{corpus, fixture};
use proptest::prelude::*;
use serde_json::Value as Json;
use smgw_lmn_keys::{CcmTag, Error as KeyError, Key, StoreWithin};
use smgw_mbus::{Data, Device, Header, Manufacturer, NewRecord};
use smgw_units::Nanos;
use smgw_wmbus::stick::{Amber, Cul, Framer, Framing, Heard, Im871a, Packet, RtlWmbus, Stamp};
use smgw_wmbus::{
    Body, CrcFormat, Error, FormatCache, Frame, Keys, NewEll, NewTelegram, Protection, Reassembler,
    Refused, ReplayGuard, Telegram, Verdict, compact, control, format,
};
use test_material::unhex;

const SENDER: Device = Device {
    id: [0x78, 0x56, 0x34, 0x12],
    manufacturer: Manufacturer(0x4c21),
    version: 3,
    medium: 2,
};
const METER: Device = Device {
    id: [0x21, 0x43, 0x65, 0x87],
    manufacturer: Manufacturer(0x1593),
    version: 0x33,
    medium: 3,
};

fn header(device: Option<Device>) -> Header {
    Header {
        device,
        access: 0x2a,
        status: 0,
        config: 0,
    }
}

fn energy(value: i64) -> Vec<u8> {
    let data = Data::Integer { value, bytes: 4 };
    NewRecord::new(&[0x03], data).encode().unwrap()
}

fn decode(frame: &[u8], key: &Key) -> Telegram {
    Telegram::decode(frame, &Keys::all(key.clone()), &mut FormatCache::default()).unwrap()
}

fn devices() -> impl Strategy<Value = Device> {
    any::<([u8; 4], u16, u8, u8)>().prop_map(|(id, manufacturer, version, medium)| Device {
        id,
        manufacturer: Manufacturer(manufacturer),
        version,
        medium,
    })
}

proptest! {
    #[test]
    fn telegrams_are_read_as_written(
        sender in devices(),
        meter in proptest::option::of(devices()),
        receiver in proptest::option::of(devices()),
        access: u8,
        status: u8,
        communication: u8,
        session in proptest::option::of(0u32..1 << 29),
        encrypted_session: bool,
        ell: bool,
        values in proptest::collection::vec(any::<i32>(), 1..8),
        clear in proptest::collection::vec(any::<i32>(), 0..3),
        key: [u8; 16],
        counter: u32,
        kind in 0..4,
        mac in 3u8..8,
        length: bool,
        key_information in proptest::option::of(any::<u16>()),
        tag in prop_oneof![Just(CcmTag::Bytes8), Just(CcmTag::Bytes12), Just(CcmTag::Bytes16)],
        format in prop_oneof![Just(Format::A), Just(Format::B), Just(Format::Stripped)],
        from_gateway: bool,
    ) {
        let key = Key::new(key);
        let application: Vec<_> = values.iter().flat_map(|value| energy((*value).into())).collect();
        let clear: Vec<_> = clear.iter().flat_map(|value| energy((*value).into())).collect();
        let mut telegram = NewTelegram::new(
            sender,
            Header { device: meter, access, status, config: 0 },
            &application,
        );
        if from_gateway {
            telegram.control = control::SND_UD;
        }
        telegram.clear = &clear;
        telegram.ell = ell.then_some(NewEll {
            communication,
            access,
            receiver,
            session: session.map(|number| match encrypted_session {
                true => (number | 1 << 29, Some(&key)),
                false => (number, None),
            }),
        });
        telegram.protection = match kind {
            0 => Protection::None,
            1 => Protection::A { key: &key },
            2 => Protection::B { key: &key, counter, mac, length, key_information },
            _ => Protection::D { key: &key, counter, tag },
        };
        let frame = telegram.encode(format.crc()).unwrap();
        let input = Frame::decode(&frame, format.crc()).unwrap();
        let keys = Keys::all(key.clone());
        let read = Telegram::of_frame(input, &keys, &mut FormatCache::default()).unwrap();
        let sealed = ell && session.is_some() && encrypted_session;
        let verdict = match kind {
            0 if sealed => Verdict::Decrypted,
            0 => Verdict::Plain,
            1 => Verdict::Decrypted,
            _ => Verdict::Authenticated,
        };
        prop_assert_eq!(read.verdict, verdict);
        prop_assert_eq!(read.sender(), Some(sender));
        prop_assert_eq!(read.meter(), Some(meter.unwrap_or(sender)));
        prop_assert_eq!(read.ell.and_then(|ell| ell.receiver), receiver.filter(|_| ell));
        let expected = (kind >= 2).then_some(counter);
        prop_assert_eq!(read.counter(), expected);
        let found: Vec<_> = read.records().map(|record| record.unwrap().1.data.to_vec()).collect();
        let records = [application.as_slice(), &clear].concat();
        let sent: Vec<_> = records.chunks(6).map(|record| record[2..].to_vec()).collect();
        prop_assert_eq!(found, sent);
    }
}

/// [`CrcFormat`] for proptest, which wants to print it.
#[derive(Clone, Copy, Debug)]
enum Format {
    A,
    B,
    Stripped,
}

impl Format {
    const fn crc(self) -> CrcFormat {
        match self {
            Self::A => CrcFormat::A,
            Self::B => CrcFormat::B,
            Self::Stripped => CrcFormat::Stripped,
        }
    }
}

#[test]
fn other_frames_than_data() {
    let key = Key::new([1; 16]);
    let announcement = NewTelegram::access(SENDER, header(None));
    let read = decode(&announcement.encode(CrcFormat::A).unwrap(), &key);
    assert_eq!((read.control(), read.body), (control::ACC_NR, Body::Empty));
    let application = energy(1);
    let installation = NewTelegram::new(SENDER, header(Some(METER)), &application).installation();
    let read = decode(&installation.encode(CrcFormat::A).unwrap(), &key);
    assert_eq!(
        (read.control(), read.meter()),
        (control::SND_IR, Some(METER))
    );
    assert_eq!(read.records().flatten().count(), 1);
    let confirmation = NewTelegram::confirmation(SENDER, header(Some(METER)));
    let read = decode(&confirmation.encode(CrcFormat::A).unwrap(), &key);
    assert_eq!((read.control(), read.body), (control::CNF_IR, Body::Empty));
    assert!(
        NewTelegram::confirmation(SENDER, header(None))
            .encode(CrcFormat::A)
            .is_err()
    );
}

#[test]
fn wired_frames_may_be_encrypted() {
    let key = Key::new([1; 16]);
    let application = energy(12);
    let mut telegram = NewTelegram::new(SENDER, header(Some(METER)), &application);
    telegram.control = control::SND_UD;
    telegram.ci = 0x5b;
    for protection in [
        Protection::A { key: &key },
        Protection::D {
            key: &key,
            counter: 3,
            tag: CcmTag::Bytes16,
        },
    ] {
        telegram.protection = protection;
        let frame = telegram.encode_wired(0xf0).unwrap();
        let read = |keys: &Keys, frame: &[u8]| {
            Telegram::decode_wired(frame, keys, &mut FormatCache::default())
        };
        let decrypted = read(&Keys::all(key.clone()), &frame).unwrap();
        assert!(matches!(
            decrypted.verdict,
            Verdict::Decrypted | Verdict::Authenticated
        ));
        assert_eq!(decrypted.meter(), Some(METER));
        let (place, record) = decrypted.records().next().unwrap().unwrap();
        assert_eq!(record.decimal().unwrap().mantissa, 12);
        assert_eq!(place.of(&decrypted.bytes), application);
        assert_eq!(read(&Keys::new(), &frame).unwrap().verdict, Verdict::NoKey);
        let wrong = read(&Keys::all(Key::new([2; 16])), &frame).unwrap().verdict;
        assert!(matches!(wrong, Verdict::WrongKey | Verdict::TagWrong));
        let mut spoilt = frame.clone();
        spoilt[20] ^= 1;
        assert!(matches!(read(&Keys::new(), &spoilt), Err(Error::Wired(_))));
    }
}

/// Configuration words of old wired meters mean anything; their frames still are plain.
#[test]
fn captured_wired_frames_are_plain() {
    let Some(neutral) = corpus("mbus-rscada", "neutral.json") else {
        return;
    };
    let neutral: Json = serde_json::from_str(&neutral).unwrap();
    let mut count = 0;
    for name in neutral.as_object().unwrap().keys() {
        let Some(text) = corpus("mbus-rscada", &format!("test-frames/{name}.hex")) else {
            continue;
        };
        let frame = unhex(&text.split_whitespace().collect::<String>());
        let telegram = Telegram::decode_wired(&frame, &Keys::new(), &mut FormatCache::default());
        let telegram = telegram.unwrap();
        let mode = telegram.tpl.map_or(0, |tpl| tpl.mode());
        assert!(
            telegram.verdict.is_readable(),
            "{name}: {}",
            telegram.verdict
        );
        count += 1;
        if mode != 0 {
            println!("{name}: mode {mode}, {}", telegram.verdict);
        }
    }
    println!("{count} frames");
    assert!(count > 30);
}

#[test]
fn compact_frames_take_their_format_from_full_ones() {
    let (first, second) = (
        [energy(1), energy(2)].concat(),
        [energy(3), energy(4)].concat(),
    );
    let key = Key::new([1; 16]);
    let body = compact(&second).unwrap();
    let telegram = |ci: u8, application: &[u8]| {
        let mut telegram = NewTelegram::new(SENDER, header(None), application);
        telegram.ci = ci;
        telegram.protection = Protection::A { key: &key };
        telegram.encode(CrcFormat::A).unwrap()
    };
    let (full, short) = (telegram(0x7a, &first), telegram(0x7b, &body));
    let mut formats = FormatCache::new(1);
    let mut read = |frame: &[u8]| {
        let keys = Keys::all(key.clone());
        let telegram = Telegram::decode(frame, &keys, &mut formats).unwrap();
        let records = telegram.records().flatten();
        let values = records.map(|(_, record)| record.decimal().unwrap().mantissa);
        values.collect::<Vec<_>>()
    };
    assert_eq!(read(&short), []);
    assert_eq!(read(&full), [1, 2]);
    assert_eq!(read(&short), [3, 4]);
    // The only place in the memory goes to the next format.
    assert_eq!(read(&telegram(0x7a, &energy(9))), [9]);
    assert_eq!(read(&short), []);
    // With and without a length in front.
    let body = format(&second).unwrap();
    assert_eq!(body[2..], [4, 3, 4, 3]);
    for layout in [body.clone(), [&[6], body.as_slice()].concat()] {
        let mut formats = FormatCache::default();
        assert!(formats.learn_format(&layout).is_some());
        assert!(formats.learn_format(&layout[..layout.len() - 1]).is_none());
        let keys = Keys::all(key.clone());
        let telegram = Telegram::decode(&telegram(0x6a, &layout), &keys, &mut formats).unwrap();
        assert!(matches!(telegram.body, Body::Format(Some(_))));
        let telegram = Telegram::decode(&short, &keys, &mut formats).unwrap();
        assert_eq!(telegram.records().flatten().count(), 2);
    }
}

#[test]
fn replays_are_refused() {
    let key = Key::new([1; 16]);
    let application = [energy(1), energy(2), energy(3)].concat();
    let with_mac = |mac: u8, counter: u32| {
        let mut telegram = NewTelegram::new(SENDER, header(Some(METER)), &application);
        telegram.protection = Protection::B {
            key: &key,
            counter,
            mac,
            length: false,
            key_information: None,
        };
        telegram.encode(CrcFormat::Stripped).unwrap()
    };
    let with = |counter| with_mac(5, counter);
    let mut guard = ReplayGuard::new(StoreWithin::TWELVE_HOURS);
    let mut accept = |frame: &[u8]| guard.accept(&decode(frame, &key), Nanos(0));
    assert_eq!(accept(&with(6)), Err(Refused::UnknownMeter));
    let mut guard = ReplayGuard::new(StoreWithin::TWELVE_HOURS);
    guard.admit(&METER, Some(5));
    let mut accept = |frame: &[u8]| guard.accept(&decode(frame, &key), Nanos(0));
    assert_eq!(accept(&with(6)), Ok(()));
    let replayed = Refused::Replay(KeyError::Replay { last: 6, got: 6 });
    assert_eq!(accept(&with(6)), Err(replayed));
    let mut spoilt = with(9);
    *spoilt.last_mut().unwrap() ^= 1;
    assert_eq!(
        accept(&spoilt),
        Err(Refused::NotAuthenticated(Verdict::MacWrong))
    );
    assert_eq!(accept(&with_mac(4, 9)), Err(Refused::ShortMac));
    assert_eq!(accept(&with(8)), Ok(()));
    assert_eq!(guard.counter(&METER).unwrap().last(), Some(8));
}

#[test]
fn fragments_become_one_message() {
    let key = Key::new([3; 16]);
    let application: Vec<_> = (0..20).flat_map(energy).collect();
    let mut telegram = NewTelegram::new(SENDER, header(Some(METER)), &application);
    telegram.ell = Some(NewEll {
        communication: 0x20,
        access: 0x2a,
        receiver: None,
        session: Some((5, None)),
    });
    telegram.protection = Protection::B {
        key: &key,
        counter: 77,
        mac: 7,
        length: true,
        key_information: None,
    };
    let frames = telegram.fragments(50, CrcFormat::A).unwrap();
    assert_eq!(frames.len(), 3);
    let run = |order: &[usize], reassembler: &mut Reassembler| {
        let keys = Keys::all(key.clone());
        let mut formats = FormatCache::default();
        let mut whole = Vec::new();
        for at in order {
            let piece = Telegram::decode(&frames[*at], &keys, &mut formats).unwrap();
            assert_eq!(
                (piece.verdict, &piece.body),
                (Verdict::Fragment, &Body::Fragment)
            );
            whole.extend(reassembler.push(&piece, &keys, &mut formats).unwrap());
        }
        whole
    };
    let whole = run(&[0, 1, 1, 2], &mut Reassembler::default());
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].verdict, Verdict::Authenticated);
    assert_eq!(whole[0].records().flatten().count(), 20);
    assert_eq!(whole[0].counter(), Some(77));
    for order in [&[0, 2][..], &[1, 2], &[2], &[0, 2, 1]] {
        assert!(
            run(order, &mut Reassembler::default()).is_empty(),
            "{order:?}"
        );
    }
    assert_eq!(run(&[0, 0, 1, 2], &mut Reassembler::default()).len(), 1);
    assert!(run(&[0, 1, 2], &mut Reassembler::new(8, 60)).is_empty());
}

/// Feeds noise, a packet, a damaged packet and a packet again.
fn resync<F: Framing>(framing: F, packet: &[u8], damaged: &[u8]) -> Vec<F::Packet> {
    let mut framer = Framer::new(framing);
    let mut all = Vec::new();
    for piece in [&b"\x00\n"[..], packet, damaged, packet, packet] {
        framer.feed(piece, |packet| all.push(packet));
    }
    assert!(framer.noise() > 0);
    all
}

#[test]
fn receivers_are_understood() {
    let frame = |format| {
        NewTelegram::new(SENDER, header(None), &energy(5))
            .encode(format)
            .unwrap()
    };
    let mut heard = Heard::stripped(frame(CrcFormat::Stripped));

    heard.stamp = Some(Stamp::Ticks(0x0102_0304));
    heard.rssi_dbm = Some(-80);
    let packet = Packet::of(&heard).unwrap().encode().unwrap();
    let mut damaged = packet.clone();
    damaged[9] ^= 1;
    let all = resync(Im871a, &packet, &damaged);
    assert_eq!(
        all.iter().filter_map(Packet::heard).collect::<Vec<_>>(),
        vec![heard.clone(); 3]
    );
    // Start byte, CRC and radio link, received telegram, length.
    assert_eq!(packet[..4], [0xa5, 0xe2, 3, heard.frame[0]]);

    heard.stamp = None;
    for (command_mode, rssi) in [(true, true), (true, false), (false, true), (false, false)] {
        let amber = Amber { command_mode, rssi };
        heard.rssi_dbm = rssi.then_some(-70);
        let packet = amber.encode(&heard).unwrap();
        let mut damaged = packet.clone();
        // In transparent mode only an impossible C field shows damage.
        damaged[if command_mode { 9 } else { 1 }] ^= 0x81;
        let all = resync(amber, &packet, &damaged);
        // Without start bytes, the rest of a damaged frame may look like the start of another one.
        assert!(all.len() >= if command_mode { 3 } else { 1 });
        assert_eq!(all[0], Ok(heard.clone()));
    }

    for (format, start) in [(CrcFormat::A, &b"b0"[..]), (CrcFormat::B, b"bY")] {
        let heard = Heard {
            frame: frame(format),
            format,
            rssi_dbm: Some(-90),
            stamp: None,
        };
        let packet = Cul { rssi: true }.encode(&heard).unwrap();
        assert!(start == b"b0" || packet.starts_with(start));
        let all = resync(Cul { rssi: true }, &packet, b"b12x4\r\n");
        assert_eq!(all, vec![heard.clone(); 3]);
        assert!(Frame::decode(&all[0].frame, all[0].format).is_ok());
    }

    heard.rssi_dbm = None;
    heard.stamp = Some(Stamp::Text("2026-01-02 03:04:05.000".into()));
    let line = RtlWmbus::encode("T1", &heard).unwrap();
    assert!(line.starts_with(b"T1;1;1;2026-01-02 03:04:05.000;0;0;12345678;0x"));
    let wrong_crc = [b"T1;0;1", &line[6..]].concat();
    assert_eq!(resync(RtlWmbus, &line, &wrong_crc), vec![heard; 3]);
}

/// Every frame there is: own, and captured ones where present.
fn frames() -> Vec<(Vec<u8>, Option<Key>)> {
    let own: Json = serde_json::from_str(&fixture("oms-synthetic/vectors.json")).unwrap();
    let published = corpus("oms-vectors", "vectors.json");
    let published: Option<Json> = published.map(|text| serde_json::from_str(&text).unwrap());
    let vectors = own.as_array().unwrap().iter();
    let mut all: Vec<_> = vectors
        .chain(
            published
                .iter()
                .flat_map(|vectors| vectors.as_array().unwrap()),
        )
        .map(|vector| {
            let key = vector["key"].as_str().and_then(corpora::key);
            (unhex(vector["frame"].as_str().unwrap()), key)
        })
        .collect();
    let key = Key::new([5; 16]);
    let application = energy(77);
    let mut telegram = NewTelegram::new(SENDER, header(Some(METER)), &application);
    telegram.protection = Protection::D {
        key: &key,
        counter: 9,
        tag: CcmTag::Bytes12,
    };
    all.push((telegram.encode(CrcFormat::B).unwrap(), Some(key)));
    let captured = corpus("wmbus-wmbusmeters", "telegrams.jsonl").unwrap_or_default();
    for line in captured.lines().step_by(8) {
        let row: Json = serde_json::from_str(&line.replace("NaN", "null")).unwrap();
        let frame = row["telegram"].as_str().unwrap().replace(['|', '_'], "");
        all.push((unhex(&frame), row["key"].as_str().and_then(corpora::key)));
    }
    all
}

#[test]
fn no_changed_byte_is_believed() {
    let (mut changed, mut with_crc, mut authenticated) = (0, 0, 0);
    for (frame, key) in frames() {
        let keys = key.map_or_else(Keys::new, Keys::all);
        let read = |frame: &[u8]| Telegram::decode(frame, &keys, &mut FormatCache::default());
        let format = Frame::detect(&frame).map(|frame| frame.format);
        let good = format.is_ok_and(|format| format != CrcFormat::Stripped);
        let stripped = Frame::detect(&frame).map_or_else(|_| frame.clone(), |frame| frame.bytes);
        let original = read(&stripped);
        let first = match &original {
            Ok(read) if read.verdict == Verdict::Authenticated => match &read.afl {
                // From the message control field on, everything is authenticated.
                Some(afl) => afl.span.at + 4,
                None => read.tpl.unwrap().span.at,
            },
            _ => usize::MAX,
        };
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut frame = frame.clone();
                frame[at] ^= 1 << bit;
                let _ = read(&frame);
                changed += 1;
                let accepted = Frame::detect(&frame)
                    .is_ok_and(|frame| frame.format != CrcFormat::Stripped && frame.trailing == 0);
                assert!(!(good && accepted), "byte {at} bit {bit}");
                with_crc += usize::from(good);
            }
        }
        for at in first.min(stripped.len())..stripped.len() {
            for bit in 0..8 {
                let mut frame = stripped.clone();
                frame[at] ^= 1 << bit;
                let believed = read(&frame).is_ok_and(|it| it.verdict == Verdict::Authenticated);
                assert!(!believed, "byte {at} bit {bit}");
                authenticated += 1;
            }
        }
    }
    println!("{changed} changed frames, {with_crc} of them with CRCs, {authenticated} with MAC");
    assert!(with_crc > 5000 && authenticated > 3000);
}

#[test]
fn who_wants_authentic_messages_learns_nothing_of_others() {
    let key = Key::new([1; 16]);
    let application = [energy(1), energy(2)].concat();
    let mut telegram = NewTelegram::new(SENDER, header(None), &application);
    telegram.protection = Protection::B {
        key: &key,
        counter: 7,
        mac: 5,
        length: false,
        key_information: None,
    };
    let good = telegram.encode(CrcFormat::Stripped).unwrap();
    let read = |frame: &[u8], key: &Key| {
        let keys = Keys::all(key.clone()).authentic_only();
        Telegram::decode(frame, &keys, &mut FormatCache::default()).unwrap()
    };
    let opened = read(&good, &key);
    assert_eq!(opened.verdict, Verdict::Authenticated);
    assert_eq!(opened.records().count(), 2);
    // Padding right or wrong, MAC wrong: the same answer, and not a byte decrypted.
    let (mac, padding) = (opened.afl.unwrap().mac.unwrap(), opened.payload);
    for at in [mac.at, padding.at, padding.at + 1, good.len() - 1] {
        let mut forged = good.clone();
        forged[at] ^= 1;
        let refused = read(&forged, &key);
        assert_eq!(refused.verdict, Verdict::TagWrong);
        assert_eq!(refused.bytes, forged);
        assert_eq!(refused.records().count(), 0);
    }
    let foreign = read(&good, &Key::new([2; 16]));
    assert_eq!((foreign.verdict, foreign.bytes), (Verdict::TagWrong, good));
    for (protection, mode) in [(Protection::None, 0), (Protection::A { key: &key }, 5)] {
        telegram.protection = protection;
        let frame = telegram.encode(CrcFormat::Stripped).unwrap();
        assert_eq!(read(&frame, &key).verdict, Verdict::Unsupported(mode));
    }
}
