// SPDX-License-Identifier: MIT OR Apache-2.0
//! Known deviations of real meters from SML, each by name and each with a switch.

use core::fmt;

macro_rules! quirks {
    ($($(#[$meta:meta])* $quirk:ident = $bit:literal $name:literal;)+) => {
        /// One deviation seen in the field.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u16)]
        pub enum Quirk {
            $($(#[$meta])* $quirk = 1 << $bit,)+
        }

        impl Quirk {
            /// Every known quirk.
            pub const LIST: &'static [Self] = &[$(Self::$quirk),+];

            /// The name used in messages and configurations.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$quirk => $name,)+
                }
            }
        }
    };
}

quirks! {
    /// Holley DTZ541: a time is the bare number, without the choice around it; read as seconds index.
    BareTime = 0 "bare-time";
    /// FROETEC Multiflex ZG22: a list of three where a time has one number; the first one counts.
    TimeList = 1 "time-list";
    /// Most meters: the message tag is shorter than four bytes.
    ShortTag = 2 "short-tag";
    /// ISKRA MT691: a message checksum loses its leading zero byte.
    CroppedCrc = 3 "cropped-crc";
    /// Holley DTZ541: CRC-16/KERMIT, high byte first, instead of CRC-16/X-25.
    KermitCrc = 4 "kermit-crc";
    /// EMH, ISKRA, DZG: status words of 3, 5, 6 or 7 bytes.
    OddStatusWidth = 5 "odd-status-width";
    /// EMH eHZ-IW8E2A: a list entry without a value.
    AbsentValue = 6 "absent-value";
    /// EasyMeter and others: fill bytes between messages that the transport does not announce.
    StrayFill = 7 "stray-fill";
    /// DZG: the unit is 0, which stands for none; read as a count.
    ZeroUnit = 8 "zero-unit";
    /// DZG DVS74: a power from 32768 to 65535 is sent as a signed number of two bytes, which makes it
    /// negative. Read as unsigned where the status word says that energy flows to the consumer.
    WrappedPower = 9 "wrapped-power";
}

impl Quirk {
    /// Whether the quirk changes the value read instead of letting bytes pass that would be refused
    /// otherwise. What a meter sent stays as sent unless such a quirk is asked for by name.
    pub const fn corrects(self) -> bool {
        matches!(self, Self::WrappedPower)
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
    /// Tolerate every known deviation, correct nothing: what a gateway in the field does.
    pub const ALL: Self = Self(0x1ff);
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
        let tolerances = Quirk::LIST
            .iter()
            .filter(|quirk| !quirk.corrects())
            .fold(Quirks::NONE, |quirks, quirk| quirks.with(*quirk));
        assert_eq!(tolerances, Quirks::ALL);
        for quirk in Quirk::LIST {
            assert!(!Quirks::ALL.without(*quirk).tolerates(*quirk), "{quirk}");
            assert!(Quirks::NONE.with(*quirk).tolerates(*quirk), "{quirk}");
        }
    }
}
