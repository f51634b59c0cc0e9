// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes; run over seeds and their mutations here, and by the fuzzer.

use hsm_api::Pin;
use hsm_card::CardProfile;
use hsm_card_emulator::Card;
use hsm_card_emulator::dice::Dice;
use hsm_card_emulator::state::{State, Volatile};
use hsm_card_emulator::vpcd::{Decoder, Request};
use smgw_apdu::{Command, Response, SecureChannel, SessionKeys};

/// A card takes any commands. Each is a length byte and content; the first byte of all says whether they come under a
/// valid secure channel.
pub fn card_apdu(data: &[u8]) {
    let Some((mode, mut rest)) = data.split_first() else {
        return;
    };
    let profile = CardProfile::tr03109_2_assumed();
    let state = State::fresh(&profile, "00", Pin::new("1234567890"));
    let mut card = Card::new(profile, state, Volatile, Dice::new(1));
    let keys = || SessionKeys::new([1; 16], [2; 16]);
    let mut channel = (mode & 1 == 1).then(|| {
        card.begin_session(keys());
        SecureChannel::new(keys())
    });
    let mut phase = card.state().phase;
    while let Some((length, after)) = rest.split_first() {
        let (bytes, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let command = channel.as_mut().and_then(|channel| {
            let command = channel
                .protect_command(&Command::decode(bytes).ok()?)
                .ok()?;
            command.encode().ok()
        });
        let protected = command.is_some();
        let answer = card.transmit(command.as_deref().unwrap_or(bytes));
        let answer = Response::decode(&answer).expect("at least a status word");
        if protected {
            let channel = channel.as_mut().expect("it protected the command");
            // A valid channel stays valid, whatever is in the commands.
            channel
                .open_response(&answer)
                .expect("the answer is protected");
        } else {
            channel = None;
        }
        assert!(card.state().phase >= phase, "the life cycle went back");
        phase = card.state().phase;
        assert!(card.state().tries_left <= 3);
    }
}

/// However the bytes of a reader are cut, the requests are the same, and no byte is lost.
pub fn vpcd(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else {
        return;
    };
    let whole = Decoder::default().take(data);
    let mut decoder = Decoder::default();
    let pieces: Vec<_> = data
        .chunks(usize::from(*cut).max(1))
        .flat_map(|piece| decoder.take(piece))
        .collect();
    assert_eq!(whole, pieces);
    let taken: usize = whole
        .iter()
        .map(|request| match request {
            Request::Command(command) => 2 + command.len(),
            Request::Unknown(None) => 2,
            _ => 3,
        })
        .sum();
    assert!(taken <= data.len());
}
