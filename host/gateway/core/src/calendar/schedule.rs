// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which tariff step holds when: day profiles, week profiles, seasons and special days of a time variable tariff (TAF 2).
//!
//! The step is a function of the legal time of day: where clocks go back, the hour that comes twice has the same steps
//! twice; where they go forward, the steps of the hour that is left out do not occur.

use core::cell::RefCell;

use jiff::ToSpan;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use smgw_units::{Obis, UtcNanos};
use thiserror::Error;

use crate::calendar::{Span, Zone};
use crate::profile::ProfileName;

/// A schedule as it is written down.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSchedule {
    /// Registers of the steps, such as `1-0:1.8.1*255`.
    #[serde(with = "crate::profile::written::texts")]
    pub steps: Vec<Obis>,
    /// The step where a day profile has no switch time yet, counted from 1.
    pub default_step: u8,
    /// What a day may look like; the first one holds where nothing else is said.
    pub day_profile: Vec<RawDay>,
    /// What a week may look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub week_profile: Vec<RawWeek>,
    /// Which week profile holds from which day of the year on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub season: Vec<RawSeason>,
    /// Days that follow a day profile of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub special_day: Vec<RawSpecialDay>,
}

/// A day profile.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawDay {
    /// Its name.
    pub name: ProfileName,
    /// Time of day, `HH:MM` or `HH:MM:SS`, and the step that begins there, counted from 1.
    pub switches: Vec<(String, u8)>,
}

/// A week profile.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawWeek {
    /// Its name.
    pub name: ProfileName,
    /// Day profiles of Monday to Sunday.
    pub days: [ProfileName; 7],
}

/// A season.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSeason {
    /// First day, `MM-DD`; the last season of a year goes on until the first one of the next.
    pub start: String,
    /// Its week profile.
    pub week: ProfileName,
}

/// A special day.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RawSpecialDay {
    /// `YYYY-MM-DD`, or `MM-DD` for every year; a day with a year goes before one without.
    pub date: String,
    /// Its day profile.
    pub day: ProfileName,
}

/// Why a schedule is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{field}: {reason}")]
pub struct ScheduleError {
    /// Where.
    pub field: String,
    /// What is wrong there.
    pub reason: String,
}

/// A schedule in which every name leads somewhere. Steps are counted from 0 here.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    default_step: u8,
    days: Vec<DayProfile>,
    /// Indices into `days`, Monday first.
    weeks: Vec<[usize; 7]>,
    /// Month and day, index into `weeks`; ascending.
    seasons: Vec<((i8, i8), usize)>,
    /// Ascending.
    special: Vec<(Date, usize)>,
    /// Ascending.
    yearly: Vec<((i8, i8), usize)>,
}

#[derive(Clone, Debug, PartialEq)]
struct DayProfile {
    /// Second of the day and step, ascending, the first at 0.
    switches: Vec<(i64, u8)>,
}

impl Schedule {
    /// Compiles what was written down; switch times must be multiples of `period` seconds.
    ///
    /// # Errors
    /// [`ScheduleError`] with the field that is wrong.
    pub fn new(raw: &RawSchedule, period: u32) -> Result<Self, ScheduleError> {
        let steps = raw.steps.len();
        let step = |step: u8, field: &dyn Fn() -> String| {
            let fits = step >= 1 && usize::from(step) <= steps;
            fits.then(|| step - 1).ok_or_else(|| {
                refused(
                    field(),
                    format!("there are the steps 1 to {steps}, not {step}"),
                )
            })
        };
        let default_step = step(raw.default_step, &|| "default-step".into())?;
        count("day-profile", raw.day_profile.len(), 1..=64)?;
        count("week-profile", raw.week_profile.len(), 0..=16)?;
        count("season", raw.season.len(), 0..=16)?;
        count("special-day", raw.special_day.len(), 0..=1_000)?;
        unique("day-profile", raw.day_profile.iter().map(|day| &day.name))?;
        unique(
            "week-profile",
            raw.week_profile.iter().map(|week| &week.name),
        )?;

        let mut days = Vec::new();
        for (index, day) in raw.day_profile.iter().enumerate() {
            let field = || format!("day-profile[{index}].switches");
            count(&field(), day.switches.len(), 1..=MOST_SWITCHES)?;
            let mut switches: Vec<(i64, u8)> = Vec::with_capacity(day.switches.len() + 1);
            for (text, number) in &day.switches {
                let at = time_of_day(text).ok_or_else(|| {
                    refused(
                        field(),
                        format!("`{text}` is no time of day; expected HH:MM or HH:MM:SS"),
                    )
                })?;
                if at % i64::from(period) != 0 {
                    let reason = format!("{text} is not on the grid of {period} s");
                    return Err(refused(field(), reason));
                }
                if switches.last().is_some_and(|(before, _)| *before >= at) {
                    return Err(refused(
                        field(),
                        format!("{text} does not follow the one before it"),
                    ));
                }
                switches.push((at, step(*number, &field)?));
            }
            if switches.first().is_none_or(|(at, _)| *at > 0) {
                switches.insert(0, (0, default_step));
            }
            days.push(DayProfile { switches });
        }
        let day = |name: &ProfileName, field: &dyn Fn() -> String| {
            let found = raw.day_profile.iter().position(|day| day.name == *name);
            found.ok_or_else(|| refused(field(), format!("there is no day profile {name}")))
        };

        let mut weeks = Vec::new();
        for (index, week) in raw.week_profile.iter().enumerate() {
            let mut of_week = [0; 7];
            for (slot, name) in of_week.iter_mut().zip(&week.days) {
                *slot = day(name, &|| format!("week-profile[{index}].days"))?;
            }
            weeks.push(of_week);
        }
        let mut seasons = Vec::new();
        for (index, season) in raw.season.iter().enumerate() {
            let start = month_and_day(&season.start).ok_or_else(|| {
                let reason = format!("`{}` is no day of the year; expected MM-DD", season.start);
                refused(format!("season[{index}].start"), reason)
            })?;
            let found = raw
                .week_profile
                .iter()
                .position(|week| week.name == season.week);
            let week = found.ok_or_else(|| {
                let reason = format!("there is no week profile {}", season.week);
                refused(format!("season[{index}].week"), reason)
            })?;
            if seasons.last().is_some_and(|(before, _)| *before >= start) {
                let reason = format!("{} does not follow the one before it", season.start);
                return Err(refused(format!("season[{index}].start"), reason));
            }
            seasons.push((start, week));
        }
        if seasons.is_empty() && weeks.len() > 1 {
            let reason = "several week profiles need seasons that say when each holds";
            return Err(refused("season".into(), reason.into()));
        }
        let (mut special, mut yearly) = (Vec::new(), Vec::new());
        for (index, entry) in raw.special_day.iter().enumerate() {
            let profile = day(&entry.day, &|| format!("special-day[{index}].day"))?;
            match (entry.date.parse::<Date>(), month_and_day(&entry.date)) {
                (_, Some(of_year)) => yearly.push((of_year, profile)),
                (Ok(date), None) if entry.date.len() == 10 => special.push((date, profile)),
                _ => {
                    let reason =
                        format!("`{}` is no day; expected YYYY-MM-DD or MM-DD", entry.date);
                    return Err(refused(format!("special-day[{index}].date"), reason));
                }
            }
        }
        sorted("special-day", &mut special)?;
        sorted("special-day", &mut yearly)?;
        Ok(Self {
            default_step,
            days,
            weeks,
            seasons,
            special,
            yearly,
        })
    }

    /// The step before the first switch time of a day, counted from 0.
    pub fn default_step(&self) -> usize {
        usize::from(self.default_step)
    }

    fn profile_of(&self, date: Date) -> &DayProfile {
        let of_year = (date.month(), date.day());
        let special = found(&self.special, &date).or_else(|| found(&self.yearly, &of_year));
        let index = special.or_else(|| {
            let after = self.seasons.partition_point(|(start, _)| *start <= of_year);
            // Before the first season of a year the last one of the year before holds.
            let season = after
                .checked_sub(1)
                .map_or(self.seasons.last(), |at| self.seasons.get(at));
            let week = self.weeks.get(season.map_or(0, |(_, week)| *week))?;
            let weekday = date.weekday().to_monday_zero_offset() as usize;
            week.get(weekday).copied()
        });
        // Every index was made by looking a name up; without weeks the first day profile always holds.
        &self.days[index.unwrap_or(0)]
    }
}

impl DayProfile {
    /// The step at a second of the day.
    fn step_at(&self, second: i64) -> u8 {
        let after = self.switches.partition_point(|(at, _)| *at <= second);
        self.switches[after.saturating_sub(1)].1
    }

    /// The step that holds the whole day, if it is one.
    fn only_step(&self) -> Option<u8> {
        let (_, first) = self.switches.first()?;
        let all = self.switches.iter().all(|(_, step)| step == first);
        all.then_some(*first)
    }
}

/// A schedule in a zone, which remembers the day it was asked for last.
#[derive(Clone, Debug)]
pub struct Steps {
    schedule: Schedule,
    zone: Zone,
    day: RefCell<Day>,
}

#[derive(Clone, Debug)]
struct Day {
    span: Span,
    date: Date,
    /// Second and step, ascending, the first at the beginning of the day.
    steps: Vec<(i64, u8)>,
}

impl Steps {
    /// The steps of a schedule in legal time of `zone`.
    pub fn new(schedule: Schedule, zone: Zone) -> Self {
        let day = RefCell::new(Day::of(&schedule, &zone, Date::constant(1970, 1, 1)));
        Self {
            schedule,
            zone,
            day,
        }
    }

    /// The step that holds from `instant` on, counted from 0.
    pub fn at(&self, instant: UtcNanos) -> usize {
        let second = instant.seconds();
        self.to_day_of(second);
        usize::from(self.day.borrow().step_at(second))
    }

    /// The step that holds from `from` on, if no other one holds anywhere before `to`.
    pub fn throughout(&self, from: UtcNanos, to: UtcNanos) -> Option<usize> {
        let (from, to) = (from.seconds(), to.seconds());
        self.to_day_of(from);
        let (step, mut date) = {
            let day = self.day.borrow();
            let step = day.step_at(from);
            if !day.keeps(step, from, to) {
                return None;
            }
            if to <= day.span.end {
                return Some(usize::from(step));
            }
            (step, day.date)
        };
        loop {
            date = date.checked_add(1.day()).ok()?;
            let (start, end) = self.zone.day_of(date);
            if start >= to {
                return Some(usize::from(step));
            }
            let profile = self.schedule.profile_of(date);
            let keeps = profile.only_step() == Some(step)
                || (end >= to && Day::of(&self.schedule, &self.zone, date).keeps(step, start, to));
            if !keeps {
                return None;
            }
        }
    }

    fn to_day_of(&self, second: i64) {
        let mut day = self.day.borrow_mut();
        if !(day.span.start..day.span.end).contains(&second) {
            let date = self.zone.date(UtcNanos::from_seconds(second));
            *day = Day::of(&self.schedule, &self.zone, date);
        }
    }
}

impl Day {
    fn of(schedule: &Schedule, zone: &Zone, date: Date) -> Self {
        let profile = schedule.profile_of(date);
        let (start, end) = zone.day_of(date);
        let mut offsets = zone.offsets(start, end);
        offsets.push((end, 0));
        let mut steps: Vec<(i64, u8)> = Vec::new();
        let midnight = start + offsets.first().map_or(0, |(_, offset)| *offset);
        for piece in offsets.windows(2) {
            let [(from, offset), (to, _)] = *piece else {
                continue;
            };
            let wall = |second: i64| second + offset - midnight;
            steps.push((from, profile.step_at(wall(from))));
            let inside = profile
                .switches
                .iter()
                .filter(|(at, _)| *at > wall(from) && *at < wall(to));
            steps.extend(inside.map(|(at, step)| (at - offset + midnight, *step)));
        }
        steps.dedup_by_key(|(_, step)| *step);
        Self {
            span: Span { start, end },
            date,
            steps,
        }
    }

    fn step_at(&self, second: i64) -> u8 {
        let after = self.steps.partition_point(|(at, _)| *at <= second);
        self.steps
            .get(after.saturating_sub(1))
            .map_or(0, |(_, step)| *step)
    }

    /// Whether only `step` holds from `from` to `to`, as far as this day goes.
    fn keeps(&self, step: u8, from: i64, to: i64) -> bool {
        let inside = self.steps.iter().filter(|(at, _)| *at > from && *at < to);
        self.step_at(from.max(self.span.start)) == step
            && inside.into_iter().all(|(_, other)| *other == step)
    }
}

fn refused(field: String, reason: String) -> ScheduleError {
    ScheduleError { field, reason }
}

fn count(
    field: &str,
    count: usize,
    allowed: core::ops::RangeInclusive<usize>,
) -> Result<(), ScheduleError> {
    if allowed.contains(&count) {
        return Ok(());
    }
    let reason = format!(
        "expected {} to {}, found {count}",
        allowed.start(),
        allowed.end()
    );
    Err(refused(field.into(), reason))
}

fn unique<'a>(
    field: &str,
    names: impl Iterator<Item = &'a ProfileName>,
) -> Result<(), ScheduleError> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(refused(field.into(), format!("{} is there twice", pair[0]))),
        None => Ok(()),
    }
}

fn sorted<T: Ord + Copy>(field: &str, days: &mut [(T, usize)]) -> Result<(), ScheduleError> {
    days.sort_unstable();
    let twice = days.windows(2).any(|pair| pair[0].0 == pair[1].0);
    let refusal = || refused(field.into(), "a day is there twice".into());
    (!twice).then_some(()).ok_or_else(refusal)
}

fn found<T: Ord>(days: &[(T, usize)], day: &T) -> Option<usize> {
    let at = days.binary_search_by(|(known, _)| known.cmp(day)).ok()?;
    days.get(at).map(|(_, profile)| *profile)
}

/// Seconds since midnight of `HH:MM` or `HH:MM:SS`.
pub(crate) fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let mut part = |below: i64| -> Option<i64> {
        let text = parts.next()?;
        let number = two_digits(text)?;
        (number < below).then_some(number)
    };
    let (hours, minutes) = (part(24)?, part(60)?);
    let seconds = if text.len() > 5 { part(60)? } else { 0 };
    let whole = parts.next().is_none();
    whole.then_some(hours * 3_600 + minutes * 60 + seconds)
}

/// Month and day of `MM-DD`; February has 29 days here.
fn month_and_day(text: &str) -> Option<(i8, i8)> {
    let (month, day) = text.split_once('-')?;
    let (month, day) = (two_digits(month)? as i8, two_digits(day)? as i8);
    Date::new(2024, month, day)
        .ok()
        .map(|date| (date.month(), date.day()))
}

fn two_digits(text: &str) -> Option<i64> {
    let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A step every 30 seconds of a day, with some to spare.
const MOST_SWITCHES: usize = 3_000;
