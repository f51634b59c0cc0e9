// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the driver does when card, line or channel fail: the session comes back once, and no PIN is tried twice.

#[allow(dead_code)]
mod bench_card;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bench_card::{Bench, PIN, an_administrator};
use hsm_api::{
    Curve, Fault, KeyUsage, LifeCycle, ModuleError, ObjectId, Pin, Reason, SecurityModule,
};
use hsm_card::{CardModule, CardOptions, CardProfile, CardSession, InProcess, Recording, Signal};
use hsm_card_emulator::fault::Fault as CardFault;
use test_material::hex;

const CURVE: Curve = Curve::BrainpoolP256r1;
const DIGEST: [u8; 32] = [0x5a; 32];

fn reason<T>(result: Result<T, ModuleError>) -> Reason {
    result.err().expect("refused").reason()
}

fn random(module: &CardModule) -> Result<(), ModuleError> {
    module.random(&mut [0; 16])
}

#[test]
fn a_card_removed_in_the_middle_of_a_command_is_found_again_once() {
    let bench = Bench::new();
    let module = bench.open();
    let key = module
        .generate_key(&"key".into(), CURVE, KeyUsage::Sign)
        .unwrap();
    for commands in 1..=2 {
        let before = bench.line.paces();
        bench.line.leave_after(commands, true);
        let signature = module.sign_digest(&"key".into(), &DIGEST).unwrap();
        assert!(hsm_soft::verify(&key, &DIGEST, &signature).unwrap());
        assert_eq!(bench.line.paces(), before + 1);
    }
    // It stays away: the error says so, and the next call finds it when it is back.
    bench.line.leave_after(1, false);
    let error = random(&module).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Gone)
    );
    assert_eq!(reason(random(&module)), Reason::Gone);
    bench.line.gone.store(false, Ordering::SeqCst);
    random(&module).unwrap();
    assert_eq!(bench.tries_left(), 3);
}

type Task = fn(&CardModule) -> Result<(), ModuleError>;

/// Wherever it happens: what was made is whole or was never there, and what was there is still there.
#[test]
fn power_lost_at_any_command_of_a_change_leaves_the_names_whole() {
    let tasks: [Task; 4] = [
        |module| {
            module
                .generate_key(&"new".into(), CURVE, KeyUsage::Sign)
                .map(drop)
        },
        |module| module.write_object(&ObjectId::data("new"), &[7; 700]),
        |module| module.write_object(&ObjectId::data("old"), &[8; 700]),
        |module| module.remove_key(&"old".into()),
    ];
    for task in tasks {
        let mut commands = 0;
        loop {
            commands += 1;
            let bench = Bench::new();
            let module = bench.open();
            module
                .generate_key(&"old".into(), CURVE, KeyUsage::Sign)
                .unwrap();
            module
                .write_object(&ObjectId::data("old"), &[1; 700])
                .unwrap();
            bench.line.leave_after(commands, false);
            let ended = task(&module);
            *bench.line.leaves_at.lock().unwrap() = None;
            bench.line.gone.store(false, Ordering::SeqCst);
            let keys = module.keys().unwrap();
            for info in &keys {
                module
                    .sign_digest(&info.key, &DIGEST)
                    .unwrap_or_else(|error| {
                        // A key that was being removed may be gone while its name is still there.
                        assert_eq!(error.reason(), Reason::NotFound, "{error}");
                        Vec::new()
                    });
            }
            let old = module.read_object(&ObjectId::data("old")).unwrap();
            assert!(old == [1; 700] || old == [8; 700]);
            if let Ok(new) = module.read_object(&ObjectId::data("new")) {
                assert_eq!(new, [7; 700]);
            }
            // Whatever happened, it can be done now.
            if ended.is_ok() {
                break;
            }
            if let Err(error) = task(&module) {
                assert!(matches!(error.reason(), Reason::Exists | Reason::NotFound));
            }
        }
        assert!(commands > 4, "{commands}");
    }
}

#[test]
fn a_session_ended_by_the_card_is_opened_again() {
    let bench = Bench::new();
    let module = bench.open();
    // The card answers 6982 without protection.
    bench.card.reset();
    random(&module).unwrap();
    assert_eq!(bench.line.paces(), 2);
    // The counters have run apart: 6988.
    bench.card.with(|card| card.plan(CardFault::SmDesync.at(1)));
    random(&module).unwrap();
    random(&module).unwrap();
    assert_eq!(bench.line.paces(), 3);
    for fault in [CardFault::WrongCounter, CardFault::WrongMac] {
        let before = bench.line.paces();
        bench.card.with(|card| card.plan(fault.at(1)));
        random(&module).unwrap();
        assert_eq!(bench.line.paces(), before + 1, "{fault}");
        bench.card.with(hsm_card_emulator::Card::heal);
    }
}

#[test]
fn a_channel_that_breaks_again_is_given_up() {
    let bench = Bench::new();
    let module = bench.open();
    for fault in [CardFault::WrongMac, CardFault::WrongCounter] {
        let before = bench.line.paces();
        bench.card.with(|card| card.plan(fault));
        let error = random(&module).unwrap_err();
        assert_eq!(
            (error.fault(), error.reason()),
            (Fault::Transport, Reason::Channel)
        );
        assert_eq!(bench.line.paces(), before + 1, "once, not for ever");
        bench.card.with(hsm_card_emulator::Card::heal);
        random(&module).unwrap();
    }
}

#[test]
fn refusals_are_told_apart_and_do_not_end_the_session() {
    let bench = Bench::new();
    let module = bench.open();
    for (fault, reason_of) in [
        (CardFault::SecurityStatus, Reason::NotAllowed),
        (CardFault::Conditions, Reason::NotAllowed),
    ] {
        bench.card.with(|card| card.plan(fault.at(1)));
        assert_eq!(reason(random(&module)), reason_of);
        random(&module).unwrap();
    }
    bench
        .card
        .with(|card| card.plan(CardFault::MemoryFailure.at(1)));
    let made = module.generate_key(&"key".into(), CURVE, KeyUsage::Sign);
    assert_eq!(reason(made), Reason::Memory);
    module
        .generate_key(&"key".into(), CURVE, KeyUsage::Sign)
        .unwrap();
    assert_eq!(bench.line.paces(), 1);
}

/// A reader with T=0 hands out answers in pieces and insists on lengths.
#[test]
fn answers_in_pieces_are_put_together() {
    let bench = Bench::new();
    let mut line = bench.transport();
    line.reset().unwrap();
    let mut waiting: Vec<u8> = Vec::new();
    let mut asked_again = false;
    let pieces = InProcess::new("reader with T=0", move |signal: Signal<'_>| {
        let Signal::Command(command) = signal else {
            return line.reset().ok().map(|()| Vec::new());
        };
        if !command.starts_with(&[0x00, 0xc0]) {
            waiting = line.transmit(command).ok()?;
            asked_again = false;
        } else if !asked_again && waiting.len() > 2 {
            asked_again = true;
            return Some(vec![0x6c, waiting.len().saturating_sub(2).min(16) as u8]);
        }
        if command.starts_with(&[0x00, 0xc0]) {
            let piece: Vec<u8> = waiting
                .drain(..waiting.len().saturating_sub(2).min(16))
                .collect();
            asked_again = false;
            return Some(match waiting.len() {
                2 => [piece, std::mem::take(&mut waiting)].concat(),
                left => [piece, vec![0x61, (left - 2).min(255) as u8]].concat(),
            });
        }
        Some(match waiting.len() {
            0..=2 => waiting.clone(),
            left => vec![0x61, (left - 2).min(255) as u8],
        })
    });
    let module = CardModule::open(Box::new(pieces), Pin::new(PIN), CardOptions::default()).unwrap();
    let mut bytes = [0; 500];
    module.random(&mut bytes).unwrap();
    let certificate = [&[0x30, 0x82, 1, 4][..], &[0xa5; 260]].concat();
    let object = ObjectId::certificate("gw-tls");
    module.write_object(&object, &certificate).unwrap();
    assert_eq!(module.read_object(&object).unwrap(), certificate);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let bench = Bench::new();
    let wrong = Pin::new("1234567891");
    let profile = Arc::new(CardProfile::tr03109_2_assumed());
    let mut session = CardSession::new(bench.transport(), profile);
    assert_eq!(reason(session.open(&wrong)), Reason::PinRefused);
    assert_eq!((bench.tries_left(), session.tries_left()), (2, Some(2)));
    // Not even the right one: who says that it is?
    for pin in [&wrong, &Pin::new(PIN)] {
        let commands = bench.line.commands.load(Ordering::SeqCst);
        assert_eq!(reason(session.open(pin)), Reason::PinRefused);
        assert_eq!(bench.line.commands.load(Ordering::SeqCst), commands);
    }
    // Another session with the right one gives the tries back.
    bench.open();
    assert_eq!(bench.tries_left(), 3);
}

/// Another card, or a PIN changed by others, while the driver comes back by itself.
#[test]
fn a_pin_that_is_not_right_any_more_is_tried_once() {
    let bench = Bench::new();
    let module = bench.open();
    bench
        .open()
        .change_pin(&Pin::new("98765432109876"))
        .unwrap();
    for _ in 0..5 {
        assert_eq!(reason(random(&module)), Reason::PinRefused);
        assert_eq!(bench.tries_left(), 2);
    }
    assert_eq!(module.tries_left(), Some(2));
}

#[test]
fn the_last_try_is_not_spent_and_a_locked_pin_is_not_tried() {
    let bench = Bench::new();
    let wrong = Pin::new("0000000000");
    let open = |pin: &Pin| CardModule::open(bench.transport(), pin.clone(), bench.options());
    for left in [2, 1] {
        assert_eq!(reason(open(&wrong)), Reason::PinRefused);
        assert_eq!(bench.tries_left(), left);
    }
    for pin in [&wrong, &Pin::new(PIN)] {
        assert_eq!(reason(open(pin)), Reason::PinRefused);
        assert_eq!(bench.tries_left(), 1);
    }
    let bench = Bench::new();
    bench.card.with(|card| card.plan(CardFault::PinBlocked));
    let blocked = CardModule::open(bench.transport(), Pin::new(PIN), bench.options());
    assert_eq!(reason(blocked), Reason::PinLocked);
    assert_eq!(bench.tries_left(), 3);
}

#[test]
fn a_pin_of_the_wrong_form_is_not_sent() {
    let bench = Bench::new();
    for pin in ["123456789", "", "12345678901a", "１２３４５６７８９０"] {
        let opened = CardModule::open(bench.transport(), Pin::new(pin), bench.options());
        assert_eq!(reason(opened), Reason::BadInput, "{pin}");
    }
    assert_eq!(bench.line.commands.load(Ordering::SeqCst), 0);
    let module = bench.open();
    assert_eq!(
        reason(module.change_pin(&Pin::new("123"))),
        Reason::BadInput
    );
}

#[test]
fn the_transport_pin_gives_way_to_the_gateways_own() {
    let bench = Bench::new();
    let module = bench.open();
    let own = Pin::new("314159265358");
    module.change_pin(&own).unwrap();
    // The driver goes on with the new one.
    bench.card.reset();
    random(&module).unwrap();
    assert_eq!(bench.tries_left(), 3);
    let old = CardModule::open(bench.transport(), Pin::new(PIN), bench.options());
    assert_eq!(reason(old), Reason::PinRefused);
}

#[test]
fn after_48_hours_the_keys_are_made_anew() {
    let bench = Bench::new();
    let module = bench.open();
    let kept = module.ephemeral_key(CURVE).unwrap();
    bench.clock.store(48 * 3600 - 1, Ordering::SeqCst);
    random(&module).unwrap();
    assert_eq!(bench.line.paces(), 1);
    bench.clock.store(48 * 3600, Ordering::SeqCst);
    let point = kept.public_key().point.clone();
    assert_eq!(
        reason(kept.agree(&point)),
        Reason::Gone,
        "keys of a session go with it"
    );
    random(&module).unwrap();
    assert_eq!(bench.line.paces(), 2);
    bench.clock.store(96 * 3600 - 1, Ordering::SeqCst);
    random(&module).unwrap();
    assert_eq!(bench.line.paces(), 2);
}

#[test]
fn ephemeral_keys_are_few_and_given_back() {
    let bench = Bench::new();
    let module = bench.open();
    let count = module.profile().keys.ephemeral.references().count();
    for _ in 0..2 {
        let mut all: Vec<_> = (0..count)
            .map(|_| module.ephemeral_key(CURVE).unwrap())
            .collect();
        assert_eq!(
            reason(module.ephemeral_key(CURVE).map(drop)),
            Reason::Memory
        );
        let (one, other) = (all.pop().unwrap(), all.pop().unwrap());
        let point = other.public_key().point.clone();
        one.agree(&point).unwrap();
        // Dropping destroys those that were not used.
        drop(other);
        drop(all);
    }
    let other = module.ephemeral_key(CURVE).unwrap();
    bench.line.leave_after(1, true);
    random(&module).unwrap();
    let point = other.public_key().point.clone();
    assert_eq!(reason(other.agree(&point)), Reason::Gone);
}

#[test]
fn in_operation_keys_are_the_administrators() {
    let bench = Bench::new();
    let module = bench.open();
    let (public, administrator) = an_administrator();
    module.trust_administrator(&public).unwrap();
    module.enter_phase(LifeCycle::Operation).unwrap();
    let made = module.generate_key(&"gw-tls".into(), CURVE, KeyUsage::Sign);
    assert_eq!(reason(made), Reason::NotAllowed);
    let (other, stranger) = an_administrator();
    assert_eq!(
        reason(module.trust_administrator(&other)),
        Reason::NotAllowed
    );
    module.ephemeral_key(CURVE).unwrap();
    drop(module);
    for (who, reason_of) in [(stranger, Some(Reason::NotAllowed)), (administrator, None)] {
        let options = CardOptions {
            administrator: Some(who),
            ..bench.options()
        };
        let module = CardModule::open(bench.transport(), Pin::new(PIN), options).unwrap();
        let made = module.generate_key(&"gw-tls".into(), CURVE, KeyUsage::Sign);
        assert_eq!(made.as_ref().err().map(ModuleError::reason), reason_of);
    }
}

#[test]
fn what_is_recorded_holds_no_secret() {
    let bench = Bench::new();
    let recording = Recording::new(10_000);
    let options = CardOptions {
        recorder: Some(recording.recorder()),
        ..bench.options()
    };
    let module = CardModule::open(bench.transport(), Pin::new(PIN), options).unwrap();
    let mut secret = [0; 32];
    module.random(&mut secret).unwrap();
    let (one, other) = (module.ephemeral_key(CURVE), module.ephemeral_key(CURVE));
    let (one, other) = (one.unwrap(), other.unwrap());
    let point = other.public_key().point.clone();
    let agreed = one.agree(&point).unwrap();
    let own = "31415926535897";
    module.change_pin(&Pin::new(own)).unwrap();
    let records = recording.records();
    let text: String = records
        .iter()
        .map(|one| format!("{one:?} {} {}", hex(&one.sent), hex(&one.received)))
        .collect();
    for secret in [
        hex(&secret),
        hex(&agreed.0),
        hex(PIN.as_bytes()),
        hex(own.as_bytes()),
    ] {
        assert!(!text.to_lowercase().contains(&secret), "{secret}");
    }
    for pin in [PIN, own] {
        assert!(!text.contains(pin));
    }
    assert!(
        records
            .iter()
            .any(|one| one.command.starts_with("GET CHALLENGE")
                && one.protected.is_some()
                && one.answer == "9000 (done), 32 bytes")
    );
    // Nothing was left out: every command on the wire is there, in order.
    let wire = bench.line.wire.lock().unwrap();
    let sent: Vec<_> = records.iter().map(|one| &one.sent).collect();
    assert_eq!(sent, wire.iter().step_by(2).collect::<Vec<_>>());
}

/// Cards that answer anything at all: errors, never panics, never a second PACE token.
#[test]
fn a_card_that_talks_nonsense_is_refused() {
    for nonsense in [
        &[][..],
        &[0x90],
        &[0x90, 0x00],
        &[0x6a, 0x82],
        &[0x31, 0x00, 0x90, 0x00],
        &[0xff; 300],
    ] {
        let card = InProcess::new("nonsense", move |_: Signal<'_>| Some(nonsense.to_vec()));
        let opened = CardModule::open(Box::new(card), Pin::new(PIN), CardOptions::default());
        let error = opened.unwrap_err();
        assert_ne!(error.reason(), Reason::PinRefused, "{error}");
    }
}
