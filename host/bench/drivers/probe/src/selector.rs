// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which debug probe: `VID:PID` or `VID:PID:SERIAL`, the two numbers in hex, as probe-rs names probes.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use probe_rs::probe::DebugProbeSelector;
use probe_rs::probe::list::Lister;

/// USB ids of the Black Magic Probe.
const BLACK_MAGIC: (u16, u16) = (0x1d50, 0x6018);

/// Names one probe. A serial number of the form `127.0.0.1:PORT` names a virtual one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selector {
    vendor: u16,
    product: u16,
    serial: Option<String>,
}

/// A probe that is attached to this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// What it calls itself.
    pub name: String,
    /// What selects it.
    pub selector: Selector,
}

/// Why no probe is selected.
#[derive(Debug, thiserror::Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum SelectorError {
    /// Not a selector.
    #[error(
        "`{0}` names no debug probe; write VID:PID or VID:PID:SERIAL, such as 0483:374e:0670FF34"
    )]
    Malformed(String),
    /// Nothing attached.
    #[error("no debug probe is attached{}; plug it in, and check its udev rule", .0.as_ref().map_or(String::new(), |wanted| format!(" that matches {wanted}")))]
    Absent(Option<Selector>),
    /// More than one would do.
    #[error("{} debug probes match; name one in the rig file: {}", .0.len(), list(.0))]
    Several(Vec<Attached>),
}

impl Selector {
    /// The virtual probe that listens there.
    pub fn virtual_probe(address: SocketAddr) -> Self {
        let (vendor, product) = BLACK_MAGIC;
        Self {
            vendor,
            product,
            serial: Some(address.to_string()),
        }
    }

    /// Picks the one probe that is meant: with no wish, the only one there is.
    ///
    /// # Errors
    /// When none matches, or more than one: the bench never guesses which board to flash.
    pub fn choose(wanted: Option<&Self>, attached: &[Attached]) -> Result<Self, SelectorError> {
        let matching: Vec<&Attached> = attached
            .iter()
            .filter(|probe| wanted.is_none_or(|wanted| wanted.matches(&probe.selector)))
            .collect();
        match matching.as_slice() {
            [one] => Ok(one.selector.clone()),
            [] => Err(SelectorError::Absent(wanted.cloned())),
            _ => Err(SelectorError::Several(
                matching.into_iter().cloned().collect(),
            )),
        }
    }

    /// Picks among the probes attached to this machine. A virtual probe is taken by its word: nothing lists it.
    ///
    /// # Errors
    /// See [`Selector::choose`].
    pub fn resolve(wanted: Option<&Self>) -> Result<Self, SelectorError> {
        match wanted {
            Some(wanted) if wanted.is_virtual() => Ok(wanted.clone()),
            _ => Self::choose(wanted, &attached()),
        }
    }

    /// Whether it names a virtual probe.
    pub fn is_virtual(&self) -> bool {
        let serial = self.serial.as_deref().unwrap_or_default();
        (self.vendor, self.product) == BLACK_MAGIC && serial.parse::<SocketAddr>().is_ok()
    }

    fn matches(&self, other: &Self) -> bool {
        let serial = self.serial.is_none() || self.serial == other.serial;
        (self.vendor, self.product) == (other.vendor, other.product) && serial
    }

    pub(crate) fn to_probe_rs(&self) -> DebugProbeSelector {
        DebugProbeSelector {
            vendor_id: self.vendor,
            product_id: self.product,
            interface: None,
            serial_number: self.serial.clone(),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let malformed = || SelectorError::Malformed(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let mut id = || {
            let digits = parts.next().filter(|digits| {
                (1..=4).contains(&digits.len()) && digits.bytes().all(|d| d.is_ascii_hexdigit())
            })?;
            u16::from_str_radix(digits, 16).ok()
        };
        let (vendor, product) = id().zip(id()).ok_or_else(malformed)?;
        let serial = parts.next().map(str::to_owned);
        match serial.as_deref() {
            Some("") => Err(malformed()),
            _ => Ok(Self {
                vendor,
                product,
                serial,
            }),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.product)?;
        match &self.serial {
            Some(serial) => write!(f, ":{serial}"),
            None => Ok(()),
        }
    }
}

/// The probes attached to this machine.
pub fn attached() -> Vec<Attached> {
    let probes = Lister::new().list_all().into_iter();
    probes
        .map(|probe| Attached {
            name: probe.identifier,
            selector: Selector {
                vendor: probe.vendor_id,
                product: probe.product_id,
                serial: probe.serial_number.filter(|serial| !serial.is_empty()),
            },
        })
        .collect()
}

fn list(probes: &[Attached]) -> String {
    let lines = probes.iter();
    lines
        .map(|probe| format!("{} ({})", probe.selector, probe.name))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(text: &str) -> Selector {
        text.parse().unwrap()
    }

    fn probes(selectors: &[&str]) -> Vec<Attached> {
        let probe = |text: &&str| Attached {
            name: "a probe".to_owned(),
            selector: selector(text),
        };
        selectors.iter().map(probe).collect()
    }

    #[test]
    fn selectors_are_read_as_they_are_written() {
        for text in ["0483:374e", "1366:1015:000683", "1d50:6018:127.0.0.1:4711"] {
            assert_eq!(selector(text).to_string(), text);
        }
        for text in [
            "",
            "0483",
            "0483:",
            "0483:374e:",
            "+483:374e",
            "10483:374e",
            "x:y:z",
        ] {
            let malformed = Err(SelectorError::Malformed(text.to_owned()));
            assert_eq!(text.parse::<Selector>(), malformed);
        }
        assert!(selector("1d50:6018:127.0.0.1:4711").is_virtual());
        assert!(!selector("1d50:6018:79A1").is_virtual());
        assert!(!selector("0483:374e:127.0.0.1:4711").is_virtual());
    }

    #[test]
    fn one_probe_needs_no_selector_and_several_do() {
        let two = probes(&["0483:374e:A", "0483:374e:B"]);
        let (one, none) = (&two[..1], &two[..0]);
        assert_eq!(Selector::choose(None, one), Ok(selector("0483:374e:A")));
        assert_eq!(
            Selector::choose(None, none),
            Err(SelectorError::Absent(None))
        );
        for wanted in [None, Some(&selector("0483:374e"))] {
            let error = Selector::choose(wanted, &two).unwrap_err();
            assert_eq!(
                error.to_string(),
                "2 debug probes match; name one in the rig file: 0483:374e:A (a probe), 0483:374e:B (a probe)"
            );
        }
        let named = selector("0483:374e:B");
        assert_eq!(Selector::choose(Some(&named), &two), Ok(named));
        let absent = selector("0483:374e:C");
        assert_eq!(
            Selector::choose(Some(&absent), &two)
                .unwrap_err()
                .to_string(),
            "no debug probe is attached that matches 0483:374e:C; plug it in, and check its udev rule"
        );
    }
}
