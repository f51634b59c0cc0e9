// SPDX-License-Identifier: MIT OR Apache-2.0
//! Response APDUs: data and a status word (ISO/IEC 7816-4 §5.1).

use alloc::vec::Vec;
use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::StatusWord;

/// An answer. Its data is wiped when dropped and never printed.
#[derive(Clone, Eq, PartialEq, Zeroize, ZeroizeOnDrop)]
pub struct Response {
    /// What the card returns.
    pub data: Vec<u8>,
    /// How the command ended.
    #[zeroize(skip)]
    pub status: StatusWord,
}

/// An answer shorter than a status word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseTooShort;

impl Response {
    /// An answer.
    pub fn new(data: impl Into<Vec<u8>>, status: StatusWord) -> Self {
        Self {
            data: data.into(),
            status,
        }
    }

    /// The bytes the card sends.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() + 2);
        bytes.extend_from_slice(&self.data);
        bytes.extend(self.status.0.to_be_bytes());
        bytes
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// [`ResponseTooShort`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ResponseTooShort> {
        let (data, status) = bytes.split_last_chunk().ok_or(ResponseTooShort)?;
        Ok(Self::new(data, StatusWord(u16::from_be_bytes(*status))))
    }
}

impl From<StatusWord> for Response {
    fn from(status: StatusWord) -> Self {
        Self::new([], status)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes, {})", self.data.len(), self.status)
    }
}

impl fmt::Display for ResponseTooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("card's answer is shorter than its status word")
    }
}

impl core::error::Error for ResponseTooShort {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_status_word() {
        let response = Response::decode(&[7, 8, 0x90, 0]).unwrap();
        assert_eq!(response, Response::new([7, 8], StatusWord::OK));
        assert_eq!(response.encode(), [7, 8, 0x90, 0]);
        assert_eq!(Response::decode(&[0x90]), Err(ResponseTooShort));
    }
}
