// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use hsm_api::{Curve, LifeCycle, ObjectId, Pin, SecurityModule};
use hsm_card::directory::{Directory, HEADER, Head};
use hsm_card::pace::{self, AwaitStart, Randomness};
use hsm_card::profile::Instruction;
use hsm_card::{CardModule, CardOptions, CardProfile, InProcess, Signal};
use smgw_apdu::{Command, Response, SecureChannel, StatusWord};

/// A table that is read is whole: every command is there, recognised, and printed.
pub fn profile(bytes: &[u8]) {
    let Some(profile) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| CardProfile::parse(text).ok())
    else {
        return;
    };
    for id in Instruction::ALL {
        let spec = profile.spec(id);
        let command = profile.command(id);
        let found = profile.recognise(&command, spec.protected);
        assert!(found.is_some(), "{id:?}");
        for phase in LifeCycle::ALL {
            let _ = profile.needs(id, phase, Some(profile.administrator_file()));
        }
    }
    assert!(profile.rows().len() > Instruction::ALL.len());
}

/// A directory that is read is written as something that is read as the same.
pub fn directory(body: &[u8]) {
    let profile = CardProfile::tr03109_2_assumed();
    let Some(directory) = Head::of(7, body).and_then(|head| Directory::read(head, body, &profile))
    else {
        return;
    };
    if let Ok(written) = directory.write(&profile) {
        let (head, body) = written.split_at(HEADER);
        let head = Head::read(head).expect("a head was written");
        assert_eq!(Directory::read(head, body, &profile), Some(directory));
    }
}

/// A card that knows the PIN and then answers anything at all, rightly protected: each answer is a byte with its length,
/// and that many bytes. The driver neither panics nor goes on for ever, and what it gives has the right length.
pub fn answers(script: &[u8]) {
    taken(script);
}

/// As [`answers`]; tells what the driver took for a result.
pub fn taken(script: &[u8]) -> Vec<&'static str> {
    let mut script = script.to_vec();
    let mut chip = Chip::Idle;
    let mut commands = 0u32;
    let card = InProcess::new("scripted card", move |signal: Signal<'_>| {
        let Signal::Command(bytes) = signal else {
            chip = Chip::Idle;
            return Some(Vec::new());
        };
        commands += 1;
        assert!(commands < 20_000, "the driver never ends");
        let command = Command::decode(bytes).expect("the driver writes commands");
        if let Chip::Open(channel) = &mut chip {
            let answered = channel.open_command(&command).and_then(|_| {
                let len = script.first().map_or(0, |len| usize::from(*len));
                let answer: Vec<u8> = script.drain(..script.len().min(1 + len)).skip(1).collect();
                let answer = Response::decode(&answer).unwrap_or(StatusWord::NO_DIAGNOSIS.into());
                channel.protect_response(&answer)
            });
            return Some(match answered {
                Ok(answer) => answer.encode(),
                Err(error) => Response::from(error.status()).encode(),
            });
        }
        let data = chip.step(&command);
        Some(Response::new(data, StatusWord::OK).encode())
    });
    let opened = CardModule::open(Box::new(card), Pin::new(PIN), CardOptions::default());
    let module = opened.expect("the card knows the PIN");
    let mut taken = Vec::new();
    let mut note = |what, is_taken: bool| {
        if is_taken {
            taken.push(what);
        }
    };
    note("phase", module.life_cycle().is_ok());
    note("random bytes", module.random(&mut [0; 300]).is_ok());
    if let Ok(key) = module.ephemeral_key(Curve::NistP256) {
        let point = key.public_key().point.clone();
        assert_eq!(point.len(), 65);
        if let Ok(secret) = key.agree(&point) {
            assert_eq!(secret.0.len(), 32);
            note("secret", true);
        }
    }
    for info in module.keys().unwrap_or_default() {
        note("public key", module.public_key(&info.key).is_ok());
        if let Ok(signature) = module.sign_digest(&info.key, &[1; 32]) {
            assert_eq!(signature.len(), 2 * info.curve.field_len());
            note("signature", true);
        }
    }
    for object in module.objects().unwrap_or_default() {
        note("object", module.read_object(&object).is_ok());
    }
    let new = ObjectId::data("new");
    note("new object", module.write_object(&new, &[1; 300]).is_ok());
    note(
        "new phase",
        module.enter_phase(LifeCycle::Operation).is_ok(),
    );
    taken
}

const PIN: &str = "1234567890";

/// The chip's side of PACE, without choice.
enum Chip {
    Idle,
    Start(AwaitStart),
    Mapping(pace::AwaitTerminalMappingKey),
    Ephemeral(pace::AwaitTerminalEphemeralKey),
    Token(pace::AwaitTerminalToken),
    Open(SecureChannel),
}

impl Chip {
    fn step(&mut self, command: &Command) -> Vec<u8> {
        let data = &command.data;
        let random = |seed| Randomness::new([seed; 48]);
        let (next, answer) = match std::mem::replace(self, Self::Idle) {
            Self::Idle if command.ins == 0x22 => {
                (Self::Start(AwaitStart::new(PIN.as_bytes())), Vec::new())
            }
            Self::Start(state) => {
                let (next, answer) = state.start(data, [3; 16]).expect("our driver");
                (Self::Mapping(next), answer)
            }
            Self::Mapping(state) => {
                let (next, answer) = state.mapping_key(data, random(1)).expect("our driver");
                (Self::Ephemeral(next), answer)
            }
            Self::Ephemeral(state) => {
                let (next, answer) = state.ephemeral_key(data, random(2)).expect("our driver");
                (Self::Token(next), answer)
            }
            Self::Token(state) => {
                let (keys, answer) = state.token(data).expect("our driver");
                (Self::Open(SecureChannel::new(keys)), answer)
            }
            Self::Idle | Self::Open(_) => (Self::Idle, pace::card_access()),
        };
        *self = next;
        answer
    }
}
