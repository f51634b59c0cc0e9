// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures of metering protocols as JSON, tables and explanations of every byte.
//!
//! [`decode`] reads an input in any of its [forms](Form) and hands over one [`Frame`] after the
//! other; each can be had as a JSON object ([`Frame::json`]), a table ([`Frame::table`]) and an
//! explanation of its bytes ([`Frame::explain`]). Nothing here panics on outside input, and memory
//! stays in proportion to the input.
//!
//! ```
//! use bench_decode::{Options, decode};
//!
//! let mut frames = Vec::new();
//! decode(b"10 5B 01 5C 16", &Options::default(), &mut |frame| frames.push(frame.json()))?;
//! assert_eq!(frames[0]["c"], 0x5b);
//! # Ok::<(), bench_decode::InputError>(())
//! ```

mod detect;
mod explain;
mod frame;
mod hdlc;
mod input;
mod key;
mod mbus;
mod readout;
mod records;
mod sml;
mod table;
mod wmbus;

use crate::frame::Content;

pub use explain::{Explanation, Kind, Layer, Note};
pub use frame::{Failure, Frame, Summary};
pub use input::{Form, InputError, LIMIT};
pub use key::{Key, KeyError};
pub use smgw_sml::{Quirk, Quirks};
pub use table::{Block, Row};

/// A protocol a capture can be in.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// SML transport and messages.
    Sml,
    /// Wired M-Bus (EN 13757-2, -3).
    Mbus,
    /// Wireless M-Bus (EN 13757-4, OMS).
    Wmbus,
    /// HDLC: wired LMN, or DLMS.
    Hdlc,
    /// IEC 62056-21 readouts.
    D0,
    /// DSMR P1 telegrams.
    P1,
}

impl Protocol {
    /// All of them.
    pub const LIST: [Self; 6] = [
        Self::Sml,
        Self::Mbus,
        Self::Wmbus,
        Self::Hdlc,
        Self::D0,
        Self::P1,
    ];

    /// Its name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sml => "sml",
            Self::Mbus => "mbus",
            Self::Wmbus => "wmbus",
            Self::Hdlc => "hdlc",
            Self::D0 => "d0",
            Self::P1 => "p1",
        }
    }
}

/// How to decode.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The protocol; `None` looks at the input.
    pub protocol: Option<Protocol>,
    /// How the bytes are written.
    pub form: Form,
    /// Name of the input, repeated in every JSON object.
    pub file: Option<String>,
    /// Keys of encrypted meters; those given for a meter before those for all.
    pub keys: Vec<Key>,
    /// Deviations of SML meters to tolerate.
    pub quirks: Quirks,
}

/// Decodes `input`, one frame after the other, and says how it went.
///
/// # Errors
/// [`InputError`] when the input as a whole cannot be read. What is wrong with a frame is told by the
/// frame.
pub fn decode(
    input: &[u8],
    options: &Options,
    sink: &mut dyn FnMut(&Frame<'_>),
) -> Result<Summary, InputError> {
    let mut summary = Summary::default();
    let mut context = wmbus::Context::new(&options.keys);
    for piece in input::pieces(input, options.form)? {
        let protocol = options.protocol.or_else(|| detect::protocol(&piece.bytes));
        let protocol = protocol.ok_or(InputError::UnknownProtocol)?;
        let mut emit = |offset: usize, content: &dyn Content| {
            let frame = Frame {
                file: options.file.as_deref(),
                protocol,
                offset,
                line: piece.line,
                content,
            };
            summary.count(&frame);
            sink(&frame);
        };
        match protocol {
            Protocol::Sml => sml::decode(&piece, options, &mut emit),
            Protocol::Mbus => mbus::decode(&piece, &mut context, &mut emit),
            Protocol::Wmbus => wmbus::decode(&piece, &mut context, &mut emit),
            Protocol::Hdlc => hdlc::decode(&piece, &mut emit),
            Protocol::D0 | Protocol::P1 => readout::decode(&piece, protocol, &mut emit),
        }
    }
    Ok(summary)
}
