// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the fuzz targets' properties over their seeds in `fixtures/fuzz`.

mod properties;

use std::fs;
use std::path::Path;

fn over_seeds(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/fuzz")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the seed folder is part of the repository") {
        let seed = fs::read(entry.expect("readable folder").path()).expect("readable seed");
        // Every prefix is a seed of its own.
        for end in 0..=seed.len() {
            property(&seed[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", folder.display());
}

#[test]
fn greeting_seeds() {
    over_seeds("socks_greeting", properties::greeting);
}

#[test]
fn request_seeds() {
    over_seeds("socks_request", properties::request);
}

#[test]
fn frame_seeds() {
    over_seeds("socks_frame", properties::frame);
}
