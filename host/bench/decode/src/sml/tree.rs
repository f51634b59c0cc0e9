// SPDX-License-Identifier: MIT OR Apache-2.0
//! The elements of an SML payload as a tree that keeps their places and widths.

use std::iter::Peekable;

use serde_json::{Value as Json, json};
use smgw_sml::{CrcKind, Element, Elements, Kind, ParseError, elements};

use crate::explain::hex;

/// An element with what stands inside it.
pub(crate) struct Node<'a> {
    pub(crate) element: Element<'a>,
    pub(crate) children: Vec<Node<'a>>,
    /// Offset behind the last byte.
    pub(crate) end: usize,
}

/// Reads a payload as far as it can be read.
pub(crate) fn read(payload: &[u8]) -> (Vec<Node<'_>>, Option<ParseError>) {
    let mut walk = elements(payload).peekable();
    let mut nodes = Vec::new();
    let mut error = None;
    while walk.peek().is_some() {
        match node(&mut walk, &mut error) {
            Some(node) => nodes.push(node),
            None => break,
        }
    }
    (nodes, error)
}

/// Lists nest no deeper than the walk allows.
fn node<'a>(walk: &mut Peekable<Elements<'a>>, error: &mut Option<ParseError>) -> Option<Node<'a>> {
    let element = match walk.next()? {
        Ok(element) => element,
        Err(what) => {
            *error = Some(what);
            return None;
        }
    };
    let mut end = element.offset + element.header + element.value.len();
    let mut children = Vec::new();
    while matches!(walk.peek(), Some(next) if next.as_ref().is_ok_and(|next| next.depth > element.depth))
    {
        let Some(child) = node(walk, error) else {
            break;
        };
        end = child.end;
        children.push(child);
    }
    Some(Node {
        element,
        children,
        end,
    })
}

impl<'a> Node<'a> {
    pub(crate) fn is_absent(&self) -> bool {
        self.element.kind == Kind::Octets && self.element.value.is_empty()
    }

    pub(crate) fn octets(&self) -> Option<&'a [u8]> {
        (self.element.kind == Kind::Octets && !self.is_absent()).then_some(self.element.value)
    }

    /// The number, if this is one of at most eight bytes.
    pub(crate) fn integer(&self) -> Option<i128> {
        let bytes = self.element.value;
        let fill = match (self.element.kind, bytes.first()?) {
            (Kind::Signed, 0x80..) => -1,
            (Kind::Signed | Kind::Unsigned, _) => 0,
            _ => return None,
        };
        (bytes.len() <= 8).then(|| {
            bytes
                .iter()
                .fold(fill, |number, byte| number << 8 | i128::from(*byte))
        })
    }

    /// Type with width, and value; absent elements are null.
    pub(crate) fn json(&self) -> Json {
        let element = &self.element;
        let width = element.value.len();
        match element.kind {
            Kind::List => self.children.iter().map(Self::json).collect(),
            Kind::Octets if self.is_absent() => Json::Null,
            Kind::Octets => json!(["o", hex(element.value)]),
            Kind::Bool => json!(["b", element.value.first().is_some_and(|byte| *byte != 0)]),
            Kind::Signed => {
                let number = self.integer().and_then(|number| i64::try_from(number).ok());
                json!([format!("i{width}"), number])
            }
            Kind::Unsigned => {
                let number = self.integer().and_then(|number| u64::try_from(number).ok());
                json!([format!("u{width}"), number])
            }
            Kind::End => Json::Null,
        }
    }

    pub(crate) fn octets_json(&self) -> Json {
        self.octets()
            .map_or(Json::Null, |octets| json!(hex(octets)))
    }

    pub(crate) fn integer_json(&self) -> Json {
        let number = self.integer();
        number
            .and_then(|number| i64::try_from(number).ok())
            .map_or_else(
                || json!(number.and_then(|number| u64::try_from(number).ok())),
                |number| json!(number),
            )
    }
}

/// A message of the tree: a list of six whose fourth element is a choice.
pub(crate) struct Message<'n, 'a> {
    pub(crate) node: &'n Node<'a>,
    pub(crate) tag: u32,
    pub(crate) transaction: &'n Node<'a>,
    pub(crate) content: &'n Node<'a>,
    /// Which checksum verifies, if one does.
    pub(crate) crc: Option<CrcKind>,
}

impl<'n, 'a> Message<'n, 'a> {
    pub(crate) fn of(node: &'n Node<'a>, payload: &[u8]) -> Option<Self> {
        let [transaction, _, _, body, sum, _] = node.children.as_slice() else {
            return None;
        };
        let [tag, content] = body.children.as_slice() else {
            return None;
        };
        let covered = payload.get(node.element.offset..body.end)?;
        let sent = u16::try_from(sum.integer()?).ok()?.to_be_bytes();
        let kinds = [CrcKind::X25, CrcKind::Kermit];
        Some(Self {
            node,
            tag: u32::try_from(tag.integer()?).ok()?,
            transaction,
            content,
            crc: kinds.into_iter().find(|kind| kind.of(covered) == sent),
        })
    }
}

pub(crate) const fn crc_name(crc: CrcKind) -> &'static str {
    match crc {
        CrcKind::X25 => "x25",
        CrcKind::Kermit => "kermit",
    }
}
