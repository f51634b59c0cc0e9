// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages survive encoding and decoding, quirks are tolerated only when asked for, and nothing panics.

use proptest::prelude::*;
use smgw_sml::{
    Body, CloseResponse, CrcKind, ErrorKind, File, ListEntry, ListResponse, Message, MessageCrc,
    OpenResponse, Quirk, Quirks, Time, Value, readings,
};
use smgw_units::{Decimal, Obis, Unit};

/// Owned bytes from which a borrowing file is built.
#[derive(Clone, Debug)]
struct Plan {
    octets: Vec<u8>,
    seed: Vec<(u8, u64, u8)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let octets = prop::collection::vec(any::<u8>(), 1..40);
    let seed = prop::collection::vec((any::<u8>(), any::<u64>(), any::<u8>()), 1..12);
    (octets, seed).prop_map(|(octets, seed)| Plan { octets, seed })
}

fn value(pick: u8, number: u64, bytes: &[u8], depth: usize) -> Value<'_> {
    match pick % 6 {
        0 => Value::Octets(bytes),
        1 => Value::Bool(number & 1 == 1),
        2 => Value::signed(number as i64),
        3 => Value::unsigned(number),
        // Odd widths, as long as the number fits.
        4 => Value::Unsigned {
            value: number & 0xff_ffff,
            width: 3 + pick % 5,
        },
        _ if depth == 0 => Value::Signed {
            value: number as i32 as i64,
            width: 5,
        },
        _ => Value::List(vec![
            value(pick / 6, number, bytes, depth - 1),
            value(pick / 7, number.rotate_left(9), bytes, depth - 1),
        ]),
    }
}

fn time(pick: u8, number: u64) -> Option<Time> {
    match pick % 4 {
        0 => None,
        1 => Some(Time::SecIndex(number as u32)),
        2 => Some(Time::Timestamp(number as u32)),
        _ => Some(Time::Local {
            timestamp: number as u32,
            local_offset: (number >> 32) as i16,
            season_offset: (number >> 48) as i16,
        }),
    }
}

fn file(plan: &Plan) -> File<'_> {
    let bytes = &plan.octets[..];
    let some = |pick: u8| (pick & 1 == 1).then_some(bytes);
    let messages = plan
        .seed
        .iter()
        .map(|&(pick, number, other)| Message {
            transaction_id: bytes,
            group: pick,
            abort_on_error: other,
            body: match pick % 4 {
                0 => Body::OpenResponse(OpenResponse {
                    codepage: some(pick >> 2),
                    client_id: some(pick >> 3),
                    request_file_id: bytes,
                    server_id: bytes,
                    reference_time: time(other, number),
                    version: (other > 100).then_some(other),
                }),
                1 => Body::CloseResponse(CloseResponse {
                    signature: some(pick >> 2),
                }),
                2 => Body::Other {
                    tag: 0xff01,
                    content: value(other, number, bytes, 3),
                },
                _ => Body::ListResponse(ListResponse {
                    client_id: some(pick >> 2),
                    server_id: bytes,
                    list_name: some(pick >> 3),
                    sensor_time: time(pick >> 4, number),
                    entries: plan
                        .seed
                        .iter()
                        .map(|&(pick, number, other)| ListEntry {
                            name: bytes,
                            status: (pick & 4 == 4).then_some(number),
                            time: time(other, number),
                            unit: (pick & 8 == 8).then_some(other),
                            scaler: (pick & 16 == 16).then_some(other as i8),
                            value: (pick & 32 == 32).then(|| value(other, number, bytes, 2)),
                            signature: some(pick),
                        })
                        .collect(),
                    signature: some(other),
                    gateway_time: time(other >> 2, number),
                }),
            },
            crc: MessageCrc::Good(if other & 1 == 1 {
                CrcKind::X25
            } else {
                CrcKind::Kermit
            }),
        })
        .collect();
    File { messages }
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(plan in plan()) {
        let file = file(&plan);
        let payload = file.encode();
        prop_assert_eq!(File::parse(&payload, Quirks::ALL), Ok(file));
    }

    /// Every prefix is refused with an offset inside it, except where a message ends.
    #[test]
    fn prefixes_never_panic(plan in plan()) {
        let payload = file(&plan).encode();
        for cut in 0..payload.len() {
            match File::parse(&payload[..cut], Quirks::ALL) {
                Ok(part) => prop_assert_eq!(part.encode(), &payload[..cut]),
                Err(error) => prop_assert!(error.offset <= cut),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(file) = File::parse(&bytes, Quirks::ALL) {
            prop_assert!(readings(&file).count() <= bytes.len());
        }
    }
}

/// A file as a basic meter pushes it.
fn push() -> File<'static> {
    const SERVER: &[u8] = b"\x0a\x01SMB\x00\x00\x00\x00\x01";
    let message = |transaction_id, body| Message {
        transaction_id,
        group: 0,
        abort_on_error: 0,
        body,
        crc: MessageCrc::Good(CrcKind::X25),
    };
    let entry = |name, unit, scaler, value| ListEntry {
        name,
        unit: Some(unit),
        scaler: Some(scaler),
        value: Some(value),
        ..ListEntry::default()
    };
    let list = ListResponse {
        server_id: SERVER,
        list_name: Some(b"\x01\x00\x62\x0a\xff\xff"),
        sensor_time: Some(Time::SecIndex(4711)),
        entries: vec![
            ListEntry {
                name: b"\x01\x00\x60\x32\x01\x01",
                value: Some(Value::Octets(b"SMB")),
                ..ListEntry::default()
            },
            ListEntry {
                status: Some(0x1c_0104),
                ..entry(
                    b"\x01\x00\x01\x08\x00\xff",
                    30,
                    -4,
                    Value::unsigned(u64::MAX),
                )
            },
            entry(b"\x01\x00\x10\x07\x00\xff", 27, -1, Value::signed(-3_600)),
            ListEntry {
                value: None,
                ..entry(b"\x01\x00\x02\x08\x00\xff", 30, -4, Value::unsigned(0))
            },
        ],
        ..ListResponse::default()
    };
    let open = OpenResponse {
        request_file_id: b"\x00\x01",
        server_id: SERVER,
        ..OpenResponse::default()
    };
    File {
        messages: vec![
            message(b"\xf1\x2c\xad\x07", Body::OpenResponse(open)),
            message(b"\xf1\x2c\xad\x08", Body::ListResponse(list)),
            message(
                b"\xf1\x2c\xad\x09",
                Body::CloseResponse(CloseResponse::default()),
            ),
        ],
    }
}

#[test]
fn golden_push_is_stable() {
    let golden = include_bytes!("../../../fixtures/sml/push.sml");
    assert_eq!(push().encode(), golden);
}

#[test]
fn readings_keep_every_digit() {
    let payload = push().encode();
    let file = File::parse(
        &payload,
        Quirks::NONE.with(Quirk::ShortTag).with(Quirk::AbsentValue),
    )
    .unwrap();
    assert_eq!(file.transaction_id(), Some(&b"\xf1\x2c\xad\x07"[..]));
    assert_eq!(
        file.server_id(),
        Some(&b"\x0a\x01SMB\x00\x00\x00\x00\x01"[..])
    );
    assert_eq!(file.sec_index(), Some(4711));
    assert!(file.is_intact());
    let readings: Vec<_> = readings(&file).collect();
    assert_eq!(readings.len(), 2);
    assert_eq!(readings[0].obis, Obis::IMPORT_TOTAL);
    assert_eq!(
        readings[0].value,
        Decimal::new(18_446_744_073_709_551_615, -4)
    );
    assert_eq!(readings[0].unit, Unit::WATT_HOUR);
    assert_eq!(readings[0].status, Some(0x1c_0104));
    assert_eq!(readings[0].time, Some(Time::SecIndex(4711)));
    assert_eq!(readings[1].value.to_string(), "-360.0");
}

/// No single wrong byte in a message is accepted as a good message.
#[test]
fn no_damage_goes_unnoticed() {
    let push = push();
    let payload = push.encode();
    for at in 0..payload.len() {
        for flip in 1..=255u8 {
            let mut damaged = payload.clone();
            damaged[at] ^= flip;
            if let Ok(file) = File::parse(&damaged, Quirks::ALL) {
                assert!(
                    !file.is_intact() || file == push,
                    "byte {at} flipped by {flip:02x} went unnoticed: {file:?}"
                );
            }
        }
    }
}

/// A message around raw body bytes, with its checksum.
fn message_of(body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x76\x02\x01\x62\x00\x62\x00".to_vec();
    bytes.extend(body);
    let [low, high] = CrcKind::X25.of(&bytes);
    bytes.extend([0x63, low, high, 0x00]);
    bytes
}

/// A list response with one entry; `sensor_time` and `status`, `value` are raw.
fn list_of(tag: &[u8], sensor_time: &[u8], status: &[u8], value: &[u8]) -> Vec<u8> {
    let mut body = b"\x72".to_vec();
    body.extend(tag);
    body.extend(b"\x77\x01\x02\x0a\x01");
    body.extend(sensor_time);
    body.extend(b"\x71\x77\x07\x01\x00\x01\x08\x00\xff");
    body.extend(status);
    body.extend(b"\x01\x62\x1e\x52\xff");
    body.extend(value);
    body.extend(b"\x01\x01\x01");
    message_of(&body)
}

#[test]
fn each_quirk_has_its_switch() {
    const TAG: &[u8] = b"\x65\x00\x00\x07\x01";
    const TIME: &[u8] = b"\x72\x62\x01\x65\x00\x00\x00\x05";
    const STATUS: &[u8] = b"\x65\x00\x1c\x01\x04";
    const VALUE: &[u8] = b"\x56\x00\x00\x00\x00\x07";
    let plain = list_of(TAG, TIME, STATUS, VALUE);
    let expected = File::parse(&plain, Quirks::NONE).unwrap();
    let cases = [
        (
            Quirk::BareTime,
            list_of(TAG, b"\x65\x00\x00\x00\x05", STATUS, VALUE),
        ),
        (
            Quirk::TimeList,
            list_of(
                TAG,
                b"\x72\x62\x01\x73\x65\x00\x00\x00\x05\x53\x00\x3c\x53\x00\x3c",
                STATUS,
                VALUE,
            ),
        ),
        (
            Quirk::ShortTag,
            list_of(b"\x63\x07\x01", TIME, STATUS, VALUE),
        ),
        (
            Quirk::OddStatusWidth,
            list_of(TAG, TIME, b"\x64\x1c\x01\x04", VALUE),
        ),
        (Quirk::StrayFill, [&plain[..], &[0, 0]].concat()),
    ];
    for (quirk, payload) in &cases {
        assert_eq!(
            File::parse(payload, Quirks::NONE.with(*quirk)).as_ref(),
            Ok(&expected),
            "{quirk}"
        );
        let refused = File::parse(payload, Quirks::ALL.without(*quirk)).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::QuirkOff(*quirk));
    }

    let absent = list_of(TAG, TIME, STATUS, b"\x01");
    let file = File::parse(&absent, Quirks::NONE.with(Quirk::AbsentValue)).unwrap();
    assert_eq!(readings(&file).count(), 0);
    assert!(File::parse(&absent, Quirks::ALL.without(Quirk::AbsentValue)).is_err());
}

#[test]
fn cropped_and_kermit_checksums_are_quirks() {
    // Search a message whose checksum begins with a zero byte on the line.
    let cropped = (0..=u16::MAX)
        .find_map(|number| {
            let [high, low] = number.to_be_bytes();
            let whole = message_of(&[0x72, 0x63, 0x02, 0x01, 0x71, 0x03, high, low]);
            let (message, line) = whole.split_at(whole.len() - 4);
            (line[1] == 0).then(|| [message, &[0x62, line[2], 0x00]].concat())
        })
        .unwrap();
    assert!(File::parse(&cropped, Quirks::ALL).unwrap().is_intact());
    let refused = File::parse(&cropped, Quirks::ALL.without(Quirk::CroppedCrc)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::QuirkOff(Quirk::CroppedCrc));

    let mut kermit = push();
    kermit.messages[1].crc = MessageCrc::Good(CrcKind::Kermit);
    let payload = kermit.encode();
    assert_eq!(File::parse(&payload, Quirks::ALL).as_ref(), Ok(&kermit));
    let strict = File::parse(&payload, Quirks::ALL.without(Quirk::KermitCrc)).unwrap();
    assert!(!strict.is_intact());
}

#[test]
fn deep_nesting_is_refused() {
    let mut body = b"\x72\x63\xff\x01".to_vec();
    body.extend([0x71; 40]);
    body.push(0x01);
    let refused = File::parse(&message_of(&body), Quirks::ALL).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooDeep);
}

#[test]
fn lengths_beyond_the_end_are_refused() {
    for payload in [
        &b"\x76\x05\x01"[..],
        b"\xff\x8f\x8f\x0f",
        b"\x8f\x8f\x8f\x8f\x8f\x0f",
    ] {
        assert!(File::parse(payload, Quirks::ALL).is_err());
    }
}
