// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver does when a token fails: SoftHSM2 behind a library that fails on demand. Each test has a process
//! and a token of its own.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use hsm_api::{
    Checked, Curve, Fault, KeyId, KeyUsage, LifeCycle, ModuleError, ObjectId, Reason,
    SecurityModule,
};
use hsm_pkcs11::softhsm::{CONF_VARIABLE, in_child_with};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_soft::SoftModule;
use pkcs11_faults::Calls::{All, Nth};
use pkcs11_faults::{CONTROL_VARIABLE, Effect, Faults, LIBRARY_VARIABLE};

const PIN: &str = "1234567890";
const CURVE: Curve = Curve::BrainpoolP256r1;
const DIGEST: [u8; 32] = [7; 32];

// Return values by their numbers in PKCS#11 v2.40 (pkcs11t.h).
const GENERAL_ERROR: Effect = Effect::Answer(0x05);
const DEVICE_MEMORY: Effect = Effect::Answer(0x31);
const DEVICE_REMOVED: Effect = Effect::Answer(0x32);
const PIN_INCORRECT: Effect = Effect::Answer(0xa0);
const PIN_LOCKED: Effect = Effect::Answer(0xa4);
const TOKEN_NOT_PRESENT: Effect = Effect::Answer(0xe0);

/// A token with a signing and an agreement key, and power over its faults.
struct Bench {
    module: Arc<Pkcs11Module>,
    faults: Faults,
    sign: KeyId,
    agree: KeyId,
}

type Operation<'a> = Box<dyn Fn() -> Result<(), ModuleError> + 'a>;

/// Runs `body` on a bench whose configuration is the usual one after `change`.
fn with_bench(
    test: &str,
    change: impl FnOnce(Pkcs11Config) -> Pkcs11Config,
    body: impl FnOnce(&Bench),
) {
    let environment = |folder: &std::path::Path, library: &std::path::Path| {
        vec![
            (CONTROL_VARIABLE, folder.join("orders")),
            (LIBRARY_VARIABLE, library.to_owned()),
        ]
    };
    in_child_with(test, &["a"], PIN, environment, |_| {
        let bench = Bench {
            module: Arc::new(Pkcs11Module::open(change(config())).unwrap()),
            faults: Faults::of_this_process(),
            sign: "sign".into(),
            agree: "agree".into(),
        };
        let make = |key, usage| bench.module.generate_key(key, CURVE, usage).unwrap();
        make(&bench.sign, KeyUsage::Sign);
        make(&bench.agree, KeyUsage::Agree);
        body(&bench);
    });
}

/// One session, so that the order of calls is known, and no pause before a lost token is looked for.
fn config() -> Pkcs11Config {
    Pkcs11Config {
        sessions: 1,
        reopen_pause: Duration::ZERO,
        ..Pkcs11Config::new(
            pkcs11_faults::library(),
            TokenSelector::Label("a".into()),
            Pin::new(PIN),
        )
    }
}

fn unchanged(config: Pkcs11Config) -> Pkcs11Config {
    config
}

impl Bench {
    fn signs(&self) -> Result<(), ModuleError> {
        let signature = self.module.sign_digest(&self.sign, &DIGEST)?;
        let public = self.module.public_key(&self.sign)?;
        assert!(hsm_soft::verify(&public, &DIGEST, &signature).unwrap());
        Ok(())
    }

    /// The reason why signing fails, which is the way's fault.
    fn refusal(&self) -> Reason {
        self.signs().unwrap_err().reason()
    }

    /// Every operation, by name.
    fn operations(&self) -> Vec<(&'static str, Operation<'_>)> {
        let module = &self.module;
        let certificate = ObjectId::certificate("sign");
        let public = module.public_key(&self.agree).unwrap();
        let signer = module.public_key(&self.sign).unwrap();
        let signature = module.sign_digest(&self.sign, &DIGEST).unwrap();
        let (stored, removed) = (certificate.clone(), certificate.clone());
        let point = public.point.clone();
        vec![
            ("random", Box::new(|| module.random(&mut [0; 8]))),
            ("sign", Box::new(|| self.signs())),
            (
                "verify",
                Box::new(move || {
                    let good = module.verify_digest(&signer, &DIGEST, &signature)?;
                    assert!(good);
                    Ok(())
                }),
            ),
            (
                "agree",
                Box::new(move || module.agree_static(&self.agree, &point).map(drop)),
            ),
            (
                "ephemeral",
                Box::new(move || {
                    let key = module.ephemeral_key(CURVE)?;
                    key.agree(&public.point).map(drop)
                }),
            ),
            (
                "public key",
                Box::new(|| module.public_key(&self.sign).map(drop)),
            ),
            (
                "keys",
                Box::new(|| module.keys().map(|keys| assert_eq!(keys.len(), 2))),
            ),
            (
                "make a key",
                Box::new(|| {
                    module.generate_key(&"new".into(), CURVE, KeyUsage::Sign)?;
                    Ok(())
                }),
            ),
            (
                "remove a key",
                Box::new(|| module.remove_key(&"new".into())),
            ),
            (
                "store",
                Box::new(move || module.write_object(&stored, &[0x30, 0])),
            ),
            ("objects", Box::new(|| module.objects().map(drop))),
            (
                "read",
                Box::new(move || module.read_object(&certificate).map(drop)),
            ),
            ("remove", Box::new(move || module.remove_object(&removed))),
            ("phase", Box::new(|| module.life_cycle().map(drop))),
            (
                "enter",
                Box::new(|| module.enter_phase(LifeCycle::Operation)),
            ),
        ]
    }
}

#[test]
fn a_removed_device_is_opened_again() {
    with_bench("a_removed_device_is_opened_again", unchanged, |bench| {
        bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
        bench.signs().unwrap();
        assert_eq!(bench.faults.calls("C_Login"), 2, "one login per opening");
        assert_eq!(
            bench.faults.calls("C_OpenSession"),
            bench.faults.calls("C_CloseSession") + 1,
            "the lost session is closed"
        );
    });
}

/// Whatever call notices it, and however the token says it.
#[test]
fn every_operation_survives_the_loss_of_its_session() {
    const LOST: [u64; 8] = [0x32, 0xb0, 0xb3, 0xe0, 0xe1, 0x101, 0x03, 0x90];
    const CALLS: [&str; 10] = [
        "C_FindObjectsInit",
        "C_GenerateRandom",
        "C_SignInit",
        "C_VerifyInit",
        "C_CreateObject",
        "C_DestroyObject",
        "C_DeriveKey",
        "C_GetAttributeValue",
        "C_GenerateKeyPair",
        "C_GetSessionInfo",
    ];
    with_bench(
        "every_operation_survives_the_loss_of_its_session",
        unchanged,
        |bench| {
            let operations = bench.operations();
            let mut values = LOST.iter().cycle();
            let mut losses = vec![0; operations.len()];
            for call in CALLS {
                for ((name, operation), losses) in operations.iter().zip(&mut losses) {
                    let rv = *values.next().unwrap();
                    let logins = bench.faults.calls("C_Login");
                    bench.faults.order(call, Nth(1), Effect::Answer(rv));
                    match operation() {
                        // Only an ephemeral key is lost with its session.
                        Err(error) if *name == "ephemeral" => {
                            assert_eq!(error.reason(), Reason::Gone, "{call}, {rv:x}: {error}");
                        }
                        outcome => {
                            outcome
                                .unwrap_or_else(|error| panic!("{name}, {call}, {rv:x}: {error}"));
                        }
                    }
                    bench.faults.lift();
                    *losses += bench.faults.calls("C_Login") - logins;
                }
            }
            for ((name, _), losses) in operations.iter().zip(&losses) {
                println!("{name}: {losses} losses survived");
                assert!(*losses > 0, "{name} never lost its session");
            }
        },
    );
}

#[test]
fn a_replaced_session_keeps_its_keys_but_no_ephemeral_ones() {
    with_bench(
        "a_replaced_session_keeps_its_keys_but_no_ephemeral_ones",
        unchanged,
        |bench| {
            let ephemeral = bench.module.ephemeral_key(CURVE).unwrap();
            let unused = bench.module.ephemeral_key(CURVE).unwrap();
            bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
            bench.signs().unwrap();
            let point = bench.module.public_key(&bench.agree).unwrap().point;
            let before = bench.faults.all_calls();
            let error = ephemeral.agree(&point).unwrap_err();
            assert_eq!(
                (error.fault(), error.reason()),
                (Fault::Transport, Reason::Gone)
            );
            drop(unused);
            assert_eq!(
                bench.faults.all_calls(),
                before,
                "old handles reach the token"
            );
            let fresh = bench.module.ephemeral_key(CURVE).unwrap();
            fresh.agree(&point).unwrap();
        },
    );
}

#[test]
fn an_absent_token_is_left_alone_for_a_while() {
    let patient = |config| Pkcs11Config {
        reopen_pause: Duration::from_secs(3600),
        ..config
    };
    with_bench(
        "an_absent_token_is_left_alone_for_a_while",
        patient,
        |bench| {
            bench.signs().unwrap();
            bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
            bench.faults.order("C_OpenSession", All, TOKEN_NOT_PRESENT);
            assert_eq!(bench.refusal(), Reason::Gone);
            let before = bench.faults.all_calls();
            for _ in 0..100 {
                assert_eq!(bench.refusal(), Reason::Gone);
            }
            assert_eq!(
                bench.faults.all_calls(),
                before,
                "the absent token is hammered"
            );
        },
    );
}

#[test]
fn an_absent_token_that_comes_back_works() {
    with_bench(
        "an_absent_token_that_comes_back_works",
        unchanged,
        |bench| {
            bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
            bench.faults.order("C_OpenSession", All, TOKEN_NOT_PRESENT);
            for _ in 0..3 {
                let error = bench.signs().unwrap_err();
                assert_eq!(
                    (error.fault(), error.reason()),
                    (Fault::Transport, Reason::Gone)
                );
            }
            assert_eq!(
                bench.faults.calls("C_Login"),
                1,
                "an absent token sees no PIN"
            );
            bench.faults.lift();
            bench.signs().unwrap();
            assert_eq!(bench.faults.calls("C_Login"), 2);
        },
    );
}

/// The token's files are gone, so that the library must be started anew to see them again.
#[test]
fn a_token_pulled_out_and_put_back_works() {
    with_bench(
        "a_token_pulled_out_and_put_back_works",
        unchanged,
        |bench| {
            let conf = PathBuf::from(std::env::var_os(CONF_VARIABLE).unwrap());
            let tokens = conf.with_file_name("tokens");
            let token = fs::read_dir(&tokens)
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path();
            let drawer = conf.with_file_name("drawer");
            fs::rename(&token, &drawer).unwrap();
            bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
            for _ in 0..2 {
                assert_eq!(bench.refusal(), Reason::Gone);
            }
            assert!(bench.faults.calls("C_Initialize") > 1);
            fs::rename(&drawer, &token).unwrap();
            bench.signs().unwrap();
        },
    );
}

/// Some tokens open and then fail at once: that is no return.
#[test]
fn a_token_that_fails_whenever_it_works_is_left_alone() {
    let patient = |config| Pkcs11Config {
        reopen_pause: Duration::from_secs(3600),
        ..config
    };
    with_bench(
        "a_token_that_fails_whenever_it_works_is_left_alone",
        patient,
        |bench| {
            bench.faults.order("C_SignInit", All, DEVICE_REMOVED);
            for _ in 0..20 {
                assert_eq!(bench.refusal(), Reason::Gone);
            }
            assert_eq!(bench.faults.calls("C_Login"), 2);
        },
    );
}

#[test]
fn a_wrong_pin_is_tried_once() {
    with_bench("a_wrong_pin_is_tried_once", unchanged, |bench| {
        // Another login of this process must not hide the wrong PIN.
        let wrong = Pkcs11Config {
            pin: Pin::new("0000000000").into(),
            ..config()
        };
        bench.faults.order("C_Login", Nth(1), PIN_INCORRECT);
        let before = bench.faults.calls("C_Login");
        let error = Pkcs11Module::open(wrong).unwrap_err();
        assert_eq!(
            (error.fault(), error.reason()),
            (Fault::Module, Reason::PinRefused)
        );
        assert!(!error.to_string().contains("0000000000"), "{error}");
        assert_eq!(bench.faults.calls("C_Login"), before + 1);
    });
}

#[test]
fn a_pin_refused_after_a_return_is_never_tried_again() {
    with_bench(
        "a_pin_refused_after_a_return_is_never_tried_again",
        unchanged,
        |bench| {
            let operations = bench.operations();
            bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
            bench.faults.order("C_Login", Nth(1), PIN_INCORRECT);
            assert_eq!(bench.refusal(), Reason::PinRefused);
            assert_eq!(bench.faults.calls("C_Login"), 2);
            // Even a token that would take the PIN now is not asked.
            bench.faults.lift();
            let before = bench.faults.all_calls();
            for _ in 0..10 {
                for (name, operation) in &operations {
                    assert_eq!(
                        operation().unwrap_err().reason(),
                        Reason::PinRefused,
                        "{name}"
                    );
                }
            }
            assert_eq!(bench.faults.all_calls(), before, "the token is touched");
            Pkcs11Module::open(config()).unwrap();
        },
    );
}

#[test]
fn a_locked_pin_is_not_tried() {
    with_bench("a_locked_pin_is_not_tried", unchanged, |bench| {
        // CKF_USER_PIN_LOCKED is 0x0004_0000.
        let locked = Effect::Xor { at: 2, mask: 4 };
        bench.faults.order("C_GetTokenInfo", All, locked);
        bench.faults.order("C_SignInit", Nth(1), DEVICE_REMOVED);
        assert_eq!(bench.refusal(), Reason::PinLocked);
        assert_eq!(bench.faults.calls("C_Login"), 1);
        bench.faults.lift();
        assert_eq!(bench.refusal(), Reason::PinLocked);

        bench.faults.order("C_Login", Nth(1), PIN_LOCKED);
        let error = Pkcs11Module::open(config()).unwrap_err();
        assert_eq!(error.reason(), Reason::PinLocked);
    });
}

#[test]
fn a_slow_signature_keeps_nobody_waiting_for_ever() {
    let impatient = |config| Pkcs11Config {
        lease_timeout: Duration::from_millis(20),
        ..config
    };
    with_bench(
        "a_slow_signature_keeps_nobody_waiting_for_ever",
        impatient,
        |bench| {
            let before = bench.faults.calls("C_Sign");
            bench.faults.order("C_Sign", All, Effect::Hold);
            thread::scope(|scope| {
                let slow = scope.spawn(|| bench.module.sign_digest(&bench.sign, &DIGEST));
                while bench.faults.calls("C_Sign") == before {
                    thread::yield_now();
                }
                let error = bench.module.random(&mut [0; 8]).unwrap_err();
                assert_eq!(
                    (error.fault(), error.reason()),
                    (Fault::Transport, Reason::Timeout)
                );
                bench.faults.lift();
                assert!(slow.join().unwrap().is_ok());
            });
            bench.signs().unwrap();
        },
    );
}

/// A new set of sessions must not begin while a call still uses one of the old.
#[test]
fn a_slow_signature_outlives_the_loss_of_another_session() {
    let two = |config| Pkcs11Config {
        sessions: 2,
        lease_timeout: Duration::from_millis(20),
        ..config
    };
    with_bench(
        "a_slow_signature_outlives_the_loss_of_another_session",
        two,
        |bench| {
            let before = bench.faults.calls("C_Sign");
            bench.faults.order("C_Sign", All, Effect::Hold);
            bench
                .faults
                .order("C_GenerateRandom", Nth(1), DEVICE_REMOVED);
            thread::scope(|scope| {
                let slow = scope.spawn(|| bench.module.sign_digest(&bench.sign, &DIGEST));
                while bench.faults.calls("C_Sign") == before {
                    thread::yield_now();
                }
                let error = bench.module.random(&mut [0; 8]).unwrap_err();
                assert_eq!(error.reason(), Reason::Timeout);
                assert_eq!(bench.faults.calls("C_Login"), 1);
                bench.faults.lift();
                assert!(slow.join().unwrap().is_ok());
            });
            bench.module.random(&mut [0; 8]).unwrap();
            assert_eq!(bench.faults.calls("C_Login"), 2);
            bench.signs().unwrap();
        },
    );
}

#[test]
fn a_wrong_signature_never_leaves_a_checked_module() {
    with_bench(
        "a_wrong_signature_never_leaves_a_checked_module",
        unchanged,
        |bench| {
            let public = bench.module.public_key(&bench.sign).unwrap();
            let flip = Effect::Xor { at: 0, mask: 1 };
            // Of each two calls the first asks for the length only.
            bench.faults.order("C_Sign", Nth(2), flip);
            let signature = bench.module.sign_digest(&bench.sign, &DIGEST).unwrap();
            assert!(
                !bench
                    .module
                    .verify_digest(&public, &DIGEST, &signature)
                    .unwrap()
            );
            bench.faults.lift();

            let checked = Checked::new(bench.module.clone(), Arc::new(SoftModule::new()));
            checked.sign_digest(&bench.sign, &DIGEST).unwrap();
            bench.faults.order("C_Sign", Nth(2), flip);
            let error = checked.sign_digest(&bench.sign, &DIGEST).unwrap_err();
            assert_eq!(
                (error.fault(), error.reason()),
                (Fault::Module, Reason::WrongResult)
            );
            checked.sign_digest(&bench.sign, &DIGEST).unwrap();
        },
    );
}

#[test]
fn a_constant_generator_condemns_a_checked_module() {
    with_bench(
        "a_constant_generator_condemns_a_checked_module",
        unchanged,
        |bench| {
            let checked = Checked::new(bench.module.clone(), Arc::new(SoftModule::new()));
            checked.random(&mut [0; 32]).unwrap();
            bench
                .faults
                .order("C_GenerateRandom", All, Effect::Fill(0x5a));
            let mut block = [0; 32];
            bench.module.random(&mut block).unwrap();
            assert_eq!(block, [0x5a; 32]);
            let answers = [(); 2].map(|()| checked.random(&mut [0; 32]));
            let error = answers.into_iter().find_map(Result::err).unwrap();
            assert_eq!(error.reason(), Reason::WrongResult);
            // Randomness that was bad once is never trusted again.
            bench.faults.lift();
            let error = checked.random(&mut [0; 32]).unwrap_err();
            assert_eq!(error.reason(), Reason::WrongResult);
        },
    );
}

#[test]
fn a_general_error_is_the_modules_and_not_repeated() {
    with_bench(
        "a_general_error_is_the_modules_and_not_repeated",
        unchanged,
        |bench| {
            bench.signs().unwrap();
            let point = bench.module.public_key(&bench.agree).unwrap().point;
            for (call, effect, reason) in [
                ("C_SignInit", GENERAL_ERROR, Reason::Other),
                ("C_SignInit", DEVICE_MEMORY, Reason::Memory),
                // After this one the operation is still open in the session.
                ("C_Sign", GENERAL_ERROR, Reason::Other),
            ] {
                let before = bench.faults.calls("C_SignInit");
                bench.faults.order(call, Nth(1), effect);
                let error = bench.signs().unwrap_err();
                assert_eq!(
                    (error.fault(), error.reason()),
                    (Fault::Module, reason),
                    "{error}"
                );
                assert_eq!(bench.faults.calls("C_SignInit"), before + 1);
                bench.signs().unwrap();
            }
            // A good point is not blamed for the token's failure.
            bench.faults.order("C_DeriveKey", All, GENERAL_ERROR);
            let error = bench.module.agree_static(&bench.agree, &point).unwrap_err();
            assert_eq!(error.fault(), Fault::Module, "{error}");
        },
    );
}

/// The library is the whole process's: others may finalise it, or log out.
#[test]
fn what_others_of_the_process_undo_is_done_again() {
    with_bench(
        "what_others_of_the_process_undo_is_done_again",
        unchanged,
        |bench| {
            let other = Pkcs11::new(pkcs11_faults::library()).unwrap();
            for logins in 2..4 {
                let slot = other.get_slots_with_initialized_token().unwrap()[0];
                other.open_ro_session(slot).unwrap().logout().unwrap();
                if logins == 2 {
                    bench.signs().unwrap();
                } else {
                    assert_eq!(bench.module.keys().unwrap().len(), 2);
                }
                assert_eq!(bench.faults.calls("C_Login"), logins);
            }
            other.clone().finalize().unwrap();
            bench.signs().unwrap();
            // Finalised and taken over by another.
            other.clone().finalize().unwrap();
            let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
            other.initialize(arguments).unwrap();
            bench.signs().unwrap();
        },
    );
}

/// A copy of the real library is another program as far as SoftHSM2 can tell.
#[test]
fn keys_that_another_program_replaces_are_found() {
    with_bench(
        "keys_that_another_program_replaces_are_found",
        unchanged,
        |bench| {
            bench.signs().unwrap();
            let old = bench.module.public_key(&bench.sign).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("another.so");
            fs::copy(std::env::var_os(LIBRARY_VARIABLE).unwrap(), &copy).unwrap();
            let other = Pkcs11Module::open(Pkcs11Config {
                module: copy,
                ..config()
            })
            .unwrap();
            other.remove_key(&bench.sign).unwrap();
            let error = bench.module.sign_digest(&bench.sign, &DIGEST).unwrap_err();
            assert_eq!(
                (error.fault(), error.reason()),
                (Fault::Caller, Reason::NotFound)
            );
            let new = other
                .generate_key(&bench.sign, CURVE, KeyUsage::Sign)
                .unwrap();
            assert_ne!(new, old);
            bench.signs().unwrap();
            // Replaced in one go, between two of our calls.
            other.remove_key(&bench.sign).unwrap();
            other
                .generate_key(&bench.sign, CURVE, KeyUsage::Sign)
                .unwrap();
            bench.signs().unwrap();
        },
    );
}
