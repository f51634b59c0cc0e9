// SPDX-License-Identifier: MIT OR Apache-2.0
//! The measuring thread: takes what the lines bring, lets the core decide, keeps the entries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use smgw_core::{Entry, GapReason, Meter, Reading};
use smgw_units::{DeviceId, UtcNanos};
use tracing::{error, info, warn};

use crate::board::{Board, Reception};
use crate::clock;
use crate::defects::Defects;
use crate::store::Store;

/// What a line reports.
#[derive(Clone, Debug)]
pub struct LineEvent {
    /// Number of the meter in the configuration.
    pub meter: usize,
    /// When it happened; of a telegram, when its first byte was received.
    pub stamp: UtcNanos,
    /// What happened.
    pub kind: LineEventKind,
}

/// Kinds of [`LineEvent`].
#[derive(Clone, Debug)]
pub enum LineEventKind {
    /// A good telegram of this meter.
    Telegram {
        /// What identifies it, in hex.
        id: String,
        /// All its registers.
        readings: Vec<Reading>,
    },
    /// A telegram that does not count.
    Refused {
        /// What identifies it, in hex; empty when it was too damaged to tell.
        id: String,
        /// Why it does not count.
        reason: GapReason,
    },
    /// Something other than a telegram.
    Fault(GapReason),
    /// The port is back.
    LinkUp,
}

/// The state of the measuring thread.
#[derive(Debug)]
pub struct Measuring {
    meters: Vec<Meter>,
    store: Store,
    board: Arc<Board>,
    defects: Defects,
    /// Entries the store has not taken yet.
    unsaved: VecDeque<(DeviceId, Vec<Entry>)>,
}

impl Measuring {
    /// Ready to run.
    pub fn new(meters: Vec<Meter>, store: Store, board: Arc<Board>, defects: Defects) -> Self {
        Self {
            meters,
            store,
            board,
            defects,
            unsaved: VecDeque::new(),
        }
    }

    /// Works until every line has hung up.
    ///
    /// Time advances by the stamps of the events, so that a telegram that waited in the channel
    /// still meets its grid point, and by the clock when the lines are quiet.
    pub fn run(mut self, lines: &Receiver<LineEvent>) {
        loop {
            let deadline = self.meters.iter().filter_map(Meter::next_deadline).min();
            let wait = deadline
                .map_or(LONGEST_WAIT, clock::until)
                .min(LONGEST_WAIT);
            match lines.recv_timeout(wait) {
                Ok(event) => {
                    self.handle_time(event.stamp);
                    self.handle(event);
                }
                Err(RecvTimeoutError::Timeout) => self.handle_time(clock::utc_now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn handle(
        &mut self,
        LineEvent {
            meter: number,
            stamp,
            kind,
        }: LineEvent,
    ) {
        let Some(meter) = self.meters.get_mut(number) else {
            return;
        };
        match kind {
            LineEventKind::Telegram { id, readings } => {
                let missing = meter.telegram(&readings, stamp);
                let fault = (!missing.is_empty()).then_some(GapReason::RegisterMissing);
                self.board.received(
                    number,
                    Reception {
                        telegram: id,
                        received_at: stamp,
                        fault,
                    },
                );
            }
            LineEventKind::Refused { id, reason } => {
                meter.fault(reason, stamp);
                let fault = Some(reason);
                self.board.received(
                    number,
                    Reception {
                        telegram: id,
                        received_at: stamp,
                        fault,
                    },
                );
            }
            LineEventKind::Fault(reason) => {
                meter.fault(reason, stamp);
                self.board.fault(number, reason);
            }
            LineEventKind::LinkUp => {
                meter.link_up(stamp);
                self.board.link_up(number);
            }
        }
    }

    fn handle_time(&mut self, now: UtcNanos) {
        for meter in &mut self.meters {
            let mut entries = meter.handle_time(now);
            if entries.is_empty() {
                continue;
            }
            self.defects.falsify_entries(meter.id(), &mut entries);
            for entry in &entries {
                log(meter.id(), entry);
            }
            self.unsaved.push_back((meter.id(), entries));
        }
        while let Some((meter, entries)) = self.unsaved.front() {
            if let Err(error) = self.store.append(*meter, entries) {
                error!(%meter, %error, waiting = self.unsaved.len(), "entries not stored, trying again");
                self.unsaved.truncate(MOST_UNSAVED);
                return;
            }
            self.unsaved.pop_front();
        }
    }
}

fn log(meter: DeviceId, entry: &Entry) {
    let Entry { obis, target, .. } = entry;
    match entry.content {
        // Values are personal data: logs tell that one was kept, never what it was.
        smgw_core::Content::Value { capture, .. } => {
            info!(%meter, %obis, %target, %capture, "value kept");
        }
        smgw_core::Content::Gap(reason) => warn!(%meter, %obis, %target, %reason, "gap kept"),
    }
}

/// So that a clock that was stepped is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Batches kept while the store refuses: a day of two meters by quarter hours.
const MOST_UNSAVED: usize = 192;
