// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times on the line (EN 13757-2 §5.4, EN 60870-5-1): characters of 11 bits, answers within a window.

use core::time::Duration;

/// Speed of a line and what its adapter adds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timing {
    /// Bits per second; 300 to 38400 in the standard.
    pub baud: u32,
    /// Delay an adapter adds to what is received, e.g. up to 100 ms over USB. The window of the
    /// protocol stays as it is.
    pub adapter_latency: Duration,
}

impl Timing {
    /// A line of `baud` without adapter latency.
    pub const fn at(baud: u32) -> Self {
        Self {
            baud,
            adapter_latency: Duration::ZERO,
        }
    }

    /// Time of `count` bits.
    pub const fn bits(&self, count: u64) -> Duration {
        let baud = if self.baud == 0 { 1 } else { self.baud as u64 };
        Duration::from_nanos((count * 1_000_000_000).div_ceil(baud))
    }

    /// Time of `count` characters: start bit, eight data bits, parity, stop bit.
    pub const fn characters(&self, count: usize) -> Duration {
        self.bits(count as u64 * 11)
    }

    /// An answer must not begin earlier after the request's end.
    pub const fn earliest_answer(&self) -> Duration {
        self.bits(11)
    }

    /// An answer must begin by then after the request's end.
    pub const fn latest_answer(&self) -> Duration {
        self.bits(330).saturating_add(Duration::from_millis(50))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_of_2400_baud() {
        let timing = Timing::at(2400);
        assert_eq!(timing.earliest_answer().as_micros(), 4583);
        assert_eq!(timing.latest_answer(), Duration::from_micros(187_500));
        assert_eq!(timing.characters(5).as_micros(), 22_916);
    }
}
