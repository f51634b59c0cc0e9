// SPDX-License-Identifier: MIT OR Apache-2.0
//! Readings of a 32-bit counter extended to 64 bits.

/// The latest instant known, in counts since the first start of the counter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ticks(u64);

impl Ticks {
    /// The instant of a reading that is less than half a turn (2^31 counts) older or newer than the latest one.
    pub fn extend(&mut self, counter: u32) -> u64 {
        let difference = counter.wrapping_sub(self.0 as u32).cast_signed();
        let ticks = self.0.saturating_add_signed(i64::from(difference));
        self.0 = self.0.max(ticks);
        ticks
    }

    /// The latest instant.
    pub fn last(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_of_the_counter_are_counted() {
        let mut ticks = Ticks::default();
        let steps = [
            0,
            1,
            0x7FFF_FFFF,
            0x7FFF_FFFF,
            5,
            0x7FFF_FFFF,
            0x7FFF_FFFF,
            0x1234,
        ];
        let mut instant = 0;
        for step in steps {
            instant += step;
            assert_eq!(ticks.extend(instant as u32), instant);
        }
        assert!(instant > 1 << 33);
    }

    #[test]
    fn older_readings_stay_older_around_a_turn() {
        let mut ticks = Ticks(0x1_0000_0002);
        assert_eq!(ticks.extend(0xFFFF_FFFE), 0xFFFF_FFFE);
        assert_eq!(ticks.extend(1), 0x1_0000_0001);
        assert_eq!(ticks.last(), 0x1_0000_0002);
        assert_eq!(ticks.extend(7), 0x1_0000_0007);
    }

    #[test]
    fn nothing_is_before_the_start() {
        assert_eq!(Ticks(3).extend(0xFFFF_FFFF), 0);
    }
}
