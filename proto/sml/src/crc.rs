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
        let mut pair = CrcPair::new();
        pair.feed_all(covered);
        pair.bytes(self)
    }
}

/// Both checksums over one run of bytes; they share a polynomial and differ in their first value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrcPair {
    x25: u16,
    kermit: u16,
}

impl CrcPair {
    pub(crate) const fn new() -> Self {
        Self {
            x25: 0xffff,
            kermit: 0,
        }
    }

    pub(crate) fn feed(&mut self, byte: u8) {
        self.x25 = step(self.x25, byte);
        self.kermit = step(self.kermit, byte);
    }

    pub(crate) fn feed_all(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.feed(*byte));
    }

    pub(crate) const fn bytes(&self, kind: CrcKind) -> [u8; 2] {
        match kind {
            CrcKind::X25 => (self.x25 ^ 0xffff).to_le_bytes(),
            CrcKind::Kermit => self.kermit.to_be_bytes(),
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

#[allow(clippy::indexing_slicing)] // A byte always indexes a table of 256.
fn step(crc: u16, byte: u8) -> u16 {
    let [low, _] = crc.to_le_bytes();
    (crc >> 8) ^ TABLE[usize::from(low ^ byte)]
}

/// Polynomial 1021h, reflected.
const TABLE: [u16; 256] = table();

#[allow(clippy::indexing_slicing)] // Evaluated at compile time.
const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x8408
            } else {
                crc >> 1
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
        assert_eq!(CrcKind::Kermit.of(b"123456789"), [0x21, 0x89]);
    }
}
