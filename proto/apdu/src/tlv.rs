// SPDX-License-Identifier: MIT OR Apache-2.0
//! BER-TLV data objects with DER lengths (ISO/IEC 7816-4 §5.2.2; TR-03110-3 D.2): tags of up to three bytes, values of up
//! to 65,535 bytes.

use alloc::vec::Vec;
use core::fmt;

/// The tag of a data object as it is written: `0x87`, `0x7f49`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tag(pub u32);

/// One data object.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Object<'a> {
    /// Its tag.
    pub tag: Tag,
    /// Its content.
    pub value: &'a [u8],
}

/// Why bytes are no sequence of data objects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlvError {
    /// The bytes end inside an object.
    Truncated,
    /// A tag of more than three bytes, one not written in the shortest way, or the reserved tags 00 and FF.
    Tag,
    /// A length that is not written in the shortest way, indefinite, or above 65,535.
    Length,
}

/// Reads data objects one after the other; ends at the first error.
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    rest: &'a [u8],
}

/// The data objects in `bytes`.
pub const fn objects(bytes: &[u8]) -> Objects<'_> {
    Objects { rest: bytes }
}

/// The content of the first object with this tag, `None` when there is none.
///
/// # Errors
/// [`TlvError`] when the bytes are no sequence of objects, also behind the one looked for.
pub fn find(bytes: &[u8], tag: Tag) -> Result<Option<&[u8]>, TlvError> {
    let mut found = None;
    for object in objects(bytes) {
        let object = object?;
        if object.tag == tag && found.is_none() {
            found = Some(object.value);
        }
    }
    Ok(found)
}

/// The content of the object that alone fills the bytes and has this tag.
pub fn only(bytes: &[u8], tag: Tag) -> Option<&[u8]> {
    let mut objects = objects(bytes);
    let object = objects.next()?.ok()?;
    (object.tag == tag && objects.rest.is_empty()).then_some(object.value)
}

/// One data object as bytes.
///
/// # Panics
/// Never for a tag that was read, and for values of up to 65,535 bytes; otherwise the object would not be readable.
pub fn object(tag: Tag, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6);
    put(&mut out, tag, value);
    out
}

/// Appends one data object.
///
/// # Panics
/// As [`object`].
pub fn put(out: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    let skipped = tag.0.leading_zeros() as usize / 8;
    out.extend(tag.0.to_be_bytes().into_iter().skip(skipped.min(3)));
    let length = u16::try_from(value.len()).expect("data objects stay below 64 KiB");
    let [high, low] = length.to_be_bytes();
    match length {
        0..=0x7f => out.push(low),
        0x80..=0xff => out.extend([0x81, low]),
        0x100.. => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(value);
}

impl<'a> Objects<'a> {
    /// What has not been read yet; nothing after an error.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Objects<'a> {
    type Item = Result<Object<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = split(self.rest);
        self.rest = read.map_or(&[], |(_, rest)| rest);
        Some(read.map(|(object, _)| object))
    }
}

/// The first object and what follows it.
fn split(bytes: &[u8]) -> Result<(Object<'_>, &[u8]), TlvError> {
    let (tag, rest) = split_tag(bytes)?;
    let (length, rest) = match rest {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        [] | [0x81] | [0x82] | [0x82, _] => return Err(TlvError::Truncated),
        _ => return Err(TlvError::Length),
    };
    let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Truncated)?;
    Ok((Object { tag, value }, rest))
}

/// The low five bits of a first tag byte that say: more bytes follow.
const MORE: u8 = 0x1f;

fn split_tag(bytes: &[u8]) -> Result<(Tag, &[u8]), TlvError> {
    match bytes {
        [0 | 0xff, ..] => Err(TlvError::Tag),
        [first, rest @ ..] if first & MORE != MORE => Ok((Tag(u32::from(*first)), rest)),
        // A number below 31 fits the first byte, and a number never begins with zeros.
        [first, second @ MORE..=0x7f, rest @ ..] => {
            Ok((Tag(u32::from_be_bytes([0, 0, *first, *second])), rest))
        }
        [first, second @ 0x81..=0xff, third @ ..=0x7f, rest @ ..] => {
            Ok((Tag(u32::from_be_bytes([0, *first, *second, *third])), rest))
        }
        [] | [_] | [_, 0x81..=0xff] => Err(TlvError::Truncated),
        _ => Err(TlvError::Tag),
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02X}", self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Contents may be secret: only the length is shown.
impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.tag, self.value.len())
    }
}

impl fmt::Display for TlvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "data object ends too early",
            Self::Tag => "data object has a tag that is reserved, too long or badly written",
            Self::Length => "data object has a length that is too large or badly written",
        })
    }
}

impl core::error::Error for TlvError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_lengths_of_every_size() {
        for (tag, head) in [
            (0x87, &[0x87][..]),
            (0x7f49, &[0x7f, 0x49]),
            (0x5f8120, &[0x5f, 0x81, 0x20]),
        ] {
            for (len, length) in [
                (0, &[0][..]),
                (127, &[127]),
                (128, &[0x81, 128]),
                (255, &[0x81, 255]),
                (256, &[0x82, 1, 0]),
                (65535, &[0x82, 255, 255]),
            ] {
                let value = alloc::vec![0xa5; len];
                let bytes = object(Tag(tag), &value);
                assert!(bytes.starts_with(&[head, length].concat()));
                assert_eq!(only(&bytes, Tag(tag)), Some(&value[..]));
            }
        }
    }

    #[test]
    fn bad_objects_are_refused() {
        use TlvError::{Length, Tag as BadTag, Truncated};
        for (bytes, error) in [
            (&[0x87][..], Truncated),
            (&[0x87, 2, 1], Truncated),
            (&[0x87, 0x82, 1], Truncated),
            (&[0x7f], Truncated),
            (&[0x5f, 0x81], Truncated),
            (&[0x87, 0x80, 0, 0], Length),
            (&[0x87, 0x81, 5, 1, 2, 3, 4, 5], Length),
            (&[0x87, 0x82, 0, 200], Length),
            (&[0x87, 0x83, 1, 0, 0], Length),
            (&[0, 0], BadTag),
            (&[0xff, 0], BadTag),
            (&[0x7f, 0x1e, 0], BadTag),
            (&[0x7f, 0x80, 0x49, 0], BadTag),
            (&[0x5f, 0x81, 0x81, 1, 0], BadTag),
        ] {
            assert_eq!(objects(bytes).next(), Some(Err(error)), "{bytes:02x?}");
            assert_eq!(find(bytes, Tag(0x99)), Err(error));
        }
    }

    #[test]
    fn the_first_of_several_is_found_and_rubbish_behind_it_too() {
        let bytes = [0x84, 1, 7, 0x80, 0, 0x84, 1, 8];
        assert_eq!(find(&bytes, Tag(0x84)), Ok(Some(&[7][..])));
        assert_eq!(find(&bytes, Tag(0x85)), Ok(None));
        assert_eq!(only(&bytes, Tag(0x84)), None);
        assert!(find(&bytes[..7], Tag(0x84)).is_err());
    }
}
