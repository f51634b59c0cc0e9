// SPDX-License-Identifier: MIT OR Apache-2.0
//! TIM-08, TIM-09 and TIM-12: a day of polls, dates beyond the fields that hold them, and time that is set back, on a gateway
//! whose clock the bench advances.

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_rig::Capability;
use serde_json::Value;
use smgw_peers::net::{TimeFault, TimeMode};
use smgw_units::{DeviceId, UtcNanos};

use crate::bench::{Bench, DrivenGateway, DrivenSettings};
use crate::values::{Entry, utc};

const NEEDS: &[Capability] = &[
    Capability::GatewaySecond,
    Capability::TimeServer,
    Capability::MeterSmlSimulated,
    Capability::Consumer,
    Capability::Technician,
];
const SECOND: i64 = 1_000_000_000;
const QUARTER: i64 = 900 * SECOND;
/// NTP timestamps count 2^-32 s.
const ROUNDING: u64 = 1_000;

/// Detail specifications §14.3.2.2.
pub const TIM_08: Case<Bench> = Case {
    id: "TIM-08",
    version: 1,
    title: "The time server is asked once a minute at most, and all day long",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["DS §14.3.2.2"],
    applies_if: &[],
    assumptions: &["driven-clock"],
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "24 hours of a driven gateway: 8 with good answers, 8 without time in them, 4 with connections that break, 4 with good answers again",
        "after each question none comes within 59.9 s; it is looked at every minute after that",
        "at least one question in each hour",
    ],
    run: |ctx, bench| {
        const HOUR: i64 = 3_600 * SECOND;
        let server = bench.time_server()?;
        let from = instant(1_800_000_000);
        let mut asked = server.questions().len();
        let mut driven = start(ctx, bench, from, TimeMode::default())?;
        let good = TimeMode::default();
        let phases = [
            (8, "good answers", good.clone()),
            (
                8,
                "answers without time",
                good.clone().with(TimeFault::NoTime),
            ),
            (
                4,
                "connections that break",
                good.clone().with(TimeFault::Close),
            ),
            (4, "good answers again", good),
        ];
        // The first step tells when the first question came: at the start.
        driven.advance(ctx, from)?;
        let mut total = 0;
        for (hours, what, mode) in phases {
            ctx.progress(what);
            driven.time = mode;
            let end = UtcNanos(driven.now().0 + hours * HOUR);
            let mut of_phase = 0;
            while driven.now() < end {
                let count = server.questions().len();
                let new = count - asked;
                asked = count;
                of_phase += new;
                if new == 0 {
                    pass(ctx, &mut driven, 60 * SECOND)?;
                    continue;
                }
                pass(ctx, &mut driven, 60 * SECOND - SECOND / 10)?;
                let early = server.questions().len() - asked;
                if new > 1 || early > 0 {
                    ctx.fail(format!(
                        "{what}: {} questions within 59.9 s until {}",
                        new + early,
                        driven.now()
                    ));
                    return Ok(());
                }
                pass(ctx, &mut driven, SECOND / 10)?;
            }
            let least = usize::try_from(hours).unwrap_or(0);
            ctx.expect(
                of_phase >= least,
                format!("questions in {hours} h with {what}"),
                format!("at least {least}, never two within a minute"),
                of_phase.to_string(),
            );
            total += of_phase;
        }
        ctx.note("questions in 24 h", total.to_string());
        Ok(())
    },
};

/// The era of NTP that begins in 2036, and the end of 32-bit Unix time.
pub const TIM_09: Case<Bench> = Case {
    id: "TIM-09",
    version: 1,
    title: "The second era of NTP (2036) and the end of 32-bit Unix time (2038) change nothing",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &[
        "REQ.TA.NTP.ProcessResponse.40",
        "ICS.TA.NTP.ProcessResponse.10",
    ],
    applies_if: &[],
    assumptions: &["han-json", "log-han", "driven-clock"],
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "a driven gateway starts an hour before 2036-02-07T06:28:16Z, another before 2038-01-19T03:14:08Z; the time server is 5 s ahead of what they assume",
        "behind the instant the time server goes 3 s further ahead, and the gateway follows",
        "each value has its grid point and the time server's time of its telegram; log entries tell times of that hour, and the correction",
    ],
    run: |ctx, bench| {
        let meter = bench.meters.sml()?.id;
        for turn in [instant(2_085_978_496), instant(2_147_483_648)] {
            ctx.progress(&format!("past {turn}"));
            let near = turn.0.div_euclid(QUARTER) * QUARTER;
            let from = UtcNanos(near - 4 * QUARTER);
            let mut ahead = 5 * SECOND;
            let mut driven = start(ctx, bench, from, TimeMode::offset(ahead))?;
            let points: Vec<i64> = (-3..=4).map(|index| near + index * QUARTER).collect();
            for (point, value) in points.iter().zip(0..) {
                if *point > turn.0 + QUARTER {
                    ahead = 8 * SECOND;
                    driven.time = TimeMode::offset(ahead);
                }
                // A question in every registration period, long before its end.
                while driven.now().0 + 60 * SECOND < point - ahead {
                    pass(ctx, &mut driven, 60 * SECOND)?;
                }
                driven.reading(ctx, UtcNanos(point - ahead), 0, 1_000 + value)?;
            }
            pass(ctx, &mut driven, 20 * SECOND)?;
            let entries = driven.original(ctx, meter)?.entries;
            let told: Vec<_> = entries.iter().map(|entry| entry.target().0).collect();
            ctx.expect(
                told == points,
                format!("grid points around {turn}"),
                shown(&points),
                shown(&told),
            );
            for entry in &entries {
                let capture = entry.capture_time.map(utc);
                let target = entry.target();
                let right = |at: UtcNanos| at.0.abs_diff(target.0) <= ROUNDING;
                ctx.expect(
                    capture.is_some_and(right),
                    format!("capture time of the value at {target}"),
                    target.to_string(),
                    capture.map_or("none".to_owned(), |at| at.to_string()),
                );
            }
            judge_log(ctx, &driven, from, turn)?;
        }
        Ok(())
    },
};

/// That the system log tells times between the start and now, and one behind the turn.
fn judge_log(
    ctx: &mut Ctx,
    driven: &DrivenGateway<'_>,
    from: UtcNanos,
    turn: UtcNanos,
) -> Result<(), Stop> {
    let end = UtcNanos(driven.now().0 + 60 * SECOND);
    let stamps = driven.system_log(ctx)?;
    let stamps = stamps.iter().map(stamp);
    let stamps: Vec<_> = stamps.collect();
    let strange = stamps
        .iter()
        .filter(|at| !at.is_some_and(|at| from <= at && at <= end));
    ctx.expect(
        strange.count() == 0 && stamps.iter().flatten().any(|at| *at > turn),
        format!("times of the log entries around {turn}"),
        format!("from {from} to {end}, some behind {turn}"),
        format!("{:?} to {:?}", stamps.iter().min(), stamps.iter().max()),
    );
    Ok(())
}

/// Time that is set back over a grid point.
pub const TIM_12: Case<Bench> = Case {
    id: "TIM-12",
    version: 1,
    title: "A large correction stands in the calibration log, and no grid point comes twice",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["TR-03109-1 (value lists)", "PTB-A 50.8"],
    applies_if: &[],
    assumptions: &["han-json", "driven-clock", "log-export"],
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "20 s behind a grid point of a driven gateway the time server goes 40 s back; the meter goes on telling values at every grid point, also when that one comes again",
        "target times rise, each grid point once, the one that came twice with the value it had at first",
        "the calibration log tells of the correction by -40 s, and its seconds index never falls",
    ],
    run: |ctx, bench| {
        let meter = bench.meters.sml()?.id;
        // Polls come every quarter of an hour from the start on: 20 s behind each grid point.
        let first = 1_800_000_000 * SECOND;
        let mut driven = start(
            ctx,
            bench,
            UtcNanos(first - QUARTER + 20 * SECOND),
            TimeMode::default(),
        )?;
        let mut value = 1_000..;
        let mut told = |ctx: &Ctx, driven: &mut DrivenGateway<'_>, at: i64| {
            driven.reading(ctx, UtcNanos(at), 0, value.next().unwrap_or_default())
        };
        for index in 0..3 {
            if index > 0 {
                pass(ctx, &mut driven, 8 * SECOND)?;
            }
            told(ctx, &mut driven, first + index * QUARTER)?;
            // Behind the window of the grid point, and what a telegram may take.
            pass(ctx, &mut driven, 12 * SECOND)?;
        }
        let before = driven.original(ctx, meter)?.entries;
        ctx.progress("the time server goes back by 40 s");
        let back = 40 * SECOND;
        driven.time = TimeMode::offset(-back);
        let asked = bench.time_server()?.questions().len();
        pass(ctx, &mut driven, 8 * SECOND)?;
        if bench.time_server()?.questions().len() == asked {
            ctx.inconclusive("the gateway did not ask where it was expected to");
            return Ok(());
        }
        for index in 2..6 {
            // The first of these is the last grid point again.
            told(ctx, &mut driven, first + index * QUARTER + back)?;
            pass(ctx, &mut driven, 60 * SECOND)?;
        }
        let entries = driven.original(ctx, meter)?.entries;
        let targets: Vec<_> = entries.iter().map(|entry| entry.target().0).collect();
        let expected: Vec<_> = (0..6).map(|index| first + index * QUARTER).collect();
        ctx.expect(
            targets == expected,
            "grid points over the correction",
            shown(&expected),
            shown(&targets),
        );
        let again: Vec<Entry> = entries.into_iter().take(before.len()).collect();
        ctx.expect(
            again == before,
            "entries from before the correction",
            "unchanged",
            if again == before {
                "unchanged"
            } else {
                "changed"
            }
            .to_owned(),
        );
        let log = driven.calibration_log()?;
        let message = |entry: &Value| {
            let message = entry.get("message").and_then(Value::as_str);
            message.unwrap_or_default().to_owned()
        };
        let corrections: Vec<_> = log
            .iter()
            .map(message)
            .filter(|message| message.contains("-40.0"))
            .collect();
        ctx.expect(
            corrections.len() == 1,
            "entries of the calibration log about -40 s",
            "one",
            format!("{corrections:?}"),
        );
        let index = |entry: &Value| entry.get("secondsIndex").and_then(Value::as_u64);
        ctx.expect(
            log.is_sorted_by_key(index),
            "seconds index of the calibration log",
            "never falls",
            format!("{:?}", log.iter().map(index).collect::<Vec<_>>()),
        );
        Ok(())
    },
};

/// A driven gateway with the usual registration period that asks the time server.
fn start<'a>(
    ctx: &Ctx,
    bench: &'a Bench,
    from: UtcNanos,
    time: TimeMode,
) -> Result<DrivenGateway<'a>, Stop> {
    let meters: [DeviceId; 1] = [bench.meters.sml()?.id];
    let settings = DrivenSettings {
        from,
        period: Duration::from_nanos(QUARTER as u64),
        meters: &meters,
        profiles: None,
        asks_time: true,
    };
    bench.driven_gateway(ctx, settings, time)
}

/// Lets so many nanoseconds pass in one step.
fn pass(ctx: &Ctx, driven: &mut DrivenGateway<'_>, span: i64) -> Result<(), Stop> {
    let to = UtcNanos(driven.now().0 + span);
    driven.advance(ctx, to)
}

fn stamp(entry: &Value) -> Option<UtcNanos> {
    let text = entry.get("timestamp")?.as_str()?;
    text.parse().ok().map(utc)
}

fn shown(instants: &[i64]) -> String {
    let texts = instants.iter().map(|at| UtcNanos(*at).to_string());
    texts.collect::<Vec<_>>().join(", ")
}

const fn instant(second: i64) -> UtcNanos {
    UtcNanos::from_seconds(second)
}
