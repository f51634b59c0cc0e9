// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two checksums SML meters use: CRC-16/X-25, and CRC-16/KERMIT on some Holley firmware.

/// Which checksum verified a file or a message, and in which byte order it was sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CrcKind {
    /// CRC-16/X-25, low byte first: what the specification asks for.
    X25,
    /// CRC-16/KERMIT, high byte first: Holley DTZ541.
    Kermit,
}

impl CrcKind {
    /// The two bytes this checksum puts behind `covered`, in line order.
    pub fn of(self, covered: &[u8]) -> [u8; 2] {
        Crc::over(covered).bytes(self)
    }
}

/// Both checksums over one run of bytes.
///
/// They share a polynomial and differ in their first register value only, so the register of KERMIT
/// is that of X-25 and what the first value alone would have become after as many bytes. Hence only
/// X-25 is kept up, and KERMIT worked out when asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crc {
    x25: u16,
    bytes: usize,
}

impl Crc {
    pub(crate) const fn new() -> Self {
        Self {
            x25: FIRST,
            bytes: 0,
        }
    }

    pub(crate) fn over(bytes: &[u8]) -> Self {
        let mut crc = Self::new();
        crc.feed(bytes);
        crc
    }

    #[allow(clippy::indexing_slicing)] // A byte always indexes a table of 256.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<LANES>();
        let crc = chunks.iter().fold(self.x25, |crc, chunk| {
            let mixed = u128::from_le_bytes(*chunk) ^ u128::from(crc);
            let lanes = mixed.to_le_bytes().into_iter().zip(TABLES.iter().rev());
            lanes.fold(0, |crc, (byte, table)| crc ^ table[usize::from(byte)])
        });
        self.x25 = rest.iter().fold(crc, |crc, byte| step(crc, *byte));
        self.bytes += bytes.len();
    }

    pub(crate) fn bytes(&self, kind: CrcKind) -> [u8; 2] {
        match kind {
            CrcKind::X25 => (self.x25 ^ 0xffff).to_le_bytes(),
            CrcKind::Kermit => {
                let first = (0..self.bytes).fold(FIRST, |crc, _| step(crc, 0));
                (self.x25 ^ first).to_be_bytes()
            }
        }
    }

    /// The checksum that explains `line`, X-25 first.
    pub(crate) fn matching(&self, line: [u8; 2], kermit_allowed: bool) -> Option<CrcKind> {
        if self.bytes(CrcKind::X25) == line {
            Some(CrcKind::X25)
        } else if kermit_allowed && self.bytes(CrcKind::Kermit) == line {
            Some(CrcKind::Kermit)
        } else {
            None
        }
    }
}

const FIRST: u16 = 0xffff;
/// Bytes looked up side by side.
const LANES: usize = 16;

#[allow(clippy::indexing_slicing)] // A byte always indexes a table of 256.
const fn step(crc: u16, byte: u8) -> u16 {
    let [low, _] = crc.to_le_bytes();
    (crc >> 8) ^ TABLES[0][(low ^ byte) as usize]
}

/// Polynomial 1021h, reflected. Table k tells what a byte does to the register k bytes later, so that
/// many bytes are looked up side by side.
static TABLES: [[u16; 256]; LANES] = tables();

#[allow(clippy::indexing_slicing)] // Evaluated at compile time.
const fn tables() -> [[u16; 256]; LANES] {
    let mut tables = [[0; 256]; LANES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0x8408 } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut later = 1;
    while later < LANES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[later - 1][byte];
            tables[later][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        later += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_values() {
        assert_eq!(CrcKind::X25.of(b"123456789"), [0x6e, 0x90]);
        assert_eq!(CrcKind::Kermit.of(b"123456789"), [0x21, 0x89]);
    }

    /// However the bytes are cut into pieces, and bit by bit.
    #[test]
    fn pieces_make_no_difference() {
        let bytes: [u8; 41] = core::array::from_fn(|at| (at * 37) as u8);
        for kind in [CrcKind::X25, CrcKind::Kermit] {
            let first = if kind == CrcKind::X25 { 0xffff } else { 0 };
            let plain = bytes.iter().fold(first, |crc: u16, byte| {
                (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
                    (crc >> 1) ^ if crc & 1 == 1 { 0x8408 } else { 0 }
                })
            });
            let expected = match kind {
                CrcKind::X25 => (plain ^ 0xffff).to_le_bytes(),
                CrcKind::Kermit => plain.to_be_bytes(),
            };
            for cut in 0..bytes.len() {
                let mut crc = Crc::new();
                crc.feed(&bytes[..cut]);
                crc.feed(&bytes[cut..]);
                assert_eq!(crc.bytes(kind), expected, "{kind:?} cut at {cut}");
            }
        }
    }
}
