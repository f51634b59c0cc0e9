// SPDX-License-Identifier: MIT OR Apache-2.0
//! An answer of several telegrams (DIF 1F, EN 13757-3 §6.3.4) put together.

use alloc::vec::Vec;

use crate::{Error, Record, Telegram};

/// The telegrams of one answer, in order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Readout {
    frames: Vec<Vec<u8>>,
    more: bool,
}

impl Readout {
    /// Telegrams one answer may have; a slave that never ends shall not fill the memory.
    pub const MAX_TELEGRAMS: usize = 255;

    /// Nothing yet.
    pub const fn new() -> Self {
        Self {
            frames: Vec::new(),
            more: true,
        }
    }

    /// Adds the next frame and tells whether another follows. The same frame again is a repeat and counts
    /// once.
    ///
    /// # Errors
    /// Of [`Telegram::parse`] and of its records; [`Error::OtherDevice`] when the frame is of another
    /// device than the ones before; [`Error::TooManyTelegrams`]. The answer stays as it was.
    pub fn push(&mut self, frame: &[u8]) -> Result<bool, Error> {
        if self.frames.last().is_some_and(|last| last == frame) {
            return Ok(self.more);
        }
        let telegram = Telegram::parse(frame)?;
        let device = |telegram: &Telegram<'_>| telegram.header().and_then(|header| header.device);
        let first = self.telegrams().next();
        if first.is_some_and(|first| device(&first) != device(&telegram)) {
            return Err(Error::OtherDevice);
        }
        if self.frames.len() == Self::MAX_TELEGRAMS {
            return Err(Error::TooManyTelegrams);
        }
        let mut records = telegram.records();
        records.by_ref().try_for_each(|record| record.map(drop))?;
        self.more = records
            .trailer()
            .is_some_and(|trailer| trailer.more_follows);
        self.frames.push(frame.to_vec());
        Ok(self.more)
    }

    /// Telegrams so far.
    pub const fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no telegram yet.
    pub const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether the last telegram was added.
    pub const fn is_complete(&self) -> bool {
        !self.more
    }

    /// The telegrams so far.
    pub fn telegrams(&self) -> impl Iterator<Item = Telegram<'_>> {
        self.frames
            .iter()
            .filter_map(|frame| Telegram::parse(frame).ok())
    }

    /// The records of all telegrams.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.telegrams()
            .flat_map(|telegram| telegram.records().flatten())
    }
}
