// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legal time: days, billing periods and the switch times of time variable tariffs (TAF 2 of TR-03109-1).
//!
//! Instants are UTC without leap seconds, as operating systems and NTP clients keep it: a leap second repeats or
//! stretches the second before it, no grid point falls into it, and a day of legal time has 92, 96 or 100 quarter
//! hours, never one second more. The rules of the zone come with the program; nothing of the machine is read.

mod billing;
mod schedule;
mod zone;

pub use billing::{Billing, Span};
pub(crate) use schedule::time_of_day;
pub use schedule::{RawSchedule, Schedule, ScheduleError, Steps};
pub use zone::{Zone, ZoneError};
