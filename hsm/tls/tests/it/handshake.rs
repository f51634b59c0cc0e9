// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is negotiated, and that it carries data.

use std::io::{Read, Write};
use std::sync::Arc;

use hsm_pkcs11::softhsm::in_child;
use hsm_tls::{PinnedPeers, TlsProfile, client_config, provider};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{Acceptor, ServerSessionMemoryCache};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, ServerConfig};

use crate::party::{Ends, PIN, Party};

/// Version, suite and group that each narrowing must lead to.
fn rows() -> [(TlsProfile, ProtocolVersion, u16, u16); 5] {
    let client = TlsProfile::han_client;
    let (tls12, tls13) = (ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3);
    [
        (client(), tls13, 0x1301, 31),
        (client().only_tls13().only_suite(0x1302), tls13, 0x1302, 31),
        (client().only_tls12(), tls12, 0xC02B, 26),
        (client().only_suite(0xC02B), tls12, 0xC02B, 26),
        (client().only_suite(0xC02C), tls12, 0xC02C, 26),
    ]
}

fn check_rows(server: &Party, client: &Party) {
    for (profile, version, suite, group) in rows() {
        let mut ends = Ends::connect(
            client.client(&profile, server),
            server.server(&TlsProfile::smgw_han_server(), client),
        );
        ends.assert_connected();
        let side = |end: &rustls::CommonState| {
            (
                end.protocol_version(),
                end.negotiated_cipher_suite()
                    .map(|suite| u16::from(suite.suite())),
                end.negotiated_key_exchange_group()
                    .map(|group| u16::from(group.name())),
                end.handshake_kind(),
            )
        };
        let expected = (
            Some(version),
            Some(suite),
            Some(group),
            Some(HandshakeKind::Full),
        );
        assert_eq!(side(&ends.client), expected);
        assert_eq!(side(&ends.server), expected);
        assert_eq!(ends.server.peer_certificates(), Some(&[client.leaf()][..]));
        assert_eq!(ends.client.peer_certificates(), Some(&[server.leaf()][..]));
        assert_eq!(ends.server.server_name(), Some("gateway.example"), "SNI");

        ends.client.writer().write_all(b"ping").unwrap();
        ends.server.writer().write_all(b"pong").unwrap();
        ends.pump();
        let mut data = [0; 4];
        ends.server.reader().read_exact(&mut data).unwrap();
        assert_eq!(&data, b"ping");
        ends.client.reader().read_exact(&mut data).unwrap();
        assert_eq!(&data, b"pong");
    }
}

#[test]
fn token_serves_software() {
    in_child("handshake::token_serves_software", &["t"], PIN, |library| {
        check_rows(&Party::token(&library, "gateway"), &Party::soft("consumer"));
    });
}

#[test]
fn software_serves_token() {
    in_child("handshake::software_serves_token", &["t"], PIN, |library| {
        check_rows(&Party::soft("emt"), &Party::token(&library, "gateway"));
    });
}

#[test]
fn software_serves_software() {
    check_rows(&Party::soft("gateway"), &Party::soft("consumer"));
}

/// Each end meets one that would resume, twice with the same configurations: every handshake is a full one.
#[test]
fn nothing_is_resumed() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let ours = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
    let mut willing_server = (*ours).clone();
    willing_server.session_storage = ServerSessionMemoryCache::new(8);
    willing_server.send_tls13_tickets = 2;
    let willing_server = Arc::new(willing_server);
    for profile in [
        TlsProfile::han_client().only_tls12(),
        TlsProfile::han_client().only_tls13(),
    ] {
        let client = consumer.client(&profile, &gateway);
        let mut willing_client = (*client).clone();
        willing_client.resumption = Resumption::in_memory_sessions(8);
        let willing_client = Arc::new(willing_client);
        let kinds = |client: &Arc<ClientConfig>, server: &Arc<ServerConfig>| {
            [(); 2].map(|()| {
                let ends = Ends::connect(Arc::clone(client), Arc::clone(server));
                ends.assert_connected();
                ends.client.handshake_kind()
            })
        };
        let full = Some(HandshakeKind::Full);
        assert_eq!(kinds(&client, &willing_server), [full, full]);
        assert_eq!(kinds(&willing_client, &ours), [full, full]);
        // Two willing ends do resume, so the checks above see something.
        assert_eq!(
            kinds(&willing_client, &willing_server),
            [full, Some(HandshakeKind::Resumed)]
        );
    }
}

/// TR-03116-3 §4: anything not listed must not be offered.
#[test]
fn client_hello_offers_only_what_is_listed() {
    const RENEGOTIATION_INFO_SCSV: u16 = 0x00FF;
    let (gateway, emt) = (Party::soft("gateway"), Party::soft("emt"));
    for (profile, suites, groups, schemes) in [
        (
            TlsProfile::smgw_wan_client(),
            vec![
                0x1301,
                0x1302,
                0x1304,
                0xC02B,
                0xC02C,
                RENEGOTIATION_INFO_SCSV,
            ],
            vec![31, 26, 32, 27, 33, 28, 23, 24],
            vec![0x081A, 0x081B, 0x081C, 0x0403, 0x0503, 0x0603],
        ),
        (
            TlsProfile::smgw_wan_client().only_tls12(),
            vec![0xC02B, 0xC02C, RENEGOTIATION_INFO_SCSV],
            vec![26, 27, 28, 23, 24],
            vec![0x0403, 0x0503, 0x0603],
        ),
        (
            TlsProfile::smgw_wan_client().only_tls13(),
            vec![0x1301, 0x1302, 0x1304],
            vec![31, 32, 33, 23, 24],
            vec![0x081A, 0x081B, 0x081C, 0x0403, 0x0503],
        ),
    ] {
        let name = ServerName::try_from("emt.example").unwrap();
        let mut connection = ClientConnection::new(gateway.client(&profile, &emt), name).unwrap();
        let mut wire = Vec::new();
        connection.write_tls(&mut wire).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut wire.as_slice()).unwrap();
        let accepted = acceptor
            .accept()
            .unwrap_or_else(|_| panic!("bad hello"))
            .unwrap();
        let hello = accepted.client_hello();
        let offered: Vec<u16> = hello
            .cipher_suites()
            .iter()
            .map(|suite| u16::from(*suite))
            .collect();
        assert_eq!(offered, suites);
        let offered: Vec<u16> = hello
            .named_groups()
            .unwrap()
            .iter()
            .map(|group| u16::from(*group))
            .collect();
        assert_eq!(offered, groups);
        let offered: Vec<u16> = hello
            .signature_schemes()
            .iter()
            .map(|scheme| u16::from(*scheme))
            .collect();
        assert_eq!(offered, schemes);
        assert_eq!(hello.server_name(), Some("emt.example"));
        assert!(hello.alpn().is_none());
    }
}

/// The parts that rustls keeps for ever must not keep the module open.
#[test]
fn module_closes_with_its_last_configuration() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let weak = Arc::downgrade(&gateway.module);
    let server = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
    let anonymous = client_config(
        Arc::clone(&gateway.module),
        &TlsProfile::han_client(),
        None,
        PinnedPeers::default(),
    );
    let provider = provider(&gateway.module, &TlsProfile::smgw_han_server()).unwrap();
    drop(gateway);
    provider.secure_random.fill(&mut [0; 8]).unwrap();
    drop(server);
    assert!(
        weak.upgrade().is_some(),
        "a client configuration without identity still needs the module"
    );
    drop(anonymous);
    assert!(weak.upgrade().is_none(), "the module is still open");
    assert!(provider.secure_random.fill(&mut [0; 8]).is_err());
    assert!(provider.kx_groups[0].start().is_err());
}

/// Hashing, key derivation and records in Rust alone against those of *ring*: every suite, either side.
#[test]
fn portable_suites_speak_with_ring() {
    let (gateway, device) = (Party::soft("gateway.example"), Party::soft("cls"));
    for suite in TlsProfile::cls_client().with_cbc().suites() {
        let client = TlsProfile::cls_client().with_cbc().only_suite(suite);
        let server = TlsProfile::smgw_cls_server().with_cbc().only_suite(suite);
        for (client, server) in [
            (client.clone().portable(), server.clone()),
            (client, server.portable()),
        ] {
            let mut ends = Ends::connect(
                device.client(&client, &gateway),
                gateway.server(&server, &device),
            );
            ends.assert_connected();
            for len in [1, 15, 16, 17, 1_000, 16_384, 20_000] {
                let data = vec![len as u8; len];
                ends.client.writer().write_all(&data).unwrap();
                ends.server.writer().write_all(&data).unwrap();
                ends.pump();
                let (mut there, mut back) = (vec![0; len], vec![0; len]);
                ends.server.reader().read_exact(&mut there).unwrap();
                ends.client.reader().read_exact(&mut back).unwrap();
                assert_eq!((&there, &back), (&data, &data), "{suite:04x}");
            }
        }
    }
}
