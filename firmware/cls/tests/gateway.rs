// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device through the proxy of the reference gateway to a market participant: real sockets behind an Ethernet cable in
//! memory.

#[path = "world/proxy.rs"]
mod proxy;
mod world;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_api::Curve;
use hsm_tls::TlsProfile;
use proxy::Gateway;
use rustls::pki_types::ServerName;
use smgw::cls::Proxy;
use smgw::config::Profile;
use smgw::stop::Stop;
use smgw_cls::command::{Command, Report, State};
use smgw_cls::limiter::Mode;
use smgw_cls::settings::{KeyCurve, Settings};
use smgw_peers::net::{Emt, EmtConnection, EmtMode, EmtPhase, NoTap, Party, ServerTls};
use tokio::net::TcpListener;
use world::{Host, Parts, Relay};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_participant_reaches_the_device_through_the_gateway() {
    let cases = [
        (
            Curve::BrainpoolP256r1,
            KeyCurve::BrainpoolP256r1,
            TlsProfile::smgw_cls_server(),
        ),
        (
            Curve::NistP256,
            KeyCurve::NistP256,
            TlsProfile::smgw_cls_server().only_tls13(),
        ),
        (
            Curve::BrainpoolP384r1,
            KeyCurve::BrainpoolP256r1,
            TlsProfile::smgw_cls_server().only_tls12(),
        ),
    ];
    for (curve, key, profile) in cases {
        let gateway = Gateway::new(curve);
        let settings = world::settings(gateway.certificate(), key);
        let participant = Party::new(world::NAME).unwrap();
        let clients = [gateway.certificate().clone()];
        let tls = ServerTls::new(&participant, &TlsProfile::emt_server(), &clients).unwrap();
        let emt = Emt::start(tls, Arc::new(NoTap)).unwrap();
        let limit = Command::Limit {
            watts: 5_500,
            seconds: None,
        };
        let commands = [
            Command::Heartbeat,
            limit,
            Command::Echo(b"there and back".to_vec()),
        ];
        let script: Vec<u8> = commands.iter().flat_map(Command::encode).collect();
        emt.set_mode(EmtMode::Script(script.into()));

        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Proxy {
            tls: gateway.config(&settings.certificate, &profile),
            profiles: vec![(
                row(&settings, &participant, emt.addr()),
                gateway.towards(participant.certificate()),
            )],
            handshake_timeout: Duration::from_secs(30),
            defects: Default::default(),
        };
        let (stop, stopping) = Stop::new();
        runtime.spawn(proxy.run(listener, stopping));

        let relay = Relay::default();
        let (connection, mode) = drive(&settings, relay.clone(), address, &emt);
        stop.stop();
        assert_eq!(mode, Mode::Limited);
        assert_eq!(relay.0.get(), Some(false));
        let reports = reports(&connection.received_head);
        assert!(
            matches!(reports[0], Report::Hello { version: 1, .. }),
            "{reports:?}"
        );
        let modes: Vec<_> = reports.iter().filter_map(shown).collect();
        assert_eq!(
            modes,
            [
                (Mode::Init, Some(4_200)),
                (Mode::Init, Some(4_200)),
                (Mode::Limited, Some(5_500)),
            ]
        );
        assert_eq!(
            reports.last(),
            Some(&Report::Echoed(b"there and back".to_vec()))
        );
    }
}

fn row(settings: &Settings, participant: &Party, emt: SocketAddr) -> Profile {
    Profile {
        local_server_name: settings.server_name.clone(),
        cls_certificate: settings.certificate.clone().into(),
        wan_peer_address: emt,
        wan_tls_sni: ServerName::try_from(world::NAME).unwrap(),
        emt_certificate: participant.certificate().clone(),
        connect_timeout: Duration::from_secs(10),
    }
}

/// Carries octets between cable and socket until the participant's connection is over.
fn drive(settings: &Settings, relay: Relay, proxy: SocketAddr, emt: &Emt) -> (EmtConnection, Mode) {
    let (near, far) = world::cable();
    let mut device = Parts::default().device(relay, near, settings);
    let mut host = Host::new(far);
    let start = Instant::now();
    let mut socket: Option<TcpStream> = None;
    let mut to_device = Vec::new();
    while start.elapsed() < PATIENCE {
        let now = start.elapsed().as_millis() as u64;
        device.poll(now);
        host.poll(now);
        if host.is_connected() && socket.is_none() {
            let stream = TcpStream::connect(proxy).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            socket = Some(stream);
        }
        if let Some(stream) = &mut socket {
            let octets = host.receive();
            if !octets.is_empty() {
                let _ = stream.write_all(&octets);
            }
            let mut octets = [0; 4096];
            match stream.read(&mut octets) {
                Ok(0) => host.close(),
                Ok(len) => to_device.extend_from_slice(&octets[..len]),
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ),
                    "{error}"
                ),
            }
            host.send(&mut to_device);
        }
        let over = |connection: &EmtConnection| matches!(connection.phase, EmtPhase::Ended(_));
        if let Some(connection) = emt.connections().into_iter().find(over) {
            return (connection, device.limiter().mode());
        }
    }
    panic!(
        "the participant's connection did not end: {:?}",
        emt.connections()
    );
}

fn reports(mut octets: &[u8]) -> Vec<Report> {
    let mut reports = Vec::new();
    while let Some((report, taken)) = Report::parse(octets).unwrap() {
        reports.push(report);
        octets = &octets[taken..];
    }
    assert!(octets.is_empty());
    reports
}

fn shown(report: &Report) -> Option<(Mode, Option<u32>)> {
    match report {
        Report::State(State { mode, watts, .. }) => Some((*mode, *watts)),
        _ => None,
    }
}
