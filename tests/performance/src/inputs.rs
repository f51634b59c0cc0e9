// SPDX-License-Identifier: MIT OR Apache-2.0
//! What benchmarks decode: captures of real meters where this machine has them, else telegrams of our own.

use std::fs;
use std::path::PathBuf;

use test_material::{corpora, files};

use crate::own;

/// Telegrams and where they are from.
#[derive(Clone, Debug)]
pub struct Input<T> {
    /// Says what it is.
    pub origin: String,
    /// The telegrams.
    pub data: T,
}

/// Files of a folder of a set of captures, where this machine has it.
fn captures(set: &str, folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = corpora().map(|root| root.join(set).join(folder));
    let found = folder.filter(|folder| folder.is_dir());
    let found = found.map(|folder| files(&folder, extension));
    found.into_iter().flatten().map(|(_, path)| path).collect()
}

/// Everything SML meters sent, one after the other.
pub fn sml_recording() -> Input<Vec<u8>> {
    let captures: Vec<u8> = captures("sml-libsml-testing", "captures", "bin")
        .iter()
        .flat_map(|path| fs::read(path).unwrap_or_default())
        .collect();
    if captures.is_empty() {
        return Input {
            origin: "SML: 200 files of our own (no captures here)".to_owned(),
            data: own::sml_recording(200),
        };
    }
    Input {
        origin: format!("SML: captures of real meters, {} bytes", captures.len()),
        data: captures,
    }
}

/// M-Bus long frames with records.
pub fn mbus_frames() -> Input<Vec<Vec<u8>>> {
    let captures: Vec<_> = captures("mbus-rscada", "test-frames", "hex")
        .iter()
        .filter_map(|path| {
            let text = fs::read_to_string(path).ok()?;
            let byte = |word| u8::from_str_radix(word, 16).ok();
            text.split_whitespace()
                .map(byte)
                .collect::<Option<Vec<u8>>>()
        })
        .filter(|frame| frame.first() == Some(&0x68))
        .collect();
    if captures.is_empty() {
        return Input {
            origin: "M-Bus: 60 frames of our own (no captures here)".to_owned(),
            data: own::mbus_frames(60),
        };
    }
    Input {
        origin: format!("M-Bus: {} frames of real meters", captures.len()),
        data: captures,
    }
}
