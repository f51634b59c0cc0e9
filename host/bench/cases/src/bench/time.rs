// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gateways that take their time from the bench's time server, and what their time services say.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bench_engine::{Ctx, Health, Stop};
use smgw_peers::net::{Failure, TimeMode, TimeServer, ask_time, ask_time_with};
use smgw_units::{Nanos, UtcNanos};

use super::{Bench, within};
use crate::gateway::{Gateway, TimeConfig};

/// The time server of the rig.
#[derive(Debug)]
pub struct TimeSource {
    /// The server.
    pub server: TimeServer,
    /// The name it is asked for by.
    pub tls_name: String,
    /// File of its certificate, beside the gateway's configuration.
    pub certificate: PathBuf,
}

/// How a gateway keeps its time.
#[derive(Clone, Copy, Debug)]
pub struct TimeSettings {
    /// Time between polls; as the rules say when not given.
    pub poll: Option<Duration>,
    /// Assumed error of the oscillator.
    pub drift_ppm: Option<u32>,
}

impl TimeSettings {
    /// A poll every second, which only a rehearsal may ask for.
    pub const QUICK: Self = Self {
        poll: Some(Duration::from_secs(1)),
        drift_ppm: None,
    };
}

/// A gateway of its own beside the one under test: without meters and proxy profiles, so that its time may go wrong.
pub struct SecondGateway {
    process: Gateway,
    time: SocketAddr,
}

/// What a time service said.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Its time minus the bench's.
    pub offset: i64,
    /// What the offset may be off by: half of the way there and back.
    pub half_way: Duration,
    /// What its leap indicator says.
    pub synchronised: bool,
    /// Its stratum.
    pub stratum: u8,
}

impl Seen {
    /// Whether the offset is `expected` but for [`NEAR`].
    pub fn is_near(&self, expected: Duration) -> bool {
        self.offset.abs_diff(expected.as_nanos() as i64) <= NEAR.as_nanos() as u64
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.offset as f64 / 1e6;
        let state = if self.synchronised { "" } else { "un" };
        write!(f, "{millis:+.1} ms, {state}synchronised")
    }
}

impl Bench {
    /// The time server.
    pub fn time_server(&self) -> Result<&TimeServer, Stop> {
        Ok(&self.time_source()?.server)
    }

    fn time_source(&self) -> Result<&TimeSource, Stop> {
        let missing = || Stop::Bench("the rig has no time server".into());
        self.time.as_ref().ok_or_else(missing)
    }

    pub(super) fn time_config(&self, settings: TimeSettings) -> Result<TimeConfig, Stop> {
        let source = self.time_source()?;
        let millis = |span: Duration| format!("{}ms", span.as_millis());
        Ok(TimeConfig {
            server: source.server.addr(),
            tls_name: source.tls_name.clone(),
            certificate: source.certificate.clone(),
            poll_interval: settings.poll.map(millis),
            drift_ppm: settings.drift_ppm,
            serve: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            rehearsal: settings.poll.is_some(),
        })
    }

    /// Starts a gateway beside the one under test.
    pub fn second_gateway(&self, ctx: &Ctx, settings: TimeSettings) -> Result<SecondGateway, Stop> {
        ctx.check()?;
        let name = format!("second-{}", ctx.case());
        let mut config = self.gateway.config.clone();
        config.meter.clear();
        config.profiles = None;
        config.local = None;
        config.han.user.retain(|user| user.meters.is_empty());
        config.cls.profile.clear();
        config.store.path = format!("{name}.sqlite").into();
        config.time = Some(self.time_config(settings)?);
        let (process, listening) = self.start_beside(&config, &name)?;
        let time =
            (listening.time).ok_or_else(|| Stop::Device("no time service was announced".into()))?;
        Ok(SecondGateway { process, time })
    }

    /// What a gateway's time service says now.
    pub fn look_at(&self, ctx: &mut Ctx, second: &SecondGateway) -> Result<Seen, Stop> {
        ctx.check()?;
        if let Some(trouble) = second.process.trouble() {
            return Err(Stop::Device(format!("the second gateway: {trouble:?}")));
        }
        self.look(ctx, second.time)
    }

    fn look(&self, ctx: &mut Ctx, service: SocketAddr) -> Result<Seen, Stop> {
        match ask_time(service, within(ctx, PATIENCE)) {
            Ok(answer) => {
                let packet = &answer.packet;
                let way = answer.answered.saturating_since(answer.asked);
                let middle = self
                    .clock
                    .utc_of(Nanos(answer.asked.0 + way.as_nanos() as u64 / 2))
                    .0;
                // Within 68 years of the bench's time, whichever era that is in.
                let earliest = UtcNanos(middle.0 - (1 << 31) * 1_000_000_000);
                let told = packet.transmit.utc(earliest).unwrap_or_default();
                Ok(Seen {
                    offset: told.signed_since(middle),
                    half_way: way / 2,
                    synchronised: packet.encode()[0] >> 6 != 3,
                    stratum: packet.stratum,
                })
            }
            Err(failure) => {
                ctx.check()?;
                ctx.fail(format!("the time service does not answer: {failure}"));
                Err(Stop::Done)
            }
        }
    }

    /// Sends octets to a gateway's time service; what comes back within a short while.
    pub fn ask_service(
        &self,
        ctx: &Ctx,
        second: &SecondGateway,
        octets: &[u8],
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let answered = ask_time_with(second.time, octets, within(ctx, patience))?;
        Ok(answered.map(|(_, _, octets)| octets))
    }

    /// Waits until the time service says something that is `wanted`; what it said last in any case.
    pub fn watch_time(
        &self,
        ctx: &mut Ctx,
        second: &SecondGateway,
        budget: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, Stop> {
        let mut last = self.look_at(ctx, second)?;
        let patience = ctx.phase(budget.mul_f64(self.multiplier));
        ctx.wait_for(patience, |ctx| {
            last = self.look_at(ctx, second)?;
            Ok(wanted(&last).then_some(()))
        })?;
        Ok(last)
    }

    /// A second gateway whose time is the bench's.
    pub fn synchronised_gateway(&self, ctx: &mut Ctx) -> Result<SecondGateway, Stop> {
        self.time_server()?.set_mode(TimeMode::default());
        let second = self.second_gateway(ctx, TimeSettings::QUICK)?;
        let seen = self.watch_time(ctx, &second, PATIENCE, |seen| {
            seen.synchronised && seen.is_near(Duration::ZERO)
        })?;
        if !seen.synchronised {
            ctx.fail(format!("a good time server does not set the clock: {seen}"));
            return Err(Stop::Done);
        }
        Ok(second)
    }

    /// Has the time server answer by `mode` until the gateway has judged at least two answers, or none was wanted.
    pub fn answer_by(&self, ctx: &mut Ctx, mode: TimeMode) -> Result<bool, Stop> {
        let server = self.time_server()?;
        let before = server.questions().len();
        server.set_mode(mode);
        let patience = ctx.phase((PATIENCE * 3).mul_f64(self.multiplier));
        // When the third question is there, the answers to two have been judged.
        let judged = |_: &mut Ctx| Ok((server.questions().len() >= before + 3).then_some(()));
        Ok(ctx.wait_for(patience, judged)?.is_some())
    }
}

/// How far a clock may be from where it is expected: far beyond the ways on this rig, far below what cases shift time by.
const NEAR: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);
