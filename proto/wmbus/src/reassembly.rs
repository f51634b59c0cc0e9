// SPDX-License-Identifier: MIT OR Apache-2.0
//! Putting fragmented messages together (EN 13757-7 §6.3).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::layers::AflFields;
use crate::link::HEADER;
use crate::security::address;
use crate::{Afl, Body, Carrier, Error, FormatCache, Frame, Keys, Telegram};

/// Collects the fragments of several senders.
///
/// Fragments must come in order; a repeated one is ignored, a missing one ends the message. That the MAC
/// is in the last fragment and covers the whole message is an assumption.
#[derive(Clone, Debug)]
pub struct Reassembler {
    open: VecDeque<Open>,
    senders: usize,
    message: usize,
}

/// A message of which some fragments have come.
#[derive(Clone, Debug)]
struct Open {
    sender: [u8; 8],
    last: u8,
    fields: AflFields,
    message: Vec<u8>,
}

impl Default for Reassembler {
    /// Eight senders, messages of 4 kB.
    fn default() -> Self {
        Self::new(8, 4096)
    }
}

impl Reassembler {
    /// Keeps messages of at most `senders` senders, the oldest making room, and `message` bytes each.
    pub const fn new(senders: usize, message: usize) -> Self {
        Self {
            open: VecDeque::new(),
            senders,
            message,
        }
    }

    /// Takes a telegram whose body is [`Body::Fragment`]; with the last fragment, the whole message is
    /// read as if it had come in one piece, in place of the sender's fragment.
    ///
    /// # Errors
    /// As [`Telegram::of_frame`].
    pub fn push(
        &mut self,
        telegram: &Telegram,
        keys: &Keys,
        formats: &mut FormatCache,
    ) -> Result<Option<Telegram>, Error> {
        let (Carrier::Radio { link, length, .. }, Some(afl), Body::Fragment) =
            (telegram.carrier, telegram.afl, &telegram.body)
        else {
            return Ok(None);
        };
        let sender = address(&link.sender);
        let Some(mut open) = self.take(sender, &afl) else {
            return Ok(None);
        };
        if afl.fragment() > open.last || open.last == 0 {
            open.last = afl.fragment();
            open.fields.add(&afl, &telegram.bytes);
            let piece = telegram.payload.of(&telegram.bytes);
            if open.message.len() + piece.len() > self.message {
                return Ok(None);
            }
            open.message.extend_from_slice(piece);
        }
        if afl.more_fragments() {
            while self.open.len() >= self.senders.max(1) {
                self.open.pop_front();
            }
            self.open.push_back(open);
            return Ok(None);
        }
        // A payload CRC covers its own fragment only, and has been checked.
        let ell = telegram.ell.filter(|ell| ell.session.is_none());
        let ell = ell.map_or(HEADER, |ell| ell.span.end());
        let mut bytes = telegram.bytes.get(..ell).unwrap_or_default().to_vec();
        bytes.extend(open.fields.encode(0));
        bytes.extend_from_slice(&open.message);
        let frame = Frame {
            bytes,
            format: crate::CrcFormat::Stripped,
            length,
            missing: 0,
            trailing: 0,
        };
        Telegram::of_frame(frame, keys, formats).map(Some)
    }

    /// The message a fragment belongs to, or a new one for a first fragment.
    fn take(&mut self, sender: [u8; 8], afl: &Afl) -> Option<Open> {
        let at = self.open.iter().position(|open| open.sender == sender);
        let open = at.and_then(|at| self.open.remove(at));
        match (afl.fragment(), open) {
            (fragment, Some(open)) if fragment.wrapping_sub(open.last) <= 1 => Some(open),
            (0 | 1, _) => Some(Open {
                sender,
                last: 0,
                fields: AflFields::default(),
                message: Vec::new(),
            }),
            _ => None,
        }
    }
}
