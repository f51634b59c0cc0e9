// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures of others that are not part of the repository, see [`test_material::corpus`], and own vectors.

// Each test file uses some of these.
#![allow(dead_code)]

use std::fs;

use smgw_lmn_keys::Key;
use test_material::unhex;

/// A file of a corpus; `None`, and a line that says so, when it is not there.
pub fn corpus(set: &str, file: &str) -> Option<String> {
    let path = test_material::corpus(set)?.join(file);
    Some(fs::read_to_string(path).unwrap())
}

/// A file of this repository.
pub fn fixture(name: &str) -> String {
    let path = test_material::repository().join("fixtures").join(name);
    fs::read_to_string(path).unwrap()
}

/// A key in hexadecimal digits, if the text is one.
pub fn key(text: &str) -> Option<Key> {
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| Key::new(unhex(text).try_into().unwrap()))
}
