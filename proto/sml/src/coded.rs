// SPDX-License-Identifier: MIT OR Apache-2.0
//! How typed data is read from and written as elements: one declaration per structure gives both ways,
//! and lists stay on the line until somebody looks at them (SML 1.05 §6).

use alloc::vec::Vec;
use core::fmt;
use core::iter::FusedIterator;

use crate::error::{ErrorKind, Fault};
use crate::tl::{self, ABSENT, Kind, Parsed};
use crate::{Quirk, Quirks};

pub(crate) type Read<'a, T> = Result<T, nom::Err<Fault<'a>>>;

/// What stands in one element of a message, scalar or structure. Implemented by this crate only.
pub trait Coded<'a>: Copy {
    #[doc(hidden)]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self>;
    #[doc(hidden)]
    fn write(&self, out: &mut Vec<u8>);
}

/// The elements that are still to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    pub(crate) rest: &'a [u8],
    pub(crate) quirks: Quirks,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8], quirks: Quirks) -> Self {
        Self {
            rest,
            quirks,
            depth: 0,
        }
    }

    /// The next element as `parser` understands it.
    #[inline(always)]
    pub(crate) fn take<T>(
        &mut self,
        parser: impl FnOnce(&'a [u8]) -> Parsed<'a, T>,
    ) -> Read<'a, T> {
        let (rest, value) = parser(self.rest)?;
        self.rest = rest;
        Ok(value)
    }

    /// A list of exactly `length` elements, which `fields` reads.
    #[inline(always)]
    pub(crate) fn record<T>(
        &mut self,
        length: usize,
        fields: impl FnOnce(&mut Self) -> Read<'a, T>,
    ) -> Read<'a, T> {
        self.descend(|reader| {
            reader.take(tl::list_of(length))?;
            fields(reader)
        })
    }

    /// Refuses a deviation, found in the next element, that is not tolerated.
    #[inline]
    pub(crate) fn deviates(&self, quirk: Quirk) -> Read<'a, ()> {
        if self.quirks.tolerates(quirk) {
            Ok(())
        } else {
            self.refuse(ErrorKind::QuirkOff(quirk))
        }
    }

    /// Something is wrong with the next element.
    #[cold]
    pub(crate) fn refuse<T>(&self, kind: ErrorKind) -> Read<'a, T> {
        Fault::at(self.rest, kind)
    }

    #[inline(always)]
    fn descend<T>(&mut self, inner: impl FnOnce(&mut Self) -> Read<'a, T>) -> Read<'a, T> {
        if self.depth >= ErrorKind::MAX_DEPTH {
            return self.refuse(ErrorKind::TooDeep);
        }
        self.depth += 1;
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

/// Elements of one kind: as received, where each is decoded whenever it is looked at, or as given by a
/// caller who wants to send them. Copying and iterating allocate nothing.
#[derive(Clone, Copy)]
pub struct List<'a, T>(Source<'a, T>);

#[derive(Clone, Copy)]
enum Source<'a, T> {
    /// The element of the list, which has been read once, so that reading it again works.
    Line {
        element: &'a [u8],
        count: usize,
        quirks: Quirks,
    },
    Given(&'a [T]),
}

impl<'a, T: Coded<'a>> List<'a, T> {
    /// How many elements.
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Line { count, .. } => count,
            Source::Given(elements) => elements.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter(match self.0 {
            Source::Line {
                element,
                count,
                quirks,
            } => {
                let mut reader = Reader::new(element, quirks);
                let opened = reader.take(tl::list);
                Place::Line(reader, opened.map_or(0, |_| count))
            }
            Source::Given(elements) => Place::Given(elements.iter()),
        })
    }

    /// The element of the list, as received.
    pub(crate) fn received(&self) -> Option<Reader<'a>> {
        match self.0 {
            Source::Line {
                element, quirks, ..
            } => Some(Reader::new(element, quirks)),
            Source::Given(_) => None,
        }
    }
}

impl<'a, T: Coded<'a>> Coded<'a> for List<'a, T> {
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        reader.descend(|reader| {
            let start = reader.rest;
            let count = reader.take(tl::list)?;
            for _ in 0..count {
                T::read(reader)?;
            }
            let length = start.len() - reader.rest.len();
            Ok(Self(Source::Line {
                element: start.get(..length).unwrap_or_default(),
                count,
                quirks: reader.quirks,
            }))
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        tl::write_header(out, Kind::List, self.len());
        self.iter().for_each(|element| element.write(out));
    }
}

impl<'a, T> From<&'a [T]> for List<'a, T> {
    fn from(elements: &'a [T]) -> Self {
        Self(Source::Given(elements))
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for List<'a, T> {
    fn from(elements: &'a [T; N]) -> Self {
        Self(Source::Given(elements))
    }
}

impl<'a, T> From<&'a Vec<T>> for List<'a, T> {
    fn from(elements: &'a Vec<T>) -> Self {
        Self(Source::Given(elements))
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self(Source::Given(&[]))
    }
}

impl<'a, T: Coded<'a> + PartialEq> PartialEq for List<'a, T> {
    /// By the elements, wherever they come from.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a, T: Coded<'a> + Eq> Eq for List<'a, T> {}

impl<'a, T: Coded<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Coded<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Coded<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

/// Iterator over a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T>(Place<'a, T>);

#[derive(Clone, Debug)]
enum Place<'a, T> {
    Line(Reader<'a>, usize),
    Given(core::slice::Iter<'a, T>),
}

impl<'a, T: Coded<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Place::Line(_, 0) => None,
            Place::Line(reader, left) => {
                *left -= 1;
                // It could be read when the list was made, with the same quirks.
                T::read(reader).ok()
            }
            Place::Given(elements) => elements.next().copied(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Place::Line(_, left) => *left,
            Place::Given(elements) => elements.len(),
        };
        (left, Some(left))
    }
}

impl<'a, T: Coded<'a>> ExactSizeIterator for Iter<'a, T> {}
impl<'a, T: Coded<'a>> FusedIterator for Iter<'a, T> {}

impl<'a, T: Coded<'a>> Coded<'a> for Option<T> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        match reader.rest {
            [ABSENT, rest @ ..] => {
                reader.rest = rest;
                Ok(None)
            }
            // The same with a type-length field longer than need be.
            [0x80, ..] => match tl::header(reader.rest)? {
                (rest, (Kind::Octets, 0)) => {
                    reader.rest = rest;
                    Ok(None)
                }
                _ => T::read(reader).map(Some),
            },
            _ => T::read(reader).map(Some),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.push(ABSENT),
        }
    }
}

impl<'a> Coded<'a> for &'a [u8] {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        reader.take(tl::octets)
    }

    fn write(&self, out: &mut Vec<u8>) {
        tl::write_octets(out, self);
    }
}

impl<'a> Coded<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        reader.take(tl::boolean)
    }

    fn write(&self, out: &mut Vec<u8>) {
        tl::write_header(out, Kind::Bool, 1);
        out.push(u8::from(*self));
    }
}

/// Declares structures that are lists of a fixed number of elements, with both ways of coding.
macro_rules! records {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident<$line:lifetime> {
            $($(#[$field_meta:meta])* $field:ident: $type:ty,)+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name<$line> {
            $($(#[$field_meta])* pub $field: $type,)+
        }

        impl<$line> $crate::coded::Coded<$line> for $name<$line> {
            fn read(
                reader: &mut $crate::coded::Reader<$line>,
            ) -> $crate::coded::Read<$line, Self> {
                const FIELDS: &[&str] = &[$(stringify!($field)),+];
                reader.record(FIELDS.len(), |reader| {
                    Ok(Self {
                        $($field: $crate::coded::Coded::read(reader)?,)+
                    })
                })
            }

            fn write(&self, out: &mut alloc::vec::Vec<u8>) {
                const FIELDS: &[&str] = &[$(stringify!($field)),+];
                $crate::tl::write_header(out, $crate::tl::Kind::List, FIELDS.len());
                $($crate::coded::Coded::write(&self.$field, out);)+
            }
        }
    )+};
}

/// Declares a choice: a list of a number and what that number says.
macro_rules! choices {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident<$line:lifetime> {
            $($(#[$variant_meta:meta])* $tag:literal => $variant:ident($type:ty),)+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name<$line> {
            $($(#[$variant_meta])* $variant($type),)+
        }

        impl<$line> $crate::coded::Coded<$line> for $name<$line> {
            fn read(
                reader: &mut $crate::coded::Reader<$line>,
            ) -> $crate::coded::Read<$line, Self> {
                reader.record(2, |reader| {
                    let at = *reader;
                    match <u8 as $crate::coded::Coded>::read(reader)? {
                        $($tag => $crate::coded::Coded::read(reader).map(Self::$variant),)+
                        _ => at.refuse($crate::ErrorKind::OutOfRange),
                    }
                })
            }

            fn write(&self, out: &mut alloc::vec::Vec<u8>) {
                $crate::tl::write_header(out, $crate::tl::Kind::List, 2);
                match self {
                    $(Self::$variant(content) => {
                        $crate::coded::Coded::write(&($tag as u8), out);
                        $crate::coded::Coded::write(content, out);
                    })+
                }
            }
        }
    )+};
}

pub(crate) use {choices, records};
