// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chains of the smart metering PKI, both generations: who is accepted, and the alert that each bad certificate gets
//! (TR-03109-4; TR-03116-3 §3, §4.1.4).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use hsm_api::{Curve, KeyId, Layer, ModuleError, PublicKey, SecurityModule};
use hsm_pki::{
    Flaw, Generation, Issued, Partner, Purpose, RevocationList, Role, Setting, TestPki, to_pem,
};
use hsm_soft::SoftModule;
use hsm_tls::{
    Identity, PeerCertificates, PeerCheck, PeerSide, PinnedPeers, RevocationPolicy, SmPki,
    SmPkiRole, TlsProfile, client_config, server_config,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, Error};

use crate::party::{Ends, Party};
use crate::peer::{Foreign, accept, connect, listen, openssl_present, run};

/// A PKI, a gateway and a market participant of it.
struct World {
    pki: TestPki,
    module: Arc<dyn SecurityModule>,
    gateway: Party,
    emt: Party,
}

impl World {
    fn new(generation: Generation) -> Self {
        let module: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let pki = TestPki::new(Arc::clone(&module), Setting::new(generation)).unwrap();
        let party = |role, name: &str| {
            let issued = pki.issue(&Partner::new(role, name), &*module).unwrap().tls;
            Party {
                module: Arc::clone(&module),
                identity: identity(&issued),
            }
        };
        Self {
            gateway: party(Role::SmgwW, "EXXX0012345678"),
            emt: party(Role::Emt, "stadtwerke"),
            pki,
            module,
        }
    }

    /// Trusts the root, with current lists.
    fn trust(&self, role: SmPkiRole) -> SmPki {
        let trust = self.without_lists(role);
        self.renew(
            &trust,
            &self.pki.empty_root_list(),
            &self.pki.empty_sub_ca_list(),
        );
        trust
    }

    fn without_lists(&self, role: SmPkiRole) -> SmPki {
        SmPki::new(role, [self.pki.root().certificate().as_ref()])
            .unwrap()
            .with_crl_signers([self.pki.crl_signer().certificate().as_ref()])
            .unwrap()
    }

    fn renew(&self, trust: &SmPki, root: &RevocationList, sub_ca: &RevocationList) {
        let (root, sub_ca) = (
            self.pki.root_list(root).unwrap(),
            self.pki.sub_ca_list(sub_ca).unwrap(),
        );
        trust.renew_crls([root.as_ref(), sub_ca.as_ref()]).unwrap();
    }

    /// The market participant's TLS certificate with a flaw, and the party that shows it.
    fn flawed(&self, flaw: Flaw) -> Issued {
        let key = self.emt.identity.key.clone();
        let public = self.module.public_key(&key).unwrap();
        let partner = Partner::new(Role::Emt, "stadtwerke");
        self.pki
            .certify_flawed(&partner, Purpose::Tls, key, &public, flaw)
            .unwrap()
    }
}

fn identity(issued: &Issued) -> Identity {
    Identity {
        key: issued.key.clone(),
        chain: issued.chain.clone(),
    }
}

/// Says that its key is the one in some certificate.
#[derive(Debug)]
struct Claimant {
    own: Arc<dyn SecurityModule>,
    public: PublicKey,
}

impl Layer for Claimant {
    fn below(&self) -> &dyn SecurityModule {
        self.own.as_ref()
    }

    fn public_key(&self, _key: &KeyId) -> Result<PublicKey, ModuleError> {
        Ok(self.public.clone())
    }
}

fn versions() -> [fn(TlsProfile) -> TlsProfile; 2] {
    [TlsProfile::only_tls12, TlsProfile::only_tls13]
}

/// The gateway as client of a market participant, each with its own trust.
fn meet(
    gateway: &Party,
    emt: &Party,
    version: fn(TlsProfile) -> TlsProfile,
    (of_gateway, of_emt): (impl PeerCheck + 'static, impl PeerCheck + 'static),
) -> Ends {
    let client = client_config(
        gateway.module.clone(),
        &version(TlsProfile::smgw_wan_client()),
        Some(gateway.identity.clone()),
        of_gateway,
    );
    let server = server_config(
        emt.module.clone(),
        &version(TlsProfile::emt_server()),
        emt.identity.clone(),
        of_emt,
    );
    Ends::connect(client.unwrap(), server.unwrap())
}

/// Nothing that the refused side sends or sent comes through.
fn assert_no_data(mut ends: Ends) {
    let _ = ends.client.writer().write_all(b"upstream");
    let _ = ends.server.writer().write_all(b"downstream");
    ends.pump();
    let mut data = Vec::new();
    if ends.server_error.is_some() {
        let _ = ends.server.reader().read_to_end(&mut data);
    }
    if ends.client_error.is_some() {
        let _ = ends.client.reader().read_to_end(&mut data);
    }
    assert!(data.is_empty());
}

#[test]
fn partners_of_both_generations_meet() {
    for generation in Generation::ALL {
        let world = World::new(generation);
        for version in versions() {
            let trust = (world.trust(SmPkiRole::Emt), world.trust(SmPkiRole::Smgw));
            meet(&world.gateway, &world.emt, version, trust).assert_connected();

            // Without the Sub-CA's certificate only those come who know it.
            let mut short = world.emt.clone();
            short.identity.chain.truncate(1);
            let trust = (world.trust(SmPkiRole::Emt), world.trust(SmPkiRole::Smgw));
            let ends = meet(&world.gateway, &short, version, trust);
            let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
            assert_eq!(ends.client_error, Some(unknown));
            let knowing = world
                .trust(SmPkiRole::Emt)
                .with_sub_cas([world.pki.sub_ca().certificate().as_ref()])
                .unwrap();
            meet(
                &world.gateway,
                &short,
                version,
                (knowing, world.trust(SmPkiRole::Smgw)),
            )
            .assert_connected();
        }
    }
}

#[test]
fn a_change_of_generation_goes_by_the_link() {
    let module: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
    let setting = |generation, prefix: &str| Setting {
        key_prefix: prefix.to_owned(),
        ..Setting::new(generation)
    };
    let old = TestPki::new(Arc::clone(&module), setting(Generation::First, "old-")).unwrap();
    let new = TestPki::new(Arc::clone(&module), setting(Generation::Second, "new-")).unwrap();
    let link = old.link_to(&new).unwrap();
    let emt = new
        .issue(&Partner::new(Role::Emt, "stadtwerke"), &*module)
        .unwrap()
        .tls;
    let others = [emt.chain[1..].to_vec(), vec![link.certificate().clone()]].concat();
    let peer = PeerCertificates {
        leaf: emt.certificate(),
        others: &others,
        side: PeerSide::Server,
    };
    let trust = |policy| {
        SmPki::new(SmPkiRole::Emt, [old.root().certificate().as_ref()])
            .unwrap()
            .with_revocation(policy)
    };
    let now = UnixTime::now();
    let checked = trust(RevocationPolicy::WhereKnown).check(peer, now, module.as_ref());
    assert_eq!(checked, Ok(()));
    let checked = trust(RevocationPolicy::Required).check(peer, now, module.as_ref());
    assert_eq!(
        checked,
        Err(CertificateError::UnknownRevocationStatus.into())
    );
    let without_link = PeerCertificates {
        others: &emt.chain[1..],
        ..peer
    };
    let checked = trust(RevocationPolicy::WhereKnown).check(without_link, now, module.as_ref());
    assert_eq!(checked, Err(CertificateError::UnknownIssuer.into()));
}

/// What this crate refuses although the flaw's description leaves it to linters, and why.
const STRICTER: [(Flaw, AlertDescription); 2] = [
    // TR-03109-4 wants it critical; what is not may be ignored by others.
    (
        Flaw::UncriticalKeyUsage,
        AlertDescription::UnsupportedCertificate,
    ),
    // TR-03116-3 table 5 pairs curves with hashes.
    (Flaw::WrongHash, AlertDescription::DecryptError),
];

fn expected(flaw: Flaw) -> Vec<u8> {
    match STRICTER.iter().find(|(stricter, _)| *stricter == flaw) {
        Some((_, alert)) => vec![u8::from(*alert)],
        None => flaw.alerts().iter().map(|alert| alert.code()).collect(),
    }
}

/// Fault 29 of a bench's fault list, and more: expired, revoked, wrong curve, wrong usage, bad chain, not yet valid.
#[test]
fn each_flaw_gets_its_alert_and_no_data() {
    let mut table = BTreeMap::new();
    for generation in Generation::ALL {
        let world = World::new(generation);
        let flaws = Flaw::ALL.iter().copied().filter(|flaw| {
            let profile = hsm_pki::Profile::EndUser(Role::Emt, Purpose::Tls);
            // Another key under the same name is a matter of pinning, see below.
            flaw.fits(profile) && *flaw != Flaw::OtherKey
        });
        for flaw in flaws {
            let issued = world.flawed(flaw);
            let trust = || {
                let trust = world.trust(SmPkiRole::Emt);
                if flaw == Flaw::Revoked {
                    let list = world.pki.empty_sub_ca_list().revoking(issued.certificate());
                    world.renew(&trust, &world.pki.empty_root_list(), &list);
                }
                trust
            };
            for side in [PeerSide::Server, PeerSide::Client] {
                let peer = PeerCertificates {
                    leaf: issued.certificate(),
                    others: &issued.chain[1..],
                    side,
                };
                let checked = trust().check(peer, UnixTime::now(), world.module.as_ref());
                let alert = match checked {
                    Ok(()) => None,
                    Err(Error::InvalidCertificate(error)) => Some(AlertDescription::from(error)),
                    Err(error) => panic!("{flaw}: {error}"),
                };
                match alert {
                    None => assert!(expected(flaw).is_empty(), "{flaw} was accepted"),
                    Some(alert) => assert!(
                        expected(flaw).contains(&u8::from(alert)),
                        "{flaw}: {alert:?}"
                    ),
                }
                table.insert(flaw.name(), alert);
            }
            // Some keys nobody can hold, and those certificates no configuration takes.
            let Ok(public) = hsm_pki::public_key(issued.certificate()) else {
                continue;
            };
            let shows = Party {
                module: Arc::new(Claimant {
                    own: Arc::clone(&world.module),
                    public,
                }),
                identity: identity(&issued),
            };
            let presentable = client_config(
                shows.module.clone(),
                &TlsProfile::smgw_wan_client(),
                Some(shows.identity.clone()),
                PinnedPeers::default(),
            );
            // Whether a wrong key then signs the handshake of an accepted certificate is another matter.
            let (Ok(_), Some(wanted)) = (presentable, table[flaw.name()]) else {
                continue;
            };
            for version in versions() {
                let ends = meet(
                    &world.gateway,
                    &shows,
                    version,
                    (trust(), world.trust(SmPkiRole::Smgw)),
                );
                assert_eq!(
                    ends.server_error,
                    Some(Error::AlertReceived(wanted)),
                    "{flaw}"
                );
                assert!(ends.client_error.is_some(), "{flaw}");
                assert_no_data(ends);

                // The same certificate from the other side.
                let server = server_config(
                    world.gateway.module.clone(),
                    &version(TlsProfile::emt_server()),
                    world.gateway.identity.clone(),
                    trust(),
                );
                let client = client_config(
                    shows.module.clone(),
                    &version(TlsProfile::smgw_wan_client()),
                    Some(shows.identity.clone()),
                    PinnedPeers::new([world.gateway.leaf()]),
                );
                let ends = Ends::connect(client.unwrap(), server.unwrap());
                assert_eq!(
                    ends.client_error,
                    Some(Error::AlertReceived(wanted)),
                    "{flaw}"
                );
                assert!(ends.server_error.is_some(), "{flaw}");
                assert_no_data(ends);
            }
        }
    }
    for (flaw, alert) in &table {
        println!(
            "{flaw:<24} {}",
            alert.map_or("accepted".to_owned(), |alert| format!("{alert:?}"))
        );
    }
    assert!(table.values().flatten().count() >= 20, "{table:?}");
}

#[test]
fn another_key_under_the_same_name_is_not_the_pinned_one() {
    let world = World::new(Generation::First);
    let other = world.flawed(Flaw::OtherKey);
    let other = Party {
        module: Arc::clone(&world.module),
        identity: identity(&other),
    };
    for version in versions() {
        let pinned = PinnedPeers::new([world.emt.leaf()]);
        let ends = meet(
            &world.gateway,
            &other,
            version,
            (pinned, world.trust(SmPkiRole::Smgw)),
        );
        let alert = Error::AlertReceived(AlertDescription::CertificateUnknown);
        assert_eq!(ends.server_error, Some(alert));
        assert_no_data(ends);
    }
}

#[test]
fn roles_and_names_are_told_apart() {
    let world = World::new(Generation::Second);
    let alert = Some(Error::AlertReceived(AlertDescription::BadCertificate));
    for version in versions() {
        for wrong in [SmPkiRole::Smgw, SmPkiRole::Gwa, SmPkiRole::Gwh] {
            let trust = (world.trust(wrong), world.trust(SmPkiRole::Smgw));
            let ends = meet(&world.gateway, &world.emt, version, trust);
            assert_eq!(ends.server_error, alert, "{wrong:?}");
        }
        let named = |name| {
            (
                world.trust(SmPkiRole::Emt).only(name),
                world.trust(SmPkiRole::Smgw),
            )
        };
        meet(&world.gateway, &world.emt, version, named("stadtwerke.EMT")).assert_connected();
        let ends = meet(&world.gateway, &world.emt, version, named("stadtwerk.EMT"));
        assert_eq!(ends.server_error, alert);
    }
}

#[test]
fn revocation_needs_current_lists_of_the_right_signers() {
    let world = World::new(Generation::First);
    let other = World::new(Generation::First);
    let (root, sub_ca) = (world.pki.empty_root_list(), world.pki.empty_sub_ca_list());
    let day = Duration::from_secs(86_400);
    let later =
        UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + 8 * day);
    let revoking_ca = root.clone().revoking(world.pki.sub_ca().certificate());
    let revoking_leaf = sub_ca.clone().revoking(&world.emt.leaf());
    let check = |trust: &SmPki, now| {
        let leaf = world.emt.leaf();
        let peer = PeerCertificates {
            leaf: &leaf,
            others: &world.emt.identity.chain[1..],
            side: PeerSide::Server,
        };
        trust.check(peer, now, world.module.as_ref())
    };
    let refused = |error: CertificateError| Err(Error::from(error));
    let unknown = || refused(CertificateError::UnknownRevocationStatus);
    let old = || refused(CertificateError::ExpiredRevocationList);
    let revoked = || refused(CertificateError::Revoked);
    let now = UnixTime::now();
    let of = |pki: &TestPki, root: Option<&RevocationList>, sub_ca: Option<&RevocationList>| {
        let root = root.map(|list| pki.root_list(list).unwrap());
        let sub_ca = sub_ca.map(|list| pki.sub_ca_list(list).unwrap());
        [root, sub_ca]
    };
    for (why, lists, at, required, tolerant) in [
        (
            "current",
            of(&world.pki, Some(&root), Some(&sub_ca)),
            now,
            Ok(()),
            Ok(()),
        ),
        ("none", [None, None], now, unknown(), Ok(())),
        (
            "no list of the root",
            of(&world.pki, None, Some(&sub_ca)),
            now,
            unknown(),
            Ok(()),
        ),
        (
            "no list of the sub-CA",
            of(&world.pki, Some(&root), None),
            now,
            unknown(),
            Ok(()),
        ),
        (
            "of another PKI with the same names",
            of(&other.pki, Some(&root), Some(&sub_ca)),
            now,
            unknown(),
            Ok(()),
        ),
        (
            "expired",
            of(&world.pki, Some(&root), Some(&sub_ca.clone().expired())),
            now,
            old(),
            Ok(()),
        ),
        (
            "eight days later",
            of(&world.pki, Some(&root), Some(&sub_ca)),
            later,
            old(),
            Ok(()),
        ),
        (
            "leaf revoked",
            of(&world.pki, Some(&root), Some(&revoking_leaf)),
            now,
            revoked(),
            revoked(),
        ),
        (
            "leaf revoked by an old list",
            of(&world.pki, None, Some(&revoking_leaf.clone().expired())),
            now,
            revoked(),
            revoked(),
        ),
        (
            "sub-CA revoked",
            of(&world.pki, Some(&revoking_ca), Some(&sub_ca)),
            now,
            revoked(),
            revoked(),
        ),
        (
            "revoked elsewhere",
            of(&other.pki, Some(&revoking_ca), Some(&revoking_leaf)),
            now,
            unknown(),
            Ok(()),
        ),
    ] {
        for (policy, wanted) in [
            (RevocationPolicy::Required, required),
            (RevocationPolicy::WhereKnown, tolerant),
        ] {
            let trust = world.without_lists(SmPkiRole::Emt).with_revocation(policy);
            trust
                .renew_crls(lists.iter().flatten().map(|list| list.as_ref()))
                .unwrap();
            // Twice, because the signature of a list is verified once.
            for _ in 0..2 {
                assert_eq!(check(&trust, at), wanted, "{why}, {policy:?}");
            }
        }
    }
    // A list that cannot be read leaves the others in force.
    let trust = world.trust(SmPkiRole::Emt);
    assert!(trust.renew_crls([&[0x30, 0][..]]).is_err());
    assert_eq!(check(&trust, now), Ok(()));
    // Without its signer the root's list says nothing.
    let trust = SmPki::new(SmPkiRole::Emt, [world.pki.root().certificate().as_ref()]).unwrap();
    world.renew(&trust, &root, &sub_ca);
    assert_eq!(check(&trust, now), unknown());
}

/// A circle of names, and far more certificates than any chain has.
#[test]
fn hostile_chains_end() {
    let world = World::new(Generation::First);
    let leaf = world.emt.leaf();
    let wrong = world.flawed(Flaw::WrongIssuer);
    let mut others: Vec<CertificateDer<'static>> = Vec::new();
    for _ in 0..50 {
        others.extend(wrong.chain.iter().cloned());
    }
    let peer = PeerCertificates {
        leaf: wrong.certificate(),
        others: &others,
        side: PeerSide::Client,
    };
    let checked = world
        .trust(SmPkiRole::Emt)
        .check(peer, UnixTime::now(), world.module.as_ref());
    assert_eq!(checked, Err(CertificateError::UnknownIssuer.into()));
    // A leaf below itself.
    let circle = [leaf.clone(), leaf.clone()];
    let peer = PeerCertificates {
        leaf: &leaf,
        others: &circle,
        side: PeerSide::Client,
    };
    let checked = world
        .trust(SmPkiRole::Emt)
        .check(peer, UnixTime::now(), world.module.as_ref());
    assert_eq!(checked, Err(CertificateError::UnknownIssuer.into()));
}

/// OpenSSL holds the key, the PKI is ours: it verifies our chain, we verify what it shows, good and bad.
#[test]
fn openssl_sees_the_alerts() {
    if !openssl_present() {
        return;
    }
    for generation in Generation::ALL {
        let world = World::new(generation);
        let foreign = Foreign::new(Curve::BrainpoolP256r1, [world.pki.root().certificate()]);
        run(
            foreign.path(),
            &[
                "ec",
                "-in",
                "foreign.key",
                "-pubout",
                "-outform",
                "DER",
                "-out",
                "public.der",
            ],
        );
        let public = std::fs::read(foreign.path().join("public.der")).unwrap();
        let public = PublicKey::from_spki_der(&public).unwrap();
        let key = KeyId::from("outside");
        let partner = Partner::new(Role::Emt, "stadtwerke");
        let good = world
            .pki
            .certify(&partner, Purpose::Tls, key.clone(), &public)
            .unwrap();
        let flawed = |flaw| {
            let made = world
                .pki
                .certify_flawed(&partner, Purpose::Tls, key.clone(), &public, flaw);
            (Some(flaw), made.unwrap())
        };
        let rows = [
            Flaw::Expired,
            Flaw::NotYetValid,
            Flaw::WrongKeyUsage,
            Flaw::WrongEku,
            Flaw::MissingEku,
            Flaw::WrongIssuer,
            Flaw::BrokenSignature,
            Flaw::Revoked,
            Flaw::CaLeaf,
            Flaw::PathTooLong,
            Flaw::UnknownCritical,
            Flaw::WrongRole,
        ];
        for (flaw, issued) in std::iter::once((None, good)).chain(rows.map(flawed)) {
            let chain: String = issued.chain.iter().map(to_pem).collect();
            std::fs::write(foreign.path().join("emt.pem"), chain).unwrap();
            let trust = || {
                let trust = world.trust(SmPkiRole::Emt);
                let list = world.pki.empty_sub_ca_list();
                let revoked = flaw == Some(Flaw::Revoked);
                let list = if revoked {
                    list.revoking(issued.certificate())
                } else {
                    list
                };
                world.renew(&trust, &world.pki.empty_root_list(), &list);
                trust
            };
            let wanted: Vec<u8> = flaw.map(expected).unwrap_or_default();
            let says = |output: &str| {
                wanted.iter().any(|alert| {
                    output.contains(&format!("SSL alert number {alert}\n"))
                        || output.ends_with(&format!("SSL alert number {alert}"))
                })
            };
            let args = [
                "-tls1_2",
                "-groups",
                "brainpoolP256r1:brainpoolP384r1:brainpoolP512r1",
                "-cert",
                "emt.pem",
                "-cert_chain",
                "emt.pem",
                "-key",
                "foreign.key",
            ];

            let (listener, port) = listen();
            let client = foreign.client(port, &args, "upstream\n");
            let server = server_config(
                world.gateway.module.clone(),
                &TlsProfile::emt_server(),
                world.gateway.identity.clone(),
                trust(),
            );
            let mut connection = rustls::ServerConnection::new(server.unwrap()).unwrap();
            let mut stream = accept(&listener);
            let mut data = [0; 9];
            let read = rustls::Stream::new(&mut connection, &mut stream).read_exact(&mut data);
            while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
            let _ = stream.shutdown(std::net::Shutdown::Write);
            drop(stream);
            let theirs = client.output();
            match flaw {
                None => assert!(
                    read.is_ok() && theirs.contains("Verification: OK"),
                    "{generation}: {read:?} {theirs}"
                ),
                Some(flaw) => assert!(
                    read.is_err() && data == [0; 9] && says(&theirs),
                    "{flaw}: {read:?} {theirs}"
                ),
            }

            let (server, port) = foreign.server(&args);
            let client = client_config(
                world.gateway.module.clone(),
                &TlsProfile::smgw_wan_client(),
                Some(world.gateway.identity.clone()),
                trust(),
            );
            let name = rustls::pki_types::ServerName::try_from("emt.example").unwrap();
            let mut connection = rustls::ClientConnection::new(client.unwrap(), name).unwrap();
            let mut stream = connect(port);
            let mut tls = rustls::Stream::new(&mut connection, &mut stream);
            let outcome = tls.write_all(b"abc\n").and_then(|()| {
                let mut answer = [0; 4];
                tls.read_exact(&mut answer).map(|()| answer)
            });
            while connection.wants_write() && connection.write_tls(&mut stream).is_ok() {}
            drop(stream);
            match flaw {
                None => assert_eq!(outcome.unwrap(), *b"cba\n"),
                Some(flaw) => {
                    assert!(outcome.is_err(), "{flaw}");
                    // OpenSSL does not serve with such a key, so there is nothing to answer.
                    if flaw == Flaw::WrongKeyUsage {
                        continue;
                    }
                    let said = server.wait_until(|line| line.contains("SSL alert number"));
                    assert!(says(&said), "{flaw}: {said}");
                }
            }
        }
    }
}
