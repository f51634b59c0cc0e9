// SPDX-License-Identifier: MIT OR Apache-2.0
//! Known deviations of real meters from SML, each by name and each with a switch.

use core::fmt;

/// One deviation seen in the field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum Quirk {
    /// Holley DTZ541: a time is the bare number, without the choice around it; read as seconds index.
    BareTime = 1,
    /// FROETEC Multiflex ZG22: a list of three where a time has one number; the first one counts.
    TimeList = 1 << 1,
    /// Most meters: the message tag is shorter than four bytes.
    ShortTag = 1 << 2,
    /// ISKRA MT691: a message checksum loses its leading zero byte.
    CroppedCrc = 1 << 3,
    /// Holley DTZ541: CRC-16/KERMIT, high byte first, instead of CRC-16/X-25.
    KermitCrc = 1 << 4,
    /// EMH, ISKRA, DZG: status words of 3, 5, 6 or 7 bytes.
    OddStatusWidth = 1 << 5,
    /// EMH eHZ-IW8E2A: a list entry without a value.
    AbsentValue = 1 << 6,
    /// EasyMeter and others: fill bytes between messages that the transport does not announce.
    StrayFill = 1 << 7,
}

impl Quirk {
    /// Every known quirk.
    pub const LIST: [Self; 8] = [
        Self::BareTime,
        Self::TimeList,
        Self::ShortTag,
        Self::CroppedCrc,
        Self::KermitCrc,
        Self::OddStatusWidth,
        Self::AbsentValue,
        Self::StrayFill,
    ];

    /// The name used in messages and configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BareTime => "bare-time",
            Self::TimeList => "time-list",
            Self::ShortTag => "short-tag",
            Self::CroppedCrc => "cropped-crc",
            Self::KermitCrc => "kermit-crc",
            Self::OddStatusWidth => "odd-status-width",
            Self::AbsentValue => "absent-value",
            Self::StrayFill => "stray-fill",
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The quirks a decoder tolerates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Quirks(u16);

impl Quirks {
    /// Tolerate every known quirk: what a gateway in the field does.
    pub const ALL: Self = Self(0xff);
    /// Tolerate none: what a conformance test of a meter does.
    pub const NONE: Self = Self(0);

    /// Also tolerate `quirk`.
    #[must_use]
    pub const fn with(self, quirk: Quirk) -> Self {
        Self(self.0 | quirk as u16)
    }

    /// No longer tolerate `quirk`.
    #[must_use]
    pub const fn without(self, quirk: Quirk) -> Self {
        Self(self.0 & !(quirk as u16))
    }

    /// Whether `quirk` is tolerated.
    pub const fn tolerates(self, quirk: Quirk) -> bool {
        self.0 & quirk as u16 != 0
    }
}

impl Default for Quirks {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_independent() {
        let all = Quirk::LIST
            .iter()
            .fold(Quirks::NONE, |quirks, quirk| quirks.with(*quirk));
        assert_eq!(all, Quirks::ALL);
        for quirk in Quirk::LIST {
            assert!(!Quirks::ALL.without(quirk).tolerates(quirk), "{quirk}");
            assert!(Quirks::NONE.with(quirk).tolerates(quirk), "{quirk}");
        }
    }
}
