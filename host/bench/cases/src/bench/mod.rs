// SPDX-License-Identifier: MIT OR Apache-2.0
//! The live rig as cases see it: typed roles, stimuli, and questions asked through public interfaces.

mod beside;
mod boards;
mod cls;
mod driven;
mod han;
mod life;
mod load;
mod orders;
mod time;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bench_engine::{Ctx, Environment, Health, Stop};
use bench_evidence::results::Measurement;
use bench_rig::{Answer, Ics};
use bench_timing::{
    BenchClock, Decision, Distribution, NoiseFloor, Shape, StallWatch, decide_upper,
};
use hsm_tls::TlsProfile;
use rustls::pki_types::CertificateDer;
use smgw_peers::net::{
    ActiveEmt, ClientTls, Deadline, Emt, EmtMode, Failure, Party, Session, Tap, TimeMode,
};
use smgw_units::{DeviceId, UtcNanos};

pub use self::boards::BoardNetwork;
pub use self::driven::{ClockConfig, DrivenGateway, DrivenSettings};
pub use self::han::PlainLook;
pub use self::life::{GatewayRig, ModuleFault};
pub use self::load::LoadedGateway;
pub use self::orders::{Answered, Exported};
pub use self::time::{SecondGateway, Seen, TimeSettings, TimeSource};
use crate::boards::RunningBoard;
use crate::gateway::Listening;
use crate::meters::Meters;
use crate::profiles::Ordered;
use crate::runtime_dir::RuntimeDir;

/// What the stamp uncertainty allows for a thread being pre-empted between a stamp and its byte.
const PRE_EMPTION: Duration = Duration::from_millis(20);

/// Assumptions behind everything that goes through the CLS proxy.
pub const PROXY_ASSUMPTIONS: &[&str] = &["socks-tls-frame", "socks-tls-states"];

/// A HAN user and the meters it may see.
pub struct User {
    /// Who.
    pub party: Party,
    /// Whose values.
    pub meters: Vec<DeviceId>,
}

/// Everybody with a certificate.
pub struct Parties {
    /// Consumers, in the order of the rig file; at least one.
    pub consumers: Vec<User>,
    /// A service technician.
    pub technician: Party,
    /// A CLS with the profile [`Names::a`] and those of the faulty EMTs.
    pub cls_a: Party,
    /// A CLS with the profile [`Names::b`].
    pub cls_b: Party,
    /// Nobody the gateway knows.
    pub stranger: Party,
    /// Bears the common name of the first consumer but has another key.
    pub impostor_consumer: Party,
    /// Bears the common name of the first CLS but has another key.
    pub impostor_cls: Party,
}

impl Parties {
    /// Any consumer.
    pub fn consumer(&self) -> Result<&Party, Stop> {
        let first = self.consumers.first();
        first
            .map(|user| &user.party)
            .ok_or_else(|| Stop::Bench("the rig has no consumer".into()))
    }

    /// The consumer entitled to a meter.
    pub fn consumer_of(&self, meter: DeviceId) -> Result<&Party, Stop> {
        let entitled = self
            .consumers
            .iter()
            .find(|user| user.meters.contains(&meter));
        entitled.map(|user| &user.party).ok_or_else(|| {
            Stop::Bench(format!("the rig has no consumer entitled to meter {meter}"))
        })
    }
}

/// Names of the proxy profiles.
pub struct Names {
    /// Profile of the first CLS.
    pub a: String,
    /// Profile of the second CLS.
    pub b: String,
    /// Profile of the first CLS whose EMT swallows connection requests.
    pub silent: String,
    /// Profile of the first CLS whose EMT resets connection requests.
    pub refusing: String,
    /// SNI the EMT must see.
    pub wan_sni: String,
}

/// The live rig.
pub struct Bench {
    /// What the gateway was ordered to do.
    pub ordered: Ordered,
    /// Everybody with a certificate.
    pub parties: Parties,
    /// Names of the proxy profiles.
    pub names: Names,
    /// The market participant behind the profiles.
    pub emt: Emt,
    /// The same without a gateway in between, for the rig's own share of a latency.
    pub baseline_emt: Emt,
    /// DER of the EMTs' certificate.
    pub emt_certificate: CertificateDer<'static>,
    /// DER of the gateway's certificate.
    pub gateway_certificate: CertificateDer<'static>,
    /// The meters.
    pub meters: Meters,
    /// Who tells gateways the time, on rigs that have a time server.
    pub(crate) time: Option<TimeSource>,
    /// Boards that play controllable systems; they end before what they are connected to.
    pub boards: Vec<RunningBoard>,
    /// Who commands them, on rigs that have some.
    pub(crate) active_emt: Option<ActiveEmt>,
    /// The network between emulated boards, on rigs that have one.
    pub(crate) wire: Option<BoardNetwork>,
    /// Channels of boards, between the cases that use them.
    pub(crate) channels: Mutex<HashMap<String, Session>>,
    pub(crate) gateway: GatewayRig,
    pub(crate) listening: Listening,
    pub(crate) ics: Ics,
    pub(crate) clock: BenchClock,
    pub(crate) noise: NoiseFloor,
    pub(crate) stalls: StallWatch,
    pub(crate) period: Duration,
    pub(crate) multiplier: f64,
    pub(crate) started: UtcNanos,
    pub(crate) ready: UtcNanos,
    pub(crate) taps: Taps,
    pub(crate) histograms: Mutex<Vec<(String, Distribution)>>,
    /// Ports the faulty EMT profiles point to; kept bound as long as the rig lives.
    pub(crate) _faulty_ports: Box<dyn Send>,
    /// Removed last: everything above lives in it.
    pub(crate) runtime: Arc<RuntimeDir>,
}

/// One tap per network leg.
pub(crate) struct Taps {
    pub(crate) han: Arc<dyn Tap>,
    pub(crate) cls: Arc<dyn Tap>,
    pub(crate) wan: Arc<dyn Tap>,
}

impl Environment for Bench {
    fn health(&self) -> Arc<dyn Health> {
        Arc::clone(&self.gateway.process) as Arc<dyn Health>
    }

    fn kill_switch(&self) -> Arc<dyn Fn() + Send + Sync> {
        let process = Arc::clone(&self.gateway.process);
        Arc::new(move || process.kill())
    }

    fn settle(&mut self) -> Result<(), Stop> {
        self.meters.settle();
        self.emt.set_mode(EmtMode::Echo);
        if let Some(time) = &self.time {
            time.server.set_mode(TimeMode::default());
        }
        // A case that ended early may have left the gateway stopped or traced.
        if self.gateway.process.listening().is_none() && self.gateway.process.trouble().is_none() {
            self.restart_own()?;
        }
        Ok(())
    }
}

// Time and uncertainty.
impl Bench {
    /// The registration period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Expanded uncertainty (k = 2) of a serial stamp against UTC: what this rig measured of itself, and what
    /// a pre-emption between taking a stamp and the byte leaving may add on a machine that is busy later.
    pub fn stamp_uncertainty(&self) -> Duration {
        let budget = self.noise.serial_stamp().with(
            "pre-emption between stamp and byte",
            PRE_EMPTION.as_secs_f64() * 1e3,
            Shape::Rectangular,
        );
        let millis = |span: Duration| span.as_secs_f64() * 1e3;
        let budget = match self.gateway.process.milestones().clock_delay {
            Some(delay) => budget.with(
                "setting the board's clock: half of the way there and back",
                millis(delay / 2),
                Shape::Rectangular,
            ),
            None => budget,
        };
        let budget = match self.gateway.host.emulated() {
            true => budget.with(
                "pre-emption of the emulator",
                millis(PRE_EMPTION),
                Shape::Rectangular,
            ),
            false => budget,
        };
        Duration::from_secs_f64(budget.expanded() / 1e3)
    }

    /// How long the host stalled around `at`, if longer than the uncertainty of a stamp allows for. On a rig
    /// that shares its processor with the device, nothing missed then is the device's fault.
    pub fn host_stalled_around(&self, at: UtcNanos, window: Duration) -> Option<Duration> {
        let middle = self.clock.nanos_of(at);
        let worst = self.stalls.worst_between(middle - window, middle + window);
        (worst > PRE_EMPTION).then_some(worst)
    }

    /// Expanded uncertainty (k = 2) of a network round trip on this rig.
    pub fn round_trip_uncertainty(&self) -> Duration {
        Duration::from_secs_f64(self.noise.network_round_trip().expanded() / 1e3)
    }

    /// When the gateway first got ready.
    pub fn ready_since(&self) -> UtcNanos {
        self.ready
    }

    /// Whether the gateway runs on an emulated board, whose pace is not a real one's.
    pub fn gateway_is_emulated(&self) -> bool {
        self.gateway.host.emulated()
    }

    /// Judges as [`Ctx::judge_upper`] a figure that a pause of the gateway makes larger. Where the gateway is emulated, both
    /// such pauses and what the rig knows of its instants follow the host's load: then a figure that cannot be told, or
    /// is too large, is no verdict and no trouble with the rig, and the case says why.
    pub fn judge_upper(
        &self,
        ctx: &mut Ctx,
        measurement: Measurement,
        limit: f64,
    ) -> Result<(), Stop> {
        let expanded = measurement.uncertainty.unwrap_or(0.0);
        let why = match decide_upper(measurement.value, expanded, limit) {
            _ if !self.gateway_is_emulated() => None,
            Decision::Unfit => Some("its instants are known too badly for this limit"),
            Decision::Fail => Some("its emulator promises no pace"),
            Decision::Pass { .. } | Decision::Inconclusive => None,
        };
        let Some(why) = why else {
            return ctx.judge_upper(measurement, limit);
        };
        ctx.inconclusive(format!(
            "{} = {:.1} {} ± {expanded:.1}, limit {limit}: the gateway is emulated, and {why}; judge it on a gateway that is not",
            measurement.name, measurement.value, measurement.unit
        ));
        ctx.measure(measurement);
        Ok(())
    }

    /// Now in UTC, by the bench clock.
    pub fn now_utc(&self) -> UtcNanos {
        self.clock.utc_of(BenchClock::now()).0
    }

    /// `count` consecutive grid points, the first at least `lead` ahead.
    pub fn upcoming_grid_points(&self, count: usize, lead: Duration) -> Vec<UtcNanos> {
        grid_points_after(self.now_utc(), self.period, count, lead)
    }

    /// Lets time pass until `after` past `instant`, with what the gateway needs to decide.
    pub fn pass_until(
        &self,
        ctx: &mut Ctx,
        instant: UtcNanos,
        after: Duration,
    ) -> Result<(), Stop> {
        let settle = self.period / 100 + Duration::from_millis(700);
        self.pass(
            ctx,
            UtcNanos(instant.0 + (after + settle).as_nanos() as i64),
        )
    }

    /// Lets time pass until `before` ahead of `instant`.
    pub fn pass_until_before(
        &self,
        ctx: &mut Ctx,
        instant: UtcNanos,
        before: Duration,
    ) -> Result<(), Stop> {
        self.pass(ctx, UtcNanos(instant.0 - before.as_nanos() as i64))
    }

    fn pass(&self, ctx: &mut Ctx, until: UtcNanos) -> Result<(), Stop> {
        let left = u64::try_from(until.signed_since(self.now_utc())).unwrap_or(0);
        ctx.pass_time(ctx.phase(Duration::from_nanos(left)))
    }

    /// Budget of one network step.
    pub fn step_deadline(&self, ctx: &Ctx) -> Deadline {
        within(
            ctx,
            Duration::from_secs(15).mul_f64(self.multiplier.max(1.0)),
        )
    }

    fn start_budget(&self) -> Duration {
        Duration::from_secs(20).mul_f64(self.multiplier.max(1.0))
    }

    /// What the declaration says about `key`, in words.
    pub fn declared(&self, key: &str) -> String {
        match self.ics.answer(key) {
            Answer::Yes => "declared: yes".to_owned(),
            Answer::No { reason } => format!("declared: no ({reason})"),
            Answer::Value(value) => format!("declared: {value}"),
        }
    }

    /// Keeps a distribution for the bundle.
    pub fn keep_histogram(&self, name: &str, distribution: Distribution) {
        let mut kept = self
            .histograms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.push((name.to_owned(), distribution));
    }

    /// The distributions kept so far.
    pub fn take_histograms(&self) -> Vec<(String, Distribution)> {
        std::mem::take(
            &mut *self
                .histograms
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// What the rig measured of itself, for the report.
    pub fn own_uncertainty(&self) -> Vec<Measurement> {
        let mut figures = self.noise_figures();
        let boot = self.gateway.process.first_milestones();
        let milestones = [
            ("gateway-start-to-ready", boot.ready),
            ("gateway-start-to-first-value", boot.first_value),
            ("gateway-clock-round-trip", boot.clock_delay),
        ];
        figures.extend(milestones.into_iter().filter_map(|(name, span)| {
            Some(Measurement {
                name: name.into(),
                value: span?.as_secs_f64() * 1e3,
                unit: "ms".into(),
                limit: None,
                uncertainty: None,
                clock: Some("monotonic, host".into()),
                n: None,
            })
        }));
        figures
    }

    fn noise_figures(&self) -> Vec<Measurement> {
        self.noise
            .probes()
            .into_iter()
            .flat_map(|probe| {
                let figure = |name: &str, nanos: u64| Measurement {
                    name: format!("{}-{name}", probe.name),
                    value: nanos as f64 / 1e3,
                    unit: "us".into(),
                    limit: None,
                    uncertainty: None,
                    clock: Some("monotonic, host".into()),
                    n: Some(probe.samples.n()),
                };
                let seen = &probe.samples;
                [
                    figure("p50", seen.p50()),
                    figure("p99.95", seen.p99_95()),
                    figure("max", seen.max()),
                ]
            })
            .collect()
    }

    /// A step failed: the device's fault, unless the gateway was taken away or the operator stopped the run.
    pub fn trouble_or_fail(&self, ctx: &mut Ctx, what: String) -> Result<(), Stop> {
        ctx.check()?;
        ctx.fail(what);
        Ok(())
    }
}

impl Bench {
    /// The TLS side of a partner of the gateway: what it presents, and the gateway's certificate pinned.
    fn client_tls(
        &self,
        party: Option<&Party>,
        profile: &TlsProfile,
    ) -> Result<ClientTls, Failure> {
        ClientTls::new(party, profile, &self.gateway_certificate)
            .map_err(|error| Failure::Io(error.to_string()))
    }
}

/// A network deadline `budget` from now, never beyond the case's own.
pub(crate) fn within(ctx: &Ctx, budget: Duration) -> Deadline {
    Deadline::within(ctx.phase(budget).remaining())
}

/// `count` consecutive multiples of `period`, the first at least `lead` and a second after `now`.
pub(crate) fn grid_points_after(
    now: UtcNanos,
    period: Duration,
    count: usize,
    lead: Duration,
) -> Vec<UtcNanos> {
    let period = period.as_nanos() as i64;
    let earliest = now.0 + lead.as_nanos() as i64 + 1_000_000_000;
    let first = earliest.div_euclid(period) + 1;
    (0..count as i64)
        .map(|index| UtcNanos((first + index) * period))
        .collect()
}
