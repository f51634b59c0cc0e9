// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway takes its time from a server inside TLS, and tells it on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hsm_tls::{PinnedPeers, TlsProfile};
use rustls::{ServerConnection, StreamOwned};
use smgw_ntp::{Client, ClientRules, LEN, ServerState, answer};
use smgw_units::{Nanos, UtcNanos};

use crate::on_rig;
use crate::rig::{Gateway, PATIENCE, Rig, refusing_address, until};

/// What the time server is ahead of this machine.
const AHEAD: i64 = 7_200_000_000_000;

fn now() -> UtcNanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcNanos(since.as_nanos() as i64 + AHEAD)
}

/// A time server that presents the EMT's certificate.
fn time_server(rig: &Rig) -> SocketAddr {
    let clients = PinnedPeers::new([rig.gateway.clone()]);
    let profile = TlsProfile::gwa_server();
    let config =
        hsm_tls::server_config(rig.soft.clone(), &profile, rig.emt.clone(), clients).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(tls, connection.unwrap());
            let mut question = [0; LEN];
            while tls.read_exact(&mut question).is_ok() {
                let received = now();
                let state = ServerState::primary(*b"PTB\0");
                let octets = answer(&question, received, now(), &state).unwrap();
                tls.write_all(&octets).and_then(|()| tls.flush()).unwrap();
            }
        }
    });
    address
}

#[test]
fn the_time_comes_from_the_server_and_is_told_on() {
    on_rig(
        "time::the_time_comes_from_the_server_and_is_told_on",
        |rig| {
            let path = rig.configure(900, "", refusing_address());
            let text = std::fs::read_to_string(&path).unwrap();
            let time = format!(
                "[time]\nserver = \"{}\"\ntls-name = \"time.example\"\ncertificate = \"emt.pem\"\n\
             serve = \"127.0.0.1:0\"\npoll-interval = \"1s\"\nrehearsal = true\n",
                time_server(&rig)
            );
            std::fs::write(&path, text + &time).unwrap();
            let gateway = Gateway::start(&path, None);
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.connect(gateway.time.unwrap()).unwrap();
            let told = until("the gateway has the time", || {
                let began = Instant::now();
                let mut client = Client::new(ClientRules::default());
                socket.send(&client.ask(*b"question", Nanos(0))).unwrap();
                let mut octets = [0; LEN + 1];
                let len = socket.recv(&mut octets).unwrap();
                // Ignored as long as the gateway says that it has no time.
                let at = Nanos(began.elapsed().as_nanos() as u64);
                client.judge(&octets[..len], at).ok()
            });
            assert_eq!(told.stratum, 2);
            let behind = now().signed_since(told.utc);
            assert!(
                behind.unsigned_abs() < PATIENCE.as_nanos() as u64,
                "{behind}"
            );
        },
    );
}
