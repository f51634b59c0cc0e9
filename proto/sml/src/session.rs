// SPDX-License-Identifier: MIT OR Apache-2.0
//! What frames a file: PublicOpen and PublicClose (SML 1.05 §5.1.4-5.1.7), and Attention, the answer
//! to what a server cannot or need not answer otherwise (§5.1.16).

use core::fmt;

use crate::coded::records;
use crate::{Time, Tree};

records! {
    /// PublicOpen.Req: opens a file of requests.
    pub struct OpenRequest<'a> {
        /// Code page of texts, absent for ISO 8859-15.
        codepage: Option<&'a [u8]>,
        /// Who asks.
        client_id: &'a [u8],
        /// Id of this file, which the answer repeats.
        request_file_id: &'a [u8],
        /// Whom.
        server_id: Option<&'a [u8]>,
        /// User name.
        username: Option<&'a [u8]>,
        /// Password.
        password: Option<&'a [u8]>,
        /// SML version, absent for 1.
        version: Option<u8>,
    }

    /// PublicOpen.Res: opens a file of answers, or one a meter pushes.
    pub struct OpenResponse<'a> {
        /// Code page of texts, absent for ISO 8859-15.
        codepage: Option<&'a [u8]>,
        /// Whom the file is meant for.
        client_id: Option<&'a [u8]>,
        /// Id of the request this file answers; pushing meters count it up.
        request_file_id: &'a [u8],
        /// The meter.
        server_id: &'a [u8],
        /// The meter's time.
        reference_time: Option<Time>,
        /// SML version, absent for 1.
        version: Option<u8>,
    }

    /// PublicClose.Req: closes a file of requests.
    pub struct CloseRequest<'a> {
        /// Signature over the whole file.
        signature: Option<&'a [u8]>,
    }

    /// PublicClose.Res: closes a file of answers.
    pub struct CloseResponse<'a> {
        /// Signature over the whole file.
        signature: Option<&'a [u8]>,
    }

    /// Attention.Res: an acknowledgement, or the reason why a request is not answered.
    pub struct Attention<'a> {
        /// The server.
        server_id: &'a [u8],
        /// Which acknowledgement or reason, see [`AttentionNumber::of`].
        number: &'a [u8],
        /// Text to go with it.
        message: Option<&'a [u8]>,
        /// Details to go with it.
        details: Option<Tree<'a>>,
    }
}

impl Attention<'_> {
    /// What it says, if the number is one of SML's.
    pub fn meaning(&self) -> Option<AttentionNumber> {
        AttentionNumber::of(self.number)
    }
}

/// Number of an Attention.Res: the last two bytes of its OBIS code.
///
/// The codes themselves are known from a dissector; that the four bytes before them are
/// 81 81 C7 C7 is an assumption, so reading does not insist on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AttentionNumber(pub u16);

macro_rules! attentions {
    ($($(#[$meta:meta])* $name:ident = $code:literal $text:literal;)+) => {
        impl AttentionNumber {
            $($(#[$meta])* pub const $name: Self = Self($code);)+

            /// Every number SML gives a meaning.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The meaning in words; of numbers from E000 to FCFF only the application knows it.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)+
                    0xe000..=0xfcff => Some("application specific"),
                    _ => None,
                }
            }
        }
    };
}

attentions! {
    /// Done.
    OK = 0xfd00 "acknowledged";
    /// Will be done.
    LATER = 0xfd01 "will be executed later";
    /// No reason given.
    UNDEFINED = 0xfe00 "undefined error";
    /// The object is not known.
    UNKNOWN_DESIGNATOR = 0xfe01 "unknown SML designator";
    /// Wrong credentials.
    ACCESS_DENIED = 0xfe02 "user or password wrong";
    /// Not this server.
    NO_SUCH_SERVER = 0xfe03 "server id not available";
    /// The file is not known.
    NO_SUCH_FILE = 0xfe04 "request file id not available";
    /// Attributes that cannot be written.
    NOT_WRITABLE = 0xfe05 "attribute not writable";
    /// Attributes that cannot be read.
    NOT_READABLE = 0xfe06 "attribute not readable";
    /// Measuring point out of reach.
    DISTURBED = 0xfe07 "communication with the measuring point disturbed";
    /// Raw data of unknown form.
    UNINTELLIGIBLE = 0xfe08 "raw data not interpretable";
    /// Value outside of its range.
    OUT_OF_RANGE = 0xfe09 "value out of range";
    /// The request was not executed.
    NOT_EXECUTED = 0xfe0a "request not executed";
    /// A checksum was wrong.
    CHECKSUM = 0xfe0b "checksum wrong";
    /// Not to be asked by broadcast.
    NO_BROADCAST = 0xfe0c "broadcast not supported";
    /// A message out of place.
    UNEXPECTED_MESSAGE = 0xfe0d "unexpected message";
    /// The profile does not have the object.
    UNKNOWN_OBJECT = 0xfe0e "unknown object in profile";
    /// A data type the server does not have.
    NO_SUCH_TYPE = 0xfe0f "data type not supported";
    /// An optional element the server does not have.
    NO_SUCH_OPTION = 0xfe10 "optional element not supported";
    /// The profile is empty.
    NO_ENTRY = 0xfe11 "no entry in profile";
    /// The range ends before it begins.
    BACKWARDS = 0xfe12 "end before begin";
    /// Nothing in that range.
    NO_ENTRY_IN_RANGE = 0xfe13 "no entry in range";
    /// A file was not closed.
    NOT_CLOSED = 0xfe14 "file without close";
    /// The server is busy.
    BUSY = 0xfe15 "busy";
}

impl AttentionNumber {
    /// The number at the end of an OBIS code.
    pub fn of(obis: &[u8]) -> Option<Self> {
        match obis {
            [_, _, _, _, high, low] => Some(Self(u16::from_be_bytes([*high, *low]))),
            _ => None,
        }
    }

    /// The OBIS code.
    pub const fn obis(self) -> [u8; 6] {
        let [high, low] = self.0.to_be_bytes();
        [0x81, 0x81, 0xc7, 0xc7, high, low]
    }

    /// Whether it acknowledges a request instead of refusing it.
    pub const fn is_acknowledgement(self) -> bool {
        matches!(self, Self::OK | Self::LATER)
    }
}

impl fmt::Display for AttentionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => write!(f, "{text} ({:04X})", self.0),
            None => write!(f, "attention {:04X}", self.0),
        }
    }
}
