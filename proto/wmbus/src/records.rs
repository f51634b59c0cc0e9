// SPDX-License-Identifier: MIT OR Apache-2.0
//! Records with the place they stand at.

use smgw_mbus::{Error, Record, RecordHead, Trailer};

use crate::Span;

/// The records of a telegram; ends behind the first error.
#[derive(Clone, Debug)]
pub struct LocatedRecords<'a> {
    rest: &'a [u8],
    end: usize,
    trailer: Option<Trailer<'a>>,
}

impl<'a> LocatedRecords<'a> {
    /// The records in `span` of `bytes`.
    pub fn new(bytes: &'a [u8], span: Span) -> Self {
        let rest = span.of(bytes);
        Self {
            rest,
            end: span.at + rest.len(),
            trailer: None,
        }
    }

    /// Data of the manufacturer's own behind the last record, once all were read.
    pub const fn trailer(&self) -> Option<Trailer<'a>> {
        self.trailer
    }
}

impl<'a> Iterator for LocatedRecords<'a> {
    type Item = Result<(Span, Record<'a>), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let fillers = self.rest.iter().take_while(|dif| **dif == FILLER).count();
        self.rest = self.rest.get(fillers..)?;
        let (&dif, behind) = self.rest.split_first()?;
        if let MANUFACTURER | MORE_FOLLOWS = dif {
            self.trailer = Some(Trailer {
                data: behind,
                more_follows: dif == MORE_FOLLOWS,
            });
            self.rest = &[];
            return None;
        }
        let record = RecordHead::parse(self.rest).and_then(|(head, rest)| head.value(rest));
        let before = self.rest.len();
        let (result, rest) = match record {
            Ok((record, rest)) => {
                let span = Span {
                    at: self.end - before,
                    len: before - rest.len(),
                };
                (Ok((span, record)), rest)
            }
            Err(error) => (Err(error), [].as_slice()),
        };
        self.rest = rest;
        Some(result)
    }
}

pub(crate) const FILLER: u8 = 0x2f;
pub(crate) const MANUFACTURER: u8 = 0x0f;
pub(crate) const MORE_FOLLOWS: u8 = 0x1f;
