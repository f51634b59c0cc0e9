// SPDX-License-Identifier: MIT OR Apache-2.0
//! Logs over defmt where the feature is on; nothing else.

/// Tells of what goes as it should.
macro_rules! info {
    ($text:literal $(, $value:expr)*) => {{
        #[cfg(feature = "defmt")]
        defmt::info!($text $(, $value)*);
        #[cfg(not(feature = "defmt"))]
        let _ = ($(&$value,)*);
    }};
}

/// Tells of what goes wrong.
macro_rules! warning {
    ($text:literal $(, $value:expr)*) => {{
        #[cfg(feature = "defmt")]
        defmt::warn!($text $(, $value)*);
        #[cfg(not(feature = "defmt"))]
        let _ = ($(&$value,)*);
    }};
}

/// A value of a crate without defmt, by its `Display`.
#[cfg(feature = "defmt")]
pub(crate) use defmt::Display2Format as Shown;

/// A value that nobody shows.
#[cfg(not(feature = "defmt"))]
pub(crate) struct Shown<'a, T: ?Sized>(pub(crate) &'a T);

pub(crate) use {info, warning};
