// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML files and messages as borrowed data.

use alloc::vec::Vec;

use crate::{CrcKind, Time, Value};

/// One SML file: what one transmission carries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct File<'a> {
    /// Its messages in order.
    pub messages: Vec<Message<'a>>,
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// Names the message; a meter gives each one a new id.
    pub transaction_id: &'a [u8],
    /// Group number.
    pub group: u8,
    /// What to do with the rest after an error: 00 go on, 01 next group, 02 end the group, FF abort.
    pub abort_on_error: u8,
    /// The content.
    pub body: Body<'a>,
    /// Verdict on the checksum when read; which checksum to write when encoded.
    pub crc: MessageCrc,
}

/// Verdict on a message's checksum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MessageCrc {
    /// It verifies.
    Good(CrcKind),
    /// It does not; these two bytes were sent.
    Wrong([u8; 2]),
}

/// What a message says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body<'a> {
    /// PublicOpen.Res (0101).
    OpenResponse(OpenResponse<'a>),
    /// GetList.Res (0701).
    ListResponse(ListResponse<'a>),
    /// PublicClose.Res (0201).
    CloseResponse(CloseResponse<'a>),
    /// Any other message as a plain tree.
    Other {
        /// Message tag, e.g. 0xff01 for Attention.Res.
        tag: u32,
        /// Its content.
        content: Value<'a>,
    },
}

/// PublicOpen.Res: opens a file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OpenResponse<'a> {
    /// Code page of texts, absent for ISO 8859-15.
    pub codepage: Option<&'a [u8]>,
    /// Whom the file is meant for.
    pub client_id: Option<&'a [u8]>,
    /// Id of the request this file answers; pushing meters count it up.
    pub request_file_id: &'a [u8],
    /// The meter.
    pub server_id: &'a [u8],
    /// The meter's time.
    pub reference_time: Option<Time>,
    /// SML version, absent for 1.
    pub version: Option<u8>,
}

/// GetList.Res: registers with their values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListResponse<'a> {
    /// Whom the list is meant for.
    pub client_id: Option<&'a [u8]>,
    /// The meter.
    pub server_id: &'a [u8],
    /// Name of the list, mostly an OBIS code.
    pub list_name: Option<&'a [u8]>,
    /// The meter's time when it sensed the values.
    pub sensor_time: Option<Time>,
    /// The registers.
    pub entries: Vec<ListEntry<'a>>,
    /// Signature over the list.
    pub signature: Option<&'a [u8]>,
    /// Time the gateway received the values.
    pub gateway_time: Option<Time>,
}

/// One register.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListEntry<'a> {
    /// Its name, an OBIS code of six bytes.
    pub name: &'a [u8],
    /// Status word.
    pub status: Option<u64>,
    /// When the value was valid.
    pub time: Option<Time>,
    /// DLMS unit code.
    pub unit: Option<u8>,
    /// Power of ten to multiply the value with.
    pub scaler: Option<i8>,
    /// The value; absent on meters that have none at the moment.
    pub value: Option<Value<'a>>,
    /// Signature over the value.
    pub signature: Option<&'a [u8]>,
}

/// PublicClose.Res: closes a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CloseResponse<'a> {
    /// Signature over the whole file.
    pub signature: Option<&'a [u8]>,
}

impl<'a> File<'a> {
    /// Transaction id of the first message, by which a telegram is told from others.
    pub fn transaction_id(&self) -> Option<&'a [u8]> {
        self.messages.first().map(|message| message.transaction_id)
    }

    /// The list responses in order.
    pub fn lists(&self) -> impl Iterator<Item = &ListResponse<'a>> {
        self.messages
            .iter()
            .filter_map(|message| match &message.body {
                Body::ListResponse(list) => Some(list),
                Body::OpenResponse(_) | Body::CloseResponse(_) | Body::Other { .. } => None,
            })
    }

    /// The meter's id: that of the first list, else that of the opening message.
    pub fn server_id(&self) -> Option<&'a [u8]> {
        let opened = self
            .messages
            .iter()
            .find_map(|message| match &message.body {
                Body::OpenResponse(open) => Some(open.server_id),
                Body::ListResponse(_) | Body::CloseResponse(_) | Body::Other { .. } => None,
            });
        self.lists().next().map(|list| list.server_id).or(opened)
    }

    /// Seconds of operation the meter stamped the first list with.
    pub fn sec_index(&self) -> Option<u32> {
        match self.lists().find_map(|list| list.sensor_time) {
            Some(Time::SecIndex(seconds)) => Some(seconds),
            Some(Time::Timestamp(_) | Time::Local { .. }) | None => None,
        }
    }

    /// Whether every message's checksum verifies.
    pub fn is_intact(&self) -> bool {
        self.messages
            .iter()
            .all(|message| matches!(message.crc, MessageCrc::Good(_)))
    }
}
