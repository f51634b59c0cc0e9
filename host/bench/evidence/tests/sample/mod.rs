// SPDX-License-Identifier: MIT OR Apache-2.0
//! An invented run that uses every part of the results model, and a software key to seal it with.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use bench_evidence::results::{
    AssumptionInfo, CaseResult, Measurement, Results, RigInfo, RunInfo, SCHEMA, Step, Verdict,
    count,
};
use bench_evidence::{BundleMeta, BundleSigner, NamedDistribution};
use bench_timing::{DECISION_RULE, Distribution};
use hsm_api::{Curve, Import, KeyId, KeyUsage, ModuleError, PublicKey, SecurityModule};
use hsm_soft::SoftModule;
use smgw_units::UtcNanos;

/// A key in memory.
pub struct SoftSigner {
    module: SoftModule,
    key: KeyId,
}

impl SoftSigner {
    /// The key with this number as its secret scalar.
    pub fn new(scalar: u8) -> Self {
        let mut secret = [0; 32];
        secret[31] = scalar;
        let (module, key) = (SoftModule::new(), KeyId("test".to_owned()));
        module
            .import_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign, &secret)
            .expect("a small scalar is a valid key");
        Self { module, key }
    }
}

impl BundleSigner for SoftSigner {
    fn public_key(&self) -> PublicKey {
        self.module
            .public_key(&self.key)
            .expect("the key was imported")
    }

    fn key_name(&self) -> String {
        "soft:test".to_owned()
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ModuleError> {
        self.module.sign_digest(&self.key, digest)
    }
}

pub const RUN: &str = "019aa8b2-1d5c-7c3a-9b1e-5f0d8a3c2e71";

pub fn meta() -> BundleMeta {
    BundleMeta {
        run_id: RUN.to_owned(),
        rig: "virtual".to_owned(),
        started: UtcNanos::from_seconds(1_795_284_240),
        tool: "smgw-bench 0.1.0".to_owned(),
        revision: "cdcea5c".to_owned(),
    }
}

fn pairs(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

pub fn measurement(name: &str, value: f64, unit: &str, limit: &str, u: Option<f64>) -> Measurement {
    Measurement {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
        limit: (!limit.is_empty()).then(|| limit.to_owned()),
        uncertainty: u,
        clock: u.map(|_| "monotonic, host".to_owned()),
        n: None,
    }
}

struct CaseSketch {
    id: &'static str,
    title: &'static str,
    level: &'static str,
    interface: &'static str,
    requirements: &'static [&'static str],
    verdict: Verdict,
    reason: &'static str,
}

fn case(
    sketch: CaseSketch,
    measurements: Vec<Measurement>,
    steps: &[(&str, &str, &str, Option<bool>)],
) -> CaseResult {
    CaseResult {
        id: sketch.id.to_owned(),
        version: 1,
        title: sketch.title.to_owned(),
        level: sketch.level.to_owned(),
        interface: sketch.interface.to_owned(),
        requirements: sketch
            .requirements
            .iter()
            .map(|r| (*r).to_owned())
            .collect(),
        verdict: sketch.verdict,
        reason: sketch.reason.to_owned(),
        measurements,
        assumptions: Vec::new(),
        steps: steps
            .iter()
            .map(|(action, expected, observed, ok)| Step {
                action: (*action).to_owned(),
                expected: (*expected).to_owned(),
                observed: (*observed).to_owned(),
                ok: *ok,
            })
            .collect(),
        started_ns: 0,
        ended_ns: 0,
    }
}

pub fn results() -> Results {
    let mut cases = cases();
    let mut at = 80_000_000_000;
    for (index, case) in cases.iter_mut().enumerate() {
        case.started_ns = at;
        at += 700_000_000 + index as u64 * 437_000_000;
        case.ended_ns = at;
    }
    Results {
        schema: SCHEMA.to_owned(),
        run: RunInfo {
            id: RUN.to_owned(),
            started: "2026-11-21T18:04:00Z".to_owned(),
            ended: "2026-11-21T18:07:12Z".to_owned(),
            reason: "finished".to_owned(),
            tool: "smgw-bench 0.1.0".to_owned(),
            revision: "cdcea5c3a1f0".to_owned(),
            host: "bench-7, Linux 6.18.0, 2 CPUs".to_owned(),
            seed: 4_711,
            decision_rule: DECISION_RULE.to_owned(),
            dut: pairs(&[
                ("product", "Reference gateway"),
                ("version", "0.1.0"),
                ("manufacturer", "smgw-bench"),
                ("device id", "ESMG0010000001"),
                ("ICS", "reference.toml"),
            ]),
            uncertainty: vec![
                with_n(measurement("serial stamp (pty read path, p99.95)", 0.412, "ms", "", Some(0.48)), 500),
                with_n(measurement("absolute sleep overshoot, p99.95", 0.884, "ms", "", None), 500),
                with_n(measurement("loopback round trip, p99.95", 0.097, "ms", "", Some(0.11)), 500),
            ],
            notes: vec![
                "Virtual rig: every role is played by software on one host; line rates are paced, not physical.".to_owned(),
                "No calibration record: uncertainties come from the self-measurement at the start of this run.".to_owned(),
            ],
        },
        rig: RigInfo {
            name: "virtual".to_owned(),
            summary: "All software: meters on pseudo terminals, SoftHSM2, EMT, CLS and consumer on loopback".to_owned(),
            labels: pairs(&[("class", "virtual"), ("site", "ci")]),
            roles: pairs(&[
                ("gateway", "ours: child process smgw, SQLite store"),
                ("meter.main", "simulated: SML push, 9600 8N1, pty lmn0"),
                ("meter.heat", "simulated: M-Bus slave, 2400 8E1, pty lmn1"),
                ("security-module", "PKCS#11: SoftHSM2 2.6.1, token smgw-bench"),
                ("emt", "simulated: TLS server, echo and sink, 127.0.0.1"),
                ("cls", "simulated: TLS client, 127.0.0.1"),
                ("consumer", "simulated: HAN client, 127.0.0.1"),
            ]),
        },
        counts: count(&cases),
        cases,
        assumptions: vec![
            AssumptionInfo {
                key: "han.readout.latency".to_owned(),
                value: "10 s".to_owned(),
                source: "derived from the registration period; no published limit was found".to_owned(),
                confidence: "derived".to_owned(),
            },
            AssumptionInfo {
                key: "lmn.receive-stamp.max".to_owned(),
                value: "500 ms".to_owned(),
                source: "TR-03109-1 detail specifications v2.0, receive stamp in the gateway".to_owned(),
                confidence: "remembered-high".to_owned(),
            },
        ],
    }
}

fn with_n(mut m: Measurement, n: u64) -> Measurement {
    m.n = Some(n);
    m
}

fn cases() -> Vec<CaseResult> {
    let mut met = case(
        CaseSketch {
            id: "MET-01",
            title: "Readings of an SML meter reach the consumer with value, unit and status unchanged",
            level: "must",
            interface: "LMN",
            requirements: &["REQ.LMN.SML.10", "REQ.LMN.SML.20", "TR-03109-1 §3.2.1"],
            verdict: Verdict::Pass,
            reason: "",
        },
        vec![
            measurement("registers compared", 12.0, "count", ">= 12", None),
            measurement("values that differ", 0.0, "count", "== 0", None),
            with_n(
                measurement("register error", 0.000_4, "Wh", "-0.5..0.5", Some(0.012)),
                180,
            ),
        ],
        &[
            (
                "meter pushes 1-0:1.8.0 = 4711.0815 kWh every second",
                "value list holds 4711.0815 kWh",
                "4711.0815 kWh, status 0x000104",
                Some(true),
            ),
            (
                "consumer reads over HAN",
                "same mantissa, exponent and unit",
                "identical in 12 of 12 registers",
                Some(true),
            ),
            (
                "meter time advanced by 12 s of bench clock",
                "energy follows the law within 0.5 Wh",
                "largest deviation 0.0004 Wh",
                Some(true),
            ),
        ],
    );
    met.assumptions = vec!["han.readout.latency".to_owned()];
    let mut tim = case(
        CaseSketch {
            id: "TIM-15",
            title: "A reading is stamped within 500 ms of its reception",
            level: "must",
            interface: "LMN",
            requirements: &["REQ.LMN.TIME.30", "TR-03109-1 detail specifications §8.4"],
            verdict: Verdict::Pass,
            reason: "",
        },
        vec![
            with_n(
                measurement("receive stamp delay, p50", 12.4, "ms", "<= 500", Some(0.48)),
                180,
            ),
            with_n(
                measurement(
                    "receive stamp delay, p99.95",
                    41.9,
                    "ms",
                    "<= 500",
                    Some(0.48),
                ),
                180,
            ),
            with_n(
                measurement("receive stamp delay, max", 41.9, "ms", "<= 500", Some(0.48)),
                180,
            ),
        ],
        &[
            (
                "180 files at 1 s on an absolute schedule",
                "every file is stamped",
                "180 of 180",
                Some(true),
            ),
            (
                "compare stamps with the end of the last stop bit",
                "at most 500 ms",
                "41.9 ms at most",
                Some(true),
            ),
        ],
    );
    tim.assumptions = vec!["lmn.receive-stamp.max".to_owned()];
    vec![
        met,
        case(
            CaseSketch {
                id: "MET-03",
                title: "A meter that sends garbage leaves a reason-coded gap and never a value",
                level: "must-not",
                interface: "LMN",
                requirements: &["REQ.LMN.ERR.10"],
                verdict: Verdict::Inconclusive,
                reason: "the gap lasted 2.9 s ± 0.4 s against a limit of 3 s: the limit lies within the uncertainty",
            },
            vec![measurement(
                "gap until the next good value",
                2.9,
                "s",
                "<= 3",
                Some(0.4),
            )],
            &[(
                "flip one bit in every second file",
                "each damaged file becomes a gap",
                "90 gaps, reason crc",
                Some(true),
            )],
        ),
        tim,
        case(
            CaseSketch {
                id: "PRX-03",
                title: "CONNECT to a destination outside the proxy profile is refused with reply 02",
                level: "must",
                interface: "CLS",
                requirements: &["REQ.HAN.PROXY.40", "RFC 1928 §6"],
                verdict: Verdict::Fail,
                reason: "reply 00 (succeeded) instead of 02, and 64 bytes reached the EMT",
            },
            vec![measurement("bytes at the EMT", 64.0, "byte", "<= 0", None)],
            &[
                (
                    "CONNECT emt-b.example:443, not in the profile",
                    "reply 02 (not allowed by ruleset)",
                    "reply 00 (succeeded)",
                    Some(false),
                ),
                (
                    "send 64 bytes",
                    "connection closed, nothing forwarded",
                    "64 bytes arrived at the EMT",
                    Some(false),
                ),
                (
                    "CONNECT emt-a.example:443, in the profile",
                    "reply 00: the gateway is still alive",
                    "reply 00",
                    Some(true),
                ),
            ],
        ),
        case(
            CaseSketch {
                id: "PRX-19",
                title: "Delay the proxy adds to a CLS command",
                level: "characterise",
                interface: "CLS",
                requirements: &["project goal: proxy latency"],
                verdict: Verdict::Measured,
                reason: "",
            },
            vec![
                with_n(
                    measurement("added round trip, p50", 0.184, "ms", "", Some(0.11)),
                    6_000,
                ),
                with_n(
                    measurement("added round trip, p99", 0.621, "ms", "", Some(0.11)),
                    6_000,
                ),
                with_n(
                    measurement("added round trip, p99.95", 3.18, "ms", "", Some(0.11)),
                    6_000,
                ),
            ],
            &[(
                "6 000 commands of 64 bytes on a 2 ms grid",
                "every command is echoed",
                "6 000 of 6 000",
                Some(true),
            )],
        ),
        case(
            CaseSketch {
                id: "TLS-01",
                title: "The HAN server offers only cipher suites of TR-03116-3",
                level: "must",
                interface: "HAN",
                requirements: &["TR-03116-3 §4.2", "REQ.HAN.TLS.10"],
                verdict: Verdict::Pass,
                reason: "",
            },
            vec![measurement("handshake", 231.0, "ms", "<= 250", Some(6.2))],
            &[(
                "offer 37 suites one by one",
                "accepts the declared ones only",
                "4 accepted, 33 refused with handshake_failure",
                Some(true),
            )],
        ),
        case(
            CaseSketch {
                id: "TIM-03",
                title: "A time answer older than 9 s is refused",
                level: "must",
                interface: "WAN",
                requirements: &["REQ.WAN.TIME.20"],
                verdict: Verdict::NotApplicable,
                reason: "the declaration says wan.ntp = false: \"time comes from the host in this version\"",
            },
            vec![],
            &[],
        ),
        case(
            CaseSketch {
                id: "SEC-03",
                title: "Private keys never leave the security module",
                level: "must-not",
                interface: "SM",
                requirements: &["TR-03109-2 §4.1"],
                verdict: Verdict::RigError,
                reason: "token smgw-bench vanished while the case ran (CKR_TOKEN_NOT_PRESENT)",
            },
            vec![],
            &[(
                "search every file of the gateway for the private scalar",
                "not found",
                "not reached",
                None,
            )],
        ),
    ]
}

pub fn distributions() -> Vec<NamedDistribution> {
    let mut latency = Distribution::new();
    let mut state = 88_172_645_463_325_252_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    for n in 0..6_000 {
        let tail = if n % 1_500 == 7 { 14.0 } else { 1.0 };
        let spread = (uniform() + uniform() + uniform() - 1.5) * 0.55;
        latency.record_ns((184_000.0 * spread.exp() * tail) as u64);
    }
    let mut pty = Distribution::new();
    for _ in 0..500 {
        let tail = if uniform() > 0.985 { 30.0 } else { 1.0 };
        pty.record_ns((6_000.0 + 3_000.0 * uniform() * tail) as u64);
    }
    vec![
        NamedDistribution::new("PRX-19.added-round-trip", latency),
        NamedDistribution::new("rig.pty-read", pty),
    ]
}
