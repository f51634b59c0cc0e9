// SPDX-License-Identifier: MIT OR Apache-2.0
//! A zone of legal time and its days.

use core::fmt;

use jiff::civil::{Date, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use smgw_units::UtcNanos;
use thiserror::Error;

use crate::calendar::Span;

/// Rules of legal time, by their name in the time zone database that is part of the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(TimeZone);

/// A name without rules.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no such time zone; expected a name like Europe/Berlin")]
pub struct ZoneError;

impl Zone {
    /// Legal time of Germany.
    pub const BERLIN: &str = "Europe/Berlin";

    /// The zone of this name.
    ///
    /// # Errors
    /// [`ZoneError`] when the database does not know it.
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let short = name.len() <= LONGEST_NAME;
        let found = short.then(|| TimeZoneDatabase::bundled().get(name).ok());
        found.flatten().map(Self).ok_or(ZoneError)
    }

    /// Seconds from the epoch to the beginning of a day.
    pub(crate) fn day_start(&self, date: Date) -> i64 {
        // A date at either end of what can be represented has no instant; it is never reached.
        let start = date.to_zoned(self.0.clone()).map(|zoned| zoned.timestamp());
        start.map_or(i64::MAX / NANOS_PER_SECOND, Timestamp::as_second)
    }

    /// Seconds from the epoch to a time of day: to the first one where it comes twice, to the one an hour later where
    /// it is left out.
    pub(crate) fn time_on(&self, date: Date, second_of_day: i64) -> i64 {
        let wall = date
            .to_datetime(Time::midnight())
            .checked_add(second_of_day.seconds());
        let zoned = wall.and_then(|wall| wall.to_zoned(self.0.clone()));
        zoned.map_or(i64::MAX / NANOS_PER_SECOND, |zoned| {
            zoned.timestamp().as_second()
        })
    }

    /// The day an instant lies in.
    pub(crate) fn date(&self, instant: UtcNanos) -> Date {
        self.0.to_datetime(timestamp(instant.seconds())).date()
    }

    /// Number of the day an instant lies in; days that follow each other differ by one.
    pub(crate) fn day_number(&self, instant: UtcNanos) -> i64 {
        let epoch = Date::constant(1970, 1, 1);
        let since = self.date(instant).since(epoch);
        since.map_or(i64::MAX, |span| i64::from(span.get_days()))
    }

    /// The day of a [`day_number`](Self::day_number).
    pub(crate) fn date_of_day(&self, number: i64) -> Date {
        let epoch = Date::constant(1970, 1, 1);
        epoch
            .checked_add(number.clamp(-MOST_DAYS, MOST_DAYS).days())
            .unwrap_or(Date::MAX)
    }

    /// The day, from one occurrence of a time of day to the next, that `second` lies in.
    pub(crate) fn day_from(&self, second_of_day: i64, second: i64) -> Span {
        let date = self.date(UtcNanos(second.saturating_mul(NANOS_PER_SECOND)));
        let start = |date: Date| self.time_on(date, second_of_day);
        let day = |offset: i64| date.checked_add(offset.days()).unwrap_or(Date::MAX);
        if start(date) <= second {
            Span {
                start: start(date),
                end: start(day(1)),
            }
        } else {
            Span {
                start: start(day(-1)),
                end: start(date),
            }
        }
    }

    /// The instants, in seconds, at which a day begins and ends.
    pub(crate) fn day_of(&self, date: Date) -> (i64, i64) {
        let next = date.checked_add(1.day()).unwrap_or(Date::MAX);
        (self.day_start(date), self.day_start(next))
    }

    /// Seconds that legal time is ahead of UTC from `start` on, piece by piece until `end`: each piece with its
    /// beginning in seconds.
    pub(crate) fn offsets(&self, start: i64, end: i64) -> Vec<(i64, i64)> {
        let offset = |at: i64| i64::from(self.0.to_offset(timestamp(at)).seconds());
        let changes = self
            .0
            .following(timestamp(start))
            .map(|change| change.timestamp().as_second())
            .take_while(|&at| at < end);
        core::iter::once(start)
            .chain(changes)
            .map(|at| (at, offset(at)))
            .collect()
    }

    /// Whether legal time is ahead of UTC by multiples of `period` seconds, in the century after `start`: only then
    /// do switch times of legal time lie on the registration grid.
    pub(crate) fn keeps_grid(&self, start: UtcNanos, period: u32) -> bool {
        let start = start.seconds();
        let offsets = self.offsets(start, start.saturating_add(CENTURY));
        offsets
            .iter()
            .all(|(_, offset)| offset % i64::from(period) == 0)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// `seconds` as the library's type; what lies outside of its years is moved to their ends.
fn timestamp(seconds: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(seconds.clamp(first, last)).unwrap_or(Timestamp::MAX)
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// Of the years that an instant may lie in.
const MOST_DAYS: i64 = 150_000;
const LONGEST_NAME: usize = 64;
const CENTURY: i64 = 36_525 * 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_legal_time_have_92_96_or_100_quarter_hours() {
        let zone = Zone::named(Zone::BERLIN).unwrap();
        for (date, quarters) in [
            (Date::constant(2026, 3, 29), 92),
            (Date::constant(2026, 10, 25), 100),
            (Date::constant(2026, 1, 1), 96),
            // Leap seconds: the last one so far, and what carries 32-bit seconds and NTP's era over.
            (Date::constant(2016, 12, 31), 96),
            (Date::constant(2036, 2, 7), 96),
            (Date::constant(2038, 1, 19), 96),
        ] {
            let (start, end) = zone.day_of(date);
            assert_eq!(end - start, quarters * 900, "{date}");
            assert_eq!(zone.date(UtcNanos::from_seconds(start)), date);
            assert_eq!(zone.date(UtcNanos::from_seconds(end - 1)), date);
        }
    }

    #[test]
    fn knows_which_grids_legal_time_keeps() {
        let from = UtcNanos::from_seconds(1_767_225_600);
        let berlin = Zone::named(Zone::BERLIN).unwrap();
        assert!(berlin.keeps_grid(from, 900) && berlin.keeps_grid(from, 3_600));
        assert!(!berlin.keeps_grid(from, 86_400));
        let kolkata = Zone::named("Asia/Kolkata").unwrap();
        assert!(kolkata.keeps_grid(from, 1_800) && !kolkata.keeps_grid(from, 3_600));
        assert_eq!(Zone::named("Europe/Atlantis"), Err(ZoneError));
        assert_eq!(Zone::named("../../etc/localtime"), Err(ZoneError));
    }
}
