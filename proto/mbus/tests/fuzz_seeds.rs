// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and thousands of mutations of them.

mod properties;

use std::fs;
use std::path::Path;

/// A few bytes changed, cut, doubled or moved, the same ones every time.
fn mutate(seed: &[u8], mut dice: u64) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    let mut roll = |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as usize % sides.max(1)
    };
    for _ in 0..=roll(4) {
        let at = roll(bytes.len());
        match roll(5) {
            0 => bytes.truncate(at),
            1 => bytes.splice(at..at, [0x68, 3, 3]).for_each(drop),
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
type Property = fn(&[u8]);

/// The seeds of one target, in order.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/fuzz")
        .join(target);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn seeds_and_mutations_hold() {
    let targets: [(&str, Property); 2] = [
        ("mbus_frame", properties::frame),
        ("mbus_records", properties::records),
    ];
    for (target, property) in targets {
        for seed in seeds(target) {
            property(&seed);
            for dice in 0..8000 {
                property(&mutate(&seed, dice));
            }
        }
    }
}
