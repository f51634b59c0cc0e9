// SPDX-License-Identifier: MIT OR Apache-2.0
//! The TLS rules of each interface and role as data (TR-03116-3 Stand 2025 §4–6).

use alloc::vec::Vec;
use core::time::Duration;

use hsm_api::Curve;
use rustls::{NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use crate::suites::{Mode, SUITES, Suite};

/// An interface of the gateway, as TR-03116-3 divides its rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interface {
    /// Market participants and the administrator (§4).
    Wan,
    /// Consumers, technicians and controllable local systems (§5).
    Han,
    /// Meters (§6).
    Lmn,
}

impl Interface {
    /// How long a session may live, resumption included (§4.1.5, §5.1.5, §6.1.5).
    pub const fn session_limit(self) -> Duration {
        const HOUR: u64 = 3_600;
        match self {
            Self::Wan | Self::Han => Duration::from_secs(48 * HOUR),
            Self::Lmn => Duration::from_secs(31 * 24 * HOUR),
        }
    }
}

/// One interface's and role's TLS rules; nothing else of the workspace names a suite, group or version.
///
/// All profiles have the groups of tables 8 and 10 and the suites of tables 7 and 9 but CBC, which no default has:
/// from 2025 on TR-03116-3 wants it with `encrypt_then_mac` only, and rustls cannot negotiate that. For partners that
/// have nothing else, [`Self::with_cbc`] adds it behind GCM.
///
/// Test cases narrow a profile with the `only_…` methods; a profile narrowed to nothing is refused when a
/// configuration is built from it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsProfile {
    name: &'static str,
    interface: Interface,
    tls12: bool,
    tls13: bool,
    suites: Vec<u16>,
    groups: Vec<u16>,
    portable: bool,
    session_limit: Duration,
}

impl TlsProfile {
    /// The gateway towards consumers and technicians (TR-03116-3 §5).
    pub fn smgw_han_server() -> Self {
        Self::new("smgw-han-server", Interface::Han)
    }

    /// The gateway towards controllable local systems, inside SOCKS-TLS frames (TR-03116-3 §5).
    pub fn smgw_cls_server() -> Self {
        Self::new("smgw-cls-server", Interface::Han)
    }

    /// The gateway as client of a controllable local system, for channels that it opens (TR-03116-3 §5).
    pub fn smgw_cls_client() -> Self {
        Self::new("smgw-cls-client", Interface::Han)
    }

    /// The gateway towards market participants and its administrator (TR-03116-3 §4).
    pub fn smgw_wan_client() -> Self {
        Self::new("smgw-wan-client", Interface::Wan)
    }

    /// The gateway that calls a meter (TR-03116-3 §6).
    pub fn smgw_lmn_client() -> Self {
        Self::new("smgw-lmn-client", Interface::Lmn)
    }

    /// The gateway that a meter calls (TR-03116-3 §6).
    pub fn smgw_lmn_server() -> Self {
        Self::new("smgw-lmn-server", Interface::Lmn)
    }

    /// A market participant (TR-03116-3 §4).
    pub fn emt_server() -> Self {
        Self::new("emt-server", Interface::Wan)
    }

    /// The gateway's administrator (TR-03116-3 §4).
    pub fn gwa_server() -> Self {
        Self::new("gwa-server", Interface::Wan)
    }

    /// A controllable local system (TR-03116-3 §5).
    pub fn cls_client() -> Self {
        Self::new("cls-client", Interface::Han)
    }

    /// A controllable local system that the gateway calls (TR-03116-3 §5).
    pub fn cls_server() -> Self {
        Self::new("cls-server", Interface::Han)
    }

    /// A consumer's or technician's device (TR-03116-3 §5).
    pub fn han_client() -> Self {
        Self::new("han-client", Interface::Han)
    }

    /// A meter that the gateway calls (TR-03116-3 §6).
    pub fn meter_server() -> Self {
        Self::new("meter-server", Interface::Lmn)
    }

    /// A meter that calls the gateway (TR-03116-3 §6).
    pub fn meter_client() -> Self {
        Self::new("meter-client", Interface::Lmn)
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

    /// Suites with AES-256 only.
    pub fn only_aes256(self) -> Self {
        self.retain_suites(|suite| suite.key_bits == 256)
    }

    /// The two CBC suites of TLS 1.2 as well, for partners without GCM. They come last.
    pub fn with_cbc(mut self) -> Self {
        let cbc = SUITES.iter().filter(|suite| suite.mode == Mode::Cbc);
        let missing: Vec<u16> = cbc
            .map(Suite::id)
            .filter(|id| !self.suites.contains(id))
            .collect();
        self.suites.extend(missing);
        self
    }

    /// The same rules with hashing and record protection in Rust alone instead of *ring*, as a device without an
    /// operating system has them. Without feature `std` there is nothing else.
    pub fn portable(mut self) -> Self {
        self.portable = true;
        self
    }

    /// A shorter life of sessions; a longer one than the interface allows is not taken.
    pub fn with_session_limit(mut self, limit: Duration) -> Self {
        self.session_limit = limit.min(self.interface.session_limit());
        self
    }

    /// The profile's name, for logs and reports.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The interface whose rules these are.
    pub fn interface(&self) -> Interface {
        self.interface
    }

    /// How long a session may live, resumption included; [`crate::SessionClock`] tells when one has to end.
    pub fn session_limit(&self) -> Duration {
        self.session_limit
    }

    /// IANA numbers of the suites that can be negotiated, most wanted first.
    pub fn suites(&self) -> Vec<u16> {
        self.possible_suites().map(Suite::id).collect()
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

    fn new(name: &'static str, interface: Interface) -> Self {
        let suites = SUITES.iter().filter(|suite| suite.mode != Mode::Cbc);
        Self {
            name,
            interface,
            tls12: true,
            tls13: true,
            suites: suites.map(Suite::id).collect(),
            groups: GROUPS.iter().map(|group| group.id).collect(),
            portable: cfg!(not(feature = "std")),
            session_limit: interface.session_limit(),
        }
    }

    fn retain_suites(mut self, wanted: impl Fn(&Suite) -> bool) -> Self {
        let kept: Vec<u16> = SUITES
            .iter()
            .filter(|suite| wanted(suite))
            .map(Suite::id)
            .collect();
        self.suites.retain(|id| kept.contains(id));
        self
    }

    /// A version is possible when it is wanted and has a suite and a group left.
    pub(crate) fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let wanted = [
            (self.tls13, &rustls::version::TLS13),
            (self.tls12, &rustls::version::TLS12),
        ];
        let possible = |version: ProtocolVersion| {
            SUITES.iter().any(|suite| {
                suite.version().version == version && self.suites.contains(&suite.id())
            }) && GROUPS
                .iter()
                .any(|group| group.versions.contains(&version) && self.groups.contains(&group.id))
        };
        wanted
            .into_iter()
            .filter(|(wanted, version)| *wanted && possible(version.version))
            .map(|(_, version)| version)
            .collect()
    }

    pub(crate) fn version_numbers(&self) -> Vec<ProtocolVersion> {
        let versions = self.versions();
        versions.iter().map(|version| version.version).collect()
    }

    pub(crate) fn supported_suites(&self) -> Vec<SupportedCipherSuite> {
        self.possible_suites()
            .map(|suite| suite.supported(self.portable))
            .collect()
    }

    fn possible_suites(&self) -> impl Iterator<Item = &'static Suite> {
        let (versions, allowed) = (self.versions(), self.suites.clone());
        SUITES.iter().filter(move |suite| {
            versions.contains(&suite.version()) && allowed.contains(&suite.id())
        })
    }

    pub(crate) fn supported_groups(&self) -> impl Iterator<Item = &'static Group> {
        let (versions, allowed) = (self.version_numbers(), self.groups.clone());
        GROUPS
            .iter()
            .filter(move |group| allowed.contains(&group.id))
            .filter(move |group| {
                group
                    .versions
                    .iter()
                    .any(|version| versions.contains(version))
            })
    }
}

/// A curve as protocol versions name it: brainpool in TLS 1.2 by RFC 7027, in TLS 1.3 by RFC 8734.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: u16,
    pub(crate) curve: Curve,
    pub(crate) versions: &'static [ProtocolVersion],
}

impl Group {
    pub(crate) fn name(&self) -> NamedGroup {
        NamedGroup::from(self.id)
    }
}

const fn group(id: u16, curve: Curve, versions: &'static [ProtocolVersion]) -> Group {
    Group {
        id,
        curve,
        versions,
    }
}

const TLS12: &[ProtocolVersion] = &[ProtocolVersion::TLSv1_2];
const TLS13: &[ProtocolVersion] = &[ProtocolVersion::TLSv1_3];
const BOTH: &[ProtocolVersion] = &[ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_2];

/// TR-03116-3 tables 8 and 10, most wanted first.
pub(crate) const GROUPS: &[Group] = &[
    group(31, Curve::BrainpoolP256r1, TLS13),
    group(26, Curve::BrainpoolP256r1, TLS12),
    group(32, Curve::BrainpoolP384r1, TLS13),
    group(27, Curve::BrainpoolP384r1, TLS12),
    group(33, Curve::BrainpoolP512r1, TLS13),
    group(28, Curve::BrainpoolP512r1, TLS12),
    group(23, Curve::NistP256, BOTH),
    group(24, Curve::NistP384, BOTH),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_drops_what_cannot_be_negotiated() {
        let all = TlsProfile::smgw_han_server();
        let (new, old) = ([0x1301, 0x1302, 0x1304], [0xC02B, 0xC02C]);
        let (new_groups, old_groups) = ([31, 32, 33, 23, 24], [26, 27, 28, 23, 24]);
        assert_eq!(all.suites(), [&new[..], &old[..]].concat());

        let tls12 = all.clone().only_tls12();
        assert_eq!(
            (tls12.suites(), tls12.groups()),
            (old.to_vec(), old_groups.to_vec())
        );
        let tls13 = all.clone().only_tls13();
        assert_eq!(
            (tls13.suites(), tls13.groups()),
            (new.to_vec(), new_groups.to_vec())
        );

        let one = all.clone().only_suite(0xC02C);
        assert_eq!(
            (one.suites(), one.groups()),
            (vec![0xC02C], old_groups.to_vec())
        );
        assert!(one.allows_tls12() && !one.allows_tls13());
        let one = all.clone().only_group(31);
        assert_eq!((one.suites(), one.groups()), (new.to_vec(), vec![31]));
        // The NIST curves have one number in both versions.
        let one = all.clone().only_group(23);
        assert!(one.allows_tls12() && one.allows_tls13());

        let nothing = all.only_tls13().only_suite(0xC02B);
        assert!(nothing.suites().is_empty() && nothing.groups().is_empty());
    }

    #[test]
    fn cbc_is_added_last_and_only_on_demand() {
        let all = TlsProfile::smgw_wan_client();
        assert!(!all.suites().iter().any(|id| [0xC023, 0xC024].contains(id)));
        let cbc = all.with_cbc().with_cbc();
        assert_eq!(
            cbc.clone().only_tls12().suites(),
            [0xC02B, 0xC02C, 0xC023, 0xC024]
        );
        assert_eq!(cbc.only_aes256().suites(), [0x1302, 0xC02C, 0xC024]);
    }

    #[test]
    fn session_limits_only_shrink() {
        let day = Duration::from_secs(24 * 3_600);
        assert_eq!(TlsProfile::smgw_wan_client().session_limit(), 2 * day);
        let lmn = TlsProfile::smgw_lmn_client();
        assert_eq!(lmn.session_limit(), 31 * day);
        assert_eq!(lmn.clone().with_session_limit(day).session_limit(), day);
        assert_eq!(lmn.with_session_limit(40 * day).session_limit(), 31 * day);
    }
}
