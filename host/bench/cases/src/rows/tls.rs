// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS-*: rules of TR-03116-3 seen at the gateway's servers.

use std::time::Duration;

use bench_engine::{Case, Interface, Level};
use bench_rig::Capability;
use hsm_tls::TlsProfile;
use smgw_peers::net::ProbeOutcome;

use crate::bench::Bench;

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256.
const C02B: u16 = 0xc02b;

/// T3 table 7, the GCM suite of the pair that is mandatory.
pub const TLS_01: Case<Bench> = Case {
    id: "TLS-01",
    version: 1,
    title: "TLS 1.2 handshake with ECDHE_ECDSA_AES_128_GCM_SHA256 (GCM part)",
    level: Level::Must,
    interface: Interface::Han,
    requirements: &[
        "TR-03116-3 table 7",
        "REQ.TA.TLS.Handshake.10",
        "REQ.TA.TLS.Handshake.30",
    ],
    applies_if: &["tls.version.1.2"],
    assumptions: &[],
    needs: &[Capability::Gateway, Capability::Consumer],
    budget: Duration::from_secs(60),
    steps: &[
        "force TLS 1.2 with suite C02B alone on the HAN server: connects and serves",
        "the same on the CLS server",
        "suite C023 (CBC) is not judged here: the declaration says whether it is offered",
    ],
    run: |ctx, bench| {
        let profile = TlsProfile::han_client().only_tls12().only_suite(C02B);
        let answer =
            bench.han_request_with_profile(ctx, bench.parties.consumer()?, &profile, "/smgw/");
        ctx.check()?;
        let (ok, observed) = match answer {
            Ok(response) => (response.status == 200, format!("HTTP {}", response.status)),
            Err(failure) => (false, failure.to_string()),
        };
        ctx.expect(
            ok,
            "HAN: TLS 1.2 with C02B alone",
            "connects, HTTP 200",
            observed,
        );
        let profile = TlsProfile::cls_client().only_tls12().only_suite(C02B);
        let outcome = bench.cls_tls(ctx, Some(&bench.parties.cls_a), &profile)?;
        ctx.check()?;
        let ok = outcome.is_ok();
        let observed = outcome
            .err()
            .map_or_else(|| "connects".to_owned(), |o| o.to_string());
        ctx.expect(ok, "CLS: TLS 1.2 with C02B alone", "connects", observed);
        ctx.note("suite C023 (CBC)", bench.declared("tls.cipher-suite.C023"));
        bench.han_alive(ctx)
    },
};

/// T3 §4.1.2: nothing below TLS 1.2.
pub const TLS_03: Case<Bench> = Case {
    id: "TLS-03",
    version: 1,
    title: "SSL 3.0, TLS 1.0 and TLS 1.1 are refused with protocol_version",
    level: Level::MustNot,
    interface: Interface::Han,
    requirements: &["TR-03116-3 §4.1.2", "TR-03116-TS B2_GP_05_T"],
    applies_if: &[],
    assumptions: &[],
    needs: &[Capability::Gateway, Capability::Consumer],
    budget: Duration::from_secs(60),
    steps: &[
        "send a ClientHello of version 03 00, 03 01 and 03 02: alert protocol_version (70)",
        "a good session works afterwards",
    ],
    run: |ctx, bench| {
        const PROTOCOL_VERSION: u8 = 70;
        for (what, version) in [
            ("SSL 3.0", 0x0300),
            ("TLS 1.0", 0x0301),
            ("TLS 1.1", 0x0302),
        ] {
            let outcome = bench.probe_version(ctx, version);
            ctx.check()?;
            let ok = matches!(&outcome, Ok(ProbeOutcome::Alert { level: 2, description }) if description.0 == PROTOCOL_VERSION);
            ctx.expect(
                ok,
                format!("ClientHello of {what}"),
                "fatal alert protocol_version (70)",
                outcome.map_or_else(|failure| failure.to_string(), |outcome| outcome.to_string()),
            );
        }
        bench.han_alive(ctx)
    },
};
