// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records survive encoding and decoding, every table is reachable, and nothing panics.

use proptest::prelude::*;
use smgw_mbus::{
    Data, Device, Error, Extension, Function, Header, Manufacturer, Measure, NewRecord, Quantity,
    Records, Telegram, TextOrder, Value, obis, response,
};
use smgw_units::{Decimal, Obis, Unit};

fn header() -> Header {
    Header {
        device: Some(Device {
            id: [0x01, 0, 0, 0],
            manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
            version: 1,
            medium: 2,
        }),
        access: 0x2a,
        status: 0,
        config: 0,
    }
}

fn only<'a>(bytes: &'a [u8]) -> smgw_mbus::Record<'a> {
    let mut records = Records::new(bytes);
    let record = records.next().unwrap().unwrap();
    assert_eq!(records.next(), None);
    record
}

fn data() -> impl Strategy<Value = Data<'static>> {
    let widths = prop::sample::select(vec![1u8, 2, 3, 4, 6, 8]);
    let digits = prop::sample::select(vec![2u8, 4, 6, 8, 12]);
    prop_oneof![
        Just(Data::None),
        (widths, any::<i64>()).prop_map(|(bytes, value)| Data::Integer {
            value: value >> (64 - 8 * u32::from(bytes)),
            bytes,
        }),
        (digits, any::<i64>()).prop_map(|(digits, value)| Data::Bcd {
            value: value % 10i64.pow(u32::from(digits) - 1),
            digits,
        }),
        (0u8..=16, any::<i128>()).prop_map(|(bytes, value)| Data::LongInteger {
            value: if bytes == 0 {
                0
            } else {
                value >> (128 - 8 * u32::from(bytes))
            },
            bytes,
        }),
        (0u8..=9, any::<i64>()).prop_map(|(pairs, value)| Data::LongBcd {
            value: value % 10i64.pow(2 * u32::from(pairs)),
            digits: 2 * pairs,
        }),
        any::<i16>().prop_map(|number| Data::Real(f32::from(number) / 8.0)),
        Just(Data::Text("Zähler 7")),
    ]
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(
        data in data(),
        function in prop::sample::select(vec![
            Function::Instantaneous, Function::Maximum, Function::Minimum, Function::DuringError,
        ]),
        storage in 0u64..1 << 41,
        tariff in 0u32..1 << 20,
        subunit in 0u16..1 << 10,
        shift in 0u32..42,
        dife in 0usize..=10,
        vib in prop::sample::select(vec![&b"\x03"[..], b"\x86\x3b", b"\xfd\x49", b"\xfb\x80\x73", b"\x94\xff\x01"]),
    ) {
        let new = NewRecord {
            function,
            storage: storage >> shift,
            tariff: tariff >> (shift / 2),
            subunit: subunit >> (shift / 4),
            vib,
            data,
        };
        let bytes = new.encode_with(dife).unwrap();
        let record = only(&bytes);
        prop_assert_eq!(record.function, new.function);
        prop_assert_eq!(record.storage, new.storage);
        prop_assert_eq!(record.tariff, new.tariff);
        prop_assert_eq!(record.subunit, new.subunit);
        prop_assert_eq!(&[&[record.vib.vif], record.vib.extensions].concat()[..], vib);
        match (data, record.value) {
            (Data::None, value) => prop_assert_eq!(value, Value::None),
            (Data::Integer { value, .. } | Data::Bcd { value, .. }, got) => {
                prop_assert_eq!(got, Value::Integer(value));
            }
            (Data::LongBcd { value, digits }, got) => {
                prop_assert_eq!(got, if digits == 0 { Value::None } else { Value::Integer(value) });
            }
            (Data::LongInteger { value, bytes }, _) => {
                let got = record.decimal().map(|decimal| decimal.mantissa);
                prop_assert_eq!(got, (bytes > 0).then_some(value));
            }
            (Data::Real(value), got) => prop_assert_eq!(got, Value::Real(value)),
            (Data::Text(text), Value::Text(got)) => prop_assert_eq!(got.to_string(), text),
            (data, value) => panic!("{data:?} became {value:?}"),
        }
        prop_assert_eq!(record.encode(), Ok(bytes.clone()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..260)) {
        let records: Vec<_> = Records::new(&bytes).collect();
        prop_assert!(records.len() <= bytes.len());
        for record in records.iter().flatten() {
            let _ = (record.decimal(), obis::reading(2, record));
            prop_assert!(record.data.len() <= bytes.len());
        }
        let _ = Telegram::parse(&bytes);
    }

    /// Every prefix of good records gives good records, or one error at the end.
    #[test]
    fn prefixes_end_with_an_error_at_most(cut in 0usize..40) {
        let mut bytes = Vec::new();
        for vib in [&b"\x03"[..], b"\x86\x3b", b"\xfd\x49"] {
            bytes.extend(NewRecord::new(vib, Data::Integer { value: 5, bytes: 4 }).encode().unwrap());
        }
        let whole: Vec<_> = Records::new(&bytes).collect();
        let cut = cut.min(bytes.len());
        let part: Vec<_> = Records::new(&bytes[..cut]).collect();
        for (at, record) in part.iter().enumerate() {
            prop_assert!(record == &whole[at] || (record.is_err() && at + 1 == part.len()));
        }
    }
}

#[test]
fn values_beyond_their_field_are_refused() {
    for data in [
        Data::Integer {
            value: 128,
            bytes: 1,
        },
        Data::Integer { value: 0, bytes: 5 },
        Data::Bcd {
            value: 100,
            digits: 2,
        },
        Data::Bcd {
            value: -10,
            digits: 2,
        },
        Data::Text("€"),
    ] {
        assert_eq!(
            NewRecord::new(&[0x03], data).encode(),
            Err(Error::Unencodable),
            "{data:?}"
        );
    }
    let too_far = NewRecord {
        storage: 1 << 41,
        ..NewRecord::new(&[0x03], Data::None)
    };
    assert_eq!(too_far.encode(), Err(Error::Unencodable));
}

#[test]
fn golden_answer_is_stable() {
    let mut records = NewRecord::new(
        &[0x00],
        Data::Integer {
            value: 123_456_789_012,
            bytes: 8,
        },
    )
    .encode()
    .unwrap();
    let tariff = NewRecord {
        tariff: 2,
        ..NewRecord::new(
            &[0x03],
            Data::Bcd {
                value: 4711,
                digits: 8,
            },
        )
    };
    records.extend(tariff.encode().unwrap());
    let frame = response(1, &header(), &records).unwrap();
    assert_eq!(frame, include_bytes!("../../../fixtures/mbus/rsp-ud.bin"));

    let telegram = Telegram::parse(&frame).unwrap();
    assert_eq!(telegram.access(), Some(0x2a));
    let device = telegram.header().unwrap().device.unwrap();
    assert_eq!(device.id_text().to_string(), "00000001");
    assert_eq!(device.manufacturer.to_string(), "SMB");
    let readings: Vec<_> = telegram
        .records()
        .map(|record| obis::reading(device.medium, &record.unwrap()).unwrap())
        .collect();
    assert_eq!(
        readings,
        [
            (
                Obis::IMPORT_TOTAL,
                Decimal::new(123_456_789_012, -3),
                Unit::WATT_HOUR
            ),
            (
                Obis([1, 0, 1, 8, 2, 255]),
                Decimal::new(4711, 0),
                Unit::WATT_HOUR
            ),
        ]
    );
}

/// No single wrong byte of a frame is accepted.
#[test]
fn no_damage_goes_unnoticed() {
    let whole = include_bytes!("../../../fixtures/mbus/rsp-ud.bin");
    for at in 0..whole.len() {
        for flip in 1..=255u8 {
            let mut damaged = whole.to_vec();
            damaged[at] ^= flip;
            assert!(
                Telegram::parse(&damaged).is_err(),
                "byte {at} flipped by {flip:02x}"
            );
        }
    }
}

#[test]
fn media_map_to_their_obis_medium() {
    let record = |vib, medium| {
        let bytes = NewRecord::new(
            vib,
            Data::Integer {
                value: 12,
                bytes: 4,
            },
        )
        .encode()
        .unwrap();
        obis::reading(medium, &only(&bytes))
            .map(|(obis, value, unit)| format!("{obis} {value} {unit}"))
    };
    for (vib, medium, expected) in [
        (&b"\x03"[..], 0x02, Some("1-0:1.8.0*255 12 Wh")),
        (b"\x83\x3c", 0x02, Some("1-0:2.8.0*255 12 Wh")),
        (b"\x2b", 0x02, Some("1-0:1.7.0*255 12 W")),
        (b"\x13", 0x03, Some("7-0:3.0.0*255 0.012 m³")),
        (b"\x93\x3e", 0x03, Some("7-0:3.2.0*255 0.012 m³")),
        (b"\x06", 0x04, Some("6-0:1.0.0*255 12000 Wh")),
        (b"\x0e", 0x0a, Some("5-0:1.0.0*255 12000000 J")),
        (b"\x13", 0x07, Some("8-0:1.0.0*255 0.012 m³")),
        (b"\x13", 0x06, Some("9-0:1.0.0*255 0.012 m³")),
        (b"\x13", 0x02, None),
        (b"\x5b", 0x04, None),
        (b"\x83\x12", 0x02, None),
    ] {
        assert_eq!(
            record(vib, medium).as_deref(),
            expected,
            "{vib:02x?} of {medium:02x}"
        );
    }
}

/// The smallest binary number stands for "invalid": no reading.
#[test]
fn invalid_values_are_no_readings() {
    for (bytes, reads) in [
        (&b"\x04\x03\x00\x00\x00\x80"[..], false),
        (b"\x04\x03\x01\x00\x00\x80", true),
        (b"\x0c\x03\xee\xee\xee\xee", false),
        (b"\x04\x83\x15\x01\x00\x00\x00", false),
    ] {
        assert_eq!(
            obis::reading(2, &only(bytes)).is_some(),
            reads,
            "{bytes:02x?}"
        );
    }
}

#[test]
fn both_text_orders_are_read() {
    let text_first = only(b"\x02\xfc\x03\x48\x52\x25\x74\x22\x15");
    let extensions_first = only(b"\x02\xfc\x74\x03\x48\x52\x25\x22\x15");
    for (record, order) in [
        (text_first, TextOrder::TextFirst),
        (extensions_first, TextOrder::ExtensionsFirst),
    ] {
        let (text, got) = record.vib.text.unwrap();
        assert_eq!((text.to_string().as_str(), got), ("%RH", order));
        assert_eq!(record.vib.quantity, Quantity::Text);
        assert_eq!(record.decimal(), Some(Decimal::new(5410, -2)));
    }
}

#[test]
fn variable_length_values() {
    let value = |bytes| match only(bytes).value {
        Value::Integer(number) => number,
        other => panic!("{other:?}"),
    };
    assert_eq!(value(b"\x0d\x03\xc3\x56\x34\x12"), 123_456);
    assert_eq!(value(b"\x0d\x03\xd2\x34\x12"), -1234);
    assert_eq!(value(b"\x0d\x03\xe5\xff\xff\xff\xff\xff"), -1);
    assert_eq!(only(b"\x0d\x03\xe0").value, Value::None);
    let reserved = Records::new(b"\x0d\x03\xca").next();
    assert_eq!(reserved, Some(Err(Error::ReservedLvar(0xca))));
    assert!(
        matches!(only(&[&b"\x0d\x03\xf6"[..], &[7; 64]].concat()).value, Value::Bytes(b) if b.len() == 64)
    );
}

#[test]
fn fillers_and_trailers() {
    let mut records = Records::new(b"\x2f\x01\x03\x07\x2f\x2f\x1f\xaa\xbb");
    assert_eq!(records.next().unwrap().unwrap().value, Value::Integer(7));
    assert_eq!(records.next(), None);
    let trailer = records.trailer().unwrap();
    assert_eq!(
        (trailer.data, trailer.more_follows),
        (&b"\xaa\xbb"[..], true)
    );
}

#[test]
fn corrections_change_the_exponent() {
    for (vib, exponent) in [
        (&b"\x83\x70"[..], -6),
        (b"\x83\x77", 1),
        (b"\x83\x7d", 3),
        (b"\xfb\x80\x73", 2),
        (b"\xfd\xba\x73", -3),
        (b"\x83\xff\x77", 0),
        (b"\xff\x77", 0),
    ] {
        let bytes = [b"\x01", vib, b"\x01"].concat();
        assert_eq!(only(&bytes).vib.exponent, exponent, "{vib:02x?}");
    }
    let record = only(b"\x01\x83\x15\x01");
    assert_eq!(
        record.vib.combinable().next(),
        Some(Extension::RecordError(0x15))
    );
    assert_eq!(record.decimal(), None);
    assert_eq!(record.vib.measure, Measure::WattHour);
}
