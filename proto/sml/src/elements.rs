// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every element of a payload, flat and in order, with its place: for annotating bytes and for showing
//! what no message type explains (SML 1.05 §6.2-6.3).

use crate::error::{ErrorKind, Fault, ParseError};
use crate::tl::{Kind, header};

/// One element of a payload: a scalar, the head of a list, or the end of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element<'a> {
    /// Where its type-length field begins, in bytes from the start of the payload.
    pub offset: usize,
    /// Bytes of its type-length field.
    pub header: usize,
    /// Its type.
    pub kind: Kind,
    /// Elements of a list; bytes of the content of anything else.
    pub length: usize,
    /// Content behind the type-length field; empty for a list, whose elements follow by themselves.
    pub value: &'a [u8],
    /// Lists it stands in; a message is 0, what it consists of 1.
    pub depth: usize,
}

/// Walks over the elements of `payload`; ends after the first error. Allocates nothing.
///
/// ```
/// use smgw_sml::{Kind, elements};
///
/// let seen: Vec<_> = elements(b"\x72\x62\x01\x65\x00\x00\x00\x05")
///     .map(|element| element.map(|it| (it.offset, it.kind, it.depth)))
///     .collect();
/// assert_eq!(
///     seen,
///     [
///         Ok((0, Kind::List, 0)),
///         Ok((1, Kind::Unsigned, 1)),
///         Ok((3, Kind::Unsigned, 1)),
///     ]
/// );
/// ```
pub fn elements(payload: &[u8]) -> Elements<'_> {
    Elements {
        payload,
        rest: payload,
        open: [0; ErrorKind::MAX_DEPTH],
        depth: 0,
    }
}

/// Iterator over elements, see [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    payload: &'a [u8],
    rest: &'a [u8],
    /// Elements still to come of each list that is open.
    open: [usize; ErrorKind::MAX_DEPTH],
    depth: usize,
}

impl<'a> Elements<'a> {
    fn element(&mut self) -> Result<Element<'a>, nom::Err<Fault<'a>>> {
        let at = self.rest;
        let (content, (kind, length)) = header(at)?;
        let depth = self.depth;
        let (value, rest) = match kind {
            Kind::List => match self.open.get_mut(depth) {
                Some(count) => {
                    *count = length;
                    self.depth += 1;
                    content.split_at(0)
                }
                None => return Fault::at(at, ErrorKind::TooDeep),
            },
            _ => content.split_at_checked(length).unwrap_or_default(),
        };
        self.rest = rest;
        Ok(Element {
            offset: self.payload.len() - at.len(),
            header: at.len() - content.len(),
            kind,
            length,
            value,
            depth,
        })
    }

    /// Closes lists without further elements, and takes the next element off the innermost other one.
    fn descend(&mut self) {
        while let Some(count) = self
            .depth
            .checked_sub(1)
            .and_then(|list| self.open.get_mut(list))
        {
            match count.checked_sub(1) {
                Some(left) => {
                    *count = left;
                    return;
                }
                None => self.depth -= 1,
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Element<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.descend();
        if self.rest.is_empty() && self.depth == 0 {
            return None;
        }
        let element = self
            .element()
            .map_err(|fault| ParseError::locate(self.payload, fault));
        if element.is_err() {
            (self.rest, self.depth) = (&[], 0);
        }
        Some(element)
    }
}
