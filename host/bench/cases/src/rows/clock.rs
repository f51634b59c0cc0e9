// SPDX-License-Identifier: MIT OR Apache-2.0
//! TIM-01 to TIM-12: where the gateway's time comes from, and what it believes
//! (TR-03109-1 detail specifications §14, REQ.TA.NTP.BuildRequest.*, ProcessResponse.*).
//!
//! All but TIM-11 work on a second gateway beside the one under test, so that nobody else's time goes wrong. Its poll
//! interval is shortened (assumption `time-poll-shortened`), and its clock is looked at through its time service.

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop};
use bench_rig::Capability;
use smgw_peers::net::{TimeFault, TimeMode, TimeQuestion};

use crate::bench::{Bench, SecondGateway, TimeSettings};

const NEEDS: &[Capability] = &[Capability::Gateway, Capability::TimeServer];
const ASSUMPTIONS: &[&str] = &["time-poll-shortened", "time-service-address"];
/// What a believed answer would shift the clock by: visible, within 3 % of the period of 15 s.
const SHIFT: i64 = 400_000_000;

/// REQ.TA.NTP.BuildRequest.10–30.
pub const TIM_01: Case<Bench> = Case {
    id: "TIM-01",
    version: 1,
    title: "A question to the time server is 48 octets of NTPv4 straight inside TLS",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["REQ.TA.NTP.BuildRequest.10", "REQ.TA.NTP.BuildRequest.30"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "a second gateway asks the time server at least three times",
        "each question: exactly 48 octets inside TLS, version 4, mode 3, nothing before or behind",
    ],
    run: |ctx, bench| {
        let Some(questions) = questions(ctx, bench)? else {
            return Ok(());
        };
        for question in questions {
            let octets = &question.octets;
            let first = octets.first().copied().unwrap_or_default();
            ctx.expect(
                octets.len() == 48 && first & 0x3f == 0x23,
                "question",
                "48 octets, version 4, mode 3",
                format!(
                    "{} octets, version {}, mode {}",
                    octets.len(),
                    first >> 3 & 7,
                    first & 7
                ),
            );
        }
        Ok(())
    },
};

/// REQ.TA.NTP.BuildRequest.40, table 14.1.
pub const TIM_02: Case<Bench> = Case {
    id: "TIM-02",
    version: 1,
    title: "A question tells nothing of the gateway's own time",
    level: Level::Should,
    interface: Interface::Wan,
    requirements: &["REQ.TA.NTP.BuildRequest.40"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "a second gateway asks the time server at least three times",
        "leap 0, stratum 0, poll 0, precision 0x20, all else 0 up to the transmit timestamp",
        "transmit timestamps: not zero, each another, none within a day of the time",
    ],
    run: |ctx, bench| {
        let Some(questions) = questions(ctx, bench)? else {
            return Ok(());
        };
        let mut expected = [0; 40];
        (expected[0], expected[3]) = (0x23, 0x20);
        let mut transmits = Vec::new();
        for question in &questions {
            let (head, transmit) = question.octets.split_at(question.octets.len().min(40));
            ctx.expect(
                head == expected,
                "octets 0 to 39",
                hex(&expected),
                hex(head),
            );
            let transmit = transmit.first_chunk().copied().unwrap_or_default();
            transmits.push(u64::from_be_bytes(transmit));
        }
        // Seconds of NTP's era now; a random number comes this near once in 25 000 questions.
        let now = (bench.now_utc().seconds() + 2_208_988_800) as u32;
        let near = |stamp: &u64| ((stamp >> 32) as u32).wrapping_sub(now) as i32;
        let telling = transmits
            .iter()
            .filter(|stamp| near(stamp).unsigned_abs() < 86_400);
        ctx.expect(
            telling.count() * 2 < transmits.len() && !transmits.contains(&0),
            "transmit timestamps",
            "random, not the gateway's time and not zero",
            format!("{transmits:016x?}"),
        );
        let count = transmits.len();
        transmits.sort_unstable();
        transmits.dedup();
        ctx.expect(
            transmits.len() == count,
            "transmit timestamps that occur once",
            count.to_string(),
            transmits.len().to_string(),
        );
        Ok(())
    },
};

/// REQ.TA.NTP.ProcessResponse.10.
pub const TIM_03: Case<Bench> = Case {
    id: "TIM-03",
    version: 1,
    title: "An answer that takes more than 9 s is ignored",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["REQ.TA.NTP.ProcessResponse.10"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "start a second gateway while answers take 9.5 s and tell a time 500 ms ahead",
        "after the first such answer its clock is where it was, and it says that it has no time",
        "answers are quick again: it has the time",
    ],
    run: |ctx, bench| {
        const LATE: Duration = Duration::from_millis(9_500);
        let server = bench.time_server()?;
        let late = TimeFault::Late(LATE);
        server.set_mode(TimeMode::offset(500_000_000).with(late));
        let before = server.questions().len();
        let second = bench.second_gateway(ctx, TimeSettings::QUICK)?;
        ctx.progress("an answer that takes 9.5 s");
        let patience = ctx.phase(LATE * 4);
        let answered = |_: &mut Ctx| {
            let questions = server.questions();
            Ok(questions
                .iter()
                .skip(before)
                .any(|one| one.answered)
                .then_some(()))
        };
        if ctx.wait_for(patience, answered)?.is_none() {
            ctx.inconclusive("the gateway did not ask, or did not wait for the answer".to_owned());
            return Ok(());
        }
        // The gateway has judged it when it does anything next: asks again, or starts a new connection for it.
        server.set_mode(TimeMode::default().with(TimeFault::Silence));
        let count = server.questions().len();
        ctx.wait_for(ctx.phase(Duration::from_secs(10)), |_| {
            Ok((server.questions().len() > count).then_some(()))
        })?;
        let seen = bench.look_at(ctx, &second)?;
        ctx.expect(
            !seen.synchronised && seen.is_near(Duration::ZERO),
            "clock after an answer that took 9.5 s",
            "unmoved, not synchronised",
            seen.to_string(),
        );
        server.set_mode(TimeMode::default());
        let seen = bench.watch_time(ctx, &second, Duration::from_secs(30), |seen| {
            seen.synchronised
        })?;
        ctx.expect(
            seen.synchronised && seen.is_near(Duration::ZERO),
            "clock after quick answers",
            "synchronised",
            seen.to_string(),
        );
        Ok(())
    },
};

/// REQ.TA.NTP.ProcessResponse.30.
pub const TIM_04: Case<Bench> = Case {
    id: "TIM-04",
    version: 1,
    title: "An answer to another question is ignored",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["REQ.TA.NTP.ProcessResponse.30"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "a second gateway has the time",
        "answers whose origin is not the question's transmit timestamp, repeated answers, doubled answers: its clock does not move",
    ],
    run: |ctx, bench| {
        unmoved_by(
            ctx,
            bench,
            &[
                ("a wrong origin", TimeFault::WrongOrigin),
                ("an earlier answer again", TimeFault::Replayed),
                ("each answer twice at once", TimeFault::Twice),
            ],
        )
    },
};

/// REQ.TA.NTP.ProcessResponse.50–52.
pub const TIM_05: Case<Bench> = Case {
    id: "TIM-05",
    version: 1,
    title: "Answers without time, of an older version or of another mode are ignored",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &[
        "REQ.TA.NTP.ProcessResponse.50",
        "REQ.TA.NTP.ProcessResponse.51",
        "REQ.TA.NTP.ProcessResponse.52",
    ],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "a second gateway has the time",
        "answers with leap indicator 3, version 3, modes 5 and 3, a kiss-o'-death, and octets behind: its clock does not move",
    ],
    run: |ctx, bench| {
        unmoved_by(
            ctx,
            bench,
            &[
                ("leap indicator 3", TimeFault::NoTime),
                ("version 3", TimeFault::Version(3)),
                ("mode 5", TimeFault::Mode(5)),
                ("mode 3", TimeFault::Mode(3)),
                ("a kiss-o'-death", TimeFault::Kiss(*b"RATE")),
                ("20 octets behind", TimeFault::Trailing(20)),
            ],
        )
    },
};

/// REQ.TA.NTP.ProcessResponse.110.
pub const TIM_06: Case<Bench> = Case {
    id: "TIM-06",
    version: 1,
    title: "A synchronised clock ignores jumps of more than 1000 s",
    level: Level::Should,
    interface: Interface::Wan,
    requirements: &["REQ.TA.NTP.ProcessResponse.110"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "a second gateway has the time",
        "the time server jumps 1001 s ahead, and back: the clock does not move",
        "it jumps 999 s ahead: the clock follows",
    ],
    run: |ctx, bench| {
        const SECOND: i64 = 1_000_000_000;
        let second = bench.synchronised_gateway(ctx)?;
        for seconds in [1_001, -1_001] {
            if !bench.answer_by(ctx, TimeMode::offset(seconds * SECOND))? {
                return stopped_asking(ctx);
            }
            let seen = bench.look_at(ctx, &second)?;
            ctx.expect(
                seen.is_near(Duration::ZERO),
                format!("clock after two answers {seconds:+} s away"),
                "unmoved",
                seen.to_string(),
            );
        }
        if !bench.answer_by(ctx, TimeMode::offset(999 * SECOND))? {
            return stopped_asking(ctx);
        }
        let seen = bench.look_at(ctx, &second)?;
        ctx.expect(
            seen.synchronised && seen.is_near(Duration::from_secs(999)),
            "clock after two answers +999 s away",
            "moved by 999 s, synchronised",
            seen.to_string(),
        );
        Ok(())
    },
};

/// DS §14.1.1.
pub const TIM_07: Case<Bench> = Case {
    id: "TIM-07",
    version: 1,
    title: "The first authentic answer sets an invalid clock",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["DS §14.1.1"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(90),
    steps: &[
        "start a second gateway while the time server is silent: it says that it has no time",
        "one answer, two hours away from what the gateway assumes: the clock is there, and synchronised",
    ],
    run: |ctx, bench| {
        const AWAY: Duration = Duration::from_secs(7_200);
        let server = bench.time_server()?;
        server.set_mode(TimeMode::default().with(TimeFault::Close));
        let before = server.questions().len();
        let second = bench.second_gateway(ctx, TimeSettings::QUICK)?;
        ctx.wait_for(ctx.phase(Duration::from_secs(20)), |_| {
            Ok((server.questions().len() > before).then_some(()))
        })?;
        let seen = bench.look_at(ctx, &second)?;
        ctx.expect(
            !seen.synchronised,
            "clock before any answer",
            "not synchronised",
            seen.to_string(),
        );
        server.set_mode(TimeMode {
            answers: Some(1),
            ..TimeMode::offset(AWAY.as_nanos() as i64)
        });
        ctx.progress("one answer");
        let seen = bench.watch_time(ctx, &second, Duration::from_secs(20), |seen| {
            seen.synchronised
        })?;
        ctx.expect(
            seen.synchronised && seen.is_near(AWAY),
            "clock after one answer",
            "+7200 s, synchronised",
            seen.to_string(),
        );
        Ok(())
    },
};

/// Detail specifications §9.3.6: 3 % of the smallest registration period.
pub const TIM_10: Case<Bench> = Case {
    id: "TIM-10",
    version: 1,
    title: "Beyond 3 % of the registration period the time is invalid",
    level: Level::Must,
    interface: Interface::Wan,
    requirements: &["DS §9.3.6"],
    applies_if: &[],
    assumptions: &[
        "time-poll-shortened",
        "time-service-address",
        "time-invalid-limit",
    ],
    needs: NEEDS,
    budget: Duration::from_secs(240),
    steps: &[
        "a second gateway has the time; the limit is 3 % of the rig's registration period",
        "one answer below the limit away, ahead and behind: still synchronised",
        "one answer beyond the limit away: not synchronised until another one confirms it",
        "an oscillator assumed to be 10 % off, and no answers: not synchronised when it may have reached the limit",
    ],
    run: |ctx, bench| {
        let limit = bench.period() * 3 / 100;
        let server = bench.time_server()?;
        let below = (limit * 85 / 100).as_nanos() as i64;
        let beyond = (limit * 115 / 100).as_nanos() as i64;
        let second = bench.synchronised_gateway(ctx)?;
        let mut at = 0;
        for (by, valid) in [
            (below, true),
            (-below, true),
            (beyond, false),
            (-beyond, false),
        ] {
            // Where the last answer left it, confirmed.
            if !bench.answer_by(ctx, TimeMode::offset(at))? {
                return stopped_asking(ctx);
            }
            at += by;
            server.set_mode(TimeMode {
                answers: Some(1),
                ..TimeMode::offset(at)
            });
            let expected = |seen: &crate::bench::Seen| {
                seen.offset.abs_diff(at) <= 50_000_000 && seen.synchronised == valid
            };
            let seen = bench.watch_time(ctx, &second, Duration::from_secs(8), expected)?;
            let by = Duration::from_nanos(by.unsigned_abs());
            ctx.expect(
                expected(&seen),
                format!("clock after one answer {by:?} away"),
                format!(
                    "at {:+} ms, {}synchronised",
                    at / 1_000_000,
                    if valid { "" } else { "not " }
                ),
                seen.to_string(),
            );
        }
        drop(second);
        drifting(ctx, bench, limit)
    },
};

/// An oscillator that may be 10 % off, without answers.
fn drifting(ctx: &mut Ctx, bench: &Bench, limit: Duration) -> Result<(), Stop> {
    let server = bench.time_server()?;
    server.set_mode(TimeMode {
        answers: Some(1),
        ..TimeMode::default()
    });
    let settings = TimeSettings {
        drift_ppm: Some(100_000),
        ..TimeSettings::QUICK
    };
    let second = bench.second_gateway(ctx, settings)?;
    let patience = Duration::from_secs(10);
    let seen = bench.watch_time(ctx, &second, patience, |seen| seen.synchronised)?;
    ctx.expect(
        seen.synchronised,
        "clock after the only answer",
        "synchronised",
        seen.to_string(),
    );
    let from = bench.now_utc();
    let seen = bench.watch_time(ctx, &second, limit * 20, |seen| !seen.synchronised)?;
    let after = bench.now_utc().signed_since(from) as f64 / 1e9;
    ctx.expect(
        !seen.synchronised,
        "clock without answers",
        format!("not synchronised after {:?}", limit * 10),
        format!("{seen} after {after:.1} s"),
    );
    // As much as the rig can tell: the answer came some time before it was seen.
    let earliest = (limit * 10).as_secs_f64() / 2.0;
    ctx.expect(
        after >= earliest,
        "time until then",
        format!("at least {earliest:.1} s"),
        format!("{after:.1} s"),
    );
    Ok(())
}

/// Detail specifications table 15.1, bit 9.
pub const TIM_11: Case<Bench> = Case {
    id: "TIM-11",
    version: 1,
    title: "Values taken with an invalid time say so",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &["DS §15 table 15.1"],
    applies_if: &[],
    assumptions: &["time-poll-shortened", "han-json"],
    needs: &[
        Capability::Gateway,
        Capability::GatewayRestart,
        Capability::TimeServer,
        Capability::Consumer,
        Capability::MeterSmlSimulated,
    ],
    budget: Duration::from_secs(240),
    steps: &[
        "restart the gateway with a time server that is silent",
        "entries of the first grid points: status bit 9 is set",
        "the time server answers; entries of grid points behind that: status bit 9 is clear",
        "restart the gateway as it was",
    ],
    run: |ctx, bench| {
        let silent = TimeMode::default().with(TimeFault::Close);
        bench.time_server()?.set_mode(silent);
        ctx.progress("gateway restarts without time");
        bench.restart_gateway_timed(ctx, TimeSettings::QUICK)?;
        let outcome = status_bit(ctx, bench);
        ctx.progress("gateway restarts as it was");
        bench.restart_gateway(ctx)?;
        outcome
    },
};

/// Status bit 9 without and with time.
fn status_bit(ctx: &mut Ctx, bench: &Bench) -> Result<(), Stop> {
    const TIME_INVALID: u32 = 1 << 9;
    let meter = bench.meters.sml()?;
    for (state, set) in [("without time", true), ("with time", false)] {
        if !set {
            bench.time_server()?.set_mode(TimeMode::default());
        }
        let points = bench.upcoming_grid_points(1, Duration::from_secs(3));
        let Some(point) = points.first().copied() else {
            return Ok(());
        };
        ctx.progress(state);
        bench.pass_until(ctx, point, Duration::ZERO)?;
        // An entry is decided some time after its grid point.
        let patience = ctx.phase(bench.period() / 2);
        let entry = ctx.wait_for(patience, |ctx| {
            let list = bench.value_list(ctx, meter.id, meter.register)?;
            let entry = list
                .entries
                .into_iter()
                .find(|entry| entry.target() == point);
            if entry.is_none() {
                ctx.pass_time(ctx.phase(Duration::from_millis(250)))?;
            }
            Ok(entry)
        })?;
        let bit = entry
            .as_ref()
            .and_then(|entry| entry.status_words())
            .map(|(gateway, _)| gateway & TIME_INVALID != 0);
        ctx.expect(
            bit == Some(set),
            format!("status bit 9 of {point}, {state}"),
            if set { "set" } else { "clear" },
            entry.map_or("no entry".to_owned(), |entry| entry.status.clone()),
        );
    }
    Ok(())
}

/// At least three questions of a second gateway.
fn questions(ctx: &mut Ctx, bench: &Bench) -> Result<Option<Vec<TimeQuestion>>, Stop> {
    let server = bench.time_server()?;
    let before = server.questions().len();
    let _second: SecondGateway = bench.second_gateway(ctx, TimeSettings::QUICK)?;
    let patience = ctx.phase(Duration::from_secs(30));
    let asked = |_: &mut Ctx| {
        let questions = server.questions().split_off(before);
        Ok((questions.len() >= 3).then_some(questions))
    };
    let questions = ctx.wait_for(patience, asked)?;
    if questions.is_none() {
        stopped_asking(ctx)?;
    }
    Ok(questions)
}

/// Each fault, with a time that would be seen, for two answers.
fn unmoved_by(ctx: &mut Ctx, bench: &Bench, faults: &[(&str, TimeFault)]) -> Result<(), Stop> {
    let second = bench.synchronised_gateway(ctx)?;
    for (what, fault) in faults {
        if !bench.answer_by(ctx, TimeMode::offset(SHIFT).with(*fault))? {
            return stopped_asking(ctx);
        }
        let seen = bench.look_at(ctx, &second)?;
        ctx.expect(
            seen.is_near(Duration::ZERO),
            format!("clock after two answers with {what}"),
            "unmoved",
            seen.to_string(),
        );
    }
    // That the shift would have been seen.
    if !bench.answer_by(ctx, TimeMode::offset(SHIFT))? {
        return stopped_asking(ctx);
    }
    let seen = bench.look_at(ctx, &second)?;
    ctx.expect(
        seen.is_near(Duration::from_nanos(SHIFT.unsigned_abs())),
        "clock after two good answers of the same time",
        "moved by 400 ms",
        seen.to_string(),
    );
    Ok(())
}

fn stopped_asking(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.check()?;
    ctx.fail("the gateway does not ask the time server (any more)".to_owned());
    Ok(())
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
