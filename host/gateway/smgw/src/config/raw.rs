// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration file `smgw.config/1` as it is written: sections, keys, and how values are spelt.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use smgw_units::{DeviceId, Obis};
use toml::Spanned;

use super::CharacterFormat;

/// A value written as text and parsed where it stands, so that the parser can show its line.
#[derive(Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: std::fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Text).map_err(serde::de::Error::custom)
    }
}

pub(super) struct Hex(pub(super) Vec<u8>);

impl FromStr for Hex {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected 1 to 20 bytes as hex digits";
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|digit| digit.to_digit(16).map(|value| value as u8))
            .collect();
        let digits = digits.ok_or(EXPECTED)?;
        let (pairs, rest) = digits.as_chunks::<2>();
        if !rest.is_empty() || !(1..=20).contains(&pairs.len()) {
            return Err(EXPECTED);
        }
        Ok(Self(
            pairs.iter().map(|[high, low]| high << 4 | low).collect(),
        ))
    }
}

/// A time span such as `900s` or `100ms`.
#[derive(Debug)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let count: Option<u32> = digits.parse().ok().filter(|count| *count > 0);
        let millis = match text.get(digits.len()..) {
            Some("ms") => Some(1),
            Some("s") => Some(1_000),
            Some("min") => Some(60_000),
            Some("h") => Some(3_600_000),
            _ => None,
        };
        match (count, millis) {
            (Some(count), Some(millis)) => {
                Ok(Self(Duration::from_millis(u64::from(count) * millis)))
            }
            _ => Err(serde::de::Error::custom(
                "expected a time span such as \"900s\" or \"100ms\" (ms, s, min, h)",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    pub(super) schema: Spanned<String>,
    pub(super) device_id: Text<DeviceId>,
    pub(super) security_module: RawSecurityModule,
    pub(super) store: RawFile,
    pub(super) profiles: Option<RawFile>,
    pub(super) local: Option<RawLocal>,
    pub(super) metering: RawMetering,
    #[serde(default)]
    pub(super) meter: Vec<RawMeter>,
    pub(super) han: RawHan,
    pub(super) cls: RawCls,
    pub(super) lmn: Option<RawLmn>,
    pub(super) time: Option<RawTime>,
    pub(super) clock: Option<RawClock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawClock {
    pub(super) driven_from: Spanned<String>,
    /// Lifts the rule that time goes by itself, for a bench that has less of it.
    #[serde(default)]
    pub(super) rehearsal: bool,
}

/// The gateway's key and certificate towards meters that are asked through TLS.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLmn {
    pub(super) key: String,
    pub(super) certificate: Spanned<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawTime {
    pub(super) server: SocketAddr,
    pub(super) tls_name: Spanned<String>,
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) poll_interval: Option<Spanned<Span>>,
    pub(super) drift_ppm: Option<Spanned<u32>>,
    pub(super) longest_jump: Option<Span>,
    pub(super) latest: Option<Spanned<String>>,
    pub(super) serve: Option<SocketAddr>,
    /// Lifts the limit of a poll a minute, for a bench that has less time.
    #[serde(default)]
    pub(super) rehearsal: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSecurityModule {
    #[serde(default)]
    pub(super) kind: RawModuleKind,
    pub(super) module: Option<PathBuf>,
    pub(super) token_label: Option<String>,
    pub(super) token_serial: Option<String>,
    pub(super) reader: Option<String>,
    pub(super) profile: Option<PathBuf>,
    pub(super) address: Option<SocketAddr>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) pin_env: Option<String>,
    #[serde(default)]
    pub(super) pin_prompt: bool,
    pub(super) timeout: Option<Span>,
    pub(super) key: Spanned<String>,
    pub(super) certificate: Spanned<PathBuf>,
}

#[derive(Clone, Copy, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawModuleKind {
    #[default]
    Pkcs11,
    Card,
    Link,
}

impl RawModuleKind {
    /// What it is called, the keys that may be given for it, and those it needs, in words.
    pub(super) fn keys(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            Self::Pkcs11 => (
                "a pkcs11 module",
                &[
                    "module",
                    "token-label",
                    "token-serial",
                    "pin-file",
                    "pin-env",
                    "pin-prompt",
                ],
                "module and token-label or token-serial",
            ),
            Self::Card => (
                "a card",
                &["reader", "profile", "pin-file", "pin-env", "pin-prompt"],
                "reader",
            ),
            Self::Link => (
                "a link",
                &["address", "secret-file"],
                "address and secret-file",
            ),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFile {
    pub(super) path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLocal {
    pub(super) socket: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMetering {
    pub(super) registration_period: Spanned<Span>,
}

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawProtocol {
    Sml,
    Mbus,
    HdlcLmn,
    #[serde(rename = "iec62056-21")]
    Iec62056,
    Wmbus,
}

impl RawProtocol {
    /// What it is called, and the keys that are for it alone or not for all.
    pub(super) fn keys(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Sml => ("an sml meter", &["server-id"]),
            Self::Mbus => ("an mbus meter", &["address", "poll-lead"]),
            Self::HdlcLmn => (
                "an hdlc-lmn meter",
                &["address", "poll-lead", "server-id", "certificate"],
            ),
            Self::Iec62056 => (
                "an iec62056-21 meter",
                &[
                    "push",
                    "poll-lead",
                    "device-address",
                    "fixed-baud",
                    "identification",
                ],
            ),
            Self::Wmbus => ("a wmbus meter", &["key-file"]),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawMeter {
    pub(super) id: Spanned<Text<DeviceId>>,
    pub(super) protocol: RawProtocol,
    pub(super) port: Spanned<PathBuf>,
    pub(super) baud: u32,
    pub(super) format: Text<CharacterFormat>,
    pub(super) registers: Spanned<Vec<Text<Obis>>>,
    pub(super) address: Option<u8>,
    pub(super) poll_lead: Option<Span>,
    pub(super) server_id: Option<Text<Hex>>,
    pub(super) certificate: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) push: bool,
    pub(super) device_address: Option<String>,
    #[serde(default)]
    pub(super) fixed_baud: bool,
    pub(super) identification: Option<String>,
    pub(super) key_file: Option<Spanned<PathBuf>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawHan {
    pub(super) listen: SocketAddr,
    #[serde(default)]
    pub(super) user: Vec<RawUser>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawRole {
    Con,
    Srv,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawUser {
    pub(super) id: String,
    pub(super) role: RawRole,
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) meters: Option<Spanned<Vec<Text<DeviceId>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCls {
    pub(super) listen: SocketAddr,
    pub(super) handshake_timeout: Option<Span>,
    #[serde(default)]
    pub(super) profile: Vec<RawProfile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawProfile {
    pub(super) local_server_name: Spanned<String>,
    pub(super) cls_certificate: Spanned<PathBuf>,
    pub(super) wan_peer_address: SocketAddr,
    pub(super) wan_tls_sni: Spanned<String>,
    pub(super) emt_certificate: Spanned<PathBuf>,
    pub(super) connect_timeout: Option<Span>,
}
