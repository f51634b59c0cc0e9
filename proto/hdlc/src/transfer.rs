// SPDX-License-Identifier: MIT OR Apache-2.0
//! Numbered information between two stations: modulo 8, window 1, segmented messages
//! (ISO/IEC 13239 §5.5). Both machines use it, each from its side.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// V(S), V(R), what waits to be sent and what was received of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transfer {
    queue: VecDeque<Vec<u8>>,
    /// The message under way and how much of it is acknowledged.
    sending: Option<(Vec<u8>, usize)>,
    /// Bytes of the segment that is sent, but not acknowledged.
    outstanding: Option<usize>,
    send: u8,
    receive: u8,
    partial: Vec<u8>,
    /// Whether any numbered frame went either way.
    used: bool,
}

/// The next piece to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) send: u8,
    pub(crate) segmented: bool,
    pub(crate) info: &'a [u8],
}

/// An N(R) that acknowledges what was never sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidNumber;

/// A message larger than the receiver takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooLong;

impl Transfer {
    pub(crate) fn push(&mut self, message: Vec<u8>) {
        self.queue.push_back(message);
    }

    /// Messages not wholly acknowledged.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.sending.is_some())
    }

    pub(crate) const fn receive(&self) -> u8 {
        self.receive
    }

    pub(crate) const fn send(&self) -> u8 {
        self.send
    }

    /// Whether any numbered frame went either way since the link was set up.
    pub(crate) const fn used(&self) -> bool {
        self.used
    }

    /// The segment to send now, the same one until it is acknowledged.
    pub(crate) fn segment(&mut self, max_info: usize) -> Option<Segment<'_>> {
        if self.sending.is_none() {
            self.sending = self.queue.pop_front().map(|message| (message, 0));
        }
        let (message, offset) = self.sending.as_ref()?;
        let rest = message.get(*offset..).unwrap_or_default();
        let length = *self.outstanding.get_or_insert(rest.len().min(max_info));
        self.used = true;
        Some(Segment {
            send: self.send,
            segmented: length < rest.len(),
            info: rest.get(..length).unwrap_or(rest),
        })
    }

    /// Takes an N(R); whether it acknowledged a segment.
    pub(crate) fn acknowledge(&mut self, number: u8) -> Result<bool, InvalidNumber> {
        if number == self.send {
            return Ok(false);
        }
        let next = (self.send + 1) & 7;
        let Some(length) = self.outstanding.filter(|_| number == next) else {
            return Err(InvalidNumber);
        };
        self.send = next;
        self.outstanding = None;
        if let Some((message, offset)) = &mut self.sending {
            *offset += length;
            if *offset >= message.len() {
                self.sending = None;
            }
        }
        Ok(true)
    }

    /// Takes a segment; the message, once it is complete. A repeated segment changes nothing.
    pub(crate) fn accept(
        &mut self,
        number: u8,
        segmented: bool,
        info: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, TooLong> {
        if number != self.receive {
            return Ok(None);
        }
        if self.partial.len() + info.len() > limit {
            return Err(TooLong);
        }
        self.used = true;
        self.receive = (self.receive + 1) & 7;
        self.partial.extend_from_slice(info);
        Ok((!segmented).then(|| core::mem::take(&mut self.partial)))
    }

    /// The link is set up anew: numbers start at 0. What was under way before is dropped, since nobody
    /// knows how much of it arrived; what merely waits stays when nothing was sent yet.
    pub(crate) fn set_up(&mut self) {
        if self.used {
            self.clear();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
