// SPDX-License-Identifier: MIT OR Apache-2.0
//! One original value list: what happens to one register of one meter, grid point by grid point
//! (TR-03109-1 detail specifications §10.1; catalogue rows MET-01, MET-02, MET-03).
//!
//! Invariants: target times rise strictly, capture times rise strictly, and every entry is either
//! a reading that was received inside the window of its grid point or a gap with a reason.

use core::fmt;

use smgw_units::{Decimal, DeviceId, Obis, Unit, UtcNanos};

use crate::grid::Grid;
use crate::status::CombinedStatus;

/// One register as a meter told it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Which register.
    pub obis: Obis,
    /// Its value, exact.
    pub value: Decimal,
    /// Its unit; [`Unit::COUNT`] when the meter names none.
    pub unit: Unit,
    /// The meter's status word, 0 when it sent none.
    pub meter_status: u32,
}

/// Why a grid point has no value, from the weakest finding to the strongest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum GapReason {
    /// Nothing came at all.
    NoTelegram,
    /// A polled meter stayed silent.
    NoAnswer,
    /// Only damaged telegrams came.
    BadTelegram,
    /// Telegrams came in a security mode that is not allowed.
    Unprotected,
    /// Telegrams came whose authentication is wrong.
    NotAuthentic,
    /// Only telegrams came whose message counter does not rise.
    Replayed,
    /// Good telegrams came, but none near enough to the grid point.
    OffGrid,
    /// Another meter answered.
    WrongMeter,
    /// The right meter answered without this register.
    RegisterMissing,
    /// The port was gone.
    LinkLost,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [Self; 10] = [
        Self::NoTelegram,
        Self::NoAnswer,
        Self::BadTelegram,
        Self::Unprotected,
        Self::NotAuthentic,
        Self::Replayed,
        Self::OffGrid,
        Self::WrongMeter,
        Self::RegisterMissing,
        Self::LinkLost,
    ];

    /// The word the public interface uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoTelegram => "no-telegram",
            Self::NoAnswer => "no-answer",
            Self::BadTelegram => "bad-telegram",
            Self::Unprotected => "unprotected",
            Self::NotAuthentic => "not-authentic",
            Self::Replayed => "replayed",
            Self::OffGrid => "off-grid",
            Self::WrongMeter => "wrong-meter",
            Self::RegisterMissing => "register-missing",
            Self::LinkLost => "link-lost",
        }
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an entry says of its grid point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// A value received inside the window.
    Value {
        /// When it was received, rounded to the nearest whole second.
        capture: UtcNanos,
        /// The register.
        value: Decimal,
        /// Its unit.
        unit: Unit,
    },
    /// No value, and why.
    Gap(GapReason),
}

/// One line of a value list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The register.
    pub obis: Obis,
    /// The grid point.
    pub target: UtcNanos,
    /// Gateway and meter status.
    pub status: CombinedStatus,
    /// Value or gap.
    pub content: Content,
}

/// The newest times a list already holds, to go on from after a restart.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Newest {
    /// Newest grid point with an entry.
    pub target: Option<UtcNanos>,
    /// Newest capture time.
    pub capture: Option<UtcNanos>,
}

/// Name of an original value list, `<obis in hex>.<meter id>.sm` (VDE 1.33).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogicalName {
    /// The register.
    pub obis: Obis,
    /// The meter.
    pub meter: DeviceId,
}

impl fmt::Display for LogicalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.sm", self.obis.hex(), self.meter)
    }
}

/// The machine behind one list. Feed it in order of reception; call
/// [`handle_time`](Self::handle_time) when [`next_deadline`](Self::next_deadline) has passed.
#[derive(Clone, Debug)]
pub struct ValueList {
    obis: Obis,
    grid: Grid,
    /// The grid point to decide next.
    target: UtcNanos,
    newest_capture: Option<UtcNanos>,
    best: Option<(UtcNanos, Reading)>,
    /// Strongest finding inside the window of `target`.
    in_window: Option<GapReason>,
    /// Strongest finding since the last decision, wherever it lay.
    in_period: Option<GapReason>,
    lost_since: Option<UtcNanos>,
    /// The first grid point that is no longer this list's.
    end: Option<UtcNanos>,
}

impl ValueList {
    /// A list that starts with the first grid point after `start` that is newer than all it holds.
    pub fn new(obis: Obis, grid: Grid, start: UtcNanos, newest: Newest) -> Self {
        let after_start = grid.first_after(start);
        let target = newest
            .target
            .map_or(after_start, |held| grid.first_after(held).max(after_start));
        Self {
            obis,
            grid,
            target,
            newest_capture: newest.capture,
            best: None,
            in_window: None,
            in_period: None,
            lost_since: None,
            end: None,
        }
    }

    /// Ends the list before the grid point `end`; what comes later belongs to another list.
    pub fn close(&mut self, end: UtcNanos) {
        self.end = Some(self.end.map_or(end, |earlier| earlier.min(end)));
    }

    /// Whether the last entry has been given.
    pub fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.target >= end)
    }

    /// The register this list keeps.
    pub fn obis(&self) -> Obis {
        self.obis
    }

    /// A reading of this register, received at `stamp`.
    pub fn observe(&mut self, reading: Reading, stamp: UtcNanos) {
        self.link_up(stamp);
        let usable = self.grid.in_window(self.target, stamp)
            && self
                .newest_capture
                .is_none_or(|newest| whole_second(stamp) > newest);
        if !usable {
            self.note(GapReason::OffGrid, stamp);
            return;
        }
        let distance = |instant: UtcNanos| instant.0.abs_diff(self.target.0);
        if self
            .best
            .is_none_or(|(held, _)| distance(stamp) < distance(held))
        {
            self.best = Some((stamp, reading));
        }
    }

    /// Something other than a usable reading, noticed at `stamp`.
    pub fn fault(&mut self, reason: GapReason, stamp: UtcNanos) {
        if reason == GapReason::LinkLost {
            self.lost_since.get_or_insert(stamp);
        } else {
            self.link_up(stamp);
        }
        self.note(reason, stamp);
    }

    /// The port is back. Readings and other faults than a lost link imply it.
    pub fn link_up(&mut self, stamp: UtcNanos) {
        let Some(since) = self.lost_since.take() else {
            return;
        };
        let (opens, closes) = self.grid.window_of(self.target);
        if since <= closes && stamp >= opens {
            self.in_window = self.in_window.max(Some(GapReason::LinkLost));
        }
    }

    /// Entries of all grid points whose time has come by `now`, oldest first.
    ///
    /// A clock stepping back yields nothing until the next grid point is reached again: no target
    /// is ever repeated. A clock stepping forward yields gaps, but for more than 3000 points at
    /// once the list skips to the present instead of filling the store with a wrong clock.
    pub fn handle_time(&mut self, now: UtcNanos) -> Option<Entry> {
        if self.is_finished() || now < self.grid.decision_of(self.target) {
            return None;
        }
        let entry = self.decide();
        self.target = self.grid.next(self.target);
        let skipped =
            now.0.saturating_sub(self.target.0) / 1_000_000_000 / self.grid.period_seconds();
        if skipped > MOST_POINTS_AT_ONCE {
            self.target = self.grid.first_after(now);
        }
        Some(entry)
    }

    /// When the next entry is due; `None` when the last one has been given.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        (!self.is_finished()).then(|| self.grid.decision_of(self.target))
    }

    fn note(&mut self, reason: GapReason, stamp: UtcNanos) {
        self.in_period = self.in_period.max(Some(reason));
        if self.grid.in_window(self.target, stamp) {
            self.in_window = self.in_window.max(Some(reason));
        }
    }

    fn decide(&mut self) -> Entry {
        let (_, closes) = self.grid.window_of(self.target);
        let lost = self
            .lost_since
            .is_some_and(|since| since <= closes)
            .then_some(GapReason::LinkLost);
        let in_window = self.in_window.take().max(lost);
        let in_period = self.in_period.take();
        let (status, content) = match self.best.take() {
            Some((stamp, reading)) => {
                let capture = whole_second(stamp);
                self.newest_capture = Some(capture);
                let Reading {
                    value,
                    unit,
                    meter_status,
                    ..
                } = reading;
                (
                    CombinedStatus::of_value(meter_status),
                    Content::Value {
                        capture,
                        value,
                        unit,
                    },
                )
            }
            None => {
                let reason = in_window.or(in_period).unwrap_or(GapReason::NoTelegram);
                (CombinedStatus::of_gap(), Content::Gap(reason))
            }
        };
        Entry {
            obis: self.obis,
            target: self.target,
            status,
            content,
        }
    }
}

/// `stamp` rounded to the nearest whole second, the resolution of a capture time (VDE 1.38).
fn whole_second(stamp: UtcNanos) -> UtcNanos {
    UtcNanos::from_seconds(UtcNanos(stamp.0.saturating_add(500_000_000)).seconds())
}

/// A month of quarter hours.
const MOST_POINTS_AT_ONCE: i64 = 3_000;
