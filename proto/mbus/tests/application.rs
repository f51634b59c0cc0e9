// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands, series, the fixed structure, refusals and values that say they are none.

use proptest::prelude::*;
use smgw_mbus::ci::{HeaderKind, Service, classify};
use smgw_mbus::{
    Action, ApplicationError, Body, Calendar, Command, Counter, Data, Date, DateTime, Device,
    Error, Extension, FixedData, Frame, Header, Increment, Manufacturer, Mask, Measure, NewRecord,
    Profile, ProfileKind, Quantity, Record, RecordError, RecordFault, Records, Request, Spacing,
    Telegram, Time, Value, alarm_response, error_response, fixed_response, response,
};
use smgw_units::Decimal;

fn only(bytes: &[u8]) -> Record<'_> {
    let mut records = Records::new(bytes);
    let record = records.next().unwrap().unwrap();
    assert_eq!(records.next(), None);
    record
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Base time, base value and profile of some records.
fn series(bytes: &[u8]) -> (ProfileKind, Vec<Option<i64>>, Vec<String>) {
    let records: Vec<_> = Records::new(bytes).map(Result::unwrap).collect();
    let time = records
        .iter()
        .find_map(|record| match record.value {
            Value::DateTime(at) => Some(at),
            Value::Date(date) => Some(DateTime {
                date,
                ..DateTime::from_type_f([0; 4])
            }),
            _ => None,
        })
        .unwrap();
    let base = records.iter().find_map(|record| match record.value {
        Value::Integer(number) => Some(number),
        _ => None,
    });
    let profile = records.iter().find_map(Profile::of).unwrap();
    let moments = profile.moments(time).map(|at| {
        let at = at.unwrap();
        let (date, time) = (at.date, at.time);
        format!(
            "{}-{:02}-{:02} {:02}",
            at.year(),
            date.month,
            date.day,
            time.hour
        )
    });
    (
        profile.kind,
        profile.values(base).collect(),
        moments.collect(),
    )
}

/// The examples F.2.7 and F.2.8 of EN 13757-3, and G.6 of OMS volume 2, with the values others print.
#[test]
fn published_series() {
    let forward = hex("84046D00204111 8B0415003012 8D04951F056901030211");
    let (kind, values, moments) = series(&forward);
    assert_eq!(kind, ProfileKind::Forward);
    assert_eq!(values, [Some(123_003), Some(123_005), Some(123_016)]);
    assert_eq!(moments, ["2010-01-01 01", "2010-01-01 02", "2010-01-01 03"]);

    let inverse = hex("84046D00234111 8B0415163012 8D049513056901110203");
    let (kind, values, moments) = series(&inverse);
    assert_eq!(kind, ProfileKind::Inverse);
    assert_eq!(values, [Some(123_005), Some(123_003), Some(123_000)]);
    assert_eq!(moments, ["2010-01-01 02", "2010-01-01 01", "2010-01-01 00"]);

    let months = hex("0C1313100000 026C1F15 0D93130A7AFE5802320314024401");
    let (_, values, moments) = series(&months);
    assert_eq!(values, [Some(755), Some(423), Some(209), Some(65)]);
    let days: Vec<_> = moments.iter().map(|moment| &moment[..10]).collect();
    assert_eq!(
        days,
        ["2008-04-30", "2008-03-31", "2008-02-29", "2008-01-31"]
    );
}

#[test]
fn invalid_elements_end_what_adds_up() {
    let of = |control, elements: &'static [u8]| {
        let record = [
            &b"\x0d\x93\x1f"[..],
            &[elements.len() as u8 + 2, control, 1],
            elements,
        ];
        let bytes = record.concat();
        let profile = Profile::of(&only(&bytes)).unwrap();
        profile.values(Some(10)).collect::<Vec<_>>()
    };
    assert_eq!(of(0x41, &[1, 0xff, 1]), [Some(11), None, None]);
    assert_eq!(of(0x81, &[1, 2]), [Some(9), Some(7)]);
    assert_eq!(of(0xc1, &[0xff, 0x80]), [Some(9), None]);
    assert_eq!(of(0x01, &[0xff, 0x80, 5]), [Some(-1), None, Some(5)]);
}

fn spacing() -> impl Strategy<Value = Spacing> {
    prop_oneof![
        (1u8..=4).prop_map(Spacing::Array),
        (1u8..=250).prop_map(Spacing::Seconds),
        (1u8..=250).prop_map(Spacing::Minutes),
        (1u8..=250).prop_map(Spacing::Hours),
        (1u8..=250).prop_map(Spacing::Days),
        Just(Spacing::HalfMonth),
        prop::sample::select(vec![1u8, 3, 6]).prop_map(Spacing::Months),
    ]
}

fn moment() -> impl Strategy<Value = DateTime> {
    let date =
        (0u8..32, 0u8..16, 0u8..128).prop_map(|(day, month, year)| Date { day, month, year });
    let time = (0u8..32, 0u8..64, 0u8..64).prop_map(|(hour, minute, second)| Time {
        hour,
        minute,
        second,
    });
    let calendar = (any::<(bool, bool)>(), 0u8..8, 0u8..64, 0u8..4).prop_map(
        |((leap_year, ahead), weekday, week, deviation)| Calendar {
            leap_year,
            weekday,
            week,
            deviation,
            ahead,
        },
    );
    (
        date,
        time,
        any::<(bool, bool)>(),
        0u8..4,
        prop::option::of(calendar),
    )
        .prop_map(
            |(date, time, (invalid, summer), century, calendar)| DateTime {
                date,
                time: Time {
                    second: if calendar.is_some() { time.second } else { 0 },
                    ..time
                },
                century: if calendar.is_some() { 0 } else { century },
                invalid,
                summer,
                calendar,
            },
        )
}

fn command() -> impl Strategy<Value = Command<'static>> {
    let mask = any::<[u8; 8]>().prop_map(Mask::from_bytes);
    prop_oneof![
        (mask, any::<Option<[u8; 4]>>())
            .prop_map(|(mask, fabrication)| Command::Select { mask, fabrication }),
        Just(Command::Deselect),
        any::<u8>().prop_map(Command::SetAddress),
        any::<[u8; 4]>().prop_map(Command::SetId),
        any::<([u8; 4], u16, u8, u8)>().prop_map(|(id, code, version, medium)| {
            Command::SetDevice(Device {
                id,
                manufacturer: Manufacturer(code),
                version,
                medium,
            })
        }),
        moment().prop_map(Command::SetClock),
        any::<Option<u8>>().prop_map(Command::ApplicationReset),
        Just(Command::Synchronise),
        (1u64..1 << 41).prop_map(Command::Freeze),
        Just(Command::ReadAll),
        prop::sample::select(vec![300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400])
            .prop_map(Command::SetBaud),
        Just(Command::Records(b"\x08\x03\x08\x2b")),
        Just(Command::Other {
            ci: 0xa1,
            data: b"\x01\x02"
        }),
    ]
}

proptest! {
    #[test]
    fn commands_are_read_as_written(command in command(), address in any::<u8>(), fcb in any::<bool>()) {
        let line = command.frame(address, fcb).unwrap();
        let Ok(Frame::Long { control, ci, data, .. }) = Frame::parse(&line) else {
            panic!("no frame");
        };
        prop_assert_eq!(control, if fcb { 0x73 } else { 0x53 });
        prop_assert_eq!(Command::parse(ci, data), command);
    }

    /// Whatever a command is taken for, nothing of it is lost.
    #[test]
    fn commands_lose_nothing(ci in prop_oneof![Just(0x51u8), Just(0x52), any::<u8>()], data in prop::collection::vec(any::<u8>(), 0..16)) {
        prop_assert_eq!(Command::parse(ci, &data).encode(), Ok((ci, data.clone())));
    }

    #[test]
    fn dates_are_read_as_written(at in moment()) {
        let new = NewRecord::new(b"\x6d", Data::DateTime(at)).encode().unwrap();
        prop_assert_eq!(only(&new).value, Value::DateTime(at));
        prop_assert_eq!(only(&new).encode(), Ok(new.clone()));
        let new = NewRecord::new(b"\x6c", Data::Date(at.date)).encode().unwrap();
        prop_assert_eq!(only(&new).value, Value::Date(at.date));
        let new = NewRecord::new(b"\x6d", Data::Time(at.time)).encode().unwrap();
        prop_assert_eq!(only(&new).value, Value::Time(at.time));
    }

    #[test]
    fn series_are_read_as_written(
        kind in prop::sample::select(vec![ProfileKind::Forward, ProfileKind::Registers, ProfileKind::Inverse]),
        increment in prop::sample::select(vec![Increment::Absolute, Increment::Added, Increment::Removed, Increment::Difference]),
        spacing in spacing(),
        elements in prop::collection::vec(any::<[u8; 2]>(), 0..90),
        at in moment(),
    ) {
        let elements = elements.concat();
        let profile = Profile { kind, increment, spacing, element_field: 2, elements: &elements };
        let value = profile.encode().unwrap();
        let vife = match kind { ProfileKind::Forward => 0x1f, ProfileKind::Registers => 0x1e, ProfileKind::Inverse => 0x13 };
        let record = NewRecord::new(&[0x93, vife], Data::Container(&value)).encode().unwrap();
        prop_assert_eq!(Profile::of(&only(&record)), Some(profile));
        prop_assert_eq!(only(&record).encode(), Ok(record.clone()));
        prop_assert_eq!(profile.moments(at).count(), profile.elements().count());
    }

    #[test]
    fn fixed_structures_are_read_as_written(bytes in any::<[u8; 16]>()) {
        let fixed = FixedData::parse(&bytes).unwrap();
        prop_assert_eq!(fixed.encode(), bytes);
        let _ = (fixed.readings(), fixed.device_type());
    }

    #[test]
    fn every_ci_is_read(control in any::<u8>(), ci in any::<u8>(), data in prop::collection::vec(any::<u8>(), 0..40)) {
        let (_, kind) = classify(ci);
        let needed = match kind { HeaderKind::None => 0, HeaderKind::Short => 4, HeaderKind::Long => 12 };
        match Telegram::of(control, 1, ci, &data) {
            Ok(telegram) => {
                prop_assert_eq!(telegram.header().is_some(), needed > 0);
                prop_assert_eq!(telegram.payload(), &data[needed..]);
            }
            Err(error) => prop_assert!(
                data.len() < needed && error == Error::ShortHeader || ci == 0x73 && data.len() < 16
            ),
        }
    }
}

#[test]
fn counters_of_1997_have_units() {
    let fixed = FixedData {
        id: [0x78, 0x56, 0x34, 0x12],
        access: 10,
        status: 0,
        medium: 4,
        counters: [(0x0d, [0x31, 0x65, 0, 0]), (0x3e, [0x69, 0, 0, 0])].map(
            |(unit_code, bytes)| Counter {
                value: None,
                unit_code,
                bytes,
            },
        ),
    };
    let frame = fixed_response(1, &fixed).unwrap();
    let telegram = Telegram::parse(&frame).unwrap();
    let Body::Fixed(read) = telegram.body() else {
        panic!("no fixed structure");
    };
    assert_eq!((read.medium, read.device_type()), (4, 4));
    let [present, historic] = read.readings();
    assert_eq!(
        (
            present.quantity,
            present.measure,
            present.value,
            present.historic
        ),
        (
            Quantity::Energy,
            Measure::Joule,
            Some(Decimal::new(6531, 5)),
            false
        )
    );
    assert_eq!(
        (historic.measure, historic.value, historic.historic),
        (Measure::Joule, Some(Decimal::new(69, 5)), true)
    );
    let binary = FixedData { status: 3, ..fixed }.encode();
    let [first, _] = FixedData::parse(&binary).unwrap().readings();
    assert_eq!(
        (first.value, first.historic),
        (Some(Decimal::new(0x6531, 5)), true)
    );
}

#[test]
fn refusals_and_alarms_are_read_as_written() {
    for code in 0..=255 {
        let error = ApplicationError::from_code(code);
        assert_eq!(error.code(), code);
        let frame = error_response(3, error).unwrap();
        assert_eq!(Telegram::parse(&frame).unwrap().body(), &Body::Error(error));
        let frame = alarm_response(3, code).unwrap();
        assert_eq!(Telegram::parse(&frame).unwrap().body(), &Body::Alarm(code));
    }
    for request in [
        Request::Reset,
        Request::Data,
        Request::Alarm,
        Request::Status,
    ] {
        let line = request.frame(7, true).encode().unwrap();
        assert_eq!(Frame::parse(&line), Ok(request.frame(7, true)));
    }
}

/// Some meters are the master of a customer's port: a command to F0, encrypted.
#[test]
fn encrypted_commands_keep_their_payload() {
    let header = Header {
        device: Some(Device {
            id: [1, 2, 3, 4],
            manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
            version: 1,
            medium: 2,
        }),
        access: 1,
        status: 0,
        config: 0x0510,
    };
    let answer = response(0xf0, &header, &[0xaa; 16]).unwrap();
    let command = Frame::Long {
        control: 0x53,
        address: 0xf0,
        ci: 0x5b,
        data: &answer[7..answer.len() - 2],
    }
    .encode()
    .unwrap();
    let telegram = Telegram::parse(&command).unwrap();
    assert_eq!(telegram.service(), Service::Command);
    assert_eq!(telegram.header().map(Header::mode), Some(5));
    assert_eq!(telegram.payload(), [0xaa; 16]);

    let segment = Telegram::of(0x53, 1, 0x11, b"\x01\x67").unwrap();
    assert_eq!(segment.service(), Service::DlmsSegment);
    assert_eq!(segment.body(), &Body::Other(b"\x01\x67"));
}

#[test]
fn values_say_when_they_are_none() {
    for (bytes, valid) in [
        (&b"\x01\x03\x80"[..], false),
        (b"\x01\x03\x81", true),
        (b"\x04\x03\x00\x00\x00\x80", false),
        (b"\x07\x03\x00\x00\x00\x00\x00\x00\x00\x80", false),
        (b"\x01\x83\xfc\x11\x80", true),
        (b"\x0a\x03\x00\x80", true),
        (b"\x0a\x03\xbb\x00", false),
        (b"\x02\x6c\xff\xff", false),
        (b"\x02\x6c\x00\x00", false),
        (b"\x02\x6c\xcd\x13", true),
        (b"\x04\x6d\x8b\x0b\xcd\x13", false),
        (b"\x03\x6d\xff\xff\xff", false),
        (b"\x05\x2b\x00\x00\xc0\x7f", false),
        (b"\x01\x83\x15\x01", false),
        (b"\x00\x03", true),
    ] {
        let record = only(bytes);
        assert_eq!(record.is_valid(), valid, "{bytes:02x?}");
        assert_eq!(record.data, &bytes[bytes.len() - record.data.len()..]);
    }
}

#[test]
fn numbers_of_any_length_are_exact() {
    let decimal = |bytes: &[u8]| only(bytes).decimal().map(|decimal| decimal.mantissa);
    let largest = [&b"\x0d\x03\xf0"[..], &[0xff; 15], &[0x7f]].concat();
    assert_eq!(decimal(&largest), Some(i128::MAX));
    let nine = [&b"\x0d\x03\xe9"[..], &[0; 8], &[1]].concat();
    assert_eq!(decimal(&nine), Some(1 << 64));
    assert_eq!(
        decimal(&[&b"\x0d\x03\xc9"[..], &[0x99; 9]].concat()),
        Some(999_999_999_999_999_999)
    );
    assert_eq!(
        decimal(&[&b"\x0d\x03\xd9"[..], &[0x99; 9]].concat()),
        Some(-999_999_999_999_999_999)
    );
    assert_eq!(decimal(&[&b"\x0d\x03\xf1"[..], &[1; 20]].concat()), None);
    // Without a sign.
    assert_eq!(decimal(b"\x01\x7a\xfa"), Some(250));
    assert_eq!(
        decimal(&[&b"\x07\x83\xfc\x11"[..], &[0xff; 8]].concat()),
        Some(u64::MAX.into())
    );
    assert_eq!(only(b"\x01\xfd\x17\xff").bits(), Some(255));
    assert_eq!(only(b"\x09\x03\x12").bits(), None);
}

#[test]
fn extensions_have_their_meaning() {
    let second = only(b"\x01\x83\xfc\x01\x05");
    let all: Vec<_> = second.vib.combinable().collect();
    assert_eq!(all, [Extension::SecondTable, Extension::Second(1)]);
    assert_eq!(
        only(b"\x01\xfd\xfd\x03\x05").vib.quantity,
        Quantity::RemainingBatteryTime
    );
    assert_eq!(only(b"\x01\xfd\xfd\x03\x05").vib.measure, Measure::Year);
    assert_eq!(only(b"\x01\x93\x53\x05").vib.counted_in(), Measure::Day);
    assert_eq!(only(b"\x01\x93\x41\x05").vib.counted_in(), Measure::None);
    assert_eq!(
        only(b"\x01\x93\x48\x05").vib.counted_in(),
        Measure::CubicMetre
    );
    let first = |bytes: &[u8]| only(bytes).vib.combinable().next().unwrap();
    assert_eq!(first(b"\x40\xfe\x0b").action(), Some(Action::Freeze));
    assert_eq!(first(b"\x00\x83\x04").fault(), Some(RecordFault::Tariff));
    assert_eq!(first(b"\x00\x83\x16").fault(), Some(RecordFault::Overflow));
    let register = only(b"\x84\x80\x40\x03\x01\x00\x00\x00");
    assert_eq!(register.dife(), [0x80, 0x40]);
    assert_eq!(register.vib_bytes(), [0x03]);
}

/// The byte that is wrong, or the end where one is missing.
#[test]
fn errors_have_a_place() {
    let good = b"\x01\x03\x07\x2f";
    for (bad, offset, error) in [
        (&b"\x3f\x00"[..], 0, Error::ReservedDif(0x3f)),
        (b"\x81\x80", 2, Error::TruncatedDib),
        (
            b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x03",
            11,
            Error::TooManyDife,
        ),
        (b"\x01", 1, Error::TruncatedVib),
        (
            b"\x01\x83\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00",
            12,
            Error::TooManyVife,
        ),
        (b"\x04\x03\x01", 3, Error::TruncatedData),
        (b"\x0d\x03\xca\x01", 2, Error::ReservedLvar(0xca)),
    ] {
        let bytes = [good, bad].concat();
        let mut records = Records::new(&bytes);
        assert!(records.next().unwrap().is_ok());
        assert_eq!(records.failure(), None);
        assert_eq!(records.next(), Some(Err(error)));
        let failure = RecordError {
            record: good.len(),
            offset: good.len() + offset,
            error,
        };
        assert_eq!(records.failure(), Some(failure), "{bad:02x?}");
        assert_eq!(records.next(), None);
    }
}
