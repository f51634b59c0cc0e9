// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one thread that owns the value lists and the evaluations: what the lines tell becomes entries, entries become
//! registers and deliveries, and all of one instant goes to the store together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use smgw_core::clock;
use smgw_core::log::{Event, EventKind};
use smgw_core::profile::{MeterProfile, ProfileSet, Validity};
use smgw_core::{Entry, GapReason, Grid, Meter, Newest, Reading, Tolerance};
use smgw_units::{DeviceId, Obis, UtcNanos};
use tracing::{info, warn};

use crate::board::{Board, Reception};
use crate::clock::Clock;
use crate::defects::{Defect, Defects};
use crate::evaluating::Evaluations;
use crate::journal::Journal;
use crate::keeping::Keeper;
use crate::lmn::Grids;
use crate::store::{Batch, Kept};

/// What happened on a line.
#[derive(Debug)]
pub struct LineEvent {
    /// Number of the meter in the configuration.
    pub meter: usize,
    /// When, for telegrams the stamp of the first byte.
    pub stamp: UtcNanos,
    /// What.
    pub kind: LineEventKind,
}

/// Kinds of events.
#[derive(Debug)]
pub enum LineEventKind {
    /// A good telegram of the right meter.
    Telegram {
        /// What identifies it, in hex.
        id: String,
        /// What it says.
        readings: Vec<Reading>,
    },
    /// A message counter that must never count again; comes before its telegram.
    Counter {
        /// Under which key the store keeps it.
        fact: String,
        /// The counter.
        counter: u32,
    },
    /// A telegram that cannot be used.
    Refused {
        /// What identifies it, in hex, as far as it could be read.
        id: String,
        /// Why.
        reason: GapReason,
    },
    /// Something other than a telegram.
    Fault(GapReason),
    /// The port is back.
    LinkUp,
    /// Something for the log book only.
    Logged(Event),
}

/// What the measuring thread is told.
#[derive(Debug)]
pub enum Order {
    /// Something happened on a line.
    Line(LineEvent),
    /// These sets of profiles count from now on, each for its grid points.
    Profiles(Vec<Window>),
    /// The clock was advanced: to be told when all that is due is kept.
    Settle(Sender<()>),
    /// The gateway ends.
    Stop,
}

/// A set of profiles and the grid points it counts for.
#[derive(Clone, Debug)]
pub struct Window {
    /// Number of the version.
    pub number: u32,
    /// Its grid points.
    pub span: Validity,
    /// The profiles.
    pub set: Arc<ProfileSet>,
}

/// The lists of one meter on one grid, for one set of profiles.
#[derive(Debug)]
struct Lists {
    line: usize,
    version: u32,
    from: Option<UtcNanos>,
    meter: Meter,
}

/// The state of the measuring thread.
#[derive(Debug)]
pub struct Measuring {
    /// Ids of the meters by the numbers of their lines.
    pub lines: Vec<DeviceId>,
    /// Those among them that are heard by radio.
    pub wireless: BTreeSet<DeviceId>,
    /// Facts that go to the store with the next batch, within a second.
    pub facts: BTreeMap<String, Vec<u8>>,
    /// The gateway's own registration period.
    pub period: Duration,
    /// How far from a grid point a value may lie.
    pub tolerance: Tolerance,
    /// The grids the lines must serve.
    pub grids: Arc<Grids>,
    /// What the store held of each list at the start, and what was decided since.
    pub newest: BTreeMap<(DeviceId, Obis, u32), Newest>,
    /// The evaluations.
    pub evaluations: Evaluations,
    /// Takes what is to be kept.
    pub keeper: Keeper,
    /// Takes down what happens.
    pub journal: Journal,
    /// What is going on on the lines.
    pub board: Arc<Board>,
    /// The gateway's clock.
    pub clock: Clock,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

/// The machines at work.
#[derive(Debug, Default)]
struct Machines {
    lists: Vec<Lists>,
}

impl Measuring {
    /// Works until it is told to stop.
    ///
    /// Time advances by the stamps of the events, so that a telegram that waited in the channel
    /// still meets its grid point, and by the clock when the lines are quiet.
    pub fn run(mut self, orders: &Receiver<Order>) {
        let mut machines = Machines::default();
        loop {
            let due = machines.next_deadline().into_iter();
            let due = due.chain(self.evaluations.next_deadline()).min();
            let wait = due.map_or(LONGEST_WAIT, |at| self.clock.until(at));
            // What is due cannot be decided while the store is behind; asking all the time would not help it.
            let shortest = match self.keeper.has_room() {
                true => Duration::ZERO,
                false => STORE_BEHIND,
            };
            let wait = wait.clamp(shortest, LONGEST_WAIT);
            match orders.recv_timeout(wait) {
                Ok(Order::Line(event)) => {
                    self.handle_time(&mut machines, event.stamp);
                    self.handle(&mut machines, event);
                }
                Ok(Order::Profiles(windows)) => {
                    self.arm(&mut machines, &windows, self.clock.now());
                }
                Ok(Order::Settle(settled)) => {
                    self.handle_time(&mut machines, self.clock.now());
                    self.keeper.settle(settled);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.handle_time(&mut machines, self.clock.now());
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    let batch = self.batch();
                    if batch != Batch::default() {
                        self.keeper.keep(batch);
                    }
                    return;
                }
            }
        }
    }

    /// Makes the machines fit the sets: those of a set that is no longer to come go, those of a set that ends now end with
    /// it, and new ones begin early enough to see the window of their first grid point.
    fn arm(&mut self, machines: &mut Machines, windows: &[Window], now: UtcNanos) {
        let begin = windows.first().and_then(|window| window.span.from());
        // Only with a seeded defect: a meter whose profile ends with the set before goes on.
        let goes_on = |id| {
            let ends =
                |profile: &MeterProfile| profile.meter == id && profile.validity.to().is_some();
            let mut sets = windows.iter().map(|window| &window.set);
            self.defects.has(Defect::EndlessList) && sets.any(|set| set.meters.iter().any(ends))
        };
        machines.lists.retain_mut(|lists| {
            match windows.iter().find(|window| window.number == lists.version) {
                Some(window) => {
                    if let Some(end) = window.span.to()
                        && !goes_on(lists.meter.id())
                    {
                        lists.meter.close(end);
                    }
                    true
                }
                // A set that is over may still have grid points to be decided; one that was to come is gone.
                None if lists.from.is_none_or(|from| from <= now) => {
                    if let Some(end) = begin {
                        lists.meter.close(end);
                    }
                    true
                }
                None => false,
            }
        });
        for window in windows {
            if machines
                .lists
                .iter()
                .any(|lists| lists.version == window.number)
            {
                continue;
            }
            let lists = self.lists_of(window, now);
            machines.lists.extend(lists);
        }
        self.evaluations.arm(windows, now);
        self.grids
            .set(machines.lists.iter().map(|lists| lists.meter.grid()));
    }

    /// The lists a set asks for.
    fn lists_of(&self, window: &Window, now: UtcNanos) -> Vec<Lists> {
        let mut made = Vec::new();
        for profile in &window.set.meters {
            let Some(line) = self.lines.iter().position(|id| *id == profile.meter) else {
                continue;
            };
            let Some(span) = profile.validity.within(window.span) else {
                continue;
            };
            let mut periods = vec![profile.period.unwrap_or(self.period)];
            periods.extend(window.set.periods_of(profile.meter));
            periods.sort_unstable();
            periods.dedup();
            for period in periods {
                // Checked when the set was taken.
                let Ok(grid) = Grid::new(period, self.tolerance) else {
                    continue;
                };
                let start = span
                    .from()
                    .map_or(now, |from| now.max(UtcNanos(from.0 - 1)));
                let seconds = seconds_of(grid);
                let newest = |obis| {
                    let list = (profile.meter, obis, seconds);
                    self.newest.get(&list).copied().unwrap_or_default()
                };
                let mut meter = Meter::new(profile.meter, &profile.registers, grid, start, newest);
                if let Some(end) = span.to() {
                    meter.close(end);
                }
                made.push(Lists {
                    line,
                    version: window.number,
                    from: window.span.from(),
                    meter,
                });
            }
        }
        made
    }

    fn handle(&mut self, machines: &mut Machines, event: LineEvent) {
        let LineEvent {
            meter: number,
            stamp,
            kind,
        } = event;
        if number >= 4 && self.defects.has(Defect::FewLines) {
            return;
        }
        let lists = machines
            .lists
            .iter_mut()
            .filter(|lists| lists.line == number);
        match kind {
            LineEventKind::Telegram { id, readings } => {
                let mut missing = false;
                for lists in lists {
                    missing |= !lists.meter.telegram(&readings, stamp).is_empty();
                }
                self.board.received(
                    number,
                    Reception {
                        telegram: id,
                        received_at: stamp,
                        fault: missing.then_some(GapReason::RegisterMissing),
                    },
                );
            }
            LineEventKind::Counter { fact, counter } => {
                self.facts.insert(fact, counter.to_be_bytes().into());
            }
            LineEventKind::Refused { id, reason } => {
                if FORGED.contains(&reason) {
                    self.note_of(number, Event::new(EventKind::TelegramRefused).with(reason));
                }
                lists.for_each(|lists| lists.meter.fault(reason, stamp));
                self.board.received(
                    number,
                    Reception {
                        telegram: id,
                        received_at: stamp,
                        fault: Some(reason),
                    },
                );
            }
            LineEventKind::Fault(reason) => {
                lists.for_each(|lists| lists.meter.fault(reason, stamp));
                self.board.fault(number, reason);
                if reason == GapReason::LinkLost {
                    self.note_of(number, Event::new(EventKind::PortLost).with(reason));
                }
            }
            LineEventKind::LinkUp => {
                lists.for_each(|lists| lists.meter.link_up(stamp));
                self.board.link_up(number);
                self.note_of(number, Event::new(EventKind::PortBack));
            }
            LineEventKind::Logged(event) => self.note_of(number, event),
        }
    }

    /// Takes down an event about a meter.
    fn note_of(&self, number: usize, event: Event) {
        if let Some(meter) = self.lines.get(number) {
            self.journal.note(event.subject(meter));
        }
    }

    /// A batch with the facts that wait.
    fn batch(&mut self) -> Batch {
        Batch {
            facts: std::mem::take(&mut self.facts).into_iter().collect(),
            ..Batch::default()
        }
    }

    /// Decides what is due, and hands all of it to the store as one.
    fn handle_time(&mut self, machines: &mut Machines, now: UtcNanos) {
        if !self.keeper.has_room() {
            return;
        }
        let not_for_billing = self.journal.calibration_full();
        // Status bit 9 for what is decided while time is invalid (detail specifications table 15.1).
        let time_invalid = self.clock.validity() == clock::Validity::Invalid
            && !self.defects.has(Defect::UnmarkedTime);
        let mut batch = self.batch();
        for lists in &mut machines.lists {
            let mut entries = lists.meter.handle_time(now);
            if entries.is_empty() {
                continue;
            }
            let (meter, period) = (lists.meter.id(), seconds_of(lists.meter.grid()));
            self.defects.falsify_entries(meter, &mut entries);
            for mut entry in entries {
                if self.wireless.contains(&meter) {
                    entry.status = entry.status.with_wireless();
                }
                if time_invalid {
                    entry.status = entry.status.with_time_invalid();
                }
                if not_for_billing {
                    entry.status = entry.status.with_not_for_billing();
                }
                log(meter, &entry);
                if let smgw_core::Content::Gap(reason) = entry.content {
                    let gap = Event::new(EventKind::GapKept).subject(meter);
                    self.journal.note(gap.with(entry.obis).with(reason));
                }
                let newest = self.newest.entry((meter, entry.obis, period)).or_default();
                newest.target = newest.target.max(Some(entry.target));
                if let smgw_core::Content::Value { capture, .. } = entry.content {
                    newest.capture = newest.capture.max(Some(capture));
                }
                batch.entries.push(Kept {
                    meter,
                    period,
                    entry,
                    signature: Vec::new(),
                });
            }
        }
        machines.lists.retain(|lists| !lists.meter.is_finished());
        self.evaluations.handle(&mut batch, now, &self.journal);
        if batch != Batch::default() {
            self.keeper.keep(batch);
        }
    }
}

impl Machines {
    fn next_deadline(&self) -> Option<UtcNanos> {
        self.lists
            .iter()
            .filter_map(|lists| lists.meter.next_deadline())
            .min()
    }
}

/// The period of a grid in seconds.
pub fn seconds_of(grid: Grid) -> u32 {
    // At most 31 days.
    u32::try_from(grid.period_seconds()).unwrap_or(u32::MAX)
}

fn log(meter: DeviceId, entry: &Entry) {
    let Entry { obis, target, .. } = entry;
    match entry.content {
        // Values are personal data: logs tell that one was kept, never what it was.
        smgw_core::Content::Value { capture, .. } => {
            info!(%meter, %obis, %target, %capture, "value decided");
        }
        smgw_core::Content::Gap(reason) => warn!(%meter, %obis, %target, %reason, "gap decided"),
    }
}

/// Why telegrams are refused that somebody may have sent on purpose: these stand in the log (catalogue row LMR-02).
const FORGED: [GapReason; 3] = [
    GapReason::Unprotected,
    GapReason::NotAuthentic,
    GapReason::Replayed,
];
/// So that a clock that was stepped is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Between two looks whether the store takes more.
const STORE_BEHIND: Duration = Duration::from_millis(100);
