// SPDX-License-Identifier: MIT OR Apache-2.0
//! How values of a card profile are spelt in TOML: hex digits, curves and phases by name.

use hsm_api::{Curve, KeyUsage, LifeCycle, ObjectId};
use serde::{Deserialize, Deserializer, de::Error as _};

use super::FileId;

pub(super) fn always() -> bool {
    true
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        digits.then(|| u8::from_str_radix(pair, 16).ok())?
    };
    digits.as_bytes().chunks(2).map(byte).collect()
}

pub(super) fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let digits = String::deserialize(deserializer)?;
    bytes_of(&digits)
        .ok_or_else(|| D::Error::custom(format!("\"{digits}\" is no even number of hex digits")))
}

pub(super) fn hex_array<'de, const N: usize, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u8; N], D::Error> {
    let bytes = hex(deserializer)?;
    let len = bytes.len();
    bytes
        .try_into()
        .map_err(|_| D::Error::custom(format!("{len} bytes where {N} belong")))
}

pub(super) fn hex_byte<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    hex_array(deserializer).map(|[byte]| byte)
}

pub(super) fn hex_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FileId, D::Error> {
    hex_array(deserializer).map(FileId::from_be_bytes)
}

pub(super) fn hex_files<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[FileId; 2], D::Error> {
    let files = <[String; 2]>::deserialize(deserializer)?;
    let file = |digits: &String| {
        let bytes: Option<[u8; 2]> = bytes_of(digits).and_then(|bytes| bytes.try_into().ok());
        bytes.map(FileId::from_be_bytes)
    };
    match [file(&files[0]), file(&files[1])] {
        [Some(first), Some(second)] => Ok([first, second]),
        _ => Err(D::Error::custom("a file identifier has four hex digits")),
    }
}

pub(super) fn curve<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Curve, D::Error> {
    let name = String::deserialize(deserializer)?;
    Curve::ALL
        .into_iter()
        .find(|curve| curve.to_string() == name)
        .ok_or_else(|| D::Error::custom(format!("\"{name}\" is no curve of TR-03116-3")))
}

pub(super) fn phases<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<LifeCycle>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names
        .iter()
        .map(|name| name.parse().map_err(D::Error::custom))
        .collect()
}

pub(super) fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectId, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Named {
        Certificate(String),
        Data(String),
    }
    Named::deserialize(deserializer).map(|named| match named {
        Named::Certificate(name) => ObjectId::certificate(name),
        Named::Data(name) => ObjectId::data(name),
    })
}

pub(super) fn usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyUsage, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "sign" => Ok(KeyUsage::Sign),
        "agree" => Ok(KeyUsage::Agree),
        other => Err(D::Error::custom(format!(
            "\"{other}\" is no usage; there are sign and agree"
        ))),
    }
}
