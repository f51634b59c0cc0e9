// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS 1.3 with brainpool (RFC 8734) in both roles against pyOpenSSL, whose wheels bring an OpenSSL newer than 3.2.
//!
//! `SMGW_BENCH_PYTHON` names the interpreter that has it; by default `python3`.

use std::path::PathBuf;
use std::process::Command;

use hsm_pkcs11::softhsm::in_child;
use hsm_tls::TlsProfile;

use crate::openssl::{Foreign, call_one, serve_one};
use crate::party::{PIN, Party};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pyopenssl.py");
const SUITES: [(&str, u16); 2] = [
    ("TLS_AES_128_GCM_SHA256", 0x1301),
    ("TLS_AES_256_GCM_SHA384", 0x1302),
];

/// The interpreter, if it has pyOpenSSL.
fn python() -> Option<PathBuf> {
    let python: PathBuf = std::env::var_os("SMGW_BENCH_PYTHON")
        .unwrap_or_else(|| "python3".into())
        .into();
    let probe = Command::new(&python)
        .args(["-c", "import OpenSSL.SSL, cryptography"])
        .output();
    let found = probe.is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: {} has no pyOpenSSL", python.display());
    }
    found.then_some(python)
}

#[test]
fn tls13_client_reaches_token_server() {
    let Some(python) = python() else { return };
    in_child(
        "pyopenssl::tls13_client_reaches_token_server",
        &["t"],
        PIN,
        |library| {
            let gateway = Party::token(&library, "gateway");
            for (suite, number) in SUITES {
                let foreign = Foreign::new(&gateway);
                let profile = TlsProfile::smgw_han_server().only_suite(number);
                let (ours, theirs) = serve_one(&gateway, &foreign.leaf, &profile, |address| {
                    let port = address.rsplit(':').next().unwrap();
                    let args = [
                        SCRIPT,
                        "client",
                        port,
                        suite,
                        "foreign.pem",
                        "foreign.key",
                        "ours.pem",
                    ];
                    foreign.spawn(&python, &args)
                });
                println!("{theirs}");
                assert_eq!(ours, Ok(()), "{theirs}");
                let report = format!("TLSv1.3 {suite} brainpoolP256r1tls13 CN=gateway");
                assert!(
                    theirs.contains(&report) && theirs.contains("pong"),
                    "{theirs}"
                );
            }
        },
    );
}

#[test]
fn token_client_reaches_tls13_server() {
    let Some(python) = python() else { return };
    in_child(
        "pyopenssl::token_client_reaches_tls13_server",
        &["t"],
        PIN,
        |library| {
            let gateway = Party::token(&library, "gateway");
            for (suite, _) in SUITES {
                let foreign = Foreign::new(&gateway);
                let args = [
                    SCRIPT,
                    "server",
                    "0",
                    suite,
                    "foreign.pem",
                    "foreign.key",
                    "ours.pem",
                ];
                let server = foreign.spawn(&python, &args);
                call_one(&gateway, &foreign, &TlsProfile::smgw_wan_client(), server);
            }
        },
    );
}
