// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card in a reader of PC/SC. The service is found as libpcsclite does it: by `PCSCLITE_CSOCK_NAME` if that is set.

use std::ffi::{CStr, CString};
use std::fmt;
use std::time::{Duration, Instant};

use pcsc::{Card, Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};

use super::{CardTransport, TransportError};

/// The longest answer: 64 KiB and a status word.
const LONGEST: usize = 0x1_0000 + 2;

/// A card in a reader, held exclusively, so that nobody else's commands end our session; that makes transactions
/// needless. Dropping it resets the card, which wipes its session.
pub struct PcscReader {
    /// Name of the reader, or a part of it.
    wanted: String,
    card: Option<Card>,
    answer: Vec<u8>,
}

/// The names of all readers.
///
/// # Errors
/// [`TransportError`] when the service is not there.
pub fn readers() -> Result<Vec<String>, TransportError> {
    list(&context()?)
}

impl PcscReader {
    /// The reader with this name, or the only one whose name contains it; of several, the only one with a card in it.
    /// It is looked for by [`CardTransport::reset`], so that it may come later.
    pub fn new(wanted: impl Into<String>) -> Self {
        Self {
            wanted: wanted.into(),
            card: None,
            answer: vec![0; LONGEST],
        }
    }

    fn choose(
        &self,
        readers: Vec<String>,
        has_card: impl Fn(&str) -> bool,
    ) -> Result<String, TransportError> {
        let wanted = &self.wanted;
        if readers.contains(wanted) {
            return Ok(wanted.clone());
        }
        let there = match readers.is_empty() {
            true => "there is none".to_owned(),
            false => format!("there are {}", readers.join(", ")),
        };
        let fitting: Vec<_> = readers
            .iter()
            .filter(|name| name.contains(wanted))
            .collect();
        let holding: Vec<_> = match fitting[..] {
            [_, _, ..] => fitting.iter().filter(|name| has_card(name)).collect(),
            _ => fitting.iter().collect(),
        };
        match (&holding[..], fitting.is_empty()) {
            ([reader], _) => Ok((**reader).clone()),
            (_, true) => Err(TransportError::Gone(format!(
                "no reader is called \"{wanted}\"; {there}"
            ))),
            ([], false) => Err(TransportError::Gone(format!(
                "no card is in any reader called \"{wanted}\"; {there}"
            ))),
            _ => Err(TransportError::Failed(format!(
                "cards are in several readers called \"{wanted}\", name one of them; {there}"
            ))),
        }
    }
}

/// Whether a card is in the reader at this moment.
fn has_card(context: &Context, reader: &str) -> bool {
    let Ok(reader) = CString::new(reader) else {
        return false;
    };
    let mut states = [ReaderState::new(reader, State::UNAWARE)];
    // Asked for a change from "unaware", the service answers at once.
    context
        .get_status_change(Duration::ZERO, &mut states)
        .is_ok()
        && states
            .iter()
            .all(|state| state.event_state().contains(State::PRESENT))
}

fn context() -> Result<Context, TransportError> {
    Context::establish(Scope::System).map_err(|error| {
        TransportError::Gone(format!("cannot reach the smartcard service pcscd: {error}"))
    })
}

fn list(context: &Context) -> Result<Vec<String>, TransportError> {
    match context.list_readers_owned() {
        Ok(names) => Ok(names
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect()),
        Err(Error::NoReadersAvailable) => Ok(Vec::new()),
        Err(error) => Err(failure(error)),
    }
}

impl CardTransport for PcscReader {
    fn name(&self) -> String {
        format!("card in reader {}", self.wanted)
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, TransportError> {
        let card = self
            .card
            .as_ref()
            .ok_or_else(|| TransportError::Gone("the card is not connected".to_owned()))?;
        let answer = card.transmit(command, &mut self.answer).map_err(failure)?;
        let answer = answer.to_vec();
        self.answer
            .iter_mut()
            .take(answer.len())
            .for_each(|byte| *byte = 0);
        Ok(answer)
    }

    fn reset(&mut self) -> Result<(), TransportError> {
        // After a restart of the service the old context is of no use, so everything is made anew.
        self.disconnect();
        let context = context()?;
        let reader = self.choose(list(&context)?, |reader| has_card(&context, reader))?;
        let name = CString::new(reader)
            .map_err(|_| TransportError::Failed("a reader's name has a zero byte".to_owned()))?;
        let connect = || context.connect(&name, ShareMode::Exclusive, Protocols::ANY);
        let mut card = match connect() {
            Err(Error::NoSmartcard) => {
                wait_for_card(&context, &name)?;
                connect()
            }
            connected => connected,
        }
        .map_err(failure)?;
        // The last owner may have left the card in any state.
        card.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard)
            .map_err(failure)?;
        self.card = Some(card);
        Ok(())
    }
}

/// A card that was just put in, or the service just started: it takes a moment until the reader has powered it up.
const INSERTION: Duration = Duration::from_secs(1);

/// Waits until a card is in the reader, not longer than [`INSERTION`].
fn wait_for_card(context: &Context, reader: &CStr) -> Result<(), TransportError> {
    let deadline = Instant::now() + INSERTION;
    let mut states = [ReaderState::new(reader, State::UNAWARE)];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match context.get_status_change(left, &mut states) {
            Err(Error::Timeout) => return Err(failure(Error::NoSmartcard)),
            result => result.map_err(failure)?,
        }
        for state in &mut states {
            if state.event_state().contains(State::PRESENT) {
                return Ok(());
            }
            state.sync_current_state();
        }
    }
}

impl PcscReader {
    fn disconnect(&mut self) {
        if let Some(card) = self.card.take() {
            // A card that is gone cannot be reset, which is as good.
            drop(card.disconnect(Disposition::ResetCard));
        }
    }
}

impl Drop for PcscReader {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl fmt::Debug for PcscReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PcscReader({})", self.wanted)
    }
}

/// Sorts the errors of PC/SC.
fn failure(error: Error) -> TransportError {
    let text = format!("smartcard reader: {error}");
    match error {
        Error::SharingViolation => {
            TransportError::Busy(format!("{text}; another program holds the card, close it"))
        }
        Error::NoService
        | Error::ServiceStopped
        | Error::InvalidHandle
        | Error::UnknownReader
        | Error::ReaderUnavailable
        | Error::NoReadersAvailable
        | Error::NoSmartcard
        | Error::RemovedCard
        | Error::ResetCard
        | Error::UnpoweredCard
        | Error::UnresponsiveCard
        | Error::NotReady
        | Error::NotTransacted
        | Error::CommError
        | Error::InternalError => TransportError::Gone(text),
        _ => TransportError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_chosen_by_name_or_a_part_of_it_and_by_the_card_in_them() {
        let all = || {
            vec![
                "Reader A 00".to_owned(),
                "Reader A 00 00".to_owned(),
                "Reader B 00".to_owned(),
            ]
        };
        let choose = |wanted: &str, cards: &[&str]| {
            PcscReader::new(wanted).choose(all(), |reader| cards.contains(&reader))
        };
        assert_eq!(choose("Reader A 00", &[]).unwrap(), "Reader A 00");
        assert_eq!(choose("B", &[]).unwrap(), "Reader B 00");
        assert_eq!(choose("", &["Reader B 00"]).unwrap(), "Reader B 00");
        let cards = ["Reader A 00 00", "Reader B 00"];
        assert_eq!(choose("Reader A", &cards).unwrap(), "Reader A 00 00");
        assert!(matches!(
            choose("Reader", &cards),
            Err(TransportError::Failed(_))
        ));
        assert!(matches!(
            choose("Reader", &[]),
            Err(TransportError::Gone(_))
        ));
        assert!(matches!(choose("C", &cards), Err(TransportError::Gone(_))));
        let none = PcscReader::new("A").choose(Vec::new(), |_| true);
        assert!(matches!(none, Err(TransportError::Gone(_))));
    }
}
