// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gateway knows of its meters right now: links and the newest receptions. Times of
//! receptions stand here, never what a telegram said.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smgw_core::{GapReason, Grid};
use smgw_units::{DeviceId, UtcNanos};

/// One telegram that came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reception {
    /// What identifies the telegram, in hex; empty when it was too damaged to tell.
    pub telegram: String,
    /// Stamp of its first byte.
    pub received_at: UtcNanos,
    /// `None` when all was well.
    pub fault: Option<GapReason>,
}

/// State of a meter's line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// Telegrams come.
    Ok,
    /// The port is open, but nothing has come for two registration periods.
    Silent,
    /// The port is gone.
    Lost,
}

impl Link {
    /// The word the public interface uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Silent => "silent",
            Self::Lost => "lost",
        }
    }
}

#[derive(Debug)]
struct Line {
    id: DeviceId,
    lost: bool,
    fault: Option<GapReason>,
    heard_at: Option<UtcNanos>,
    receptions: VecDeque<Reception>,
}

/// Shared between the measuring thread, which writes, and the HAN, which reads.
#[derive(Debug)]
pub struct Board {
    started_at: UtcNanos,
    silent_after: i64,
    lines: Vec<Mutex<Line>>,
    kept: AtomicU64,
    lost: AtomicU64,
    telegrams: AtomicU64,
}

/// What became of the entries since the start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tally {
    /// In the store.
    pub kept: u64,
    /// Not taken by the store in time.
    pub lost: u64,
}

impl Board {
    /// A board on which nothing has happened yet.
    pub fn new(
        meters: impl IntoIterator<Item = DeviceId>,
        grid: Grid,
        started_at: UtcNanos,
    ) -> Self {
        let line = |id| {
            Mutex::new(Line {
                id,
                lost: false,
                fault: None,
                heard_at: None,
                receptions: VecDeque::new(),
            })
        };
        Self {
            started_at,
            silent_after: 2 * grid.period_seconds() * 1_000_000_000,
            lines: meters.into_iter().map(line).collect(),
            kept: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            telegrams: AtomicU64::new(0),
        }
    }

    /// So many entries are in the store.
    pub fn kept(&self, entries: usize) {
        self.kept.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// So many entries will never be in the store.
    pub fn lost(&self, entries: usize) {
        self.lost.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// What became of the entries.
    pub fn tally(&self) -> Tally {
        Tally {
            kept: self.kept.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }

    /// When the gateway started.
    pub fn started_at(&self) -> UtcNanos {
        self.started_at
    }

    /// Ids of all meters, in the order of the configuration.
    pub fn meters(&self) -> impl Iterator<Item = DeviceId> + '_ {
        self.lines.iter().map(|line| lock(line).id)
    }

    /// Telegrams that came since the start, usable or not.
    pub fn telegrams(&self) -> u64 {
        self.telegrams.load(Ordering::Relaxed)
    }

    /// A telegram came on the line of meter number `meter`.
    pub fn received(&self, meter: usize, reception: Reception) {
        self.telegrams.fetch_add(1, Ordering::Relaxed);
        let Some(line) = self.lines.get(meter) else {
            return;
        };
        let mut line = lock(line);
        line.lost = false;
        line.fault = reception.fault;
        line.heard_at = Some(reception.received_at);
        if line.receptions.len() == NEWEST_RECEPTIONS {
            line.receptions.pop_front();
        }
        line.receptions.push_back(reception);
    }

    /// Something other than a telegram happened on that line.
    pub fn fault(&self, meter: usize, reason: GapReason) {
        if let Some(line) = self.lines.get(meter) {
            let mut line = lock(line);
            line.lost = reason == GapReason::LinkLost;
            line.fault = Some(reason);
        }
    }

    /// The port of that line is back.
    pub fn link_up(&self, meter: usize) {
        if let Some(line) = self.lines.get(meter) {
            let mut line = lock(line);
            line.lost = false;
            line.fault = None;
        }
    }

    /// Link and, unless all is well, the reason, of each meter.
    pub fn links(&self, now: UtcNanos) -> Vec<(DeviceId, Link, Option<GapReason>)> {
        let state = |line: &Mutex<Line>| {
            let line = lock(line);
            let since = line.heard_at.unwrap_or(self.started_at);
            let silent = now.signed_since(since) > self.silent_after;
            match (line.lost, silent) {
                (true, _) => (line.id, Link::Lost, Some(GapReason::LinkLost)),
                (false, true) => (
                    line.id,
                    Link::Silent,
                    line.fault.or(Some(GapReason::NoTelegram)),
                ),
                (false, false) => (line.id, Link::Ok, line.fault),
            }
        };
        self.lines.iter().map(state).collect()
    }

    /// The newest `count` receptions of a meter, oldest first.
    pub fn receptions(&self, meter: DeviceId, count: Option<u32>) -> Vec<Reception> {
        let Some(line) = self.lines.iter().map(lock).find(|line| line.id == meter) else {
            return Vec::new();
        };
        let wanted = count.map_or(usize::MAX, |count| count as usize);
        let skipped = line.receptions.len().saturating_sub(wanted);
        line.receptions.iter().skip(skipped).cloned().collect()
    }
}

/// A poisoned lock only means that another thread died between two field writes; the board is still readable.
fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many receptions are kept of each meter.
const NEWEST_RECEPTIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use smgw_core::Tolerance;

    use super::*;

    #[test]
    fn keeps_the_newest_receptions_and_tells_silence_from_loss() {
        let id: DeviceId = "1smb0000000001".parse().unwrap();
        let grid = Grid::new(Duration::from_secs(5), Tolerance::ONE_PERCENT).unwrap();
        let at = UtcNanos::from_seconds;
        let board = Board::new([id], grid, at(100));
        assert_eq!(board.links(at(110)), [(id, Link::Ok, None)]);
        assert_eq!(
            board.links(at(111)),
            [(id, Link::Silent, Some(GapReason::NoTelegram))]
        );
        for second in 0..5_000 {
            let telegram = format!("{second:08x}");
            board.received(
                0,
                Reception {
                    telegram,
                    received_at: at(second),
                    fault: None,
                },
            );
        }
        let held = board.receptions(id, None);
        assert_eq!(held.len(), 4096);
        assert_eq!(
            held.first().map(|first| first.received_at),
            Some(at(5_000 - 4096))
        );
        assert_eq!(board.receptions(id, Some(2)).len(), 2);
        board.fault(0, GapReason::LinkLost);
        assert_eq!(
            board.links(at(5_000)),
            [(id, Link::Lost, Some(GapReason::LinkLost))]
        );
        board.link_up(0);
        assert_eq!(board.links(at(5_000)), [(id, Link::Ok, None)]);
    }
}
