// SPDX-License-Identifier: MIT OR Apache-2.0
//! The head of a record, which is written last and makes its value count.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// Bytes of an encoded head.
pub(crate) const HEAD_BYTES: usize = 32;

/// Without a table: settings are small and flash is dear.
pub(crate) const CHECKSUM: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// Names the format and its version.
const MAGIC: [u8; 8] = *b"SMGWFS\x01\x00";

/// What is known of a value without reading it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    /// From one; the highest is that of the current value.
    pub(crate) generation: u64,
    /// Bytes of the value.
    pub(crate) length: u32,
    pub(crate) value_checksum: u32,
}

impl Head {
    /// The generation that is never written, so that there is always a next one.
    pub(crate) const END: u64 = u64::MAX;

    pub(crate) fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0xFF; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.generation.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.value_checksum.to_le_bytes());
        let own = checksum(&bytes[..28]);
        bytes[28..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    /// The head in these bytes, if they are one to the last bit.
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let head = Self {
            generation: u64::from(word(8)?) | u64::from(word(12)?) << 32,
            length: word(16)?,
            value_checksum: word(20)?,
        };
        let counts = head.generation != 0 && head.generation != Self::END;
        (counts && head.encode() == *bytes).then_some(head)
    }
}

pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    CHECKSUM.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        generation: 0x0102_0304_0506_0708,
        length: 1000,
        value_checksum: 0xDEAD_BEEF,
    };

    #[test]
    fn checksum_is_that_of_everyone() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(checksum(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn only_a_whole_head_counts() {
        let whole = HEAD.encode();
        assert_eq!(Head::decode(&whole), Some(HEAD));
        for bit in 0..HEAD_BYTES * 8 {
            let mut changed = whole;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&changed), None, "bit {bit}");
        }
        for written in 0..HEAD_BYTES {
            let mut torn = [0xFF; HEAD_BYTES];
            torn[..written].copy_from_slice(&whole[..written]);
            assert_eq!(Head::decode(&torn), None, "{written} bytes written");
        }
    }

    #[test]
    fn blank_and_extreme_heads_do_not_count() {
        assert_eq!(Head::decode(&[0; HEAD_BYTES]), None);
        assert_eq!(Head::decode(&[0xFF; HEAD_BYTES]), None);
        for generation in [0, Head::END] {
            let head = Head { generation, ..HEAD };
            assert_eq!(Head::decode(&head.encode()), None);
        }
    }
}
