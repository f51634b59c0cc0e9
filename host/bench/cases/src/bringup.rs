// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a resolved rig to a live one: tokens, certificates, meters, EMT, gateway; each stage says what it does and whose fault a failure is.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench_engine::{Deadline, Interrupt};
use bench_evidence::trace::Trace;
use bench_machine::{Guest, Images, Plugs, Remote, TimeServer};
use bench_probe::qemu::Uplink;
use bench_rig::role::{Cls, ClsActor, GatewayActor, GatewayTarget};
use bench_rig::{Capability, Ics, Resource, Rig};
use bench_timing::{BenchClock, NoiseFloor, StallWatch};
use bench_wire::{Plug, Wire};
use hsm_tls::TlsProfile;
use rustls::pki_types::CertificateDer;
use smgw_cls::defect::Defect;
use smgw_peers::net::{ActiveEmt, BlackholePort, Emt, Party, RefusingPort, ServerTls, Tap};

use crate::bench::{Bench, BoardNetwork, GatewayRig, Names, Parties, Taps, TimeSource, User};
use crate::boards::{self, Planned, RunningBoard};
use crate::gateway::{
    ClsConfig, Gateway, GatewayConfig, HanConfig, HanUser, Launch, LocalConfig, MeteringConfig,
    ModuleConfig, ModulePlace, ProxyProfile, StartError, StoreConfig, write_private,
};
use crate::host::{Emulated, Host, Local, Ssh};
use crate::meters::Meters;
use crate::module_tool::{TokenSigner, sibling};
use crate::profiles::Ordered;
use crate::runtime_dir::RuntimeDir;
use crate::tap::{NetworkTap, WireTap};
use crate::tokens::{GATEWAY_KEY, Tokens};
use crate::trouble::{BringUpError, During};

/// What the rest of the bench provides for a bring-up.
pub struct Surroundings<'a> {
    /// The rig.
    pub rig: &'a Rig,
    /// The declaration.
    pub ics: &'a Ics,
    /// The run's clock.
    pub clock: &'a BenchClock,
    /// The run's trace.
    pub trace: &'a Trace,
    /// Receives the gateway's log.
    pub gateway_log: PathBuf,
    /// Seeded defect of the reference gateway or of the boards.
    pub defect: Option<String>,
    /// Requests to end.
    pub interrupt: &'a Interrupt,
    /// Told what is being done.
    pub stage: &'a dyn Fn(&str),
}

/// What is ready before any role starts: the tokens of the run, and the key that seals its evidence.
/// It outlives the rig, so that a run that broke off is sealed too.
pub struct Grounds {
    /// Seals the bundle.
    pub signer: TokenSigner,
    /// PEM certificate of the sealing key, for `verify --trust`.
    pub seal_certificate: String,
    tokens: Tokens,
    runtime: Arc<RuntimeDir>,
}

impl Grounds {
    /// Makes the run's directory, its tokens and the sealing key.
    pub fn prepare(rig: &Rig, run_id: &str) -> Result<Self, BringUpError> {
        let runtime = Arc::new(RuntimeDir::create(run_id).during("making the run's directory")?);
        let tokens = Tokens::prepare(rig, runtime.path())?;
        let (signer, seal_certificate) = tokens.seal(run_id)?;
        Ok(Self {
            signer,
            seal_certificate,
            tokens,
            runtime,
        })
    }
}

/// Brings the rig up. Whatever was started is ended again when this fails.
pub fn bring_up(grounds: &Grounds, around: &Surroundings<'_>) -> Result<Bench, BringUpError> {
    let rig = around.rig;
    if let Some(part) = rig.undrivable().into_iter().next() {
        return Err(BringUpError::NotDrivable {
            part: part.part,
            reason: part.reason.to_owned(),
        });
    }
    let say = |what: &str| {
        (around.stage)(what);
        if around.interrupt.no_more_cases() {
            Err(BringUpError::Interrupted)
        } else {
            Ok(())
        }
    };
    let Grounds {
        tokens, runtime, ..
    } = grounds;

    say("the rig measures itself")?;
    let noise = NoiseFloor::measure(NoiseFloor::DEFAULT_SAMPLES, NoiseFloor::DEFAULT_LIMIT);

    say("making the gateway's key and certificate")?;
    let device_id = gateway_id(rig)?;
    let provisioned = tokens.gateway_key(&device_id)?;
    let gateway_certificate =
        hsm_pki::from_pem(&provisioned.certificate).during("reading the gateway's certificate")?;

    say("starting the meters")?;
    let meters = Meters::start(rig, around.clock, around.trace).during("starting the meters")?;

    say("starting the EMT")?;
    let taps = Taps {
        han: tap(around.trace, "HAN"),
        cls: tap(around.trace, "CLS"),
        wan: tap(around.trace, "WAN"),
    };
    let parties = parties(rig).during("making the parties' certificates")?;
    let emt_party = Party::new(&emt_name(rig)).during("making the EMT's certificate")?;
    let emt = start_emt(&emt_party, &gateway_certificate, &taps.wan)?;
    let baseline_emt = start_emt(
        &emt_party,
        parties.cls_a.certificate(),
        &(Arc::new(smgw_peers::net::NoTap) as _),
    )?;
    let silent = BlackholePort::new().during("making a silent port")?;
    let refusing = RefusingPort::new().during("making a refusing port")?;
    let names = names(rig)?;

    let planned = boards::plan(rig)?;
    let active_emt = match planned.is_empty() {
        true => None,
        false => Some(start_active_emt(
            &emt_party,
            &gateway_certificate,
            &taps.wan,
        )?),
    };
    let wire = start_wire(rig, &planned, runtime.path(), around.trace)?;
    let (gateway_defect, board_defect) = whose_defect(around.defect.as_deref(), &planned)?;

    say("starting the gateway")?;
    let files = Files {
        dir: runtime.path(),
        written: RefCell::default(),
    };
    let profiles = [
        (&names.a, &parties.cls_a, emt.addr()),
        (&names.b, &parties.cls_b, emt.addr()),
        (&names.silent, &parties.cls_a, silent.addr()),
        (&names.refusing, &parties.cls_a, refusing.addr()),
    ];
    let boards_profiles = planned
        .iter()
        .zip(active_emt.iter().cycle())
        .map(|(board, emt)| (board.local_server_name(), &board.party, emt.addr()));
    let ordered = Ordered::of(rig);
    let config = GatewayConfig {
        schema: "smgw.config/1",
        device_id,
        security_module: ModuleConfig {
            place: ModulePlace::Token(tokens.gateway_token.clone()),
            key: GATEWAY_KEY.to_owned(),
            certificate: files.pem("gateway", &provisioned.certificate)?,
        },
        store: StoreConfig {
            path: "values.sqlite".into(),
        },
        profiles: Some(StoreConfig {
            path: files.text("profiles.toml", &ordered.document(None, ""))?,
        }),
        metering: MeteringConfig {
            registration_period: format!("{}ms", rig.metering.registration_period.0.as_millis()),
        },
        meter: meters.configuration(),
        han: han(&files, &parties)?,
        cls: ClsConfig {
            listen: LOOPBACK,
            handshake_timeout: "10s".to_owned(),
            profile: profiles
                .into_iter()
                .map(|(name, party, address)| (name.as_str(), party, address))
                .chain(boards_profiles)
                .map(|(name, party, address)| {
                    Ok(ProxyProfile {
                        local_server_name: name.to_owned(),
                        cls_certificate: files.pem(party.name(), &party.certificate_pem())?,
                        wan_peer_address: address,
                        wan_tls_sni: names.wan_sni.clone(),
                        emt_certificate: files.pem("emt", &emt_party.certificate_pem())?,
                        connect_timeout: "3s".to_owned(),
                    })
                })
                .collect::<Result<_, BringUpError>>()?,
        },
        local: rig
            .capabilities()
            .contains(&Capability::GatewayOrders)
            .then(|| LocalConfig {
                socket: "smgw.sock".into(),
            }),
        time: None,
        clock: None,
    };
    let time = start_time(rig, &files, &gateway_certificate, around.clock, &taps.wan)?;
    let launch = Launch {
        binary: gateway_binary(rig)?,
        config: runtime.path().join("smgw.toml"),
        files: files.written.into_inner().into_iter().collect(),
        defect: gateway_defect,
        environment: tokens.gateway_environment.clone(),
        log: around.gateway_log.clone(),
    };
    let gateway = GatewayRig {
        process: Arc::new(Gateway::default()),
        host: host(rig, around.clock, runtime.path()).during("preparing the gateway's machine")?,
        launch,
        config,
        link: Mutex::default(),
        replaced_environment: tokens.replaced_environment.clone(),
        missing_environment: tokens.missing_environment.clone(),
        tracer: tracer(),
    };
    let patience = Duration::from_secs(20).mul_f64(rig.timeout_multiplier.max(1.0));
    let started = around.clock.utc_of(BenchClock::now()).0;
    let listening = gateway
        .start(Deadline::after(patience))
        .map_err(|error| match error {
            StartError::Ended(status, last) if status.code() == Some(2) => BringUpError::Usage {
                what: format!("the gateway does not accept its command line: {last}"),
                help: "`smgw-bench list --defects` prints the defects this build knows".to_owned(),
            },
            error => BringUpError::Stage {
                stage: "starting the gateway",
                cause: error.to_string(),
            },
        })?;

    let boards = planned
        .into_iter()
        .enumerate()
        .map(|(index, board)| {
            let surroundings = boards::Surroundings {
                rig,
                runtime: runtime.path(),
                logs: around.gateway_log.parent().unwrap_or(Path::new(".")),
                proxy: match (Guest::CLS.listen(), &wire) {
                    (SocketAddr::V4(address), Some(_)) if is_emulated(rig) => {
                        boards::Proxy::Wire(address)
                    }
                    _ => boards::Proxy::Host(listening.cls),
                },
                gateway_certificate: &gateway_certificate,
                defect: board_defect,
                stage: around.stage,
            };
            RunningBoard::start(board, index, &surroundings)
        })
        .collect::<Result<_, _>>()?;

    Ok(Bench {
        ordered,
        time,
        boards,
        active_emt,
        wire,
        channels: Mutex::default(),
        gateway_certificate,
        gateway,
        listening,
        parties,
        names,
        emt,
        baseline_emt,
        emt_certificate: emt_party.certificate().clone(),
        meters,
        ics: around.ics.clone(),
        clock: around.clock.clone(),
        noise,
        stalls: StallWatch::start().during("watching the host for stalls")?,
        period: rig.metering.registration_period.0,
        multiplier: rig.timeout_multiplier.max(1.0),
        started,
        ready: around.clock.utc_of(BenchClock::now()).0,
        taps,
        histograms: Mutex::new(Vec::new()),
        _faulty_ports: Box::new((silent, refusing)),
        runtime: Arc::clone(runtime),
    })
}

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn gateway_id(rig: &Rig) -> Result<String, BringUpError> {
    let gateway = rig
        .gateway
        .as_ref()
        .ok_or_else(|| BringUpError::NotDrivable {
            part: "role.gateway".to_owned(),
            reason: "a rehearsal needs a gateway".to_owned(),
        })?;
    Ok(gateway.device_id.to_string())
}

/// What an arm64 board boots and runs: the folder the environment names, or that beside the bench's own.
fn board_folder() -> std::io::Result<PathBuf> {
    match std::env::var_os(Images::VARIABLE) {
        Some(folder) => Ok(folder.into()),
        None => sibling("../arm64"),
    }
}

/// The machine that the rig puts the gateway on.
fn host(
    rig: &Rig,
    clock: &BenchClock,
    runtime: &Path,
) -> Result<Arc<dyn Host>, bench_machine::MachineError> {
    let actor = rig.gateway.as_ref().map(|gateway| &gateway.actor);
    let Some(GatewayActor::Ours { target, .. }) = actor else {
        return Ok(Arc::new(Local::default()));
    };
    Ok(match target {
        GatewayTarget::Local => Arc::new(Local::default()),
        GatewayTarget::QemuArm64 => {
            let clock = clock.clone();
            let time = TimeServer::start(move || clock.utc_of(BenchClock::now()).0)?;
            let images = Images::find(&board_folder()?)?;
            let board = Emulated::new(images, time, runtime.to_owned())?;
            match gateway_plugs(rig, runtime) {
                Some(plugs) => Arc::new(board.plugged(plugs)),
                None => Arc::new(board),
            }
        }
        GatewayTarget::Ssh(destination) => Arc::new(Ssh::new(Remote::new(destination))?),
    })
}

fn is_emulated(rig: &Rig) -> bool {
    let actor = rig.gateway.as_ref().map(|gateway| &gateway.actor);
    let emulated = GatewayTarget::QemuArm64;
    matches!(actor, Some(GatewayActor::Ours { target, .. }) if *target == emulated)
}

/// Who is to misbehave: the gateway, or the boards.
fn whose_defect(
    id: Option<&str>,
    planned: &[Planned],
) -> Result<(Option<String>, Option<Defect>), BringUpError> {
    let board = id.and_then(Defect::named);
    match (board, id) {
        (Some(_), Some(id)) if planned.is_empty() => Err(BringUpError::Usage {
            what: format!("{id} is a defect of a board, and the rig has none"),
            help: "use a rig with a flashed board, such as rigs/virtual-board.toml".to_owned(),
        }),
        (Some(_), _) => Ok((None, board)),
        (None, id) => Ok((id.map(str::to_owned), None)),
    }
}

/// Where an emulated gateway is plugged in, on a rig with a wire.
fn gateway_plugs(rig: &Rig, directory: &Path) -> Option<Plugs> {
    let wired = rig
        .resources
        .values()
        .any(|resource| matches!(resource, Resource::Wire(_)));
    (wired && is_emulated(rig)).then(|| Plugs {
        card: Plug::inside(directory, "gateway"),
        bench: bench_plug(directory),
    })
}

/// Where the bench's loopback interface is plugged in.
fn bench_plug(directory: &Path) -> Plug {
    Plug::inside(directory, "bench")
}

/// The program, unless a board boots it by itself.
fn gateway_binary(rig: &Rig) -> Result<PathBuf, BringUpError> {
    let actor = rig.gateway.as_ref().map(|gateway| &gateway.actor);
    let (named, target) = match actor {
        Some(GatewayActor::Ours { binary, target }) => (binary.clone(), target.clone()),
        Some(GatewayActor::Device { .. }) | None => (None, GatewayTarget::Local),
    };
    let (binary, help) = match (named, target) {
        (_, GatewayTarget::QemuArm64) => return Ok(PathBuf::new()),
        (Some(binary), _) => (binary, "the rig file names it"),
        (None, GatewayTarget::Local) => (
            sibling("smgw").during("finding the gateway program")?,
            "build it with `cargo build -p smgw --features defects`",
        ),
        (None, GatewayTarget::Ssh(_)) => (
            board_folder()
                .during("finding the gateway program")?
                .join("smgw"),
            "build it with `cargo xtask target arm64`, or name another in the rig file",
        ),
    };
    if binary.is_file() {
        return Ok(binary);
    }
    Err(BringUpError::Missing {
        what: format!("the gateway program {}", binary.display()),
        help: help.to_owned(),
    })
}

/// OpenSC's PKCS#11 call tracer.
fn tracer() -> Option<PathBuf> {
    [
        "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so",
        "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so",
        "/usr/lib64/pkcs11-spy.so",
        "/usr/lib/pkcs11-spy.so",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.is_file())
}

fn emt_name(rig: &Rig) -> String {
    rig.emts
        .values()
        .next()
        .map_or_else(|| "emt.example".to_owned(), |emt| emt.tls_name.clone())
}

fn names(rig: &Rig) -> Result<Names, BringUpError> {
    let simulated = |cls: &&Cls| cls.actor == ClsActor::Simulated;
    let mut named = rig
        .clss
        .values()
        .filter(simulated)
        .map(|cls| cls.local_server_name.clone());
    let a = named.next().ok_or_else(|| BringUpError::NotDrivable {
        part: "role.cls".to_owned(),
        reason: "a rehearsal needs a CLS played by the bench, which can misbehave".to_owned(),
    })?;
    let b = named
        .next()
        .unwrap_or_else(|| "second.cls.example".to_owned());
    Ok(Names {
        a,
        b,
        silent: "silent.emt.example".to_owned(),
        refusing: "refusing.emt.example".to_owned(),
        wan_sni: emt_name(rig),
    })
}

fn parties(rig: &Rig) -> Result<Parties, smgw_peers::net::PartyError> {
    let mut consumers = Vec::new();
    for (name, consumer) in &rig.consumers {
        let meters = consumer
            .meters
            .iter()
            .filter_map(|meter| rig.meters.get(meter));
        consumers.push(User {
            party: Party::new(&format!("consumer-{name}"))?,
            meters: meters.map(|meter| meter.device_id).collect(),
        });
    }
    let first_consumer = consumers
        .first()
        .map_or("consumer".to_owned(), |user: &User| {
            user.party.name().to_owned()
        });
    let cls_a = Party::new("cls-a.cls")?;
    Ok(Parties {
        consumers,
        technician: Party::new("technician")?,
        impostor_consumer: Party::new(&first_consumer)?,
        impostor_cls: Party::new(cls_a.name())?,
        cls_a,
        cls_b: Party::new("cls-b.cls")?,
        stranger: Party::new("stranger")?,
    })
}

fn start_emt(
    party: &Party,
    client: &CertificateDer<'static>,
    tap: &Arc<dyn Tap>,
) -> Result<Emt, BringUpError> {
    let tls = ServerTls::new(
        party,
        &TlsProfile::emt_server(),
        std::slice::from_ref(client),
    )
    .during("setting up the EMT's TLS")?;
    Emt::start(tls, Arc::clone(tap)).during("starting the EMT")
}

/// The time server, if the rig has one.
fn start_time(
    rig: &Rig,
    files: &Files<'_>,
    client: &CertificateDer<'static>,
    clock: &BenchClock,
    tap: &Arc<dyn Tap>,
) -> Result<Option<TimeSource>, BringUpError> {
    let Some(role) = &rig.time_server else {
        return Ok(None);
    };
    let party = Party::new(&role.tls_name).during("making the time server's certificate")?;
    let profile = TlsProfile::gwa_server();
    let tls = ServerTls::new(&party, &profile, std::slice::from_ref(client))
        .during("setting up the time server's TLS")?;
    let clock = clock.clone();
    let utc = move || clock.utc_of(BenchClock::now()).0;
    let server = smgw_peers::net::TimeServer::start(tls, Arc::clone(tap), utc)
        .during("starting the time server")?;
    Ok(Some(TimeSource {
        server,
        tls_name: role.tls_name.clone(),
        certificate: files.pem("time", &party.certificate_pem())?,
    }))
}

fn start_active_emt(
    party: &Party,
    gateway: &CertificateDer<'static>,
    tap: &Arc<dyn Tap>,
) -> Result<ActiveEmt, BringUpError> {
    let profile = TlsProfile::emt_server();
    let tls = ServerTls::new(party, &profile, std::slice::from_ref(gateway))
        .during("setting up the active EMT's TLS")?;
    ActiveEmt::start(tls, Arc::clone(tap)).during("starting the active EMT")
}

/// The network between emulated boards, if the rig has one.
fn start_wire(
    rig: &Rig,
    planned: &[Planned],
    directory: &Path,
    trace: &Trace,
) -> Result<Option<BoardNetwork>, BringUpError> {
    let wire = rig.resources.values().find_map(|resource| match resource {
        Resource::Wire(wire) => Some(wire),
        _ => None,
    });
    let Some(described) = wire else {
        return Ok(None);
    };
    // An emulated gateway brings the way to the bench with it; one on this computer is reached by that way.
    let gateway = gateway_plugs(rig, directory);
    let uplink = gateway.is_none().then(|| bench_plug(directory));
    let plugs: Vec<_> = planned
        .iter()
        .filter_map(|board| board.plug(rig, directory))
        .chain(
            gateway
                .into_iter()
                .flat_map(|plugs| [plugs.card, plugs.bench]),
        )
        .chain(uplink.clone())
        .collect();
    let wire = Wire::start(
        plugs,
        described.seed.unwrap_or(1),
        WireTap::new(trace.ethernet("CLS wire")),
    )
    .during("starting the network between the boards")?;
    for port in wire.ports() {
        wire.impair(port, described.impairments());
    }
    let uplink = uplink.map(|plug| {
        let netdev = plug.qemu_netdev(Uplink::WIRE);
        Uplink::start(
            &boards::user_network(),
            &netdev,
            &directory.join("uplink.log"),
        )
    });
    Ok(Some(BoardNetwork {
        _uplink: uplink
            .transpose()
            .during("joining the boards' network to this computer")?,
        wire,
        usual: described.impairments(),
    }))
}

fn tap(trace: &Trace, leg: &str) -> Arc<dyn Tap> {
    Arc::new(NetworkTap::new(trace.clone(), leg))
}

fn han(files: &Files<'_>, parties: &Parties) -> Result<HanConfig, BringUpError> {
    let mut user = Vec::new();
    for consumer in &parties.consumers {
        user.push(HanUser {
            id: consumer.party.name().to_owned(),
            role: "con",
            certificate: files.pem(consumer.party.name(), &consumer.party.certificate_pem())?,
            meters: consumer.meters.iter().map(ToString::to_string).collect(),
        });
    }
    user.push(HanUser {
        id: parties.technician.name().to_owned(),
        role: "srv",
        certificate: files.pem("technician", &parties.technician.certificate_pem())?,
        meters: Vec::new(),
    });
    Ok(HanConfig {
        listen: LOOPBACK,
        user,
    })
}

/// Certificates the gateway's configuration names; they lie beside it, wherever that is.
struct Files<'a> {
    dir: &'a Path,
    written: RefCell<BTreeSet<PathBuf>>,
}

impl Files<'_> {
    fn pem(&self, name: &str, pem: &str) -> Result<PathBuf, BringUpError> {
        self.text(&format!("{name}.pem"), pem)
    }

    fn text(&self, name: &str, text: &str) -> Result<PathBuf, BringUpError> {
        let file = PathBuf::from(name);
        write_private(&self.dir.join(&file), text.as_bytes())
            .during("writing the gateway's files")?;
        self.written.borrow_mut().insert(file.clone());
        Ok(file)
    }
}
