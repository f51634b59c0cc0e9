// SPDX-License-Identifier: MIT OR Apache-2.0
//! Telegrams of our own, shaped like those of common meters, for machines without captures.

use smgw_mbus::{Data, Device, Header, Manufacturer, NewRecord, response};
use smgw_sml::{
    Body, CloseResponse, File, Int, ListEntry, ListResponse, Message, OpenResponse, Time, Value,
    transport,
};

/// Transmissions of a basic meter with total, two tariffs, export and power, one per second.
pub(crate) fn sml_recording(files: u32) -> Vec<u8> {
    (0..files).flat_map(sml_transmission).collect()
}

fn sml_transmission(second: u32) -> Vec<u8> {
    let server_id = b"\x0a\x01SMB\x00\x00\x00\x00\x01";
    let transaction = |index: u32| (3 * second + index).to_be_bytes();
    let transactions = [transaction(0), transaction(1), transaction(2)];
    let time = Some(Time::sec_index(1_000_000 + second));
    let text = |name, value| ListEntry {
        name,
        value: Some(Value::Octets(value)),
        ..ListEntry::default()
    };
    let number = |name, unit: u8, scaler: i8, value| ListEntry {
        name,
        status: Some(Int::from(0x001c_0104_u64)),
        time,
        unit: Some(unit),
        scaler: Some(scaler),
        value: Some(Value::signed(value)),
        ..ListEntry::default()
    };
    let energy = 123_456_780_000 + 1000 * i64::from(second);
    let entries = [
        text(b"\x01\x00\x60\x32\x01\x01", b"SMB"),
        text(b"\x01\x00\x60\x01\x00\xff", server_id),
        number(b"\x01\x00\x01\x08\x00\xff", 30, -4, energy),
        number(b"\x01\x00\x01\x08\x01\xff", 30, -4, energy / 3),
        number(b"\x01\x00\x01\x08\x02\xff", 30, -4, energy - energy / 3),
        number(b"\x01\x00\x02\x08\x00\xff", 30, -4, 7),
        number(b"\x01\x00\x10\x07\x00\xff", 27, -1, 3600),
    ];
    let open = OpenResponse {
        request_file_id: &transactions[0],
        server_id,
        reference_time: time,
        ..OpenResponse::default()
    };
    let list = ListResponse {
        server_id,
        list_name: Some(b"\x01\x00\x62\x0a\xff\xff"),
        sensor_time: time,
        entries: (&entries).into(),
        ..ListResponse::default()
    };
    let close = CloseResponse::default();
    let file = File {
        messages: vec![
            Message::new(&transactions[0], Body::OpenResponse(open)),
            Message::new(&transactions[1], Body::ListResponse(list)),
            Message::new(&transactions[2], Body::CloseResponse(close)),
        ],
    };
    transport::encode(&file.encode())
}

/// Frames of heat meters with seven quantities, now and at so many due dates.
pub(crate) fn mbus_frames(frames: u32) -> Vec<Vec<u8>> {
    (0..frames).map(mbus_frame).collect()
}

fn mbus_frame(number: u32) -> Vec<u8> {
    let header = Header {
        device: Some(Device {
            // Two digits: ids are BCD.
            id: [(number / 10 % 10 * 16 + number % 10) as u8, 0, 0, 0],
            manufacturer: Manufacturer::from_letters(*b"SMB").expect("three letters"),
            version: 1,
            medium: 0x04,
        }),
        access: number as u8,
        status: 0,
        config: 0,
    };
    let integer = |value, bytes| Data::Integer { value, bytes };
    let value = 1_234_567 + i64::from(number);
    let quantities: [(&[u8], Data<'_>); 7] = [
        (&[0x06], Data::Bcd { value, digits: 8 }),
        (&[0x13], integer(value, 4)),
        (&[0x2b], integer(4711, 4)),
        (&[0x3b], integer(815, 4)),
        (&[0x5a], integer(653, 2)),
        (&[0x5e], integer(412, 2)),
        (&[0xfd, 0x17], integer(0, 2)),
    ];
    let mut records = Vec::new();
    for storage in 0..=u64::from(number % 3) {
        for (vib, data) in quantities {
            let record = NewRecord {
                storage,
                ..NewRecord::new(vib, data)
            };
            records.extend(record.encode().expect("encodable"));
        }
    }
    response(1, &header, &records).expect("short enough")
}
