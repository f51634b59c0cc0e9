// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults a card can be told to have, for tests of who speaks with it.

use std::fmt;
use std::str::FromStr;

/// A fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Fault {
    /// The card leaves the reader between command and response.
    RemovalMidApdu,
    /// A change of what the card keeps ends with 6581.
    MemoryFailure,
    /// The card's send sequence counter runs away.
    SmDesync,
    /// A response is protected with a counter that was used before.
    WrongCounter,
    /// A response's checksum is wrong.
    WrongMac,
    /// The PIN is blocked.
    PinBlocked,
    /// The random number generator always gives the same.
    ConstantRng,
    /// A signature is wrong.
    WrongSignature,
    /// A command ends with 6982, security status not satisfied.
    SecurityStatus,
    /// A command ends with 6985, conditions of use not satisfied.
    Conditions,
    /// The card does not answer until it is told to.
    NoAnswer,
}

/// All faults: name, when it can strike, and what happens then.
pub const FAULTS: [(Fault, &str, &str, &str); 11] = [
    (
        Fault::RemovalMidApdu,
        "removal-mid-apdu",
        "a command",
        "the card carries it out and leaves the reader instead of answering; `insert` puts it back",
    ),
    (
        Fault::MemoryFailure,
        "memory-failure",
        "a change of what the card keeps, other than the tries of its PIN",
        "6581, and nothing is changed",
    ),
    (
        Fault::SmDesync,
        "sm-desync",
        "a protected command",
        "the card counts on by two after answering, so that the next command has a wrong checksum for it (6988)",
    ),
    (
        Fault::WrongCounter,
        "wrong-counter",
        "a protected response",
        "it is protected with the counter of the command; counters go on rightly",
    ),
    (
        Fault::WrongMac,
        "wrong-mac",
        "a protected response",
        "one bit of its checksum is flipped",
    ),
    (
        Fault::PinBlocked,
        "pin-blocked",
        "a start of PACE",
        "the card says 63C0 and then refuses with 6983; the counter it keeps stays as it is",
    ),
    (
        Fault::ConstantRng,
        "constant-rng",
        "a draw of random bytes",
        "all bytes are 5A: challenges, nonces and keys repeat",
    ),
    (
        Fault::WrongSignature,
        "wrong-signature",
        "a signature",
        "one bit of it is flipped",
    ),
    (
        Fault::SecurityStatus,
        "security-status",
        "a protected command",
        "6982, and nothing is done",
    ),
    (
        Fault::Conditions,
        "conditions",
        "a protected command",
        "6985, and nothing is done",
    ),
    (
        Fault::NoAnswer,
        "no-answer",
        "a command",
        "the card carries it out and keeps silent until it is told `answer`",
    ),
];

impl Fault {
    /// Its name, as commands spell it.
    pub fn name(self) -> &'static str {
        FAULTS
            .iter()
            .find(|(fault, ..)| *fault == self)
            .map_or("", |(_, name, ..)| name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault, and when it strikes: each time it can, or only the N-th time. Spelled `NAME` or `NAME@N`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Planned {
    /// What happens.
    pub fault: Fault,
    /// Only at this opportunity, counted from 1; none means at each.
    pub at: Option<u32>,
}

impl From<Fault> for Planned {
    fn from(fault: Fault) -> Self {
        Self { fault, at: None }
    }
}

impl Fault {
    /// Only at the N-th opportunity, counted from 1.
    pub fn at(self, opportunity: u32) -> Planned {
        Planned {
            fault: self,
            at: Some(opportunity),
        }
    }
}

impl FromStr for Planned {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownFault(text.to_owned());
        let (name, at) = match text.split_once('@') {
            Some((name, at)) => {
                let at = at.parse().ok().filter(|at| *at > 0);
                (name, Some(at.ok_or_else(unknown)?))
            }
            None => (text, None),
        };
        let (fault, ..) = FAULTS
            .iter()
            .find(|(_, known, ..)| *known == name)
            .ok_or_else(unknown)?;
        Ok(Self { fault: *fault, at })
    }
}

/// No fault is called so.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "\"{0}\" is no fault; `--list-faults` lists them, and @N with N from 1 chooses the opportunity"
)]
pub struct UnknownFault(pub String);

/// The faults planned for a card, with their opportunities counted.
#[derive(Clone, Debug, Default)]
pub struct Faults(Vec<(Planned, u32)>);

impl Faults {
    /// Plans one more.
    pub fn plan(&mut self, planned: impl Into<Planned>) {
        self.0.push((planned.into(), 0));
    }

    /// Here is an opportunity: does the fault strike?
    pub fn strikes(&mut self, fault: Fault) -> bool {
        let mut strikes = false;
        for (planned, seen) in self.0.iter_mut().filter(|(one, _)| one.fault == fault) {
            *seen = seen.saturating_add(1);
            strikes |= planned.at.is_none_or(|at| at == *seen);
        }
        strikes
    }
}

impl FromIterator<Planned> for Faults {
    fn from_iter<T: IntoIterator<Item = Planned>>(planned: T) -> Self {
        Self(planned.into_iter().map(|one| (one, 0)).collect())
    }
}

/// The list of faults for people.
pub fn list() -> String {
    let width = FAULTS.iter().map(|(_, name, ..)| name.len()).max();
    let width = width.unwrap_or_default();
    FAULTS
        .iter()
        .map(|(_, name, when, what)| format!("{name:width$}  at {when}: {what}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_unique() {
        for (fault, name, ..) in FAULTS {
            assert_eq!(name.parse(), Ok(Planned::from(fault)));
            assert_eq!(format!("{fault}@3").parse(), Ok(fault.at(3)));
            assert!(list().contains(name));
        }
        for wrong in ["", "wrong-mac@", "wrong-mac@0", "wrong-mac@x", "mac"] {
            assert!(wrong.parse::<Planned>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_documentation_has_this_table() {
        let page = include_str!("../../../docs/security-module.md");
        for (_, name, when, what) in FAULTS {
            let row = format!("| {name} | {when} | {what} |");
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_fault_strikes_when_planned_and_not_otherwise() {
        let mut faults: Faults = [Fault::WrongMac.at(2), Fault::Conditions.into()]
            .into_iter()
            .collect();
        let struck: Vec<_> = (0..4).map(|_| faults.strikes(Fault::WrongMac)).collect();
        assert_eq!(struck, [false, true, false, false]);
        assert!(faults.strikes(Fault::Conditions) && faults.strikes(Fault::Conditions));
        assert!(!faults.strikes(Fault::NoAnswer));
    }
}
