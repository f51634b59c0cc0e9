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
use crate::store::{Batch, Kept, Store};

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
    /// Registration period in seconds.
    period: u32,
    /// Batches the store has not taken yet.
    unsaved: VecDeque<Batch>,
}

impl Measuring {
    /// Ready to run.
    pub fn new(
        meters: Vec<Meter>,
        period: u32,
        store: Store,
        board: Arc<Board>,
        defects: Defects,
    ) -> Self {
        Self {
            meters,
            store,
            board,
            defects,
            period,
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

    /// Decides what is due, and keeps it. While the store refuses, a few batches wait; then measuring stops: nothing more
    /// is decided until the store takes them, and what was due in between becomes gaps.
    fn handle_time(&mut self, now: UtcNanos) {
        if self.unsaved.len() < MOST_UNSAVED {
            let mut batch = Batch::default();
            for meter in &mut self.meters {
                let mut entries = meter.handle_time(now);
                self.defects.falsify_entries(meter.id(), &mut entries);
                for entry in entries {
                    log(meter.id(), &entry);
                    batch.entries.push(Kept {
                        meter: meter.id(),
                        period: self.period,
                        entry,
                        signature: Vec::new(),
                    });
                }
            }
            if !batch.entries.is_empty() {
                self.unsaved.push_back(batch);
            }
        }
        while let Some(batch) = self.unsaved.front() {
            if let Err(error) = self.store.commit(batch) {
                error!(%error, waiting = self.unsaved.len(), "entries not stored, trying again");
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
/// Registration instants that wait while the store refuses.
const MOST_UNSAVED: usize = 4;
