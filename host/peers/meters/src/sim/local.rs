// SPDX-License-Identifier: MIT OR Apache-2.0
//! Local time of German meters.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Dst, TimeZone};
use smgw_units::UtcNanos;

/// Date and time in Germany, and whether it is summer time. Told without the host's time zone data.
pub(crate) fn local(now: UtcNanos) -> (DateTime, bool) {
    let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC);
    let instant = Timestamp::from_nanosecond(i128::from(now.0)).unwrap_or_default();
    let info = zone.to_offset_info(instant);
    let summer = info.dst() == Dst::Yes;
    (info.offset().to_datetime(instant), summer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_of_the_change_comes_twice_in_autumn_and_never_in_spring() {
        let at = |text: &str| {
            let instant: Timestamp = text.parse().unwrap();
            let (time, summer) = local(UtcNanos(instant.as_nanosecond() as i64));
            (time.to_string(), summer)
        };
        let is = |time: &str, summer| (time.to_owned(), summer);
        assert_eq!(at("2026-03-29T00:59:59Z"), is("2026-03-29T01:59:59", false));
        assert_eq!(at("2026-03-29T01:00:00Z"), is("2026-03-29T03:00:00", true));
        assert_eq!(at("2026-10-25T00:30:00Z"), is("2026-10-25T02:30:00", true));
        assert_eq!(at("2026-10-25T01:30:00Z"), is("2026-10-25T02:30:00", false));
        assert_eq!(at("2026-12-31T23:00:00Z"), is("2027-01-01T00:00:00", false));
    }
}
