// SPDX-License-Identifier: MIT OR Apache-2.0
//! P1 ports (DSMR, ESMR, e-MUCS): the checksum behind `!`, meters behind the meter, the power failure log.
//!
//! Find telegrams with [`crate::Framer`]; they have the form of mode D.

use alloc::vec::Vec;
use core::fmt;

use crate::block::Block;
use crate::identification::Identification;
use crate::line::{DataSet, Value};
use crate::telegram::Telegram;

/// Most bytes of a telegram; the longest seen have a text message of 2048 digits.
pub const MAX_TELEGRAM: usize = 16 * 1024;

/// What the checksum behind `!` says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Crc {
    /// Four digits, as computed.
    Good,
    /// As computed, but printed without leading zeros, as some meters do.
    GoodUnpadded,
    /// Not as computed.
    Wrong {
        /// Computed.
        expected: u16,
        /// Received; `None` when that is no number of up to four hex digits.
        got: Option<u16>,
    },
    /// There is none: DSMR up to 3.
    Absent,
}

/// CRC-16/ARC over `covered`: everything from `/` up to and with `!`.
pub fn crc(covered: &[u8]) -> u16 {
    covered.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xa001
            } else {
                crc >> 1
            }
        })
    })
}

impl Telegram<'_> {
    /// The verdict on the checksum behind `!`.
    pub fn crc(&self) -> Crc {
        let tail = self.block.tail;
        let Some(covered) = self.up_to_bang().filter(|_| !tail.is_empty()) else {
            return Crc::Absent;
        };
        let expected = crc(covered);
        let digits = core::str::from_utf8(tail).ok();
        let digits = digits
            .filter(|text| text.len() <= 4 && text.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let got = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        match got {
            Some(got) if got == expected && tail.len() == 4 => Crc::Good,
            Some(got) if got == expected => Crc::GoodUnpadded,
            got => Crc::Wrong { expected, got },
        }
    }
}

/// Writes a telegram with its checksum.
pub fn encode(identification: &Identification<'_>, lines: &[u8]) -> Vec<u8> {
    let mut telegram = [&identification.encode(), &b"\r\n"[..], lines, b"!"].concat();
    let crc = crc(&telegram);
    let digit = |shift: u32| {
        b"0123456789ABCDEF"
            .get(usize::from(crc >> shift & 15))
            .copied()
    };
    telegram.extend([12, 8, 4, 0].into_iter().filter_map(digit));
    telegram.extend_from_slice(b"\r\n");
    telegram
}

/// `YYMMDDhhmmss` in local time, with `S` or `W` behind it since DSMR 4.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp {
    /// 2000 to 2099.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// Whether it is summer time, where the meter tells.
    pub summer: Option<bool>,
}

impl Timestamp {
    /// Reads a time stamp; `None` for anything else, and for the `632525252525W` of an empty place.
    pub fn parse(text: &str) -> Option<Self> {
        let (digits, letter) = text.split_at_checked(12)?;
        let summer = match letter {
            "" => None,
            "S" => Some(true),
            "W" => Some(false),
            _ => return None,
        };
        let mut pairs = [0; 6];
        let (chunks, _) = digits.as_bytes().as_chunks::<2>();
        for (pair, [tens, ones]) in pairs.iter_mut().zip(chunks) {
            if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
                return None;
            }
            *pair = (tens - b'0') * 10 + (ones - b'0');
        }
        let [year, month, day, hour, minute, second] = pairs;
        let exists = (1..=12).contains(&month) && (1..=31).contains(&day);
        (exists && hour < 24 && minute < 60 && second < 60).then_some(Self {
            year: 2000 + u16::from(year),
            month,
            day,
            hour,
            minute,
            second,
            summer,
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

/// A meter behind the meter, on M-Bus channel 1 to 4 (codes `0-n:24.x.x` and `0-n:96.1.x`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Device<'a> {
    /// n.
    pub channel: u8,
    /// M-Bus device type, e.g. 3 gas, 4 heat, 7 water.
    pub kind: Option<u8>,
    /// Its id as the port prints it, mostly hex digits of ASCII.
    pub id: Option<&'a str>,
    /// When the value was taken.
    pub time: Option<Timestamp>,
    /// Its latest value.
    pub value: Option<Value<'a>>,
    /// Position of its valve.
    pub valve: Option<&'a str>,
}

/// The meters behind the meter, by channel.
pub fn devices<'a>(block: &Block<'a>) -> Vec<Device<'a>> {
    let mut devices: Vec<Device<'a>> = Vec::new();
    for set in block.sets().flatten() {
        let Some(code) = set.code() else { continue };
        let Some((0, channel @ 1..)) = code.ab else {
            continue;
        };
        let at = devices.iter().position(|device| device.channel == channel);
        let index = at.unwrap_or_else(|| {
            devices.push(Device {
                channel,
                ..Device::default()
            });
            devices.len() - 1
        });
        let Some(device) = devices.get_mut(index) else {
            continue;
        };
        match (code.c, code.d.unwrap_or(0)) {
            (24, 1) => device.kind = set.brackets().next().and_then(|kind| kind.parse().ok()),
            (96, 1) => device.id = set.brackets().next().filter(|id| !id.is_empty()),
            (24, 2 | 3) => reading(device, &set),
            (24, 4) => device.valve = set.brackets().next(),
            _ => {}
        }
    }
    devices
}

/// `(time)(value*unit)`, and `(time)(status)(..)(unit)` with the value last as DSMR 2 and 3 have it.
fn reading<'a>(device: &mut Device<'a>, set: &DataSet<'a>) {
    let mut brackets = set.brackets();
    device.time = brackets.next().and_then(Timestamp::parse);
    let rest: Vec<_> = brackets.collect();
    let mut last = set.values().last();
    if let ([.., unit, _], Some(value)) = (rest.as_slice(), &mut last)
        && value.unit.is_none()
    {
        value.unit = Some(unit);
    }
    device.value = last.filter(|value| value.number().is_some());
}

/// The long power failures of `1-0:99.97.0(count)(code)(end)(duration*s)..`: when each ended, and how
/// long it took. Entries whose end is no time are left out.
pub fn power_failures<'a>(block: &Block<'a>) -> impl Iterator<Item = (Timestamp, Value<'a>)> {
    let log = |set: &DataSet<'a>| {
        let code = set.code()?;
        (code.ab == Some((1, 0)) && (code.c, code.d) == (99, Some(97))).then_some(())
    };
    let mut sets = block.sets().flatten();
    let set = sets.find(|set| log(set).is_some());
    let mut values = set
        .into_iter()
        .flat_map(|set| set.values().skip(2).collect::<Vec<_>>());
    core::iter::from_fn(move || Some((values.next()?, values.next()?)))
        .filter_map(|(end, duration)| Some((Timestamp::parse(end.text)?, duration)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_check_value() {
        assert_eq!(crc(b"123456789"), 0xbb3d);
    }

    #[test]
    fn time_stamps_are_checked() {
        let time = Timestamp::parse("170102192002W").unwrap();
        assert_eq!(alloc::format!("{time}"), "2017-01-02T19:20:02");
        assert_eq!(time.summer, Some(false));
        assert_eq!(Timestamp::parse("632525252525W"), None);
        assert_eq!(Timestamp::parse("17010219200"), None);
        assert_eq!(Timestamp::parse("170102192002X"), None);
    }
}
