// SPDX-License-Identifier: MIT OR Apache-2.0
//! Explanations: what every byte of a frame means, in layers, with the share that was understood.
//!
//! The first layer is the frame as it came. What stands inside it in another form (decrypted, or
//! without checksums and escapes) is a layer of its own, and the bytes it was made of point to it.

use std::fmt::{self, Write as _};

use crate::frame::printable;

/// How much a note says about its bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A heading over the notes inside its bytes.
    Group,
    /// Their meaning is known.
    Known,
    /// Encrypted, or the manufacturer's own: nobody else knows.
    Opaque,
    /// Shown in a later layer, where they count.
    Below,
}

/// A run of bytes and its meaning.
#[derive(Clone, Debug)]
pub struct Note {
    /// Offset in the layer.
    pub at: usize,
    /// How many bytes.
    pub len: usize,
    /// Nesting, 0 outermost.
    pub depth: usize,
    /// How much is known.
    pub kind: Kind,
    /// The meaning.
    pub text: String,
}

/// Bytes with their notes.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What these bytes are.
    pub title: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    notes: Vec<Note>,
    depth: usize,
    counts: bool,
}

impl Layer {
    /// A layer without notes.
    pub fn new(title: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            title: title.into(),
            bytes: bytes.to_vec(),
            notes: Vec::new(),
            depth: 0,
            counts: true,
        }
    }

    /// The same notes over other bytes of the same meaning, e.g. the encrypted ones.
    #[must_use]
    pub fn over(self, title: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            title: title.into(),
            bytes: bytes.to_vec(),
            ..self
        }
    }

    /// The notes before `at`, and a layer of the bytes from there on with those behind.
    pub fn split(mut self, at: usize, title: impl Into<String>, bytes: &[u8]) -> (Self, Self) {
        let mut rest = Self::new(title, bytes.get(at..).unwrap_or_default());
        let (before, behind) = self.notes.into_iter().partition(|note: &Note| note.at < at);
        self.notes = before;
        rest.notes = behind;
        for note in &mut rest.notes {
            note.at -= at;
        }
        (self, rest)
    }

    /// A layer of bytes that are not in the frame, for understanding only.
    #[must_use]
    pub fn uncounted(self) -> Self {
        Self {
            counts: false,
            ..self
        }
    }

    /// Adds a note; one that reaches beyond the bytes is cut.
    pub fn note(&mut self, at: usize, len: usize, kind: Kind, text: impl Into<String>) {
        let len = len.min(self.bytes.len().saturating_sub(at));
        if len > 0 {
            self.notes.push(Note {
                at,
                len,
                depth: self.depth,
                kind,
                text: printable(&text.into()),
            });
        }
    }

    /// Adds notes for known fields that follow each other; returns the offset behind them.
    pub fn fields<const N: usize>(&mut self, at: usize, fields: [(usize, String); N]) -> usize {
        fields.into_iter().fold(at, |at, (len, text)| {
            self.note(at, len, Kind::Known, text);
            at + len
        })
    }

    /// Adds a heading and, one level deeper, the notes `inside` adds.
    pub fn group(
        &mut self,
        at: usize,
        len: usize,
        text: impl Into<String>,
        inside: impl FnOnce(&mut Self),
    ) {
        self.note(at, len, Kind::Group, text);
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }

    /// Which bytes have a note, and which of those are understood.
    fn marks(&self) -> (Vec<bool>, Vec<bool>) {
        let mut noted = vec![false; self.bytes.len()];
        let mut known = noted.clone();
        for note in self.notes.iter().filter(|note| note.kind != Kind::Group) {
            let end = (note.at + note.len).min(self.bytes.len());
            let range = note.at.min(end)..end;
            noted[range.clone()].fill(true);
            known[range].fill(note.kind == Kind::Known);
        }
        (noted, known)
    }
}

/// A frame explained.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    layers: Vec<Layer>,
}

impl Explanation {
    /// Adds a layer; the first one is the frame itself.
    pub fn push(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    /// The layers, the frame itself first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Bytes understood, and bytes of the frame.
    pub fn coverage(&self) -> (usize, usize) {
        let total = self.layers.first().map_or(0, |frame| frame.bytes.len());
        let known = |layer: &Layer| layer.marks().1.into_iter().filter(|known| *known).count();
        let counting = self.layers.iter().filter(|layer| layer.counts);
        let understood: usize = counting.map(known).sum();
        (understood.min(total), total)
    }

    /// For people; `colour` adds terminal colours.
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        for layer in &self.layers {
            // Writing to a string does not fail.
            let _ = render_layer(&mut out, layer, colour);
        }
        let (understood, total) = self.coverage();
        let percent = (understood * 100).checked_div(total).unwrap_or(100);
        let _ = writeln!(
            out,
            "{understood} of {total} bytes understood ({percent} %)"
        );
        out
    }
}

fn render_layer(out: &mut String, layer: &Layer, colour: bool) -> fmt::Result {
    let (bold, dim, off) = if colour {
        ("\x1b[1m", "\x1b[2m", "\x1b[0m")
    } else {
        ("", "", "")
    };
    writeln!(out, "{bold}{}{off}", layer.title)?;
    let mut notes = layer.notes.clone();
    let (noted, _) = layer.marks();
    notes.extend(gaps(&noted).map(|(at, len)| Note {
        at,
        len,
        depth: 0,
        kind: Kind::Opaque,
        text: "not understood".into(),
    }));
    // A heading comes before what it stands over, whatever order they were added in.
    notes.sort_by_key(|note| (note.at, note.kind != Kind::Group, note.depth));
    for note in &notes {
        let indent = "  ".repeat(note.depth);
        let tint = match (colour, note.kind) {
            (false, _) => "",
            (_, Kind::Known) => "\x1b[32m",
            (_, Kind::Opaque) => "\x1b[31m",
            (_, Kind::Below) => "\x1b[36m",
            (_, Kind::Group) => "\x1b[1m",
        };
        if note.kind == Kind::Group {
            writeln!(
                out,
                "{dim}{:04x}{off}  {indent}{tint}{}{off}",
                note.at, note.text
            )?;
            continue;
        }
        let bytes = layer
            .bytes
            .get(note.at..note.at + note.len)
            .unwrap_or_default();
        for (row, chunk) in bytes.chunks(ROW).enumerate() {
            let hex = spaced(chunk);
            let at = note.at + row * ROW;
            let pad = (3 * ROW).saturating_sub(hex.len());
            let text = if row == 0 { note.text.as_str() } else { "" };
            let line = format!(
                "{dim}{at:04x}{off}  {indent}{tint}{hex}{off}{:pad$}{text}",
                ""
            );
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}

/// Runs of bytes without a note.
fn gaps(noted: &[bool]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += noted.get(at..)?.iter().take_while(|noted| **noted).count();
        let len = noted.get(at..)?.iter().take_while(|noted| !**noted).count();
        let start = at;
        at += len;
        (len > 0).then_some((start, len))
    })
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |nibble: u8| DIGITS[usize::from(nibble & 0x0f)];
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

fn spaced(bytes: &[u8]) -> String {
    let words: Vec<_> = bytes.iter().map(|byte| hex(&[*byte])).collect();
    words.join(" ")
}

/// Where `part` lies in `whole`, which it borrows from: decoders return parts of their input, so
/// offsets need not be kept by them.
pub(crate) fn offset(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize)
        .saturating_sub(whole.as_ptr() as usize)
        .min(whole.len())
}

/// Bytes per line of an explanation.
const ROW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_known_bytes_once_and_shows_gaps() {
        let mut frame = Layer::new("frame", &[1, 2, 3, 4, 5, 6]);
        frame.group(0, 2, "head", |frame| {
            frame.fields(0, [(1, "length".into()), (1, "kind".into())]);
        });
        frame.note(2, 2, Kind::Below, "encrypted");
        frame.note(5, 9, Kind::Opaque, "manufacturer");
        let mut plain = Layer::new("plain", &[7, 8]);
        plain.note(0, 1, Kind::Known, "value");
        let mut explanation = Explanation::default();
        explanation.push(frame);
        explanation.push(plain);
        assert_eq!(explanation.coverage(), (3, 6));
        let text = explanation.render(false);
        assert!(text.contains("0004  05"), "{text}");
        assert!(text.contains("not understood"), "{text}");
        assert!(text.ends_with("3 of 6 bytes understood (50 %)\n"), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
