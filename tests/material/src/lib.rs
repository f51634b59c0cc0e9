// SPDX-License-Identifier: MIT OR Apache-2.0
//! What tests are fed with: captures of others where a machine has them, seeds, and mutations.
//!
//! The tests of every room use it, and nothing else does. It panics freely: a test without its
//! material has failed.

use std::fs;
use std::path::{Path, PathBuf};

/// Names the folder of captures that are not part of the project; beside the repository by default.
pub const CORPORA_VARIABLE: &str = "SMGW_BENCH_CORPORA";

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of third-party captures, if this machine has it.
pub fn corpora() -> Option<PathBuf> {
    let named = std::env::var_os(CORPORA_VARIABLE).map(PathBuf::from);
    let root = named.unwrap_or_else(|| repository().join("../shared/corpora"));
    root.is_dir().then_some(root)
}

/// One set of captures; says visibly that the test is skipped when it is absent.
pub fn corpus(set: &str) -> Option<PathBuf> {
    let path = corpora()
        .map(|root| root.join(set))
        .filter(|path| path.is_dir());
    if path.is_none() {
        println!("SKIPPED: corpora absent ({set}, see {CORPORA_VARIABLE})");
    }
    path
}

/// Names the directory of firmware images; `cargo xtask test` builds them and sets it.
pub const FIRMWARE_VARIABLE: &str = "SMGW_BENCH_FIRMWARE";

/// The image of a board that `cargo xtask firmware` built; says visibly that the test is skipped when it is absent.
pub fn firmware(board: &str, name: &str) -> Option<PathBuf> {
    let named = std::env::var_os(FIRMWARE_VARIABLE).map(PathBuf::from);
    let output =
        std::env::var_os("CARGO_TARGET_DIR").map(|output| PathBuf::from(output).join("firmware"));
    let root = named
        .or(output)
        .unwrap_or_else(|| repository().join("target/firmware"));
    let path = root.join(board).join(format!("{name}.elf"));
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED: {board}/{name}.elf absent, `cargo xtask firmware` builds it");
    None
}

/// Files with this extension in a folder: name without extension, and path, by name.
pub fn files(folder: &Path, extension: &str) -> Vec<(String, PathBuf)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .collect();
    files.sort();
    files
}

/// Hex digits, two per byte, as captures write them; white space between them is left out.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|letter| !letter.is_ascii_whitespace())
        .collect();
    assert!(
        digits.len().is_multiple_of(2),
        "odd number of digits: {text}"
    );
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The seeds of a fuzz target in `fixtures/fuzz`, by name.
pub fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = repository().join("fixtures/fuzz").join(target);
    let mut seeds: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    seeds
}

/// A few bytes changed, cut, doubled, moved or replaced by `token`, the same ones for the same `dice`.
pub fn mutate(seed: &[u8], token: &[u8], mut dice: u64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % sides.max(1)
    };
    for _ in 0..=roll(4) {
        let at = roll(bytes.len());
        match roll(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, token.iter().copied())),
            2 => bytes.extend_from_within(at..),
            3 => drop(bytes.drain(at..bytes.len().min(at + 3))),
            _ => bytes[at..]
                .iter_mut()
                .take(1)
                .for_each(|byte| *byte = roll(256) as u8),
        }
    }
    bytes
}

/// What must hold for any bytes; panics when it does not.
pub type Property = fn(&[u8]);

/// Runs the property of a fuzz target over its seeds and so many mutations of each, into which `token`,
/// a few bytes that mean something to the format, is mixed.
pub fn hold(target: &str, token: &[u8], mutations: u64, property: Property) {
    for (_, seed) in seeds(target) {
        property(&seed);
        for dice in 0..mutations {
            property(&mutate(&seed, token, dice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_differ_and_repeat() {
        let seed = *b"a seed of twenty byt";
        let all: Vec<_> = (0..200).map(|dice| mutate(&seed, b"token", dice)).collect();
        let again: Vec<_> = (0..200).map(|dice| mutate(&seed, b"token", dice)).collect();
        assert_eq!(all, again);
        let changed = all.iter().filter(|bytes| bytes[..] != seed).count();
        assert!(changed > 180, "{changed}");
        let with_token = |bytes: &&Vec<u8>| bytes.windows(5).any(|window| window == b"token");
        assert!(all.iter().filter(with_token).count() > 20);
        assert!(all.iter().any(|bytes| bytes.len() < seed.len()));
    }

    #[test]
    fn seeds_are_found_by_target() {
        assert!(!seeds("mbus_frame").is_empty());
    }
}
