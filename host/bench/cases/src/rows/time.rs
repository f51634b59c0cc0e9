// SPDX-License-Identifier: MIT OR Apache-2.0
//! TIM-*: time stamps of the gateway against the bench clock.

use std::collections::HashMap;
use std::time::Duration;

use bench_engine::{Case, Interface, Level};
use bench_evidence::results::Measurement;
use bench_rig::Capability;
use bench_timing::{Distribution, samples_needed};

use crate::bench::Bench;
use crate::values::utc;

/// Telegrams looked at before the case decides; more are used when the run has seen more.
const WANTED: usize = 60;

/// DS TLSHDLC.SMGW.50, WMBUS.apl.40: reception to receive stamp within 500 ms.
pub const TIM_15: Case<Bench> = Case {
    id: "TIM-15",
    version: 1,
    title: "The receive stamp lies within 500 ms of the reception",
    level: Level::Must,
    interface: Interface::Lmn,
    requirements: &["REQ.TLSHDLC.SMGW.50", "REQ.WMBUS.apl.40"],
    applies_if: &[],
    assumptions: &["receive-stamp-event", "han-receptions"],
    needs: &[
        Capability::Gateway,
        Capability::GatewayReceptions,
        Capability::Technician,
        Capability::MeterSmlSimulated,
    ],
    budget: Duration::from_secs(240),
    steps: &[
        "join the telegrams the bench put on the wire with the receptions the gateway reports, by transaction id",
        "receive stamp minus first byte on the wire: at most 500 ms, each of at least 60 telegrams",
        "report n, p50, p99, p99.95 and max with the rig's uncertainty",
    ],
    run: |ctx, bench| {
        const LIMIT: Duration = Duration::from_millis(500);
        let patience = ctx.phase(Duration::from_secs(90));
        ctx.progress(&format!("at least {WANTED} telegrams"));
        ctx.wait_for(patience, |_| {
            let seen = bench.meters.sml_telegrams()?.len();
            Ok((seen > WANTED).then_some(()))
        })?;
        let mut sent = bench.meters.sml_telegrams()?;
        // What was on the wire before anybody listened waits in buffers that no real line has.
        sent.retain(|telegram| telegram.first_byte >= bench.ready_since());
        let reported = bench.receptions(ctx, bench.meters.sml()?.id)?;
        let stamps: HashMap<&str, _> = reported
            .receptions
            .iter()
            .filter(|reception| reception.outcome == "ok")
            .map(|reception| (reception.telegram.as_str(), utc(reception.received_at)))
            .collect();
        let mut late = Distribution::new();
        let mut early = Duration::ZERO;
        let (mut exceeding, mut excused) = (Vec::new(), Vec::new());
        let mut unmatched = 0u64;
        let uncertainty = bench.stamp_uncertainty();
        for telegram in sent.iter().filter(|telegram| telegram.intact) {
            let Some(stamp) = stamps.get(telegram.id.as_str()) else {
                unmatched += 1;
                continue;
            };
            let delay = stamp.signed_since(telegram.first_byte);
            match u64::try_from(delay) {
                Ok(delay) => late.record_ns(delay),
                Err(_) => early = early.max(Duration::from_nanos(delay.unsigned_abs())),
            }
            if delay > (LIMIT + uncertainty).as_nanos() as i64 {
                let what = format!("{} after {:.1} ms", telegram.id, delay as f64 / 1e6);
                let span = Duration::from_nanos(delay.unsigned_abs());
                match bench.host_stalled_around(telegram.first_byte, span) {
                    Some(stall) if stall + LIMIT + uncertainty >= span => excused.push(what),
                    // An emulator promises no pace, and nothing tells its pauses from those of the gateway.
                    _ if bench.gateway_is_emulated() => excused.push(what),
                    _ => exceeding.push(what),
                }
            }
        }
        ctx.note(
            "join by transaction id",
            format!(
                "{} matched, {unmatched} without a reported reception",
                late.n()
            ),
        );
        if late.n() < WANTED as u64 / 2 {
            ctx.inconclusive(format!("only {} telegrams could be matched", late.n()));
            return Ok(());
        }
        if early > uncertainty {
            ctx.fail(format!(
                "a stamp lies {early:?} before the telegram's first byte"
            ));
        }
        let half = Duration::from_nanos(late.p50());
        if bench.gateway_is_emulated() && half > LIMIT + uncertainty {
            ctx.fail(format!(
                "half of the stamps are {half:.1?} late or more: no pause of an emulator hits every other telegram"
            ));
        }
        if !excused.is_empty() {
            ctx.inconclusive(format!(
                "the host itself, or its emulator, stood still around {}",
                excused.join(", ")
            ));
        }
        ctx.expect(
            exceeding.is_empty(),
            "receive stamp minus first byte, each telegram",
            "at most 500 ms",
            if exceeding.is_empty() {
                format!("at most {:.2} ms", late.max() as f64 / 1e6)
            } else {
                format!(
                    "{} of {} beyond: {}",
                    exceeding.len(),
                    late.n(),
                    exceeding.join(", ")
                )
            },
        );
        let figure = |name: &str, nanos: u64| Measurement {
            name: format!("receive-stamp-delay-{name}"),
            value: nanos as f64 / 1e6,
            unit: "ms".into(),
            limit: None,
            uncertainty: Some(uncertainty.as_secs_f64() * 1e3),
            clock: Some("monotonic to UTC, host".into()),
            n: Some(late.n()),
        };
        ctx.measure(figure("p50", late.p50()));
        ctx.measure(figure("p99", late.p99()));
        ctx.measure(figure("p99.95", late.p99_95()));
        let max = figure("max", late.max());
        match excused.is_empty() {
            true => bench.judge_upper(ctx, max, LIMIT.as_secs_f64() * 1e3)?,
            // Judged above, telegram by telegram.
            false => ctx.measure(max),
        }
        ctx.note(
            "quantile claim",
            format!(
                "n = {}: every seen telegram is judged; a p99.95 claim at 95 % confidence needs {}",
                late.n(),
                samples_needed(0, 0.9995, 0.95)
            ),
        );
        bench.keep_histogram("tim-15-receive-stamp-delay", late);
        Ok(())
    },
};
