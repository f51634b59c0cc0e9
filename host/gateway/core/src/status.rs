// SPDX-License-Identifier: MIT OR Apache-2.0
//! The combined status word: 32 bits of the gateway, 32 bits of the meter
//! (TR-03109-1 detail specifications §15 table 15.1).

use core::fmt;

/// Gateway word and meter word. `Display` is the text form of the value lists: 16 hex digits, the
/// gateway word first, each word with its least significant bit first (VDE 1.43).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CombinedStatus {
    /// Bits 0 and 2 identify a gateway word and are always set.
    pub gateway: u32,
    /// The meter's own status word as received, 0 when it sent none.
    pub meter: u32,
}

impl CombinedStatus {
    /// Bits 0 and 2: this is a gateway word.
    pub const IDENTIFICATION: u32 = 1 << 0 | 1 << 2;
    /// Bit 1: the value is not for billing.
    pub const NOT_FOR_BILLING: u32 = 1 << 1;
    /// Bit 9: the gateway's time is not valid.
    pub const TIME_INVALID: u32 = 1 << 9;
    /// Bit 13: no value came in the window of the grid point.
    pub const NO_VALUE: u32 = 1 << 13;
    /// Bit 17: the meter is read by radio.
    pub const WIRELESS: u32 = 1 << 17;

    /// A value as it should be: nothing but the identification bits and the meter's own word.
    pub const fn of_value(meter: u32) -> Self {
        Self {
            gateway: Self::IDENTIFICATION,
            meter,
        }
    }

    /// The same with bit 1: what the gateway has to take down for billing it can no longer take down.
    #[must_use]
    pub const fn with_not_for_billing(self) -> Self {
        Self {
            gateway: self.gateway | Self::NOT_FOR_BILLING,
            meter: self.meter,
        }
    }

    /// The same with bit 9: what the gateway knew of the time was not valid.
    #[must_use]
    pub const fn with_time_invalid(self) -> Self {
        Self {
            gateway: self.gateway | Self::TIME_INVALID,
            meter: self.meter,
        }
    }

    /// The same with bit 17: the meter is read by radio.
    #[must_use]
    pub const fn with_wireless(self) -> Self {
        Self {
            gateway: self.gateway | Self::WIRELESS,
            meter: self.meter,
        }
    }

    /// A gap: bit 13, and no meter word because no telegram counts.
    pub const fn of_gap() -> Self {
        Self {
            gateway: Self::IDENTIFICATION | Self::NO_VALUE,
            meter: 0,
        }
    }
}

impl fmt::Display for CombinedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Reversing the 32 bits puts bit 0 in front; the hex digits then read left to right.
        write!(
            f,
            "{:08x}{:08x}",
            self.gateway.reverse_bits(),
            self.meter.reverse_bits()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_least_significant_bit_first() {
        let published = CombinedStatus::of_value(1 << 2);
        assert_eq!(published.to_string(), "a000000020000000");
        assert_eq!(CombinedStatus::of_gap().to_string(), "a004000000000000");
        let invalid = CombinedStatus::of_value(1 << 31).with_time_invalid();
        assert_eq!(invalid.to_string(), "a040000000000001");
        let radio = CombinedStatus::of_value(0).with_wireless();
        assert_eq!(radio.to_string(), "a000400000000000");
    }
}
