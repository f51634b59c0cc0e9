// SPDX-License-Identifier: MIT OR Apache-2.0
//! Time as NTP writes it (RFC 5905 §6): seconds since 1900 modulo 2^32 with binary fractions.

use core::time::Duration;

use smgw_units::UtcNanos;

/// A 64-bit NTP timestamp: 32 bits of seconds within an era, 32 bits of fraction. Zero means "unknown".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The instant unknown.
    pub const UNKNOWN: Self = Self(0);

    /// The timestamp nearest to `instant`. Its era is left out, as the format wants it; [`Self::utc`] gives the same
    /// nanosecond back.
    pub const fn of(instant: UtcNanos) -> Self {
        let seconds = instant.0.div_euclid(SECOND) + TO_1970;
        let nanos = instant.0.rem_euclid(SECOND);
        // A nanosecond is more than four units of the fraction: rounding never reaches the next second.
        let fraction = (((nanos as u64) << 32) + HALF_SECOND) / SECOND as u64;
        Self(((seconds as u64) << 32) | fraction)
    }

    /// The one instant with this timestamp in the 2^32 seconds (136 years) that begin with `earliest`, to the nearest
    /// nanosecond; `None` where [`UtcNanos`] ends, in 2262.
    pub fn utc(self, earliest: UtcNanos) -> Option<UtcNanos> {
        let ahead = self.0.wrapping_sub(Self::of(earliest).0);
        // Counted from the timestamp of `earliest`, whose rounding is undone by adding its exact nanoseconds.
        let first = i128::from(Self::of(earliest).0 as u32);
        let units = i128::from(ahead) + first;
        let nanos = (units * i128::from(SECOND) + (1 << 31)) >> 32;
        let whole = i128::from(earliest.seconds()) * i128::from(SECOND);
        i64::try_from(whole + nanos).ok().map(UtcNanos)
    }
}

/// A 32-bit NTP span: 16 bits of seconds, 16 bits of fraction.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Short(pub u32);

impl Short {
    /// The shortest span of the format that is not shorter than `span`; the longest one where it ends.
    pub fn at_least(span: Duration) -> Self {
        let units = (span.as_nanos() << 16).div_ceil(SECOND as u128);
        Self(u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// The span, rounded up to nanoseconds.
    pub fn duration(self) -> Duration {
        let nanos = (u128::from(self.0) * SECOND as u128).div_ceil(1 << 16);
        // At most 65536 s.
        Duration::from_nanos(nanos as u64)
    }
}

const SECOND: i64 = 1_000_000_000;
const HALF_SECOND: u64 = 500_000_000;
/// Seconds from 1900 to 1970.
const TO_1970: i64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_rfc_5905_figure_4() {
        // First day of UNIX; last day of NTP era 0 ends 2036-02-07T06:28:16Z; first instant of era 1.
        let table: [(i64, u64); 4] = [
            (0, 2_208_988_800),
            (946_684_800, 3_155_673_600), // 2000-01-01
            (2_085_978_495, 4_294_967_295),
            (2_085_978_496, 0),
        ];
        for (unix, ntp) in table {
            let instant = UtcNanos::from_seconds(unix);
            assert_eq!(Timestamp::of(instant), Timestamp(ntp << 32), "{instant}");
            let earliest = UtcNanos::from_seconds(unix - 1_000_000_000);
            assert_eq!(Timestamp(ntp << 32).utc(earliest), Some(instant));
        }
    }

    #[test]
    fn the_window_decides_the_era() {
        let stamp = Timestamp::of(UtcNanos::from_seconds(1_800_000_000));
        let era = 1i64 << 32;
        for eras in 0..2 {
            let instant = UtcNanos::from_seconds(1_800_000_000 + eras * era);
            assert_eq!(Timestamp::of(instant), stamp);
            // The first and the last instant of the window.
            assert_eq!(stamp.utc(instant), Some(instant));
            let last = UtcNanos(instant.0 - (era * SECOND - 1));
            assert_eq!(stamp.utc(last), Some(instant));
        }
        let end = UtcNanos(i64::MAX);
        assert_eq!(stamp.utc(end), None);
        assert_eq!(Timestamp::of(end).utc(end), Some(end));
    }

    #[test]
    fn spans_are_never_understated() {
        for nanos in [0, 1, 15_258, 15_259, 999_999_999, 65_535_000_000_000] {
            let span = Duration::from_nanos(nanos);
            let read = Short::at_least(span).duration();
            assert!(
                read >= span && read - span < Duration::from_nanos(15_261),
                "{span:?}"
            );
        }
        assert_eq!(Short::at_least(Duration::MAX), Short(u32::MAX));
    }
}
