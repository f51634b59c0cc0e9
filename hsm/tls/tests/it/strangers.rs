// SPDX-License-Identifier: MIT OR Apache-2.0
//! What OpenSSL offers and TR-03116-3 does not list is refused, and OpenSSL sees the right alert.

use std::io::{Read, Write};
use std::net::Shutdown;

use hsm_api::Curve;
use hsm_tls::{PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, ServerConnection};

use crate::party::Party;
use crate::peer::{Foreign, Python, accept, connect, listen, openssl_present};

/// Our server for one client; what it made of it, and whether any data came through.
fn serve(
    gateway: &Party,
    known: &CertificateDer<'static>,
    profile: &TlsProfile,
    listener: &std::net::TcpListener,
) -> (Result<(), String>, Vec<u8>) {
    let pinned = PinnedPeers::new([known.clone()]);
    let config = server_config(
        gateway.module.clone(),
        profile,
        gateway.identity.clone(),
        pinned,
    )
    .unwrap();
    let mut connection = ServerConnection::new(config).unwrap();
    let mut stream = accept(listener);
    let mut data = [0; 64];
    let outcome = rustls::Stream::new(&mut connection, &mut stream).read(&mut data);
    while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
    let _ = stream.shutdown(Shutdown::Write);
    // The peer may still be writing; a reset would take the alert away from it.
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
    match outcome {
        Ok(count) => (Ok(()), data[..count].to_vec()),
        Err(error) => (Err(error.to_string()), Vec::new()),
    }
}

#[test]
fn strange_clients_are_refused() {
    if !openssl_present() {
        return;
    }
    let gateway = Party::soft("gateway");
    let ours = [gateway.leaf()];
    let foreign = Foreign::new(Curve::BrainpoolP256r1, &ours);
    let stranger = Foreign::new(Curve::BrainpoolP256r1, &ours);
    let old = Foreign::new(Curve::BrainpoolP256r1, &ours).without_ems();
    let rsa = Foreign::rsa(&ours);
    let own = ["-cert", "foreign.pem", "-key", "foreign.key"];
    let tls12 = ["-tls1_2", "-groups", "brainpoolP256r1"];
    let failure = "alert handshake failure";
    let (listener, port) = listen();
    for (why, client, args, alert) in [
        (
            "CBC suite",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"][..],
            failure,
        ),
        (
            "ChaCha20",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"],
            failure,
        ),
        (
            "CCM of TLS 1.2",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"],
            failure,
        ),
        (
            "suite with RSA",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"],
            failure,
        ),
        (
            "static RSA",
            &foreign,
            &["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
            failure,
        ),
        (
            "SHA-1 suite",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"],
            failure,
        ),
        (
            "X25519",
            &foreign,
            &["-tls1_2", "-groups", "X25519"],
            failure,
        ),
        ("P-521", &foreign, &["-tls1_2", "-groups", "P-521"], failure),
        (
            "X25519 in TLS 1.3",
            &foreign,
            &["-tls1_3", "-groups", "X25519"],
            failure,
        ),
        (
            "P-521 in TLS 1.3",
            &foreign,
            &["-tls1_3", "-groups", "P-521"],
            failure,
        ),
        (
            "ChaCha20 in TLS 1.3",
            &foreign,
            &[
                "-tls1_3",
                "-groups",
                "P-256",
                "-ciphersuites",
                "TLS_CHACHA20_POLY1305_SHA256",
            ],
            failure,
        ),
        (
            "short CCM in TLS 1.3",
            &foreign,
            &[
                "-tls1_3",
                "-groups",
                "P-256",
                "-ciphersuites",
                "TLS_AES_128_CCM_8_SHA256",
            ],
            failure,
        ),
        (
            "SHA-1 signatures",
            &foreign,
            &[
                "-tls1_2",
                "-sigalgs",
                "ECDSA+SHA1",
                "-cipher",
                "ALL:@SECLEVEL=0",
            ],
            failure,
        ),
        (
            "RSA signatures",
            &foreign,
            &["-tls1_2", "-sigalgs", "RSA+SHA256"],
            failure,
        ),
        // rustls looks for signature_algorithms first, which TLS 1.1 does not have.
        (
            "TLS 1.1",
            &foreign,
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            failure,
        ),
        ("stranger", &stranger, &tls12, "alert certificate unknown"),
        // It has no key that we could verify, and so sends no certificate.
        ("RSA key", &rsa, &tls12, "alert certificate required"),
        ("no EMS", &old, &tls12, failure),
    ] {
        // Whoever comes, the gateway knows `foreign`; `old` it would know if it behaved.
        let known = if why == "no EMS" {
            &old.leaf
        } else {
            &foreign.leaf
        };
        let args = [args, &own[..]].concat();
        let client = client.client(port, &args, "data that must not pass\n");
        let (ours, data) = serve(&gateway, known, &TlsProfile::smgw_han_server(), &listener);
        let theirs = client.output();
        println!("{why}: {ours:?}");
        assert!(ours.is_err(), "{why}: {theirs}");
        assert!(theirs.contains(alert), "{why}: {theirs}");
        assert!(data.is_empty(), "{why}");
    }
    let client = foreign.client(port, &tls12, "data that must not pass\n");
    let (ours, data) = serve(
        &gateway,
        &foreign.leaf,
        &TlsProfile::smgw_han_server(),
        &listener,
    );
    assert!(ours.is_err() && data.is_empty());
    let theirs = client.output();
    assert!(theirs.contains("alert certificate required"), "{theirs}");
}

#[test]
fn strange_servers_are_refused() {
    if !openssl_present() {
        return;
    }
    let gateway = Party::soft("gateway");
    let ours = [gateway.leaf()];
    let foreign = Foreign::new(Curve::BrainpoolP256r1, &ours);
    let rsa = Foreign::rsa(&ours);
    let old = Foreign::new(Curve::BrainpoolP256r1, &ours).without_ems();
    let own = ["-cert", "foreign.pem", "-key", "foreign.key"];
    for (why, server, args) in [
        (
            "X25519",
            &foreign,
            &[
                "-tls1_2",
                "-groups",
                "X25519:brainpoolP256r1",
                "-cipher",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
            ][..],
        ),
        ("P-521", &foreign, &["-tls1_2", "-groups", "P-521"]),
        (
            "CBC",
            &foreign,
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
        ),
        ("RSA key", &rsa, &["-tls1_2"]),
        (
            "TLS 1.1",
            &foreign,
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        ),
        ("no EMS", &old, &["-tls1_2", "-groups", "brainpoolP256r1"]),
    ] {
        let (server, port) = server.server(&[args, &own[..]].concat());
        let pinned = PinnedPeers::new([foreign.leaf.clone(), old.leaf.clone()]);
        let profile = TlsProfile::smgw_wan_client();
        let own = Some(gateway.identity.clone());
        let config = client_config(gateway.module.clone(), &profile, own, pinned).unwrap();
        let name = ServerName::try_from("emt.example").unwrap();
        let mut connection = ClientConnection::new(config, name).unwrap();
        let mut stream = connect(port);
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let refused = tls
            .write_all(b"data that must not pass\n")
            .and_then(|()| tls.read(&mut [0; 8]).map(drop));
        println!("{why}: {:?}", refused.as_ref().err());
        assert!(refused.is_err(), "{why}");
        assert!(connection.is_handshaking(), "{why}");
        while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
        drop(server);
    }
}

/// TR-03116-3 §4.1.6: renegotiation is forbidden; rustls answers it with `no_renegotiation` and stays as it is.
#[test]
fn renegotiation_is_refused() {
    if !openssl_present() {
        return;
    }
    let gateway = Party::soft("gateway");
    let foreign = Foreign::new(Curve::BrainpoolP256r1, &[gateway.leaf()]);
    let (listener, port) = listen();
    let args = [
        "-tls1_2",
        "-groups",
        "brainpoolP256r1",
        "-cert",
        "foreign.pem",
        "-key",
        "foreign.key",
    ];
    // `R` asks s_client to renegotiate.
    let client = foreign.client(port, &args, "R\n");
    let (ours, data) = serve(
        &gateway,
        &foreign.leaf,
        &TlsProfile::smgw_han_server(),
        &listener,
    );
    let theirs = client.output();
    println!("{ours:?}");
    assert!(data.is_empty());
    assert!(theirs.contains("RENEGOTIATING"), "{theirs}");
    assert!(theirs.contains("no renegotiation"), "{theirs}");
}

/// The keys of TLS 1.3 have one scheme each: a peer that does not take ours is told so.
#[test]
fn a_tls13_peer_without_our_scheme_gets_handshake_failure() {
    let Some(mut python) = Python::start() else {
        return;
    };
    let gateway = Party::soft("gateway");
    let foreign = Foreign::new(Curve::NistP256, &[gateway.leaf()]);
    let (listener, port) = listen();
    let file = |file: &str| foreign.path().join(file).display().to_string();
    python.order(&format!(
        r#"{{"role": "client", "port": {port}, "suite": "TLS_AES_128_GCM_SHA256", "groups": "P-256", "schemes": "ecdsa_secp256r1_sha256", "cert": "{}", "key": "{}", "ours": "{}"}}"#,
        file("foreign.pem"),
        file("foreign.key"),
        file("ours.pem")
    ));
    let profile = TlsProfile::smgw_han_server().only_tls13();
    let (ours, data) = serve(&gateway, &foreign.leaf, &profile, &listener);
    let theirs = python.answer();
    assert!(ours.is_err() && data.is_empty(), "{ours:?}");
    assert!(theirs.contains("handshake failure"), "{theirs}");
}
