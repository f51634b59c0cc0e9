// SPDX-License-Identifier: MIT OR Apache-2.0
//! The protocol between the virtual reader vpcd and its card: messages of a two-byte length, high byte first, and content.
//!
//! The reader sends one byte for what is done to the card, more for a command APDU. It expects an answer to commands and
//! to the question for the ATR, and to nothing else.

/// What the reader wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Request {
    /// The card loses power.
    PowerOff,
    /// The card gets power.
    PowerOn,
    /// The card is reset.
    Reset,
    /// The reader asks for the answer to reset.
    Atr,
    /// A command APDU, of two bytes and more.
    Command(Vec<u8>),
    /// Nothing known: an empty message, or another single byte. It gets no answer.
    Unknown(Option<u8>),
}

/// Cuts what comes from the reader into requests; holds one message at most.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    /// Takes bytes as they come and gives the requests they complete.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Request> {
        self.held.extend_from_slice(bytes);
        let mut requests = Vec::new();
        let mut rest = self.held.as_slice();
        while let Some((content, after)) = split(rest) {
            requests.push(Request::of(content));
            rest = after;
        }
        let kept = rest.len();
        self.held.drain(..self.held.len() - kept);
        requests
    }
}

impl Request {
    fn of(content: &[u8]) -> Self {
        match content {
            [0] => Self::PowerOff,
            [1] => Self::PowerOn,
            [2] => Self::Reset,
            [4] => Self::Atr,
            [] => Self::Unknown(None),
            [other] => Self::Unknown(Some(*other)),
            command => Self::Command(command.to_vec()),
        }
    }
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// The message that carries an answer: length and content in one piece, so that it can be sent at once.
///
/// Returns nothing when the answer is longer than a message can be, 65535 bytes.
pub fn message(answer: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(answer.len()).ok()?;
    Some([&length.to_be_bytes(), answer].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let bytes = [
            &[0, 1, 1][..],
            &[0, 1, 4],
            &[0, 5, 0, 0xb0, 0x9c, 0, 0],
            &[0, 1, 2],
            &[0, 0],
            &[0, 1, 9],
            &[0, 1, 0],
        ]
        .concat();
        let expected = [
            Request::PowerOn,
            Request::Atr,
            Request::Command(vec![0, 0xb0, 0x9c, 0, 0]),
            Request::Reset,
            Request::Unknown(None),
            Request::Unknown(Some(9)),
            Request::PowerOff,
        ];
        assert_eq!(Decoder::default().take(&bytes), expected);
        let mut decoder = Decoder::default();
        let single: Vec<_> = bytes
            .iter()
            .flat_map(|byte| decoder.take(&[*byte]))
            .collect();
        assert_eq!(single, expected);
    }

    #[test]
    fn an_answer_is_one_message() {
        assert_eq!(message(&[0x90, 0]), Some(vec![0, 2, 0x90, 0]));
        assert_eq!(message(&[0; 65_535]).map(|all| all.len()), Some(65_537));
        assert_eq!(message(&[0; 65_536]), None);
    }
}
