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
}

/// A card on a line.
#[derive(Debug)]
pub struct Player {
    card: SharedCard,
    latency: Latency,
    decoder: Decoder,
    /// The message that is kept back.
    silent: Option<Vec<u8>>,
    known: bool,
}

impl Player {
    /// A card that is put into the reader.
    pub fn new(card: SharedCard, latency: Latency) -> Self {
        Self {
            card,
            latency,
            decoder: Decoder::default(),
            silent: None,
            known: false,
        }
    }

    /// The card is put into the reader again.
    pub fn insert(&mut self) {
        self.card.reset();
        self.decoder = Decoder::default();
        self.silent = None;
        self.known = false;
    }

    /// Whether the reader has asked who the card is.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Takes what comes from the reader.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        for request in self.decoder.take(bytes) {
            match request {
                Request::PowerOff | Request::PowerOn | Request::Reset => self.card.reset(),
                Request::Atr => {
                    self.known = true;
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
