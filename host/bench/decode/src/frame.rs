// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame of any protocol, or a run of bytes that is none, and the three ways to show it.

use serde_json::{Map, Value as Json, json};

use crate::explain::hex;
use crate::{Block, Explanation, Kind, Layer, Protocol};

/// Why a frame, or a part of one, could not be decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// A word programs can compare, e.g. `checksum`.
    pub error: &'static str,
    /// A sentence for people.
    pub reason: String,
}

/// What a decoder knows about a frame.
pub(crate) trait Content {
    /// Adds its fields.
    fn json(&self, out: &mut Map<String, Json>);
    /// Its values.
    fn table(&self) -> Block;
    /// Its bytes.
    fn explain(&self) -> Explanation;
    /// What is wrong with it.
    fn failure(&self) -> Option<Failure>;
}

/// Takes what a decoder found, and its offset.
pub(crate) type Emit<'e> = dyn FnMut(usize, &dyn Content) + 'e;

/// One frame found in an input.
pub struct Frame<'a> {
    /// The name the caller gave the input.
    pub file: Option<&'a str>,
    /// Its protocol.
    pub protocol: Protocol,
    /// Offset of its first byte in the input, or in its line.
    pub offset: usize,
    /// The line it stood on, for inputs of one frame per line.
    pub line: Option<usize>,
    pub(crate) content: &'a dyn Content,
}

impl Frame<'_> {
    /// What is wrong with it, if anything.
    pub fn failure(&self) -> Option<Failure> {
        self.content.failure()
    }

    /// A JSON object; its shapes are in docs/decode.md.
    pub fn json(&self) -> Json {
        let mut out = Map::new();
        if let Some(file) = self.file {
            out.insert("file".into(), json!(file));
        }
        out.insert("protocol".into(), json!(self.protocol.name()));
        out.insert("off".into(), json!(self.offset));
        if let Some(line) = self.line {
            out.insert("line".into(), json!(line));
        }
        self.content.json(&mut out);
        if let Some(failure) = self.failure() {
            out.insert("error".into(), json!(failure.error));
            out.insert("reason".into(), json!(failure.reason));
        }
        Json::Object(out)
    }

    /// Its values, for people.
    pub fn table(&self) -> String {
        let mut block = self.content.table();
        if let Some(failure) = self.failure() {
            block.remarks.push(format!("!! {}", failure.reason));
        }
        printable(&format!("{} {}", self.place(), block.render()))
    }

    /// Every byte of it; `colour` adds terminal colours.
    pub fn explain(&self, colour: bool) -> String {
        let title = printable(&self.content.table().title);
        let mut text = format!("{} {title}\n", self.place());
        text += &self.content.explain().render(colour);
        if let Some(failure) = self.failure() {
            text += &format!("!! {}\n", failure.reason);
        }
        text
    }

    /// Bytes understood, and bytes of the frame.
    pub fn coverage(&self) -> (usize, usize) {
        self.content.explain().coverage()
    }

    fn place(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}:"),
            None => format!("{}:", self.offset),
        }
    }
}

/// Without control characters, which a meter may send and a terminal would obey.
pub(crate) fn printable(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && letter != '\n', "·")
}

/// How many frames there were.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Frames and incidents.
    pub frames: usize,
    /// Those with something wrong.
    pub failed: usize,
}

impl Summary {
    pub(crate) fn count(&mut self, frame: &Frame<'_>) {
        self.frames += 1;
        self.failed += usize::from(frame.failure().is_some());
    }
}

/// Bytes that are no good frame.
pub(crate) struct Incident<'a> {
    pub(crate) what: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) failure: Failure,
    /// Further fields.
    pub(crate) fields: Map<String, Json>,
}

impl Content for Incident<'_> {
    fn json(&self, out: &mut Map<String, Json>) {
        out.extend(self.fields.clone());
        out.entry("bytes").or_insert_with(|| json!(hex(self.bytes)));
    }

    fn table(&self) -> Block {
        Block {
            title: format!("{}, {} bytes", self.what, self.bytes.len()),
            ..Block::default()
        }
    }

    fn explain(&self) -> Explanation {
        let mut layer = Layer::new(self.what, self.bytes);
        layer.note(
            0,
            self.bytes.len(),
            Kind::Opaque,
            self.failure.reason.as_str(),
        );
        let mut explanation = Explanation::default();
        explanation.push(layer);
        explanation
    }

    fn failure(&self) -> Option<Failure> {
        Some(self.failure.clone())
    }
}
