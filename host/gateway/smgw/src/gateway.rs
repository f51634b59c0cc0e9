// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start and end of the gateway. The order of the start is its safety: configuration, security
//! module, meter ports, and only then listeners.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hsm_api::traced::Recorder;
use hsm_tls::TlsConfigError;
use smgw_core::clock::Validity;
use smgw_core::log::{Event, EventKind, Stamp};
use smgw_core::{Grid, GridError};
use smgw_units::{DeviceId, UtcNanos};
use thiserror::Error;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tracing::info;

use crate::active::Current;
use crate::administration::{Administration, OrderError};
use crate::board::Board;
use crate::clock::{Alarm, Clock};
use crate::cls;
use crate::config::{Config, ConfigError, Meter, Protocol, Role, User};
use crate::defects::{Defect, Defects};
use crate::evaluating::{Consumers, Evaluations};
use crate::han::{Server, View};
use crate::journal::Journal;
use crate::keeping::{Keeper, Signer};
use crate::lmn::{self, Grids, Line, MeterTls};
use crate::local::{self, Desk};
use crate::measuring::{Measuring, Order, seconds_of};
use crate::metrics::Metrics;
use crate::module::{self, ModuleUnusable, Secure};
use crate::retention::Retention;
use crate::stop::{Reasons, Stop, Stopping};
use crate::store::{Batch, Options, Store, StoreError};
use crate::time::TimeKeeper;
use crate::tls::TlsFactory;

/// Why the gateway did not start, or stopped on its own.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The grid of the configuration is impossible.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The security module is missing, failing or holds another key: safe stop.
    #[error(transparent)]
    Module(#[from] ModuleUnusable),
    /// TLS cannot be set up with this module.
    #[error(transparent)]
    Tls(#[from] hsm_tls::TlsConfigError),
    /// A meter's port cannot be opened.
    #[error("meter {meter}: cannot open {port}: {source}", port = port.display())]
    Port {
        /// Which meter.
        meter: DeviceId,
        /// Which port.
        port: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The value store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address} for {interface}: {source}")]
    Listen {
        /// HAN, CLS or time.
        interface: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The first set of profiles cannot be taken.
    #[error("{path}: {what}", path = path.display())]
    Profiles {
        /// Which file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// What the configuration says cannot be made active.
    #[error(transparent)]
    Administration(#[from] OrderError),
    /// The local socket cannot be bound.
    #[error("cannot listen on {path}: {source}", path = path.display())]
    LocalSocket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Anything else the operating system refused.
    #[error("operating system: {0}")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// The exit code the interface promises.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Grid(_) | Self::Profiles { .. } => 96,
            Self::Administration(OrderError::Store(_)) => 1,
            Self::Port { .. } => 107,
            Self::Module(_) | Self::Tls(_) | Self::Administration(_) => 108,
            Self::Store(_) | Self::Listen { .. } | Self::LocalSocket { .. } | Self::System(_) => 1,
        }
    }
}

/// Where the gateway listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listening {
    /// Consumers and technicians.
    pub han: SocketAddr,
    /// Controllable systems.
    pub cls: SocketAddr,
    /// The time service, if there is one.
    pub time: Option<SocketAddr>,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// [`Failure`]; everything that was opened is closed again.
pub fn run(config: Config, supervised: bool, defects: Defects) -> Result<(), Failure> {
    let secure = match module::open(&config.security_module, defects) {
        Ok(secure) => Some(secure),
        Err(error) if defects.has(Defect::PlaintextFallback) => {
            tracing::error!(%error, "going on without a security module");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let stop = || Reasons::listen(supervised).map(Reasons::wait);
    run_with(config, secure, defects, announce, stop)
}

/// Runs the gateway with a module that is open already: tells `ready` where it listens when everything is
/// bound, and ends with the future that `stop` makes on the gateway's runtime.
///
/// # Errors
/// [`Failure`]; everything that was opened is closed again.
pub fn run_with<S: Future<Output = ()>>(
    config: Config,
    secure: Option<Secure>,
    defects: Defects,
    ready: impl FnOnce(Listening) -> std::io::Result<()>,
    stop: impl FnOnce() -> std::io::Result<S>,
) -> Result<(), Failure> {
    let grid = Grid::new(config.registration_period, defects.tolerance())?;
    let trace = secure.as_ref().map(|secure| secure.trace.clone());
    let signer = secure.as_ref().map(|secure| Signer {
        module: secure.module.clone(),
        key: secure.identity.key.clone(),
        defects,
    });
    let tls = secure.map(|secure| TlsFactory {
        module: secure.module,
        identity: secure.identity,
        defects,
    });
    let meter_tls = meter_tls(&config, tls.as_ref())?;
    let clock = crate::time::clock(&config, defects);
    let metering = Metering::start(&config, grid, signer, meter_tls, &clock, defects)?;
    if let Err(error) = note_start(&metering.journal, &config) {
        metering.stop();
        return Err(error.into());
    }
    let parts = Parts::prepare(&config, grid, tls, trace.clone(), &metering, clock, defects);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = match parts {
        Ok(parts) => runtime.block_on(serve(&config, parts, ready, stop)),
        Err(failure) => Err(failure),
    };
    metering.stop();
    runtime.shutdown_timeout(RUNTIME_END);
    for (place, operation, tally) in trace.iter().flat_map(|trace| trace.summary().into_rows()) {
        info!(%place, %operation, count = tally.count, failed = tally.failed,
            mean_us = tally.mean().as_micros(), longest_us = tally.longest.as_micros(),
            "security module used");
    }
    outcome
}

/// TLS of each meter that is asked through it.
fn meter_tls(
    config: &Config,
    tls: Option<&TlsFactory>,
) -> Result<Vec<Option<MeterTls>>, TlsConfigError> {
    let meters = config.meters.iter();
    let of = meters.map(|meter| match (&meter.protocol, &config.lmn, tls) {
        (Protocol::HdlcLmn(asked), Some(own), Some(tls)) => tls
            .meter(own.clone(), meter.id, asked.certificate.clone())
            .map(Some),
        _ => Ok(None),
    });
    of.collect()
}

/// Takes down the start and what changed since the last one; durable before anything is served.
fn note_start(journal: &Journal, config: &Config) -> Result<(), StoreError> {
    journal.note(Event::new(EventKind::GatewayStarted).with(VERSION));
    journal.note(Event::new(EventKind::SelfTestPassed));
    let mut facts = Vec::new();
    let known = |key: &str| journal.with_store(|store| store.fact(key));
    if let Some(before) = known("firmware")?.filter(|before| before != VERSION.as_bytes()) {
        let before = String::from_utf8_lossy(&before).into_owned();
        journal.note(
            Event::new(EventKind::FirmwareChanged)
                .with(before)
                .with(VERSION),
        );
    }
    facts.push(("firmware".into(), VERSION.into()));
    let hash = &config.hash;
    if known("configuration")?.is_some_and(|before| before != hash.as_bytes()) {
        journal.note(Event::new(EventKind::ParametersChanged).with(hash));
    }
    facts.push(("configuration".into(), hash.as_bytes().into()));
    let mut batch = Batch {
        facts,
        ..Batch::default()
    };
    match journal.commit(&mut batch) {
        // Measuring has to wait, but consumers may read; what was noted is kept by the reserve.
        Err(StoreError::Full) => Ok(()),
        outcome => outcome,
    }
}

/// What serves somebody, ready before any listener is opened.
struct Parts {
    han: Server,
    desk: Desk,
    clock: Clock,
    activation: Alarm,
    time: Option<TimeKeeper>,
    current: Current,
}

impl Parts {
    fn prepare(
        config: &Config,
        grid: Grid,
        tls: Option<TlsFactory>,
        module: Option<Arc<Recorder>>,
        metering: &Metering,
        clock: Clock,
        defects: Defects,
    ) -> Result<Self, Failure> {
        let now = clock.now();
        let time = match &config.time {
            None => None,
            Some(server) => Some(TimeKeeper {
                clock: clock.clone(),
                asking: clock.alarm(),
                looking: clock.alarm(),
                server: server.clone(),
                tls: match &tls {
                    Some(tls) => Some(tls.time(server.certificate.clone())?),
                    None => None,
                },
                journal: metering.journal.clone(),
                defects,
            }),
        };
        let (journal, orders) = (metering.journal.clone(), metering.orders.clone());
        let (mut administration, current) =
            Administration::start(config, tls, defects, journal, orders, now)?;
        if let Some(path) = &config.profiles {
            take_first(&mut administration, path, now)?;
        }
        let board = metering.board.clone();
        let view = View {
            device_id: config.device_id,
            period_seconds: seconds_of(grid),
            current: current.clone(),
            board: board.clone(),
            clock: clock.clone(),
            store: config.store.clone(),
        };
        let metrics = Metrics {
            board: board.clone(),
            clock: clock.clone(),
            current: current.clone(),
            module,
        };
        Ok(Self {
            han: Server {
                current: current.clone(),
                view,
                journal: metering.journal.clone(),
                defects,
            },
            desk: Desk {
                device_id: config.device_id.to_string(),
                administration: Arc::new(Mutex::new(administration)),
                journal: metering.journal.clone(),
                board,
                clock: clock.clone(),
                orders: metering.orders.clone(),
                metrics,
            },
            activation: clock.alarm(),
            clock,
            time,
            current,
        })
    }
}

/// Takes the set of profiles a gateway is delivered with, unless it has taken sets before.
fn take_first(
    administration: &mut Administration,
    path: &Path,
    now: UtcNanos,
) -> Result<(), Failure> {
    if administration.versions().next().is_some() {
        return Ok(());
    }
    let failed = |what: String| Failure::Profiles {
        path: path.into(),
        what,
    };
    let document = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    administration
        .submit(&document, now)
        .map_err(|error| failed(error.to_string()))?;
    Ok(())
}

async fn serve<S: Future<Output = ()>>(
    config: &Config,
    parts: Parts,
    ready: impl FnOnce(Listening) -> std::io::Result<()>,
    stop: impl FnOnce() -> std::io::Result<S>,
) -> Result<(), Failure> {
    let han_listener = bind("HAN", config.han.listen).await?;
    let cls_listener = bind("CLS", config.cls.listen).await?;
    let local_listener = match &config.local_socket {
        Some(path) => Some(local::bind(path).map_err(|source| Failure::LocalSocket {
            path: path.clone(),
            source,
        })?),
        None => None,
    };
    let (stopper, stopping) = Stop::new();
    let told = stop()?;
    let time_socket = match config.time.as_ref().and_then(|time| time.serve) {
        Some(address) => Some(bind_time(address).await?),
        None => None,
    };
    let time_address = time_socket.as_ref().map(UdpSocket::local_addr);
    ready(Listening {
        han: han_listener.local_addr()?,
        cls: cls_listener.local_addr()?,
        time: time_address.transpose()?,
    })?;
    let Parts {
        han,
        desk,
        clock,
        activation,
        time,
        current,
    } = parts;
    let journal = han.journal.clone();
    let administration = desk.administration.clone();
    let mut servers = JoinSet::new();
    servers.spawn(han.run(han_listener, stopping.clone()));
    servers.spawn(cls::run(
        current,
        journal.clone(),
        cls_listener,
        stopping.clone(),
    ));
    servers.spawn(retain(journal, clock.clone(), stopping.clone()));
    servers.spawn(activate(
        administration,
        clock,
        activation,
        stopping.clone(),
    ));
    if let Some(keeper) = time {
        servers.spawn(keeper.run(time_socket, stopping.clone()));
    }
    if let Some(listener) = local_listener {
        servers.spawn(desk.run(listener, stopping));
    }
    told.await;
    stopper.stop();
    // All end their connections and return; the limit is for the unforeseen.
    let _ = tokio::time::timeout(SERVERS_END, async {
        while servers.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

/// Makes sets of profiles active at their instants.
async fn activate(
    administration: Arc<Mutex<Administration>>,
    clock: Clock,
    alarm: Alarm,
    mut stopping: Stopping,
) {
    loop {
        let pause = {
            let mut administration = administration
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            administration.handle_time(clock.now());
            let next = administration.next_deadline();
            next.map_or(LONGEST_PAUSE, |at| clock.until(at))
                .min(LONGEST_PAUSE)
        };
        tokio::select! {
            // The clock may be a moment behind the timer.
            () = alarm.sleep(pause.max(SHORTEST_PAUSE)) => {}
            () = stopping.wait() => return,
        }
    }
}

/// The consumers of the configuration; an id that is no name has no log.
fn consumers(config: &Config) -> Consumers {
    let users = config.han.users.iter();
    let consumer = |user: &User| match &user.role {
        Role::Consumer { meters } => Some((user.id.parse().ok()?, meters.clone())),
        Role::Technician => None,
    };
    users.filter_map(consumer).collect()
}

/// Removes what is too old, day by day.
async fn retain(journal: Journal, clock: Clock, mut stopping: Stopping) {
    let mut retention = Retention::default();
    loop {
        let (now, valid) = (clock.now(), clock.validity() == Validity::Valid);
        let journal = journal.clone();
        // It may take a while and waits for the disk.
        let work = tokio::task::spawn_blocking(move || {
            retention.handle_time(now, valid, &journal);
            retention
        });
        // Only a panic ends the work without its result.
        let Ok(back) = work.await else { return };
        retention = back;
        tokio::select! {
            () = tokio::time::sleep(RETENTION_PAUSE) => {}
            () = stopping.wait() => return,
        }
    }
}

async fn bind_time(address: SocketAddr) -> Result<UdpSocket, Failure> {
    let bound = UdpSocket::bind(address).await;
    bound.map_err(|source| Failure::Listen {
        interface: "time",
        address,
        source,
    })
}

async fn bind(interface: &'static str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Failure::Listen {
            interface,
            address,
            source,
        })
}

/// The one line on standard output.
fn announce(Listening { han, cls, time }: Listening) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    write!(output, r#"{{"event":"ready","han":"{han}","cls":"{cls}""#)?;
    if let Some(time) = time {
        write!(output, r#","time":"{time}""#)?;
    }
    writeln!(output, "}}")?;
    output.flush()?;
    info!(%han, %cls, "ready");
    Ok(())
}

/// The threads of the metering side.
struct Metering {
    board: Arc<Board>,
    orders: mpsc::Sender<Order>,
    stop: Arc<AtomicBool>,
    lines: Vec<JoinHandle<()>>,
    measuring: JoinHandle<()>,
    keeping: JoinHandle<()>,
    journal: Journal,
    journaling: JoinHandle<()>,
}

impl Metering {
    fn start(
        config: &Config,
        grid: Grid,
        signer: Option<Signer>,
        tls: Vec<Option<MeterTls>>,
        clock: &Clock,
        defects: Defects,
    ) -> Result<Self, Failure> {
        // Meters that are heard by one receiver share its port.
        let mut lines: Vec<(usize, &Meter)> = Vec::new();
        for (number, meter) in config.meters.iter().enumerate() {
            if lines.iter().all(|(_, other)| other.port != meter.port) {
                lines.push((number, meter));
            }
        }
        let ports = lines.iter().map(|(_, meter)| {
            lmn::open(meter).map_err(|source| Failure::Port {
                meter: meter.id,
                port: meter.port.clone(),
                source,
            })
        });
        let ports: Vec<_> = ports.collect::<Result<_, _>>()?;
        let options = Options {
            period: seconds_of(grid),
            ..Options::default()
        };
        let store = Store::open(&config.store, options)?;
        let radios = lines
            .iter()
            .map(|(_, meter)| lmn::radios(&config.meters, &meter.port, |fact| store.fact(fact)));
        let radios: Vec<_> = radios.collect::<Result<_, _>>()?;
        let newest = store.newest_of_all()?;
        let evaluations = Evaluations::new(store.states()?, consumers(config), defects);
        let ids = config.meters.iter().map(|meter| meter.id);
        let board = Arc::new(Board::new(ids.clone(), grid, clock.now()));
        let grids = Arc::new(Grids::new(grid));
        let told = clock.clone();
        let stamp = move || Stamp {
            utc: told.now(),
            valid: told.validity() == Validity::Valid,
            monotonic: told.monotonic(),
        };
        let (journal, journaling) = Journal::start(store, stamp)?;
        let (keeper, keeping) = Keeper::start(journal.clone(), signer, board.clone())?;
        let (orders, received) = mpsc::channel();
        let is_wireless = |meter: &&Meter| matches!(meter.protocol, Protocol::Wmbus { .. });
        let wireless = config.meters.iter().filter(is_wireless);
        let measuring = Measuring {
            lines: ids.collect(),
            wireless: wireless.map(|meter| meter.id).collect(),
            facts: BTreeMap::new(),
            period: config.registration_period,
            tolerance: defects.tolerance(),
            grids: grids.clone(),
            newest,
            evaluations,
            keeper,
            journal: journal.clone(),
            board: board.clone(),
            clock: clock.clone(),
            defects,
        };
        let measuring = std::thread::Builder::new()
            .name("measuring".into())
            .spawn(move || measuring.run(&received))?;
        let stop = Arc::new(AtomicBool::new(false));
        let lines = lines.into_iter().zip(radios).zip(ports);
        let lines = lines.map(|(((number, meter), radios), port)| {
            let line = Line {
                number,
                meter: meter.clone(),
                radios,
                grid,
                grids: grids.clone(),
                clock: clock.clone(),
                events: orders.clone(),
                stop: stop.clone(),
                tls: tls.get(number).cloned().flatten(),
                defects,
            };
            lmn::spawn(line, port)
        });
        let lines = lines.collect::<Result<_, _>>()?;
        Ok(Self {
            board,
            orders,
            stop,
            lines,
            measuring,
            keeping,
            journal,
            journaling,
        })
    }

    /// Ends the lines, then the measuring thread, then, when all it decided is kept, the keeping one.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for line in self.lines {
            let _ = line.join();
        }
        let _ = self.orders.send(Order::Stop);
        let _ = self.measuring.join();
        let _ = self.keeping.join();
        self.journal.note(Event::new(EventKind::GatewayStopped));
        self.journal.finish();
        let _ = self.journaling.join();
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const SERVERS_END: Duration = Duration::from_secs(3);
const RUNTIME_END: Duration = Duration::from_secs(1);
/// So that a clock that was stepped is noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at the day.
const RETENTION_PAUSE: Duration = Duration::from_secs(60);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
