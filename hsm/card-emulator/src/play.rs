// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plays a card for the virtual reader: requests in, messages out, each with the time the card takes over it.

use std::time::Duration;

use crate::card::{ATR, SharedCard};
use crate::fault::Fault;
use crate::latency::Latency;
use crate::vpcd::{self, Decoder, Request};

/// What is to be done on the line, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Wait so long and send the message.
    Send(Duration, Vec<u8>),
    /// Leave the reader.
    Leave,
    /// Leave the reader for so long and come back: it missed that the card was out.
    LeaveFor(Duration),
}

/// A card on a line.
#[derive(Debug)]
pub struct Player {
    card: SharedCard,
    latency: Latency,
    decoder: Decoder,
    /// The message that is kept back.
    silent: Option<Vec<u8>>,
    powered: bool,
    /// How often the reader asked who the card is before it gave power.
    asked: u8,
    known: bool,
}

/// pcscd looks for cards every 0.4 s, and takes one that was away in between for the one it had, with what it had found
/// wrong with it. Power is what it gives to a card it sees come; one that only asks, and so often, has seen none come.
const ASKED: u8 = 3;
const AWAY: Duration = Duration::from_millis(500);

impl Player {
    /// A card that is put into the reader.
    pub fn new(card: SharedCard, latency: Latency) -> Self {
        Self {
            card,
            latency,
            decoder: Decoder::default(),
            silent: None,
            powered: false,
            asked: 0,
            known: false,
        }
    }

    /// The card is put into the reader again.
    pub fn insert(&mut self) {
        self.card.reset();
        self.decoder = Decoder::default();
        self.silent = None;
        self.powered = false;
        self.asked = 0;
        self.known = false;
    }

    /// Whether the reader has taken notice of the card: given it power and asked who it is.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Takes what comes from the reader.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        for request in self.decoder.take(bytes) {
            match request {
                Request::PowerOff | Request::Reset => self.card.reset(),
                Request::PowerOn => {
                    self.powered = true;
                    self.card.reset();
                }
                Request::Atr if !self.powered && self.asked >= ASKED => {
                    actions.push(Action::LeaveFor(AWAY));
                    return actions;
                }
                Request::Atr => {
                    self.asked = self.asked.saturating_add(1);
                    self.known = self.powered;
                    actions.extend(
                        vpcd::message(&ATR).map(|message| Action::Send(Duration::ZERO, message)),
                    );
                }
                Request::Command(command) => actions.extend(self.exchange(&command)),
                Request::Unknown(_) => {}
            }
        }
        actions
    }

    /// Gives the answer that [`Fault::NoAnswer`] kept back.
    pub fn answer(&mut self) -> Option<Action> {
        let message = self.silent.take()?;
        Some(Action::Send(Duration::ZERO, message))
    }

    fn exchange(&mut self, command: &[u8]) -> Option<Action> {
        let response = self.card.transmit(command);
        let time = self.latency.of_exchange(command, &response);
        let message = vpcd::message(&response)?;
        if self.card.with(|card| card.strikes(Fault::RemovalMidApdu)) {
            return Some(Action::Leave);
        }
        if self.card.with(|card| card.strikes(Fault::NoAnswer)) {
            self.silent = Some(message);
            return None;
        }
        Some(Action::Send(time, message))
    }
}

#[cfg(test)]
mod tests {
    use hsm_api::Pin;
    use hsm_card::CardProfile;

    use super::*;
    use crate::card::Card;
    use crate::dice::Dice;
    use crate::state::{State, Volatile};

    /// READ BINARY of EF.CardAccess, as the reader sends it.
    const READ: [u8; 7] = [0, 5, 0, 0xb0, 0x9c, 0, 0];

    fn player(latency: Latency) -> (Player, SharedCard) {
        let profile = CardProfile::tr03109_2_assumed();
        let state = State::fresh(&profile, "00", Pin::new("1234567890"));
        let card = SharedCard::new(Card::new(profile, state, Volatile, Dice::new(1)));
        (Player::new(card.clone(), latency), card)
    }

    #[test]
    fn the_reader_gets_what_it_asks_for() {
        let (mut player, _) = player(Latency::instant());
        assert!(matches!(player.take(&[0, 1, 4])[..], [Action::Send(..)]));
        assert_eq!(player.take(&[0, 1, 1, 0, 1, 0, 0, 1, 2]), []);
        assert!(!player.is_known());
        let [Action::Send(Duration::ZERO, atr)] = &player.take(&[0, 1, 4])[..] else {
            panic!("no ATR");
        };
        assert_eq!(atr[2..], ATR);
        // ISO/IEC 7816-3 §8.2.5: all but the first byte add up to nothing.
        assert_eq!(ATR[1..].iter().fold(0, |sum, byte| sum ^ byte), 0);
        assert!(player.is_known());
        let [Action::Send(Duration::ZERO, answer)] = &player.take(&READ)[..] else {
            panic!("no answer");
        };
        assert_eq!(
            answer[2..],
            [&hsm_card::pace::card_access()[..], &[0x90, 0]].concat()
        );
    }

    #[test]
    fn a_reader_that_missed_the_removal_gets_another() {
        let (mut player, _) = player(Latency::instant());
        for _ in 0..ASKED {
            assert!(matches!(player.take(&[0, 1, 4])[..], [Action::Send(..)]));
        }
        assert!(!player.is_known());
        assert_eq!(player.take(&[0, 1, 4]), [Action::LeaveFor(AWAY)]);
        player.insert();
        player.take(&[0, 1, 1]);
        for _ in 0..=2 * ASKED {
            assert!(matches!(player.take(&[0, 1, 4])[..], [Action::Send(..)]));
        }
    }

    #[test]
    fn time_is_told_and_not_spent() {
        let table = "[default]\nbase-ms = 60000\nper-byte-us = 1000";
        let (mut player, _) = player(Latency::from_toml(table, 0).unwrap());
        let [Action::Send(time, _)] = player.take(&READ)[..] else {
            panic!("no answer");
        };
        // Five bytes there, 22 and the status word back.
        assert_eq!(time, Duration::from_millis(60_000 + 5 + 22 + 2));
    }

    #[test]
    fn faults_of_the_line() {
        let (mut player, card) = player(Latency::instant());
        card.with(|card| {
            card.plan(Fault::NoAnswer.at(1));
            card.plan(Fault::RemovalMidApdu.at(2));
        });
        assert_eq!(player.take(&READ), []);
        assert!(matches!(player.answer(), Some(Action::Send(..))));
        assert_eq!(player.answer(), None);
        assert_eq!(player.take(&READ), [Action::Leave]);
        player.insert();
        assert!(matches!(player.take(&READ)[..], [Action::Send(..)]));
    }
}
