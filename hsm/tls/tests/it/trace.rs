// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handshake asks of the token, as OpenSC's `pkcs11-spy` saw it: no private key leaves (TR-03116-3 §2.4).

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use hsm_pkcs11::softhsm::in_child_with;
use hsm_pkcs11::spy::{self, Trace};
use hsm_tls::TlsProfile;

use crate::party::{Ends, PIN, Party};

const TEST: &str = "trace::handshakes_use_private_keys_in_the_token_only";

#[test]
fn handshakes_use_private_keys_in_the_token_only() {
    let environment = |folder: &Path, library: &Path| {
        vec![
            (spy::LIBRARY_VARIABLE, library.to_owned()),
            (spy::LOG_VARIABLE, folder.join("spy.log")),
        ]
    };
    in_child_with(TEST, &["t"], PIN, environment, |_| {
        let Some(spy) = spy::installed() else {
            println!("SKIPPED: opensc's pkcs11-spy is not installed");
            return;
        };
        let trace = || {
            let log = std::fs::read(std::env::var_os(spy::LOG_VARIABLE).unwrap()).unwrap();
            Trace::parse(&String::from_utf8_lossy(&log))
        };
        let consumer = Party::soft("consumer");
        let gateway = Party::token(&spy, "gateway");
        let before = trace();
        for profile in [
            TlsProfile::han_client().only_tls12(),
            TlsProfile::han_client().only_tls13(),
        ] {
            Ends::connect(
                consumer.client(&profile, &gateway),
                gateway.server(&TlsProfile::smgw_han_server(), &consumer),
            )
            .assert_connected();
            let client = gateway.client(&profile, &consumer);
            let server = consumer.server(&TlsProfile::smgw_han_server(), &gateway);
            Ends::connect(client, server).assert_connected();
        }
        let after = trace();
        println!("four mutual handshakes in the token:\n{after}");
        // In each the gateway makes an ephemeral key, agrees, signs, and verifies the peer's signature.
        for (function, least) in [
            ("C_GenerateKeyPair", 4),
            ("C_DeriveKey", 4),
            ("C_SignInit", 4),
            ("C_VerifyInit", 4),
            ("C_GenerateRandom", 4),
        ] {
            let grown = after.count(function) - before.count(function);
            assert!(grown >= least, "{function}: {grown}");
        }
        assert_eq!(after.key_pairs, before.key_pairs + 4);
        assert_eq!(after.refused_reads, 0, "nobody even tried");

        assert_eq!(read_private_keys(&spy), 1);
        let end = trace();
        assert!(end.refused_reads >= 1);
        assert_eq!(end.weak_private_keys, 0);
        assert_eq!(end.exposures, Vec::<String>::new());
    });
}

/// Tries to read every private key; returns how many the token refused, which must be all.
fn read_private_keys(library: &Path) -> usize {
    let context = Pkcs11::new(library).unwrap();
    // Initialised already by the module that is still open.
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    assert!(context.initialize(arguments).is_err());
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let session = context.open_ro_session(slot).unwrap();
    let logged_in = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
    assert!(
        logged_in.is_err(),
        "the module's login holds for the process"
    );
    let keys = session
        .find_objects(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Token(true),
        ])
        .unwrap();
    for key in &keys {
        let info = session.get_attribute_info(*key, &[AttributeType::Value]);
        assert!(
            matches!(info.unwrap().as_slice(), [AttributeInfo::Sensitive]),
            "the token gives a private key away"
        );
    }
    keys.len()
}
