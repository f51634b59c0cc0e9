// SPDX-License-Identifier: MIT OR Apache-2.0
//! What host and probe say: one command or reply in each line, words and decimal numbers between single spaces.
//!
//! | host                  | probe                                                             |
//! |-----------------------|-------------------------------------------------------------------|
//! | `info`                | `info 1 HERTZ CAPACITY`: version, counts per second, stamps kept  |
//! | `start`               | `ok`: stamps are kept from here on, their numbers begin at zero   |
//! | `stop`                | `ok`                                                              |
//! | `now`                 | `now TICKS`                                                       |
//! | `read FROM`           | `stamp NUMBER r TICKS` (or `f`) …, `end NEXT LOST`; forgets stamps before FROM |
//! | `pulse COUNT PERIOD`  | `ok`: that many pulses, one each PERIOD counts                    |
//! | anything else         | `error unknown`, `error damaged`, `error busy`, `error range`     |

use core::fmt::{self, Display, Formatter};
use core::str::{FromStr, Split};

use crate::stamps::Stamp;

/// The version of this protocol.
const VERSION: u32 = 1;

/// What the host wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// Who is there?
    Info,
    /// Keep stamps, beginning with number zero.
    Start,
    /// Keep no further stamps.
    Stop,
    /// What time is it?
    Now,
    /// Give stamps, and forget those with numbers before this one.
    Read {
        /// Number of the first stamp that the host does not have.
        from: u64,
    },
    /// Generate pulses.
    Pulse {
        /// How many.
        count: u32,
        /// Counts of the timer from one to the next.
        period: u32,
    },
}

/// What the probe says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Who is there.
    Info {
        /// Counts of the timer in a second.
        hertz: u32,
        /// Stamps it keeps.
        capacity: u32,
    },
    /// It is done, or has begun.
    Done,
    /// The time.
    Now {
        /// Counts since the counter was started.
        ticks: u64,
    },
    /// A stamp; further ones or [`Reply::End`] follow.
    Stamp(Stamp),
    /// No further stamps in this answer.
    End {
        /// The number the next edge gets: there is more to read when the last stamp's is not the one before.
        next: u64,
        /// Edges since the start that have no stamp.
        lost: u64,
    },
    /// Not done.
    Refused(Refusal),
}

/// Why a command is not obeyed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is no such command.
    Unknown,
    /// The line was damaged on its way.
    Damaged,
    /// Earlier pulses are still under way.
    Busy,
    /// The board cannot make such pulses.
    Range,
}

const REFUSALS: [(Refusal, &str); 4] = [
    (Refusal::Unknown, "unknown"),
    (Refusal::Damaged, "damaged"),
    (Refusal::Busy, "busy"),
    (Refusal::Range, "range"),
];

/// The words of a line.
struct Words<'a>(Split<'a, char>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        Self(text.split(' '))
    }

    fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    /// A decimal number, without sign.
    fn number<T: FromStr>(&mut self) -> Option<T> {
        let digits = self.word()?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| is_number)
    }

    /// The value, when no word is left.
    fn end<T>(mut self, value: T) -> Option<T> {
        self.word().is_none().then_some(value)
    }
}

impl Command {
    /// The command in a line's text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = Words::of(text);
        let command = match words.word()? {
            "info" => Self::Info,
            "start" => Self::Start,
            "stop" => Self::Stop,
            "now" => Self::Now,
            "read" => Self::Read {
                from: words.number()?,
            },
            "pulse" => Self::Pulse {
                count: words.number()?,
                period: words.number()?,
            },
            _ => return None,
        };
        words.end(command)
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info => f.write_str("info"),
            Self::Start => f.write_str("start"),
            Self::Stop => f.write_str("stop"),
            Self::Now => f.write_str("now"),
            Self::Read { from } => write!(f, "read {from}"),
            Self::Pulse { count, period } => write!(f, "pulse {count} {period}"),
        }
    }
}

impl Reply {
    /// The reply in a line's text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = Words::of(text);
        let reply = match words.word()? {
            "info" if words.number::<u32>()? == VERSION => Self::Info {
                hertz: words.number()?,
                capacity: words.number()?,
            },
            "ok" => Self::Done,
            "now" => Self::Now {
                ticks: words.number()?,
            },
            "stamp" => Self::Stamp(Stamp {
                number: words.number()?,
                rising: match words.word()? {
                    "r" => true,
                    "f" => false,
                    _ => return None,
                },
                ticks: words.number()?,
            }),
            "end" => Self::End {
                next: words.number()?,
                lost: words.number()?,
            },
            "error" => {
                let word = words.word()?;
                let known = REFUSALS.iter().find(|(_, name)| *name == word);
                Self::Refused(known?.0)
            }
            _ => return None,
        };
        words.end(reply)
    }
}

impl Display for Reply {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info { hertz, capacity } => write!(f, "info {VERSION} {hertz} {capacity}"),
            Self::Done => f.write_str("ok"),
            Self::Now { ticks } => write!(f, "now {ticks}"),
            Self::Stamp(stamp) => {
                let edge = if stamp.rising { 'r' } else { 'f' };
                write!(f, "stamp {} {edge} {}", stamp.number, stamp.ticks)
            }
            Self::End { next, lost } => write!(f, "end {next} {lost}"),
            Self::Refused(refusal) => {
                let known = REFUSALS.iter().find(|(known, _)| known == refusal);
                write!(f, "error {}", known.map_or("unknown", |(_, name)| name))
            }
        }
    }
}
