// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kinds of certificates there are, on which curves, and for how long (TR-03116-3 table 5, TR-03109-4 annex A).

use std::fmt;
use std::time::Duration;

use hsm_api::{Curve, KeyUsage};
use serde::Serialize;

/// The two sets of curves of the smart metering PKI, before and after the rollover of 2025 (TR-03116-3 table 5).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Generation {
    /// Root on brainpoolP384r1 with SHA-384, sub-CA on brainpoolP256r1 with SHA-256.
    First,
    /// Root on brainpoolP512r1 with SHA-512, sub-CA on brainpoolP384r1 with SHA-384.
    Second,
}

impl Generation {
    /// Both, in order of time.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// The name that commands and files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }

    /// The curve of the keys of a profile.
    pub const fn curve(self, profile: Profile) -> Curve {
        use Curve::{BrainpoolP256r1, BrainpoolP384r1, BrainpoolP512r1};
        match (self, profile) {
            (Self::First, Profile::Root | Profile::RootCrlSigner | Profile::RootTlsSigner) => {
                BrainpoolP384r1
            }
            (Self::Second, Profile::Root | Profile::RootCrlSigner | Profile::RootTlsSigner) => {
                BrainpoolP512r1
            }
            (Self::Second, Profile::SubCa) => BrainpoolP384r1,
            _ => BrainpoolP256r1,
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an end user of the PKI is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// A gateway with its seal-of-approval certificates, from production until its first operation.
    SmgwG,
    /// A gateway with its operational certificates.
    SmgwW,
    /// A gateway administrator.
    Gwa,
    /// A gateway manufacturer.
    Gwh,
    /// An external market participant.
    Emt,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::SmgwG, Self::SmgwW, Self::Gwa, Self::Gwh, Self::Emt];

    /// The part of a common name that says the role; both kinds of gateway certificates say `SMGW`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::SmgwG | Self::SmgwW => "SMGW",
            Self::Gwa => "GWA",
            Self::Gwh => "GWH",
            Self::Emt => "EMT",
        }
    }

    /// The name of the certificate type in TR-03129-4 §2.3.2.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SmgwG => "SMGW-G",
            Self::SmgwW => "SMGW-W",
            other => other.tag(),
        }
    }

    /// Whether it is a gateway, whose certificates carry no subjectAltName.
    pub const fn is_gateway(self) -> bool {
        matches!(self, Self::SmgwG | Self::SmgwW)
    }
}

/// What a key of an end user is for; every end user has one of each.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Purpose {
    /// Signatures over content.
    Sig,
    /// Encryption of content: static key agreement.
    Enc,
    /// Authentication in TLS.
    Tls,
}

impl Purpose {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Sig, Self::Enc, Self::Tls];

    /// The name that the PKI uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sig => "SIG",
            Self::Enc => "ENC",
            Self::Tls => "TLS",
        }
    }

    /// What a module lets such a key do.
    pub const fn key_usage(self) -> KeyUsage {
        match self {
            Self::Sig | Self::Tls => KeyUsage::Sign,
            Self::Enc => KeyUsage::Agree,
        }
    }
}

/// The kinds of certificates.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Profile {
    /// The self-signed root, `SM-Root.CA`, and its link certificates.
    Root,
    /// Signs the root's revocation lists, `SM-Root.CA.CRL-S`.
    RootCrlSigner,
    /// Signs the root's TLS certificates, `SM-Root.CA.TLS-S`.
    RootTlsSigner,
    /// Authenticates the root's services in TLS, `SM-Root.CA.TLS`.
    RootTls,
    /// Issues the certificates of end users, `NAME.CA`.
    SubCa,
    /// One of the three certificates of an end user.
    EndUser(Role, Purpose),
    /// A self-signed certificate of the HAN or LMN (TR-03116-3 §5, §6).
    SelfSigned,
}

impl Profile {
    /// Whether it may sign certificates.
    pub const fn is_ca(self) -> bool {
        matches!(self, Self::Root | Self::RootTlsSigner | Self::SubCa)
    }

    /// Whether it authenticates in TLS.
    pub const fn is_tls(self) -> bool {
        matches!(
            self,
            Self::RootTls | Self::EndUser(_, Purpose::Tls) | Self::SelfSigned
        )
    }

    /// What signs it; a self-signed profile itself.
    pub const fn issuer(self) -> Self {
        match self {
            Self::Root | Self::RootCrlSigner | Self::RootTlsSigner | Self::SubCa => Self::Root,
            Self::RootTls => Self::RootTlsSigner,
            Self::EndUser(..) => Self::SubCa,
            Self::SelfSigned => Self::SelfSigned,
        }
    }

    /// How long its certificates are valid at most.
    pub fn lifetime(self) -> Lifetime {
        let name = match self {
            Self::EndUser(role, _) => role.name(),
            _ => self.name(),
        };
        let known = LIFETIMES.iter().find(|(of, _)| *of == name);
        known.map_or(DEFAULT_LIFETIME, |(_, lifetime)| *lifetime)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::RootCrlSigner => "root-crl-signer",
            Self::RootTlsSigner => "root-tls-signer",
            Self::RootTls => "root-tls",
            Self::SubCa => "sub-ca",
            Self::EndUser(role, _) => role.name(),
            Self::SelfSigned => "self-signed",
        }
    }

    /// All profiles.
    pub fn all() -> impl Iterator<Item = Self> {
        let single = [
            Self::Root,
            Self::RootCrlSigner,
            Self::RootTlsSigner,
            Self::RootTls,
            Self::SubCa,
            Self::SelfSigned,
        ];
        let end_users = Role::ALL
            .into_iter()
            .flat_map(|role| Purpose::ALL.map(|purpose| Self::EndUser(role, purpose)));
        single.into_iter().chain(end_users)
    }

    /// The profile of this name, as [`Display`](fmt::Display) writes it: `sub-ca`, `SMGW-W/TLS`, …
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|profile| profile.to_string().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndUser(role, purpose) => write!(f, "{}/{}", role.name(), purpose.name()),
            other => f.write_str(other.name()),
        }
    }
}

/// How far a number or layout can be relied on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Read in a standard, or seen in certificates and requests in use.
    Verified,
    /// Remembered or inferred; nobody has seen it written.
    Assumed,
}

impl Confidence {
    /// The word for it in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Assumed => "assumed",
        }
    }
}

/// The longest validity of a kind of certificate.
///
/// Issued certificates end at 23:59:59 of their last day, so up to one day comes on top.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetime {
    /// Calendar years.
    pub years: u32,
    /// How sure the number is.
    pub confidence: Confidence,
    /// Where it comes from.
    pub source: &'static str,
}

impl Lifetime {
    /// The years as a duration, leap days and the rest of the last day left out.
    pub fn duration(self) -> Duration {
        365 * self.years * DAY
    }

    /// The longest time from start to end, with all leap days that can be within and the rest of the last day.
    pub fn longest(self) -> Duration {
        self.duration() + self.years.div_ceil(4) * DAY + DAY
    }
}

/// The lifetimes by kind of certificate.
pub const LIFETIMES: &[(&str, Lifetime)] = &[
    ("root", assumed(6, "TR-03109-4 v1.2.1, remembered")),
    ("root-crl-signer", assumed(6, "no longer than the root")),
    ("root-tls-signer", assumed(6, "no longer than the root")),
    ("root-tls", assumed(2, "as other TLS certificates")),
    ("sub-ca", verified(5, "sub-CA certificates of the test PKI")),
    ("SMGW-G", assumed(7, "TR-03109-4 v1.2.1, remembered")),
    ("SMGW-W", assumed(2, "TR-03109-4 v1.2.1, remembered")),
    ("GWA", assumed(2, "TR-03109-4 v1.2.1, remembered")),
    ("GWH", assumed(2, "TR-03109-4 v1.2.1, remembered")),
    ("EMT", verified(2, "EMT certificates of both PKIs")),
    ("self-signed", verified(7, "TR-03116-3 §6.3")),
];

/// The shortest known, should the table lack a name.
const DEFAULT_LIFETIME: Lifetime = assumed(2, "shortest of the others");

const fn verified(years: u32, source: &'static str) -> Lifetime {
    Lifetime {
        years,
        confidence: Confidence::Verified,
        source,
    }
}

const fn assumed(years: u32, source: &'static str) -> Lifetime {
    Lifetime {
        years,
        confidence: Confidence::Assumed,
        source,
    }
}

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_a_name_and_a_lifetime_of_its_own() {
        for profile in Profile::all() {
            assert_eq!(Profile::named(&profile.to_string()), Some(profile));
            assert_ne!(
                profile.lifetime().source,
                DEFAULT_LIFETIME.source,
                "{profile}"
            );
        }
        assert_eq!(Profile::all().count(), 21);
    }
}
