// SPDX-License-Identifier: MIT OR Apache-2.0
//! What HAN users can look at, read-only.

use std::path::PathBuf;
use std::sync::Arc;

use smgw_core::log::{Book, Record};
use smgw_core::profile::{EvaluationProfile, ProfileName};
use smgw_core::taf::Derived;
use smgw_units::{DeviceId, Obis};

use crate::active::Current;
use crate::board::Board;
use crate::clock::Clock;
use crate::store::{Kept, LogSelection, Selection, Store, StoreError};

/// A read-only look at the gateway.
#[derive(Clone, Debug)]
pub struct View {
    /// The gateway's id.
    pub device_id: DeviceId,
    /// Registration period in seconds.
    pub period_seconds: u32,
    /// Meters and the registers kept of them, by the profiles that count.
    pub current: Current,
    /// Links and receptions.
    pub board: Arc<Board>,
    /// The gateway's clock.
    pub clock: Clock,
    /// The value store.
    pub store: PathBuf,
}

impl View {
    /// The registers of a meter, `None` for a meter that is not there.
    pub fn registers(&self, meter: DeviceId) -> Option<Vec<Obis>> {
        self.current.borrow().registers(meter).map(<[_]>::to_vec)
    }

    /// One value list per register in `registers` on the grid of `period` seconds, all from one reading connection.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lists(
        &self,
        meter: DeviceId,
        registers: &[Obis],
        period: u32,
        selection: Selection,
    ) -> Result<Vec<(Obis, Vec<Kept>)>, StoreError> {
        let store = Store::open_reader(&self.store)?;
        let list = |obis: &Obis| Ok((*obis, store.kept(meter, *obis, period, selection)?));
        registers.iter().map(list).collect()
    }

    /// The selected records of a log book.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn log(&self, book: &Book, selection: LogSelection) -> Result<Vec<Record>, StoreError> {
        Store::open_reader(&self.store)?.log(book, selection)
    }

    /// The evaluations that count.
    pub fn evaluations(&self) -> Vec<EvaluationProfile> {
        self.current.borrow().set.evaluations.clone()
    }

    /// The newest line of each register of an evaluation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn registers_of(&self, evaluation: &ProfileName) -> Result<Vec<Derived>, StoreError> {
        Store::open_reader(&self.store)?.registers(evaluation)
    }

    /// The selected lines an evaluation derived, of one register or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn derived(
        &self,
        evaluation: &ProfileName,
        obis: Option<Obis>,
        selection: Selection,
    ) -> Result<Vec<Derived>, StoreError> {
        Store::open_reader(&self.store)?.derived(evaluation, obis, selection)
    }
}
