// SPDX-License-Identifier: MIT OR Apache-2.0
//! The TLS rules of each interface and role as data (TR-03116-3 Stand 2025 §4–6).

use std::time::Duration;

use hsm_api::Curve;
use rustls::crypto::ring::cipher_suite;
use rustls::{NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

/// One interface's and role's TLS rules; nothing else of the workspace names a suite, group or version.
///
/// Test cases narrow a profile with the `only_…` methods; a profile narrowed to nothing is refused when a
/// configuration is built from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsProfile {
    name: &'static str,
    tls12: bool,
    tls13: bool,
    suites: Vec<u16>,
    groups: Vec<u16>,
    session_limit: Duration,
}

impl TlsProfile {
    /// The gateway towards consumers and technicians (TR-03116-3 §5).
    pub fn smgw_han_server() -> Self {
        Self::with_all("smgw-han-server")
    }

    /// The gateway towards controllable local systems, inside SOCKS-TLS frames (TR-03116-3 §5).
    pub fn smgw_cls_server() -> Self {
        Self::with_all("smgw-cls-server")
    }

    /// The gateway towards market participants and its administrator (TR-03116-3 §4).
    pub fn smgw_wan_client() -> Self {
        Self::with_all("smgw-wan-client")
    }

    /// A market participant (TR-03116-3 §4).
    pub fn emt_server() -> Self {
        Self::with_all("emt-server")
    }

    /// A controllable local system (TR-03116-3 §5).
    pub fn cls_client() -> Self {
        Self::with_all("cls-client")
    }

    /// A consumer's or technician's device (TR-03116-3 §5).
    pub fn han_client() -> Self {
        Self::with_all("han-client")
    }

    /// TLS 1.2 only.
    pub fn only_tls12(mut self) -> Self {
        self.tls13 = false;
        self
    }

    /// TLS 1.3 only.
    pub fn only_tls13(mut self) -> Self {
        self.tls12 = false;
        self
    }

    /// One suite only, by its IANA number; the versions it does not belong to fall away.
    pub fn only_suite(mut self, suite: u16) -> Self {
        self.suites.retain(|candidate| *candidate == suite);
        self
    }

    /// One group only, by its IANA number; the versions it does not belong to fall away.
    pub fn only_group(mut self, group: u16) -> Self {
        self.groups.retain(|candidate| *candidate == group);
        self
    }

    /// The profile's name, for logs and reports.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How long a session may live, resumption included; the application has to end it.
    pub fn session_limit(&self) -> Duration {
        self.session_limit
    }

    /// IANA numbers of the suites that can be negotiated, most wanted first.
    pub fn suites(&self) -> Vec<u16> {
        self.supported_suites()
            .into_iter()
            .map(|suite| suite.suite().into())
            .collect()
    }

    /// IANA numbers of the groups that can be negotiated, most wanted first.
    pub fn groups(&self) -> Vec<u16> {
        self.supported_groups().map(|group| group.id).collect()
    }

    /// Whether TLS 1.2 can be negotiated.
    pub fn allows_tls12(&self) -> bool {
        self.versions().contains(&&rustls::version::TLS12)
    }

    /// Whether TLS 1.3 can be negotiated.
    pub fn allows_tls13(&self) -> bool {
        self.versions().contains(&&rustls::version::TLS13)
    }

    fn with_all(name: &'static str) -> Self {
        Self {
            name,
            tls12: true,
            tls13: true,
            suites: SUITES.iter().map(|suite| suite.suite().into()).collect(),
            groups: GROUPS.iter().map(|group| group.id).collect(),
            session_limit: TWO_DAYS,
        }
    }

    /// A version is possible when it is wanted and has a suite and a group left.
    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let wanted = [
            (self.tls13, &rustls::version::TLS13),
            (self.tls12, &rustls::version::TLS12),
        ];
        let possible = |version: ProtocolVersion| {
            SUITES.iter().any(|suite| {
                suite.version().version == version && self.suites.contains(&suite.suite().into())
            }) && GROUPS
                .iter()
                .any(|group| group.version == version && self.groups.contains(&group.id))
        };
        wanted
            .into_iter()
            .filter(|(wanted, version)| *wanted && possible(version.version))
            .map(|(_, version)| version)
            .collect()
    }

    pub(crate) fn supported_suites(&self) -> Vec<SupportedCipherSuite> {
        let versions = self.versions();
        SUITES
            .iter()
            .filter(|suite| {
                versions.contains(&suite.version()) && self.suites.contains(&suite.suite().into())
            })
            .copied()
            .collect()
    }

    pub(crate) fn supported_groups(&self) -> impl Iterator<Item = &'static Group> {
        let versions: Vec<ProtocolVersion> = self
            .versions()
            .iter()
            .map(|version| version.version)
            .collect();
        let allowed = self.groups.clone();
        GROUPS
            .iter()
            .filter(move |group| versions.contains(&group.version) && allowed.contains(&group.id))
    }
}

/// A curve as one protocol version names it: TLS 1.2 by RFC 7027, TLS 1.3 by RFC 8734.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: u16,
    pub(crate) curve: Curve,
    pub(crate) version: ProtocolVersion,
}

impl Group {
    pub(crate) fn name(&self) -> NamedGroup {
        NamedGroup::from(self.id)
    }
}

/// Every group this crate can negotiate; a curve has one row per protocol version.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        id: 31,
        curve: Curve::BrainpoolP256r1,
        version: ProtocolVersion::TLSv1_3,
    },
    Group {
        id: 26,
        curve: Curve::BrainpoolP256r1,
        version: ProtocolVersion::TLSv1_2,
    },
];

/// Every suite this crate can negotiate.
const SUITES: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// TR-03116-3 §4 and §5; in the LMN it is 31 days (§6).
const TWO_DAYS: Duration = Duration::from_secs(48 * 3_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_drops_what_cannot_be_negotiated() {
        let all = TlsProfile::smgw_han_server();
        assert_eq!(all.suites(), [0x1301, 0x1302, 0xC02B, 0xC02C]);
        assert_eq!(all.groups(), [31, 26]);

        let old = all.clone().only_tls12();
        assert_eq!(
            (old.suites(), old.groups()),
            (vec![0xC02B, 0xC02C], vec![26])
        );
        let new = all.clone().only_tls13();
        assert_eq!(
            (new.suites(), new.groups()),
            (vec![0x1301, 0x1302], vec![31])
        );

        let one = all.clone().only_suite(0xC02C);
        assert_eq!((one.suites(), one.groups()), (vec![0xC02C], vec![26]));
        assert!(one.allows_tls12() && !one.allows_tls13());
        let one = all.clone().only_group(31);
        assert_eq!(
            (one.suites(), one.groups()),
            (vec![0x1301, 0x1302], vec![31])
        );

        let nothing = all.only_tls13().only_suite(0xC02B);
        assert!(nothing.suites().is_empty() && nothing.groups().is_empty());
    }
}
