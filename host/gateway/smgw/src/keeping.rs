// SPDX-License-Identifier: MIT OR Apache-2.0
//! The thread between measuring and the store: signs the values (inner signature), and keeps what belongs together in
//! one transaction. A slow module or disk holds up this thread, never the measuring.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use hsm_api::{Hash, KeyId, SecurityModule};
use tracing::error;

use crate::board::Board;
use crate::defects::{Defect, Defects};
use crate::journal::Journal;
use crate::store::Batch;

/// Signs values with the gateway's key.
#[derive(Debug)]
pub struct Signer {
    /// The module.
    pub module: Arc<dyn SecurityModule>,
    /// Name of the key in it.
    pub key: KeyId,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl Signer {
    /// Signs every value of the batch that has no signature yet. What the module does not sign stays unsigned and can
    /// be told by that; the first refusal ends the attempt, for a dead module refuses all of them slowly.
    fn sign(&self, batch: &mut Batch) {
        for kept in batch
            .entries
            .iter_mut()
            .filter(|kept| kept.signature.is_empty())
        {
            let Some(mut input) = smgw_core::inner_signature_input(kept.meter, &kept.entry) else {
                continue;
            };
            if self.defects.has(Defect::ForeignSignature) {
                input.push(0);
            }
            let digest = Hash::Sha256.digest(&input);
            match self.module.sign_digest(&self.key, &digest) {
                Ok(signature) => kept.signature = signature,
                Err(error) => return error!(%error, "values are kept without inner signature"),
            }
        }
    }
}

/// What the thread is told.
#[derive(Debug)]
enum Work {
    Keep(Batch),
    /// Everything before this is kept.
    Settled(Sender<()>),
}

/// Takes batches; cheap to hand over.
#[derive(Debug)]
pub struct Keeper {
    works: Sender<Work>,
    waiting: Arc<AtomicUsize>,
}

impl Keeper {
    /// Starts the thread; it ends when the keeper is dropped and all it took is kept.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(
        journal: Journal,
        signer: Option<Signer>,
        board: Arc<Board>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (works, received) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let keeping = Keeping {
            journal,
            signer,
            board,
            waiting: waiting.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("keeping".into())
            .spawn(move || keeping.run(&received))?;
        Ok((Self { works, waiting }, thread))
    }

    /// Whether another batch may come. While the store refuses, a few wait; then nothing more is to be decided, so that
    /// nothing that was decided is lost, and what becomes due in between becomes gaps.
    pub fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < MOST_WAITING
    }

    /// Hands over a batch.
    pub fn keep(&self, batch: Batch) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        if self.works.send(Work::Keep(batch)).is_err() {
            error!("the keeping thread is gone: entries are lost");
        }
    }

    /// Has `settled` told when everything handed over before is kept, or lost.
    pub fn settle(&self, settled: Sender<()>) {
        // Who waits hears of an end by the end of the channel.
        let _ = self.works.send(Work::Settled(settled));
    }
}

struct Keeping {
    journal: Journal,
    signer: Option<Signer>,
    board: Arc<Board>,
    waiting: Arc<AtomicUsize>,
}

impl Keeping {
    fn run(self, works: &Receiver<Work>) {
        while let Ok(work) = works.recv() {
            let mut batch = match work {
                Work::Keep(batch) => batch,
                Work::Settled(settled) => {
                    // Nobody may be waiting any more.
                    let _ = settled.send(());
                    continue;
                }
            };
            if let Some(signer) = &self.signer {
                signer.sign(&mut batch);
            }
            match self.commit(&mut batch) {
                true => self.board.kept(batch.entries.len()),
                false => {
                    error!(entries = batch.entries.len(), "entries are lost");
                    self.board.lost(batch.entries.len());
                }
            }
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Tries until the store has the batch; gives up on one that contradicts what the store holds, which everything after
    /// it must not wait for, and when the gateway ends with a store that refuses.
    fn commit(&self, batch: &mut Batch) -> bool {
        for attempt in 1_u32.. {
            let Err(error) = self.journal.commit(batch) else {
                return true;
            };
            error!(%error, attempt, entries = batch.entries.len(), "not stored");
            let ending = Arc::strong_count(&self.waiting) == 1;
            if error.is_contradiction() || (ending && attempt >= LAST_ATTEMPTS) {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }
}

/// Registration instants that may wait for the store.
const MOST_WAITING: usize = 4;
/// Attempts to keep what was decided last, when the gateway ends.
const LAST_ATTEMPTS: u32 = 4;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
