// SPDX-License-Identifier: MIT OR Apache-2.0
//! AES-128 secure messaging for both ends (BSI TR-03110-3 appendix F): AES-CBC, then CMAC of 8 bytes, counted by a send
//! sequence counter of 128 bits.
//!
//! The guideline covers even instructions, whose data goes into DO 87. That odd ones, whose data is BER-TLV, use DO 85
//! without a padding indicator is what ISO/IEC 7816-4 says of that tag, an assumption as far as cards are concerned.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use aes::Aes128;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use cmac::{Cmac, KeyInit, Mac};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::tlv::{self, Object, Tag};
use crate::{Command, Response, StatusWord};

/// The two session keys. Wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SessionKeys {
    encryption: [u8; BLOCK],
    authentication: [u8; BLOCK],
}

/// One end of a protected session: either [`SecureChannel::protect_command`] and [`SecureChannel::open_response`], or
/// [`SecureChannel::open_command`] and [`SecureChannel::protect_response`], in turns.
///
/// The first failure of [`SecureChannel::open_command`] or [`SecureChannel::open_response`] ends the session, as F.6
/// demands: the keys are wiped, and everything after it fails with [`SecureError::Closed`].
#[derive(Clone, Debug)]
pub struct SecureChannel {
    keys: Option<SessionKeys>,
    counter: u128,
    /// The tag for encrypted data of the command in hand and of its answer.
    cryptogram: Tag,
}

/// Why a message cannot be protected, or must not be trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SecureError {
    /// The peer's message lacks a data object that must be there (6987).
    Missing(Tag),
    /// The peer's data object is out of order, unknown, malformed or does not authenticate (6988).
    Wrong(Tag),
    /// The peer's data objects are no BER-TLV (6988).
    Malformed(tlv::TlvError),
    /// The peer's message is not protected at all; a card that ended the session answers so.
    Unprotected(StatusWord),
    /// The caller's data is too long to be protected.
    TooLong,
    /// The session had ended before.
    Closed,
}

/// Bits of the class byte: secure messaging, header authenticated.
pub(crate) const PROTECTED: u8 = 0x0c;

const BLOCK: usize = 16;
const PADDING: u8 = 0x80;
/// Says in DO 87 how the encrypted data is padded: as ISO/IEC 7816-4 does.
const INDICATOR: u8 = 1;
const MAC_LEN: usize = 8;

const CRYPTOGRAM: Tag = Tag(0x87);
const CRYPTOGRAM_TLV: Tag = Tag(0x85);
const EXPECTED: Tag = Tag(0x97);
const STATUS: Tag = Tag(0x99);
const CHECKSUM: Tag = Tag(0x8e);

/// What encryption, lengths and the other objects add to data at most.
const OVERHEAD: usize = 64;

impl SessionKeys {
    /// Keys for encryption and authentication.
    pub const fn new(encryption: [u8; 16], authentication: [u8; 16]) -> Self {
        Self {
            encryption,
            authentication,
        }
    }
}

impl SecureChannel {
    /// A session that begins, with its counter at 0.
    pub const fn new(keys: SessionKeys) -> Self {
        Self::resume(keys, 0)
    }

    /// A session of which `counter` messages have passed.
    pub const fn resume(keys: SessionKeys, counter: u128) -> Self {
        Self {
            keys: Some(keys),
            counter,
            cryptogram: CRYPTOGRAM,
        }
    }

    /// Whether the session goes on.
    pub const fn is_open(&self) -> bool {
        self.keys.is_some()
    }

    /// Ends the session and wipes its keys.
    pub fn close(&mut self) {
        self.keys = None;
    }

    /// Messages so far, both ways.
    pub const fn counter(&self) -> u128 {
        self.counter
    }

    /// Counts a message that never passed; the two ends then disagree. For fault injection.
    pub const fn skip(&mut self) {
        self.counter = self.counter.wrapping_add(1);
    }

    /// Wraps a command for the card.
    ///
    /// # Errors
    /// [`SecureError::TooLong`], with the session as it was, or [`SecureError::Closed`].
    pub fn protect_command(&mut self, command: &Command) -> Result<Command, SecureError> {
        let most = Command::MOST_DATA - OVERHEAD;
        if command.data.len() > most
            || command
                .expected
                .is_some_and(|most| most == 0 || most > Command::MOST_EXPECTED)
        {
            return Err(SecureError::TooLong);
        }
        self.cryptogram = cryptogram_tag(command.ins);
        let session = self.next()?;
        let mut body = session.encrypted(&command.data);
        if let Some(expected) = command.expected {
            let [.., middle, low] = expected.to_be_bytes();
            let long = [middle, low];
            tlv::put(
                &mut body,
                EXPECTED,
                if expected > 256 { &long } else { &long[1..] },
            );
        }
        let mut protected =
            Command::new(command.cla | PROTECTED, command.ins, command.p1, command.p2);
        let checksum = session.command_mac(&protected.header(), &body);
        tlv::put(&mut body, CHECKSUM, &mac_of(checksum));
        // The new Le asks for all there is: 00 short, 0000 extended.
        let extended = body.len() > 255 || command.expected.is_some_and(|most| most > 256);
        protected.expected = Some(if extended {
            Command::MOST_EXPECTED
        } else {
            256
        });
        protected.data = body;
        Ok(protected)
    }

    /// Unwraps a command from the gateway.
    ///
    /// # Errors
    /// All but [`SecureError::TooLong`]; the session has then ended, and [`SecureError::status`] is the answer.
    pub fn open_command(&mut self, command: &Command) -> Result<Command, SecureError> {
        let opened = self.try_open_command(command);
        self.end_unless(opened)
    }

    /// Wraps an answer for the gateway.
    ///
    /// # Errors
    /// [`SecureError::TooLong`], with the session as it was, or [`SecureError::Closed`].
    pub fn protect_response(&mut self, response: &Response) -> Result<Response, SecureError> {
        if response.data.len() > Command::MOST_DATA - OVERHEAD {
            return Err(SecureError::TooLong);
        }
        let session = self.next()?;
        let mut body = session.encrypted(&response.data);
        tlv::put(&mut body, STATUS, &response.status.0.to_be_bytes());
        let checksum = session.response_mac(&body);
        tlv::put(&mut body, CHECKSUM, &mac_of(checksum));
        Ok(Response::new(body, response.status))
    }

    /// Unwraps an answer of the card.
    ///
    /// # Errors
    /// All but [`SecureError::TooLong`]; the session has then ended.
    pub fn open_response(&mut self, response: &Response) -> Result<Response, SecureError> {
        let opened = self.try_open_response(response);
        self.end_unless(opened)
    }

    fn try_open_command(&mut self, command: &Command) -> Result<Command, SecureError> {
        let session = self.next_for(cryptogram_tag(command.ins))?;
        if !command.is_protected() {
            return Err(SecureError::Unprotected(StatusWord::SECURITY_STATUS));
        }
        let parts = Parts::read(&command.data, [session.cryptogram, EXPECTED])?;
        session
            .command_mac(&command.header(), parts.authenticated)
            .verify_truncated_left(parts.checksum)
            .map_err(|_| SecureError::Wrong(CHECKSUM))?;
        let [data, expected] = parts.objects;
        let expected = match expected {
            None => None,
            Some([0]) => Some(256),
            Some([0, 0]) => Some(Command::MOST_EXPECTED),
            Some([length]) => Some(u32::from(*length)),
            Some([high, low]) => Some(u32::from(u16::from_be_bytes([*high, *low]))),
            Some(_) => return Err(SecureError::Wrong(EXPECTED)),
        };
        Ok(Command {
            data: session.decrypted(data)?,
            expected,
            ..Command::new(
                command.cla & !PROTECTED,
                command.ins,
                command.p1,
                command.p2,
            )
        })
    }

    fn try_open_response(&mut self, response: &Response) -> Result<Response, SecureError> {
        let session = self.next()?;
        if response.data.is_empty() {
            return Err(SecureError::Unprotected(response.status));
        }
        let parts = Parts::read(&response.data, [session.cryptogram, STATUS])?;
        session
            .response_mac(parts.authenticated)
            .verify_truncated_left(parts.checksum)
            .map_err(|_| SecureError::Wrong(CHECKSUM))?;
        let [data, status] = parts.objects;
        let status = status.ok_or(SecureError::Missing(STATUS))?;
        if status != response.status.0.to_be_bytes() {
            return Err(SecureError::Wrong(STATUS));
        }
        Ok(Response::new(session.decrypted(data)?, response.status))
    }

    fn next_for(&mut self, cryptogram: Tag) -> Result<Message<'_>, SecureError> {
        self.cryptogram = cryptogram;
        self.next()
    }

    /// Counts one message.
    fn next(&mut self) -> Result<Message<'_>, SecureError> {
        let keys = self.keys.as_ref().ok_or(SecureError::Closed)?;
        self.counter = self.counter.checked_add(1).ok_or(SecureError::Closed)?;
        Ok(Message {
            keys,
            counter: self.counter.to_be_bytes(),
            cryptogram: self.cryptogram,
        })
    }

    fn end_unless<T>(&mut self, opened: Result<T, SecureError>) -> Result<T, SecureError> {
        if opened.is_err() {
            self.close();
        }
        opened
    }
}

const fn cryptogram_tag(ins: u8) -> Tag {
    if ins & 1 == 0 {
        CRYPTOGRAM
    } else {
        CRYPTOGRAM_TLV
    }
}

impl SecureError {
    /// What a card answers, without protection.
    pub const fn status(self) -> StatusWord {
        match self {
            Self::Missing(_) => StatusWord::MISSING_OBJECT,
            Self::Wrong(_) | Self::Malformed(_) => StatusWord::WRONG_OBJECT,
            Self::Unprotected(_) | Self::Closed => StatusWord::SECURITY_STATUS,
            Self::TooLong => StatusWord::WRONG_LENGTH,
        }
    }
}

/// The data objects of a protected message, in the one order allowed.
struct Parts<'a> {
    /// The two optional ones in front.
    objects: [Option<&'a [u8]>; 2],
    checksum: &'a [u8],
    /// All bytes in front of the checksum.
    authenticated: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(body: &'a [u8], optional: [Tag; 2]) -> Result<Self, SecureError> {
        let mut found = [None; 2];
        let mut checksum = None;
        let mut place = 0;
        let mut before = 0;
        let mut objects = tlv::objects(body);
        while let Some(object) = objects.next() {
            let Object { tag, value } = object.map_err(SecureError::Malformed)?;
            let order = optional.iter().position(|known| *known == tag);
            match order {
                Some(order) if order >= place && checksum.is_none() => {
                    place = order + 1;
                    if let Some(slot) = found.get_mut(order) {
                        *slot = Some(value);
                    }
                    before = body.len() - objects.rest().len();
                }
                None if tag == CHECKSUM && checksum.is_none() => checksum = Some(value),
                _ => return Err(SecureError::Wrong(tag)),
            }
        }
        let checksum = checksum.ok_or(SecureError::Missing(CHECKSUM))?;
        // A shorter one would be easier to guess.
        if checksum.len() != MAC_LEN {
            return Err(SecureError::Wrong(CHECKSUM));
        }
        Ok(Self {
            objects: found,
            checksum,
            authenticated: body.get(..before).unwrap_or_default(),
        })
    }
}

/// One message of the session: the keys with the counter that is in force for it.
struct Message<'a> {
    keys: &'a SessionKeys,
    counter: [u8; BLOCK],
    cryptogram: Tag,
}

impl Message<'_> {
    /// The data object with the encrypted data; nothing for no data.
    fn encrypted(&self, data: &[u8]) -> Vec<u8> {
        let mut object = Vec::new();
        if data.is_empty() {
            return object;
        }
        let indicator = self.indicator();
        let mut value = Vec::with_capacity(data.len() + BLOCK + 1);
        value.extend_from_slice(indicator);
        value.extend_from_slice(data);
        value.push(PADDING);
        let padded = (value.len() - indicator.len()).next_multiple_of(BLOCK);
        value.resize(indicator.len() + padded, 0);
        let mut cbc =
            cbc::Encryptor::<Aes128>::new((&self.keys.encryption).into(), (&self.iv()).into());
        let (_, blocks) = value.split_at_mut(indicator.len());
        for block in blocks.as_chunks_mut::<BLOCK>().0 {
            cbc.encrypt_block(block.into());
        }
        tlv::put(&mut object, self.cryptogram, &value);
        object
    }

    /// The data out of its object, whose authenticity has been checked.
    fn decrypted(&self, object: Option<&[u8]>) -> Result<Vec<u8>, SecureError> {
        let Some(value) = object else {
            return Ok(Vec::new());
        };
        let wrong = SecureError::Wrong(self.cryptogram);
        let encrypted = value.strip_prefix(self.indicator()).ok_or(wrong)?;
        if encrypted.is_empty() || !encrypted.len().is_multiple_of(BLOCK) {
            return Err(wrong);
        }
        let mut data = Zeroizing::new(encrypted.to_vec());
        let mut cbc =
            cbc::Decryptor::<Aes128>::new((&self.keys.encryption).into(), (&self.iv()).into());
        for block in data.as_chunks_mut::<BLOCK>().0 {
            cbc.decrypt_block(block.into());
        }
        let end = data.iter().rposition(|byte| *byte != 0).unwrap_or_default();
        // Padding starts in the last block, and there is no object for no data.
        if data.get(end) != Some(&PADDING) || data.len() - end > BLOCK || end == 0 {
            return Err(wrong);
        }
        data.truncate(end);
        Ok(core::mem::take(&mut *data))
    }

    fn indicator(&self) -> &'static [u8] {
        if self.cryptogram == CRYPTOGRAM {
            &[INDICATOR]
        } else {
            &[]
        }
    }

    /// The encrypted counter.
    fn iv(&self) -> [u8; BLOCK] {
        let mut iv = self.counter;
        cbc::Encryptor::<Aes128>::new((&self.keys.encryption).into(), (&[0; BLOCK]).into())
            .encrypt_block((&mut iv).into());
        iv
    }

    fn command_mac(&self, header: &[u8; 4], objects: &[u8]) -> Cmac<Aes128> {
        let mut mac = self.mac();
        update_padded(&mut mac, header);
        if !objects.is_empty() {
            update_padded(&mut mac, objects);
        }
        mac
    }

    fn response_mac(&self, objects: &[u8]) -> Cmac<Aes128> {
        let mut mac = self.mac();
        update_padded(&mut mac, objects);
        mac
    }

    fn mac(&self) -> Cmac<Aes128> {
        let mut mac = Cmac::new((&self.keys.authentication).into());
        mac.update(&self.counter);
        mac
    }
}

/// Authenticates `part` and the padding of ISO/IEC 7816-4 behind it.
fn update_padded(mac: &mut Cmac<Aes128>, part: &[u8]) {
    let padded = (part.len() + 1).next_multiple_of(BLOCK);
    let mut padding = vec![0; padded - part.len()];
    if let Some(first) = padding.first_mut() {
        *first = PADDING;
    }
    mac.update(part);
    mac.update(&padding);
}

fn mac_of(mac: Cmac<Aes128>) -> [u8; MAC_LEN] {
    let full: [u8; BLOCK] = mac.finalize().into_bytes().into();
    let mut short = [0; MAC_LEN];
    short.copy_from_slice(full.split_at(MAC_LEN).0);
    short
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeys(..)")
    }
}

impl fmt::Display for SecureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(tag) => write!(f, "peer's message lacks data object {tag}"),
            Self::Wrong(tag) => write!(f, "peer's data object {tag} is wrong or out of place"),
            Self::Malformed(error) => write!(f, "peer's {error}"),
            Self::Unprotected(status) => write!(f, "peer's message is not protected: {status}"),
            Self::TooLong => f.write_str("caller's data is too long to be protected"),
            Self::Closed => f.write_str("the protected session has ended"),
        }
    }
}

impl core::error::Error for SecureError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (SecureChannel, SecureChannel) {
        let keys = SessionKeys::new([0x11; 16], [0x22; 16]);
        (SecureChannel::new(keys.clone()), SecureChannel::new(keys))
    }

    #[test]
    fn all_cases_pass_both_ways_and_the_class_survives() {
        let (mut gateway, mut card) = pair();
        for ins in [0x2a, 0x47] {
            for len in [0, 1, 15, 16, 17, 200, 240, 300, 5000] {
                for expected in [None, Some(1), Some(256), Some(257), Some(65536)] {
                    let mut command = Command::new(0x10, ins, 0x9e, 0x9a).with(vec![0x80; len]);
                    command.expected = expected;
                    let sent = gateway.protect_command(&command).unwrap();
                    let sent = Command::decode(&sent.encode().unwrap()).unwrap();
                    assert_eq!(card.open_command(&sent).unwrap(), command);
                    let answer = Response::new(vec![0; len], StatusWord(0x6282));
                    let sent = card.protect_response(&answer).unwrap();
                    assert_eq!(gateway.open_response(&sent).unwrap(), answer);
                }
            }
        }
        assert_eq!(gateway.counter(), card.counter());
    }

    /// Every single bit counts, and a failure ends the session for good.
    #[test]
    fn changed_messages_end_the_session() {
        let command = Command::new(0, 0xb0, 1, 2).with([1, 2, 3]).expecting(9);
        let answer = Response::new([1, 2, 3], StatusWord::OK);
        let (mut gateway, card) = pair();
        let sent = gateway.protect_command(&command).unwrap();
        let bits = |bytes: usize| (0..8 * bytes).map(|bit| (bit / 8, 1 << (bit % 8)));
        for (at, bit) in bits(4 + sent.data.len()) {
            let mut changed = sent.clone();
            match at {
                0 => changed.cla ^= bit,
                1 => changed.ins ^= bit,
                2 => changed.p1 ^= bit,
                3 => changed.p2 ^= bit,
                _ => changed.data[at - 4] ^= bit,
            }
            let mut card = card.clone();
            card.open_command(&changed).unwrap_err();
            assert!(!card.is_open());
            assert_eq!(card.open_command(&sent), Err(SecureError::Closed));
            assert_eq!(card.protect_response(&answer), Err(SecureError::Closed));
        }
        let mut card = card;
        card.open_command(&sent).unwrap();
        let sent = card.protect_response(&answer).unwrap();
        for (at, bit) in bits(sent.data.len() + 2) {
            let mut changed = sent.clone();
            match changed.data.get_mut(at) {
                Some(byte) => *byte ^= bit,
                None => changed.status.0 ^= u16::from(bit),
            }
            let mut gateway = gateway.clone();
            gateway.open_response(&changed).unwrap_err();
            assert!(!gateway.is_open());
        }
    }

    #[test]
    fn objects_that_are_missing_or_out_of_order_are_told_apart() {
        let (mut gateway, card) = pair();
        let command = Command::new(0, 0xb0, 1, 2).with([1]).expecting(9);
        let sent = gateway.protect_command(&command).unwrap();
        let objects: Vec<_> = tlv::objects(&sent.data)
            .map(|object| object.map(|one| tlv::object(one.tag, one.value)).unwrap())
            .collect();
        let [data, expected, checksum] = &objects[..] else {
            panic!("three objects");
        };
        let unknown = tlv::object(Tag(0x81), &[1]);
        let short = tlv::object(CHECKSUM, &checksum[2..9]);
        for (order, error) in [
            (vec![data, expected], SecureError::Missing(CHECKSUM)),
            (vec![], SecureError::Missing(CHECKSUM)),
            (
                vec![expected, data, checksum],
                SecureError::Wrong(CRYPTOGRAM),
            ),
            (
                vec![checksum, data, expected],
                SecureError::Wrong(CRYPTOGRAM),
            ),
            (vec![data, data, checksum], SecureError::Wrong(CRYPTOGRAM)),
            (
                vec![data, expected, checksum, checksum],
                SecureError::Wrong(CHECKSUM),
            ),
            (
                vec![data, expected, &unknown, checksum],
                SecureError::Wrong(Tag(0x81)),
            ),
            (vec![data, expected, &short], SecureError::Wrong(CHECKSUM)),
            (vec![data, checksum], SecureError::Wrong(CHECKSUM)),
            (vec![expected, checksum], SecureError::Wrong(CHECKSUM)),
        ] {
            let mut changed = sent.clone();
            changed.data = order.into_iter().flatten().copied().collect();
            assert_eq!(card.clone().open_command(&changed), Err(error));
            let status = if error == SecureError::Missing(CHECKSUM) {
                0x6987
            } else {
                0x6988
            };
            assert_eq!(error.status(), StatusWord(status));
        }
        let mut answered = card.clone();
        answered.open_command(&sent).unwrap();
        let answer = answered
            .protect_response(&Response::new([], StatusWord::OK))
            .unwrap();
        let without_status = Response::new(&answer.data[4..], StatusWord::OK);
        assert_eq!(
            gateway.clone().open_response(&without_status),
            Err(SecureError::Wrong(CHECKSUM))
        );
        assert_eq!(
            gateway.open_response(&StatusWord::WRONG_OBJECT.into()),
            Err(SecureError::Unprotected(StatusWord::WRONG_OBJECT))
        );
    }

    #[test]
    fn repeated_and_lost_messages_do_not_authenticate() {
        let (mut gateway, mut card) = pair();
        let command = Command::new(0, 0x84, 0, 0).expecting(8);
        let sent = gateway.protect_command(&command).unwrap();
        card.open_command(&sent).unwrap();
        let answer = card
            .protect_response(&Response::new([1], StatusWord::OK))
            .unwrap();
        assert!(card.clone().open_command(&sent).is_err(), "replayed");
        gateway.skip();
        assert!(gateway.open_response(&answer).is_err(), "out of step");
    }

    #[test]
    fn the_counter_never_wraps() {
        let keys = SessionKeys::new([1; 16], [2; 16]);
        let mut channel = SecureChannel::resume(keys, u128::MAX);
        assert_eq!(
            channel.protect_command(&Command::new(0, 0, 0, 0)),
            Err(SecureError::Closed)
        );
    }
}
