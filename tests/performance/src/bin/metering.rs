// SPDX-License-Identifier: MIT OR Apache-2.0
//! Speed of the metering codecs beside sml-rs and m-bus-parser.

use std::hint::black_box;
use std::process::ExitCode;

use m_bus_parser::mbus_data::MbusData;
use m_bus_parser::{WiredFrame, user_data::UserDataBlock};
use smgw_mbus::{Body, Telegram};
use smgw_performance::{Arguments, Report, Row, beside, mbus_frames, sml_recording};
use smgw_sml::transport::{Event, Framer};
use smgw_sml::{Quirks, messages};
use smgw_units::Nanos;
use sml_rs::transport::Decoder;
use sml_rs::util::ArrayBuf;

/// Good files in `line`, decoded to the last value, and their list entries.
fn sml_ours(framer: &mut Framer, line: &[u8]) -> (usize, usize) {
    let (mut files, mut entries) = (0, 0);
    let mut rest = line;
    while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
        let Event::File { payload, .. } = event else {
            continue;
        };
        files += 1;
        for message in messages(payload, Quirks::ALL).flatten() {
            let message = black_box(message);
            let Some(list) = message.list() else { continue };
            for entry in list.entries.iter() {
                black_box(entry);
                entries += 1;
            }
        }
    }
    (files, entries)
}

/// Good files found in `line`, without looking into them.
fn transport_ours(framer: &mut Framer, line: &[u8]) -> usize {
    let mut files = 0;
    let mut rest = line;
    while let Some(event) = framer.feed(&mut rest, Nanos(0)) {
        files += usize::from(matches!(black_box(event), Event::File { .. }));
    }
    files
}

/// The same by sml-rs.
fn transport_peer(decoder: &mut Decoder<ArrayBuf<8192>>, line: &[u8]) -> usize {
    let payloads = line
        .iter()
        .filter(|byte| matches!(black_box(decoder.push_byte(**byte)), Ok(Some(_))));
    payloads.count()
}

/// Files decoded to the last value by sml-rs, and their list entries.
fn sml_peer(decoder: &mut Decoder<ArrayBuf<8192>>, line: &[u8]) -> (usize, usize) {
    use sml_rs::parser::complete::{MessageBody, parse};
    let (mut files, mut entries) = (0, 0);
    for byte in line {
        if let Ok(Some(payload)) = decoder.push_byte(*byte)
            && let Ok(file) = black_box(parse(payload))
        {
            files += 1;
            entries += file
                .messages
                .iter()
                .map(|message| match &message.message_body {
                    MessageBody::GetListResponse(list) => list.val_list.len(),
                    _ => 0,
                })
                .sum::<usize>();
        }
    }
    (files, entries)
}

/// Records of a frame, each with its exact number where it has one, and how many there are.
fn mbus_ours(frame: &[u8]) -> usize {
    let Ok(telegram) = Telegram::parse(frame) else {
        return 0;
    };
    if matches!(telegram.body(), Body::Fixed(_)) {
        return 2;
    }
    black_box(telegram.header());
    let mut records = 0;
    for record in telegram.records().map_while(Result::ok) {
        black_box((record.decimal(), record));
        records += 1;
    }
    records
}

/// The same by m-bus-parser, whose numbers are floating point.
fn mbus_peer(frame: &[u8]) -> usize {
    let Ok(parsed) = MbusData::<WiredFrame>::try_from(frame) else {
        return 0;
    };
    if matches!(
        parsed.user_data,
        Some(UserDataBlock::FixedDataStructure { .. })
    ) {
        return 2;
    }
    let mut records = 0;
    for record in parsed.data_records.into_iter().flatten().flatten() {
        black_box(record);
        records += 1;
    }
    records
}

fn run(arguments: Arguments) -> std::io::Result<()> {
    let rounds = arguments.rounds;
    let mut report = Report::new("metering");

    let line = sml_recording();
    let mut framer = Framer::new();
    let mut decoder = Decoder::<ArrayBuf<8192>>::new();
    let (files, entries) = sml_ours(&mut framer, &line.data);
    let (peer_files, peer_entries) = sml_peer(&mut decoder, &line.data);
    report.input(format!(
        "{}; whole files ours {files}, sml-rs {peer_files}; list entries ours {entries}, sml-rs {peer_entries}",
        line.origin
    ));

    let frames = mbus_frames();
    let records: usize = frames.data.iter().map(|frame| mbus_ours(frame)).sum();
    let peer_records: usize = frames.data.iter().map(|frame| mbus_peer(frame)).sum();
    report.input(format!(
        "{}; records ours {records}, m-bus-parser {peer_records}",
        frames.origin
    ));

    let measured = beside(
        rounds,
        files,
        || {
            black_box(sml_ours(&mut framer, black_box(&line.data)));
        },
        || {
            black_box(sml_peer(&mut decoder, black_box(&line.data)));
        },
    );
    report.row(Row::of(
        "sml decode",
        "files/s",
        &measured,
        Some("sml-rs 0.4"),
    ));

    let measured = beside(
        rounds,
        files,
        || {
            black_box(transport_ours(&mut framer, black_box(&line.data)));
        },
        || {
            black_box(transport_peer(&mut decoder, black_box(&line.data)));
        },
    );
    report.row(Row::of(
        "sml transport",
        "files/s",
        &measured,
        Some("sml-rs 0.4"),
    ));

    let measured = beside(
        rounds,
        frames.data.len(),
        || {
            frames.data.iter().for_each(|frame| {
                black_box(mbus_ours(black_box(frame)));
            })
        },
        || {
            frames.data.iter().for_each(|frame| {
                black_box(mbus_peer(black_box(frame)));
            })
        },
    );
    report.row(Row::of(
        "m-bus records",
        "frames/s",
        &measured,
        Some("m-bus-parser 0.5"),
    ));
    report.write(arguments.output)
}

fn main() -> ExitCode {
    let purpose = "metering: speed of the metering codecs beside sml-rs and m-bus-parser";
    let arguments = match Arguments::of_process(purpose) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metering: cannot write the report: {error}");
            ExitCode::FAILURE
        }
    }
}
