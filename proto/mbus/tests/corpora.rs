// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with frames of real meters: written as read, guarded, errors told apart. They are not part of the repository, see [`test_material::corpus`].

use std::fs;
use std::path::{Path, PathBuf};

use smgw_mbus::{ApplicationError, Body, Error, RecordError, Records, Telegram};
use test_material::{corpus, files, hex};

fn frames(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |(name, path): (String, PathBuf)| {
        let text = fs::read_to_string(path).unwrap();
        let byte = |word: &str| u8::from_str_radix(word, 16);
        let bytes = text.split_whitespace().map(byte).collect::<Result<_, _>>();
        // Some files are no hex dump at all; they stand for an empty line.
        (name, bytes.unwrap_or_default())
    };
    files(folder, "hex").into_iter().map(read).collect()
}

/// What is read is written again as it was, and no single wrong byte of a frame is accepted.
#[test]
fn rscada_frames_are_written_as_read_and_guarded() {
    let Some(root) = corpus("mbus-rscada") else {
        return;
    };
    let mut total = 0;
    for (name, bytes) in frames(&root.join("test-frames")) {
        let Ok(telegram) = Telegram::parse(&bytes) else {
            continue;
        };
        if let Body::Fixed(fixed) = telegram.body() {
            assert_eq!(fixed.encode(), telegram.payload(), "{name}");
        }
        let mut records = telegram.records();
        while let Some(Ok(record)) = records.next() {
            let line = record.encode().unwrap();
            let sent = &telegram.payload()[..records.offset()];
            total += 1;
            assert!(sent.ends_with(&line), "{name}: {}", hex(&line));
        }
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                assert!(Telegram::parse(&damaged).is_err(), "{name} at {at}");
                // Without the guard of the link, nothing worse than an error happens.
                let payload = damaged.get(19..).unwrap_or_default();
                assert!(Records::new(payload).count() <= payload.len());
            }
        }
    }
    println!("{total} records are written as they were read");
    assert!(total > 0);
}

/// What a damaged or refusing frame comes to.
#[derive(Debug, PartialEq)]
enum Kind {
    /// What is wrong with the frame itself.
    Fault(Error),
    /// What is wrong with a record, and where.
    Record(RecordError),
    Refusal(ApplicationError),
}

#[test]
fn rscada_errors_are_told_apart() {
    let Some(root) = corpus("mbus-rscada") else {
        return;
    };
    use ApplicationError as Refusal;
    let record = |record, offset, error| {
        Kind::Record(RecordError {
            record,
            offset,
            error,
        })
    };
    let expected = |name: &str| {
        Some(match name {
            "application_busy" => Kind::Refusal(Refusal::Busy),
            "error" => Kind::Refusal(Refusal::Unspecified),
            "premature_end_of_record" => Kind::Refusal(Refusal::PrematureEnd),
            "too_many_readouts" => Kind::Refusal(Refusal::TooManyReadouts),
            "too_many_records" => Kind::Refusal(Refusal::TooManyRecords),
            "unimplemented_ci" => Kind::Refusal(Refusal::UnimplementedCi),
            "premature_end_of_data2" => record(10, 15, Error::TruncatedData),
            "premature_end_of_dif2" => record(10, 12, Error::TruncatedDib),
            "premature_end_of_var_vif1" => record(22, 31, Error::TruncatedVib),
            "too_long_var_vif" => record(22, 31, Error::TruncatedVib),
            "too_many_dife" => record(10, 21, Error::TooManyDife),
            "too_short_header" => Kind::Fault(Error::ShortHeader),
            _ => return None,
        })
    };
    for (name, bytes) in frames(&root.join("error-frames")) {
        let kind = match Telegram::parse(&bytes) {
            Err(error) => Some(Kind::Fault(error)),
            Ok(telegram) => match telegram.body() {
                Body::Error(refusal) => Some(Kind::Refusal(*refusal)),
                _ => {
                    let mut records = telegram.records();
                    records.by_ref().for_each(drop);
                    records.failure().map(Kind::Record)
                }
            },
        };
        println!("{name:32} {kind:?}");
        assert!(kind.is_some(), "{name} went unnoticed");
        if let Some(expected) = expected(&name) {
            assert_eq!(kind, Some(expected), "{name}");
        }
    }
}

#[test]
fn rscada_unsupported_frames_do_no_harm() {
    let Some(root) = corpus("mbus-rscada") else {
        return;
    };
    for (name, bytes) in frames(&root.join("unsupported-frames")) {
        let verdict = Telegram::parse(&bytes).map(|telegram| {
            let records: Records<'_> = telegram.records();
            (telegram.ci, records.count())
        });
        println!("{name:32} {verdict:?}");
        if name.starts_with("invalid_length") {
            assert!(verdict.is_err(), "{name}");
        }
    }
}
