// SPDX-License-Identifier: MIT OR Apache-2.0
//! All value lists of one meter: a telegram feeds them together.

use smgw_units::{DeviceId, Obis, UtcNanos};

use crate::grid::Grid;
use crate::list::{Entry, GapReason, LogicalName, Newest, Reading, ValueList};

/// The registers the gateway keeps of one meter on one grid.
#[derive(Clone, Debug)]
pub struct Meter {
    id: DeviceId,
    grid: Grid,
    lists: Vec<ValueList>,
}

impl Meter {
    /// A meter observed from `start` on; `newest` tells what the store already holds of a register.
    pub fn new(
        id: DeviceId,
        registers: &[Obis],
        grid: Grid,
        start: UtcNanos,
        newest: impl Fn(Obis) -> Newest,
    ) -> Self {
        let list = |&obis: &Obis| ValueList::new(obis, grid, start, newest(obis));
        Self {
            id,
            grid,
            lists: registers.iter().map(list).collect(),
        }
    }

    /// The meter's device id.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The grid of its lists.
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Ends all lists before the grid point `end`.
    pub fn close(&mut self, end: UtcNanos) {
        self.lists.iter_mut().for_each(|list| list.close(end));
    }

    /// Whether all lists have given their last entries.
    pub fn is_finished(&self) -> bool {
        self.lists.iter().all(ValueList::is_finished)
    }

    /// Names of the lists, in the order of the registers.
    pub fn logical_names(&self) -> impl Iterator<Item = LogicalName> + '_ {
        self.lists.iter().map(|list| LogicalName {
            obis: list.obis(),
            meter: self.id,
        })
    }

    /// A good telegram of this meter, received at `stamp`. A register it does not hold becomes
    /// [`GapReason::RegisterMissing`]; of a register it holds twice the first one counts. Returns
    /// the registers that were missing.
    pub fn telegram(&mut self, readings: &[Reading], stamp: UtcNanos) -> Vec<Obis> {
        let mut missing = Vec::new();
        for list in &mut self.lists {
            match readings.iter().find(|reading| reading.obis == list.obis()) {
                Some(reading) => list.observe(*reading, stamp),
                None => {
                    list.fault(GapReason::RegisterMissing, stamp);
                    missing.push(list.obis());
                }
            }
        }
        missing
    }

    /// Something went wrong that concerns all registers.
    pub fn fault(&mut self, reason: GapReason, stamp: UtcNanos) {
        self.lists
            .iter_mut()
            .for_each(|list| list.fault(reason, stamp));
    }

    /// The port is back.
    pub fn link_up(&mut self, stamp: UtcNanos) {
        self.lists.iter_mut().for_each(|list| list.link_up(stamp));
    }

    /// All entries due by `now`, per register oldest first.
    pub fn handle_time(&mut self, now: UtcNanos) -> Vec<Entry> {
        let due = |list: &mut ValueList| {
            core::iter::from_fn(|| list.handle_time(now)).collect::<Vec<_>>()
        };
        self.lists.iter_mut().flat_map(due).collect()
    }

    /// When the next entry of any register is due; `None` when there will be none.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        self.lists.iter().filter_map(ValueList::next_deadline).min()
    }
}
