// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CRC of EN 13757-4: of link blocks, ELL payloads, format signatures and full frames.

/// CRC of `parts` one after the other: polynomial 3D65, initially 0, inverted at the end.
pub fn crc(parts: &[&[u8]]) -> u16 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(0, |crc, byte| {
        let mut crc = crc ^ u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { POLYNOMIAL };
        }
        crc
    })
}

const POLYNOMIAL: u16 = 0x3d65;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_value() {
        assert_eq!(crc(&[b"12345", b"6789"]), 0xc2b7);
    }
}
