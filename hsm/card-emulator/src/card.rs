// SPDX-License-Identifier: MIT OR Apache-2.0
//! The card: command APDUs in, response APDUs out. It has no clock, no generator and no file of its own; what it keeps
//! goes to a [`Memory`], what it draws comes from a [`Random`].
//!
//! Its command set, references, files and access rules are those of a [`CardProfile`], the same table the driver reads.
//! Before PACE it only selects its application, reads EF.CardAccess and runs PACE. Everything else comes under secure
//! messaging, and a command without it ends the session (TR-03110-3 F).

mod files;
mod keys;
mod password;
mod shared;

use std::collections::BTreeMap;
use std::fmt;

use hsm_api::{LifeCycle, Pin, PublicKey};
use hsm_card::CardProfile;
use hsm_card::profile::{FileId, Instruction, Need};
use hsm_soft::PrivateKey;
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, Response, SecureChannel, SessionKeys, StatusWord};
use zeroize::Zeroizing;

pub use shared::SharedCard;

use crate::fault::{Fault, Faults, Planned};
use crate::randomness::Random;
use crate::state::{Memory, State};
use password::Pace;

/// The answer to reset: T=1; historical bytes with the card's capabilities (select by name and by file identifier,
/// chaining, extended lengths) and the letters SMGW (ISO/IEC 7816-4 §12.1.1).
pub const ATR: [u8; 15] = [
    0x3b, 0x8a, 0x80, 0x01, 0x80, 0x73, 0x90, 0x01, 0xc0, 0x64, b'S', b'M', b'G', b'W', 0xc3,
];

/// A command that a card carried out, and what it answered, both without the protection of secure messaging.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The command.
    pub command: Command,
    /// Whether it came under secure messaging.
    pub protected: bool,
    /// The answer.
    pub answer: Response,
}

/// Gets each exchange as soon as it is over.
pub type Watcher = Box<dyn FnMut(Exchange) + Send>;

/// One card.
pub struct Card {
    profile: CardProfile,
    state: State,
    memory: Box<dyn Memory>,
    random: Box<dyn Random>,
    faults: Faults,
    watcher: Option<Watcher>,
    pace: Pace,
    session: Option<Session>,
    chain: Option<Command>,
}

/// What holds between PACE and the end of its channel.
struct Session {
    channel: SecureChannel,
    file: Option<FileId>,
    signing: Option<u8>,
    agreeing: Option<u8>,
    verifying: Option<PublicKey>,
    /// The challenge last given, for external authentication; good for one try.
    challenge: Option<Vec<u8>>,
    administrator_key: Option<PublicKey>,
    administrator: bool,
    ephemeral: BTreeMap<u8, PrivateKey>,
}

/// How a command ends: with data, or with a status word other than 9000.
type Outcome = Result<Vec<u8>, StatusWord>;

impl State {
    /// What a card of this profile leaves its maker with: no keys, empty files.
    pub fn fresh(profile: &CardProfile, serial: impl Into<String>, pin: Pin) -> Self {
        Self {
            serial: serial.into(),
            phase: LifeCycle::Production,
            pin,
            tries_left: profile.password.tries,
            keys: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }
}

impl Card {
    /// A card that goes on where `state` was kept.
    pub fn new(
        profile: CardProfile,
        state: State,
        memory: impl Memory + 'static,
        random: impl Random + 'static,
    ) -> Self {
        Self {
            profile,
            state,
            memory: Box::new(memory),
            random: Box::new(random),
            faults: Faults::default(),
            watcher: None,
            pace: Pace::Idle,
            session: None,
            chain: None,
        }
    }

    /// Has all commands watched from inside, where no secure messaging hides them; for tests of what leaves a card.
    pub fn watch(&mut self, watcher: impl FnMut(Exchange) + Send + 'static) {
        self.watcher = Some(Box::new(watcher));
    }

    /// Plans a fault.
    pub fn plan(&mut self, fault: impl Into<Planned>) {
        self.faults.plan(fault);
    }

    /// Forgets all planned faults.
    pub fn heal(&mut self) {
        self.faults = Faults::default();
    }

    /// Here is an opportunity for a fault of the line, which whoever plays the card carries out: does it strike?
    pub fn strikes(&mut self, fault: Fault) -> bool {
        self.faults.strikes(fault)
    }

    /// The command set it speaks.
    pub fn profile(&self) -> &CardProfile {
        &self.profile
    }

    /// What the card keeps.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Begins a session with these keys, as PACE would; for fuzzing, and for tests of what comes after PACE.
    pub fn begin_session(&mut self, keys: SessionKeys) {
        self.session = Some(Session {
            channel: SecureChannel::new(keys),
            file: None,
            signing: None,
            agreeing: None,
            verifying: None,
            challenge: None,
            administrator_key: None,
            administrator: false,
            ephemeral: BTreeMap::new(),
        });
    }

    /// Power comes or the reader resets: sessions, selections and ephemeral keys are gone.
    pub fn reset(&mut self) {
        self.end_session();
        self.pace = Pace::Idle;
    }

    /// Carries out one command; gives the response, at least a status word. Any bytes will do.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        let response = match Command::decode(command) {
            Ok(command) if command.is_protected() => {
                self.pace = Pace::Idle;
                self.protected(&command)
            }
            Ok(command) => {
                self.end_session();
                self.carry_out(&command, false)
            }
            Err(_) => {
                self.reset();
                StatusWord::WRONG_LENGTH.into()
            }
        };
        response.encode()
    }

    /// Carries out a command under secure messaging.
    fn protected(&mut self, command: &Command) -> Response {
        let Some(session) = &mut self.session else {
            return StatusWord::SECURITY_STATUS.into();
        };
        let before = session.channel.clone();
        let opened = match session.channel.open_command(command) {
            Ok(opened) => opened,
            Err(error) => {
                self.end_session();
                return error.status().into();
            }
        };
        let response = if self.faults.strikes(Fault::SecurityStatus) {
            StatusWord::SECURITY_STATUS.into()
        } else if self.faults.strikes(Fault::Conditions) {
            StatusWord::CONDITIONS.into()
        } else {
            self.carry_out(&opened, true)
        };
        self.protect(&response, before)
    }

    /// Wraps a response; `before` is the channel as it was before the command.
    fn protect(&mut self, response: &Response, mut before: SecureChannel) -> Response {
        let Some(session) = &mut self.session else {
            return response.clone();
        };
        let protected = session.channel.protect_response(response);
        let protected = if self.faults.strikes(Fault::WrongCounter) {
            before.protect_response(response)
        } else {
            protected
        };
        if self.faults.strikes(Fault::SmDesync) {
            session.channel.skip();
            session.channel.skip();
        }
        match protected {
            Ok(mut protected) => {
                if self.faults.strikes(Fault::WrongMac)
                    && let Some(last) = protected.data.last_mut()
                {
                    *last ^= 1;
                }
                protected
            }
            Err(error) => {
                self.end_session();
                error.status().into()
            }
        }
    }

    fn carry_out(&mut self, command: &Command, protected: bool) -> Response {
        let outcome = self.try_to(command, protected);
        let response = outcome.unwrap_or_else(Response::from);
        if let Some(watcher) = &mut self.watcher {
            watcher(Exchange {
                command: command.clone(),
                protected,
                answer: response.clone(),
            });
        }
        response
    }

    fn try_to(&mut self, command: &Command, protected: bool) -> Result<Response, StatusWord> {
        let id = self.profile.recognise(command, protected);
        if id != Some(Instruction::Pace) {
            self.pace = Pace::Idle;
        }
        let id = id.ok_or_else(|| self.unknown(command))?;
        let spec = self.profile.spec(id);
        if spec.protected && !protected {
            return Err(StatusWord::SECURITY_STATUS);
        }
        let too_long = command.data.len() > SHORT_DATA
            || command.expected.is_some_and(|most| most > SHORT_EXPECTED);
        if too_long && !self.profile.limits.extended {
            return Err(StatusWord::WRONG_LENGTH);
        }
        if id == Instruction::Pace {
            return self
                .pace(command)
                .map(|data| Response::new(data, StatusWord::OK));
        }
        let Some(command) = self.gather(command)? else {
            return Ok(StatusWord::OK.into());
        };
        let file = self.session.as_ref().and_then(|session| session.file);
        match self.profile.needs(id, self.state.phase, file) {
            Need::Pace => {}
            Need::Administrator => {
                if !self.session()?.administrator {
                    return Err(StatusWord::SECURITY_STATUS);
                }
            }
            Need::NothingSuffices => return Err(StatusWord::CONDITIONS),
        }
        if id == Instruction::ReadBinary {
            return self.read_binary(&command);
        }
        self.instruction(id, &command)
            .map(|data| Response::new(data, StatusWord::OK))
    }

    fn instruction(&mut self, id: Instruction, command: &Command) -> Outcome {
        let data = command.data.as_slice();
        match id {
            Instruction::SelectApplication => self.select_application(data),
            Instruction::SelectFile => self.select_file(data),
            Instruction::ReadCardAccess => Ok(hsm_card::pace::card_access()),
            Instruction::SetPace => self.set_pace(data),
            Instruction::UpdateBinary => self.update_binary(offset(command), data),
            Instruction::GetChallenge => self.challenge(command.expected),
            Instruction::SetSigningKey => self.set_signing_key(data),
            Instruction::Sign => self.sign(data),
            Instruction::SetVerifyingKey => self.set_verifying_key(data),
            Instruction::Verify => self.verify(data),
            Instruction::SetAgreementKey => self.set_agreement_key(data),
            Instruction::Agree => self.agree(data),
            Instruction::GenerateKeyPair => self.generate_key_pair(data),
            Instruction::GenerateEphemeralKey => self.generate_ephemeral_key(data),
            Instruction::ReadPublicKey => self.read_public_key(data),
            Instruction::DeleteKey => self.delete_key(data),
            Instruction::DeleteEphemeralKey => self.delete_ephemeral_key(data),
            Instruction::SetAdministratorKey => self.set_administrator_key(data),
            Instruction::ExternalAuthenticate => self.external_authenticate(data),
            Instruction::ChangePin => self.change_pin(data),
            Instruction::EnterPhase => self.enter_phase(command.p2),
            Instruction::Terminate => self.terminate(),
            // These two have been dealt with; what the profile may learn later is not supported.
            _ => Err(StatusWord::UNKNOWN_INSTRUCTION),
        }
    }

    /// Collects the commands of a chain; gives the whole one with its last.
    fn gather(&mut self, command: &Command) -> Result<Option<Command>, StatusWord> {
        let more = command.is_chained();
        let mut whole = match self.chain.take() {
            None => Command {
                data: Vec::new(),
                ..command.clone()
            },
            Some(begun)
                if (begun.ins, begun.p1, begun.p2) == (command.ins, command.p1, command.p2) =>
            {
                begun
            }
            Some(_) => return Err(StatusWord::LAST_OF_CHAIN_EXPECTED),
        };
        if whole.data.len() + command.data.len() > Command::MOST_DATA {
            return Err(StatusWord::WRONG_LENGTH);
        }
        whole.data.extend_from_slice(&command.data);
        whole.expected = command.expected;
        if more {
            self.chain = Some(whole);
            return Ok(None);
        }
        Ok(Some(whole))
    }

    /// Why a command is none of the profile's.
    fn unknown(&self, command: &Command) -> StatusWord {
        let select = self.profile.spec(Instruction::SelectApplication).header;
        let [.., p1, p2] = select;
        let known = |spec: &[u8; 4]| spec.get(1) == Some(&command.ins);
        if command.cla & !CHAINED != 0 {
            StatusWord::UNKNOWN_CLASS
        } else if known(&select) && (command.p1, command.p2) != (p1, p2) {
            // Whoever looks for another application or file finds none, however it asks.
            StatusWord::FILE_NOT_FOUND
        } else if self.profile.commands.iter().any(|spec| known(&spec.header)) {
            StatusWord::WRONG_PARAMETERS
        } else {
            StatusWord::UNKNOWN_INSTRUCTION
        }
    }

    fn end_session(&mut self) {
        self.session = None;
        self.chain = None;
    }

    fn session(&mut self) -> Result<&mut Session, StatusWord> {
        self.session.as_mut().ok_or(StatusWord::SECURITY_STATUS)
    }

    /// Changes what the card keeps, in its memory first.
    fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StatusWord> {
        if self.faults.strikes(Fault::MemoryFailure) {
            return Err(StatusWord::MEMORY_FAILURE);
        }
        self.keep(change)
    }

    fn keep(&mut self, change: impl FnOnce(&mut State)) -> Result<(), StatusWord> {
        let mut next = self.state.clone();
        change(&mut next);
        self.memory
            .keep(&next)
            .map_err(|_| StatusWord::MEMORY_FAILURE)?;
        self.state = next;
        Ok(())
    }

    fn draw(&mut self, out: &mut [u8]) -> Result<(), StatusWord> {
        if self.faults.strikes(Fault::ConstantRng) {
            out.fill(CONSTANT);
            return Ok(());
        }
        self.random.fill(out).map_err(|_| StatusWord::NO_DIAGNOSIS)
    }

    fn draw_array<const N: usize>(&mut self) -> Result<Zeroizing<[u8; N]>, StatusWord> {
        let mut bytes = Zeroizing::new([0; N]);
        self.draw(&mut *bytes)?;
        Ok(bytes)
    }

    fn enter_phase(&mut self, number: u8) -> Outcome {
        let phase = LifeCycle::ALL.get(usize::from(number)).copied();
        let phase = phase.ok_or(StatusWord::WRONG_PARAMETERS)?;
        if self.state.phase.require_forward(phase).is_err() {
            return Err(StatusWord::CONDITIONS);
        }
        if phase != self.state.phase {
            self.change(|state| state.phase = phase)?;
        }
        Ok(Vec::new())
    }

    fn terminate(&mut self) -> Outcome {
        self.change(|state| state.phase = LifeCycle::Decommissioned)?;
        Ok(Vec::new())
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({}, {})", self.state.serial, self.state.phase)
    }
}

/// The content of a data object that must be there.
fn value(data: &[u8], tag: u32) -> Result<&[u8], StatusWord> {
    match tlv::find(data, Tag(tag)) {
        Ok(Some(value)) => Ok(value),
        _ => Err(StatusWord::WRONG_DATA),
    }
}

/// The content of a data object of one byte.
fn byte(data: &[u8], tag: u32) -> Result<u8, StatusWord> {
    match value(data, tag)? {
        [byte] => Ok(*byte),
        _ => Err(StatusWord::WRONG_DATA),
    }
}

fn offset(command: &Command) -> usize {
    usize::from(u16::from_be_bytes([command.p1, command.p2]))
}

/// Bit 5 of the class byte: the command goes on in the next one.
const CHAINED: u8 = 0x10;

const SHORT_DATA: usize = 255;
const SHORT_EXPECTED: u32 = 256;

/// What a generator with a fault gives.
const CONSTANT: u8 = 0x5a;
