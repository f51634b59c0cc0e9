// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PIN: PACE as the chip does it (TR-03110-3 B.1, B.14), tries that are counted before they are judged, and change.

use hsm_api::Pin;
use hsm_card::pace::{
    AwaitStart, AwaitTerminalEphemeralKey, AwaitTerminalMappingKey, AwaitTerminalToken,
    BRAINPOOL_P256R1, PROTOCOL, PaceError, Randomness,
};
use smgw_apdu::tlv::{self, Tag};
use smgw_apdu::{Command, StatusWord};

use super::{Card, Outcome, value};
use crate::fault::Fault;

/// How far PACE is.
pub(super) enum Pace {
    Idle,
    /// The PIN that was chosen is blocked.
    Blocked,
    Chosen(AwaitStart),
    NonceGiven(AwaitTerminalMappingKey),
    Mapped(AwaitTerminalEphemeralKey),
    Agreed(AwaitTerminalToken),
}

/// Digits of a PIN (TR-03116-3 §10: 10 and more); the upper bound is ours.
const PIN_LENGTH: std::ops::RangeInclusive<usize> = 10..=32;

impl Card {
    pub(super) fn set_pace(&mut self, data: &[u8]) -> Outcome {
        if value(data, 0x80)? != PROTOCOL {
            return Err(StatusWord::WRONG_DATA);
        }
        if value(data, 0x83)? != [self.profile.password.reference] {
            return Err(StatusWord::NOT_FOUND);
        }
        match tlv::find(data, Tag(0x84)) {
            Ok(None | Some([BRAINPOOL_P256R1])) => {}
            _ => return Err(StatusWord::WRONG_DATA),
        }
        let blocked = self.faults.strikes(Fault::PinBlocked);
        let left = if blocked { 0 } else { self.state.tries_left };
        self.pace = match left {
            0 => Pace::Blocked,
            _ => Pace::Chosen(AwaitStart::new(self.state.pin.expose().as_bytes())),
        };
        // The tries left are told when they are not all (B.14.1).
        match left == self.profile.password.tries {
            true => Ok(Vec::new()),
            false => Err(StatusWord::tries(left)),
        }
    }

    /// One GENERAL AUTHENTICATE. All but the last say that more follows.
    pub(super) fn pace(&mut self, command: &Command) -> Outcome {
        let data = command.data.as_slice();
        let step = std::mem::replace(&mut self.pace, Pace::Idle);
        match (&step, command.is_chained()) {
            (Pace::Agreed(_), true) => return Err(StatusWord::LAST_OF_CHAIN_EXPECTED),
            (Pace::Chosen(_) | Pace::NonceGiven(_) | Pace::Mapped(_), false) => {
                return Err(StatusWord::CONDITIONS);
            }
            _ => {}
        }
        let (next, answer) = match step {
            Pace::Idle => return Err(StatusWord::CONDITIONS),
            Pace::Blocked => return Err(StatusWord::AUTHENTICATION_BLOCKED),
            Pace::Chosen(chosen) => {
                let nonce = self.draw_array()?;
                let (next, answer) = chosen.start(data, *nonce).map_err(refused)?;
                (Pace::NonceGiven(next), answer)
            }
            Pace::NonceGiven(given) => {
                let random = Randomness::new(*self.draw_array()?);
                let (next, answer) = given.mapping_key(data, random).map_err(refused)?;
                (Pace::Mapped(next), answer)
            }
            Pace::Mapped(mapped) => {
                let random = Randomness::new(*self.draw_array()?);
                let (next, answer) = mapped.ephemeral_key(data, random).map_err(refused)?;
                (Pace::Agreed(next), answer)
            }
            Pace::Agreed(agreed) => return self.judge(agreed, data),
        };
        self.pace = next;
        Ok(answer)
    }

    /// Compares the tokens. The try is counted before, so that taking the power away does not win one.
    fn judge(&mut self, agreed: AwaitTerminalToken, data: &[u8]) -> Outcome {
        let before = self.state.tries_left;
        let left = before.saturating_sub(1);
        self.keep(|state| state.tries_left = left)?;
        match agreed.token(data) {
            Ok((keys, answer)) => {
                self.all_tries_again()?;
                self.begin_session(keys);
                Ok(answer)
            }
            Err(PaceError::WrongToken) => Err(StatusWord::tries(left)),
            Err(other) => {
                // Nothing was compared.
                self.keep(|state| state.tries_left = before)?;
                Err(refused(other))
            }
        }
    }

    /// Takes the old PIN and the new one, without anything between them.
    pub(super) fn change_pin(&mut self, data: &[u8]) -> Outcome {
        let old = self.state.pin.clone();
        let old = old.expose().as_bytes();
        let (given, new) = data
            .split_at_checked(old.len())
            .ok_or(StatusWord::WRONG_LENGTH)?;
        if !PIN_LENGTH.contains(&new.len()) {
            return Err(StatusWord::WRONG_LENGTH);
        }
        if self.state.tries_left == 0 {
            return Err(StatusWord::AUTHENTICATION_BLOCKED);
        }
        let new = std::str::from_utf8(new)
            .ok()
            .filter(|new| new.bytes().all(|digit| digit.is_ascii_digit()));
        let new = Pin::new(new.ok_or(StatusWord::WRONG_DATA)?);
        let left = self.state.tries_left.saturating_sub(1);
        self.keep(|state| state.tries_left = left)?;
        let different = given
            .iter()
            .zip(old)
            .fold(0, |sum, (given, old)| sum | (given ^ old));
        if different != 0 {
            return Err(StatusWord::tries(left));
        }
        self.all_tries_again()?;
        self.change(|state| state.pin = new)?;
        Ok(Vec::new())
    }

    fn all_tries_again(&mut self) -> Result<(), StatusWord> {
        let tries = self.profile.password.tries;
        self.keep(|state| state.tries_left = tries)
    }
}

/// What the card answers when a step of PACE fails.
fn refused(error: PaceError) -> StatusWord {
    match error {
        PaceError::BadData => StatusWord::WRONG_DATA,
        _ => StatusWord::NOT_AUTHENTICATED,
    }
}
