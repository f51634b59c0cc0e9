// SPDX-License-Identifier: MIT OR Apache-2.0
//! SML_Time (SML 1.05 §6.3), with the two ways meters get it wrong.

use alloc::vec::Vec;

use crate::coded::{Coded, Read, Reader};
use crate::error::ErrorKind;
use crate::tl::{self, Kind};
use crate::{Int, Quirk};

/// A time as a meter tells it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Time {
    /// What the seconds count.
    pub choice: TimeChoice,
    /// The seconds.
    pub seconds: Int<u32>,
    /// Offsets of the local time, in minutes. They belong to [`TimeChoice::Local`]; anywhere else they
    /// are the quirk [`Quirk::TimeList`].
    pub offsets: Option<Offsets>,
}

/// What the seconds of a [`Time`] count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TimeChoice {
    /// Nothing is said, there is the bare number ([`Quirk::BareTime`]): seconds of operation.
    Bare,
    /// Seconds of operation of the meter.
    #[default]
    SecIndex,
    /// Seconds since 1970-01-01T00:00:00Z.
    Timestamp,
    /// Seconds since 1970-01-01T00:00:00Z, with the offsets of the local time.
    Local,
}

/// How far local time is ahead of UTC, in minutes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offsets {
    /// By the time zone.
    pub zone: Int<i16>,
    /// By the season, on top.
    pub season: Int<i16>,
}

impl Time {
    /// Seconds of operation, in four bytes.
    pub fn sec_index(seconds: u32) -> Self {
        Self {
            choice: TimeChoice::SecIndex,
            seconds: seconds.into(),
            offsets: None,
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z, in four bytes.
    pub fn timestamp(seconds: u32) -> Self {
        Self {
            choice: TimeChoice::Timestamp,
            ..Self::sec_index(seconds)
        }
    }

    /// Seconds since 1970-01-01T00:00:00Z and the minutes by which zone and season are ahead of UTC.
    pub fn local(seconds: u32, zone: i16, season: i16) -> Self {
        Self {
            choice: TimeChoice::Local,
            offsets: Some(Offsets {
                zone: zone.into(),
                season: season.into(),
            }),
            ..Self::sec_index(seconds)
        }
    }

    /// Seconds of operation of the meter, if that is what is told.
    pub const fn operation_seconds(&self) -> Option<u32> {
        match self.choice {
            TimeChoice::Bare | TimeChoice::SecIndex => Some(self.seconds.value),
            TimeChoice::Timestamp | TimeChoice::Local => None,
        }
    }
}

impl<'a> Coded<'a> for Time {
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        if tl::kind(reader.rest)? == Kind::Unsigned {
            reader.deviates(Quirk::BareTime)?;
            return Ok(Self {
                choice: TimeChoice::Bare,
                seconds: Coded::read(reader)?,
                offsets: None,
            });
        }
        reader.record(2, |reader| {
            let choice = match u8::read(reader)? {
                1 => TimeChoice::SecIndex,
                2 => TimeChoice::Timestamp,
                3 => TimeChoice::Local,
                _ => return reader.refuse(ErrorKind::OutOfRange),
            };
            if choice != TimeChoice::Local {
                if tl::kind(reader.rest)? != Kind::List {
                    let seconds = Coded::read(reader)?;
                    return Ok(Self {
                        choice,
                        seconds,
                        offsets: None,
                    });
                }
                reader.deviates(Quirk::TimeList)?;
            }
            reader.record(3, |reader| {
                Ok(Self {
                    choice,
                    seconds: Coded::read(reader)?,
                    offsets: Some(Offsets {
                        zone: Coded::read(reader)?,
                        season: Coded::read(reader)?,
                    }),
                })
            })
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let tag = match self.choice {
            TimeChoice::Bare => None,
            TimeChoice::SecIndex => Some(1),
            TimeChoice::Timestamp => Some(2),
            TimeChoice::Local => Some(3u8),
        };
        if let Some(tag) = tag {
            tl::write_header(out, Kind::List, 2);
            tag.write(out);
        }
        if let Some(offsets) = self.offsets {
            tl::write_header(out, Kind::List, 3);
            self.seconds.write(out);
            offsets.zone.write(out);
            offsets.season.write(out);
        } else {
            self.seconds.write(out);
        }
    }
}
