// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card in this process: its command set, its PIN, its access rules, and its faults.

// Each test program uses a part of it.
#[allow(dead_code)]
mod terminal;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hsm_api::{Curve, KeyUsage, LifeCycle, Pin, PublicKey};
use hsm_card::CardProfile;
use hsm_card::profile::Instruction;
use hsm_card_emulator::dice::Dice;
use hsm_card_emulator::fault::Fault;
use hsm_card_emulator::state::{Memory, State, Volatile};
use hsm_card_emulator::{Card, SharedCard};
use hsm_soft::PrivateKey;
use sha2::{Digest, Sha256};
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, SecureError, StatusWord};
use terminal::{AGREEING, EPHEMERAL, Line, PIN, SIGNING, Terminal, public_key, secret};

const DIGEST: [u8; 32] = [0x5a; 32];

/// Its far end, and the card itself to look into.
fn fresh() -> (Terminal<impl Line>, SharedCard) {
    with_memory(Volatile)
}

fn with_memory(memory: impl Memory + 'static) -> (Terminal<impl Line>, SharedCard) {
    let profile = CardProfile::tr03109_2_assumed();
    let state = State::fresh(&profile, "00", Pin::new(PIN));
    let card = SharedCard::new(Card::new(profile, state, memory, Dice::new(1)));
    let line = card.clone();
    (
        Terminal::new(move |command: &[u8]| Some(line.transmit(command))),
        card,
    )
}

fn open() -> (Terminal<impl Line>, SharedCard) {
    let (mut terminal, card) = fresh();
    terminal.pace(PIN).unwrap();
    (terminal, card)
}

#[test]
fn keys_of_all_curves_sign_verify_and_agree() {
    let (mut terminal, _) = open();
    for curve in Curve::ALL {
        let public = terminal.generate(SIGNING, curve, KeyUsage::Sign);
        assert_eq!(public.curve, curve);
        let reference = tlv::object(Tag(0x84), &[SIGNING]);
        let read = terminal.get(Instruction::ReadPublicKey, &reference);
        assert_eq!(public_key(&read), public);
        let signature = terminal.sign(SIGNING, &DIGEST);
        assert!(hsm_soft::verify(&public, &DIGEST, &signature).unwrap());

        let template = [curve.oid_der(), &tlv::object(Tag(0x86), &public.point)].concat();
        let template = tlv::object(Tag(0x7f49), &template);
        terminal.get(Instruction::SetVerifyingKey, &template);
        for (digest, status) in [
            (DIGEST, StatusWord::OK),
            ([1; 32], StatusWord::NOT_AUTHENTICATED),
        ] {
            let objects = [
                tlv::object(Tag(0x9a), &digest),
                tlv::object(Tag(0x9e), &signature),
            ];
            let judged = terminal.run(Instruction::Verify, &objects.concat());
            assert_eq!(judged.status, status, "{curve}");
        }

        let peer = PrivateKey::generate(curve).unwrap();
        for reference in [AGREEING, EPHEMERAL] {
            let public = terminal.generate(reference, curve, KeyUsage::Agree);
            let agreed = terminal.agree(reference, &peer.public_key().point);
            let theirs = peer.agree(&public.point).unwrap();
            assert_eq!(secret(&agreed.data), *theirs.0, "{curve}");
            let mut off = peer.public_key().point.clone();
            *off.last_mut().unwrap() ^= 1;
            if reference == AGREEING {
                assert_eq!(
                    terminal.agree(reference, &off).status,
                    StatusWord::WRONG_DATA
                );
            } else {
                let again = terminal.run(
                    Instruction::SetAgreementKey,
                    &tlv::object(Tag(0x84), &[reference]),
                );
                assert_eq!(again.status, StatusWord::NOT_FOUND, "used up");
            }
        }
    }
}

#[test]
fn keys_do_only_what_they_are_for_and_can_be_deleted() {
    let (mut terminal, _) = open();
    let reference = |key| tlv::object(Tag(0x84), &[key]);
    terminal.generate(SIGNING, Curve::NistP256, KeyUsage::Sign);
    terminal.generate(EPHEMERAL, Curve::NistP256, KeyUsage::Agree);
    for (id, key, status) in [
        (
            Instruction::SetAgreementKey,
            SIGNING,
            StatusWord::CONDITIONS,
        ),
        (
            Instruction::SetSigningKey,
            EPHEMERAL,
            StatusWord::CONDITIONS,
        ),
        (Instruction::SetSigningKey, AGREEING, StatusWord::NOT_FOUND),
        (Instruction::ReadPublicKey, AGREEING, StatusWord::NOT_FOUND),
        (Instruction::DeleteKey, AGREEING, StatusWord::NOT_FOUND),
        (
            Instruction::DeleteEphemeralKey,
            SIGNING,
            StatusWord::NOT_FOUND,
        ),
        (Instruction::DeleteEphemeralKey, EPHEMERAL, StatusWord::OK),
        (
            Instruction::SetAgreementKey,
            EPHEMERAL,
            StatusWord::NOT_FOUND,
        ),
        (Instruction::SetSigningKey, SIGNING, StatusWord::OK),
        (Instruction::DeleteKey, SIGNING, StatusWord::OK),
        (Instruction::Sign, SIGNING, StatusWord::WRONG_DATA),
    ] {
        let data = reference(key);
        let response = terminal.run(id, &data);
        // Signing with what was deleted: the key is missed before the digest is looked at.
        let expected = if id == Instruction::Sign {
            StatusWord::NOT_FOUND
        } else {
            status
        };
        assert_eq!(response.status, expected, "{id:?} {key:#04x}");
    }
}

/// Keeps what the card keeps, and refuses when told to.
#[derive(Clone, Default)]
struct Watched {
    tries: Arc<Mutex<Vec<u8>>>,
    broken: Arc<AtomicBool>,
}

impl Memory for Watched {
    fn keep(&mut self, state: &State) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("broken"));
        }
        self.tries.lock().unwrap().push(state.tries_left);
        Ok(())
    }
}

#[test]
fn wrong_pins_are_counted_before_they_are_judged_and_block() {
    let watched = Watched::default();
    let (mut terminal, card) = with_memory(watched.clone());
    assert_eq!(terminal.pace("0987654321"), Err(StatusWord(0x63c2)));
    assert_eq!(*watched.tries.lock().unwrap(), [2]);
    assert_eq!(terminal.set_pace(), StatusWord(0x63c2), "told beforehand");
    terminal.pace(PIN).unwrap();
    // Counted down first even though the PIN was right.
    assert_eq!(*watched.tries.lock().unwrap(), [2, 1, 3]);
    for left in [0x63c2, 0x63c1, 0x63c0] {
        assert_eq!(terminal.pace("0987654321"), Err(StatusWord(left)));
    }
    assert_eq!(terminal.set_pace(), StatusWord(0x63c0));
    let blocked = terminal.step(tlv::object(Tag(0x7c), &[]), true);
    assert_eq!(blocked, Err(StatusWord::AUTHENTICATION_BLOCKED));
    card.reset();
    assert_eq!(terminal.pace(PIN), Err(StatusWord(0x63c0)), "for ever");
}

#[test]
fn a_try_that_cannot_be_counted_is_not_judged() {
    let watched = Watched::default();
    let (mut terminal, card) = with_memory(watched.clone());
    watched.broken.store(true, Ordering::Relaxed);
    assert_eq!(terminal.pace(PIN), Err(StatusWord::MEMORY_FAILURE));
    let refused = terminal.plain(&Command::new(0x0c, 0x84, 0, 0).with([0x8e, 0]));
    assert_eq!(refused.status, StatusWord::SECURITY_STATUS, "no session");
    assert_eq!(card.with(|card| card.state().tries_left), 3);
}

#[test]
fn what_memory_refuses_has_not_happened() {
    let watched = Watched::default();
    let (mut terminal, card) = with_memory(watched.clone());
    terminal.pace(PIN).unwrap();
    watched.broken.store(true, Ordering::Relaxed);
    select(&mut terminal, 0xc001);
    let write = terminal
        .profile
        .command(Instruction::UpdateBinary)
        .with([1]);
    assert_eq!(
        terminal.protected(&write).status,
        StatusWord::MEMORY_FAILURE
    );
    assert!(card.with(|card| card.state().files.is_empty()));
    watched.broken.store(false, Ordering::Relaxed);
    assert_eq!(terminal.protected(&write).status, StatusWord::OK);
    assert_eq!(card.with(|card| card.state().files[&0xc001].clone()), [1]);
}

#[test]
fn the_pin_is_changed_by_who_knows_it() {
    let (mut terminal, _) = open();
    let new = "99887766554433";
    let change = |old: &str, new: &str| [old, new].concat().into_bytes();
    for (old, new, status) in [
        ("1234567891", new, StatusWord(0x63c2)),
        (PIN, "123456789", StatusWord::WRONG_LENGTH),
        (PIN, "123456789x", StatusWord::WRONG_DATA),
        (PIN, new, StatusWord::OK),
    ] {
        let response = terminal.run(Instruction::ChangePin, &change(old, new));
        assert_eq!(response.status, status);
    }
    assert_eq!(terminal.pace(PIN), Err(StatusWord(0x63c2)));
    terminal.pace(new).unwrap();
}

#[test]
fn the_session_ends_with_anything_that_is_wrong() {
    let challenge = Command::new(0, 0x84, 0, 0).expecting(8);
    let (mut terminal, _) = open();
    let select = terminal.profile.command(Instruction::SelectApplication);
    let select = select.with(terminal.profile.application.id.clone());
    assert_eq!(terminal.plain(&select).status, StatusWord::OK);
    let after = terminal.try_protected(&challenge);
    assert_eq!(
        after,
        Err(SecureError::Unprotected(StatusWord::SECURITY_STATUS))
    );

    for (what, spoil, status) in [
        ("no checksum", 0x97u8, StatusWord::MISSING_OBJECT),
        ("wrong checksum", 0x8e, StatusWord::WRONG_OBJECT),
    ] {
        let (mut terminal, _) = open();
        let mut sent = terminal
            .channel
            .as_mut()
            .unwrap()
            .protect_command(&challenge)
            .unwrap();
        match spoil {
            0x97 => sent.data.truncate(3),
            _ => *sent.data.last_mut().unwrap() ^= 1,
        }
        assert_eq!(terminal.plain(&sent).status, status, "{what}");
        assert_eq!(
            terminal.plain(&sent).status,
            StatusWord::SECURITY_STATUS,
            "{what}"
        );
    }

    let (mut terminal, _) = open();
    let sent = terminal
        .channel
        .as_mut()
        .unwrap()
        .protect_command(&challenge)
        .unwrap();
    assert_eq!(terminal.plain(&sent).status, StatusWord::OK);
    assert_eq!(
        terminal.plain(&sent).status,
        StatusWord::WRONG_OBJECT,
        "sent twice"
    );
}

#[test]
fn without_a_session_there_is_hardly_anything() {
    let (mut terminal, _) = fresh();
    let profile = terminal.profile.clone();
    for spec in profile.commands.iter().filter(|spec| spec.protected) {
        let command = profile
            .command(spec.id)
            .with([0x84, 1, SIGNING])
            .expecting(256);
        // GENERAL AUTHENTICATE is taken for a step of PACE, which has not begun.
        let expected = match spec.id {
            Instruction::Agree => StatusWord::CONDITIONS,
            _ => StatusWord::SECURITY_STATUS,
        };
        assert_eq!(terminal.plain(&command).status, expected, "{}", spec.name);
    }
    for (bytes, status) in [
        (
            &[0, 0xa4, 4, 0, 7, 0xa0, 0, 0, 3, 8, 0, 0][..],
            StatusWord::FILE_NOT_FOUND,
        ),
        (&[0, 0xa4, 4, 0x0c, 1, 9], StatusWord::FILE_NOT_FOUND),
        (&[0, 0xa4, 0, 0, 2, 0x3f, 0], StatusWord::FILE_NOT_FOUND),
        (&[0, 0x84, 1, 0, 8], StatusWord::WRONG_PARAMETERS),
        (&[0, 0xcb, 0, 0, 8], StatusWord::UNKNOWN_INSTRUCTION),
        (&[0x80, 0x84, 0, 0, 8], StatusWord::UNKNOWN_CLASS),
        (&[0, 0x84], StatusWord::WRONG_LENGTH),
        (&[], StatusWord::WRONG_LENGTH),
    ] {
        let answer = terminal.line.send(bytes).unwrap();
        assert_eq!(answer, status.0.to_be_bytes(), "{bytes:02x?}");
    }
    let access = profile.command(Instruction::ReadCardAccess).expecting(256);
    assert!(hsm_card::pace::is_offered(&terminal.plain(&access).data));
}

fn select<L: Line>(terminal: &mut Terminal<L>, file: u16) {
    terminal.get(Instruction::SelectFile, &file.to_be_bytes());
}

#[test]
fn files_are_read_and_written_in_pieces() {
    let (mut terminal, _) = open();
    let profile = terminal.profile.clone();
    let read = |at, most| {
        profile
            .command_at(Instruction::ReadBinary, at)
            .expecting(most)
    };
    assert_eq!(
        terminal.protected(&read(0, 8)).status,
        StatusWord::NO_CURRENT_FILE
    );
    assert_eq!(
        terminal.run(Instruction::SelectFile, &[9, 9]).status,
        StatusWord::FILE_NOT_FOUND
    );
    select(&mut terminal, 0xc011);
    let write = |at, data: &[u8]| profile.command_at(Instruction::UpdateBinary, at).with(data);
    let chunk = vec![7; usize::from(profile.limits.chunk)];
    assert_eq!(
        terminal.protected(&write(100, &chunk)).status,
        StatusWord::OK
    );
    let both = terminal.protected(&read(98, 4));
    assert_eq!(
        (both.data.as_slice(), both.status),
        (&[0, 0, 7, 7][..], StatusWord::OK)
    );
    let size = profile.files.object_size;
    let last = terminal.protected(&read(size - 2, 4));
    assert_eq!(
        (last.data.as_slice(), last.status),
        (&[0, 0][..], StatusWord::END_OF_FILE)
    );
    assert_eq!(
        terminal.protected(&read(size - 2, 256)).status,
        StatusWord::OK
    );
    for (command, status) in [
        (read(size, 4), StatusWord::BEYOND_FILE),
        (write(size - 1, &[1, 2]), StatusWord::NO_SPACE),
        (
            write(0, &[&chunk[..], &[1]].concat()),
            StatusWord::WRONG_LENGTH,
        ),
    ] {
        assert_eq!(terminal.protected(&command).status, status);
    }
    // The same content as a chain of two commands.
    let first = write(0, &[1, 2]).chained();
    assert_eq!(terminal.protected(&first).status, StatusWord::OK);
    assert_eq!(terminal.protected(&write(0, &[3])).status, StatusWord::OK);
    assert_eq!(terminal.protected(&read(0, 4)).data, [1, 2, 3, 0]);
    assert_eq!(terminal.protected(&first).status, StatusWord::OK);
    assert_eq!(
        terminal.protected(&read(0, 4)).status,
        StatusWord::LAST_OF_CHAIN_EXPECTED
    );
    select(&mut terminal, profile.files.life_cycle);
    assert_eq!(terminal.protected(&read(0, 256)).data, [0]);
    assert_eq!(
        terminal.protected(&write(0, &[4])).status,
        StatusWord::SECURITY_STATUS
    );
}

fn phase<L: Line>(terminal: &mut Terminal<L>, phase: LifeCycle) -> StatusWord {
    let place = LifeCycle::ALL.iter().position(|one| *one == phase).unwrap();
    let mut command = terminal.profile.command(Instruction::EnterPhase);
    command.p2 = place.try_into().unwrap();
    terminal.protected(&command).status
}

#[test]
fn in_operation_keys_are_made_by_the_administrator_only() {
    let (mut terminal, card) = open();
    let administrator = PrivateKey::generate(Curve::BrainpoolP256r1).unwrap();
    let PublicKey { curve, point } = administrator.public_key();
    let template = [curve.oid_der(), &tlv::object(Tag(0x86), point)].concat();
    let file = terminal.profile.administrator_file();
    select(&mut terminal, file);
    terminal.get(
        Instruction::UpdateBinary,
        &tlv::object(Tag(0x7f49), &template),
    );
    assert_eq!(phase(&mut terminal, LifeCycle::Operation), StatusWord::OK);
    assert_eq!(
        phase(&mut terminal, LifeCycle::Operation),
        StatusWord::OK,
        "no change"
    );
    assert_eq!(
        phase(&mut terminal, LifeCycle::Integration),
        StatusWord::CONDITIONS
    );
    assert_eq!(card.with(|card| card.state().phase), LifeCycle::Operation);

    let key = tlv::object(Tag(0x84), &[SIGNING]);
    let refused = terminal.run(Instruction::DeleteKey, &key);
    assert_eq!(refused.status, StatusWord::SECURITY_STATUS);
    let reference = terminal.profile.administrator.reference;
    for (right, status) in [
        (false, StatusWord::NOT_AUTHENTICATED),
        (true, StatusWord::OK),
    ] {
        terminal.get(
            Instruction::SetAdministratorKey,
            &tlv::object(Tag(0x83), &[reference]),
        );
        let mut challenge = terminal.challenge(16);
        challenge[0] ^= u8::from(!right);
        let proof = administrator
            .sign_digest(&Sha256::digest(&challenge))
            .unwrap();
        let judged = terminal.run(Instruction::ExternalAuthenticate, &proof);
        assert_eq!(judged.status, status);
        let again = terminal.run(Instruction::ExternalAuthenticate, &proof);
        assert_eq!(
            again.status,
            StatusWord::CONDITIONS,
            "a challenge is good once"
        );
    }
    terminal.generate(SIGNING, Curve::NistP384, KeyUsage::Sign);
    terminal.sign(SIGNING, &DIGEST);

    assert_eq!(
        terminal.run(Instruction::Terminate, &[]).status,
        StatusWord::OK
    );
    assert_eq!(
        terminal.run(Instruction::Sign, &DIGEST).status,
        StatusWord::CONDITIONS
    );
}

#[test]
fn faults_strike_where_they_are_planned() {
    let challenge = Command::new(0, 0x84, 0, 0).expecting(8);
    let refused = |status| Err(SecureError::Unprotected(status));
    let wrong_checksum = Err(SecureError::Wrong(Tag(0x8e)));

    for (fault, status) in [
        (Fault::SecurityStatus, StatusWord::SECURITY_STATUS),
        (Fault::Conditions, StatusWord::CONDITIONS),
    ] {
        let (mut terminal, card) = open();
        card.with(|card| card.plan(fault.at(2)));
        let statuses: Vec<_> = (0..3)
            .map(|_| terminal.protected(&challenge).status)
            .collect();
        assert_eq!(statuses, [StatusWord::OK, status, StatusWord::OK]);
    }
    for fault in [Fault::WrongMac, Fault::WrongCounter] {
        let (mut terminal, card) = open();
        card.with(|card| card.plan(fault.at(1)));
        assert_eq!(
            terminal.try_protected(&challenge),
            wrong_checksum,
            "{fault}"
        );
    }
    let (mut terminal, card) = open();
    card.with(|card| card.plan(Fault::SmDesync.at(1)));
    assert!(terminal.try_protected(&challenge).is_ok());
    assert_eq!(
        terminal.try_protected(&challenge),
        refused(StatusWord::WRONG_OBJECT)
    );

    let (mut terminal, card) = open();
    terminal.generate(SIGNING, Curve::BrainpoolP256r1, KeyUsage::Sign);
    card.with(|card| card.plan(Fault::MemoryFailure));
    let deleted = terminal.run(Instruction::DeleteKey, &tlv::object(Tag(0x84), &[SIGNING]));
    assert_eq!(deleted.status, StatusWord::MEMORY_FAILURE);
    assert!(terminal.pace(PIN).is_ok(), "the PIN's counter is not meant");
    card.with(|card| {
        card.heal();
        card.plan(Fault::WrongSignature.at(1));
    });
    let public = terminal.get(
        Instruction::ReadPublicKey,
        &tlv::object(Tag(0x84), &[SIGNING]),
    );
    let public = public_key(&public);
    let judged: Vec<_> = (0..2)
        .map(|_| {
            let signature = terminal.sign(SIGNING, &DIGEST);
            hsm_soft::verify(&public, &DIGEST, &signature).unwrap()
        })
        .collect();
    assert_eq!(judged, [false, true]);

    card.with(|card| card.plan(Fault::PinBlocked.at(1)));
    assert_eq!(terminal.pace(PIN), Err(StatusWord(0x63c0)));
    assert!(terminal.pace(PIN).is_ok(), "the counter that is kept stays");
}

#[test]
fn a_constant_generator_shows() {
    let (mut terminal, card) = open();
    assert_ne!(terminal.challenge(16), terminal.challenge(16));
    card.with(|card| card.plan(Fault::ConstantRng));
    assert_eq!(terminal.challenge(16), terminal.challenge(16));
    let mut key = || terminal.generate(EPHEMERAL, Curve::BrainpoolP512r1, KeyUsage::Agree);
    assert_eq!(key(), key());
    assert!(terminal.pace(PIN).is_ok());
}
