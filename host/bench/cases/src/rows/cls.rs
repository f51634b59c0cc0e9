// SPDX-License-Identifier: MIT OR Apache-2.0
//! CLS-*, PRX-20 and PRX-21: a flashed board as controllable local system, commanded through the gateway's proxy
//! (TR-03109-5; TR-03109-1 detail specifications §11; §14a EnWG with the states of EEBUS LPC).
//!
//! The board is seen from three sides that know nothing of each other: the market participant at the far end of the
//! channel, the debug probe at the pins, and the firmware's own log.

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop, StopExt};
use bench_evidence::results::Measurement;
use bench_rig::Capability;
use bench_timing::Distribution;
use bench_wire::{Chance, Impairments};
use smgw_cls::command::{Command, Report};
use smgw_cls::limiter::Mode;
use smgw_peers::net::{Asked, Ended};
use smgw_units::UtcNanos;

use crate::bench::{Bench, within};
use crate::boards::{LIMITS, Redirected};

const NEEDS: &[Capability] = &[Capability::Gateway, Capability::ClsDevice, Capability::Emt];
/// Of cases in which the bench plays the gateway.
const PLAYED: &[Capability] = &[
    Capability::Gateway,
    Capability::ClsDevice,
    Capability::ClsRedirect,
    Capability::Emt,
];
const ASSUMPTIONS: &[&str] = &[
    "socks-tls-frame",
    "socks-tls-states",
    "cls-commands",
    "cls-limit",
];
/// Watts below what the load draws, so that the relay must open.
const LIMIT: u32 = 1_500;

/// REQ.TA.SOCKSTLS.Connect.30, from the side of the CLS.
pub const CLS_01: Case<Bench> = Case {
    id: "CLS-01",
    version: 1,
    title: "A flashed board opens its channel and runs the image that was flashed",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.Connect.30", "TR-03109-5"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "reset the board and wait for its channel at the active EMT",
        "its greeting names the build id of the flashed image",
        "the EMT sees the gateway's certificate and the profile's SNI",
        "32 octets sent to the board come back",
    ],
    run: |ctx, bench| {
        let board = bench.board()?;
        bench.active_emt()?.forget_sessions();
        let from = bench.now_utc();
        board.reset().or_rig("resetting the board")?;
        let mut session = bench.next_channel(ctx)?;
        ctx.measure(seconds(bench, "reset-to-channel", since(bench, from), 1));
        let deadline = bench.step_deadline(ctx);
        let hello = session.wait_for(deadline, |report| match report {
            Report::Hello { build_id, .. } => Some(build_id.clone()),
            _ => None,
        });
        let expected = board.build_id.to_string();
        let observed = match hello {
            Ok((build_id, _)) => crate::module_tool::hex(&build_id),
            Err(failure) => failure.to_string(),
        };
        ctx.expect(
            observed == expected,
            "build id in the greeting",
            expected,
            observed,
        );
        let facts = session.facts();
        let sni = facts.sni.clone().unwrap_or_default();
        let same = facts.peer_certificate.as_deref() == Some(bench.gateway_certificate.as_ref());
        ctx.expect(
            sni == bench.names.wan_sni,
            "SNI at the EMT",
            bench.names.wan_sni.clone(),
            sni,
        );
        ctx.expect(
            same,
            "certificate the EMT was shown",
            "the gateway's own",
            if same { "the gateway's own" } else { "another" },
        );
        echo(ctx, bench, &mut session, 32)?;
        bench.keep_channel(session);
        Ok(())
    },
};

/// §14a EnWG; EEBUS LPC.
pub const CLS_02: Case<Bench> = Case {
    id: "CLS-02",
    version: 2,
    title: "A limit of the active EMT takes effect at the pin and is lifted again",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["EnWG §14a", "TR-03109-5"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "heartbeat and no limit: state UnlimitedControlled, relay on; the pin agrees, read by the debug probe",
        "heartbeat and limit below the load: state Limited with that limit, relay off, the pin agrees",
        "lift the limit: as before",
    ],
    run: |ctx, bench| {
        let mut session = bench.board_channel(ctx)?;
        bench.command(
            ctx,
            &mut session,
            &Command::Heartbeat,
            "a heartbeat",
            |_| true,
        )?;
        lift(ctx, bench, &mut session)?;
        bench.expect_relay(ctx, "before the limit", true)?;
        let (_, effect) = limit(ctx, bench, &mut session, None)?;
        ctx.measure(milliseconds(bench, "command-to-limit", effect, 1));
        bench.expect_relay(ctx, "limited", false)?;
        let (_, effect) = lift(ctx, bench, &mut session)?;
        ctx.measure(milliseconds(bench, "command-to-release", effect, 1));
        bench.expect_relay(ctx, "unlimited", true)?;
        bench.keep_channel(session);
        Ok(())
    },
};

/// EEBUS LPC: fail-safe.
pub const CLS_03: Case<Bench> = Case {
    id: "CLS-03",
    version: 1,
    title: "Without heartbeats the board falls back to its fail-safe limit, and leaves it on heartbeat and new limit only",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["EnWG §14a", "TR-03109-5"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "heartbeat and no limit, then silence: state Failsafe within the heartbeat time",
        "the fail-safe limit holds, relay off, the pin agrees",
        "a heartbeat alone does not end it",
        "heartbeat and a new limit do",
    ],
    run: |ctx, bench| {
        let mut session = bench.board_channel(ctx)?;
        limit(ctx, bench, &mut session, None)?;
        let allowed = Duration::from_secs(LIMITS.heartbeat_s.into());
        let started = bench.now_utc();
        let deadline = within(ctx, allowed * 3 + Duration::from_secs(20));
        let fell = session.wait_for(deadline, |report| match report {
            Report::State(state) if state.mode == Mode::Failsafe => Some(*state),
            _ => None,
        });
        let state = match fell {
            Ok((state, _)) => state,
            Err(failure) => {
                bench.trouble_or_fail(ctx, format!("silence for {allowed:?}: {failure}"))?;
                return Ok(());
            }
        };
        let silent = since(bench, started);
        ctx.measure(seconds(bench, "silence-to-failsafe", silent, 1));
        // The silence began a round trip before it was timed; how late a board may be is the bench's patience.
        let latest = allowed + Duration::from_secs(3).mul_f64(bench.multiplier);
        ctx.expect(
            silent >= allowed.mul_f64(0.9) && silent <= latest,
            "time of silence until the fail-safe limit",
            format!("{allowed:?}, at most {latest:?}"),
            format!("{silent:?}"),
        );
        ctx.expect(
            state.watts == Some(LIMITS.failsafe_watts) && !state.relay,
            "fail-safe limit",
            format!("{} W, relay off", LIMITS.failsafe_watts),
            format!("{:?} W, relay {}", state.watts, state.relay),
        );
        bench.expect_relay(ctx, "fail-safe", false)?;
        let (state, _) = bench.command(
            ctx,
            &mut session,
            &Command::Heartbeat,
            "heartbeat in fail-safe",
            |_| true,
        )?;
        ctx.expect(
            state.mode == Mode::Failsafe,
            "mode after a heartbeat alone",
            "Failsafe",
            format!("{:?}", state.mode),
        );
        limit(ctx, bench, &mut session, Some(60))?;
        bench.keep_channel(session);
        Ok(())
    },
};

/// Settings and keys in flash.
pub const CLS_04: Case<Bench> = Case {
    id: "CLS-04",
    version: 1,
    title: "After a reset in the middle of a session the board comes back with the settings it had",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["TR-03109-5"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "limit the board, then reset it",
        "it opens its channel again and holds its fail-safe limit until it is told otherwise",
        "a limit takes effect as before",
    ],
    run: |ctx, bench| {
        let mut session = bench.board_channel(ctx)?;
        limit(ctx, bench, &mut session, None)?;
        bench.active_emt()?.forget_sessions();
        bench.board()?.reset().or_rig("resetting the board")?;
        session.abort();
        let mut session = bench.next_channel(ctx)?;
        let (state, _) = bench.command(
            ctx,
            &mut session,
            &Command::Status,
            "state after the reset",
            |_| true,
        )?;
        let safe = matches!(state.mode, Mode::Init | Mode::Failsafe);
        ctx.expect(
            safe && state.watts == Some(LIMITS.failsafe_watts),
            "limit right after the reset",
            format!("fail-safe, {} W", LIMITS.failsafe_watts),
            format!("{:?}, {:?} W", state.mode, state.watts),
        );
        bench.expect_relay(ctx, "after the reset", false)?;
        limit(ctx, bench, &mut session, None)?;
        bench.keep_channel(session);
        Ok(())
    },
};

/// What the way through gateway and board costs.
pub const CLS_05: Case<Bench> = Case {
    id: "CLS-05",
    version: 1,
    title: "Round trip from the active EMT through the gateway to the board, 1 to 1400 octets",
    level: Level::Characterise,
    interface: Interface::Cls,
    requirements: &["project goal: proxy latency"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &["echo 1, 256 and 1400 octets, 50 times each, one after the other"],
    run: |ctx, bench| {
        const PER_SIZE: u64 = 50;
        let mut session = bench.board_channel(ctx)?;
        for size in [1, 256, 1400] {
            let mut seen = Distribution::new();
            for _ in 0..PER_SIZE {
                seen.record(echo(ctx, bench, &mut session, size)?);
                ctx.check()?;
            }
            for (quantile, value) in [("p50", seen.p50()), ("max", seen.max())] {
                let name = format!("board-round-trip-{size}B-{quantile}");
                let value = Duration::from_nanos(value);
                ctx.measure(milliseconds(bench, &name, value, seen.n()));
            }
            bench.keep_histogram(&format!("cls-05-{size}b"), seen);
        }
        bench.keep_channel(session);
        ctx.characterised(format!("characterised with n = {PER_SIZE} per size"));
        Ok(())
    },
};

/// A bad network and a cut one.
pub const CLS_06: Case<Bench> = Case {
    id: "CLS-06",
    version: 1,
    title: "Loss, delay and reordering on the way cost time and no octet; a cut cable leads to the fail-safe limit and back",
    level: Level::Should,
    interface: Interface::Cls,
    requirements: &["project goal: robustness"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: &[
        Capability::Gateway,
        Capability::ClsDevice,
        Capability::ClsWire,
        Capability::Emt,
    ],
    budget: Duration::from_secs(300),
    steps: &[
        "10 ms delay, 5 % loss, reordering, duplicates and cut frames: 20 echoes of 1400 octets come back whole",
        "cut the cable: the relay falls to the fail-safe limit, seen at the pin",
        "mend it: the board is back and takes a limit",
    ],
    run: |ctx, bench| {
        let mut session = bench.board_channel(ctx)?;
        let part = |chance| Chance::new(chance).or_bench("a chance");
        let bad = bench.spoil_wire(Impairments {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(10),
            loss: part(0.05)?,
            reorder: part(0.05)?,
            reorder_by: Duration::from_millis(15),
            duplicate: part(0.05)?,
            truncate: part(0.02)?,
        })?;
        let mut seen = Distribution::new();
        for _ in 0..20 {
            seen.record(echo(ctx, bench, &mut session, 1400)?);
            ctx.check()?;
        }
        let hits = bad.hits();
        drop(bad);
        ctx.expect(
            hits > 0,
            "frames that the bad network hit",
            "some",
            hits.to_string(),
        );
        let middle = Duration::from_nanos(seen.p50());
        let name = "bad-network-round-trip-1400B-p50";
        ctx.measure(milliseconds(bench, name, middle, seen.n()));

        bench.command(
            ctx,
            &mut session,
            &Command::Heartbeat,
            "a heartbeat",
            |_| true,
        )?;
        lift(ctx, bench, &mut session)?;
        bench.expect_relay(ctx, "before the cable is cut", true)?;
        bench.active_emt()?.forget_sessions();
        let cut = bench.spoil_wire(Impairments::cut())?;
        let latest = Duration::from_secs(LIMITS.heartbeat_s.into()) * 5;
        let patience = ctx.phase(latest);
        let fell = ctx.wait_for(patience, |_| {
            let relay = bench.board()?.relay().or_rig("reading the relay")?;
            Ok((relay == Some(false)).then_some(()))
        });
        drop(cut);
        let fell = fell?.is_some();
        ctx.expect(
            fell,
            "relay at the pin, cable cut",
            format!("off within {latest:?}"),
            if fell { "off" } else { "on" },
        );
        session.abort();
        let mut session = bench.next_channel(ctx)?;
        limit(ctx, bench, &mut session, None)?;
        bench.keep_channel(session);
        Ok(())
    },
};

/// REQ.TA.SOCKSTLS.ConnectRequest.80.
pub const PRX_20: Case<Bench> = Case {
    id: "PRX-20",
    version: 3,
    title: "A refused CLS tries again after a random time between 5 and 60 s",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.ConnectRequest.80"],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: PLAYED,
    budget: Duration::from_secs(600),
    steps: &[
        "the bench takes the gateway's place: the board is given its address and certificate, and started anew",
        "every CONNECT is answered with code 02; six times, the board calls again 5 to 60 s after the end of its last call",
        "the six waits do not lie together; if they seem to, neither do twelve",
        "the gateway gets its place back: the board is back",
    ],
    run: |ctx, bench| {
        const WAITS: usize = 6;
        const REFUSED: &[u8] = &[5, 2, 0, 1, 0, 0, 0, 0, 0, 0];
        let (proxy, redirected) = bench.take_gateways_place()?;
        let mut waits = Vec::new();
        let mut last = None;
        while waits.len() < WAITS || (waits.len() < 2 * WAITS && lie_together(&waits)) {
            let mut asked = bench.next_call(ctx, &proxy)?;
            if let Some(end) = last {
                waits.push(asked.called_at().saturating_since(end));
                waits.sort();
            }
            last = Some(refuse(ctx, bench, &mut asked, REFUSED)?.at);
        }
        let (Some(least), Some(most)) = (waits.first().copied(), waits.last().copied()) else {
            return Ok(());
        };
        let n = waits.len() as u64;
        ctx.judge_upper(seconds(bench, "longest-wait", most, n), 60.0)?;
        ctx.expect(
            least >= Duration::from_secs(5),
            "shortest wait",
            "at least 5 s",
            format!("{least:.3?}"),
        );
        ctx.measure(seconds(bench, "shortest-wait", least, n));
        ctx.expect(
            !lie_together(&waits),
            "waits",
            "random",
            format!("{waits:.1?}"),
        );
        give_place_back(ctx, bench, redirected)
    },
};

/// Whether two of three of the sorted waits are within what lost SYNs or a busy host add to the shortest; they may add more
/// to some. Six random waits between 5 and 60 s do so once in 200 runs, twelve once in 100,000.
fn lie_together(waits: &[Duration]) -> bool {
    let Some(&least) = waits.first() else {
        return false;
    };
    let near = waits
        .iter()
        .filter(|wait| **wait - least <= Duration::from_secs(4));
    near.count() * 3 >= waits.len() * 2
}

/// REQ.TA.SOCKSTLS.ConnectRequest.50 to .70.
pub const PRX_21: Case<Bench> = Case {
    id: "PRX-21",
    version: 1,
    title: "A CLS judges a reply by its code alone, and ends TLS within 10 s of a refusal",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &[
        "REQ.TA.SOCKSTLS.ConnectRequest.50",
        "REQ.TA.SOCKSTLS.ConnectRequest.60",
        "REQ.TA.SOCKSTLS.ConnectRequest.70",
    ],
    applies_if: &[],
    assumptions: ASSUMPTIONS,
    needs: PLAYED,
    budget: Duration::from_secs(300),
    steps: &[
        "the bench takes the gateway's place: the board is given its address and certificate, and started anew",
        "CONNECT is answered with code 00 and a name in BND.ADDR: the board greets and sends 32 octets back",
        "its next CONNECT is answered with code 01: it sends nothing more and ends TLS and TCP within 10 s",
        "the gateway gets its place back: the board is back",
    ],
    run: |ctx, bench| {
        const GRANTED: &[u8] = &[5, 0, 0, 3, 4, b'j', b'u', b'n', b'k', 0xff, 0xff];
        const REFUSED: &[u8] = &[5, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let (proxy, redirected) = bench.take_gateways_place()?;
        let mut asked = bench.next_call(ctx, &proxy)?;
        let name = String::from_utf8_lossy(asked.name()).into_owned();
        let expected = bench.board()?.local_server_name.clone();
        ctx.expect(name == expected, "name in CONNECT", expected, name);
        let deadline = bench.step_deadline(ctx);
        if let Err(failure) = asked.reply(GRANTED, deadline) {
            bench.trouble_or_fail(ctx, format!("reply 00: {failure}"))?;
            return Ok(());
        }
        let mut session = asked.into_session();
        let greeted = session.wait_for(deadline, |report| {
            matches!(report, Report::Hello { .. }).then_some(())
        });
        match greeted {
            Ok(_) => {
                echo(ctx, bench, &mut session, 32)?;
            }
            Err(failure) => bench.trouble_or_fail(
                ctx,
                format!("channel behind reply 00 with a name in BND.ADDR: {failure}"),
            )?,
        }
        session.close(bench.step_deadline(ctx));

        let mut asked = bench.next_call(ctx, &proxy)?;
        let ended = refuse(ctx, bench, &mut asked, REFUSED)?;
        ctx.judge_upper(seconds(bench, "refusal-to-end", ended.after, 1), 10.0)?;
        ctx.expect(
            ended.close_notify && ended.discarded == 0,
            "what follows reply 01",
            "close_notify, and nothing before it",
            format!(
                "{} octets, {} close_notify",
                ended.discarded,
                if ended.close_notify { "then" } else { "no" }
            ),
        );
        give_place_back(ctx, bench, redirected)
    },
};

/// Refuses a board's CONNECT with this reply, and waits until the board has ended the connection.
fn refuse(ctx: &mut Ctx, bench: &Bench, asked: &mut Asked, reply: &[u8]) -> Result<Ended, Stop> {
    let patience = Duration::from_secs(10) + Duration::from_secs(5).mul_f64(bench.multiplier);
    let deadline = within(ctx, patience);
    let ended = asked
        .reply(reply, deadline)
        .and_then(|()| asked.wait_closed(deadline));
    match ended {
        Ok(ended) => Ok(ended),
        Err(failure) => {
            let what = format!("end of TLS behind a refusal, within {patience:?}: {failure}");
            bench.trouble_or_fail(ctx, what)?;
            Err(Stop::Done)
        }
    }
}

/// Sends the board back to the gateway, where it must open its channel again.
fn give_place_back(ctx: &mut Ctx, bench: &Bench, redirected: Redirected<'_>) -> Result<(), Stop> {
    bench.active_emt()?.forget_sessions();
    drop(redirected);
    let session = bench.next_channel(ctx)?;
    bench.keep_channel(session);
    Ok(())
}

fn echo(
    ctx: &mut Ctx,
    bench: &Bench,
    session: &mut smgw_peers::net::Session,
    size: usize,
) -> Result<Duration, Stop> {
    let octets: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let deadline = bench.step_deadline(ctx);
    let start = smgw_peers::net::now();
    let answer = session
        .send(&Command::Echo(octets.clone()), deadline)
        .and_then(|()| {
            session.wait_for(deadline, |report| match report {
                Report::Echoed(back) => Some(back.clone()),
                _ => None,
            })
        });
    match answer {
        Ok((back, at)) if back == octets => Ok(Duration::from_nanos(at.0.saturating_sub(start.0))),
        Ok((back, _)) => {
            ctx.fail(format!(
                "{size} octets sent, {} other ones back",
                back.len()
            ));
            Err(Stop::Done)
        }
        Err(failure) => {
            bench.trouble_or_fail(ctx, format!("echo of {size} octets: {failure}"))?;
            Err(Stop::Done)
        }
    }
}

/// Heartbeat, then a limit below the load: the board must take it and open the relay.
fn limit(
    ctx: &mut Ctx,
    bench: &Bench,
    session: &mut smgw_peers::net::Session,
    seconds: Option<u32>,
) -> Result<(smgw_cls::command::State, Duration), Stop> {
    bench.command(ctx, session, &Command::Heartbeat, "a heartbeat", |_| true)?;
    let command = Command::Limit {
        watts: LIMIT,
        seconds,
    };
    bench.command(ctx, session, &command, "a limit", |state| {
        state.mode == Mode::Limited && state.watts == Some(LIMIT) && !state.relay
    })
}

/// No limit: the board must close the relay.
fn lift(
    ctx: &mut Ctx,
    bench: &Bench,
    session: &mut smgw_peers::net::Session,
) -> Result<(smgw_cls::command::State, Duration), Stop> {
    let what = "lifting the limit";
    bench.command(ctx, session, &Command::Unlimited, what, |state| {
        state.mode == Mode::UnlimitedControlled && state.relay && state.watts.is_none()
    })
}

/// What has passed on the bench clock.
fn since(bench: &Bench, start: UtcNanos) -> Duration {
    let passed = bench.now_utc().signed_since(start);
    Duration::from_nanos(u64::try_from(passed).unwrap_or(0))
}

fn seconds(bench: &Bench, name: &str, took: Duration, n: u64) -> Measurement {
    time(bench, name, took, ("s", 1.0), n)
}

fn milliseconds(bench: &Bench, name: &str, took: Duration, n: u64) -> Measurement {
    time(bench, name, took, ("ms", 1e3), n)
}

fn time(
    bench: &Bench,
    name: &str,
    took: Duration,
    (unit, per_second): (&str, f64),
    n: u64,
) -> Measurement {
    Measurement {
        name: name.into(),
        value: took.as_secs_f64() * per_second,
        unit: unit.into(),
        limit: None,
        uncertainty: Some(bench.round_trip_uncertainty().as_secs_f64() * per_second),
        clock: Some("monotonic, host".into()),
        n: Some(n),
    }
}
