// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dates and times (EN 13757-3 annex A, types F, G, I, J).

/// Type G. Fields as sent; some values stand for "every" instead of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Date {
    /// 1 to 31; 0: every day.
    pub day: u8,
    /// 1 to 12; 15: every month.
    pub month: u8,
    /// 0 to 99 (127: every year), counted from 2000 unless a century says otherwise.
    pub year: u8,
}

/// Types F and I.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DateTime {
    /// The day.
    pub date: Date,
    /// The time of day; type F has no seconds.
    pub time: Time,
    /// Hundreds of years since 1900 (type F).
    pub century: u8,
    /// The meter marks the time as invalid.
    pub invalid: bool,
    /// Daylight saving time.
    pub summer: bool,
    /// What type I tells beyond; absent in type F.
    pub calendar: Option<Calendar>,
}

/// What type I tells beyond type F.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Calendar {
    /// The year is a leap year.
    pub leap_year: bool,
    /// Day of week, 1 Monday to 7 Sunday, 0 not given.
    pub weekday: u8,
    /// Week of the year, 1 to 53, 0 not given.
    pub week: u8,
    /// Hours daylight saving time deviates by, 0 to 3.
    pub deviation: u8,
    /// Daylight saving time is ahead of standard time (sign bit of the deviation).
    pub ahead: bool,
}

/// Type J, and the time of day of the others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Time {
    /// 0 to 23; 31: every hour.
    pub hour: u8,
    /// 0 to 59; 63: every minute.
    pub minute: u8,
    /// 0 to 59; 63: every second.
    pub second: u8,
}

impl Date {
    /// Type G from its two bytes.
    pub const fn from_bytes([low, high]: [u8; 2]) -> Self {
        Self {
            day: low & 0x1f,
            month: high & 0x0f,
            year: low >> 5 | high >> 1 & 0x78,
        }
    }

    /// Type G; parts beyond their bits lose them.
    pub const fn to_bytes(self) -> [u8; 2] {
        [
            self.day & 0x1f | self.year << 5,
            self.month & 0x0f | self.year << 1 & 0xf0,
        ]
    }

    /// Whether this is one day: 0000, FFFF and "every" are none.
    pub const fn is_valid(self) -> bool {
        matches!((self.day, self.month, self.year), (1..=31, 1..=12, 0..=99))
    }
}

impl Time {
    /// Type J from its three bytes.
    pub const fn from_bytes([second, minute, hour]: [u8; 3]) -> Self {
        Self {
            hour,
            minute,
            second,
        }
    }

    /// Type J.
    pub const fn to_bytes(self) -> [u8; 3] {
        [self.second, self.minute, self.hour]
    }

    /// Whether this is one time of day.
    pub const fn is_valid(self) -> bool {
        self.hour < 24 && self.minute < 60 && self.second < 60
    }
}

impl DateTime {
    /// Type F.
    pub const fn from_type_f([minute, hour, low, high]: [u8; 4]) -> Self {
        Self {
            date: Date::from_bytes([low, high]),
            time: Time {
                hour: hour & 0x1f,
                minute: minute & 0x3f,
                second: 0,
            },
            century: hour >> 5 & 3,
            invalid: minute & 0x80 != 0,
            summer: hour & 0x80 != 0,
            calendar: None,
        }
    }

    /// Type F; seconds and calendar are left out, parts beyond their bits lose them.
    pub const fn to_type_f(self) -> [u8; 4] {
        let [low, high] = self.date.to_bytes();
        [
            self.time.minute & 0x3f | (self.invalid as u8) << 7,
            self.time.hour & 0x1f | (self.century & 3) << 5 | (self.summer as u8) << 7,
            low,
            high,
        ]
    }

    /// Type I.
    pub const fn from_type_i([second, minute, hour, low, high, week]: [u8; 6]) -> Self {
        Self {
            date: Date::from_bytes([low, high]),
            time: Time {
                hour: hour & 0x1f,
                minute: minute & 0x3f,
                second: second & 0x3f,
            },
            century: 0,
            invalid: minute & 0x80 != 0,
            summer: second & 0x40 != 0,
            calendar: Some(Calendar {
                leap_year: second & 0x80 != 0,
                weekday: hour >> 5,
                week: week & 0x3f,
                deviation: week >> 6,
                ahead: minute & 0x40 != 0,
            }),
        }
    }

    /// Type I; the century is left out, parts beyond their bits lose them.
    pub const fn to_type_i(self) -> [u8; 6] {
        let calendar = match self.calendar {
            Some(calendar) => calendar,
            None => Calendar {
                leap_year: false,
                weekday: 0,
                week: 0,
                deviation: 0,
                ahead: false,
            },
        };
        let [low, high] = self.date.to_bytes();
        [
            self.time.second & 0x3f | (self.summer as u8) << 6 | (calendar.leap_year as u8) << 7,
            self.time.minute & 0x3f | (calendar.ahead as u8) << 6 | (self.invalid as u8) << 7,
            self.time.hour & 0x1f | calendar.weekday << 5,
            low,
            high,
            calendar.week & 0x3f | calendar.deviation << 6,
        ]
    }

    /// The full year: without a century, 0 to 80 mean 2000 to 2080.
    pub const fn year(&self) -> u16 {
        let century = if self.century == 0 && self.date.year <= 80 {
            1
        } else {
            self.century as u16
        };
        1900 + 100 * century + self.date.year as u16
    }

    /// Whether this is one moment the meter stands by.
    pub const fn is_valid(&self) -> bool {
        !self.invalid && self.date.is_valid() && self.time.is_valid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let date = Date::from_bytes([0xcd, 0x13]);
        assert_eq!((date.day, date.month, date.year), (13, 3, 14));
        let at = DateTime::from_type_f([0x0b, 0x0b, 0xcd, 0x13]);
        assert_eq!((at.year(), at.time.hour, at.time.minute), (2014, 11, 11));
        assert!(at.is_valid());
        assert!(!DateTime::from_type_f([0x80, 0, 0x01, 0x01]).is_valid());
        assert!(!Date::from_bytes([0, 0]).is_valid());
        assert!(!Date::from_bytes([0xff, 0xff]).is_valid());
    }

    #[test]
    fn every_byte_of_a_date_is_kept() {
        for low in 0..=255u8 {
            for high in 0..=255u8 {
                let bytes = [low, high];
                assert_eq!(Date::from_bytes(bytes).to_bytes(), bytes);
                // Bit 6 of the minute of type F is reserved.
                let f = [low & 0xbf, high, high, low];
                assert_eq!(DateTime::from_type_f(f).to_type_f(), f);
                let i = [low, high, low, high, low, high];
                assert_eq!(DateTime::from_type_i(i).to_type_i(), i);
            }
        }
    }
}
