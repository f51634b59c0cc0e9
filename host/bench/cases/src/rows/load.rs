// SPDX-License-Identifier: MIT OR Apache-2.0
//! MET-22: what a gateway makes of many meters that send at the same instant.

use std::time::Duration;

use bench_engine::{Case, Interface, Level};
use bench_rig::Capability;

use super::metering::{describe, entry_at, expect_value};
use crate::bench::Bench;

/// Lines of the gateway.
const METERS: usize = 8;
/// Grid points that are judged.
const POINTS: usize = 3;

/// MET-01 under load.
pub const MET_22: Case<Bench> = Case {
    id: "MET-22",
    version: 1,
    title: "Eight meters that send at the same instant all keep to ±1 % of their grid points",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["DS §10.1", "PTB-A 50.8"],
    applies_if: &[],
    assumptions: &[
        "han-json",
        "registration-tolerance",
        "receive-stamp-event",
        "load-meters",
    ],
    needs: &[
        Capability::GatewaySecond,
        Capability::Consumer,
        Capability::MeterSmlSimulated,
    ],
    budget: Duration::from_secs(240),
    steps: &[
        "a second gateway with eight SML meters, each of which pushes a telegram at every second of UTC",
        "three grid points later each list has a value for each of them, that of a telegram of this meter sent within ±1 % of the grid point",
    ],
    run: |ctx, bench| {
        let loaded = bench.loaded_gateway(ctx, METERS)?;
        let tolerance = bench.period() / 100;
        let points = bench.upcoming_grid_points(POINTS, Duration::from_secs(2));
        let Some(last) = points.last().copied() else {
            return Ok(());
        };
        ctx.progress(&format!("{POINTS} registration periods of {METERS} meters"));
        bench.pass_until(ctx, last, tolerance * 3)?;
        let allowed = tolerance + bench.stamp_uncertainty();
        for (number, id) in loaded.ids().into_iter().enumerate() {
            let patience = ctx.phase(bench.period().mul_f64(bench.multiplier));
            let decided = ctx.wait_for(patience, |ctx| {
                let list = loaded.list(ctx, id)?;
                Ok(entry_at(&list, last).is_some().then_some(list))
            })?;
            let list = match decided {
                Some(list) => list,
                None => loaded.list(ctx, id)?,
            };
            let sent = loaded.telegrams(number);
            for point in &points {
                let entry = entry_at(&list, *point);
                let observed = entry.map_or_else(|| "no entry".to_owned(), describe);
                let value = entry.and_then(|entry| entry.decimal());
                let ok = sent.iter().any(|telegram| {
                    let away = telegram.first_byte.0.abs_diff(point.0);
                    telegram.intact
                        && value.is_some_and(|value| value.same_value(telegram.value))
                        && u128::from(away) <= allowed.as_nanos()
                });
                let action = format!("meter {id} at {point}");
                let expected = format!("a value sent within {tolerance:?}").to_owned();
                expect_value(ctx, bench, *point, ok, action, expected, observed);
            }
        }
        Ok(())
    },
};
