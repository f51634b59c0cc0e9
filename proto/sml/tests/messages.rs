// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages survive encoding and decoding, quirks are tolerated only when asked for, and nothing panics.

mod any;

use proptest::prelude::*;
use smgw_sml::{
    AttentionNumber, Body, CloseResponse, CrcKind, ErrorKind, File, Int, Kind, ListEntry,
    ListResponse, ListValue, Message, MessageCrc, MeterStatus, OpenResponse, Quirk, Quirks, Time,
    Value, elements, readings,
};
use smgw_units::{Decimal, Obis, Unit};

proptest! {
    #[test]
    fn decodes_what_it_encodes(messages in prop::collection::vec(any::message(), 0..6)) {
        let file = File { messages };
        let payload = file.encode();
        let again = File::parse(&payload, Quirks::ALL);
        prop_assert_eq!(again.as_ref(), Ok(&file));
        // What has been received is sent on as it came.
        prop_assert_eq!(again.map(|file| file.encode()), Ok(payload.clone()));
    }

    /// Every kind of message is tried in every run, whatever the dice say.
    #[test]
    fn every_kind_decodes_what_it_encodes(dice: u64) {
        for kind in 0..any::KINDS {
            let file = File { messages: vec![any::Dice::new(dice).message_of(kind)] };
            let payload = file.encode();
            prop_assert_eq!(File::parse(&payload, Quirks::ALL), Ok(file));
        }
    }

    #[test]
    fn list_values_decode_what_they_encode(dice: u64) {
        let mut dice = any::Dice::new(dice);
        let meant = dice.list_value();
        let bytes = meant.encode();
        let (value, rest) = Value::parse(&bytes).unwrap();
        prop_assert_eq!(rest, &[]);
        prop_assert_eq!(value.encode(), &bytes[..]);
        prop_assert_eq!(ListValue::of(&value), Some(meant));
    }

    /// The flat view covers every byte once, in order.
    #[test]
    fn elements_cover_every_byte(messages in prop::collection::vec(any::message(), 1..4)) {
        let payload = File { messages }.encode();
        let mut next = 0;
        for element in elements(&payload) {
            let element = element.unwrap();
            prop_assert_eq!(element.offset, next);
            next += element.header + element.value.len();
            prop_assert_eq!(&payload[next - element.value.len()..next], element.value);
        }
        prop_assert_eq!(next, payload.len());
    }

    /// Every prefix is refused with an offset inside it, except where a message ends.
    #[test]
    fn prefixes_never_panic(messages in prop::collection::vec(any::message(), 1..3)) {
        let payload = File { messages }.encode();
        for cut in 0..payload.len() {
            match File::parse(&payload[..cut], Quirks::ALL) {
                Ok(part) => prop_assert_eq!(part.encode(), &payload[..cut]),
                Err(error) => prop_assert!(error.offset <= cut),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(elements(&bytes).count() <= bytes.len() + 1);
        if let Ok(file) = File::parse(&bytes, Quirks::ALL) {
            prop_assert!(readings(&file).count() <= bytes.len());
        }
    }
}

/// A file as a basic meter pushes it.
fn push() -> File<'static> {
    const SERVER: &[u8] = b"\x0a\x01SMB\x00\x00\x00\x00\x01";
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
        sensor_time: Some(Time::sec_index(4711)),
        entries: any::given(vec![
            ListEntry {
                name: b"\x01\x00\x60\x32\x01\x01",
                value: Some(Value::Octets(b"SMB")),
                ..ListEntry::default()
            },
            ListEntry {
                status: Some(Int::from(0x1c_0104u32)),
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
        ]),
        ..ListResponse::default()
    };
    let open = OpenResponse {
        request_file_id: b"\x00\x01",
        server_id: SERVER,
        ..OpenResponse::default()
    };
    File {
        messages: vec![
            Message::new(b"\xf1\x2c\xad\x07", Body::OpenResponse(open)),
            Message::new(b"\xf1\x2c\xad\x08", Body::ListResponse(list)),
            Message::new(
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

/// One message of every type; where it comes from tells which foreign program has read and written it.
#[test]
fn golden_messages_are_stable() {
    let golden = include_bytes!("../../../fixtures/sml/every-message.sml");
    let file = File::parse(golden, Quirks::NONE.with(Quirk::AbsentValue)).unwrap();
    assert!(file.is_intact());
    let tags: Vec<_> = file.messages.iter().map(|it| it.body.tag()).collect();
    assert_eq!(
        tags,
        [
            0x0100, 0x0101, 0x0200, 0x0201, 0x0300, 0x0301, 0x0400, 0x0401, 0x0500, 0x0501, 0x0600,
            0x0700, 0x0701, 0xff01
        ]
    );
    for (message, tag) in file.messages.iter().zip(tags) {
        assert!(Body::name_of(tag).is_some());
        assert!(!matches!(message.body, Body::Other { .. }));
    }
    assert_eq!(file.encode(), golden);
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
    assert_eq!(readings[0].time, Some(Time::sec_index(4711)));
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

/// A list response with one entry, of raw elements.
fn list_of(tag: &[u8], sensor_time: &[u8], status: &[u8], unit: &[u8], value: &[u8]) -> Vec<u8> {
    let mut body = b"\x72".to_vec();
    body.extend(tag);
    body.extend(b"\x77\x01\x02\x0a\x01");
    body.extend(sensor_time);
    body.extend(b"\x71\x77\x07\x01\x00\x01\x08\x00\xff");
    body.extend(status);
    body.push(0x01);
    body.extend(unit);
    body.extend(b"\x52\xff");
    body.extend(value);
    body.extend(b"\x01\x01\x01");
    message_of(&body)
}

/// What a gateway makes of a payload, or the quirk that stands in the way.
fn understood(payload: &[u8], quirks: Quirks) -> Result<Vec<String>, ErrorKind> {
    let file = File::parse(payload, quirks).map_err(|error| error.kind)?;
    assert!(file.is_intact());
    assert_eq!(file.encode(), payload);
    let readings = file.lists().flat_map(|list| list.readings(quirks));
    Ok(readings
        .map(|it| {
            let time = it.time.and_then(|time| time.operation_seconds());
            format!(
                "{} {} {} {:?} {time:?}",
                it.obis, it.value, it.unit, it.status
            )
        })
        .collect())
}

#[test]
fn each_quirk_has_its_switch() {
    const TAG: &[u8] = b"\x65\x00\x00\x07\x01";
    const TIME: &[u8] = b"\x72\x62\x01\x65\x00\x00\x00\x05";
    const STATUS: &[u8] = b"\x65\x00\x1c\x01\x04";
    const VALUE: &[u8] = b"\x56\x00\x00\x00\x00\x07";
    const UNIT: &[u8] = b"\x62\x1e";
    let plain = list_of(TAG, TIME, STATUS, UNIT, VALUE);
    let expected = understood(&plain, Quirks::NONE).unwrap();
    assert_eq!(expected, ["1-0:1.8.0*255 0.7 Wh Some(1835268) Some(5)"]);
    let cases = [
        (
            Quirk::BareTime,
            list_of(TAG, b"\x65\x00\x00\x00\x05", STATUS, UNIT, VALUE),
        ),
        (
            Quirk::TimeList,
            list_of(
                TAG,
                b"\x72\x62\x01\x73\x65\x00\x00\x00\x05\x53\x00\x3c\x53\x00\x3c",
                STATUS,
                UNIT,
                VALUE,
            ),
        ),
        (
            Quirk::ShortTag,
            list_of(b"\x63\x07\x01", TIME, STATUS, UNIT, VALUE),
        ),
        (
            Quirk::OddStatusWidth,
            list_of(TAG, TIME, b"\x64\x1c\x01\x04", UNIT, VALUE),
        ),
        (Quirk::StrayFill, [&plain[..], &[0, 0]].concat()),
    ];
    for (quirk, payload) in &cases {
        let quirk = *quirk;
        assert_eq!(
            understood(payload, Quirks::NONE.with(quirk)).as_ref(),
            Ok(&expected),
            "{quirk}"
        );
        assert_eq!(
            understood(payload, Quirks::ALL.without(quirk)),
            Err(ErrorKind::QuirkOff(quirk))
        );
    }

    let absent = list_of(TAG, TIME, STATUS, UNIT, b"\x01");
    assert_eq!(
        understood(&absent, Quirks::NONE.with(Quirk::AbsentValue)),
        Ok(vec![])
    );
    assert_eq!(
        understood(&absent, Quirks::ALL.without(Quirk::AbsentValue)),
        Err(ErrorKind::QuirkOff(Quirk::AbsentValue))
    );

    let zero = list_of(TAG, TIME, STATUS, b"\x62\x00", VALUE);
    let file = File::parse(&zero, Quirks::NONE.with(Quirk::ZeroUnit)).unwrap();
    assert_eq!(readings(&file).next().unwrap().unit, Unit::COUNT);
    assert_eq!(
        understood(&zero, Quirks::ALL.without(Quirk::ZeroUnit)),
        Err(ErrorKind::QuirkOff(Quirk::ZeroUnit))
    );
}

/// A list with a status word on the energy and a power, as DZG meters send it.
fn power_list(server_id: &'static [u8], status: u32, power: Value<'static>) -> Vec<u8> {
    let entry = |name, status, unit, value| ListEntry {
        name,
        status,
        unit: Some(unit),
        scaler: Some(-2),
        value: Some(value),
        ..ListEntry::default()
    };
    let entries = [
        entry(
            &b"\x01\x00\x01\x08\x00\xff"[..],
            Some(status.into()),
            30,
            Value::unsigned(54_301_577),
        ),
        entry(b"\x01\x00\x10\x07\x00\xff", None, 27, power),
    ];
    let list = ListResponse {
        server_id,
        entries: (&entries).into(),
        ..ListResponse::default()
    };
    let mut payload = Vec::new();
    Message::new(b"1", Body::ListResponse(list)).encode(&mut payload);
    payload
}

/// The sign of a power is as sent unless the correction is asked for, and then only where status word,
/// width and sign all speak for the error.
#[test]
fn wrapped_power_is_told_and_only_corrected_on_demand() {
    const DZG: &[u8] = b"\x0a\x01DZG\x00\x02\x82\x22\x5e";
    const OLD: &[u8] = b"\x09\x01EMH\x00\x00\xca\xcf\x7e";
    let two = |value| Value::Signed { value, width: 2 };
    let four = |value| Value::Signed { value, width: 4 };
    for (server_id, status, power, corrected) in [
        (DZG, 0x1c_0104, two(-29_912), "356.24"),
        // Exporting: the number is what it says.
        (DZG, 0x1c_0904, two(-29_912), "-299.12"),
        (DZG, 0x1c_0104, two(29_912), "299.12"),
        // A wrapped number cannot be wider.
        (DZG, 0x1c_0104, four(-29_912), "-299.12"),
        // The layout of this status word is not known.
        (OLD, 0x1c_0104, two(-29_912), "-299.12"),
    ] {
        let payload = power_list(server_id, status, power);
        let file = File::parse(&payload, Quirks::ALL).unwrap();
        let list = file.lists().next().unwrap();
        let sent = Decimal::new(power.integer().unwrap(), -2);
        assert_eq!(readings(&file).nth(1).unwrap().value, sent);
        assert_eq!(list.readings(Quirks::ALL).nth(1).unwrap().value, sent);
        let quirks = Quirks::ALL.with(Quirk::WrappedPower);
        let value = list.readings(quirks).nth(1).unwrap().value;
        assert_eq!(value.to_string(), corrected);
        assert_eq!(list.wrapped_power().is_some(), corrected == "356.24");
        // Nothing else changes.
        assert_eq!(list.readings(quirks).next(), readings(&file).next());
    }
}

/// Values from table 15.1, and the typical ones of meters in the field.
#[test]
fn status_word_of_basic_meters() {
    const SERVER: &[u8] = b"\x0a\x01SMB\x00\x00\x00\x00\x01";
    let names = |status: u64| {
        let bits = MeterStatus::BITS.iter();
        let set = bits.filter(|(_, bit)| status & bit != 0);
        set.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names(0x1c_0104),
        "basic_meter power_present voltage_l1 voltage_l2 voltage_l3"
    );
    assert_eq!(
        names(0x1c_0004),
        "basic_meter voltage_l1 voltage_l2 voltage_l3"
    );
    let status = MeterStatus::of(SERVER, 0x1c_6904).unwrap();
    assert!(status.export() && status.export_l2() && status.export_l3() && !status.export_l1());
    assert!(MeterStatus::of(SERVER, 0x1c_8104).unwrap().wrong_rotation());
    let status = MeterStatus::of(SERVER, 0x10_0104).unwrap();
    assert!(status.voltage_l3() && !status.voltage_l1() && !status.voltage_l2());
    let faults = MeterStatus(1 << 9 | 1 << 10 | 1 << 16 | 1 << 17);
    assert!(faults.magnetic_influence() && faults.mechanical_tampering());
    assert!(faults.backstop() && faults.fatal_error() && !faults.basic_meter());
    assert_eq!(MeterStatus::of(b"\x09\x01EMH\x00", 0x182), None);
    assert_eq!(MeterStatus::of(b"", 0x182), None);
}

#[test]
fn attention_numbers_are_known_by_their_last_bytes() {
    for number in AttentionNumber::ALL {
        assert_eq!(AttentionNumber::of(&number.obis()), Some(*number));
        assert!(number.text().is_some());
    }
    assert_eq!(AttentionNumber::ALL.len(), 24);
    assert_eq!(AttentionNumber(0xfd00), AttentionNumber::OK);
    assert_eq!(AttentionNumber(0xe001).text(), Some("application specific"));
    assert_eq!(AttentionNumber(0xfe16).to_string(), "attention FE16");
    assert_eq!(AttentionNumber::of(b"\xfd\x00"), None);
    let acknowledgements = AttentionNumber::ALL
        .iter()
        .filter(|it| it.is_acknowledgement());
    assert_eq!(acknowledgements.count(), 2);
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
    let mut body = b"\x72\x63\x08\x00".to_vec();
    body.extend([0x71; 40]);
    body.push(0x01);
    let payload = message_of(&body);
    let refused = File::parse(&payload, Quirks::ALL).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooDeep);
    // The flat view gives up at the same place.
    assert_eq!(elements(&payload).last(), Some(Err(refused)));

    // A tree below a tree below a tree.
    let mut body = b"\x72\x63\x05\x01\x73\x02\x0a\x71\x02\x01".to_vec();
    body.extend(b"\x73\x02\x01\x01\x71".repeat(40));
    body.extend(b"\x73\x02\x01\x01\x01");
    let payload = message_of(&body);
    let refused = File::parse(&payload, Quirks::ALL).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::TooDeep);
}

/// The announced number of elements is believed only as far as there are bytes.
#[test]
fn counts_beyond_the_end_are_refused() {
    let mut body = b"\x72\x63\x05\x00\x75\x01\x01\x01\xff\x8f\x8f\x0f".to_vec();
    body.extend([0x01; 100]);
    let refused = File::parse(&message_of(&body), Quirks::ALL).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Truncated);
}

/// A tree of parameters as it stands in a message, element by element.
#[test]
fn elements_tell_places() {
    let seen: Vec<_> = elements(b"\x73\x03\xaa\xbb\x72\x62\x01\x42\x01\x81\x02")
        .map(|element| element.map(|it| (it.offset, it.header, it.kind, it.length, it.depth)))
        .collect();
    assert_eq!(
        seen[..5],
        [
            Ok((0, 1, Kind::List, 3, 0)),
            Ok((1, 1, Kind::Octets, 2, 1)),
            Ok((4, 1, Kind::List, 2, 1)),
            Ok((5, 1, Kind::Unsigned, 1, 2)),
            Ok((7, 1, Kind::Bool, 1, 2)),
        ]
    );
    // 81 02 is a type-length field of two bytes for 16 bytes that are not there.
    assert_eq!(seen[5].unwrap_err().offset, 9);
    assert_eq!(seen.len(), 6);
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
