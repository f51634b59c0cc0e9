// SPDX-License-Identifier: MIT OR Apache-2.0
//! OBIS codes (IEC 62056-61): `A-B:C.D.E*F`.

use core::fmt;
use core::str::FromStr;

/// Six value groups A to F.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Obis(pub [u8; 6]);

/// Text that is no OBIS code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ObisError;

impl fmt::Display for ObisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not an OBIS code; expected A-B:C.D.E*F such as 1-0:1.8.0*255, or 12 hex digits",
        )
    }
}

impl core::error::Error for ObisError {}

impl Obis {
    /// Total imported active energy, `1-0:1.8.0*255`.
    pub const IMPORT_TOTAL: Self = Self([1, 0, 1, 8, 0, 255]);

    /// Twelve lower-case hex digits, as logical names use them.
    pub fn hex(&self) -> impl fmt::Display + '_ {
        struct Hex<'a>(&'a [u8; 6]);
        impl fmt::Display for Hex<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|group| write!(f, "{group:02x}"))
            }
        }
        Hex(&self.0)
    }
}

impl fmt::Display for Obis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, ff] = self.0;
        write!(f, "{a}-{b}:{c}.{d}.{e}*{ff}")
    }
}

impl FromStr for Obis {
    type Err = ObisError;

    /// Accepts `A-B:C.D.E*F`, `A-B:C.D.E` (F = 255) and 12 hex digits.
    fn from_str(text: &str) -> Result<Self, ObisError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let number = u64::from_str_radix(text, 16).map_err(|_| ObisError)?;
            let [_, _, groups @ ..] = number.to_be_bytes();
            return Ok(Self(groups));
        }
        let (a, rest) = text.split_once('-').ok_or(ObisError)?;
        let (b, rest) = rest.split_once(':').ok_or(ObisError)?;
        let (c, rest) = rest.split_once('.').ok_or(ObisError)?;
        let (d, rest) = rest.split_once('.').ok_or(ObisError)?;
        let (e, f) = rest.split_once('*').unwrap_or((rest, "255"));
        let group = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| digits.parse::<u8>().ok())
                .flatten()
                .ok_or(ObisError)
        };
        Ok(Self([
            group(a)?,
            group(b)?,
            group(c)?,
            group(d)?,
            group(e)?,
            group(f)?,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn reads_all_three_forms() {
        for text in ["1-0:1.8.0*255", "1-0:1.8.0", "0100010800ff"] {
            assert_eq!(text.parse(), Ok(Obis::IMPORT_TOTAL), "{text}");
        }
        assert_eq!(Obis::IMPORT_TOTAL.to_string(), "1-0:1.8.0*255");
        assert_eq!(Obis::IMPORT_TOTAL.hex().to_string(), "0100010800ff");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "1-0:1.8",
            "1-0:1.8.0*256",
            "1-0:+1.8.0",
            "1-0:1.8.0*",
            "0100010800f",
        ] {
            assert_eq!(text.parse::<Obis>(), Err(ObisError), "{text}");
        }
    }
}
