// SPDX-License-Identifier: MIT OR Apache-2.0
//! SEC-*: the gateway and its security module (DS §5.5, §13.4).

use std::time::Duration;

use bench_engine::{Case, Interface, Level, StopExt};
use bench_evidence::results::Measurement;
use bench_rig::Capability;

use crate::bench::{Bench, ModuleFault};
use crate::gateway::StartError;

/// DS §13.4: the module does randomness, agreement, signature and verification; private keys stay inside.
pub const SEC_01: Case<Bench> = Case {
    id: "SEC-01",
    version: 1,
    title: "The module does the handshakes' secret work and no private key leaves it",
    level: Level::Must,
    interface: Interface::SecurityModule,
    requirements: &["DS §5.5", "DS §13.4"],
    applies_if: &[],
    assumptions: &[],
    needs: &[
        Capability::Gateway,
        Capability::GatewayRestart,
        Capability::SecurityModuleTrace,
        Capability::Consumer,
    ],
    budget: Duration::from_secs(120),
    steps: &[
        "restart the gateway with a call tracer between it and its PKCS#11 library",
        "ten HAN handshakes with mutual authentication",
        "per handshake at least one key generation, one agreement and one signature in the module",
        "no call reads, wraps or imports a private key; generated private keys are sensitive and not extractable",
    ],
    run: |ctx, bench| {
        const HANDSHAKES: u64 = 10;
        ctx.progress("gateway restarts with the call tracer");
        let log = bench.restart_gateway_traced(ctx)?;
        for _ in 0..HANDSHAKES {
            bench.han_alive(ctx)?;
        }
        ctx.progress("gateway restarts without it");
        bench.restart_gateway(ctx)?;
        let trace = bench
            .read_module_trace(&log)
            .or_rig("reading the PKCS#11 trace")?;
        if trace.calls.is_empty() {
            return Err(bench_engine::Stop::Rig(
                "the call tracer recorded nothing".into(),
            ));
        }
        for (function, minimum) in [
            ("C_GenerateKeyPair", HANDSHAKES),
            ("C_DeriveKey", HANDSHAKES),
            ("C_Sign", HANDSHAKES),
            ("C_GenerateRandom", HANDSHAKES),
        ] {
            let count = trace.count(function);
            ctx.expect(
                count >= minimum,
                format!("{function} during {HANDSHAKES} handshakes"),
                format!("at least {minimum}"),
                count.to_string(),
            );
            ctx.measure(Measurement {
                name: format!("calls-{function}"),
                value: count as f64,
                unit: "count".into(),
                limit: Some(format!(">= {minimum}")),
                uncertainty: None,
                clock: None,
                n: Some(HANDSHAKES),
            });
        }
        ctx.expect(
            trace.exposures.is_empty(),
            "calls that would expose a private key",
            "none",
            if trace.exposures.is_empty() {
                "none".into()
            } else {
                trace.exposures.join(", ")
            },
        );
        ctx.expect(
            trace.weak_private_keys == 0,
            "private keys generated extractable or not sensitive",
            "0",
            trace.weak_private_keys.to_string(),
        );
        bench.han_alive(ctx)
    },
};

/// A gateway without its module stops safely.
pub const SEC_03: Case<Bench> = Case {
    id: "SEC-03",
    version: 1,
    title: "Without its security module, or with another one, the gateway stops safely",
    level: Level::Must,
    interface: Interface::SecurityModule,
    requirements: &["derived from PP-0073 O.Crypt"],
    applies_if: &[],
    assumptions: &[],
    needs: &[
        Capability::Gateway,
        Capability::GatewayRestart,
        Capability::SecurityModuleSwap,
        Capability::Consumer,
    ],
    budget: Duration::from_secs(120),
    steps: &[
        "restart the gateway with its token missing: no listener answers, nothing readable comes back",
        "restart it with a token of the same name holding another key: the same",
        "restart it with its own token: it serves again",
    ],
    run: |ctx, bench| {
        for fault in [ModuleFault::Missing, ModuleFault::Replaced] {
            ctx.progress(&format!("gateway restarts: {fault}"));
            let started = bench.restart_gateway_with(ctx, fault)?;
            let (stopped, observed) = match &started {
                Err(StartError::Ended(status, last)) => {
                    (true, format!("it ended ({status}): {last}"))
                }
                Err(error) => (false, error.to_string()),
                Ok(listening) => (false, format!("it got ready on {}", listening.han)),
            };
            ctx.expect(
                stopped,
                format!("start with {fault}"),
                "safe stop",
                observed,
            );
            for (name, address) in bench.last_listening() {
                let probe = bench.probe_plain(ctx, address);
                ctx.expect(
                    probe.silent(),
                    format!("{name} listener with {fault}"),
                    "no TLS and nothing readable",
                    probe.to_string(),
                );
            }
        }
        ctx.progress("gateway restarts with its own module");
        bench.restart_gateway(ctx)?;
        bench.han_alive(ctx)
    },
};
