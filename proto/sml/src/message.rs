// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML files and messages as borrowed data (SML 1.05 §5.1.1-5.1.2).

use alloc::vec::Vec;
use core::iter::FusedIterator;

use crate::coded::{Coded, Read, Reader};
use crate::crc::{Crc, CrcKind};
use crate::error::{ErrorKind, ParseError};
use crate::tl::{self, END, Kind};
use crate::{Body, Int, ListResponse, Quirk, Quirks};

/// The messages in the payload of one transmission, read one by one; ends after the first error.
///
/// This is the reader without allocation: lists inside a message are decoded while they are iterated.
/// That they can be has been checked by then, so only a message as a whole can be wrong.
pub fn messages(payload: &[u8], quirks: Quirks) -> Messages<'_> {
    Messages {
        payload,
        reader: Reader::new(payload, quirks),
    }
}

/// Iterator over messages, see [`messages`].
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    payload: &'a [u8],
    reader: Reader<'a>,
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest.is_empty() {
            return None;
        }
        Some(Message::read(&mut self.reader).map_err(|fault| {
            self.reader.rest = &[];
            ParseError::locate(self.payload, fault)
        }))
    }
}

impl FusedIterator for Messages<'_> {}

/// One SML file: what one transmission carries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct File<'a> {
    /// Its messages in order.
    pub messages: Vec<Message<'a>>,
}

/// One message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// Names the message; an answer has that of its request, and a pushing meter counts up.
    pub transaction_id: &'a [u8],
    /// Group number.
    pub group: u8,
    /// What to do with the rest after an error: 00 go on, 01 next group, 02 end the group, FF abort.
    pub abort_on_error: u8,
    /// The content.
    pub body: Body<'a>,
    /// Verdict on the checksum when read; which checksum to write when encoded.
    pub crc: MessageCrc,
    /// What a meter may choose about the form of the message.
    pub form: Form,
}

/// Verdict on a message's checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageCrc {
    /// It verifies.
    Good(CrcKind),
    /// It does not; these two bytes were sent.
    Wrong([u8; 2]),
}

/// Form of a message where meters differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Form {
    /// Bytes of the message tag: mostly 2, 4 by the specification.
    pub tag_width: u8,
    /// Bytes of the checksum: 1 when its leading zero byte is cropped, 2 otherwise.
    pub crc_width: u8,
    /// Fill bytes behind the message that the transport does not announce.
    pub fill: usize,
}

impl Default for Form {
    /// As most meters do: a tag of two bytes, a whole checksum, no fill.
    fn default() -> Self {
        Self {
            tag_width: 2,
            crc_width: 2,
            fill: 0,
        }
    }
}

impl<'a> Message<'a> {
    /// In group 0, to go on after errors, with the checksum the specification asks for.
    pub fn new(transaction_id: &'a [u8], body: Body<'a>) -> Self {
        Self {
            transaction_id,
            group: 0,
            abort_on_error: 0,
            body,
            crc: MessageCrc::Good(CrcKind::X25),
            form: Form::default(),
        }
    }

    /// Whether its checksum verifies.
    pub const fn is_intact(&self) -> bool {
        matches!(self.crc, MessageCrc::Good(_))
    }

    /// The list, if it is one.
    pub const fn list(&self) -> Option<&ListResponse<'a>> {
        match &self.body {
            Body::ListResponse(list) => Some(list),
            _ => None,
        }
    }

    /// Appends the message as it stands in a payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        tl::write_header(out, Kind::List, 6);
        self.transaction_id.write(out);
        self.group.write(out);
        self.abort_on_error.write(out);
        tl::write_header(out, Kind::List, 2);
        Int::new(self.body.tag(), self.form.tag_width).write(out);
        self.body.write(out);
        let crc = match self.crc {
            MessageCrc::Good(kind) => kind.of(out.get(start..).unwrap_or_default()),
            MessageCrc::Wrong(bytes) => bytes,
        };
        Int::new(u16::from_be_bytes(crc), self.form.crc_width).write(out);
        out.push(END);
        out.resize(out.len() + self.form.fill, END);
    }

    #[inline]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        let start = reader.rest;
        let mut message = reader.record(6, |reader| {
            let transaction_id = Coded::read(reader)?;
            let group = Coded::read(reader)?;
            let abort_on_error = Coded::read(reader)?;
            let (tag_width, body) = reader.record(2, |reader| {
                let at = *reader;
                let tag: Int<u32> = Coded::read(reader)?;
                if tag.width != 4 {
                    at.deviates(Quirk::ShortTag)?;
                }
                Ok((tag.width, Body::read(tag.value, reader)?))
            })?;
            let covered = start.len() - reader.rest.len();
            let covered = start.get(..covered).unwrap_or_default();
            let at = *reader;
            let sent: Int<u16> = Coded::read(reader)?;
            if sent.width == 1 {
                at.deviates(Quirk::CroppedCrc)?;
            }
            let line = sent.value.to_be_bytes();
            let kermit = reader.quirks.tolerates(Quirk::KermitCrc);
            Ok(Self {
                transaction_id,
                group,
                abort_on_error,
                body,
                crc: Crc::over(covered)
                    .matching(line, kermit)
                    .map_or(MessageCrc::Wrong(line), MessageCrc::Good),
                form: Form {
                    tag_width,
                    crc_width: sent.width,
                    fill: 0,
                },
            })
        })?;
        match reader.rest.split_first() {
            Some((&END, rest)) => reader.rest = rest,
            Some(_) => return reader.refuse(ErrorKind::MissingEnd),
            None => return reader.refuse(ErrorKind::Truncated),
        }
        while let Some((&END, rest)) = reader.rest.split_first() {
            reader.deviates(Quirk::StrayFill)?;
            reader.rest = rest;
            message.form.fill += 1;
        }
        Ok(message)
    }
}

impl<'a> File<'a> {
    /// Reads the payload of one transmission.
    ///
    /// # Errors
    /// The first place where the bytes do not follow SML. A wrong message checksum is no error but a
    /// verdict of its own, see [`File::is_intact`].
    pub fn parse(payload: &'a [u8], quirks: Quirks) -> Result<Self, ParseError> {
        let messages = messages(payload, quirks).collect::<Result<_, _>>()?;
        Ok(Self { messages })
    }

    /// The payload of one transmission; [`crate::transport::encode`] makes it ready for the line.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for message in &self.messages {
            message.encode(&mut out);
        }
        out
    }

    /// Transaction id of the first message, by which a telegram is told from others.
    pub fn transaction_id(&self) -> Option<&'a [u8]> {
        self.messages.first().map(|message| message.transaction_id)
    }

    /// The list responses in order.
    pub fn lists(&self) -> impl Iterator<Item = &ListResponse<'a>> {
        self.messages.iter().filter_map(Message::list)
    }

    /// The meter's id: that of the first list, else that of the opening message.
    pub fn server_id(&self) -> Option<&'a [u8]> {
        let opened = self
            .messages
            .iter()
            .find_map(|message| match &message.body {
                Body::OpenResponse(open) => Some(open.server_id),
                _ => None,
            });
        self.lists().next().map(|list| list.server_id).or(opened)
    }

    /// Seconds of operation the meter stamped the first list with.
    pub fn sec_index(&self) -> Option<u32> {
        self.lists()
            .find_map(|list| list.sensor_time)?
            .operation_seconds()
    }

    /// Whether every message's checksum verifies.
    pub fn is_intact(&self) -> bool {
        self.messages.iter().all(Message::is_intact)
    }
}
