// SPDX-License-Identifier: MIT OR Apache-2.0
//! Refusing replayed telegrams by their message counters (TR-03109-1 detail specifications §10.1).

use alloc::collections::BTreeMap;
use core::fmt;

use smgw_lmn_keys::{CounterGuard, StoreWithin};
use smgw_mbus::Device;
use smgw_units::Nanos;

use crate::security::address;
use crate::{Telegram, Verdict};

/// The message counters of the meters known, each with its own master key.
#[derive(Clone, Debug)]
pub struct ReplayGuard {
    counters: BTreeMap<[u8; 8], CounterGuard>,
    policy: StoreWithin,
}

/// Why a telegram is not to be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// The meter has not been let in.
    UnknownMeter,
    /// It is not authenticated.
    NotAuthenticated(Verdict),
    /// Its MAC has fewer than 64 bits, less than TR-03116-3 §7 allows.
    ShortMac,
    /// It has no message counter.
    NoCounter,
    /// Its counter does not rise.
    Replay(smgw_lmn_keys::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMeter => f.write_str("meter is not known"),
            Self::NotAuthenticated(verdict) => write!(f, "telegram is not authentic: {verdict}"),
            Self::ShortMac => f.write_str("meter's MAC has fewer than 64 bits"),
            Self::NoCounter => f.write_str("meter's telegram has no message counter"),
            Self::Replay(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Refused {}

impl ReplayGuard {
    /// Knows no meter; `policy` says how soon counters are to be stored.
    pub const fn new(policy: StoreWithin) -> Self {
        Self {
            counters: BTreeMap::new(),
            policy,
        }
    }

    /// Lets a meter in, or gives it a new master key: `stored` is its counter from lasting storage.
    pub fn admit(&mut self, meter: &Device, stored: Option<u32>) {
        let guard = CounterGuard::new(stored, self.policy);
        self.counters.insert(address(meter), guard);
    }

    /// Takes note of a telegram, whose counter must be higher than all before.
    ///
    /// # Errors
    /// Why it is not to be used; its counter then does not count.
    pub fn accept(&mut self, telegram: &Telegram, now: Nanos) -> Result<(), Refused> {
        if telegram.verdict != Verdict::Authenticated {
            return Err(Refused::NotAuthenticated(telegram.verdict));
        }
        let mac = telegram.afl.and_then(|afl| afl.mac);
        if mac.is_some_and(|mac| mac.len < SHORTEST_MAC) {
            return Err(Refused::ShortMac);
        }
        let counter = telegram.counter().ok_or(Refused::NoCounter)?;
        let meter = telegram.meter().ok_or(Refused::UnknownMeter)?;
        let guard = self.counters.get_mut(&address(&meter));
        let guard = guard.ok_or(Refused::UnknownMeter)?;
        guard.accept(counter, now).map_err(Refused::Replay)
    }

    /// The counter of a meter, to be stored and to be told about that.
    pub fn counter(&mut self, meter: &Device) -> Option<&mut CounterGuard> {
        self.counters.get_mut(&address(meter))
    }
}

const SHORTEST_MAC: usize = 8;
