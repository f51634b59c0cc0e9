// SPDX-License-Identifier: MIT OR Apache-2.0
//! The implementation conformance statement: what a vendor declares about a product (schema `smgw-bench.ics/1`).
//! It decides which cases apply; everything the guideline demands is either declared or refused with a reason
//! (TR-03116-3:2025 §4.2, §4.3, §5).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use smgw_units::DeviceId;
use toml::Spanned;

use crate::diagnostic::{LoadError, Problem, Problems, nearest, read_text};
use crate::document::{Reader, text};
use crate::duration::Span;

/// The schema this build reads.
pub const ICS_SCHEMA: &str = "smgw-bench.ics/1";

/// A TLS cipher suite by its code point, written as four hex digits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CipherSuite(pub u16);

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl FromStr for CipherSuite {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = if text.len() == 4 {
            u16::from_str_radix(text, 16).ok()
        } else {
            None
        };
        number
            .map(Self)
            .ok_or("a cipher suite is four hex digits, as in \"C02B\"")
    }
}

impl<'de> Deserialize<'de> for CipherSuite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

impl JsonSchema for CipherSuite {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CipherSuite".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f]{4}$" })
    }
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

impl TlsVersion {
    /// `1.2` or `1.3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// TLS extensions whose presence a statement declares.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum TlsExtension {
    /// RFC 7366.
    EncryptThenMac,
    /// RFC 7627.
    ExtendedMasterSecret,
    /// RFC 6066.
    MaxFragmentLength,
    /// RFC 6066.
    ServerName,
    /// RFC 8446 §4.2.3.
    SignatureAlgorithmsCert,
}

impl TlsExtension {
    fn as_str(self) -> &'static str {
        match self {
            Self::EncryptThenMac => "encrypt-then-mac",
            Self::ExtendedMasterSecret => "extended-master-secret",
            Self::MaxFragmentLength => "max-fragment-length",
            Self::ServerName => "server-name",
            Self::SignatureAlgorithmsCert => "signature-algorithms-cert",
        }
    }
}

/// How a CLS may name its partner in CONNECT.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum AddressType {
    /// A name (ATYP 03).
    Name,
    /// An IPv4 address (ATYP 01).
    Ipv4,
    /// An IPv6 address (ATYP 04).
    Ipv6,
}

impl AddressType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// `[product]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Product {
    /// Product name.
    pub name: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Version of hardware and software.
    pub version: String,
    /// Device id of the sample.
    #[serde(deserialize_with = "text")]
    #[schemars(with = "String")]
    pub device_id: DeviceId,
}

/// `[tls]`: what is negotiated on all interfaces.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// Versions, preferred first.
    pub versions: Vec<TlsVersion>,
    /// Cipher suites of both versions, preferred first.
    pub cipher_suites: Vec<CipherSuite>,
    /// Groups by IANA number, preferred first.
    pub groups: Vec<u16>,
    /// Extensions offered or understood.
    #[serde(default)]
    pub extensions: Vec<TlsExtension>,
    /// Longest session including resumption.
    pub max_session: Option<Span>,
}

/// `[metering]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MeteringStatement {
    /// Registration period.
    pub registration_period: Span,
    /// How long values are kept.
    pub retention: Span,
    /// Protocols of connected meters, `sml`, `mbus`, …
    pub protocols: Vec<crate::role::Protocol>,
    /// Tariff use cases.
    #[serde(default)]
    pub tafs: Vec<u8>,
}

/// `[han]`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Han {
    /// Consumer services.
    pub consumer: bool,
    /// Service technician services.
    pub technician: bool,
    /// The bench's own resource that tells when telegrams were received.
    #[serde(default)]
    pub receptions: bool,
}

/// `[cls]`: the proxy.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClsStatement {
    /// Address types of CONNECT.
    pub address_types: Vec<AddressType>,
    /// Longest name of CONNECT, characters.
    pub max_name_length: u8,
    /// Time to finish a TLS handshake.
    pub handshake_timeout: Option<Span>,
}

/// What a statement says about one key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Supported.
    Yes,
    /// Not supported, or not declared.
    No {
        /// Why.
        reason: String,
    },
    /// Supported, with this value.
    Value(String),
}

impl Answer {
    /// Whether a case that depends on the key applies.
    pub fn applies(&self) -> bool {
        !matches!(self, Self::No { .. })
    }
}

/// A resolved statement.
#[derive(Clone, Debug)]
pub struct Ics {
    /// The file it came from.
    pub path: PathBuf,
    /// The file's text, for the evidence bundle.
    pub text: String,
    /// The product.
    pub product: Product,
    /// TLS.
    pub tls: Tls,
    /// Metering.
    pub metering: MeteringStatement,
    /// HAN services.
    pub han: Han,
    /// CLS proxy, if there is one.
    pub cls: Option<ClsStatement>,
    answers: BTreeMap<String, Answer>,
}

#[derive(Default)]
struct Sections {
    product: Option<Product>,
    tls: Option<Tls>,
    metering: Option<MeteringStatement>,
    han: Option<Han>,
    cls: Option<ClsStatement>,
    refused: Vec<(Spanned<String>, String)>,
    /// Where demands are to be refused.
    refused_at: Option<std::ops::Range<usize>>,
}

/// What the guideline demands of every gateway (TR-03116-3:2025 tab. 7-9 and §4.2-4.3; HAN widens SHOULD to MUST).
/// A statement declares each of them or says why not.
pub const DEMANDED: [&str; 13] = [
    "tls.version.1.2",
    "tls.cipher-suite.C023",
    "tls.cipher-suite.C024",
    "tls.cipher-suite.C02B",
    "tls.cipher-suite.C02C",
    "tls.group.23",
    "tls.group.24",
    "tls.group.26",
    "tls.group.27",
    "tls.group.28",
    "tls.extension.encrypt-then-mac",
    "tls.extension.signature-algorithms-cert",
    "cls.address-type.name",
];

/// Code points TR-03116-3:2025 allows; any other suite must not be supported.
const ALLOWED_SUITES: [u16; 7] = [0xc023, 0xc024, 0xc02b, 0xc02c, 0x1301, 0x1302, 0x1304];

/// Groups it allows: NIST and brainpool curves, the latter with other numbers in TLS 1.3.
const ALLOWED_GROUPS: [u16; 8] = [23, 24, 26, 27, 28, 31, 32, 33];

const SECTIONS: [&str; 7] = [
    "schema",
    "product",
    "tls",
    "metering",
    "han",
    "cls",
    "not-supported",
];

impl Ics {
    /// Reads a statement.
    ///
    /// # Errors
    /// The file cannot be read, or it has problems: all that could be found are listed.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = read_text("ICS", path)?;
        Ok(Self::parse(path, text)?)
    }

    /// Reads the text of a statement.
    ///
    /// # Errors
    /// All problems that could be found.
    pub fn parse(path: &Path, text: String) -> Result<Self, Problems> {
        resolve(path, text.clone()).map_err(|problems| Problems::new("ICS", path, &text, problems))
    }

    /// What the statement says about `key`, e.g. `tls.cipher-suite.C02B`, `tls.version.1.3`, `tls.group.26`,
    /// `tls.extension.encrypt-then-mac`, `metering.registration-period`, `metering.protocol.sml`, `metering.taf.7`,
    /// `han.consumer`, `han.receptions`, `cls`, `cls.address-type.name`, `cls.max-name-length`.
    /// A key it does not speak of is answered no.
    pub fn answer(&self, key: &str) -> Answer {
        let unsaid = || Answer::No {
            reason: format!("the ICS does not declare {key}"),
        };
        self.answers.get(key).cloned().unwrap_or_else(unsaid)
    }

    /// Everything the statement says, by key.
    pub fn answers(&self) -> impl Iterator<Item = (&str, &Answer)> {
        self.answers
            .iter()
            .map(|(key, answer)| (key.as_str(), answer))
    }
}

fn resolve(path: &Path, text: String) -> Result<Ics, Vec<Problem>> {
    let mut reader = Reader::default();
    let Some(table) = reader.open(&text, ICS_SCHEMA) else {
        return Err(reader.problems);
    };
    reader.only(&table, &SECTIONS, "the file");
    for section in ["product", "tls", "metering", "han"] {
        if !table.contains_key(section) {
            let head = reader.head.clone();
            reader.problem(
                head,
                format!("the file lacks its [{section}] section"),
                "missing in this file",
            );
        }
    }
    let mut sections = Sections::default();
    let mut lists = BTreeMap::new();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "product" => sections.product = reader.read(value, "[product]"),
            "tls" => {
                lists = list_spans(&value);
                sections.tls = reader.read(value, "[tls]");
            }
            "metering" => sections.metering = reader.read(value, "[metering]"),
            "han" => sections.han = reader.read(value, "[han]"),
            "cls" => sections.cls = reader.read(value, "[cls]"),
            "not-supported" => {
                sections.refused_at = Some(key.span());
                let refused: Option<BTreeMap<Spanned<String>, String>> =
                    reader.read(value, "[not-supported]");
                sections.refused = refused.unwrap_or_default().into_iter().collect();
            }
            _ => {}
        }
    }
    if let Some(tls) = &sections.tls {
        check_tls(&mut reader, tls, &lists);
    }
    let complete = sections.tls.is_some() && sections.metering.is_some() && sections.han.is_some();
    let mut answers = declared(&sections);
    for (key, reason) in &sections.refused {
        if answers.get(key.get_ref()).is_some_and(Answer::applies) {
            let message = format!("`{}` is both declared and refused", key.get_ref());
            reader.problem(key.span(), message, "declared above");
        } else if reason.trim().is_empty() {
            let message = format!("`{}` is refused without a reason", key.get_ref());
            reader.problem(key.span(), message, "why?");
        }
        answers.insert(
            key.get_ref().clone(),
            Answer::No {
                reason: reason.clone(),
            },
        );
    }
    if complete {
        check_demanded(&mut reader, &sections, &answers);
    }
    let problems = reader.problems.is_empty();
    let ics = match (
        sections.product,
        sections.tls,
        sections.metering,
        sections.han,
    ) {
        (Some(product), Some(tls), Some(metering), Some(han)) if problems => {
            let (path, cls) = (path.to_owned(), sections.cls);
            Some(Ics {
                path,
                text,
                product,
                tls,
                metering,
                han,
                cls,
                answers,
            })
        }
        _ => None,
    };
    reader.finish(ics)
}

/// Where the lists of `[tls]` stand, element by element.
fn list_spans(value: &crate::document::Value<'_>) -> BTreeMap<String, Vec<std::ops::Range<usize>>> {
    let Some(table) = value.get_ref().as_table() else {
        return BTreeMap::new();
    };
    let spans = table.iter().filter_map(|(key, value)| {
        let list = value.get_ref().as_array()?;
        Some((
            key.get_ref().to_string(),
            list.iter().map(Spanned::span).collect(),
        ))
    });
    spans.collect()
}

/// Plausibility: nothing the guideline forbids, nothing twice, suites that fit the versions.
fn check_tls(
    reader: &mut Reader,
    tls: &Tls,
    spans: &BTreeMap<String, Vec<std::ops::Range<usize>>>,
) {
    let at = |list: &str, index: usize| {
        spans
            .get(list)
            .and_then(|spans| spans.get(index))
            .cloned()
            .unwrap_or(0..0)
    };
    for (index, suite) in tls.cipher_suites.iter().enumerate() {
        let span = at("cipher-suites", index);
        let version = if suite.0 >> 8 == 0x13 {
            TlsVersion::V1_3
        } else {
            TlsVersion::V1_2
        };
        if !ALLOWED_SUITES.contains(&suite.0) {
            let known = ALLOWED_SUITES
                .map(|suite| CipherSuite(suite).to_string())
                .join(", ");
            let message = format!("TR-03116-3 forbids the cipher suite {suite}");
            reader.problem_help(
                span,
                message,
                "must not be supported",
                format!("it allows {known}"),
            );
        } else if tls.cipher_suites[..index].contains(suite) {
            reader.problem(
                span,
                format!("the cipher suite {suite} is named twice"),
                "again",
            );
        } else if !tls.versions.contains(&version) {
            let message = format!(
                "{suite} belongs to TLS {}, which is not declared",
                version.as_str()
            );
            reader.problem(span, message, "no such version");
        }
    }
    for (index, group) in tls.groups.iter().enumerate() {
        let span = at("groups", index);
        if !ALLOWED_GROUPS.contains(group) {
            let known = ALLOWED_GROUPS.map(|group| group.to_string()).join(", ");
            let message = format!("TR-03116-3 forbids the group {group}");
            reader.problem_help(
                span,
                message,
                "must not be supported",
                format!("it allows {known}"),
            );
        } else if tls.groups[..index].contains(group) {
            reader.problem(span, format!("the group {group} is named twice"), "again");
        }
    }
}

fn check_demanded(reader: &mut Reader, sections: &Sections, answers: &BTreeMap<String, Answer>) {
    let place = sections.refused_at.clone();
    let place = place.unwrap_or_else(|| reader.head.clone());
    for key in DEMANDED {
        if answers.contains_key(key) || (key.starts_with("cls.") && sections.cls.is_none()) {
            continue;
        }
        let mut refused = sections.refused.iter().map(|(word, _)| word);
        let slip = refused.find(|word| {
            let word = word.get_ref().as_str();
            !DEMANDED.contains(&word) && nearest(word, DEMANDED) == Some(key)
        });
        let message = format!("the guideline demands `{key}`, and the file does not speak of it");
        match slip {
            Some(word) => {
                let help = format!("did you mean `{key}`?");
                reader.problem_help(word.span(), message, "not this", help);
            }
            None => {
                let help =
                    format!("declare it, or add to [not-supported]: \"{key}\" = \"why not\"");
                reader.problem_help(place.clone(), message, "nothing about it", help);
            }
        }
    }
}

/// The answers that follow from the sections.
fn declared(sections: &Sections) -> BTreeMap<String, Answer> {
    let mut answers = BTreeMap::new();
    let mut yes = |key: String| answers.insert(key, Answer::Yes);
    if let Some(tls) = &sections.tls {
        tls.versions
            .iter()
            .for_each(|v| drop(yes(format!("tls.version.{}", v.as_str()))));
        tls.cipher_suites
            .iter()
            .for_each(|s| drop(yes(format!("tls.cipher-suite.{s}"))));
        tls.groups
            .iter()
            .for_each(|g| drop(yes(format!("tls.group.{g}"))));
        tls.extensions
            .iter()
            .for_each(|e| drop(yes(format!("tls.extension.{}", e.as_str()))));
    }
    if let Some(metering) = &sections.metering {
        metering
            .protocols
            .iter()
            .for_each(|p| drop(yes(format!("metering.protocol.{}", p.as_str()))));
        metering
            .tafs
            .iter()
            .for_each(|taf| drop(yes(format!("metering.taf.{taf}"))));
    }
    if let Some(cls) = &sections.cls {
        yes("cls".to_owned());
        cls.address_types
            .iter()
            .for_each(|t| drop(yes(format!("cls.address-type.{}", t.as_str()))));
    }
    if let Some(han) = &sections.han {
        for (key, offered) in [
            ("consumer", han.consumer),
            ("technician", han.technician),
            ("receptions", han.receptions),
        ] {
            if offered {
                yes(format!("han.{key}"));
            }
        }
    }
    let mut value = |key: &str, value: String| answers.insert(key.to_owned(), Answer::Value(value));
    if let Some(metering) = &sections.metering {
        value(
            "metering.registration-period",
            metering.registration_period.to_string(),
        );
        value("metering.retention", metering.retention.to_string());
    }
    if let Some(span) = sections.tls.as_ref().and_then(|tls| tls.max_session) {
        value("tls.max-session", span.to_string());
    }
    if let Some(cls) = &sections.cls {
        value("cls.max-name-length", cls.max_name_length.to_string());
        if let Some(span) = cls.handshake_timeout {
            value("cls.handshake-timeout", span.to_string());
        }
    }
    answers
}

/// The whole file, for the schema only; reading goes section by section.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "describes the file")]
pub(crate) struct IcsFile {
    #[schemars(extend("const" = ICS_SCHEMA))]
    schema: String,
    product: Product,
    tls: Tls,
    metering: MeteringStatement,
    han: Han,
    /// The CLS proxy; leave out when the product has none.
    cls: Option<ClsStatement>,
    /// Key to reason, for everything demanded but not declared.
    #[schemars(default)]
    not_supported: BTreeMap<String, String>,
}
