// SPDX-License-Identifier: MIT OR Apache-2.0
//! Billing periods: calendar months, days, or seconds of a rehearsal, in legal time.

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use smgw_units::UtcNanos;

use crate::calendar::Zone;

/// How long a billing period is. Months and days begin at midnight of legal time and are counted from the day the
/// profile becomes valid; a year is twelve months.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Billing {
    /// So many calendar months; each period begins on the first of a month.
    Months(u16),
    /// So many days.
    Days(u16),
    /// So many seconds since the epoch: for rehearsals.
    Seconds(u32),
}

/// A piece of time: its first instant and the first one after it, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// First second.
    pub start: i64,
    /// First second that is not in it.
    pub end: i64,
}

impl Billing {
    /// The billing period `instant` lies in; periods are counted from the day `from` lies in.
    pub fn period_of(self, zone: &Zone, from: UtcNanos, instant: UtcNanos) -> Span {
        let (start, end) = match self {
            Self::Months(months) => {
                let count = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month()) - 1;
                let months = i64::from(months.max(1));
                let anchor = count(zone.date(from));
                let passed = count(zone.date(instant)) - anchor;
                let first = anchor + passed.div_euclid(months) * months;
                let at = |count: i64| zone.day_start(first_of_month(count));
                (at(first), at(first + months))
            }
            Self::Days(days) => {
                let days = i64::from(days.max(1));
                let (date, anchor) = (zone.date(instant), zone.day_number(from));
                let into = (zone.day_number(instant) - anchor).rem_euclid(days);
                let at = |offset: i64| {
                    let date = date.checked_add(offset.days());
                    zone.day_start(date.unwrap_or(Date::MAX))
                };
                (at(-into), at(days - into))
            }
            Self::Seconds(seconds) => {
                let seconds = i64::from(seconds.max(1));
                let start = instant.seconds().div_euclid(seconds) * seconds;
                (start, start + seconds)
            }
        };
        Span { start, end }
    }
}

/// The first day of the month that is so many months after January of the year 0.
fn first_of_month(count: i64) -> Date {
    let year = i16::try_from(count.div_euclid(12)).unwrap_or(i16::MAX);
    let month = count.rem_euclid(12) as i8 + 1;
    Date::new(year, month, 1).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    #[test]
    fn periods_begin_at_midnight_of_legal_time() {
        let zone = Zone::named(Zone::BERLIN).unwrap();
        let from = UtcNanos::from_seconds(seconds("2026-01-31T23:00:00Z"));
        for (billing, at, start, end) in [
            (
                Billing::Months(1),
                "2026-03-31T21:59:59Z",
                "2026-02-28T23:00:00Z",
                "2026-03-31T22:00:00Z",
            ),
            (
                Billing::Months(1),
                "2026-03-31T22:00:00Z",
                "2026-03-31T22:00:00Z",
                "2026-04-30T22:00:00Z",
            ),
            // Counted from February.
            (
                Billing::Months(3),
                "2026-06-01T00:00:00Z",
                "2026-04-30T22:00:00Z",
                "2026-07-31T22:00:00Z",
            ),
            (
                Billing::Months(12),
                "2028-01-01T00:00:00Z",
                "2027-01-31T23:00:00Z",
                "2028-01-31T23:00:00Z",
            ),
            // The day of the spring change is 23 hours long.
            (
                Billing::Days(1),
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Billing::Days(7),
                "2026-02-09T12:00:00Z",
                "2026-02-07T23:00:00Z",
                "2026-02-14T23:00:00Z",
            ),
            (
                Billing::Seconds(60),
                "2026-02-09T12:00:59Z",
                "2026-02-09T12:00:00Z",
                "2026-02-09T12:01:00Z",
            ),
        ] {
            let instant = UtcNanos::from_seconds(seconds(at));
            let span = billing.period_of(&zone, from, instant);
            let expected = Span {
                start: seconds(start),
                end: seconds(end),
            };
            assert_eq!(span, expected, "{billing:?} at {at}");
        }
    }
}
