// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integers that remember how many bytes they take on the line (SML 1.05 §6.3: cropping allowed).

use alloc::vec::Vec;

use crate::coded::{Coded, Read, Reader};
use crate::error::ErrorKind;
use crate::tl;

/// A number and the bytes it takes on the line, 1 to 8, so that encoding gives the bytes that were
/// decoded. A width too small for the number is raised when it is encoded.
///
/// ```
/// use smgw_sml::Int;
///
/// let status: Int<u64> = Int::from(0x1c_0104u32);
/// assert_eq!((status.value, status.width), (0x1c_0104, 4));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Int<T> {
    /// The number.
    pub value: T,
    /// Bytes it takes.
    pub width: u8,
}

impl<T> Int<T> {
    /// `value` in `width` bytes.
    pub const fn new(value: T, width: u8) -> Self {
        Self { value, width }
    }

    /// The same width around a number of another type.
    pub(crate) fn fit<U: TryFrom<T>>(self) -> Result<Int<U>, ErrorKind> {
        match U::try_from(self.value) {
            Ok(value) => Ok(Int::new(value, self.width)),
            Err(_) => Err(ErrorKind::OutOfRange),
        }
    }
}

impl Int<u64> {
    /// In the narrowest of the standard widths 1, 2, 4 and 8.
    pub const fn narrow(value: u64) -> Self {
        Self::new(value, unsigned_width(value))
    }
}

/// Numbers inside an [`Int`], and the standard types they may be made of.
macro_rules! numbers {
    ($($of:ty as $all:ty, $parse:path, $write:path: $($from:ty)+;)+) => {$(
        impl<'a> Coded<'a> for Int<$of> {
            #[inline(always)]
            fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
                let at = *reader;
                let (value, width) = reader.take($parse)?;
                Int::new(value, width).fit().or_else(|kind| at.refuse(kind))
            }

            fn write(&self, out: &mut Vec<u8>) {
                $write(out, <$all>::from(self.value), self.width);
            }
        }

        impl Default for Int<$of> {
            fn default() -> Self {
                <$of>::default().into()
            }
        }

        $(impl From<$from> for Int<$of> {
            fn from(value: $from) -> Self {
                Self::new(value.into(), size_of::<$from>() as u8)
            }
        })+
    )+};
}

numbers! {
    u16 as u64, tl::unsigned, tl::write_unsigned: u8 u16;
    u32 as u64, tl::unsigned, tl::write_unsigned: u8 u16 u32;
    u64 as u64, tl::unsigned, tl::write_unsigned: u8 u16 u32 u64;
    i16 as i64, tl::signed, tl::write_signed: i8 i16;
    i64 as i64, tl::signed, tl::write_signed: i8 i16 i32 i64;
}

/// Numbers of one byte, whatever width a meter spends on them.
macro_rules! bytes {
    ($($of:ty as $all:ty, $parse:path, $write:path;)+) => {$(
        impl<'a> Coded<'a> for $of {
            #[inline(always)]
            fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
                let at = *reader;
                let (value, _) = reader.take($parse)?;
                <$of>::try_from(value).or_else(|_| at.refuse(ErrorKind::OutOfRange))
            }

            fn write(&self, out: &mut Vec<u8>) {
                $write(out, <$all>::from(*self), 1);
            }
        }
    )+};
}

bytes! {
    u8 as u64, tl::unsigned, tl::write_unsigned;
    i8 as i64, tl::signed, tl::write_signed;
}

pub(crate) const fn signed_width(value: i64) -> u8 {
    if value == value as i8 as i64 {
        1
    } else if value == value as i16 as i64 {
        2
    } else if value == value as i32 as i64 {
        4
    } else {
        8
    }
}

pub(crate) const fn unsigned_width(value: u64) -> u8 {
    match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}
