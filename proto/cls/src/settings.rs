// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a controllable local system keeps in its flash: where it lives, who it is, whom it trusts, and its limits.
//!
//! One CBOR map with a version. Each value has exactly one encoding, and nothing else is accepted; the checksum is the
//! store's business. TR-03109-1 REQ.SOCKS.Connect.30 and .35 give the server name, REQ.TA.TLS.Handshake.160 the pinned
//! certificate, SOCKSTLS.ConnectRequest.80 the back-off; the limits are those of [`crate::limiter`].

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{CborLen, Decode, Encode};
use smgw_socks::ConnectName;
use zeroize::{Zeroize, Zeroizing};

use crate::limiter::Rules;

/// The longest encoding in octets; a store has to hold as much.
pub const MAX_LEN: usize = 6 * 1_024;

/// The most octets of a certificate.
pub const MAX_CERTIFICATE: usize = 2_048;

/// The layout this crate writes and reads.
pub const VERSION: u8 = 1;

/// Settings that are sound in themselves: [`Settings::encode`] and [`Settings::decode`] refuse others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The name of its profile at the gateway, which it puts into CONNECT.
    pub server_name: ConnectName,
    /// Where it lives.
    pub network: Network,
    /// The gateway's CLS interface.
    pub proxy: SocketAddrV4,
    /// Its certificate, DER, 1 to [`MAX_CERTIFICATE`] octets.
    pub certificate: Vec<u8>,
    /// The private key for it.
    pub key: PrivateKey,
    /// The gateway's certificate, DER, 1 to [`MAX_CERTIFICATE`] octets; no other is accepted.
    pub gateway_certificate: Vec<u8>,
    /// Its limits.
    pub limits: Limits,
    /// How long it waits after a failure.
    pub back_off: BackOff,
}

/// An address in an IPv4 network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    /// Its own address.
    pub address: Ipv4Addr,
    /// Bits of the network, 0 to 32.
    pub prefix: u8,
    /// The router, where there is one.
    pub router: Option<Ipv4Addr>,
}

/// A private key. It is wiped on drop and never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct PrivateKey {
    /// Its curve.
    pub curve: KeyCurve,
    /// The scalar, as long as the curve's field, big-endian.
    pub scalar: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?}, ..)", self.curve)
    }
}

/// The curves of TR-03116-3 table 4, by the numbers IANA gives them as TLS groups.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum KeyCurve {
    /// secp256r1.
    NistP256 = 23,
    /// secp384r1.
    NistP384 = 24,
    /// brainpoolP256r1.
    BrainpoolP256r1 = 26,
    /// brainpoolP384r1.
    BrainpoolP384r1 = 27,
    /// brainpoolP512r1.
    BrainpoolP512r1 = 28,
}

impl KeyCurve {
    /// All curves.
    pub const ALL: [Self; 5] = [
        Self::NistP256,
        Self::NistP384,
        Self::BrainpoolP256r1,
        Self::BrainpoolP384r1,
        Self::BrainpoolP512r1,
    ];

    /// Octets of a scalar.
    pub const fn field_len(self) -> usize {
        match self {
            Self::NistP256 | Self::BrainpoolP256r1 => 32,
            Self::NistP384 | Self::BrainpoolP384r1 => 48,
            Self::BrainpoolP512r1 => 64,
        }
    }
}

/// Limits of power and their times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// What the load draws, in W.
    pub nominal_watts: u32,
    /// The limit without control, in W.
    pub failsafe_watts: u32,
    /// The longest time between heartbeats in s, at least 1.
    pub heartbeat_s: u32,
    /// How long the fail-safe limit holds when nobody calls any more, in s, at least 1; EEBUS LPC has 2 to 24 hours.
    pub failsafe_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            nominal_watts: rules.nominal_watts,
            failsafe_watts: rules.failsafe_watts,
            heartbeat_s: (rules.heartbeat_ms / 1_000) as u32,
            failsafe_s: (rules.failsafe_ms / 1_000) as u32,
        }
    }
}

impl From<Limits> for Rules {
    fn from(limits: Limits) -> Self {
        Self {
            nominal_watts: limits.nominal_watts,
            failsafe_watts: limits.failsafe_watts,
            heartbeat_ms: u64::from(limits.heartbeat_s) * 1_000,
            failsafe_ms: u64::from(limits.failsafe_s) * 1_000,
        }
    }
}

/// How long to wait after a failure: a random time in this range (SOCKSTLS.ConnectRequest.80).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackOff {
    /// The shortest wait in s.
    pub least_s: u16,
    /// The longest wait in s, not below the shortest.
    pub most_s: u16,
}

impl Default for BackOff {
    /// 5 to 60 s.
    fn default() -> Self {
        Self {
            least_s: 5,
            most_s: 60,
        }
    }
}

/// Why settings cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SettingsError {
    /// The octets are longer than [`MAX_LEN`] or not the one encoding of settings.
    Malformed,
    /// Another version wrote them.
    Version(u8),
    /// A value is out of its range; the field's name.
    Value(&'static str),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("the octets are no settings"),
            Self::Version(got) => {
                write!(f, "the settings have version {got}, expected {VERSION}")
            }
            Self::Value(field) => write!(f, "the setting {field} is out of its range"),
        }
    }
}

impl core::error::Error for SettingsError {}

impl Settings {
    /// The encoding, at most [`MAX_LEN`] octets; it holds the private key.
    ///
    /// # Errors
    /// [`SettingsError::Value`].
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, SettingsError> {
        self.require_sound()?;
        let map = Map::from(self);
        // The exact capacity, so that no copy of the key stays behind in a buffer that was too small.
        let mut octets = Zeroizing::new(Vec::with_capacity(minicbor::len(&map)));
        minicbor::encode(&map, &mut *octets).map_err(|_| SettingsError::Malformed)?;
        Ok(octets)
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn decode(octets: &[u8]) -> Result<Self, SettingsError> {
        if octets.len() > MAX_LEN {
            return Err(SettingsError::Malformed);
        }
        let version: Version = minicbor::decode(octets).map_err(|_| SettingsError::Malformed)?;
        if version.version != VERSION {
            return Err(SettingsError::Version(version.version));
        }
        let map: Map = minicbor::decode(octets).map_err(|_| SettingsError::Malformed)?;
        let settings = map.settings()?;
        // Since settings have one encoding, comparing with ours is a strict parser.
        match settings.encode()?.as_slice() == octets {
            true => Ok(settings),
            false => Err(SettingsError::Malformed),
        }
    }

    fn require_sound(&self) -> Result<(), SettingsError> {
        let certificate = 1..=MAX_CERTIFICATE;
        let scalar = &self.key.scalar;
        let checks = [
            ("prefix", self.network.prefix <= 32),
            ("certificate", certificate.contains(&self.certificate.len())),
            (
                "key",
                scalar.len() == self.key.curve.field_len()
                    && scalar.iter().any(|octet| *octet != 0),
            ),
            (
                "gateway_certificate",
                certificate.contains(&self.gateway_certificate.len()),
            ),
            ("heartbeat_s", self.limits.heartbeat_s > 0),
            ("failsafe_s", self.limits.failsafe_s > 0),
            ("back_off", self.back_off.least_s <= self.back_off.most_s),
        ];
        match checks.into_iter().find(|(_, sound)| !sound) {
            None => Ok(()),
            Some((field, _)) => Err(SettingsError::Value(field)),
        }
    }
}

/// What every version begins with.
#[derive(Decode)]
#[cbor(map)]
struct Version {
    #[n(0)]
    version: u8,
}

#[derive(Encode, Decode, CborLen)]
#[cbor(map)]
struct Map {
    #[n(0)]
    version: u8,
    #[n(1)]
    server_name: String,
    #[n(2)]
    address: ByteArray<4>,
    #[n(3)]
    prefix: u8,
    #[n(4)]
    router: Option<ByteArray<4>>,
    #[n(5)]
    proxy_address: ByteArray<4>,
    #[n(6)]
    proxy_port: u16,
    #[n(7)]
    certificate: ByteVec,
    #[n(8)]
    curve: u8,
    #[n(9)]
    scalar: ByteVec,
    #[n(10)]
    gateway_certificate: ByteVec,
    #[n(11)]
    nominal_watts: u32,
    #[n(12)]
    failsafe_watts: u32,
    #[n(13)]
    heartbeat_s: u32,
    #[n(14)]
    failsafe_s: u32,
    #[n(15)]
    least_s: u16,
    #[n(16)]
    most_s: u16,
}

impl Drop for Map {
    fn drop(&mut self) {
        self.scalar.zeroize();
    }
}

impl From<&Settings> for Map {
    fn from(settings: &Settings) -> Self {
        let address = |address: Ipv4Addr| ByteArray::from(address.octets());
        let Settings {
            network,
            limits,
            back_off,
            ..
        } = settings;
        Self {
            version: VERSION,
            server_name: settings.server_name.as_str().into(),
            address: address(network.address),
            prefix: network.prefix,
            router: network.router.map(address),
            proxy_address: address(*settings.proxy.ip()),
            proxy_port: settings.proxy.port(),
            certificate: settings.certificate.clone().into(),
            curve: settings.key.curve as u8,
            scalar: settings.key.scalar.to_vec().into(),
            gateway_certificate: settings.gateway_certificate.clone().into(),
            nominal_watts: limits.nominal_watts,
            failsafe_watts: limits.failsafe_watts,
            heartbeat_s: limits.heartbeat_s,
            failsafe_s: limits.failsafe_s,
            least_s: back_off.least_s,
            most_s: back_off.most_s,
        }
    }
}

impl Map {
    fn settings(&self) -> Result<Settings, SettingsError> {
        let address = |octets: &ByteArray<4>| Ipv4Addr::from(**octets);
        let curve = KeyCurve::ALL
            .into_iter()
            .find(|curve| *curve as u8 == self.curve);
        Ok(Settings {
            server_name: ConnectName::parse(self.server_name.as_bytes())
                .map_err(|_| SettingsError::Value("server_name"))?,
            network: Network {
                address: address(&self.address),
                prefix: self.prefix,
                router: self.router.as_ref().map(address),
            },
            proxy: SocketAddrV4::new(address(&self.proxy_address), self.proxy_port),
            certificate: self.certificate.to_vec(),
            key: PrivateKey {
                curve: curve.ok_or(SettingsError::Value("key"))?,
                scalar: Zeroizing::new(self.scalar.to_vec()),
            },
            gateway_certificate: self.gateway_certificate.to_vec(),
            limits: Limits {
                nominal_watts: self.nominal_watts,
                failsafe_watts: self.failsafe_watts,
                heartbeat_s: self.heartbeat_s,
                failsafe_s: self.failsafe_s,
            },
            back_off: BackOff {
                least_s: self.least_s,
                most_s: self.most_s,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    pub(super) fn settings() -> impl Strategy<Value = Settings> {
        let network = (any::<[u8; 4]>(), 0u8..=32, any::<Option<[u8; 4]>>());
        let certificate = || {
            prop_oneof![
                prop::collection::vec(any::<u8>(), 1..60),
                Just(vec![0xa5; MAX_CERTIFICATE])
            ]
        };
        let key = prop::sample::select(KeyCurve::ALL.to_vec())
            .prop_flat_map(|curve| (Just(curve), prop::collection::vec(1u8.., curve.field_len())));
        let limits = (any::<u32>(), any::<u32>(), 1u32.., 1u32..);
        let back_off = any::<[u16; 2]>();
        let proxy = any::<([u8; 4], u16)>();
        let name = "[a-z0-9.-]{1,63}";
        let all = (
            name,
            network,
            proxy,
            certificate(),
            key,
            certificate(),
            limits,
            back_off,
        );
        all.prop_filter_map(
            "a name",
            |(name, network, proxy, certificate, key, gateway, limits, back_off)| {
                Some(Settings {
                    server_name: ConnectName::parse(name.as_bytes()).ok()?,
                    network: Network {
                        address: network.0.into(),
                        prefix: network.1,
                        router: network.2.map(Ipv4Addr::from),
                    },
                    proxy: SocketAddrV4::new(proxy.0.into(), proxy.1),
                    certificate,
                    key: PrivateKey {
                        curve: key.0,
                        scalar: Zeroizing::new(key.1),
                    },
                    gateway_certificate: gateway,
                    limits: Limits {
                        nominal_watts: limits.0,
                        failsafe_watts: limits.1,
                        heartbeat_s: limits.2,
                        failsafe_s: limits.3,
                    },
                    back_off: BackOff {
                        least_s: back_off[0].min(back_off[1]),
                        most_s: back_off[0].max(back_off[1]),
                    },
                })
            },
        )
    }

    type Spoil = (&'static str, fn(&mut Settings));

    proptest! {
        #[test]
        fn settings_survive_the_flash(settings in settings()) {
            let octets = settings.encode().unwrap();
            prop_assert!(octets.len() <= MAX_LEN);
            prop_assert_eq!(octets.capacity(), octets.len());
            prop_assert_eq!(Settings::decode(&octets), Ok(settings.clone()));
            prop_assert!(Settings::decode(&octets[..octets.len() - 1]).is_err());
            let longer = [&octets[..], &[0]].concat();
            prop_assert_eq!(Settings::decode(&longer), Err(SettingsError::Malformed));
            let mut newer = octets.to_vec();
            newer[2] = VERSION + 1;
            prop_assert_eq!(Settings::decode(&newer), Err(SettingsError::Version(VERSION + 1)));
        }

        #[test]
        fn values_out_of_range_are_named(settings in settings()) {
            let spoil: [Spoil; 8] = [
                ("prefix", |settings| settings.network.prefix = 33),
                ("certificate", |settings| settings.certificate.clear()),
                ("certificate", |settings| settings.certificate = vec![0; MAX_CERTIFICATE + 1]),
                ("key", |settings| settings.key.scalar.push(1)),
                ("key", |settings| settings.key.scalar.fill(0)),
                ("gateway_certificate", |settings| settings.gateway_certificate.clear()),
                ("heartbeat_s", |settings| settings.limits.heartbeat_s = 0),
                ("back_off", |settings| settings.back_off = BackOff { least_s: 2, most_s: 1 }),
            ];
            for (field, spoil) in spoil {
                let mut spoiled = settings.clone();
                spoil(&mut spoiled);
                prop_assert_eq!(spoiled.encode(), Err(SettingsError::Value(field)));
            }
        }

        #[test]
        fn keys_are_never_shown(settings in settings()) {
            let shown = format!("{settings:?}");
            let scalar = format!("{:?}", settings.key.scalar.as_slice());
            prop_assert!(!shown.contains(&scalar));
        }
    }
}
