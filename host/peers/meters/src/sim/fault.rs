// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that can go wrong with a meter or its line, each by name, and when it does.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use smgw_units::Nanos;

use crate::profile::Span;

/// Something that goes wrong with a telegram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// See [`Fault::TABLE`], like all the others.
    Silent,
    /// The port is gone for this long.
    Vanish(Duration),
    /// Another speed.
    WrongBaud,
    /// Pause before each byte.
    SingleBytes(Duration),
    /// Held back for the next.
    Merge,
    /// Pause in the middle.
    Gap(Duration),
    /// Bytes before.
    Garbage(usize),
    /// Bytes behind.
    Trailing(usize),
    /// Bytes missing at the end; half of the telegram when 0.
    Truncate(usize),
    /// Checksum.
    BadChecksum,
    /// Length field.
    BadLength,
    /// Stop byte.
    BadStop,
    /// One bit.
    BitFlip,
    /// The previous telegram again.
    Duplicate,
    /// This many bytes, at once.
    Flood(usize),
    /// Late by this.
    Late(Duration),
    /// Early.
    Early,
    /// No acknowledgement.
    NoAck,
    /// Two devices at once.
    Collision,
    /// The request comes back first.
    Echo,
    /// Busy bit.
    Busy,
    /// Frame count bit ignored.
    StuckCounter,
    /// Another device's id.
    WrongId,
    /// The first register is left out.
    MissingRegister,
    /// Numbers smaller by this.
    Decrease(i64),
    /// The clock is set by this, from then on.
    ClockStep(i64),
    /// Message authentication code.
    WrongMac,
    /// The message counter does not rise.
    StaleCounter,
    /// Checksum of the header.
    WrongHcs,
    /// Two meters have one address.
    DuplicateAddress,
}

/// What a fault is called and does.
#[derive(Clone, Copy, Debug)]
pub struct FaultKind {
    /// Its name.
    pub name: &'static str,
    /// Its measure when none is given; empty for faults without.
    pub default: &'static str,
    /// Where it makes sense.
    pub on: &'static str,
    /// What goes wrong.
    pub does: &'static str,
    /// What a good reader does.
    pub expect: &'static str,
    make: fn(Measure<'_>) -> Option<Fault>,
}

/// The measure of a fault, as text; empty for none.
#[derive(Clone, Copy)]
struct Measure<'a>(&'a str);

impl Measure<'_> {
    fn none(self, fault: Fault) -> Option<Fault> {
        self.0.is_empty().then_some(fault)
    }

    fn length(self) -> Option<Duration> {
        let span: Span = self.0.parse().ok()?;
        (span.0 >= 0).then(|| span.length())
    }

    /// A count, with k or M for thousands and millions, and B for bytes if liked.
    fn count(self) -> Option<usize> {
        let text = self.0.strip_suffix('B').unwrap_or(self.0);
        let (digits, factor) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
            (Some(digits), _) => (digits, 1_000),
            (_, Some(digits)) => (digits, 1_000_000),
            _ => (text, 1),
        };
        let count = digits.parse::<usize>().ok()?.checked_mul(factor)?;
        (count <= MOST_BYTES).then_some(count)
    }
}

const fn kind(
    name: &'static str,
    default: &'static str,
    on: &'static str,
    does: &'static str,
    expect: &'static str,
    make: fn(Measure<'_>) -> Option<Fault>,
) -> FaultKind {
    FaultKind {
        name,
        default,
        on,
        does,
        expect,
        make,
    }
}

impl Fault {
    /// Every fault.
    pub const TABLE: [FaultKind; 30] = [
        kind(
            "silent",
            "",
            "all",
            "nothing is sent",
            "a deadline ends the wait, the gap is recorded with its reason",
            |m| m.none(Self::Silent),
        ),
        kind(
            "vanish",
            "2s",
            "all",
            "the port disappears in mid-frame and comes back after the given time",
            "notices, opens it again, loses one telegram",
            |m| m.length().map(Self::Vanish),
        ),
        kind(
            "wrong-baud",
            "",
            "all",
            "the bytes are what a UART at another speed makes of them",
            "counts errors, says \"framing\", does not crash",
            |m| m.none(Self::WrongBaud),
        ),
        kind(
            "single-bytes",
            "2ms",
            "all",
            "every byte comes alone, with a pause before it",
            "the same values as without",
            |m| m.length().map(Self::SingleBytes),
        ),
        kind(
            "merge",
            "",
            "pushing",
            "the telegram is held back and sent right before the next",
            "both are read",
            |m| m.none(Self::Merge),
        ),
        kind(
            "gap",
            "300ms",
            "all",
            "a pause in the middle of the telegram",
            "within the allowed gap the same values, otherwise an error and recovery",
            |m| m.length().map(Self::Gap),
        ),
        kind(
            "garbage",
            "8",
            "all",
            "random bytes before the telegram",
            "drops and counts them, reads the telegram",
            |m| m.count().map(Self::Garbage),
        ),
        kind(
            "trailing",
            "1",
            "all",
            "random bytes behind the telegram",
            "drops and counts them",
            |m| m.count().map(Self::Trailing),
        ),
        kind(
            "truncate",
            "0",
            "all",
            "bytes are missing at the end; 0 stands for half of the telegram",
            "gives it up and reads the next",
            |m| m.count().map(Self::Truncate),
        ),
        kind(
            "bad-checksum",
            "",
            "all but d0-push",
            "the checksum is wrong",
            "refuses, counts, asks again",
            |m| m.none(Self::BadChecksum),
        ),
        kind(
            "bad-length",
            "",
            "sml mbus hdlc-lmn",
            "a length field lies: too much",
            "refuses, allocates nothing, reads the next",
            |m| m.none(Self::BadLength),
        ),
        kind(
            "bad-stop",
            "",
            "mbus hdlc-lmn",
            "the last byte of the frame is wrong",
            "refuses, asks again",
            |m| m.none(Self::BadStop),
        ),
        kind(
            "bit-flip",
            "",
            "all",
            "one random bit is inverted",
            "never takes a falsified value",
            |m| m.none(Self::BitFlip),
        ),
        kind(
            "duplicate",
            "",
            "all",
            "the previous telegram comes again, byte for byte",
            "one value, not two",
            |m| m.none(Self::Duplicate),
        ),
        kind(
            "flood",
            "10MB",
            "all",
            "this many random bytes at once, then the telegram",
            "bounded memory, the session survives",
            |m| m.count().map(Self::Flood),
        ),
        kind(
            "late",
            "3.4s",
            "all",
            "the telegram comes this much later; values stay those of the right instant",
            "inside the limit a pass, outside a fail",
            |m| m.length().map(Self::Late),
        ),
        kind(
            "early",
            "",
            "mbus",
            "the answer begins before the shortest pause of the standard",
            "reads it, reports the violation",
            |m| m.none(Self::Early),
        ),
        kind(
            "no-ack",
            "",
            "mbus hdlc-lmn",
            "acknowledgements are left out",
            "repeats, then says who stays silent",
            |m| m.none(Self::NoAck),
        ),
        kind(
            "collision",
            "",
            "mbus",
            "a second device answers at the same time",
            "refuses, says \"collision\"",
            |m| m.none(Self::Collision),
        ),
        kind(
            "echo",
            "",
            "mbus",
            "the request comes back before the answer, as some level converters do",
            "skips it",
            |m| m.none(Self::Echo),
        ),
        kind(
            "busy",
            "",
            "mbus",
            "the meter says it is busy (DFC)",
            "waits and asks again",
            |m| m.none(Self::Busy),
        ),
        kind(
            "stuck-counter",
            "",
            "mbus",
            "the frame count bit is ignored: repeats bring new data",
            "notices the access number",
            |m| m.none(Self::StuckCounter),
        ),
        kind(
            "wrong-id",
            "",
            "all",
            "the telegram names another device",
            "keeps the values apart",
            |m| m.none(Self::WrongId),
        ),
        kind(
            "missing-register",
            "",
            "all",
            "the first register is left out",
            "no value, no invention",
            |m| m.none(Self::MissingRegister),
        ),
        kind(
            "decrease",
            "1000",
            "all",
            "numbers are smaller by this many last digits",
            "flags it, never a negative consumption",
            |m| m.0.parse().ok().map(Self::Decrease),
        ),
        kind(
            "clock-step",
            "1h",
            "all",
            "the meter's clock is set by this, from then on",
            "no interval twice, none lost",
            |m| m.0.parse().ok().map(|span: Span| Self::ClockStep(span.0)),
        ),
        kind(
            "wrong-mac",
            "",
            "wmbus",
            "the message authentication code is wrong",
            "refuses the telegram before it looks inside",
            |m| m.none(Self::WrongMac),
        ),
        kind(
            "stale-counter",
            "",
            "wmbus",
            "the message counter is that of the previous telegram",
            "refuses it as a replay",
            |m| m.none(Self::StaleCounter),
        ),
        kind(
            "wrong-hcs",
            "",
            "hdlc-lmn",
            "the checksum of the header is wrong",
            "refuses, counts, asks again",
            |m| m.none(Self::WrongHcs),
        ),
        kind(
            "duplicate-address",
            "",
            "hdlc-lmn",
            "a second meter has the same address: both answer, the headers agree, what follows collides",
            "refuses, counts, asks again, then says who is in trouble",
            |m| m.none(Self::DuplicateAddress),
        ),
    ];

    /// The fault of that name; its usual measure when `value` gives none.
    ///
    /// # Errors
    /// When there is no such fault, or it has no such measure.
    pub fn parse(name: &str, value: Option<&str>) -> Result<Self, FaultError> {
        let kind = Self::TABLE.iter().find(|kind| kind.name == name);
        let kind = kind.ok_or_else(|| FaultError::Unknown(name.to_owned()))?;
        (kind.make)(Measure(value.unwrap_or(kind.default))).ok_or_else(|| FaultError::Measure {
            name: kind.name,
            value: value.unwrap_or_default().to_owned(),
            default: kind.default,
        })
    }

    /// Whether it concerns acknowledgements (and identifications), and whether it concerns telegrams with data.
    pub(super) fn concerns(&self, data: bool) -> bool {
        match self {
            Self::NoAck => !data,
            Self::Silent | Self::WrongBaud => true,
            _ => data,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Vanish(_) => "vanish",
            Self::WrongBaud => "wrong-baud",
            Self::SingleBytes(_) => "single-bytes",
            Self::Merge => "merge",
            Self::Gap(_) => "gap",
            Self::Garbage(_) => "garbage",
            Self::Trailing(_) => "trailing",
            Self::Truncate(_) => "truncate",
            Self::BadChecksum => "bad-checksum",
            Self::BadLength => "bad-length",
            Self::BadStop => "bad-stop",
            Self::BitFlip => "bit-flip",
            Self::Duplicate => "duplicate",
            Self::Flood(_) => "flood",
            Self::Late(_) => "late",
            Self::Early => "early",
            Self::NoAck => "no-ack",
            Self::Collision => "collision",
            Self::Echo => "echo",
            Self::Busy => "busy",
            Self::StuckCounter => "stuck-counter",
            Self::WrongId => "wrong-id",
            Self::MissingRegister => "missing-register",
            Self::Decrease(_) => "decrease",
            Self::ClockStep(_) => "clock-step",
            Self::WrongMac => "wrong-mac",
            Self::StaleCounter => "stale-counter",
            Self::WrongHcs => "wrong-hcs",
            Self::DuplicateAddress => "duplicate-address",
        }
    }
}

/// Why a text names no fault.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// No such name.
    #[error("there is no fault {0:?}")]
    Unknown(String),
    /// No such measure.
    #[error("{value:?} is no measure of the fault {name}")]
    Measure {
        /// The fault.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        default: &'static str,
    },
    /// No such instant.
    #[error("{0:?} does not say when")]
    When(String),
}

impl FaultError {
    /// What to write instead.
    pub fn help(&self) -> String {
        match self {
            Self::Unknown(_) => format!("one of {}", Fault::TABLE.map(|kind| kind.name).join(" ")),
            Self::Measure {
                name, default: "", ..
            } => format!("{name} has no measure"),
            Self::Measure { name, default, .. } => format!("for example {name}={default}"),
            Self::When(_) => "@every:5, @at:10s or @chance:0.1; nothing for always".to_owned(),
        }
    }
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// Every time.
    Always,
    /// Every n-th time.
    Every(u64),
    /// Once, the first time after this long.
    At(Duration),
    /// By chance, of 2^32.
    Chance(u32),
}

impl When {
    /// By chance, 0 to 1.
    pub fn chance(probability: f64) -> Option<Self> {
        let within = (0.0..=1.0).contains(&probability);
        within.then(|| Self::Chance((probability * f64::from(u32::MAX)) as u32))
    }
}

/// A fault and when it strikes; as text `NAME[=MEASURE][@WHEN]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FaultRule {
    /// What.
    pub fault: Fault,
    /// When.
    pub when: When,
}

impl FromStr for FaultRule {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (what, when) = text
            .split_once('@')
            .map_or((text, None), |(what, when)| (what, Some(when)));
        let (name, value) = what
            .split_once('=')
            .map_or((what, None), |(name, value)| (name, Some(value)));
        let fault = Fault::parse(name, value)?;
        let when = match when {
            None => Some(When::Always),
            Some(when) => match when.split_once(':') {
                Some(("every", n)) => n.parse().ok().filter(|n| *n > 0).map(When::Every),
                Some(("at", time)) => Measure(time).length().map(When::At),
                Some(("chance", chance)) => chance.parse().ok().and_then(When::chance),
                _ => None,
            },
        };
        match when {
            Some(when) => Ok(Self { fault, when }),
            None => Err(FaultError::When(text.to_owned())),
        }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.name())
    }
}

/// Decides for each telegram what goes wrong; the same seed gives the same course.
#[derive(Clone, Debug)]
pub(super) struct FaultPlan {
    epoch: Nanos,
    rules: Vec<(FaultRule, u64)>,
    random: Random,
}

impl FaultPlan {
    pub(super) fn new(epoch: Nanos, rules: Vec<FaultRule>, seed: u64) -> Self {
        let rules = rules.into_iter().map(|rule| (rule, 0)).collect();
        Self {
            epoch,
            rules,
            random: Random(seed),
        }
    }

    /// What goes wrong with the transmission of instant `at`, which carries data or only acknowledges.
    pub(super) fn draw(&mut self, at: Nanos, data: bool) -> Vec<Fault> {
        let passed = at.saturating_since(self.epoch);
        let mut struck = Vec::new();
        for (rule, count) in &mut self.rules {
            if !rule.fault.concerns(data) {
                continue;
            }
            *count += 1;
            let strikes = match rule.when {
                When::Always => true,
                When::Every(n) => count.is_multiple_of(n),
                // The count of telegrams before the instant does not matter: it starts over.
                When::At(time) if passed < time => {
                    *count = 0;
                    false
                }
                When::At(_) => *count == 1,
                When::Chance(chance) => (self.random.next() >> 32) < u64::from(chance),
            };
            if strikes {
                struck.push(rule.fault.clone());
            }
        }
        struck
    }

    /// Whether a rule makes this fault at all.
    pub(super) fn has(&self, fault: &Fault) -> bool {
        self.rules.iter().any(|(rule, _)| rule.fault == *fault)
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A second device with other content: the line is pulled by whoever sends a zero.
    pub(super) fn talk_into(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte &= self.next() as u8);
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next() as u8)
            .take(count)
            .collect()
    }
}

/// More would only fill the memory of the host.
const MOST_BYTES: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_found_under_its_name_with_its_usual_measure() {
        for kind in Fault::TABLE {
            let fault = Fault::parse(kind.name, None).unwrap();
            assert_eq!(fault.name(), kind.name);
        }
    }

    #[test]
    fn texts_say_what_and_when() {
        let rule = |text: &str| text.parse::<FaultRule>();
        assert_eq!(
            rule("silent"),
            Ok(FaultRule {
                fault: Fault::Silent,
                when: When::Always
            })
        );
        assert_eq!(
            rule("late=9.1s@every:5"),
            Ok(FaultRule {
                fault: Fault::Late(Duration::from_millis(9_100)),
                when: When::Every(5)
            })
        );
        assert_eq!(
            rule("flood=1MB@at:10s").map(|rule| rule.fault),
            Ok(Fault::Flood(1_000_000))
        );
        assert_eq!(
            rule("bit-flip@chance:1"),
            Ok(FaultRule {
                fault: Fault::BitFlip,
                when: When::Chance(u32::MAX)
            })
        );
        assert_eq!(
            rule("clock-step=-1h").map(|rule| rule.fault),
            Ok(Fault::ClockStep(-3_600_000_000_000))
        );
        for wrong in [
            "",
            "slient",
            "silent=3",
            "late=soon",
            "silent@every:0",
            "silent@sometimes",
            "flood=999GB",
            "vanish=-1s",
            "bit-flip@chance:2",
        ] {
            let error = rule(wrong).unwrap_err();
            assert!(!error.help().is_empty(), "{wrong}");
        }
    }

    #[test]
    fn faults_strike_when_they_should() {
        let plan = |rule: &str| FaultPlan::new(Nanos(0), vec![rule.parse().unwrap()], 7);
        let struck = |mut plan: FaultPlan, data: bool| {
            (1..=10u64)
                .filter(|second| !plan.draw(Nanos(second * 1_000_000_000), data).is_empty())
                .collect::<Vec<_>>()
        };
        assert_eq!(struck(plan("silent"), true).len(), 10);
        assert_eq!(struck(plan("silent@every:4"), true), [4, 8]);
        assert_eq!(struck(plan("silent@at:4500ms"), true), [5]);
        assert_eq!(struck(plan("silent@chance:0"), true), [0; 0]);
        assert_eq!(struck(plan("no-ack"), true), [0; 0]);
        assert_eq!(struck(plan("no-ack"), false).len(), 10);
        assert_eq!(struck(plan("bad-checksum"), false), [0; 0]);
        let some = struck(plan("silent@chance:0.5"), true);
        assert!(!some.is_empty() && some.len() < 10);
        assert_eq!(
            some,
            struck(plan("silent@chance:0.5"), true),
            "the same seed, the same course"
        );
    }
}
