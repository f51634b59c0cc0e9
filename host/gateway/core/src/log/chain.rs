// SPDX-License-Identifier: MIT OR Apache-2.0
//! The hash chain of a log book: what the next record hangs on, and where a chain breaks (rows LOG-01, LOG-03).

use core::fmt;

use thiserror::Error;

use super::record::{HASH_LEN, Record};

/// The end of a chain: what the next record must follow. The default is the end of an empty book.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// Number of the last record, 0 of an empty book.
    pub number: u64,
    /// Its hash.
    pub hash: [u8; HASH_LEN],
    /// Its seconds index.
    pub seconds_index: u64,
}

impl Link {
    /// The end of a chain that ends with `record`.
    pub fn of(record: &Record) -> Self {
        Self {
            number: record.number,
            hash: record.hash,
            seconds_index: record.seconds_index,
        }
    }
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breakage {
    /// Its number does not follow the one before.
    Number {
        /// What it should be.
        expected: u64,
    },
    /// It carries another hash than the record before has.
    Previous,
    /// Its own hash is not that of its content.
    Content,
    /// Its seconds index is below that of the record before.
    SecondsIndex,
    /// It names a parent that does not come before it.
    Parent,
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { expected } => write!(f, "number {expected} was expected"),
            Self::Previous => f.write_str("it does not hang on the record before"),
            Self::Content => f.write_str("its content was changed"),
            Self::SecondsIndex => f.write_str("its seconds index falls"),
            Self::Parent => f.write_str("its parent does not come before it"),
        }
    }
}

/// Where a chain breaks.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the chain breaks at record {number}: {breakage}")]
pub struct Break {
    /// The record as it is numbered.
    pub number: u64,
    /// What is wrong with it.
    pub breakage: Breakage,
}

/// Checks records one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verifier {
    end: Link,
}

impl Verifier {
    /// A check of what comes behind `link`; of a whole book with the default.
    pub fn after(link: Link) -> Self {
        Self { end: link }
    }

    /// The next record.
    ///
    /// # Errors
    /// [`Break`]; the check can go no further.
    pub fn check(&mut self, record: &Record) -> Result<(), Break> {
        let broken = |breakage| {
            Err(Break {
                number: record.number,
                breakage,
            })
        };
        let expected = self.end.number + 1;
        if record.number != expected {
            return broken(Breakage::Number { expected });
        }
        if record.previous != self.end.hash {
            return broken(Breakage::Previous);
        }
        if record.hash != record.computed_hash() {
            return broken(Breakage::Content);
        }
        if record.seconds_index < self.end.seconds_index {
            return broken(Breakage::SecondsIndex);
        }
        if record
            .parent
            .is_some_and(|parent| parent == 0 || parent >= record.number)
        {
            return broken(Breakage::Parent);
        }
        self.end = Link::of(record);
        Ok(())
    }

    /// The end of what was checked.
    pub fn end(&self) -> Link {
        self.end
    }
}
