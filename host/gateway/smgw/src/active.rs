// SPDX-License-Identifier: MIT OR Apache-2.0
//! What counts right now, for everyone who serves somebody: replaced as a whole when a set of profiles becomes active.

use std::sync::Arc;

use rustls::ServerConfig;
use smgw_core::profile::ProfileSet;
use smgw_units::{DeviceId, Obis};
use tokio::sync::watch;

use crate::cls::Proxy;
use crate::config::User;

/// Meters, users and controllable local systems that count together.
#[derive(Debug)]
pub struct Active {
    /// Number of the set of profiles, 0 for what the configuration says.
    pub version: u32,
    /// The profiles.
    pub set: Arc<ProfileSet>,
    /// Users of the home area network.
    pub users: Vec<User>,
    /// TLS towards them; `None` only with the seeded defect that serves without.
    pub han: Option<Arc<ServerConfig>>,
    /// The proxy; `None` without a security module.
    pub proxy: Option<Arc<Proxy>>,
}

impl Active {
    /// The registers kept of a meter, `None` for a meter that is not there.
    pub fn registers(&self, meter: DeviceId) -> Option<&[Obis]> {
        let profile = self
            .set
            .meters
            .iter()
            .find(|profile| profile.meter == meter)?;
        Some(&profile.registers)
    }
}

/// Always the newest.
pub type Current = watch::Receiver<Arc<Active>>;
