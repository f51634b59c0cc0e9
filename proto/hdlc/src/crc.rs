// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checksums of header and frame (ISO/IEC 13239 §4.2.5): CRC-16/X-25, and one departure from it.

/// Which checksum a line uses, and in which byte order it is sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CrcKind {
    /// CRC-16/X-25, low byte first: ISO/IEC 13239 and DLMS.
    X25,
    /// CRC-16/CCITT-FALSE, high byte first: seen in an experimental LMN bridge of 2019 only.
    CcittFalse,
}

impl CrcKind {
    /// The two bytes this checksum puts behind `covered`, in line order.
    pub fn of(self, covered: &[u8]) -> [u8; 2] {
        match self {
            Self::X25 => {
                let crc = covered.iter().fold(0xffff, |crc: u16, byte| {
                    let [low, _] = crc.to_le_bytes();
                    (crc >> 8) ^ entry(&REFLECTED, low ^ byte)
                });
                (crc ^ 0xffff).to_le_bytes()
            }
            Self::CcittFalse => {
                let crc = covered.iter().fold(0xffff, |crc: u16, byte| {
                    let [_, high] = crc.to_le_bytes();
                    (crc << 8) ^ entry(&STRAIGHT, high ^ byte)
                });
                crc.to_be_bytes()
            }
        }
    }

    /// Whether the last two bytes of `line` are the checksum of those before.
    pub fn holds(self, line: &[u8]) -> bool {
        line.split_last_chunk()
            .is_some_and(|(covered, sent)| self.of(covered) == *sent)
    }
}

#[allow(clippy::indexing_slicing)] // A byte always indexes a table of 256.
fn entry(table: &[u16; 256], index: u8) -> u16 {
    table[usize::from(index)]
}

/// Polynomial 1021h, lowest bit first.
const REFLECTED: [u16; 256] = table(true);
/// Polynomial 1021h, highest bit first.
const STRAIGHT: [u16; 256] = table(false);

#[allow(clippy::indexing_slicing)] // Evaluated at compile time.
const fn table(reflected: bool) -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = if reflected { index } else { index << 8 } as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = match (reflected, crc & 1 == 1, crc & 0x8000 != 0) {
                (true, true, _) => (crc >> 1) ^ 0x8408,
                (true, false, _) => crc >> 1,
                (false, _, true) => (crc << 1) ^ 0x1021,
                (false, _, false) => crc << 1,
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        assert_eq!(CrcKind::X25.of(b"123456789"), [0x6e, 0x90]);
        assert_eq!(CrcKind::CcittFalse.of(b"123456789"), [0x29, 0xb1]);
        assert!(CrcKind::X25.holds(b"123456789\x6e\x90"));
        assert!(!CrcKind::X25.holds(b"\x6e"));
    }
}
