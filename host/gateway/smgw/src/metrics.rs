// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gateway counts, in the OpenMetrics text form: never a value of a meter, never a name of a user.

use std::fmt;
use std::sync::Arc;

use hsm_api::traced::Recorder;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::active::Current;
use crate::board::{Board, Link};
use crate::clock::Clock;

/// Where the numbers come from.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Lines and entries.
    pub board: Arc<Board>,
    /// The gateway's clock.
    pub clock: Clock,
    /// The set of profiles.
    pub current: Current,
    /// What ran in the security module; `None` without one.
    pub module: Option<Arc<Recorder>>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Meter {
    meter: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Operation {
    operation: String,
}

impl Metrics {
    /// The text a scraper reads.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("smgw");
        let now = self.clock.now();
        let tally = self.board.tally();
        let uptime = Gauge::<i64>::default();
        uptime.set(now.signed_since(self.board.started_at()) / 1_000_000_000);
        registry.register("uptime_seconds", "Time since the start", uptime);
        registry.register(
            "entries_kept",
            "Entries of value lists that are in the store",
            ConstCounter::new(tally.kept),
        );
        registry.register(
            "entries_lost",
            "Entries the store did not take in time",
            ConstCounter::new(tally.lost),
        );
        let version = Gauge::<i64>::default();
        version.set(self.current.borrow().version.into());
        registry.register(
            "profile_set",
            "Number of the active set of profiles",
            version,
        );
        let up = Family::<Meter, Gauge>::default();
        for (id, link, _) in self.board.links(now) {
            let meter = id.to_string();
            up.get_or_create(&Meter { meter })
                .set((link == Link::Ok).into());
        }
        registry.register("meter_up", "1 while telegrams of the meter come", up);
        let done = Family::<Operation, Counter>::default();
        let failed = Family::<Operation, Counter>::default();
        let module = self.module.iter();
        for (_, operation, tally) in module.flat_map(|trace| trace.summary().into_rows()) {
            let label = Operation {
                operation: operation.to_string(),
            };
            done.get_or_create(&label).inc_by(tally.count);
            failed.get_or_create(&label).inc_by(tally.failed);
        }
        registry.register(
            "module_operations",
            "Operations of the security module",
            done,
        );
        registry.register(
            "module_failures",
            "Operations that the security module refused",
            failed,
        );
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
