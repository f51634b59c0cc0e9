// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start and end of the gateway. The order of the start is its safety: configuration, security
//! module, meter ports, and only then listeners.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use smgw_core::{Grid, GridError};
use smgw_units::DeviceId;
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

use crate::board::Board;
use crate::clock;
use crate::cls::Proxy;
use crate::config::{Config, ConfigError};
use crate::defects::{Defect, Defects};
use crate::han::{Server, View};
use crate::lmn::{self, Line};
use crate::measuring::Measuring;
use crate::module::{self, ModuleUnusable, Secure};
use crate::stop::{Reasons, Stop, Stopping};
use crate::store::{Options, Store, StoreError};
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
        /// HAN or CLS.
        interface: &'static str,
        /// Where.
        address: SocketAddr,
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
            Self::Config(_) | Self::Grid(_) => 96,
            Self::Port { .. } => 107,
            Self::Module(_) | Self::Tls(_) => 108,
            Self::Store(_) | Self::Listen { .. } | Self::System(_) => 1,
        }
    }
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

/// Runs the gateway with a module that is open already: tells `ready` the addresses of HAN and CLS when they are
/// bound, and ends with the future that `stop` makes on the gateway's runtime.
///
/// # Errors
/// [`Failure`]; everything that was opened is closed again.
pub fn run_with<S: Future<Output = ()>>(
    config: Config,
    secure: Option<Secure>,
    defects: Defects,
    ready: impl FnOnce(SocketAddr, SocketAddr) -> std::io::Result<()>,
    stop: impl FnOnce() -> std::io::Result<S>,
) -> Result<(), Failure> {
    let grid = Grid::new(config.registration_period, defects.tolerance())?;
    let trace = secure.as_ref().map(|secure| secure.trace.clone());
    let servers = match secure {
        Some(secure) => Secured::prepare(
            &config,
            &TlsFactory {
                module: secure.module,
                identity: secure.identity,
                defects,
            },
        )?,
        None => Secured {
            han: None,
            proxy: None,
        },
    };
    let metering = Metering::start(&config, grid, defects)?;
    let view = View {
        device_id: config.device_id,
        period_seconds: period(grid),
        meters: config
            .meters
            .iter()
            .map(|meter| (meter.id, meter.registers.clone()))
            .collect(),
        board: metering.board.clone(),
        store: config.store.clone(),
    };
    let han = Server {
        tls: servers.han,
        users: config.han.users.clone(),
        view,
        defects,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(serve(&config, han, servers.proxy, ready, stop));
    metering.stop();
    runtime.shutdown_timeout(RUNTIME_END);
    for (place, operation, tally) in trace.iter().flat_map(|trace| trace.summary().into_rows()) {
        info!(%place, %operation, count = tally.count, failed = tally.failed,
            mean_us = tally.mean().as_micros(), longest_us = tally.longest.as_micros(),
            "security module used");
    }
    outcome
}

/// What needs the security module, built before any listener is opened.
struct Secured {
    han: Option<Arc<rustls::ServerConfig>>,
    proxy: Option<Proxy>,
}

impl Secured {
    fn prepare(config: &Config, tls: &TlsFactory) -> Result<Self, Failure> {
        let users = config
            .han
            .users
            .iter()
            .map(|user| user.certificate.clone())
            .collect();
        let systems = config
            .cls
            .profiles
            .iter()
            .map(|profile| profile.cls_certificate.clone())
            .collect();
        let profiles = config
            .cls
            .profiles
            .iter()
            .map(|profile| Ok((profile.clone(), tls.emt(profile.emt_certificate.clone())?)));
        Ok(Self {
            han: Some(tls.han(users)?),
            proxy: Some(Proxy {
                tls: tls.cls(systems)?,
                profiles: profiles.collect::<Result<_, Failure>>()?,
                handshake_timeout: config.cls.handshake_timeout,
                defects: tls.defects,
            }),
        })
    }
}

async fn serve<S: Future<Output = ()>>(
    config: &Config,
    han: Server,
    proxy: Option<Proxy>,
    ready: impl FnOnce(SocketAddr, SocketAddr) -> std::io::Result<()>,
    stop: impl FnOnce() -> std::io::Result<S>,
) -> Result<(), Failure> {
    let han_listener = bind("HAN", config.han.listen).await?;
    let cls_listener = bind("CLS", config.cls.listen).await?;
    let (stopper, stopping) = Stop::new();
    let told = stop()?;
    ready(han_listener.local_addr()?, cls_listener.local_addr()?)?;
    let han = tokio::spawn(han.run(han_listener, stopping.clone()));
    let cls = tokio::spawn(run_proxy(proxy, cls_listener, stopping));
    told.await;
    stopper.stop();
    // Both end their connections and return; the limit is for the unforeseen.
    let _ = tokio::time::timeout(SERVERS_END, async { tokio::join!(han, cls) }).await;
    Ok(())
}

async fn run_proxy(proxy: Option<Proxy>, listener: TcpListener, mut stopping: Stopping) {
    match proxy {
        Some(proxy) => proxy.run(listener, stopping).await,
        None => stopping.wait().await,
    }
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
fn announce(han: SocketAddr, cls: SocketAddr) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, r#"{{"event":"ready","han":"{han}","cls":"{cls}"}}"#)?;
    output.flush()?;
    info!(%han, %cls, "ready");
    Ok(())
}

/// The threads of the metering side.
struct Metering {
    board: Arc<Board>,
    stop: Arc<AtomicBool>,
    lines: Vec<JoinHandle<()>>,
    measuring: JoinHandle<()>,
}

impl Metering {
    fn start(config: &Config, grid: Grid, defects: Defects) -> Result<Self, Failure> {
        let ports = config.meters.iter().map(|meter| {
            lmn::open(meter).map_err(|source| Failure::Port {
                meter: meter.id,
                port: meter.port.clone(),
                source,
            })
        });
        let ports: Vec<_> = ports.collect::<Result<_, _>>()?;
        let period = period(grid);
        let options = Options {
            period,
            ..Options::default()
        };
        let store = Store::open(&config.store, options)?;
        let started_at = clock::utc_now();
        let meters = config.meters.iter().map(|meter| {
            let held = meter
                .registers
                .iter()
                .map(|obis| Ok((*obis, store.newest(meter.id, *obis, period)?)));
            let held: Vec<_> = held.collect::<Result<_, StoreError>>()?;
            let newest = |obis| {
                held.iter()
                    .find(|(of, _)| *of == obis)
                    .map(|(_, newest)| *newest)
                    .unwrap_or_default()
            };
            Ok(smgw_core::Meter::new(
                meter.id,
                &meter.registers,
                grid,
                started_at,
                newest,
            ))
        });
        let meters: Vec<_> = meters.collect::<Result<_, StoreError>>()?;
        let board = Arc::new(Board::new(
            config.meters.iter().map(|meter| meter.id),
            grid,
            started_at,
        ));
        let (events, received) = mpsc::channel();
        let measuring = Measuring::new(meters, period, store, board.clone(), defects);
        let measuring = std::thread::Builder::new()
            .name("measuring".into())
            .spawn(move || measuring.run(&received))?;
        let stop = Arc::new(AtomicBool::new(false));
        let lines =
            config
                .meters
                .iter()
                .cloned()
                .zip(ports)
                .enumerate()
                .map(|(number, (meter, port))| {
                    let line = Line {
                        number,
                        meter,
                        grid,
                        events: events.clone(),
                        stop: stop.clone(),
                        defects,
                    };
                    lmn::spawn(line, port)
                });
        let lines = lines.collect::<Result<_, _>>()?;
        Ok(Self {
            board,
            stop,
            lines,
            measuring,
        })
    }

    /// Ends the lines, and with the last of them the measuring thread.
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for line in self.lines {
            let _ = line.join();
        }
        let _ = self.measuring.join();
    }
}

/// The registration period in seconds, at most 31 days.
fn period(grid: Grid) -> u32 {
    u32::try_from(grid.period_seconds()).unwrap_or(u32::MAX)
}

const SERVERS_END: Duration = Duration::from_secs(3);
const RUNTIME_END: Duration = Duration::from_secs(1);
