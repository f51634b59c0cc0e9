// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card in a reader of PC/SC. The service is found as libpcsclite does it: by `PCSCLITE_CSOCK_NAME` if that is set.

use std::fmt;

use pcsc::{Card, Context, Disposition, Error, Protocols, Scope, ShareMode};

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
    /// The reader with this name, or the only one whose name contains it. It is looked for by
    /// [`CardTransport::reset`], so that it may come later.
    pub fn new(wanted: impl Into<String>) -> Self {
        Self {
            wanted: wanted.into(),
            card: None,
            answer: vec![0; LONGEST],
        }
    }

    fn choose(&self, readers: Vec<String>) -> Result<String, TransportError> {
        let wanted = &self.wanted;
        if readers.contains(wanted) {
            return Ok(wanted.clone());
        }
        let there = match readers.is_empty() {
            true => "there is none".to_owned(),
            false => format!("there are {}", readers.join(", ")),
        };
        let mut fitting = readers.iter().filter(|name| name.contains(wanted));
        match (fitting.next(), fitting.next()) {
            (Some(reader), None) => Ok(reader.clone()),
            (Some(_), Some(_)) => Err(TransportError::Failed(format!(
                "several readers are called \"{wanted}\"; {there}"
            ))),
            (None, _) => Err(TransportError::Gone(format!(
                "no reader is called \"{wanted}\"; {there}"
            ))),
        }
    }
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
        let reader = self.choose(list(&context)?)?;
        let name = std::ffi::CString::new(reader)
            .map_err(|_| TransportError::Failed("a reader's name has a zero byte".to_owned()))?;
        let mut card = context
            .connect(&name, ShareMode::Exclusive, Protocols::ANY)
            .map_err(failure)?;
        // The last owner may have left the card in any state.
        card.reconnect(ShareMode::Exclusive, Protocols::ANY, Disposition::ResetCard)
            .map_err(failure)?;
        self.card = Some(card);
        Ok(())
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
    fn readers_are_chosen_by_name_or_a_part_that_only_one_has() {
        let all = || {
            vec![
                "Reader A 00".to_owned(),
                "Reader A 00 00".to_owned(),
                "Reader B 00".to_owned(),
            ]
        };
        let choose = |wanted: &str| PcscReader::new(wanted).choose(all());
        assert_eq!(choose("Reader A 00").unwrap(), "Reader A 00");
        assert_eq!(choose("B").unwrap(), "Reader B 00");
        assert!(matches!(choose("Reader A"), Err(TransportError::Failed(_))));
        assert!(matches!(choose("C"), Err(TransportError::Gone(_))));
        let none = PcscReader::new("A").choose(Vec::new());
        assert!(matches!(none, Err(TransportError::Gone(_))));
    }
}
