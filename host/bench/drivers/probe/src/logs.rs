// SPDX-License-Identifier: MIT OR Apache-2.0
//! The firmware's log: defmt frames, decoded with the table in its ELF file.

use std::fmt;

use defmt_decoder::{DecodeError, Encoding, Frame, Locations, Table};

/// Most bytes kept while a frame is incomplete; the target's buffer is far smaller.
const LONGEST: usize = 64 * 1024;

/// One entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogLine {
    /// `trace`, `debug`, `info`, `warn` or `error`; none for `defmt::println`.
    pub level: Option<&'static str>,
    /// The target's own time stamp, as the firmware formats it.
    pub timestamp: Option<String>,
    /// What was said.
    pub text: String,
    /// Source file and line, when the image has debug information.
    pub place: Option<String>,
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.timestamp.as_deref().unwrap_or("-");
        write!(f, "{time} {} {}", self.level.unwrap_or("print"), self.text)
    }
}

/// Decodes what comes out of the log's channel.
#[derive(Debug)]
pub struct LogDecoder {
    table: Table,
    places: Locations,
    pending: Vec<u8>,
    damaged: u64,
}

impl LogDecoder {
    /// A decoder for the firmware of an ELF file; none when that does not log with defmt.
    ///
    /// # Errors
    /// When the image logs in a version of defmt that this decoder does not know, with the reason.
    pub fn new(elf: &[u8]) -> Result<Option<Self>, String> {
        let table = Table::parse(elf).map_err(|error| format!("{error:#}"))?;
        Ok(table.map(|table| Self {
            // Places are a courtesy: an image without debug information has none.
            places: table.get_locations(elf).unwrap_or_default(),
            table,
            pending: Vec::new(),
            damaged: 0,
        }))
    }

    /// Takes bytes as they come; the entries they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<LogLine> {
        self.pending.extend(bytes);
        let mut lines = Vec::new();
        match self.table.encoding() {
            Encoding::Rzcobs => self.frames(&mut lines),
            Encoding::Raw => self.raw(&mut lines),
            _ => self.pending.clear(),
        }
        if self.pending.len() > LONGEST {
            self.pending.clear();
            self.damaged += 1;
        }
        lines
    }

    /// Forgets an incomplete entry: the target starts anew.
    pub fn restart(&mut self) {
        self.pending.clear();
    }

    /// How many entries were damaged, by an overflow of the target's buffer for example.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Frames that end with a zero.
    fn frames(&mut self, lines: &mut Vec<LogLine>) {
        let whole = self.pending.iter().rposition(|byte| *byte == 0);
        let frames: Vec<u8> = self
            .pending
            .drain(..whole.map_or(0, |end| end + 1))
            .collect();
        for frame in frames.split_inclusive(|byte| *byte == 0) {
            if frame.len() == 1 {
                continue;
            }
            let mut decoder = self.table.new_stream_decoder();
            decoder.received(frame);
            match decoder.decode() {
                Ok(frame) => lines.push(line(&frame, &self.places)),
                Err(_) => self.damaged += 1,
            }
        }
    }

    /// Frames that follow each other without marks: after damage, all that is left is lost.
    fn raw(&mut self, lines: &mut Vec<LogLine>) {
        loop {
            let taken = match self.table.decode(&self.pending) {
                Ok((frame, taken)) => {
                    lines.push(line(&frame, &self.places));
                    taken.max(1)
                }
                Err(DecodeError::UnexpectedEof) => return,
                Err(DecodeError::Malformed) => {
                    self.damaged += 1;
                    self.pending.len()
                }
            };
            self.pending.drain(..taken.min(self.pending.len()));
            if self.pending.is_empty() {
                return;
            }
        }
    }
}

fn line(frame: &Frame<'_>, places: &Locations) -> LogLine {
    let place = places.get(&frame.index());
    LogLine {
        level: frame.level().map(|level| level.as_str()),
        timestamp: frame.display_timestamp().map(|stamp| stamp.to_string()),
        text: frame.display_message().to_string(),
        place: place.map(|place| format!("{}:{}", place.file.display(), place.line)),
    }
}
