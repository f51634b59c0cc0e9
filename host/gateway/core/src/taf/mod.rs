// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tariff use cases (TAF 1 to 14 of TR-03109-1): what is derived from the value lists and what is to be sent to whom.
//!
//! An [`Evaluation`] is one active profile. It is fed with the entries of its inputs, with what happens and with the time;
//! what it makes is fetched as [`Effect`]s. Rules that all use cases share:
//!
//! - A grid point counts when all inputs have a value there. An input that says nothing of a point is waited for until it
//!   tells of a later one, or for two registration periods.
//! - Bills are made only from values that are fit for billing: status neither fatal nor time-invalid nor tampered with.
//!   Others are as good as no value; series pass them on with their status.
//! - What happens between grid points takes effect at the next one (assumption).
//! - Arithmetic is exact. What does not fit 128 bits does not count, is told, and marks the registers as faulty.

use core::fmt;
use std::collections::VecDeque;

use smgw_units::{Decimal, DeviceId, Obis, UtcNanos};
use thiserror::Error;

use crate::calendar::Span;
use crate::list::Entry;
use crate::profile::evaluation::UseCase;
use crate::profile::{EvaluationProfile, ProfileName};
use crate::taf::machine::{Context, Machine};
use crate::taf::point::Join;
use crate::taf::state::State;

mod closing;
mod exact;
mod machine;
mod point;
mod progress;
mod series;
mod state;
mod taf01;
mod taf02;
mod taf03;
mod taf04;
mod taf05;
mod taf06;
mod taf08;
mod taf09;
mod taf10;
mod taf11;
mod taf12;
mod tariff;

/// A line of a derived list, or of a register that an evaluation keeps: `entry.obis` names register and tariff step,
/// `entry.target` the grid point, `entry.content` what the register says there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Derived {
    /// The evaluation profile that made it.
    pub profile: ProfileName,
    /// The line.
    pub entry: Entry,
}

impl Derived {
    /// Name of the list it belongs to, `<obis in hex>.<profile>.sm` (VDE 1.33).
    pub fn logical_name(&self) -> impl fmt::Display + '_ {
        struct Name<'a>(&'a Derived);
        impl fmt::Display for Name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}.{}.sm", self.0.entry.obis.hex(), self.0.profile)
            }
        }
        Name(self)
    }
}

/// What is to be sent to one recipient; kept until he has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// The evaluation profile that asks for it.
    pub profile: ProfileName,
    /// Who gets it.
    pub recipient: ProfileName,
    /// Not before.
    pub due: UtcNanos,
    /// The lines; those of original lists carry the meter's register, those of derived ones the tariff's.
    pub lines: Vec<Entry>,
    /// Whether ids of meter and gateway are to be hidden from the recipient.
    pub pseudonymous: bool,
}

/// What happens to an evaluation besides values and time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trigger {
    /// A tariff event, internal or from outside (TAF 5).
    Event(ProfileName),
    /// This recipient asks for values (TAF 6 and 9).
    Request(ProfileName),
    /// A load or generator is controlled (TAF 11); the id of the action.
    Control(ProfileName),
    /// More is paid for, in the unit of the register (TAF 12).
    Credit(Decimal),
}

/// What an evaluation wants done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Effect {
    /// A line to be kept.
    Derived(Derived),
    /// Lines to be sent. Deliveries of the same profile to the same recipient with the same due time are one sending.
    Delivery(Delivery),
    /// Derived lines with a target before this are to be removed.
    Expired {
        /// Target time of the oldest line that is kept.
        before: UtcNanos,
    },
    /// Something to be logged.
    Finding {
        /// When it was so.
        at: UtcNanos,
        /// What.
        finding: Finding,
    },
    /// Values for the consumer's display.
    Display(Vec<Entry>),
    /// The consumer is to be warned that so much is left of what he paid for.
    Warning {
        /// What is left.
        available: Decimal,
    },
    /// Breakers are to be opened or closed.
    Breakers {
        /// Which.
        ids: Vec<ProfileName>,
        /// Whether power may flow.
        closed: bool,
    },
}

/// What an evaluation has to say for the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Finding {
    /// A cumulative register decreased and was not believed; it is counted from the new reading on.
    Decreased {
        /// The meter.
        meter: DeviceId,
        /// The register.
        obis: Obis,
    },
    /// A cumulative register rolled over.
    RolledOver {
        /// The meter.
        meter: DeviceId,
        /// The register.
        obis: Obis,
    },
    /// The unit of the values changed; they are counted from the new reading on.
    UnitChanged,
    /// A value does not fit the arithmetic and does not count; the registers are marked as faulty.
    Overflow,
    /// A step was begun by an event and holds from a grid point on.
    StepBegun {
        /// The event.
        event: ProfileName,
        /// The grid point.
        effective: UtcNanos,
    },
    /// A trigger that this profile knows nothing of.
    NotConcerned(Trigger),
    /// Values were asked for and are sent.
    Requested(ProfileName),
    /// Values were asked for by somebody who may not have them.
    RequestRefused(ProfileName),
    /// A control action; its reading is that of a grid point.
    Controlled {
        /// The action.
        action: ProfileName,
        /// The grid point.
        effective: UtcNanos,
    },
    /// More was paid for.
    Credited(Decimal),
    /// What was paid for is nearly used up.
    CreditLow,
    /// What was paid for is used up; the tolerance period begins.
    CreditUsedUp,
    /// The tolerance period is over; the breakers open.
    SwitchedOff,
    /// There is credit again; the breakers close.
    SwitchedOn,
}

impl Finding {
    /// Whether the registers are not what somebody who only sees the meter would expect.
    pub fn is_trouble(&self) -> bool {
        matches!(
            self,
            Self::Decreased { .. } | Self::UnitChanged | Self::Overflow
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decreased { meter, obis } => {
                write!(f, "register {obis} of meter {meter} decreased")
            }
            Self::RolledOver { meter, obis } => {
                write!(f, "register {obis} of meter {meter} rolled over")
            }
            Self::UnitChanged => f.write_str("the unit of the values changed"),
            Self::Overflow => f.write_str("a value is too large to be counted"),
            Self::StepBegun { event, effective } => {
                write!(f, "event {event}: its step holds from {effective} on")
            }
            Self::NotConcerned(trigger) => write!(f, "not concerned by {trigger:?}"),
            Self::Requested(recipient) => write!(f, "values asked for by {recipient}"),
            Self::RequestRefused(recipient) => {
                write!(f, "{recipient} asked for values and may not have them")
            }
            Self::Controlled { action, effective } => {
                write!(f, "action {action}, read at {effective}")
            }
            Self::Credited(amount) => write!(f, "{amount} paid for"),
            Self::CreditLow => f.write_str("the credit is low"),
            Self::CreditUsedUp => f.write_str("the credit is used up"),
            Self::SwitchedOff => f.write_str("switched off"),
            Self::SwitchedOn => f.write_str("switched on"),
        }
    }
}

/// A saved state that cannot be gone on from.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StateError {
    /// Written by a program of another version.
    #[error(
        "the state of the evaluation has version {0}, and this program knows version {VERSION}"
    )]
    Version(u8),
    /// Of another use case, or of a profile with other inputs or steps.
    #[error("the state of the evaluation is of another profile, or damaged")]
    NotOfProfile,
}

/// One active evaluation profile.
pub struct Evaluation {
    profile: EvaluationProfile,
    join: Join,
    machine: Box<dyn Machine>,
    effects: VecDeque<Effect>,
    sending: Span,
}

impl Evaluation {
    /// An evaluation that takes grid points from `start` on.
    pub fn new(profile: EvaluationProfile, start: UtcNanos) -> Self {
        let machine: Box<dyn Machine> = match profile.use_case() {
            UseCase::Taf1 {} => Box::new(taf01::DataSparing::new(&profile, start)),
            UseCase::Taf2(tariff) => Box::new(taf02::TimeVariable::new(tariff, &profile, start)),
            UseCase::Taf3(tariff) => Box::new(taf03::LoadVariable::new(tariff, &profile, start)),
            UseCase::Taf4(tariff) => {
                Box::new(taf04::ConsumptionVariable::new(tariff, &profile, start))
            }
            UseCase::Taf5(tariff) => Box::new(taf05::EventVariable::new(tariff, &profile, start)),
            UseCase::Taf6(tariff) => Box::new(taf06::OnDemand::new(tariff, &profile)),
            UseCase::Taf7 {} | UseCase::Taf14 {} => Box::new(series::Series::default()),
            UseCase::Taf8(tariff) => Box::new(taf08::Extremes::new(tariff, &profile, start)),
            UseCase::Taf9 {} => Box::new(taf09::FeedIn::default()),
            UseCase::Taf10(tariff) => Box::new(taf10::GridState::new(tariff)),
            UseCase::Taf11 {} => Box::new(taf11::Control::default()),
            UseCase::Taf12(tariff) => Box::new(taf12::Prepaid::new(tariff, &profile, start)),
            UseCase::Taf13 {} => Box::new(series::Series::displayed()),
        };
        Self {
            join: Join::new(profile.inputs().len(), start),
            profile,
            machine,
            effects: VecDeque::new(),
            sending: Span { start: 0, end: 0 },
        }
    }

    /// Goes on where [`save`](Self::save) left off.
    ///
    /// # Errors
    /// [`StateError`] when the state was not written by this version of the program for this profile.
    pub fn restore(profile: EvaluationProfile, state: &[u8]) -> Result<Self, StateError> {
        let mut evaluation = Self::new(profile, UtcNanos(0));
        let mut from = state;
        let version = u8::take(&mut from).ok_or(StateError::NotOfProfile)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        evaluation.take(from).ok_or(StateError::NotOfProfile)?;
        Ok(evaluation)
    }

    fn take(&mut self, mut from: &[u8]) -> Option<()> {
        let number = u8::take(&mut from)?;
        self.join = State::take(&mut from)?;
        let fits = number == self.profile.use_case().number();
        (fits && self.join.fits(self.profile.inputs().len())).then_some(())?;
        self.machine.restore(&mut from, &self.profile)?;
        from.is_empty().then_some(())
    }

    /// The state as bytes, to be kept in the same transaction as what led to it. Fetch all effects before.
    pub fn save(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.profile.use_case().number()];
        self.join.put(&mut out);
        self.machine.save(&mut out);
        out
    }

    /// The profile it works by.
    pub fn profile(&self) -> &EvaluationProfile {
        &self.profile
    }

    /// An entry of the value list of a meter with the profile's registration period. Entries of one list come in order of
    /// target; entries of lists that are no input are ignored. Hand in all entries that are due before telling the time.
    pub fn handle_entry(&mut self, meter: DeviceId, entry: &Entry) {
        let (from, to) = self.profile.validity();
        let period = i64::from(self.profile.registration_period()) * 1_000_000_000;
        let counts = (from..=to).contains(&entry.target) && entry.target.0 % period == 0;
        let matches = |input: &crate::profile::evaluation::Input| {
            input.meter == meter && input.obis == entry.obis
        };
        if let Some(input) = self
            .profile
            .inputs()
            .iter()
            .position(matches)
            .filter(|_| counts)
        {
            self.join.take(input, entry);
            self.work_off(None);
        }
    }

    /// Something happened at `at`. Hand it in before entries of later grid points.
    pub fn handle_event(&mut self, at: UtcNanos, event: &Trigger) {
        let (machine, mut context) = self.parts();
        machine.trigger(at, event, &mut context);
    }

    /// Tells the time.
    pub fn handle_time(&mut self, now: UtcNanos) {
        self.work_off(Some(UtcNanos(now.0.saturating_sub(self.patience()))));
        let (machine, mut context) = self.parts();
        machine.time(now, &mut context);
    }

    /// When the time is to be told, if nothing comes before.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        let waiting = self.join.waiting();
        let waiting = waiting.map(|target| UtcNanos(target.0.saturating_add(self.patience())));
        waiting.into_iter().chain(self.machine.deadline()).min()
    }

    /// The next thing to be done, in the order it came up.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The registers as they are, for display.
    pub fn registers(&self) -> Vec<Derived> {
        let derived = |entry| Derived {
            profile: self.profile.name().clone(),
            entry,
        };
        self.machine.registers().into_iter().map(derived).collect()
    }

    fn work_off(&mut self, patience: Option<UtcNanos>) {
        while let Some(point) = self.join.next(patience) {
            let (machine, mut context) = self.parts();
            machine.point(&point, &mut context);
        }
    }

    fn parts(&mut self) -> (&mut dyn Machine, Context<'_>) {
        let context = Context {
            profile: &self.profile,
            effects: &mut self.effects,
            sending: &mut self.sending,
        };
        (&mut *self.machine, context)
    }

    /// How long an input is waited for, in nanoseconds.
    fn patience(&self) -> i64 {
        2 * i64::from(self.profile.registration_period()) * 1_000_000_000
    }
}

impl fmt::Debug for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation")
            .field("profile", self.profile.name())
            .field("join", &self.join)
            .finish_non_exhaustive()
    }
}

/// The first grid point at or after `at`.
pub(crate) fn grid_point(at: UtcNanos, period: u32) -> UtcNanos {
    let period = i64::from(period) * 1_000_000_000;
    let passed = at.0.rem_euclid(period);
    UtcNanos(at.0.saturating_add(if passed == 0 { 0 } else { period - passed }))
}

/// Of the state's format.
const VERSION: u8 = 1;
