// SPDX-License-Identifier: MIT OR Apache-2.0
//! Series of values in one record: compact profiles (EN 13757-3 annex F).
//!
//! A profile record refers to a base value and a base time with its own storage number; its elements
//! have the storage numbers that follow. The layout is that of public implementations and of the
//! examples F.2.7 and F.2.8 of the standard and G.6 of OMS volume 2 as these give them.

use alloc::vec::Vec;

use crate::date::{Date, DateTime, Time};
use crate::value::{bcd, integer, unsigned};
use crate::{Data, Error, Extension, Record};

/// In which direction a series runs, by its extension.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProfileKind {
    /// Away from an old base, into the present (VIFE 1F).
    Forward,
    /// The same with register numbers (VIFE 1E); what these look like is not known here, the elements
    /// are those of VIFE 1F (assumed).
    Registers,
    /// Away from a young base, into the past (VIFE 13).
    Inverse,
}

/// What the elements of a series are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Increment {
    /// Values as such.
    Absolute,
    /// What was added since the older value, never negative.
    Added,
    /// What was taken off since the older value, never negative.
    Removed,
    /// Younger minus older value.
    Difference,
}

/// How far two elements are apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Spacing {
    /// Not in time: an array, with this number of values for each index (1 to 4).
    Array(u8),
    /// 1 to 250 seconds.
    Seconds(u8),
    /// 1 to 250 minutes.
    Minutes(u8),
    /// 1 to 250 hours.
    Hours(u8),
    /// 1 to 250 days.
    Days(u8),
    /// Half a month.
    HalfMonth,
    /// 1, 3 or 6 months.
    Months(u8),
    /// Reserved; the two bits of the unit and the spacing value as sent.
    Reserved(u8, u8),
}

/// A series as a record carries it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Profile<'a> {
    /// In which direction it runs.
    pub kind: ProfileKind,
    /// What its elements are.
    pub increment: Increment,
    /// How far they are apart.
    pub spacing: Spacing,
    /// Data field code of one element, the low four bits of a DIF; fixed lengths only.
    pub element_field: u8,
    /// The elements as sent.
    pub elements: &'a [u8],
}

impl<'a> Profile<'a> {
    /// The series in a record; `None` when the record is none, or its elements have no fixed length.
    pub fn of(record: &Record<'a>) -> Option<Self> {
        let kind = record
            .vib
            .combinable()
            .find_map(|extension| match extension {
                Extension::CompactProfile {
                    with_register: true,
                } => Some(ProfileKind::Registers),
                Extension::CompactProfile { .. } => Some(ProfileKind::Forward),
                Extension::InverseCompactProfile => Some(ProfileKind::Inverse),
                _ => None,
            })?;
        record.length_code?;
        let (&[control, spacing], elements) = record.data.split_first_chunk::<2>()?;
        let element_field = control & 0x0f;
        element_length(element_field)?;
        Some(Self {
            kind,
            increment: match control >> 6 {
                0 => Increment::Absolute,
                1 => Increment::Added,
                2 => Increment::Removed,
                _ => Increment::Difference,
            },
            spacing: Spacing::of(control >> 4 & 3, spacing),
            element_field,
            elements,
        })
    }

    /// The value of the record, for [`NewRecord`](crate::NewRecord) with [`Data::Container`].
    ///
    /// # Errors
    /// [`Error::Unencodable`] when the elements are no whole number of elements, or do not fit the record.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let length = element_length(self.element_field).ok_or(Error::Unencodable)?;
        let (unit, spacing) = self.spacing.code().ok_or(Error::Unencodable)?;
        if !self.elements.len().is_multiple_of(length) || self.elements.len() > Data::MAX_TEXT - 2 {
            return Err(Error::Unencodable);
        }
        let mut value = Vec::new();
        value.push((self.increment as u8) << 6 | unit << 4 | self.element_field);
        value.push(spacing);
        value.extend_from_slice(self.elements);
        Ok(value)
    }

    /// The elements as numbers, oldest or youngest first by [`Profile::kind`]; `None` for invalid ones:
    /// all ones where they have no sign, the smallest number where they have one, digits that are none.
    pub fn elements(&self) -> impl Iterator<Item = Option<i64>> + use<'a> {
        let length = element_length(self.element_field).unwrap_or(1);
        let field = self.element_field;
        let signed = matches!(self.increment, Increment::Absolute | Increment::Difference);
        self.elements
            .chunks_exact(length)
            .map(move |bytes| match field {
                9..=0x0e => bcd(bytes),
                5 => None,
                _ if signed => integer(bytes).filter(|number| {
                    let unused = 64 - 8 * length;
                    *number != i64::MIN >> unused
                }),
                _ => unsigned(bytes)
                    .filter(|_| bytes.iter().any(|byte| *byte != 0xff))
                    .and_then(|number| i64::try_from(number).ok()),
            })
    }

    /// The values: elements as such, or added up from the base value. After an invalid increment no
    /// further value is known.
    pub fn values(&self, base: Option<i64>) -> impl Iterator<Item = Option<i64>> + use<'a> {
        let increment = self.increment;
        let backwards = self.kind == ProfileKind::Inverse;
        let mut last = base;
        self.elements().map(move |element| {
            last = match (increment, element) {
                (Increment::Absolute, element) => element,
                (_, None) => None,
                (step, Some(element)) => last.and_then(|last| {
                    if (step == Increment::Removed) == backwards {
                        last.checked_add(element)
                    } else {
                        last.checked_sub(element)
                    }
                }),
            };
            last
        })
    }

    /// The moments of the elements, counted from the base time. `None` for spacings that are none in
    /// time, an invalid base, and beyond the years 1900 to 2299.
    ///
    /// Months keep the day, and the last day of a month stays the last one. Half months alternate between
    /// a day and the one 15 days on (assumed).
    pub fn moments(&self, base: DateTime) -> impl Iterator<Item = Option<DateTime>> + use<'a> {
        let spacing = self.spacing;
        let sign = if self.kind == ProfileKind::Inverse {
            -1
        } else {
            1
        };
        let length = element_length(self.element_field).unwrap_or(1);
        let count = self.elements.chunks_exact(length).len();
        (1..=count).map(move |steps| {
            if !base.is_valid() {
                return None;
            }
            spacing.shift(base, sign * i64::try_from(steps).ok()?)
        })
    }
}

impl Spacing {
    const fn of(unit: u8, value: u8) -> Self {
        match (unit, value) {
            (_, 0) => Self::Array(unit + 1),
            (0, 1..=250) => Self::Seconds(value),
            (1, 1..=250) => Self::Minutes(value),
            (2, 1..=250) => Self::Hours(value),
            (3, 1..=250) => Self::Days(value),
            (3, 253) => Self::HalfMonth,
            (3, 254) => Self::Months(1),
            (2, 254) => Self::Months(3),
            (1, 254) => Self::Months(6),
            _ => Self::Reserved(unit, value),
        }
    }

    /// Unit bits and spacing value.
    const fn code(self) -> Option<(u8, u8)> {
        Some(match self {
            Self::Array(size @ 1..=4) => (size - 1, 0),
            Self::Seconds(value @ 1..=250) => (0, value),
            Self::Minutes(value @ 1..=250) => (1, value),
            Self::Hours(value @ 1..=250) => (2, value),
            Self::Days(value @ 1..=250) => (3, value),
            Self::HalfMonth => (3, 253),
            Self::Months(1) => (3, 254),
            Self::Months(3) => (2, 254),
            Self::Months(6) => (1, 254),
            Self::Reserved(unit @ 0..=3, value) => (unit, value),
            _ => return None,
        })
    }

    fn shift(self, base: DateTime, steps: i64) -> Option<DateTime> {
        let seconds = |unit: i64, count: u8| add_seconds(base, steps * unit * i64::from(count));
        match self {
            Self::Seconds(count) => seconds(1, count),
            Self::Minutes(count) => seconds(60, count),
            Self::Hours(count) => seconds(3600, count),
            Self::Days(count) => seconds(DAY, count),
            Self::HalfMonth => {
                let whole = add_months(base, steps.div_euclid(2))?;
                add_seconds(whole, steps.rem_euclid(2) * 15 * DAY)
            }
            Self::Months(count) => add_months(base, steps * i64::from(count)),
            Self::Array(_) | Self::Reserved(..) => None,
        }
    }
}

/// Bytes of an element of a data field.
fn element_length(field: u8) -> Option<usize> {
    match field {
        1..=4 => Some(usize::from(field)),
        5 => Some(4),
        6 | 0x0e => Some(6),
        7 => Some(8),
        9..=0x0c => Some(usize::from(field - 8)),
        _ => None,
    }
}

fn add_seconds(base: DateTime, seconds: i64) -> Option<DateTime> {
    let Time {
        hour,
        minute,
        second,
    } = base.time;
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let days = days_of(
        i64::from(base.year()),
        i64::from(base.date.month),
        i64::from(base.date.day),
    );
    let total = days * DAY + of_day + seconds;
    let (year, month, day) = day_of(total.div_euclid(DAY));
    let of_day = total.rem_euclid(DAY);
    moment(
        base,
        (year, month, day),
        Time {
            hour: u8::try_from(of_day / 3600).ok()?,
            minute: u8::try_from(of_day / 60 % 60).ok()?,
            second: u8::try_from(of_day % 60).ok()?,
        },
    )
}

fn add_months(base: DateTime, months: i64) -> Option<DateTime> {
    let months = i64::from(base.year()) * 12 + i64::from(base.date.month) - 1 + months;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
    let day = i64::from(base.date.day);
    let last = |year, month| days_of(year, month + 1, 1) - days_of(year, month, 1);
    let was_last = day == last(i64::from(base.year()), i64::from(base.date.month));
    let limit = last(year, month);
    let day = if was_last { limit } else { day.min(limit) };
    moment(base, (year, month, day), base.time)
}

/// A moment whose day of week, week and daylight saving flags are not worked out.
fn moment(base: DateTime, (year, month, day): (i64, i64, i64), time: Time) -> Option<DateTime> {
    let since = u16::try_from(year - 1900).ok().filter(|year| *year < 400)?;
    let (century, year) = ((since / 100) as u8, (since % 100) as u8);
    Some(DateTime {
        date: Date {
            day: u8::try_from(day).ok()?,
            month: u8::try_from(month).ok()?,
            year,
        },
        time,
        // As the base writes it: 2000 to 2080 also without a century.
        century: if base.century == 0 && century == 1 && year <= 80 {
            0
        } else {
            century
        },
        invalid: false,
        summer: base.summer,
        calendar: None,
    })
}

/// Days since 1970-01-01 of the Gregorian calendar; month 13 is the January after.
const fn days_of(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last of its year.
    let months = year * 12 + month - 3;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 719_469
}

/// Year, month and day of days since 1970-01-01.
const fn day_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let months = (era * 400 + year) * 12 + month + 2;
    (months.div_euclid(12), months.rem_euclid(12) + 1, day)
}

const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_counts_every_day_once() {
        assert_eq!(days_of(1970, 1, 1), 0);
        assert_eq!(days_of(2000, 3, 1), 11_017);
        assert_eq!(days_of(2023, 13, 1), days_of(2024, 1, 1));
        for days in days_of(1899, 12, 1)..days_of(2300, 1, 1) {
            let (year, month, day) = day_of(days);
            assert_eq!(days_of(year, month, day), days);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        }
    }

    #[test]
    fn half_months_and_ends_of_months() {
        let base = |day, month, year| DateTime {
            date: Date { day, month, year },
            ..DateTime::from_type_f([0; 4])
        };
        let date = |at: Option<DateTime>| at.map(|at| (at.year(), at.date.month, at.date.day));
        let end = base(31, 1, 24);
        assert_eq!(date(Spacing::Months(1).shift(end, 1)), Some((2024, 2, 29)));
        assert_eq!(
            date(Spacing::Months(3).shift(end, -1)),
            Some((2023, 10, 31))
        );
        assert_eq!(
            date(Spacing::HalfMonth.shift(base(1, 3, 24), 1)),
            Some((2024, 3, 16))
        );
        assert_eq!(
            date(Spacing::HalfMonth.shift(base(1, 3, 24), -1)),
            Some((2024, 2, 16))
        );
        assert_eq!(date(Spacing::Days(250).shift(base(1, 1, 99), 2000)), None);
    }
}
