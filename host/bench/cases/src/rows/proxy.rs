// SPDX-License-Identifier: MIT OR Apache-2.0
//! PRX-*: the CLS proxy (TR-03109-1 detail specifications §11; SOCKSv5 with TLS inside SOCKS-TLS frames).
//!
//! Verdict rule of every negative case: the wanted refusal is seen, the EMT saw nothing, and a good
//! channel works right afterwards.

use std::time::Duration;

use bench_engine::{Case, Ctx, Interface, Level, Stop, StopExt};
use bench_evidence::results::Measurement;
use bench_rig::Capability;
use bench_timing::{BenchClock, Distribution, samples_needed};
use hsm_tls::TlsProfile;
use smgw_peers::net::{Failure, GreetingOutcome, TransferPlan, TransferReport};

use crate::bench::{Bench, PROXY_ASSUMPTIONS, within};

const NEEDS_TWO: &[Capability] = &[Capability::Gateway, Capability::ClsTwo, Capability::Emt];
const NEEDS: &[Capability] = &[Capability::Gateway, Capability::Cls, Capability::Emt];
const METHOD_TLS: u8 = 0x06;
const METHOD_NONE: u8 = 0xff;

/// REQ.TA.SOCKSTLS.NegotiateAuth.10/20.
pub const PRX_01: Case<Bench> = Case {
    id: "PRX-01",
    version: 1,
    title: "Greeting with method 06 is accepted, every other offer is refused",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &[
        "REQ.TA.SOCKSTLS.NegotiateAuth.10",
        "REQ.TA.SOCKSTLS.NegotiateAuth.20",
    ],
    applies_if: &[],
    assumptions: &[],
    needs: NEEDS,
    budget: Duration::from_secs(60),
    steps: &[
        "offer 06 alone and 06 among others: 05 06",
        "offer 00; 00 and 02; 01; nothing: 05 FF or close",
        "speak SOCKS4: close without a SOCKS4 grant",
        "a good channel opens afterwards",
    ],
    run: |ctx, bench| {
        for methods in [&[0x06][..], &[0x00, 0x06], &[0x06, 0x02, 0x00]] {
            let outcome = greet(ctx, bench, methods)?;
            let ok = matches!(outcome, Ok(GreetingOutcome::Method(METHOD_TLS)));
            ctx.expect(
                ok,
                format!("greeting offering {methods:02x?}"),
                "05 06",
                text(&outcome),
            );
        }
        for methods in [&[0x00][..], &[0x00, 0x02], &[0x01], &[]] {
            let outcome = greet(ctx, bench, methods)?;
            let ok =
                matches!(outcome, Ok(GreetingOutcome::Method(METHOD_NONE))) || closed(&outcome);
            ctx.expect(
                ok,
                format!("greeting offering {methods:02x?}"),
                "05 FF or close",
                text(&outcome),
            );
        }
        // SOCKS4 CONNECT to 192.0.2.1:443; a grant would answer 00 5A.
        let mut client = bench.open_cls(ctx)?;
        let deadline = bench.step_deadline(ctx);
        let outcome = client.greet_raw(&[4, 1, 0x01, 0xbb, 192, 0, 2, 1, 0], deadline);
        let ok = match &outcome {
            Ok(GreetingOutcome::Method(method)) => *method == METHOD_NONE,
            Ok(GreetingOutcome::Raw(bytes)) => bytes.get(1) != Some(&0x5a),
            outcome => closed(outcome),
        };
        ctx.expect(
            ok,
            "SOCKS4 CONNECT",
            "close, 05 FF or a SOCKS4 refusal",
            text(&outcome),
        );
        bench.cls_alive(ctx)
    },
};

/// REQ.TA.TLS.Handshake.170: the CLS must present its registered certificate.
pub const PRX_03: Case<Bench> = Case {
    id: "PRX-03",
    version: 1,
    title: "Only a CLS with its registered certificate gets through TLS",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.TLS.Handshake.170", "REQ.TA.TLS.Handshake.130"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(60),
    steps: &[
        "handshake with an unregistered certificate: fatal alert",
        "handshake with a certificate of the same name but another key: fatal alert",
        "handshake without certificate: fatal alert",
        "the EMT saw no connection; a good channel opens afterwards",
    ],
    run: |ctx, bench| {
        let before = bench.emt_connections();
        for (who, party) in [
            ("an unregistered certificate", Some(&bench.parties.stranger)),
            (
                "a registered name with another key",
                Some(&bench.parties.impostor_cls),
            ),
            ("no certificate", None),
        ] {
            let outcome = match bench.cls_tls(ctx, party, &TlsProfile::cls_client())? {
                Err(failure) => failure,
                // In TLS 1.3 the client finishes first; the refusal shows on first use.
                Ok(mut tls) => {
                    let deadline = bench.step_deadline(ctx);
                    match tls.connect_name(bench.names.a.as_bytes(), 443, deadline) {
                        Err(failure) => failure,
                        Ok(reply) => {
                            ctx.fail(format!(
                                "{who} was let in; reply {:02x} to CONNECT",
                                reply.code
                            ));
                            continue;
                        }
                    }
                }
            };
            ctx.check()?;
            let alert = outcome.alert().is_some();
            ctx.expect(
                alert,
                format!("handshake with {who}"),
                "fatal alert",
                outcome.to_string(),
            );
        }
        bench.expect_no_emt_connection(ctx, before);
        bench.cls_alive(ctx)
    },
};

/// REQ.TA.SOCKSTLS.Connect.30.
pub const PRX_04: Case<Bench> = Case {
    id: "PRX-04",
    version: 1,
    title: "CONNECT to the profile's name opens a channel to the configured EMT",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.Connect.30"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(60),
    steps: &[
        "CONNECT with the profile's local server name: reply 00",
        "the EMT sees the gateway's certificate and the profile's SNI",
        "bytes come back through the channel",
    ],
    run: |ctx, bench| {
        let before = bench.emt_connections();
        let mut channel = bench.channel(ctx, &bench.parties.cls_a, &bench.names.a)?;
        let deadline = bench.step_deadline(ctx);
        let facts = bench
            .emt
            .wait_until(
                |connections| {
                    connections
                        .get(before)
                        .is_some_and(|connection| connection.tls.is_some())
                },
                deadline,
            )
            .and_then(|connections| connections.into_iter().nth(before))
            .and_then(|connection| connection.tls);
        let sni = facts
            .as_ref()
            .and_then(|facts| facts.sni.clone())
            .unwrap_or_default();
        ctx.expect(
            sni == bench.names.wan_sni,
            "SNI at the EMT",
            bench.names.wan_sni.clone(),
            sni,
        );
        let certificate = facts.and_then(|facts| facts.peer_certificate);
        let same = certificate.as_deref() == Some(bench.gateway_certificate.as_ref());
        ctx.expect(
            same,
            "certificate the EMT was shown",
            "the gateway's own",
            if same {
                "the gateway's own"
            } else {
                "another one, or none"
            },
        );
        let echoed = channel.ping(b"smgw-bench PRX-04", bench.step_deadline(ctx));
        let ok = echoed.is_ok();
        let observed = echoed.map_or_else(|e| e.to_string(), |t| format!("echo after {t:?}"));
        ctx.expect(
            ok,
            "17 bytes through the channel",
            "the same bytes back",
            observed,
        );
        Ok(())
    },
};

/// REQ.TA.SOCKSTLS.Connect.70/80.
pub const PRX_05: Case<Bench> = Case {
    id: "PRX-05",
    version: 1,
    title: "A name without a profile for this CLS is answered 02 and TLS ends within 10 s",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.Connect.70", "REQ.TA.SOCKSTLS.Connect.80"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS_TWO,
    budget: Duration::from_secs(90),
    steps: &[
        "CONNECT to an unknown name and to another CLS's name: reply 02",
        "TLS ends within 10 s of the reply",
        "the EMT saw no connection; a good channel opens afterwards",
    ],
    run: |ctx, bench| {
        let before = bench.emt_connections();
        let mut slowest = Duration::ZERO;
        let mut closed = 0;
        for (what, name) in [
            ("an unknown name", "nowhere.example"),
            ("another CLS's name", bench.names.b.as_str()),
        ] {
            let (reply, end) = refused_connect(ctx, bench, name.as_bytes())?;
            ctx.expect(
                reply == Some(2),
                format!("CONNECT to {what}"),
                "reply 02",
                reply_text(reply),
            );
            match end {
                Some(after) => {
                    closed += 1;
                    slowest = slowest.max(after);
                }
                None => ctx.fail(format!(
                    "after CONNECT to {what} TLS did not end within 11 s"
                )),
            }
        }
        if closed > 0 {
            let seconds = slowest.as_secs_f64();
            ctx.judge_upper(
                Measurement {
                    name: "tls-end-after-refusal".into(),
                    value: seconds,
                    unit: "s".into(),
                    limit: None,
                    uncertainty: Some(bench.round_trip_uncertainty().as_secs_f64()),
                    clock: Some("monotonic, host".into()),
                    n: Some(closed),
                },
                10.0,
            )?;
        }
        bench.expect_no_emt_connection(ctx, before);
        bench.cls_alive(ctx)
    },
};

/// REQ.TA.SOCKSTLS.Connect.35.
pub const PRX_06: Case<Bench> = Case {
    id: "PRX-06",
    version: 1,
    title: "Names of wrong length or with other characters are refused",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.Connect.35"],
    applies_if: &[],
    assumptions: &[
        "socks-tls-frame",
        "socks-tls-states",
        "connect-name-refusal-code",
    ],
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "CONNECT with names of 0, 64 and 255 characters: refused",
        "with upper case, underscore, blank, NUL, UTF-8: refused",
        "the EMT saw no connection; a good channel opens afterwards",
    ],
    run: |ctx, bench| {
        let before = bench.emt_connections();
        let own = bench.names.a.clone();
        let with = |tail: &str| [own.as_bytes(), tail.as_bytes()].concat();
        let names: [(&str, Vec<u8>); 9] = [
            ("of length 0", Vec::new()),
            ("of length 64", vec![b'a'; 64]),
            ("of length 255", vec![b'a'; 255]),
            ("in upper case", own.to_ascii_uppercase().into_bytes()),
            ("with an underscore", with("_")),
            ("with a blank", with(" ")),
            ("with a NUL", with("\0")),
            ("in UTF-8", with("ä")),
            ("with a slash", with("/")),
        ];
        for (what, name) in &names {
            let (reply, _) = refused_connect(ctx, bench, name)?;
            let refused = reply != Some(0);
            ctx.expect(
                refused,
                format!("name {what}"),
                "refused",
                reply_text(reply),
            );
        }
        bench.expect_no_emt_connection(ctx, before);
        bench.cls_alive(ctx)
    },
};

/// Detail specifications table 11.1.
pub const PRX_07: Case<Bench> = Case {
    id: "PRX-07",
    version: 1,
    title: "A silent EMT is answered 04, a refusing one 05",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["DS table 11.1"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: &[
        Capability::Gateway,
        Capability::EmtFaults,
        Capability::Cls,
        Capability::Emt,
    ],
    budget: Duration::from_secs(90),
    steps: &[
        "CONNECT to a profile whose EMT port swallows connection requests: reply 04",
        "CONNECT to a profile whose EMT port resets connection requests: reply 05",
        "a good channel opens afterwards",
    ],
    run: |ctx, bench| {
        for (what, name, wanted) in [
            ("a silent EMT", bench.names.silent.clone(), 4),
            ("a refusing EMT", bench.names.refusing.clone(), 5),
        ] {
            let (reply, _) = refused_connect(ctx, bench, name.as_bytes())?;
            ctx.expect(
                reply == Some(wanted),
                format!("CONNECT to {what}"),
                format!("reply {wanted:02x}"),
                reply_text(reply),
            );
        }
        bench.cls_alive(ctx)
    },
};

/// Byte transparency.
pub const PRX_11: Case<Bench> = Case {
    id: "PRX-11",
    version: 1,
    title: "Bytes pass unchanged both ways: 64 MiB, single bytes, half close",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["AnyPLACE §3.3"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(180),
    steps: &[
        "64 MiB of seeded random bytes out and back at once, compared byte by byte",
        "500 writes of one byte, each echoed",
        "half close: what was sent before still comes back, then end of stream",
    ],
    run: |ctx, bench| {
        let mut channel = bench.channel(ctx, &bench.parties.cls_a, &bench.names.a)?;
        const TOTAL: u64 = 64 << 20;
        ctx.progress("64 MiB out and back");
        let plan = TransferPlan {
            seed: ctx.seed(),
            len: TOTAL,
            write_len: 16_384,
            half_close: false,
        };
        let patience = Duration::from_secs(120).mul_f64(bench.multiplier);
        let report = channel.transfer(&plan, within(ctx, patience));
        ctx.check()?;
        ctx.expect(
            report.is_transparent() && report.received == TOTAL,
            "64 MiB out and back",
            format!("{TOTAL} identical bytes"),
            transfer_text(&report),
        );
        if report.failure.is_some() {
            return Ok(());
        }
        ctx.measure(Measurement {
            name: "throughput-both-ways".into(),
            value: TOTAL as f64 / f64::from(1 << 20) / report.duration.as_secs_f64(),
            unit: "MiB/s".into(),
            limit: None,
            uncertainty: None,
            clock: Some("monotonic, host".into()),
            n: Some(1),
        });
        ctx.progress("single bytes");
        for byte in 0..500u32 {
            let deadline = bench.step_deadline(ctx);
            if let Err(error) = channel.ping(&[byte as u8], deadline) {
                bench.trouble_or_fail(
                    ctx,
                    format!("single byte {byte} did not come back: {error}"),
                )?;
                return Ok(());
            }
        }
        ctx.expect(true, "500 writes of one byte", "each echoed", "each echoed");
        ctx.progress("half close");
        let plan = TransferPlan {
            seed: !ctx.seed(),
            len: 100_000,
            write_len: 1_400,
            half_close: true,
        };
        let report = channel.transfer(&plan, bench.step_deadline(ctx));
        ctx.check()?;
        ctx.expect(
            report.is_transparent() && report.received == 100_000 && report.peer_closed,
            "100 000 bytes, then half close",
            "all bytes back, then end of stream",
            transfer_text(&report),
        );
        Ok(())
    },
};

/// REQ.TA.SOCKSTLS.ConnectRequest.10.
pub const PRX_12: Case<Bench> = Case {
    id: "PRX-12",
    version: 1,
    title: "Four parallel channels stay apart",
    level: Level::Must,
    interface: Interface::Cls,
    requirements: &["REQ.TA.SOCKSTLS.ConnectRequest.10"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS_TWO,
    budget: Duration::from_secs(120),
    steps: &[
        "open four channels at once, two per CLS, each with its own TLS session",
        "send different seeded bytes on each, interleaved: each channel returns its own only",
        "the EMT saw four connections",
    ],
    run: |ctx, bench| {
        let before = bench.emt_connections();
        let mut channels = Vec::new();
        for (party, name) in [
            (&bench.parties.cls_a, &bench.names.a),
            (&bench.parties.cls_b, &bench.names.b),
            (&bench.parties.cls_a, &bench.names.a),
            (&bench.parties.cls_b, &bench.names.b),
        ] {
            channels.push(bench.channel(ctx, party, name)?);
        }
        for round in 0..50u32 {
            for (index, channel) in channels.iter_mut().enumerate() {
                let payload: Vec<u8> = format!("channel {index} round {round} ")
                    .into_bytes()
                    .into_iter()
                    .cycle()
                    .take(64 + round as usize * 20)
                    .collect();
                if let Err(error) = channel.ping(&payload, bench.step_deadline(ctx)) {
                    bench.trouble_or_fail(
                        ctx,
                        format!("channel {index}, round {round}: not its own bytes back: {error}"),
                    )?;
                    return Ok(());
                }
            }
        }
        ctx.expect(
            true,
            "50 rounds on 4 channels",
            "own bytes back",
            "own bytes back",
        );
        let seen = bench.emt_connections() - before;
        ctx.expect(seen == 4, "connections at the EMT", "4", seen.to_string());
        Ok(())
    },
};

/// Proxy latency: characterised, never judged.
pub const PRX_19: Case<Bench> = Case {
    id: "PRX-19",
    version: 1,
    title: "Proxy latency: echo round trips of 1 to 1400 bytes",
    level: Level::Characterise,
    interface: Interface::Cls,
    requirements: &["project goal"],
    applies_if: &[],
    assumptions: PROXY_ASSUMPTIONS,
    needs: NEEDS,
    budget: Duration::from_secs(120),
    steps: &[
        "echo round trips of 1, 16, 256 and 1400 bytes on an absolute schedule of 2 ms, 1000 each",
        "the same without the gateway, straight to an EMT: what the rig itself contributes",
        "report n, p50, p99, p99.95, max and the rig's uncertainty",
    ],
    run: |ctx, bench| {
        const PER_SIZE: u64 = 1_000;
        const INTERVAL: Duration = Duration::from_millis(2);
        for size in [1usize, 16, 256, 1400] {
            ctx.progress(&format!("{PER_SIZE} round trips of {size} bytes"));
            let payload = vec![0xa5; size];
            let mut channel = bench.channel(ctx, &bench.parties.cls_a, &bench.names.a)?;
            let mut direct = bench.direct_channel(ctx)?;
            let mut through = Distribution::new();
            let mut baseline = Distribution::new();
            let mut late = 0u64;
            let mut at = BenchClock::now();
            for _ in 0..PER_SIZE {
                at = at + INTERVAL;
                if BenchClock::now() > at {
                    late += 1;
                }
                BenchClock::sleep_until(at);
                let deadline = bench.step_deadline(ctx);
                match channel.ping(&payload, deadline) {
                    Ok(round_trip) => through.record(round_trip),
                    Err(error) => {
                        bench.trouble_or_fail(ctx, format!("echo of {size} bytes: {error}"))?;
                        return Ok(());
                    }
                }
                let straight = direct
                    .ping(&payload, deadline)
                    .or_rig("echo straight to an EMT")?;
                baseline.record(straight);
                ctx.check()?;
            }
            let uncertainty = bench.round_trip_uncertainty().as_secs_f64() * 1e6;
            for (suffix, distribution, uncertainty) in [
                ("", &through, Some(uncertainty)),
                ("-without-gateway", &baseline, None),
            ] {
                for (quantile, value) in [
                    ("p50", distribution.p50()),
                    ("p99", distribution.p99()),
                    ("p99.95", distribution.p99_95()),
                    ("max", distribution.max()),
                ] {
                    ctx.measure(Measurement {
                        name: format!("round-trip-{size}B{suffix}-{quantile}"),
                        value: value as f64 / 1e3,
                        unit: "us".into(),
                        limit: None,
                        uncertainty,
                        clock: Some("monotonic, host".into()),
                        n: Some(distribution.n()),
                    });
                }
            }
            if late > 0 {
                ctx.note(
                    format!("{size} B: absolute schedule"),
                    format!(
                        "{late} of {PER_SIZE} stimuli started late; their time is not counted twice"
                    ),
                );
            }
            bench.keep_histogram(&format!("prx-19-{size}b"), through);
            bench.keep_histogram(&format!("prx-19-{size}b-without-gateway"), baseline);
        }
        ctx.characterised(format!(
            "characterised with n = {PER_SIZE} per size; a p99.95 claim at 95 % confidence needs {}",
            samples_needed(0, 0.9995, 0.95)
        ));
        Ok(())
    },
};

type Greeted = Result<GreetingOutcome, Failure>;

fn greet(ctx: &mut Ctx, bench: &Bench, methods: &[u8]) -> Result<Greeted, Stop> {
    let mut client = bench.open_cls(ctx)?;
    let outcome = client.greet(methods, bench.step_deadline(ctx));
    ctx.check()?;
    Ok(outcome)
}

fn closed(outcome: &Greeted) -> bool {
    matches!(
        outcome,
        Ok(GreetingOutcome::Closed) | Err(Failure::Closed | Failure::Reset)
    )
}

fn text(outcome: &Greeted) -> String {
    match outcome {
        Ok(GreetingOutcome::Method(method)) => format!("05 {method:02x}"),
        Ok(GreetingOutcome::Closed) => "close".to_owned(),
        Ok(GreetingOutcome::Raw(bytes)) => format!("{bytes:02x?}"),
        Err(failure) => failure.to_string(),
    }
}

fn transfer_text(report: &TransferReport) -> String {
    let mut text = format!("{} bytes sent, {} back", report.sent, report.received);
    if let Some(at) = report.first_mismatch {
        text += &format!(", first difference at byte {at}");
    }
    if let Some(failure) = &report.failure {
        text += &format!(", {failure}");
    }
    text
}

fn reply_text(reply: Option<u8>) -> String {
    match reply {
        Some(code) => format!("reply {code:02x}"),
        None => "connection ended without a reply".to_owned(),
    }
}

/// CONNECT that should be refused: the reply code, and after how long TLS ended (none: not within 11 s).
fn refused_connect(
    ctx: &mut Ctx,
    bench: &Bench,
    name: &[u8],
) -> Result<(Option<u8>, Option<Duration>), Stop> {
    let opened = bench.cls_tls(ctx, Some(&bench.parties.cls_a), &TlsProfile::cls_client())?;
    let mut tls = match opened {
        Ok(tls) => tls,
        Err(failure) => {
            bench.trouble_or_fail(ctx, format!("the registered CLS was refused: {failure}"))?;
            return Err(Stop::Done);
        }
    };
    match tls.connect_name(name, 443, bench.step_deadline(ctx)) {
        Ok(reply) if reply.code == 0 => Ok((Some(0), None)),
        Ok(reply) => {
            let ended = tls.wait_closed(within(ctx, Duration::from_secs(11)));
            Ok((Some(reply.code), ended.ok().map(|ended| ended.after)))
        }
        Err(Failure::Closed | Failure::Reset) => {
            ctx.check()?;
            Ok((None, Some(Duration::ZERO)))
        }
        Err(failure) => {
            bench.trouble_or_fail(ctx, format!("no reply to CONNECT: {failure}"))?;
            Err(Stop::Done)
        }
    }
}
