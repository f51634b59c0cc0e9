// SPDX-License-Identifier: MIT OR Apache-2.0
//! SHA-256 over bytes and files, and lower-case hexadecimal.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

pub(crate) type Sha256Digest = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}

/// Hashes a file in constant memory; returns the digest and the number of bytes read. Reading stops with an
/// error beyond `limit` bytes, so that a growing or endless file ends.
pub(crate) fn sha256_file(path: &Path, limit: u64) -> io::Result<(Sha256Digest, u64)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    let mut total = 0_u64;
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok((hash.finalize().into(), total));
        }
        total += n as u64;
        if total > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the file grows while it is read",
            ));
        }
        hash.update(block.get(..n).unwrap_or_default());
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Reads lower-case hexadecimal; anything else is none, so that every value has exactly one spelling.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_has_one_spelling() {
        assert_eq!(hex(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(unhex("00abff"), Some(vec![0, 0xab, 0xff]));
        assert_eq!(unhex("00ABFF"), None);
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("é"), None);
    }

    #[test]
    fn the_standard_vector() {
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
