// SPDX-License-Identifier: MIT OR Apache-2.0
//! What HAN users can look at, read-only.

use std::path::PathBuf;
use std::sync::Arc;

use smgw_core::Entry;
use smgw_units::{DeviceId, Obis};

use crate::board::Board;
use crate::store::{Selection, Store, StoreError};

/// A read-only look at the gateway.
#[derive(Clone, Debug)]
pub struct View {
    /// The gateway's id.
    pub device_id: DeviceId,
    /// Registration period in seconds.
    pub period_seconds: u32,
    /// Meters and the registers kept of them.
    pub meters: Vec<(DeviceId, Vec<Obis>)>,
    /// Links and receptions.
    pub board: Arc<Board>,
    /// The value store.
    pub store: PathBuf,
}

impl View {
    /// The registers of a meter, `None` for a meter that is not there.
    pub fn registers(&self, meter: DeviceId) -> Option<&[Obis]> {
        let (_, registers) = self.meters.iter().find(|(id, _)| *id == meter)?;
        Some(registers)
    }

    /// One value list per register in `registers`, all from one reading connection.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lists(
        &self,
        meter: DeviceId,
        registers: &[Obis],
        selection: Selection,
    ) -> Result<Vec<(Obis, Vec<Entry>)>, StoreError> {
        let store = Store::open_reader(&self.store)?;
        let list = |obis: &Obis| {
            Ok((
                *obis,
                store.entries(meter, *obis, self.period_seconds, selection)?,
            ))
        };
        registers.iter().map(list).collect()
    }
}
