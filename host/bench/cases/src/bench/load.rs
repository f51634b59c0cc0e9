// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gateway beside the one under test with many meters, all of which send at the same instants (catalogue row MET-22).

use std::net::SocketAddr;

use bench_engine::{Ctx, Health, Stop, StopExt};
use smgw_peers::meters::{SmlConfig, SmlPushMeter};
use smgw_units::{DeviceId, Obis};

use super::Bench;
use crate::gateway::Gateway;
use crate::meters::{Telegram, grid, sml_line, telegram};
use crate::values::{ValueList, ValueLists};

/// The gateway and its meters.
pub struct LoadedGateway<'a> {
    bench: &'a Bench,
    process: Gateway,
    han: SocketAddr,
    meters: Vec<SmlPushMeter>,
}

impl Bench {
    /// Starts a gateway with so many meters, each on a line of its own; every meter pushes a telegram each second of UTC.
    pub fn loaded_gateway(&self, ctx: &Ctx, count: usize) -> Result<LoadedGateway<'_>, Stop> {
        ctx.check()?;
        let name = format!("loaded-{}", ctx.case());
        let mut meters = Vec::new();
        for number in 0..count {
            let id: DeviceId =
                (format!("1smb00000001{number:02}").parse()).or_bench("a meter's id")?;
            let config = SmlConfig::new(id, grid(&self.clock));
            meters.push(SmlPushMeter::start(config, None).or_rig("playing a meter")?);
        }
        let mut config = self.gateway.config.clone();
        let lines = meters.iter().map(|meter| {
            let played = meter.config();
            sml_line(played.id, meter.path(), played.line)
        });
        config.meter = lines.collect();
        config.profiles = None;
        config.local = None;
        config.cls.profile.clear();
        config.store.path = format!("{name}.sqlite").into();
        // The first consumer sees all of them.
        let consumer = self.parties.consumer()?.name();
        (config.han.user).retain(|user| user.meters.is_empty() || user.id == consumer);
        for user in (config.han.user.iter_mut()).filter(|user| user.id == consumer) {
            user.meters = config.meter.iter().map(|meter| meter.id.clone()).collect();
        }
        let (process, listening) = self.start_beside(&config, &name)?;
        Ok(LoadedGateway {
            bench: self,
            process,
            han: listening.han,
            meters,
        })
    }
}

impl LoadedGateway<'_> {
    /// The meters' ids, in the order of their numbers.
    pub fn ids(&self) -> Vec<DeviceId> {
        self.meters.iter().map(|meter| meter.config().id).collect()
    }

    /// What meter number `meter` has sent.
    pub fn telegrams(&self, meter: usize) -> Vec<Telegram> {
        let sent = self.meters.get(meter).map(SmlPushMeter::telegrams);
        let sent = sent.unwrap_or_default();
        let sent = sent.iter();
        sent.filter_map(|stamp| telegram(&self.bench.clock, Obis::IMPORT_TOTAL, stamp))
            .collect()
    }

    /// The original list of a meter's imported energy.
    pub fn list(&self, ctx: &mut Ctx, meter: DeviceId) -> Result<ValueList, Stop> {
        ctx.check()?;
        if let Some(trouble) = self.process.trouble() {
            return Err(Stop::Device(format!("the second gateway: {trouble:?}")));
        }
        let path = format!("/smgw/con/v1/exp/originalValueLists/{meter}");
        let consumer = self.bench.parties.consumer()?;
        let lists: ValueLists = self.bench.read_beside(ctx, self.han, consumer, &path)?;
        lists.lists.into_iter().next().ok_or_else(|| {
            ctx.fail(format!("GET {path}: no list"));
            Stop::Done
        })
    }
}
