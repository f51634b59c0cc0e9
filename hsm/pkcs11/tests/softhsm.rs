// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PKCS#11 back-end against SoftHSM2. Each test has its own process and token, see `softhsm::in_child`.

use std::path::Path;
use std::sync::Arc;

use hsm_api::{Curve, Fault, KeyId, KeyUsage, SecurityModule};
use hsm_pkcs11::softhsm::{in_child, in_child_with};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector, spy, tokens};

const PIN: &str = "1234567890";

fn config(library: &Path, label: &str, pin: &str) -> Pkcs11Config {
    Pkcs11Config {
        sessions: 2,
        ..Pkcs11Config::new(library, TokenSelector::Label(label.into()), Pin::new(pin))
    }
}

fn open(library: &Path, label: &str) -> Pkcs11Module {
    Pkcs11Module::open(config(library, label, PIN)).unwrap()
}

#[test]
fn keys_survive_reopening() {
    in_child("keys_survive_reopening", &["a"], PIN, |library| {
        let key = KeyId::from("gw-tls");
        let module = open(&library, "a");
        let made = module
            .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
            .unwrap();
        drop(module);
        let module = open(&library, "a");
        assert_eq!(module.public_key(&key).unwrap(), made);
        let signature = module.sign_digest(&key, &[7; 32]).unwrap();
        assert!(hsm_soft::verify(&made, &[7; 32], &signature).unwrap());
        // Two openings of one token live side by side, and one's end does not end the other.
        let second = open(&library, "a");
        drop(module);
        assert!(second.sign_digest(&key, &[7; 32]).is_ok());
        // An ephemeral key outlives the handle it came from.
        let ephemeral = second.ephemeral_key(Curve::BrainpoolP256r1).unwrap();
        drop(second);
        assert!(ephemeral.agree(&made.point).is_ok());
    });
}

#[test]
fn wrong_pin_is_the_modules_refusal_and_not_retried() {
    in_child(
        "wrong_pin_is_the_modules_refusal_and_not_retried",
        &["a"],
        PIN,
        |library| {
            let error = Pkcs11Module::open(config(&library, "a", "0000000000")).unwrap_err();
            assert_eq!(error.fault(), Fault::Module);
            let text = error.to_string();
            assert!(
                text.contains("refused the PIN") && text.contains("not tried again"),
                "{text}"
            );
            assert!(!text.contains("0000000000"), "the PIN shows: {text}");
            // The failed opening leaves nothing behind that would spoil the next.
            open(&library, "a");
        },
    );
}

/// Between us and the token stands OpenSC's spy, which writes down every call.
#[test]
fn one_opening_logs_in_once() {
    let environment = |folder: &Path, library: &Path| {
        vec![
            (spy::LIBRARY_VARIABLE, library.to_owned()),
            (spy::LOG_VARIABLE, folder.join("spy.log")),
        ]
    };
    in_child_with("one_opening_logs_in_once", &["a"], PIN, environment, |_| {
        let Some(spy) = spy::installed() else {
            println!("SKIPPED: opensc's pkcs11-spy is not installed");
            return;
        };
        // Refused calls count here, too.
        let count = |call: &str| {
            let log = std::fs::read_to_string(std::env::var_os(spy::LOG_VARIABLE).unwrap());
            let log = log.unwrap();
            log.lines().filter(|line| line.ends_with(call)).count()
        };
        Pkcs11Module::open(config(&spy, "a", "0000000000")).unwrap_err();
        assert_eq!(count(": C_Login"), 1, "the wrong PIN was tried again");
        assert_eq!(count(": C_Finalize"), 1);

        let module = Pkcs11Module::open(Pkcs11Config {
            sessions: 3,
            ..config(&spy, "a", PIN)
        })
        .unwrap();
        assert_eq!(count(": C_Login"), 2, "one login serves all sessions");
        assert_eq!(count(": C_Initialize"), 2);
        drop(module);
        assert_eq!(count(": C_OpenSession"), count(": C_CloseSession"));
        assert_eq!(count(": C_Finalize"), 2);
    });
}

#[test]
fn missing_token_names_those_that_exist() {
    in_child(
        "missing_token_names_those_that_exist",
        &["a", "b"],
        PIN,
        |library| {
            let error = Pkcs11Module::open(config(&library, "c", PIN)).unwrap_err();
            assert_eq!(error.fault(), Fault::Transport);
            let text = error.to_string();
            assert!(
                text.contains("\"c\"") && text.contains("\"a\"") && text.contains("\"b\""),
                "{text}"
            );

            let found = tokens(&library).unwrap();
            let mut labels: Vec<&str> = found.iter().map(|token| token.label.as_str()).collect();
            labels.sort_unstable();
            assert_eq!(labels, ["a", "b"]);
            assert!(
                found.iter().all(
                    |token| token.manufacturer == "SoftHSM project" && !token.serial.is_empty()
                )
            );

            let by_serial = TokenSelector::Serial(found[0].serial.clone());
            let module = Pkcs11Module::open(Pkcs11Config {
                token: by_serial,
                ..config(&library, "", PIN)
            })
            .unwrap();
            assert_eq!(module.token(), &found[0]);
        },
    );
}

#[test]
fn missing_library_is_named() {
    let error = Pkcs11Module::open(config(Path::new("/nowhere/token.so"), "a", PIN)).unwrap_err();
    assert_eq!(error.fault(), Fault::Transport);
    assert!(error.to_string().contains("/nowhere/token.so"), "{error}");
    // A file that is no library at all.
    let error = tokens(Path::new("/etc/passwd"));
    assert_eq!(error.unwrap_err().fault(), Fault::Transport);
}

#[test]
fn more_threads_than_sessions_take_turns() {
    in_child(
        "more_threads_than_sessions_take_turns",
        &["a"],
        PIN,
        |library| {
            let module = Arc::new(open(&library, "a"));
            let key = KeyId::from("k");
            let public = module
                .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
                .unwrap();
            std::thread::scope(|scope| {
                for thread in 0..6u8 {
                    let (module, key, public) = (Arc::clone(&module), &key, &public);
                    scope.spawn(move || {
                        for round in 0..10u8 {
                            let digest = [thread ^ (round << 4); 32];
                            let signature = module.sign_digest(key, &digest).unwrap();
                            assert!(module.verify_digest(public, &digest, &signature).unwrap());
                            let ephemeral = module.ephemeral_key(Curve::BrainpoolP256r1).unwrap();
                            ephemeral.agree(&public.point).unwrap();
                        }
                    });
                }
            });
        },
    );
}

#[test]
fn zero_sessions_are_the_callers_mistake() {
    in_child(
        "zero_sessions_are_the_callers_mistake",
        &["a"],
        PIN,
        |library| {
            let error = Pkcs11Module::open(Pkcs11Config {
                sessions: 0,
                ..config(&library, "a", PIN)
            })
            .unwrap_err();
            assert_eq!(error.fault(), Fault::Caller);
        },
    );
}
