// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ways to a card: a reader of PC/SC, or a card in this process. Bytes in, bytes out; nothing here knows what they mean,
//! but for the two answers that only concern the way (ISO/IEC 7816-4 §5.3.4): 61xx and 6Cxx.

use std::fmt;

use hsm_api::{Fault, ModuleError, Reason};
use smgw_apdu::{Command, Response, StatusWord};
use thiserror::Error;

#[cfg(feature = "pcsc")]
mod reader;

#[cfg(feature = "pcsc")]
pub use reader::{PcscReader, readers};

/// The way to one card.
pub trait CardTransport: Send + fmt::Debug {
    /// What and where it is, for people.
    fn name(&self) -> String;

    /// Sends a command and waits for its answer, however long the card takes.
    ///
    /// # Errors
    /// [`TransportError`]; whether the card carried the command out is then unknown.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError>;

    /// Connects to the card, or connects anew; the card then is as after its insertion: no session, nothing selected.
    ///
    /// # Errors
    /// [`TransportError`].
    fn reset(&mut self) -> Result<(), TransportError>;
}

/// Why a card cannot be reached.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TransportError {
    /// The reader, its service or the card is not there, or was taken away meanwhile.
    #[error("{0}")]
    Gone(String),
    /// Another program holds the card.
    #[error("{0}")]
    Busy(String),
    /// The service failed in another way, or the answer is none.
    #[error("{0}")]
    Failed(String),
}

impl From<TransportError> for ModuleError {
    fn from(error: TransportError) -> Self {
        let reason = match error {
            TransportError::Gone(_) => Reason::Gone,
            TransportError::Busy(_) => Reason::NotAllowed,
            TransportError::Failed(_) => Reason::Other,
        };
        Self::transport(error.to_string()).because(reason)
    }
}

/// What a card in this process is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal<'a> {
    /// It is powered up, or reset.
    Reset,
    /// It gets a command.
    Command(&'a [u8]),
}

/// A card in this process.
pub struct InProcess<F> {
    name: String,
    card: F,
}

impl<F: FnMut(Signal<'_>) -> Option<Vec<u8>> + Send> InProcess<F> {
    /// A card; it answers a reset with anything, and `None` means that it is not there.
    pub fn new(name: impl Into<String>, card: F) -> Self {
        Self {
            name: name.into(),
            card,
        }
    }

    fn signal(&mut self, signal: Signal<'_>) -> Result<Vec<u8>, TransportError> {
        (self.card)(signal)
            .ok_or_else(|| TransportError::Gone(format!("{} was taken away", self.name)))
    }
}

impl<F: FnMut(Signal<'_>) -> Option<Vec<u8>> + Send> CardTransport for InProcess<F> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        self.signal(Signal::Command(command))
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        self.signal(Signal::Reset).map(drop)
    }
}

impl<F> fmt::Debug for InProcess<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InProcess({})", self.name)
    }
}

/// Fetching the rest of an answer ends after so many rounds, whatever the card says: 64 KiB in pieces of 256 bytes.
const MOST_ROUNDS: usize = 256;

/// Sends a command and gathers its answer: fetches what 61xx announces, and asks again with the length that 6Cxx names.
///
/// # Errors
/// [`TransportError`], also when the card announces more and more.
pub(crate) fn exchange(
    transport: &mut dyn CardTransport,
    command: &Command,
) -> Result<Response, TransportError> {
    let mut gathered = send(transport, command)?;
    if let (Some(length), true) = (gathered.status.right_length(), gathered.data.is_empty()) {
        gathered = send(transport, &command.clone().expecting(length))?;
    }
    for _ in 0..MOST_ROUNDS {
        let Some(more) = gathered.status.more() else {
            return Ok(gathered);
        };
        let fetch = Command::new(0x00, 0xc0, 0x00, 0x00).expecting(more);
        let mut next = send(transport, &fetch)?;
        if let Some(length) = next.status.right_length() {
            next = send(transport, &fetch.expecting(length))?;
        }
        gathered.data.extend_from_slice(&next.data);
        gathered.status = next.status;
    }
    Err(TransportError::Failed(
        "the card announces an answer without end".to_owned(),
    ))
}

fn send(transport: &mut dyn CardTransport, command: &Command) -> Result<Response, TransportError> {
    let bytes = command
        .encode()
        .map_err(|error| TransportError::Failed(error.to_string()))?;
    let answer = transport.transmit(&bytes)?;
    // Some readers say nothing when the card leaves before it has answered.
    Response::decode(&answer).map_err(|error| TransportError::Gone(error.to_string()))
}

/// The error for a status word other than 9000; `what` is what was asked for.
pub(crate) fn refused(status: StatusWord, what: &str) -> ModuleError {
    let (fault, reason) = fault_of(status);
    let what = format!("card refused to {what}: {status}");
    let error = match fault {
        Fault::Caller => ModuleError::caller(what),
        _ => ModuleError::module(what),
    };
    error.because(reason)
}

fn fault_of(status: StatusWord) -> (Fault, Reason) {
    match status {
        StatusWord::WRONG_DATA => (Fault::Caller, Reason::BadInput),
        StatusWord::FILE_NOT_FOUND | StatusWord::NOT_FOUND => (Fault::Caller, Reason::NotFound),
        StatusWord::MEMORY_FAILURE | StatusWord::NO_SPACE => (Fault::Module, Reason::Memory),
        StatusWord::SECURITY_STATUS
        | StatusWord::CONDITIONS
        | StatusWord::NOT_AUTHENTICATED
        | StatusWord::NO_CURRENT_FILE => (Fault::Module, Reason::NotAllowed),
        StatusWord::AUTHENTICATION_BLOCKED | StatusWord::DEACTIVATED => {
            (Fault::Module, Reason::PinLocked)
        }
        StatusWord::WRONG_LENGTH
        | StatusWord::WRONG_PARAMETERS
        | StatusWord::BEYOND_FILE
        | StatusWord::UNKNOWN_INSTRUCTION
        | StatusWord::UNKNOWN_CLASS
        | StatusWord::NO_CHAINING
        | StatusWord::NO_SECURE_MESSAGING => (Fault::Module, Reason::Unsupported),
        _ if status.tries_left().is_some() => (Fault::Module, Reason::PinRefused),
        _ => (Fault::Module, Reason::Other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Answers given in turn, and what was asked.
    fn scripted(answers: &[&[u8]]) -> (impl CardTransport + use<>, Arc<Mutex<Vec<Vec<u8>>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut answers: Vec<Vec<u8>> = answers.iter().rev().map(|one| one.to_vec()).collect();
        let log = Arc::clone(&asked);
        let card = InProcess::new("scripted card", move |signal: Signal<'_>| {
            if let Signal::Command(command) = signal {
                log.lock().unwrap().push(command.to_vec());
            }
            answers.pop()
        });
        (card, asked)
    }

    #[test]
    fn announced_rest_is_fetched() {
        let (mut card, asked) =
            scripted(&[&[1, 0x61, 2], &[2, 3, 0x61, 0], &[0x6c, 1], &[4, 0x90, 0]]);
        let command = Command::new(0, 0x84, 0, 0).expecting(4);
        let response = exchange(&mut card, &command).unwrap();
        assert_eq!(response, Response::new([1, 2, 3, 4], StatusWord::OK));
        assert_eq!(
            *asked.lock().unwrap(),
            [
                &[0, 0x84, 0, 0, 4],
                &[0, 0xc0, 0, 0, 2],
                &[0, 0xc0, 0, 0, 0],
                &[0, 0xc0, 0, 0, 1]
            ]
        );
    }

    #[test]
    fn the_right_length_is_used_once() {
        let (mut card, asked) = scripted(&[&[0x6c, 8], &[7; 10]]);
        let response = exchange(&mut card, &Command::new(0, 0x84, 0, 0).expecting(256)).unwrap();
        assert_eq!(response, Response::new([7; 8], StatusWord(0x0707)));
        assert_eq!(asked.lock().unwrap()[1], [0, 0x84, 0, 0, 8]);
        let (mut card, asked) = scripted(&[&[0x6c, 8], &[0x6c, 9]]);
        let response = exchange(&mut card, &Command::new(0, 0x84, 0, 0).expecting(256)).unwrap();
        assert_eq!(response.status, StatusWord(0x6c09));
        assert_eq!(asked.lock().unwrap().len(), 2);
    }

    #[test]
    fn endless_and_broken_answers_end() {
        let mut card = InProcess::new("card", |_: Signal<'_>| {
            Some(vec![0; 256].into_iter().chain([0x61, 0]).collect())
        });
        let error = exchange(&mut card, &Command::new(0, 0x84, 0, 0)).unwrap_err();
        assert!(matches!(error, TransportError::Failed(_)));
        let (mut card, _) = scripted(&[&[0x90], &[]]);
        for _ in 0..3 {
            let error = exchange(&mut card, &Command::new(0, 0x84, 0, 0)).unwrap_err();
            assert_eq!(ModuleError::from(error).reason(), Reason::Gone);
        }
    }

    #[test]
    fn status_words_become_reasons() {
        for (status, fault, reason) in [
            (0x6982, Fault::Module, Reason::NotAllowed),
            (0x6985, Fault::Module, Reason::NotAllowed),
            (0x6581, Fault::Module, Reason::Memory),
            (0x6983, Fault::Module, Reason::PinLocked),
            (0x63c2, Fault::Module, Reason::PinRefused),
            (0x6a80, Fault::Caller, Reason::BadInput),
            (0x6a88, Fault::Caller, Reason::NotFound),
            (0x6d00, Fault::Module, Reason::Unsupported),
            (0x6f00, Fault::Module, Reason::Other),
        ] {
            let error = refused(StatusWord(status), "sign");
            assert_eq!((error.fault(), error.reason()), (fault, reason), "{error}");
            assert!(error.to_string().contains(&format!("{status:04X}")));
        }
    }
}
