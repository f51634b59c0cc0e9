// SPDX-License-Identifier: MIT OR Apache-2.0
//! The emulated card in this process, on a line on which tests let things go wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hsm_api::{KeyId, KeyUsage, ObjectId, Pin, SecurityModule};
use hsm_card::{
    Administrator, CardModule, CardOptions, CardProfile, CardTransport, InProcess, Signal,
    administrator,
};
use hsm_card_emulator::randomness::System;
use hsm_card_emulator::state::{State, Volatile};
use hsm_card_emulator::{Card, SharedCard};
use hsm_soft::SoftModule;
use hsm_suite::Names;

/// The card's PIN.
pub const PIN: &str = "1234567890";

/// A card and the line to it.
#[derive(Clone)]
pub struct Bench {
    /// The card.
    pub card: SharedCard,
    /// What goes wrong on the line.
    pub line: Arc<Line>,
    /// The driver's clock.
    pub clock: Arc<AtomicU64>,
}

/// What goes wrong on the line, and what was counted there.
#[derive(Default)]
pub struct Line {
    /// Commands so far.
    pub commands: AtomicUsize,
    /// Of these, starts of PACE.
    pub paces: AtomicUsize,
    /// The card leaves at the command with this number, after it carried it out.
    pub leaves_at: Mutex<Option<usize>>,
    /// Whether it comes back by itself at the next connection.
    pub comes_back: AtomicBool,
    /// Nobody is there.
    pub gone: AtomicBool,
    /// All that the driver sent and got.
    pub wire: Mutex<Vec<Vec<u8>>>,
}

impl Line {
    /// Starts of PACE so far.
    pub fn paces(&self) -> usize {
        self.paces.load(Ordering::SeqCst)
    }

    /// The card leaves after so many more commands, carried out or not answered: the last of them is.
    pub fn leave_after(&self, commands: usize, comes_back: bool) {
        let at = self.commands.load(Ordering::SeqCst) + commands;
        *self.leaves_at.lock().unwrap() = Some(at);
        self.comes_back.store(comes_back, Ordering::SeqCst);
    }
}

impl Bench {
    /// A card of the built-in profile.
    pub fn new() -> Self {
        Self::of(CardProfile::tr03109_2_assumed())
    }

    /// A card of this profile.
    pub fn of(profile: CardProfile) -> Self {
        let state = State::fresh(&profile, "T0001", Pin::new(PIN));
        Self {
            card: SharedCard::new(Card::new(profile, state, Volatile, System)),
            line: Arc::default(),
            clock: Arc::default(),
        }
    }

    /// A new line to the card; they share what goes wrong.
    pub fn transport(&self) -> Box<dyn CardTransport> {
        let Self { card, line, .. } = self.clone();
        Box::new(InProcess::new("the card", move |signal: Signal<'_>| {
            if line.gone.load(Ordering::SeqCst) {
                let reset = signal == Signal::Reset;
                if !(reset && line.comes_back.load(Ordering::SeqCst)) {
                    return None;
                }
                line.gone.store(false, Ordering::SeqCst);
            }
            let Signal::Command(command) = signal else {
                card.reset();
                return Some(Vec::new());
            };
            let number = line.commands.fetch_add(1, Ordering::SeqCst) + 1;
            if command.starts_with(&[0x00, 0x22, 0xc1, 0xa4]) {
                line.paces.fetch_add(1, Ordering::SeqCst);
            }
            let answer = card.transmit(command);
            line.wire
                .lock()
                .unwrap()
                .extend([command.to_vec(), answer.clone()]);
            let mut leaves_at = line.leaves_at.lock().unwrap();
            if *leaves_at == Some(number) {
                *leaves_at = None;
                line.gone.store(true, Ordering::SeqCst);
                card.reset();
                return None;
            }
            Some(answer)
        }))
    }

    /// How the tests use the card.
    pub fn options(&self) -> CardOptions {
        let clock = Arc::clone(&self.clock);
        CardOptions {
            clock: Some(Arc::new(move || {
                Duration::from_secs(clock.load(Ordering::SeqCst))
            })),
            profile: self.card.with(|card| card.profile().clone()),
            ..CardOptions::default()
        }
    }

    /// The driver with the right PIN.
    pub fn open(&self) -> CardModule {
        CardModule::open(self.transport(), Pin::new(PIN), self.options()).unwrap()
    }

    /// The driver with an administrator whom the card trusts.
    pub fn open_administered(&self) -> CardModule {
        let (public, administrator) = an_administrator();
        self.open().trust_administrator(&public).unwrap();
        let options = CardOptions {
            administrator: Some(administrator),
            ..self.options()
        };
        CardModule::open(self.transport(), Pin::new(PIN), options).unwrap()
    }

    /// Tries left for the PIN, as the card keeps them.
    pub fn tries_left(&self) -> u8 {
        self.card.with(|card| card.state().tries_left)
    }
}

/// An administrator with a key in software.
pub fn an_administrator() -> (hsm_api::PublicKey, Administrator) {
    let module = SoftModule::new();
    let key = KeyId::from("gwa");
    let curve = hsm_api::Curve::BrainpoolP256r1;
    let public = module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
    (public, administrator(Arc::new(module), key))
}

/// The names with places of their own, into which the card's maker may put keys.
pub fn fixed_names() -> Names {
    Names {
        sign: "gw-sig".into(),
        agree: "gw-enc".into(),
        certificate: ObjectId::certificate("gw-sig"),
        data: ObjectId::data("configuration"),
    }
}
