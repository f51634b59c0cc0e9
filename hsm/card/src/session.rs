// SPDX-License-Identifier: MIT OR Apache-2.0
//! The protected session with a card: SELECT, EF.CardAccess, PACE, and secure messaging for at most 48 hours
//! (TR-03109-2; TR-03116-3 §10; TR-03110-3).
//!
//! The PIN is the one thing that must not be tried twice: the card counts. Once it was refused, this session never sends
//! it again; and it does not spend the last try on a PIN of which it does not know that it is right.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_api::{ModuleError, Pin, Reason};
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, Response, SecureChannel, SecureError, StatusWord};
use zeroize::Zeroizing;

use crate::pace::{self, AwaitNonce, PaceError, Randomness};
use crate::profile::{CardProfile, Instruction};
use crate::trace::{ApduRecord, Recorder};
use crate::transport::{self, CardTransport, TransportError};

/// How long the keys of one PACE may be used (TR-03116-3 §10).
pub const LONGEST_SESSION: Duration = Duration::from_secs(48 * 3600);

/// The fewest digits of a PIN (TR-03116-3 §10).
pub const LEAST_DIGITS: usize = 10;

/// Time since any fixed moment, never going back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A card, and the protected channel to it where one is open.
pub struct CardSession {
    transport: Box<dyn CardTransport>,
    profile: Arc<CardProfile>,
    clock: Clock,
    recorder: Option<Recorder>,
    channel: Option<(SecureChannel, Duration)>,
    pin: PinState,
    /// Counts the channels: what lives in the card only as long as its session belongs to one of them.
    epoch: u64,
}

/// What is known of the PIN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PinState {
    Untried,
    /// The card took it.
    Right,
    /// The card refused it, with so many tries left where it told.
    Refused(Option<u8>),
}

impl CardSession {
    /// A session that is not open yet.
    pub fn new(transport: Box<dyn CardTransport>, profile: Arc<CardProfile>) -> Self {
        let start = Instant::now();
        Self {
            transport,
            profile,
            clock: Arc::new(move || start.elapsed()),
            recorder: None,
            channel: None,
            pin: PinState::Untried,
            epoch: 0,
        }
    }

    /// The same session with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The same session, which tells every command and answer.
    #[must_use]
    pub fn with_recorder(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// The card's command set.
    pub fn profile(&self) -> &Arc<CardProfile> {
        &self.profile
    }

    /// What and where the card is, for people.
    pub fn name(&self) -> String {
        self.transport.name()
    }

    /// Whether a channel is open and not too old.
    pub fn is_open(&self) -> bool {
        let now = (self.clock)();
        self.channel.as_ref().is_some_and(|(channel, since)| {
            channel.is_open() && now.saturating_sub(*since) < LONGEST_SESSION
        })
    }

    /// The number of the present channel; another one after each [`CardSession::open`].
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The tries left for a PIN that was refused, where the card told.
    pub fn tries_left(&self) -> Option<u8> {
        match self.pin {
            PinState::Refused(left) => left,
            PinState::Untried | PinState::Right => None,
        }
    }

    /// Connects, or connects anew; no channel is open then.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`].
    pub fn reset(&mut self) -> Result<(), ModuleError> {
        self.channel = None;
        Ok(self.transport.reset()?)
    }

    /// Connects and opens the channel with the PIN: SELECT, EF.CardAccess, PACE.
    ///
    /// # Errors
    /// [`Reason::BadInput`] for a PIN that has not [`LEAST_DIGITS`] digits; it is not sent. [`Reason::PinRefused`],
    /// [`Reason::PinLocked`]: for good, as far as this session is concerned. [`Reason::Gone`] and others.
    pub fn open(&mut self, pin: &Pin) -> Result<(), ModuleError> {
        if let PinState::Refused(left) = self.pin {
            return Err(pin_refused(
                left,
                "it was refused before and is not tried again",
            ));
        }
        let digits = pin.expose().bytes().filter(u8::is_ascii_digit).count();
        if digits < LEAST_DIGITS || digits != pin.expose().len() {
            return Err(ModuleError::caller(format!(
                "a card's PIN has at least {LEAST_DIGITS} digits and nothing else; it was not sent"
            ))
            .because(Reason::BadInput));
        }
        self.reset()?;
        let profile = Arc::clone(&self.profile);
        let select = profile
            .command(Instruction::SelectApplication)
            .with(profile.application.id.as_slice());
        self.accepted(&select, "select the application")?;
        let read = profile.command(Instruction::ReadCardAccess).expecting(256);
        let answer = self.exchange_plain(&read)?;
        if !matches!(answer.status, StatusWord::OK | StatusWord::END_OF_FILE) {
            return Err(transport::refused(answer.status, "read EF.CardAccess"));
        }
        if !pace::is_offered(&answer.data) {
            return Err(ModuleError::module(
                "the card does not offer PACE with brainpoolP256r1, generic mapping and AES-128; is it a security module?",
            )
            .because(Reason::Unsupported));
        }
        self.pace(pin)
    }

    /// Sends a command without protection. A card ends its session at that.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`].
    pub fn exchange_plain(&mut self, command: &Command) -> Result<Response, ModuleError> {
        self.channel = None;
        self.exchange(command)
    }

    /// Sends a command through the channel; any status word is an answer.
    ///
    /// # Errors
    /// [`Reason::Channel`] when no channel is open, it is too old, or the card ended or broke it; [`Reason::Gone`].
    /// The channel is then closed and its keys are wiped.
    pub fn exchange_protected(&mut self, command: &Command) -> Result<Response, ModuleError> {
        if !self.is_open() {
            self.channel = None;
            return Err(
                ModuleError::transport("no protected channel to the card is open")
                    .because(Reason::Channel),
            );
        }
        let response = self.protected_once(command)?;
        match response.status.right_length() {
            Some(length) if response.data.is_empty() => {
                self.protected_once(&command.clone().expecting(length))
            }
            _ => Ok(response),
        }
    }

    fn protected_once(&mut self, command: &Command) -> Result<Response, ModuleError> {
        let Some((mut channel, since)) = self.channel.take() else {
            return Err(broken(SecureError::Closed));
        };
        // The channel is put back only when all went well, so that no way out leaves a broken one.
        let sent = match channel.protect_command(command) {
            Err(SecureError::TooLong) => {
                self.channel = Some((channel, since));
                return Err(ModuleError::caller("the data is too long for a card")
                    .because(Reason::Unsupported));
            }
            sent => sent.map_err(broken)?,
        };
        if sent.data.len() > 255 && !self.profile.limits.extended {
            return Err(ModuleError::module(
                "the card takes no extended lengths, and the data needs them",
            )
            .because(Reason::Unsupported));
        }
        let started = (self.clock)();
        let received = transport::exchange(&mut *self.transport, &sent);
        let opened = received
            .as_ref()
            .map_err(TransportError::clone)
            .map_err(ModuleError::from)
            .and_then(|received| channel.open_response(received).map_err(broken));
        self.record(
            started,
            command,
            Some(&sent),
            &received,
            opened.as_ref().ok(),
        );
        let response = opened?;
        self.channel = Some((channel, since));
        Ok(response)
    }

    fn exchange(&mut self, command: &Command) -> Result<Response, ModuleError> {
        let started = (self.clock)();
        let received = transport::exchange(&mut *self.transport, command);
        self.record(started, command, None, &received, received.as_ref().ok());
        Ok(received?)
    }

    fn record(
        &self,
        started: Duration,
        plain: &Command,
        protected: Option<&Command>,
        received: &Result<Response, TransportError>,
        opened: Option<&Response>,
    ) {
        if let Some(recorder) = &self.recorder {
            let took = (self.clock)().saturating_sub(started);
            recorder(&ApduRecord::new(
                started, took, plain, protected, received, opened,
            ));
        }
    }

    fn accepted(&mut self, command: &Command, what: &str) -> Result<Response, ModuleError> {
        let response = self.exchange_plain(command)?;
        match response.status.is_ok() {
            true => Ok(response),
            false => Err(transport::refused(response.status, what)),
        }
    }

    fn pace(&mut self, pin: &Pin) -> Result<(), ModuleError> {
        let password = self.profile.password.reference;
        let objects = [
            tlv::object(Tag(0x80), &pace::PROTOCOL),
            tlv::object(Tag(0x83), &[password]),
        ];
        let set = self
            .profile
            .command(Instruction::SetPace)
            .with(objects.concat());
        let answer = self.exchange_plain(&set)?;
        match (answer.status, answer.status.tries_left()) {
            (StatusWord::OK, _) => {}
            (_, Some(0)) => return Err(self.locked()),
            // Somebody has used up all tries but one. If ours is wrong the module is lost.
            (_, Some(1)) if self.pin != PinState::Right => {
                return Err(ModuleError::module(
                    "one try of the PIN is left, which is not spent on a PIN that may be wrong; present the right PIN by another tool, which restores all tries",
                )
                .because(Reason::PinRefused));
            }
            (_, Some(_)) => {}
            (StatusWord::AUTHENTICATION_BLOCKED | StatusWord::DEACTIVATED, _) => {
                return Err(self.locked());
            }
            (status, None) => return Err(transport::refused(status, "start PACE")),
        }
        let (state, request) = AwaitNonce::new(pin.expose().as_bytes());
        let answer = self.step(request, true)?;
        let (state, request) = state.nonce(&answer, randomness()?).map_err(pace_failed)?;
        let answer = self.step(request, true)?;
        let (state, request) = state
            .mapping_key(&answer, randomness()?)
            .map_err(pace_failed)?;
        let answer = self.step(request, true)?;
        let (state, request) = state.ephemeral_key(&answer).map_err(pace_failed)?;
        // Here the card compares, and here it counts.
        let answer = self.step(request, false)?;
        let keys = state.token(&answer).map_err(pace_failed)?;
        self.pin = PinState::Right;
        self.epoch += 1;
        self.channel = Some((SecureChannel::new(keys), (self.clock)()));
        Ok(())
    }

    /// One GENERAL AUTHENTICATE; all but the last are chained.
    fn step(&mut self, request: Vec<u8>, chained: bool) -> Result<Vec<u8>, ModuleError> {
        let mut command = self
            .profile
            .command(Instruction::Pace)
            .with(request)
            .expecting(256);
        if chained {
            command = command.chained();
        }
        let mut response = self.exchange_plain(&command)?;
        let status = response.status;
        let tries = status.tries_left();
        if status.is_ok() {
            Ok(std::mem::take(&mut response.data))
        } else if status == StatusWord::AUTHENTICATION_BLOCKED || tries == Some(0) {
            Err(self.locked())
        } else if tries.is_some() || (!chained && status == StatusWord::NOT_AUTHENTICATED) {
            self.pin = PinState::Refused(tries);
            Err(pin_refused(tries, "it is not tried again"))
        } else {
            Err(transport::refused(status, "carry on with PACE"))
        }
    }

    fn locked(&mut self) -> ModuleError {
        self.pin = PinState::Refused(Some(0));
        pin_refused(Some(0), "")
    }
}

fn pin_refused(left: Option<u8>, then: &str) -> ModuleError {
    let (what, reason) = match left {
        Some(0) => (
            "the card's PIN is locked; only its administrator can help".to_owned(),
            Reason::PinLocked,
        ),
        Some(left) => (
            format!("the card refused the PIN, {left} tries are left; {then}"),
            Reason::PinRefused,
        ),
        None => (
            format!("the card refused the PIN; {then}"),
            Reason::PinRefused,
        ),
    };
    ModuleError::module(what).because(reason)
}

fn pace_failed(error: PaceError) -> ModuleError {
    ModuleError::module(format!("PACE with the card failed: {error}")).because(Reason::Channel)
}

fn broken(error: SecureError) -> ModuleError {
    ModuleError::transport(format!("protected channel to the card broke: {error}"))
        .because(Reason::Channel)
}

fn randomness() -> Result<Randomness, ModuleError> {
    let mut bytes = Zeroizing::new([0; 48]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| ModuleError::transport(format!("no randomness for PACE: {error}")))?;
    Ok(Randomness::new(*bytes))
}

impl fmt::Debug for CardSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardSession({}, open: {})", self.name(), self.is_open())
    }
}
