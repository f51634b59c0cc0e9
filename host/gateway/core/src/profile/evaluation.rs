// SPDX-License-Identifier: MIT OR Apache-2.0
//! Evaluation profiles (Auswertungsprofile of TR-03109-1): which tariff use case works on which registers of which
//! meters, when it bills and who gets what. A profile is taken as a whole or refused with the field that is wrong.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smgw_units::{Decimal, DeviceId, Obis, UtcNanos};
use thiserror::Error;

use crate::calendar::{Billing, RawSchedule, Schedule, Zone};
use crate::profile::ProfileName;
use crate::profile::limits::{Check, amount, ascending, count, obis_steps, quantity, refuse};
use crate::profile::written::{instant, text, texts};

/// A profile as it is written down in TOML or JSON; see `fixtures/profiles`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawEvaluation {
    /// Name of the profile, part of the names of its derived lists.
    pub name: ProfileName,
    /// Seconds between two grid points; a multiple of 900 where the use case bills, unless this is a rehearsal.
    #[serde(default = "quarter_hour")]
    pub registration_period: u32,
    /// Whether limits that would make a rehearsal last for days are lifted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rehearsal: bool,
    /// Whose legal time holds.
    #[serde(default = "berlin")]
    pub time_zone: String,
    /// Who may get what the use case sends.
    #[serde(default)]
    pub recipients: Vec<ProfileName>,
    /// Whether ids are hidden from the recipients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pseudonymous: bool,
    /// First and last instant a value may count for.
    #[serde(default)]
    pub validity: ReadingSpan,
    /// Billing period; one calendar month unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing: Option<Billing>,
    /// When to send; what is usual for the use case unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<SendPlan>,
    /// The registers it works on.
    pub input: Vec<Input>,
    /// The tariff use case with its parameters.
    pub use_case: UseCase,
}

/// From the first to the last reading that counts, as ISO 8601 in UTC. Unlike the grid points of
/// [`Validity`](super::Validity), the reading at the end counts: it closes the last interval.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReadingSpan {
    /// First instant; the beginning of 1970 unless said.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub from: Option<UtcNanos>,
    /// Last instant; none unless said.
    #[serde(default, with = "instant", skip_serializing_if = "Option::is_none")]
    pub to: Option<UtcNanos>,
}

/// A register of a meter and how it counts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Input {
    /// The meter.
    #[serde(with = "text")]
    pub meter: DeviceId,
    /// The register.
    #[serde(with = "text")]
    pub obis: Obis,
    /// Whether it is added or taken away (MathOperation of the VDE application rule).
    #[serde(default, skip_serializing_if = "is_default")]
    pub sign: Sign,
    /// How many digits the register has before the decimal point, in the unit the meter sends, so that it is known
    /// where it rolls over; a register that decreases is otherwise never believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<u8>,
}

/// How an input counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Sign {
    /// Added.
    #[default]
    #[serde(rename = "+")]
    Plus,
    /// Taken away.
    #[serde(rename = "-")]
    Minus,
}

/// When something is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SendPlan {
    /// At the end of what.
    pub every: Every,
    /// So many seconds after that.
    #[serde(default)]
    pub delay: u32,
}

/// At the end of what something is sent.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Every {
    /// Each value as soon as it is there.
    RegistrationPeriod,
    /// The values of a day of legal time.
    Day,
    /// The values of a billing period.
    BillingPeriod,
    /// Nothing is sent unless somebody asks and may do so.
    Never,
}

/// The tariff use cases (TAF) with their own parameters. Steps are counted from 1.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UseCase {
    /// Data-sparing tariffs.
    #[serde(rename = "taf-1")]
    Taf1 {},
    /// Time variable tariffs.
    #[serde(rename = "taf-2")]
    Taf2(RawSchedule),
    /// Load variable tariffs.
    #[serde(rename = "taf-3")]
    Taf3(Bounded),
    /// Consumption variable tariffs.
    #[serde(rename = "taf-4")]
    Taf4(Bounded),
    /// Event variable tariffs.
    #[serde(rename = "taf-5")]
    Taf5(EventVariable),
    /// Meter readings on demand.
    #[serde(rename = "taf-6")]
    Taf6(OnDemand),
    /// Load profiles.
    #[serde(rename = "taf-7")]
    Taf7 {},
    /// Extreme values of the power.
    #[serde(rename = "taf-8")]
    Taf8(Extremes),
    /// Feed-in on demand.
    #[serde(rename = "taf-9")]
    Taf9 {},
    /// State of the grid.
    #[serde(rename = "taf-10")]
    Taf10(GridState),
    /// Control of loads and generators.
    #[serde(rename = "taf-11")]
    Taf11 {},
    /// Prepaid tariffs.
    #[serde(rename = "taf-12")]
    Taf12(Prepaid),
    /// Values for a display of the consumer.
    #[serde(rename = "taf-13")]
    Taf13 {},
    /// High-frequency values.
    #[serde(rename = "taf-14")]
    Taf14 {},
}

/// Parameters of TAF 3 and TAF 4: a step more than there are bounds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bounded {
    /// Registers of the steps.
    #[serde(with = "texts")]
    pub steps: Vec<Obis>,
    /// Ascending bounds between them, as decimal text: TAF 3 power in W (unit of the register per hour), TAF 4 amount
    /// in a billing period in Wh (unit of the register). A step begins at its bound.
    pub bounds: Vec<Quantity>,
}

/// Parameters of TAF 5.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EventVariable {
    /// Registers of the steps.
    #[serde(with = "texts")]
    pub steps: Vec<Obis>,
    /// The step before any event.
    pub default_step: u8,
    /// Which event begins which step.
    pub events: Vec<TariffEvent>,
}

/// An event that begins a step.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TariffEvent {
    /// Its id.
    pub id: ProfileName,
    /// The step.
    pub step: u8,
}

/// Parameters of TAF 6.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OnDemand {
    /// When the billing day begins, `HH:MM` of legal time; midnight unless said, 06:00 for gas.
    #[serde(default = "midnight")]
    pub day_start: String,
}

/// Parameters of TAF 8.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Extremes {
    /// How many minima are kept.
    #[serde(default)]
    pub minima: u8,
    /// How many maxima.
    #[serde(default)]
    pub maxima: u8,
    /// Register of the minima.
    #[serde(default = "minimum_register", with = "text")]
    pub minimum: Obis,
    /// Register of the maxima.
    #[serde(default = "maximum_register", with = "text")]
    pub maximum: Obis,
}

/// Parameters of TAF 10.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GridState {
    /// Bounds that have values sent at once when they are crossed.
    #[serde(default)]
    pub thresholds: Vec<Threshold>,
}

/// Bounds of one register.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Threshold {
    /// The register.
    #[serde(with = "text")]
    pub obis: Obis,
    /// Crossed by a value above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Quantity>,
    /// Crossed by a value below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Quantity>,
}

/// Parameters of TAF 12; amounts are in the unit of the register.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prepaid {
    /// Register that says how much is left.
    #[serde(with = "text")]
    pub available: Obis,
    /// What is paid for when the profile begins.
    pub credit: Quantity,
    /// At how much left the consumer is warned.
    pub warning: Quantity,
    /// Seconds from nothing left to switching off.
    pub tolerance: u32,
    /// What is switched off.
    pub breakers: Vec<ProfileName>,
}

/// An exact number written as decimal text such as `"230.5"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity(pub Decimal);

/// Why a profile is refused, all of it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{field}: {reason}")]
pub struct EvaluationError {
    /// The field that is wrong, as it is written down.
    pub field: String,
    /// What is wrong there and what was expected.
    pub reason: String,
}

/// A complete and consistent evaluation profile; cheap to clone.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "RawEvaluation", into = "RawEvaluation")]
pub struct EvaluationProfile {
    inner: Arc<Inner>,
}

struct Inner {
    raw: RawEvaluation,
    zone: Zone,
    from: UtcNanos,
    to: UtcNanos,
    billing: Billing,
    send: SendPlan,
    schedule: Option<Schedule>,
}

impl EvaluationProfile {
    /// Name of the profile.
    pub fn name(&self) -> &ProfileName {
        &self.inner.raw.name
    }

    /// The registers it works on, at least one.
    pub fn inputs(&self) -> &[Input] {
        &self.inner.raw.input
    }

    /// Who may get what it sends.
    pub fn recipients(&self) -> &[ProfileName] {
        &self.inner.raw.recipients
    }

    /// Whether ids are hidden from the recipients.
    pub fn pseudonymous(&self) -> bool {
        self.inner.raw.pseudonymous
    }

    /// Seconds between two grid points of its inputs.
    pub fn registration_period(&self) -> u32 {
        self.inner.raw.registration_period
    }

    /// First and last instant a value may count for.
    pub fn validity(&self) -> (UtcNanos, UtcNanos) {
        (self.inner.from, self.inner.to)
    }

    /// Billing period.
    pub fn billing(&self) -> Billing {
        self.inner.billing
    }

    /// Whose legal time holds.
    pub fn zone(&self) -> &Zone {
        &self.inner.zone
    }

    /// When it sends.
    pub fn send_plan(&self) -> SendPlan {
        self.inner.send
    }

    /// The use case with its parameters.
    pub fn use_case(&self) -> &UseCase {
        &self.inner.raw.use_case
    }

    /// When which step holds, if it is TAF 2.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.inner.schedule.as_ref()
    }
}

impl PartialEq for EvaluationProfile {
    fn eq(&self, other: &Self) -> bool {
        self.inner.raw == other.inner.raw
    }
}

impl fmt::Debug for EvaluationProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.raw.fmt(f)
    }
}

impl From<EvaluationProfile> for RawEvaluation {
    fn from(profile: EvaluationProfile) -> Self {
        profile.inner.raw.clone()
    }
}

impl TryFrom<RawEvaluation> for EvaluationProfile {
    type Error = EvaluationError;

    fn try_from(raw: RawEvaluation) -> Result<Self, EvaluationError> {
        let zone = Zone::named(&raw.time_zone).map_err(|error| refuse("time-zone", error))?;
        let period = raw.registration_period;
        if !(1..=31 * 86_400).contains(&period) {
            return Err(refuse(
                "registration-period",
                "expected 1 second to 31 days",
            ));
        }
        if raw.use_case.bills() && !period.is_multiple_of(900) && !raw.rehearsal {
            let reason = "billing needs a multiple of 900 s, unless `rehearsal = true`";
            return Err(refuse("registration-period", reason));
        }
        let from = raw.validity.from.unwrap_or(UtcNanos(0));
        let to = raw.validity.to.unwrap_or(UtcNanos(i64::MAX));
        if from >= to {
            return Err(refuse("validity", "`to` must be later than `from`"));
        }
        let billing = raw.billing.unwrap_or(Billing::Months(1));
        check_billing(&raw, billing)?;
        let send = check_send(&raw)?;
        check_parties(&raw)?;
        let schedule = check_use_case(&raw, &zone, from)?;
        let inner = Inner {
            zone,
            from,
            to,
            billing,
            send,
            schedule,
            raw,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

impl UseCase {
    /// Its number, 1 to 14.
    pub fn number(&self) -> u8 {
        match self {
            Self::Taf1 {} => 1,
            Self::Taf2(_) => 2,
            Self::Taf3(_) => 3,
            Self::Taf4(_) => 4,
            Self::Taf5(_) => 5,
            Self::Taf6(_) => 6,
            Self::Taf7 {} => 7,
            Self::Taf8(_) => 8,
            Self::Taf9 {} => 9,
            Self::Taf10(_) => 10,
            Self::Taf11 {} => 11,
            Self::Taf12(_) => 12,
            Self::Taf13 {} => 13,
            Self::Taf14 {} => 14,
        }
    }

    /// Whether bills are made from what it records, so that values must be fit for billing.
    pub fn bills(&self) -> bool {
        matches!(self.number(), 1..=8 | 12)
    }

    /// When it sends, if the profile does not say.
    fn usual_sending(&self) -> Every {
        match self.number() {
            6 | 9 => Every::Never,
            7 => Every::Day,
            10 | 11 | 13 | 14 => Every::RegistrationPeriod,
            _ => Every::BillingPeriod,
        }
    }

    /// When it may send.
    fn may_send(&self, every: Every) -> bool {
        match self.number() {
            // Nothing finer than the billing period leaves.
            1 | 2 | 3 | 4 | 5 | 8 => matches!(every, Every::BillingPeriod | Every::Never),
            6 | 9 => every == Every::Never,
            _ => true,
        }
    }
}

fn check_billing(raw: &RawEvaluation, billing: Billing) -> Check {
    let field = "billing";
    match billing {
        Billing::Months(1..=120) => Ok(()),
        Billing::Months(_) => Err(refuse(field, "expected 1 to 120 months")),
        Billing::Days(1..=3_660) if raw.rehearsal || raw.use_case.number() != 1 => Ok(()),
        Billing::Seconds(seconds) if raw.rehearsal => {
            let period = raw.registration_period;
            let fits = seconds <= 366 * 86_400 && seconds >= period && seconds % period == 0;
            let reason = "expected a multiple of the registration period of at most 366 days";
            fits.then_some(()).ok_or_else(|| refuse(field, reason))
        }
        Billing::Seconds(_) => Err(refuse(
            field,
            "seconds are for rehearsals (`rehearsal = true`)",
        )),
        Billing::Days(1..=3_660) => Err(refuse(field, "TAF 1 bills at least one calendar month")),
        Billing::Days(_) => Err(refuse(field, "expected 1 to 3660 days")),
    }
}

fn check_send(raw: &RawEvaluation) -> Result<SendPlan, EvaluationError> {
    let usual = SendPlan {
        every: raw.use_case.usual_sending(),
        delay: 0,
    };
    let plan = raw.send.unwrap_or(usual);
    if !raw.use_case.may_send(plan.every) {
        let reason = format!("TAF {} must not send so often", raw.use_case.number());
        return Err(refuse("send.every", reason));
    }
    if plan.delay > 31 * 86_400 {
        return Err(refuse("send.delay", "expected at most 31 days"));
    }
    Ok(plan)
}

fn check_parties(raw: &RawEvaluation) -> Check {
    count("recipients", raw.recipients.len(), 0..=32)?;
    count("input", raw.input.len(), 1..=32)?;
    for (index, recipient) in raw.recipients.iter().enumerate() {
        if raw
            .recipients
            .iter()
            .take(index)
            .any(|other| other == recipient)
        {
            return Err(refuse("recipients", format!("{recipient} is there twice")));
        }
    }
    for (index, input) in raw.input.iter().enumerate() {
        let same = |other: &Input| other.meter == input.meter && other.obis == input.obis;
        if raw.input.iter().take(index).any(same) {
            return Err(refuse(
                format!("input[{index}]"),
                "this register is there twice",
            ));
        }
        if input
            .digits
            .is_some_and(|digits| !(1..=18).contains(&digits))
        {
            return Err(refuse(
                format!("input[{index}].digits"),
                "expected 1 to 18 digits",
            ));
        }
        if raw.use_case.number() == 10 && input.sign == Sign::Minus {
            let reason = "TAF 10 keeps registers as they are; there is nothing to take away from";
            return Err(refuse(format!("input[{index}].sign"), reason));
        }
    }
    Ok(())
}

fn check_use_case(
    raw: &RawEvaluation,
    zone: &Zone,
    from: UtcNanos,
) -> Result<Option<Schedule>, EvaluationError> {
    let field = |name: &str| format!("use-case.taf-{}.{name}", raw.use_case.number());
    match &raw.use_case {
        UseCase::Taf1 {} | UseCase::Taf7 {} | UseCase::Taf9 {} => {}
        UseCase::Taf11 {} | UseCase::Taf13 {} | UseCase::Taf14 {} => {}
        UseCase::Taf2(tariff) => {
            obis_steps(&field("steps"), &tariff.steps)?;
            if !zone.keeps_grid(from, raw.registration_period) {
                let reason = "switch times of this legal time are not on the grid";
                return Err(refuse("registration-period", reason));
            }
            let schedule = Schedule::new(tariff, raw.registration_period)
                .map_err(|error| refuse(field(&error.field), error.reason))?;
            return Ok(Some(schedule));
        }
        UseCase::Taf3(tariff) | UseCase::Taf4(tariff) => {
            obis_steps(&field("steps"), &tariff.steps)?;
            if tariff.bounds.len() + 1 != tariff.steps.len() {
                let reason = "expected one bound between each two steps";
                return Err(refuse(field("bounds"), reason));
            }
            for bound in &tariff.bounds {
                amount(&field("bounds"), *bound)?;
            }
            ascending(&field("bounds"), &tariff.bounds)?;
        }
        UseCase::Taf5(tariff) => {
            obis_steps(&field("steps"), &tariff.steps)?;
            let known = |step: u8| (1..=tariff.steps.len()).contains(&usize::from(step));
            let reason = format!("expected a step from 1 to {}", tariff.steps.len());
            if !known(tariff.default_step) {
                return Err(refuse(field("default-step"), reason));
            }
            count(&field("events"), tariff.events.len(), 1..=256)?;
            for (index, event) in tariff.events.iter().enumerate() {
                if !known(event.step) {
                    return Err(refuse(field("events"), reason));
                }
                if tariff
                    .events
                    .iter()
                    .take(index)
                    .any(|other| other.id == event.id)
                {
                    return Err(refuse(
                        field("events"),
                        format!("{} is there twice", event.id),
                    ));
                }
            }
        }
        UseCase::Taf6(tariff) => {
            let start = crate::calendar::time_of_day(&tariff.day_start);
            if start.is_none_or(|start| start % i64::from(raw.registration_period) != 0) {
                let reason = "expected a time of day HH:MM on the registration grid";
                return Err(refuse(field("day-start"), reason));
            }
            if !zone.keeps_grid(from, raw.registration_period) {
                let reason = "the start of a billing day in this legal time is not on the grid";
                return Err(refuse("registration-period", reason));
            }
        }
        UseCase::Taf8(tariff) => {
            count(&field("minima"), tariff.minima.into(), 0..=32)?;
            count(&field("maxima"), tariff.maxima.into(), 0..=32)?;
            if tariff.minima == 0 && tariff.maxima == 0 {
                return Err(refuse(field("maxima"), "nothing would be kept"));
            }
            if tariff.minimum == tariff.maximum {
                return Err(refuse(
                    field("maximum"),
                    "minima and maxima need registers of their own",
                ));
            }
            if 3_600 % raw.registration_period != 0 {
                let reason = "power is exact only when an hour is a multiple of it";
                return Err(refuse("registration-period", reason));
            }
        }
        UseCase::Taf10(tariff) => {
            if !raw.pseudonymous {
                return Err(refuse(
                    "pseudonymous",
                    "the state of the grid is sent pseudonymously only",
                ));
            }
            count(&field("thresholds"), tariff.thresholds.len(), 0..=64)?;
            for threshold in &tariff.thresholds {
                let known = raw.input.iter().any(|input| input.obis == threshold.obis);
                if !known {
                    let reason = format!("{} is no input", threshold.obis);
                    return Err(refuse(field("thresholds"), reason));
                }
                if threshold.above.is_none() && threshold.below.is_none() {
                    return Err(refuse(
                        field("thresholds"),
                        "expected `above`, `below` or both",
                    ));
                }
                for bound in threshold.above.iter().chain(&threshold.below) {
                    quantity(&field("thresholds"), *bound)?;
                }
            }
        }
        UseCase::Taf12(tariff) => {
            amount(&field("credit"), tariff.credit)?;
            amount(&field("warning"), tariff.warning)?;
            count(&field("breakers"), tariff.breakers.len(), 1..=16)?;
            if tariff.tolerance > 366 * 86_400 {
                return Err(refuse(field("tolerance"), "expected at most 366 days"));
            }
        }
    }
    Ok(None)
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let dangling = digits.ends_with('.') || whole.is_empty();
        if dangling || !plain(whole) || !plain(fraction) || digits.len() > LONGEST_QUANTITY {
            return Err(QuantityError);
        }
        let mantissa: i128 = [whole, fraction]
            .concat()
            .parse()
            .map_err(|_| QuantityError)?;
        let exponent = -(fraction.len() as i8);
        Ok(Self(Decimal::new(sign * mantissa, exponent)))
    }
}

/// Text that is no decimal number.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("not a decimal number; expected digits like 230.5, at most 18")]
pub struct QuantityError;

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn quarter_hour() -> u32 {
    900
}

fn berlin() -> String {
    Zone::BERLIN.to_owned()
}

fn midnight() -> String {
    "00:00".to_owned()
}

/// The first of the extremes that OBIS knows for active import (assumption; the profile may say otherwise).
fn minimum_register() -> Obis {
    Obis([1, 0, 1, 3, 0, 255])
}

fn maximum_register() -> Obis {
    Obis([1, 0, 1, 6, 0, 255])
}

const LONGEST_QUANTITY: usize = 19;
