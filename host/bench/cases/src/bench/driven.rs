// SPDX-License-Identifier: MIT OR Apache-2.0
//! A gateway beside the one under test whose time the bench moves on by orders, with meters that send what they are told to:
//! days pass in seconds, and every instant is exact (catalogue rows with virtual time).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bench_engine::{Ctx, Health, Stop, StopExt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smgw_peers::meters::SmlToldMeter;
use smgw_peers::net::TimeMode;
use smgw_units::{DeviceId, UtcNanos};

use super::{Bench, TimeSettings};
use crate::gateway::{Gateway, LocalConfig, MeteringConfig, StoreConfig, write_private};
use crate::meters::sml_line;
use crate::values::{DerivedLists, ValueList, ValueLists};

/// `[clock]` of its configuration.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClockConfig {
    /// What it shows at the start; orders move it on.
    pub driven_from: String,
    /// That nobody bills by it.
    pub rehearsal: bool,
}

/// What such a gateway begins with.
#[derive(Clone, Debug)]
pub struct DrivenSettings<'a> {
    /// What its clock shows.
    pub from: UtcNanos,
    /// Its registration period.
    pub period: Duration,
    /// Its meters, one line each.
    pub meters: &'a [DeviceId],
    /// Its set of profiles; by its configuration alone without one.
    pub profiles: Option<String>,
    /// Whether the bench's time server tells it the time; without that its clock counts as valid.
    pub asks_time: bool,
}

/// The gateway.
pub struct DrivenGateway<'a> {
    bench: &'a Bench,
    process: Gateway,
    han: std::net::SocketAddr,
    config: PathBuf,
    socket: PathBuf,
    meters: Vec<(DeviceId, SmlToldMeter)>,
    asks_time: bool,
    now: UtcNanos,
    told: u64,
    /// How the time server answers; its offset is to the driven time.
    pub time: TimeMode,
}

/// What a driven clock says after an order.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ClockState {
    telegrams: u64,
}

impl Bench {
    /// Starts such a gateway, and waits until it has done what it does at its start; `time` is what the time server answers
    /// from the beginning.
    pub fn driven_gateway(
        &self,
        ctx: &Ctx,
        settings: DrivenSettings<'_>,
        time: TimeMode,
    ) -> Result<DrivenGateway<'_>, Stop> {
        ctx.check()?;
        let name = format!("driven-{}-{}", ctx.case(), settings.from.seconds());
        let file = |end: &str| PathBuf::from(format!("{name}.{end}"));
        let meters = (settings.meters.iter()).map(|id| Ok((*id, SmlToldMeter::open(*id)?)));
        let meters: Vec<_> = meters
            .collect::<Result<_, smgw_peers::meters::MeterError>>()
            .or_rig("playing a meter")?;
        let mut config = self.gateway.config.clone();
        let lines = meters.iter();
        let lines = lines.map(|(id, meter)| sml_line(*id, meter.path(), SmlToldMeter::LINE));
        config.meter = lines.collect();
        config.metering = MeteringConfig {
            registration_period: format!("{}s", settings.period.as_secs()),
        };
        let known = |meter: &String| (settings.meters.iter()).any(|id| id.as_str() == meter);
        (config.han.user).retain(|user| user.meters.iter().all(known));
        config.cls.profile.clear();
        config.store.path = file("sqlite");
        config.local = Some(LocalConfig {
            socket: file("sock"),
        });
        config.clock = Some(ClockConfig {
            driven_from: settings.from.to_string(),
            rehearsal: true,
        });
        config.time = match settings.asks_time {
            true => Some(self.time_config(TimeSettings {
                poll: None,
                drift_ppm: None,
            })?),
            false => None,
        };
        config.profiles = None;
        if let Some(document) = &settings.profiles {
            let path = file("profiles.toml");
            write_private(&self.runtime.path().join(&path), document.as_bytes())
                .or_rig("writing the driven gateway's profiles")?;
            config.profiles = Some(StoreConfig { path });
        }
        if settings.asks_time {
            (self.time_server()?).set_mode(standing(&time, settings.from));
        }
        let (process, listening) = self.start_beside(&config, &name)?;
        let mut driven = DrivenGateway {
            bench: self,
            process,
            han: listening.han,
            config: self.beside(&name),
            socket: self.runtime.path().join(file("sock")),
            meters,
            asks_time: settings.asks_time,
            now: settings.from,
            told: 0,
            time,
        };
        driven.advance(ctx, settings.from)?;
        Ok(driven)
    }
}

impl DrivenGateway<'_> {
    /// What its oscillator shows.
    pub fn now(&self) -> UtcNanos {
        self.now
    }

    /// Lets it be `to`; when this returns, everything due by then is decided and kept.
    pub fn advance(&mut self, ctx: &Ctx, to: UtcNanos) -> Result<(), Stop> {
        self.now = to;
        if self.asks_time {
            (self.bench.time_server()?).set_mode(standing(&self.time, to));
        }
        self.order(ctx).map(drop)
    }

    /// Lets meter number `meter` show so many Wh; when this returns, the gateway has the telegram.
    pub fn telegram(&mut self, ctx: &Ctx, meter: usize, import: i64) -> Result<(), Stop> {
        let missing = || Stop::Bench(format!("there is no meter number {meter}"));
        let (_, played) = self.meters.get_mut(meter).ok_or_else(missing)?;
        if !played.tell(import).or_rig("sending a telegram")? {
            return Err(Stop::Device(
                "the driven gateway does not listen on a meter's line".into(),
            ));
        }
        self.told += 1;
        let patience = ctx.phase(PATIENCE);
        while self.order(ctx)?.telegrams < self.told {
            if patience.expired() {
                let what = "the driven gateway received no telegram";
                return Err(Stop::Device(what.into()));
            }
        }
        Ok(())
    }

    /// [`Self::advance`], and a telegram at that instant.
    pub fn reading(
        &mut self,
        ctx: &Ctx,
        at: UtcNanos,
        meter: usize,
        import: i64,
    ) -> Result<(), Stop> {
        self.advance(ctx, at)?;
        self.telegram(ctx, meter, import)
    }

    /// Hands over a set of profiles.
    pub fn submit(&self, ctx: &Ctx, document: &str) -> Result<(), Stop> {
        self.ask(ctx, "/profiles", document).map(drop)
    }

    fn order(&self, ctx: &Ctx) -> Result<ClockState, Stop> {
        let answer = self.ask(ctx, "/clock", &self.now.to_string())?;
        serde_json::from_str(&answer).or_bench("reading the answer to an order")
    }

    /// POSTs to the local socket; the body of the answer.
    fn ask(&self, ctx: &Ctx, path: &str, document: &str) -> Result<String, Stop> {
        ctx.check()?;
        if let Some(trouble) = self.process.trouble() {
            return Err(Stop::Device(format!("the driven gateway: {trouble:?}")));
        }
        let exchange = || -> std::io::Result<String> {
            let mut stream = UnixStream::connect(&self.socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let length = document.len();
            write!(
                stream,
                "POST {path} HTTP/1.1\r\nhost: smgw\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{document}"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = exchange().or_rig("ordering something of the driven gateway")?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200" | "201") => Ok(body.to_owned()),
            _ => Err(Stop::Device(format!("POST {path}: {head} {body}"))),
        }
    }

    /// The original list of a meter's imported energy, all of it.
    pub fn original(&self, ctx: &mut Ctx, meter: DeviceId) -> Result<ValueList, Stop> {
        let path = format!("/smgw/con/v1/exp/originalValueLists/{meter}");
        let party = self.bench.parties.consumer_of(meter)?;
        let lists: ValueLists = self.bench.read_beside(ctx, self.han, party, &path)?;
        let first = lists.lists.into_iter().next();
        first.ok_or_else(|| {
            ctx.fail(format!("GET {path}: no list"));
            Stop::Done
        })
    }

    /// What an evaluation derived.
    pub fn derived(
        &self,
        ctx: &mut Ctx,
        meter: DeviceId,
        evaluation: &str,
    ) -> Result<DerivedLists, Stop> {
        let path = format!("/smgw/con/v1/exp/derivedValueLists/{evaluation}");
        let party = self.bench.parties.consumer_of(meter)?;
        self.bench.read_beside(ctx, self.han, party, &path)
    }

    /// The system log, as the technician reads it.
    pub fn system_log(&self, ctx: &mut Ctx) -> Result<Vec<Value>, Stop> {
        let log: Value = {
            let (bench, path) = (self.bench, "/smgw/srv/v1/exp/log");
            bench.read_beside(ctx, self.han, &bench.parties.technician, path)?
        };
        Ok(entries(&log))
    }

    /// The calibration log, as `smgw log export` writes it.
    pub fn calibration_log(&self) -> Result<Vec<Value>, Stop> {
        let launch = &self.bench.gateway.launch;
        let folder = self.config.with_extension("export");
        std::fs::create_dir_all(&folder).or_rig("making a folder")?;
        let environment = launch.environment.iter();
        let exported = Command::new(&launch.binary)
            .args(["log", "export", "--book", "calibration", "--config"])
            .arg(&self.config)
            .arg("--out")
            .arg(&folder)
            .envs(environment.map(|(name, value)| (name, value)))
            .output()
            .or_rig("running `smgw log export`")?;
        if !exported.status.success() {
            let said = String::from_utf8_lossy(&exported.stderr).into_owned();
            return Err(Stop::Device(format!("smgw log export: {said}")));
        }
        let mut all = Vec::new();
        for path in String::from_utf8_lossy(&exported.stdout).lines() {
            let text = std::fs::read_to_string(path).or_rig("reading an export")?;
            let part: Value = serde_json::from_str(&text).or_bench("reading an export")?;
            all.extend(entries(&part));
        }
        Ok(all)
    }
}

fn entries(log: &Value) -> Vec<Value> {
    let entries = log.get("entries").and_then(Value::as_array);
    entries.cloned().unwrap_or_default()
}

fn standing(time: &TimeMode, now: UtcNanos) -> TimeMode {
    TimeMode {
        standing: Some(now),
        ..time.clone()
    }
}

/// Longer than a gateway waits for a time server that says nothing.
const PATIENCE: Duration = Duration::from_secs(30);
