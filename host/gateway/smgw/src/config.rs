// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration file `smgw.config/1`, parsed into what the gateway runs on before anything is opened.
//!
//! Relative paths of files are relative to the configuration file. Unknown keys are errors; an error
//! names the line where it can and the nearest known key.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use hsm_api::{KeyId, Pin, PinSource};
use hsm_open::Place;
#[cfg(feature = "pkcs11")]
use hsm_open::TokenSelector;
use hsm_tls::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use smgw_core::{Grid, Tolerance};
use smgw_socks::ConnectName;
use smgw_units::{DeviceId, Obis, UtcNanos};
use thiserror::Error;
use toml::Spanned;

mod key;
mod raw;

pub use key::MasterKey;
use raw::{
    Hex, Raw, RawClock, RawCls, RawHan, RawLmn, RawMeter, RawModuleKind, RawProtocol, RawRole,
    RawSecurityModule, RawTime, Text,
};

/// Everything the gateway is told.
#[derive(Debug)]
pub struct Config {
    /// SHA-256 of the file, in hex: whether parameters changed.
    pub hash: String,
    /// The gateway's own id.
    pub device_id: DeviceId,
    /// Where the private key lives.
    pub security_module: SecurityModule,
    /// The value store's file.
    pub store: PathBuf,
    /// Set of profiles that is taken at the first start.
    pub profiles: Option<PathBuf>,
    /// Unix socket of status, metrics and orders.
    pub local_socket: Option<PathBuf>,
    /// Grid of the value lists.
    pub registration_period: Duration,
    /// Meters on serial lines.
    pub meters: Vec<Meter>,
    /// The gateway's key and certificate towards meters that are asked through TLS.
    pub lmn: Option<Identity>,
    /// The home area network server.
    pub han: Han,
    /// The proxy for controllable local systems.
    pub cls: Cls,
    /// Where the time comes from; without it the operating system's clock is taken as valid.
    pub time: Option<Time>,
    /// What a clock shows at the start that only orders over the local socket move on.
    pub driven_from: Option<UtcNanos>,
}

/// The time server, and how far the clock is trusted without it.
#[derive(Clone, Debug)]
pub struct Time {
    /// Address of the NTP-in-TLS server.
    pub server: SocketAddr,
    /// The name sent to it.
    pub tls_name: ServerName<'static>,
    /// Its pinned leaf.
    pub certificate: CertificateDer<'static>,
    /// Time between polls of a valid clock.
    pub poll_interval: Option<Duration>,
    /// The shortest time between polls.
    pub shortest_poll: Option<Duration>,
    /// Assumed error of the oscillator's rate, in parts per million.
    pub drift_ppm: Option<u32>,
    /// Corrections beyond this are ignored while the time is valid.
    pub longest_jump: Option<Duration>,
    /// The latest date that is believed.
    pub latest: Option<UtcNanos>,
    /// Where systems in the home area network ask for the time.
    pub serve: Option<SocketAddr>,
}

/// The module with the gateway's key, and the certificate of that key.
#[derive(Debug)]
pub struct SecurityModule {
    /// Which module.
    pub place: Place,
    /// Where the PIN comes from.
    pub pin: PinSource,
    /// How long the module may take for one operation.
    pub timeout: Duration,
    /// Name of the private key.
    pub key: String,
    /// Certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// One meter on one serial port.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Device id.
    pub id: DeviceId,
    /// How to talk to it.
    pub protocol: Protocol,
    /// Serial device or pseudo terminal.
    pub port: PathBuf,
    /// Bits per second.
    pub baud: u32,
    /// Character format.
    pub format: CharacterFormat,
    /// Registers to keep, at least one.
    pub registers: Vec<Obis>,
}

/// Meter protocols with what only they need.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// SML telegrams pushed by the meter.
    Sml {
        /// The server id its telegrams carry.
        server_id: Vec<u8>,
    },
    /// Wired M-Bus, polled.
    Mbus {
        /// Primary address.
        address: u8,
        /// How long before the grid point the poll starts.
        poll_lead: Duration,
    },
    /// SML in TLS in HDLC, polled.
    HdlcLmn(HdlcLmn),
    /// IEC 62056-21, read out (modes A to C and E).
    Iec62056(Readout),
    /// IEC 62056-21, data blocks the meter sends by itself (mode D, P1 ports).
    Iec62056Push {
        /// Its identification behind the slash; any of the manufacturer when not given.
        identification: Option<String>,
    },
    /// Wireless M-Bus in security mode 7, through a receiver that several meters may share.
    Wmbus {
        /// The meter's master key.
        key: MasterKey,
    },
}

/// A meter on the wired LMN of the German norm.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HdlcLmn {
    /// HDLC address, 2 to 126.
    pub station: u8,
    /// The server id its answers carry.
    pub server_id: Vec<u8>,
    /// Its pinned leaf.
    pub certificate: CertificateDer<'static>,
    /// How long before the grid point the poll starts.
    pub poll_lead: Duration,
}

/// How a meter is read out by IEC 62056-21.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Readout {
    /// The device address of the request; empty for the only meter of a line.
    pub device_address: String,
    /// Its identification behind the slash; any of the manufacturer when not given.
    pub identification: Option<String>,
    /// The speed stays whatever the meter offers.
    pub fixed_baud: bool,
    /// How long before the grid point the request is sent.
    pub poll_lead: Duration,
}

impl Readout {
    /// How long the dialogue takes until the data block begins: three reaction times of 200 ms and about 31 characters.
    fn lead_at(baud: u32) -> Duration {
        Duration::from_millis(600) + Duration::from_secs(310) / baud.max(1)
    }
}

/// Data bits, parity, stop bits such as `8N1`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CharacterFormat {
    /// 7 or 8.
    pub data_bits: u8,
    /// `N`, `E` or `O`.
    pub parity: char,
    /// 1 or 2.
    pub stop_bits: u8,
}

/// The HAN server.
#[derive(Debug)]
pub struct Han {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Users that may connect.
    pub users: Vec<User>,
}

/// A HAN user, known by certificate.
#[derive(Clone, Debug)]
pub struct User {
    /// Name in logs.
    pub id: String,
    /// What the user may see.
    pub role: Role,
    /// The pinned leaf.
    pub certificate: CertificateDer<'static>,
}

/// Roles of the HAN (detail specifications table 6.4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// Consumer, with the meters whose values belong to him.
    Consumer {
        /// Meter ids.
        meters: Vec<DeviceId>,
    },
    /// Service technician.
    Technician,
}

/// The CLS proxy.
#[derive(Clone, Debug)]
pub struct Cls {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Longest time from the greeting to the CONNECT request.
    pub handshake_timeout: Duration,
    /// Proxy profiles.
    pub profiles: Vec<Profile>,
}

impl Cls {
    /// How long an EMT is waited for unless a profile says otherwise.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
}

/// A proxy communication profile: this CLS, this name, this EMT.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The CONNECT name.
    pub local_server_name: ConnectName,
    /// The CLS that may use it.
    pub cls_certificate: CertificateDer<'static>,
    /// The EMT's address.
    pub wan_peer_address: SocketAddr,
    /// The name sent to the EMT.
    pub wan_tls_sni: ServerName<'static>,
    /// The EMT's pinned leaf.
    pub emt_certificate: CertificateDer<'static>,
    /// Longest time to reach the EMT.
    pub connect_timeout: Duration,
}

/// A configuration that cannot be used; whoever wrote the file is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not TOML, or a key or value does not fit; the message shows the line.
    #[error("{path}: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, column, excerpt and reason.
        message: String,
    },
    /// Values that do not fit together.
    #[error("{path}, line {line}: {what}")]
    Meaning {
        /// Which file.
        path: PathBuf,
        /// Line of the value at fault.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl Config {
    /// Reads and resolves `path`, and the certificates it names.
    ///
    /// # Errors
    /// [`ConfigError`]; nothing has been opened but files to read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let raw: Raw = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            message: with_nearest_key(&error),
        })?;
        Resolver { path, text: &text }.config(raw)
    }
}

/// The toml message, and for an unknown key the known one that looks most like it.
fn with_nearest_key(error: &toml::de::Error) -> String {
    let shown = error.to_string().trim_end().to_owned();
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    if !error.message().starts_with("unknown ") {
        return shown;
    }
    let Some(unknown) = quoted.next() else {
        return shown;
    };
    match quoted.min_by_key(|known| edit_distance(unknown, known)) {
        Some(known) if edit_distance(unknown, known) <= 3 => {
            format!("{shown}\ndid you mean `{known}`?")
        }
        _ => shown,
    }
}

fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (to, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

struct Resolver<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Resolver<'_> {
    fn config(&self, raw: Raw) -> Result<Config, ConfigError> {
        if raw.schema.as_ref() != SCHEMA {
            let what = format!(
                "schema is \"{}\", expected \"{SCHEMA}\"",
                raw.schema.as_ref()
            );
            return Err(self.meaning(&raw.schema, what));
        }
        let period = raw.metering.registration_period;
        Grid::new(period.as_ref().0, Tolerance::ONE_PERCENT)
            .map_err(|error| self.meaning(&period, error.to_string()))?;
        let meters = self.meters(raw.meter, raw.lmn.is_some())?;
        let security_module = self.security_module(raw.security_module)?;
        let lmn = raw.lmn.map(|lmn| self.lmn(lmn, &security_module.chain));
        let lmn = lmn.transpose()?;
        let hash = hsm_api::Hash::Sha256.digest(self.text.as_bytes());
        Ok(Config {
            hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            device_id: raw.device_id.0,
            security_module,
            store: self.beside(&raw.store.path),
            profiles: raw.profiles.map(|profiles| self.beside(&profiles.path)),
            driven_from: (raw.clock.as_ref())
                .map(|clock| self.driven_from(clock, raw.local.is_some()))
                .transpose()?,
            local_socket: raw.local.map(|local| self.beside(&local.socket)),
            registration_period: period.into_inner().0,
            han: self.han(raw.han, &meters)?,
            cls: self.cls(raw.cls)?,
            lmn,
            time: raw.time.map(|time| self.time(time)).transpose()?,
            meters,
        })
    }

    fn security_module(&self, raw: RawSecurityModule) -> Result<SecurityModule, ConfigError> {
        let place = self.place(&raw)?;
        let pin = match (raw.pin_file, raw.pin_env, raw.pin_prompt) {
            // The other end of a link knows the PIN; nobody asks for it here.
            (None, None, false) if raw.kind == RawModuleKind::Link => {
                PinSource::Given(Pin::new(""))
            }
            (Some(file), None, false) => PinSource::File(self.beside(&file)),
            (None, Some(name), false) => PinSource::Env(name),
            (None, None, true) => PinSource::Prompt(place.to_string()),
            _ => {
                let what = "exactly one of pin-file, pin-env and pin-prompt = true is needed";
                return Err(self.meaning(&raw.key, what));
            }
        };
        Ok(SecurityModule {
            place,
            pin,
            timeout: raw.timeout.map_or(DEFAULT_MODULE_TIMEOUT, |limit| limit.0),
            key: raw.key.into_inner(),
            chain: self.certificates(&raw.certificate)?,
        })
    }

    fn place(&self, raw: &RawSecurityModule) -> Result<Place, ConfigError> {
        let wrong = |what: String| Err(self.meaning(&raw.key, what));
        let given = [
            ("module", raw.module.is_some()),
            ("token-label", raw.token_label.is_some()),
            ("token-serial", raw.token_serial.is_some()),
            ("reader", raw.reader.is_some()),
            ("profile", raw.profile.is_some()),
            ("address", raw.address.is_some()),
            ("secret-file", raw.secret_file.is_some()),
            ("pin-file", raw.pin_file.is_some()),
            ("pin-env", raw.pin_env.is_some()),
            ("pin-prompt", raw.pin_prompt),
        ];
        let (kind, keys, needed) = raw.kind.keys();
        for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
            if !keys.contains(key) {
                return wrong(format!("{kind} needs {needed}; {key} is not for it"));
            }
        }
        match (raw.kind, &raw.module, &raw.reader) {
            #[cfg(feature = "pkcs11")]
            (RawModuleKind::Pkcs11, Some(library), _) => {
                let token = match (&raw.token_label, &raw.token_serial) {
                    (Some(label), None) => TokenSelector::Label(label.clone()),
                    (None, Some(serial)) => TokenSelector::Serial(serial.clone()),
                    _ => {
                        let what = "exactly one of token-label and token-serial is needed";
                        return wrong(what.into());
                    }
                };
                Ok(Place::Pkcs11 {
                    library: self.beside(library),
                    token,
                })
            }
            #[cfg(feature = "card")]
            (RawModuleKind::Card, _, Some(reader)) => Ok(Place::Card {
                reader: reader.clone(),
                profile: raw.profile.as_deref().map(|file| self.beside(file)),
            }),
            #[cfg(not(feature = "pkcs11"))]
            (RawModuleKind::Pkcs11, ..) => wrong(format!("{kind} {NOT_BUILT_IN}")),
            #[cfg(not(feature = "card"))]
            (RawModuleKind::Card, ..) => wrong(format!("{kind} {NOT_BUILT_IN}")),
            (RawModuleKind::Link, ..) => match (raw.address, &raw.secret_file) {
                (Some(address), Some(secret)) => Ok(Place::Link {
                    address,
                    secret: self.beside(secret),
                }),
                _ => wrong(format!("{kind} needs {needed}")),
            },
            #[cfg(any(feature = "pkcs11", feature = "card"))]
            _ => wrong(format!("{kind} needs {needed}")),
        }
    }

    fn meters(&self, raw: Vec<RawMeter>, has_lmn_key: bool) -> Result<Vec<Meter>, ConfigError> {
        let (mut ids, mut ports, mut names) = (HashSet::new(), HashMap::new(), HashSet::new());
        let meters = raw.into_iter().map(|raw| {
            let id = raw.id.as_ref().0;
            if !ids.insert(id) {
                return Err(self.meaning(&raw.id, format!("meter {id} appears twice")));
            }
            // One receiver hears many meters.
            let kind = (raw.protocol, raw.baud, raw.format.0);
            let shared = ports.insert(raw.port.as_ref().clone(), kind);
            if shared.is_some_and(|other| other != kind || raw.protocol != RawProtocol::Wmbus) {
                let what = "this port already belongs to another meter; only wmbus meters share a \
                            receiver, and its baud and format";
                return Err(self.meaning(&raw.port, what));
            }
            // A telegram names manufacturer and number only.
            let name =
                [id.as_str().get(1..4), id.as_str().get(6..)].map(|part| part.map(str::to_owned));
            let heard = (raw.port.as_ref().clone(), name);
            if raw.protocol == RawProtocol::Wmbus && !names.insert(heard) {
                let what = "another meter of this receiver has the same manufacturer and number";
                return Err(self.meaning(&raw.id, what));
            }
            let registers: Vec<Obis> = raw.registers.as_ref().iter().map(|obis| obis.0).collect();
            let distinct: HashSet<_> = registers.iter().collect();
            if registers.is_empty() || distinct.len() != registers.len() {
                let what = "registers needs at least one OBIS code, and each only once";
                return Err(self.meaning(&raw.registers, what));
            }
            let protocol = self.protocol(&raw, has_lmn_key)?;
            Ok(Meter {
                id,
                protocol,
                port: raw.port.into_inner(),
                baud: raw.baud,
                format: raw.format.0,
                registers,
            })
        });
        meters.collect()
    }

    fn protocol(&self, raw: &RawMeter, has_lmn_key: bool) -> Result<Protocol, ConfigError> {
        let wrong = |what: String| Err(self.meaning(&raw.id, what));
        let given = [
            ("server-id", raw.server_id.is_some()),
            ("address", raw.address.is_some()),
            ("poll-lead", raw.poll_lead.is_some()),
            ("push", raw.push),
            ("device-address", raw.device_address.is_some()),
            ("fixed-baud", raw.fixed_baud),
            ("identification", raw.identification.is_some()),
            ("key-file", raw.key_file.is_some()),
            ("certificate", raw.certificate.is_some()),
        ];
        let (kind, keys) = raw.protocol.keys();
        for (key, _) in given.iter().filter(|(_, is_given)| *is_given) {
            if !keys.contains(key) {
                let keys = keys.join(", ");
                return wrong(format!("{key} is not for {kind}, which takes {keys}"));
            }
        }
        let poll_lead = raw.poll_lead.as_ref().map(|lead| lead.0);
        let server_id = || match &raw.server_id {
            Some(Text(Hex(bytes))) => bytes.clone(),
            None => raw.id.as_ref().0.server_id().to_vec(),
        };
        Ok(match raw.protocol {
            RawProtocol::Sml => Protocol::Sml {
                server_id: server_id(),
            },
            RawProtocol::Mbus => match raw.address {
                Some(address @ 0..=250) => Protocol::Mbus {
                    address,
                    poll_lead: poll_lead.unwrap_or(DEFAULT_POLL_LEAD),
                },
                _ => return wrong(format!("{kind} needs address = 0 to 250")),
            },
            RawProtocol::HdlcLmn => {
                let Some(station @ 2..=126) = raw.address else {
                    return wrong(format!("{kind} needs address = 2 to 126"));
                };
                let Some(file) = raw.certificate.as_ref().filter(|_| has_lmn_key) else {
                    return wrong(format!("{kind} needs certificate, and the section [lmn]"));
                };
                Protocol::HdlcLmn(HdlcLmn {
                    station,
                    server_id: server_id(),
                    certificate: self.leaf(file)?,
                    poll_lead: poll_lead.unwrap_or(DEFAULT_POLL_LEAD),
                })
            }
            RawProtocol::Iec62056 if raw.push => {
                let asked = [
                    ("poll-lead", poll_lead.is_some()),
                    ("device-address", raw.device_address.is_some()),
                    ("fixed-baud", raw.fixed_baud),
                ];
                if let Some((key, _)) = asked.iter().find(|(_, is_given)| *is_given) {
                    return wrong(format!("{key} is for meters that are asked, without push"));
                }
                Protocol::Iec62056Push {
                    identification: raw.identification.clone(),
                }
            }
            RawProtocol::Iec62056 => Protocol::Iec62056(Readout {
                device_address: raw.device_address.clone().unwrap_or_default(),
                identification: raw.identification.clone(),
                fixed_baud: raw.fixed_baud,
                poll_lead: poll_lead.unwrap_or_else(|| Readout::lead_at(raw.baud)),
            }),
            RawProtocol::Wmbus => {
                let Some(file) = &raw.key_file else {
                    return wrong(format!("{kind} needs key-file, its master key"));
                };
                let path = self.beside(file.as_ref());
                let key = MasterKey::read(&path).map_err(|why| {
                    self.meaning(file, format!("key-file {}: {why}", path.display()))
                })?;
                Protocol::Wmbus { key }
            }
        })
    }

    fn han(&self, raw: RawHan, meters: &[Meter]) -> Result<Han, ConfigError> {
        let mut leaves = HashSet::new();
        let users = raw.user.into_iter().map(|raw| {
            let certificate = self.leaf(&raw.certificate)?;
            if !leaves.insert(certificate.clone()) {
                return Err(self.meaning(&raw.certificate, "two users have the same certificate"));
            }
            let role = match (raw.role, raw.meters) {
                (RawRole::Con, Some(ids)) => {
                    if let Some(id) = ids
                        .as_ref()
                        .iter()
                        .find(|id| meters.iter().all(|meter| meter.id != id.0))
                    {
                        return Err(self.meaning(&ids, format!("there is no meter {}", id.0)));
                    }
                    Role::Consumer {
                        meters: ids.into_inner().into_iter().map(|id| id.0).collect(),
                    }
                }
                (RawRole::Con, None) => {
                    return Err(self.meaning(&raw.certificate, "a consumer needs meters"));
                }
                (RawRole::Srv, None) => Role::Technician,
                (RawRole::Srv, Some(ids)) => {
                    return Err(self.meaning(&ids, "meters is for consumers only"));
                }
            };
            Ok(User {
                id: raw.id,
                role,
                certificate,
            })
        });
        Ok(Han {
            listen: raw.listen,
            users: users.collect::<Result<_, _>>()?,
        })
    }

    fn cls(&self, raw: RawCls) -> Result<Cls, ConfigError> {
        let mut seen = HashSet::new();
        let profiles = raw.profile.into_iter().map(|raw| {
            let name = &raw.local_server_name;
            let local_server_name = ConnectName::parse(name.as_ref().as_bytes())
                .map_err(|error| self.meaning(name, error.to_string()))?;
            let cls_certificate = self.leaf(&raw.cls_certificate)?;
            if !seen.insert((local_server_name.clone(), cls_certificate.clone())) {
                return Err(self.meaning(name, "this CLS already has a profile of this name"));
            }
            let sni = &raw.wan_tls_sni;
            Ok(Profile {
                local_server_name,
                cls_certificate,
                wan_peer_address: raw.wan_peer_address,
                wan_tls_sni: ServerName::try_from(sni.as_ref().clone())
                    .map_err(|error| self.meaning(sni, error.to_string()))?,
                emt_certificate: self.leaf(&raw.emt_certificate)?,
                connect_timeout: raw
                    .connect_timeout
                    .map_or(Cls::CONNECT_TIMEOUT, |limit| limit.0),
            })
        });
        Ok(Cls {
            listen: raw.listen,
            handshake_timeout: raw
                .handshake_timeout
                .map_or(DEFAULT_HANDSHAKE_TIMEOUT, |limit| limit.0),
            profiles: profiles.collect::<Result<_, _>>()?,
        })
    }

    fn time(&self, raw: RawTime) -> Result<Time, ConfigError> {
        let name = &raw.tls_name;
        let mut shortest_poll = None;
        if let Some(interval) = &raw.poll_interval {
            let short = interval.as_ref().0 < SHORTEST_POLL;
            if short && !raw.rehearsal {
                let what = "poll-interval is a minute at least, but for rehearsal = true";
                return Err(self.meaning(interval, what));
            }
            shortest_poll = short.then_some(interval.as_ref().0);
        }
        if let Some(ppm) = raw.drift_ppm.as_ref().filter(|ppm| *ppm.as_ref() > 100_000) {
            return Err(self.meaning(ppm, "drift-ppm is 100000 at most"));
        }
        let date = |text: &Spanned<String>| {
            let what = "expected a date such as \"2106-12-31T23:59:59Z\"";
            crate::clock::instant(text.as_ref()).ok_or_else(|| self.meaning(text, what))
        };
        Ok(Time {
            server: raw.server,
            tls_name: ServerName::try_from(name.as_ref().clone())
                .map_err(|error| self.meaning(name, error.to_string()))?,
            certificate: self.leaf(&raw.certificate)?,
            poll_interval: raw.poll_interval.map(|span| span.into_inner().0),
            shortest_poll,
            drift_ppm: raw.drift_ppm.map(Spanned::into_inner),
            longest_jump: raw.longest_jump.map(|span| span.0),
            latest: raw.latest.as_ref().map(date).transpose()?,
            serve: raw.serve,
        })
    }

    fn lmn(&self, raw: RawLmn, wan: &[CertificateDer<'static>]) -> Result<Identity, ConfigError> {
        let chain = self.certificates(&raw.certificate)?;
        if chain.first() == wan.first() {
            let what = "the certificate towards meters must be another than that of the WAN";
            return Err(self.meaning(&raw.certificate, what));
        }
        Ok(Identity {
            key: KeyId(raw.key),
            chain,
        })
    }

    fn driven_from(&self, raw: &RawClock, has_socket: bool) -> Result<UtcNanos, ConfigError> {
        let text = &raw.driven_from;
        if !raw.rehearsal {
            return Err(self.meaning(text, "driven-from is for rehearsal = true only"));
        }
        if !has_socket {
            return Err(self.meaning(text, "driven-from needs a [local] socket for the orders"));
        }
        let what = "expected an instant such as \"2027-03-28T00:00:00Z\"";
        crate::clock::instant(text.as_ref()).ok_or_else(|| self.meaning(text, what))
    }

    fn leaf(&self, file: &Spanned<PathBuf>) -> Result<CertificateDer<'static>, ConfigError> {
        self.certificates(file)
            .map(|mut chain| chain.swap_remove(0))
    }

    /// The certificates of a PEM file, at least one.
    fn certificates(
        &self,
        file: &Spanned<PathBuf>,
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let path = self.beside(file.as_ref());
        let problem =
            |why: String| self.meaning(file, format!("certificate {}: {why}", path.display()));
        let chain: Vec<_> = CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect)
            .map_err(|error| problem(error.to_string()))?;
        if chain.is_empty() {
            return Err(problem("the file holds no certificate in PEM form".into()));
        }
        Ok(chain)
    }

    fn beside(&self, file: &Path) -> PathBuf {
        self.path
            .parent()
            .map_or_else(|| file.into(), |folder| folder.join(file))
    }

    fn meaning<T>(&self, at: &Spanned<T>, what: impl Into<String>) -> ConfigError {
        let before = self.text.get(..at.span().start).unwrap_or_default();
        ConfigError::Meaning {
            path: self.path.into(),
            line: before.matches('\n').count() + 1,
            what: what.into(),
        }
    }
}

impl FromStr for CharacterFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut symbols = text.chars();
        match (
            symbols.next(),
            symbols.next(),
            symbols.next(),
            symbols.next(),
        ) {
            (
                Some(data @ ('7' | '8')),
                Some(parity @ ('N' | 'E' | 'O')),
                Some(stop @ ('1' | '2')),
                None,
            ) => Ok(Self {
                data_bits: if data == '7' { 7 } else { 8 },
                parity,
                stop_bits: if stop == '1' { 1 } else { 2 },
            }),
            _ => Err("expected a character format such as \"8N1\" or \"8E1\""),
        }
    }
}

#[cfg(not(all(feature = "pkcs11", feature = "card")))]
const NOT_BUILT_IN: &str = "is nothing this build of the gateway can drive";
const SCHEMA: &str = "smgw.config/1";
/// Detail specifications §14.3.2.2.
const SHORTEST_POLL: Duration = Duration::from_secs(60);
const DEFAULT_MODULE_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_POLL_LEAD: Duration = Duration::from_millis(100);
const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
