// SPDX-License-Identifier: MIT OR Apache-2.0
//! TIM-13 and TIM-14: the time service for controllable local systems
//! (TR-03109-1 detail specifications §9, REQ.TA.NTP.ProcessRequest.10, BuildResponse.10–41).

use std::time::Duration;

use bench_engine::{Case, Interface, Level};
use bench_evidence::results::Measurement;
use bench_rig::Capability;
use smgw_peers::net::{TimeFault, TimeMode};

use crate::bench::{Bench, TimeSettings};

const NEEDS: &[Capability] = &[Capability::Gateway, Capability::TimeServer];
const ASSUMPTIONS: &[&str] = &["time-poll-shortened", "time-service-address"];

/// REQ.TA.NTP.ProcessRequest.10.
pub const TIM_13: Case<Bench> = Case {
    id: "TIM-13",
    version: 1,
    title: "The time service answers questions of 48 octets, version 4 and mode 3 only",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.NTP.ProcessRequest.10"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "questions of other lengths, versions and modes: no answer",
        "a good question before and after: an answer",
    ],
    run: |ctx, bench| {
        const SILENCE: Duration = Duration::from_millis(300);
        const PATIENCE: Duration = Duration::from_secs(5);
        let second = bench.synchronised_gateway(ctx)?;
        let question = |first: u8, len: usize| {
            let mut octets = vec![0; len];
            octets.iter_mut().take(1).for_each(|octet| *octet = first);
            octets
                .iter_mut()
                .skip(40)
                .take(8)
                .for_each(|octet| *octet = 0x5a);
            octets
        };
        let lengths = [0, 1, 47, 49, 52, 68, 500].map(|len| question(0x23, len));
        let versions = [1, 2, 3, 5, 7].map(|version| question(version << 3 | 3, 48));
        let modes = [0, 1, 2, 4, 5, 6, 7].map(|mode| question(0x20 | mode, 48));
        let good = || (true, question(0x23, 48));
        let wrong = lengths.into_iter().chain(versions).chain(modes);
        let all = std::iter::once(good())
            .chain(wrong.map(|octets| (false, octets)))
            .chain([good()]);
        for (answered, octets) in all {
            ctx.check()?;
            let patience = if answered { PATIENCE } else { SILENCE };
            let answer = bench.ask_service(ctx, &second, &octets, patience);
            let first = octets.first().copied().unwrap_or_default();
            let what = format!(
                "question of {} octets, version {}, mode {}",
                octets.len(),
                first >> 3 & 7,
                first & 7
            );
            let observed = match &answer {
                Ok(Some(octets)) => format!("{} octets", octets.len()),
                Ok(None) => "no answer".to_owned(),
                Err(failure) => failure.to_string(),
            };
            let ok = match &answer {
                Ok(answer) => answer.is_some() == answered,
                Err(_) => false,
            };
            let expected = if answered { "an answer" } else { "no answer" };
            ctx.expect(ok, what, expected, observed);
        }
        Ok(())
    },
};

/// REQ.TA.NTP.BuildResponse.10–41.
pub const TIM_14: Case<Bench> = Case {
    id: "TIM-14",
    version: 1,
    title: "The time service tells the time, its stratum, and when it has no time",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.NTP.BuildResponse.10", "REQ.TA.NTP.BuildResponse.41"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "start a second gateway while the time server is silent: leap indicator 3",
        "the time server answers with stratum 1, then 5: mode 4, stratum 2, then 6, leap indicator 0",
        "the question's transmit timestamp comes back as origin",
        "at most 500 ms from the bench's time, each of 20 answers",
    ],
    run: |ctx, bench| {
        const LIMIT: Duration = Duration::from_millis(500);
        let server = bench.time_server()?;
        server.set_mode(TimeMode::default().with(TimeFault::Close));
        let second = bench.second_gateway(ctx, TimeSettings::QUICK)?;
        let seen = bench.look_at(ctx, &second)?;
        ctx.expect(
            !seen.synchronised,
            "leap indicator without time",
            "3",
            seen.to_string(),
        );
        for stratum in [1, 5] {
            server.set_mode(TimeMode::default().with(TimeFault::Stratum(stratum)));
            let seen = bench.watch_time(ctx, &second, Duration::from_secs(20), |seen| {
                seen.synchronised && seen.stratum == stratum + 1
            })?;
            ctx.expect(
                seen.synchronised && seen.stratum == stratum + 1,
                format!("stratum and leap indicator, time server of stratum {stratum}"),
                format!("{}, synchronised", stratum + 1),
                format!("{}, {seen}", seen.stratum),
            );
        }
        let mut question = [0; 48];
        question[0] = 0x23;
        question[40..].copy_from_slice(b"question");
        let answer = bench.ask_service(ctx, &second, &question, Duration::from_secs(5));
        let octets = answer.ok().flatten().unwrap_or_default();
        let (first, origin) = (octets.first().copied(), octets.get(24..32));
        ctx.expect(
            first.is_some_and(|first| first & 0x3f == 0x24) && origin == Some(&b"question"[..]),
            "version, mode and origin",
            "4, 4, the question's transmit timestamp",
            format!("{first:02x?}, {origin:02x?}"),
        );
        let (mut worst, mut uncertainty) = (0, Duration::ZERO);
        for _ in 0..20 {
            let seen = bench.look_at(ctx, &second)?;
            if seen.offset.unsigned_abs() > worst {
                (worst, uncertainty) = (seen.offset.unsigned_abs(), seen.half_way);
            }
        }
        let offset = Measurement {
            name: "time-service-offset".into(),
            value: worst as f64 / 1e6,
            unit: "ms".into(),
            limit: None,
            uncertainty: Some(uncertainty.as_secs_f64() * 1e3),
            clock: Some("bench UTC, host".into()),
            n: Some(20),
        };
        ctx.judge_upper(offset, LIMIT.as_secs_f64() * 1e3)?;
        Ok(())
    },
};
