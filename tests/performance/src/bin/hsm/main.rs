// SPDX-License-Identifier: MIT OR Apache-2.0
//! Speed of the security modules: the pool of PKCS#11 sessions beside the bare calls, software beside `openssl speed`,
//! the emulated card through pcscd, TLS handshakes of the gateway's end.

mod card;
mod handshake;
mod openssl;
mod raw;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use handshake::{Ends, VERSIONS};
use hsm_api::{Curve, KeyId, KeyUsage, PublicKey, SecurityModule};
use hsm_pkcs11::softhsm::{CONF_VARIABLE, SoftHsmToken, installed};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use openssl::Speed;
use raw::RawToken;
use smgw_performance::{
    Arguments, Measured, OnThreads, Report, Rounds, Row, beside, rate, take_turns,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// One pass of the work that is measured, and one on a thread that is told its number.
type Pass<'a> = &'a (dyn Fn() + Sync);
type ThreadPass<'a> = &'a (dyn Fn(usize) + Sync);

const RAW: &str = "raw cryptoki";
const SPEED: &str = "openssl speed";
const LABEL: &str = "bench";
const PIN: &str = "1234567890";
const SESSIONS: usize = 2;

/// Set in the child, which finds its token and its card by the environment; names those that there are.
const CHILD: &str = "SMGW_BENCH_HSM_CHILD";
const TOKEN: &str = "token";
const CARD: &str = "card";

/// A module with a signing and an agreement key, and what they work on.
struct Keys<'a> {
    module: &'a dyn SecurityModule,
    curve: Curve,
    sign: KeyId,
    agree: KeyId,
    public: PublicKey,
    peer_point: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Keys<'a> {
    fn make(module: &'a dyn SecurityModule, curve: Curve) -> Outcome<Self> {
        let [sign, agree] = ["sign", "agree"].map(|use_| KeyId(format!("bench-{use_}-{curve}")));
        for key in [&sign, &agree] {
            // Left by the part before.
            let _ = module.remove_key(key);
        }
        let public = module.generate_key(&sign, curve, KeyUsage::Sign)?;
        let peer_point = module.generate_key(&agree, curve, KeyUsage::Agree)?.point;
        let signature = module.sign_digest(&sign, digest(curve))?;
        Ok(Self {
            module,
            curve,
            sign,
            agree,
            public,
            peer_point,
            signature,
        })
    }

    fn digest(&self) -> &'static [u8] {
        digest(self.curve)
    }

    fn remove(&self) -> Outcome<()> {
        for key in [&self.sign, &self.agree] {
            self.module.remove_key(key)?;
        }
        Ok(())
    }

    fn sign(&self) {
        let signature = self.module.sign_digest(&self.sign, self.digest());
        black_box(signature.expect("sign"));
    }

    fn agree(&self) {
        let secret = self.module.agree_static(&self.agree, &self.peer_point);
        black_box(secret.expect("agree"));
    }

    fn verify(&self) {
        let verified = self
            .module
            .verify_digest(&self.public, self.digest(), &self.signature);
        assert!(verified.expect("verify"), "a good signature is refused");
    }
}

/// A digest as long as the curve's order.
fn digest(curve: Curve) -> &'static [u8] {
    &[0x5a; 64][..curve.field_len()]
}

/// The pool beside the bare calls, on one thread by processor time and on two by elapsed time.
fn token(report: &mut Report, rounds: Rounds, library: &Path) -> Outcome<Arc<dyn SecurityModule>> {
    let selector = TokenSelector::Label(LABEL.into());
    let module = Pkcs11Module::open(Pkcs11Config {
        sessions: SESSIONS,
        ..Pkcs11Config::new(library, selector, Pin::new(PIN))
    })?;
    let raw = RawToken::open(library, LABEL, SESSIONS)?;
    report.input(format!("token: {}", module.capabilities().name));

    for curve in Curve::ALL {
        let keys = Keys::make(&module, curve)?;
        let (sign, agree) = (raw.key(&keys.sign), raw.key(&keys.agree));
        let raw_sign = |thread: usize| {
            black_box(raw.sign(thread, sign, keys.digest()));
        };
        let raw_agree = |thread: usize| {
            black_box(raw.agree(thread, agree, curve, &keys.peer_point));
        };
        let rows: [(&str, Pass<'_>, ThreadPass<'_>); 2] = [
            ("sign", &|| keys.sign(), &raw_sign),
            ("ECDH", &|| keys.agree(), &raw_agree),
        ];
        for (operation, ours, peer) in rows {
            let measured = beside(rounds, 1, ours, || peer(0));
            let metric = format!("{operation} {curve}, 1 session");
            report.row(Row::of(&metric, "1/s", &measured, Some(RAW)));

            let ours = |_: usize| ours();
            let measured = by_turns(rounds, [(SESSIONS, &ours), (SESSIONS, peer)]);
            let metric = format!("{operation} {curve}, {SESSIONS} sessions");
            report.row(Row::of(&metric, "1/s", &measured, Some(RAW)));
        }
        let raw_verify = || raw.verify(0, &keys.public, keys.digest(), &keys.signature);
        let measured = beside(rounds, 1, || keys.verify(), raw_verify);
        let metric = format!("verify {curve}, 1 session");
        report.row(Row::of(&metric, "1/s", &measured, Some(RAW)));

        if curve == Curve::BrainpoolP256r1 {
            let ours = |_: usize| keys.sign();
            let sides: [(&str, ThreadPass<'_>); 2] = [("", &ours), (", raw cryptoki", &raw_sign)];
            for (side, work) in sides {
                let measured = by_turns(rounds, [(SESSIONS, work), (1, work)]);
                let metric = format!("sign scaling {SESSIONS} sessions/1 session{side}");
                report.row(Row::of(&metric, "1/s", &measured, Some("1 session")));
            }
        }
    }

    let (mut ours, mut peer) = ([0; 32], [0; 32]);
    let measured = beside(
        rounds,
        1,
        || module.random(&mut ours).expect("random bytes"),
        || raw.random(0, &mut peer),
    );
    report.row(Row::of(
        "random 32 B, 1 session",
        "1/s",
        &measured,
        Some(RAW),
    ));
    drop(raw);
    Ok(Arc::new(module))
}

/// Two pieces of work on so many threads, by elapsed time.
fn by_turns(rounds: Rounds, sides: [(usize, ThreadPass<'_>); 2]) -> Measured {
    let [ours, peer] = sides.map(|(threads, pass)| OnThreads { threads, pass });
    take_turns(
        rounds.rounds,
        || ours.rate(rounds.slice),
        || peer.rate(rounds.slice),
    )
}

/// Work that no peer does, on one thread, by elapsed time.
fn alone_elapsed(report: &mut Report, rounds: Rounds, metric: &str, work: Pass<'_>) {
    let pass = |_: usize| work();
    let work = OnThreads {
        threads: 1,
        pass: &pass,
    };
    let rates = (0..rounds.rounds).map(|_| work.rate(rounds.slice));
    let measured = Measured {
        ours: rates.collect(),
        peer: Vec::new(),
    };
    report.row(Row::of(metric, "1/s", &measured, None));
}

/// Modules on one thread beside `openssl speed`, which needs a second for each of its operations.
fn beside_openssl(
    report: &mut Report,
    rounds: Rounds,
    modules: &[(&str, Arc<dyn SecurityModule>)],
) -> Outcome<()> {
    type Figure = fn(&Speed) -> f64;
    type Operation = fn(&Keys<'_>);
    let operations: [(&str, Operation, Figure); 3] = [
        ("sign", |keys| keys.sign(), |speed| speed.sign),
        ("verify", |keys| keys.verify(), |speed| speed.verify),
        ("ECDH", |keys| keys.agree(), |speed| speed.agree),
    ];
    let quick = rounds.rounds < Rounds::USUAL.rounds;
    let (turns, curves) = if quick { (1, 1) } else { (3, Curve::ALL.len()) };
    for curve in Curve::ALL.into_iter().take(curves) {
        let keys = modules
            .iter()
            .map(|(_, module)| Keys::make(&**module, curve))
            .collect::<Outcome<Vec<_>>>()?;
        let mut rows = Vec::new();
        for ((name, _), keys) in modules.iter().zip(&keys) {
            for (operation, work, figure) in operations {
                let metric = format!("{operation} {curve}, {name}");
                rows.push((metric, work, figure, keys, Measured::default()));
            }
        }
        for _ in 0..turns {
            let Some(speed) = openssl::speed(curve) else {
                println!("SKIPPED: openssl speed is not there, or not with {curve}");
                break;
            };
            for (_, work, figure, keys, measured) in &mut rows {
                measured
                    .ours
                    .push(rate(rounds.slice, 1, &mut || work(keys)));
                measured.peer.push(figure(&speed));
            }
        }
        for (metric, .., measured) in rows {
            if !measured.ours.is_empty() {
                report.row(Row::of(&metric, "1/s", &measured, Some(SPEED)));
            }
        }
    }
    Ok(())
}

/// Mutual handshakes, with the gateway's end in each of the modules.
fn handshakes(
    report: &mut Report,
    rounds: Rounds,
    modules: &[(&str, Arc<dyn SecurityModule>)],
) -> Outcome<()> {
    for (name, module) in modules {
        for (version, narrow) in VERSIONS {
            let ends = Ends::new(Arc::clone(module), narrow)?;
            ends.shake_hands()?;
            let metric = format!("{version} handshake, {name}");
            alone_elapsed(report, rounds, &metric, &|| {
                ends.shake_hands()
                    .expect("the handshake before did not fail");
            });
        }
    }
    Ok(())
}

fn run(arguments: Arguments, parts: &str) -> Outcome<()> {
    let rounds = arguments.rounds;
    let mut report = Report::new("hsm");
    report.input(load("before"));
    let mut modules: Vec<(&str, Arc<dyn SecurityModule>)> =
        vec![("soft", Arc::new(SoftModule::new()))];
    if let Some(library) = installed().filter(|_| parts.contains(TOKEN)) {
        modules.push(("SoftHSM2", token(&mut report, rounds, &library)?));
    }
    // The processor time of this process says nothing of the card's work.
    beside_openssl(&mut report, rounds, &modules)?;
    if parts.contains(CARD) {
        modules.push(("card", card::measure(&mut report, rounds)?));
    }
    handshakes(&mut report, rounds, &modules)?;
    report.input(load("after"));
    report.write(arguments.output)?;
    Ok(())
}

/// How busy the machine was, without which rates on two threads cannot be read.
fn load(when: &str) -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minute = text.split(' ').next().unwrap_or("unknown");
    format!("load average {when}: {minute}")
}

/// Starts this program again with a fresh token and a fresh card: SoftHSM2 and libpcsclite learn from the environment
/// where these are.
fn in_child() -> Outcome<ExitCode> {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?);
    let mut parts = String::new();
    if installed().is_some() {
        let token = SoftHsmToken::create(dir.path(), LABEL, &Pin::new(PIN))?;
        child.env(CONF_VARIABLE, token.conf());
        parts += TOKEN;
    } else {
        println!("SKIPPED: softhsm2 is not installed");
    }
    let card = card::start(dir.path());
    match &card {
        Ok((pcscd, _)) => {
            let (name, socket) = pcscd.environment();
            child.env(name, socket);
            parts = format!("{parts} {CARD}");
        }
        Err(why) => println!("SKIPPED: no card: {why}"),
    }
    let status = child
        .args(std::env::args_os().skip(1))
        .env(CHILD, parts)
        .status()?;
    drop(card);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    let purpose = "hsm: speed of the security modules beside raw cryptoki and openssl speed";
    let arguments = match Arguments::of_process(purpose) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let outcome = match std::env::var(CHILD) {
        Ok(parts) => run(arguments, &parts).map(|()| ExitCode::SUCCESS),
        Err(_) => in_child(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("hsm: {error}");
        ExitCode::FAILURE
    })
}
