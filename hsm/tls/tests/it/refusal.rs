// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must not come about, and the alert the other side sees (TR-03109-1 REQ.TA.TLS.Handshake.130).

use std::sync::Arc;

use hsm_api::{KeyId, Layer, ModuleError, PublicKey, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_tls::{
    Identity, NotPinned, PinnedPeers, TlsConfigError, TlsProfile, client_config, provider,
    server_config,
};
use rustls::{AlertDescription, CertificateError, Error};

use crate::party::{Ends, Party};

fn both_versions() -> [TlsProfile; 2] {
    [
        TlsProfile::han_client().only_tls12(),
        TlsProfile::han_client().only_tls13(),
    ]
}

fn assert_not_pinned(error: Option<&Error>) {
    match error {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => {
            assert!(other.0.is::<NotPinned>())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn unknown_client_is_refused() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    // The stranger's certificate says the same name.
    let stranger = Party::soft("consumer");
    for profile in both_versions() {
        let server = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
        let ends = Ends::connect(stranger.client(&profile, &gateway), server);
        assert_not_pinned(ends.server_error.as_ref());
        assert_eq!(
            ends.client_error,
            Some(Error::AlertReceived(AlertDescription::CertificateUnknown))
        );
    }
}

#[test]
fn client_without_certificate_is_refused() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    for profile in both_versions() {
        let pinned = PinnedPeers::new([gateway.leaf()]);
        let client = client_config(Arc::clone(&consumer.module), &profile, None, pinned).unwrap();
        let ends = Ends::connect(
            client,
            gateway.server(&TlsProfile::smgw_han_server(), &consumer),
        );
        assert_eq!(ends.server_error, Some(Error::NoCertificatesPresented));
        // rustls says so in TLS 1.2 too, where RFC 5246 §7.4.6 has handshake_failure; fatal both.
        assert_eq!(
            ends.client_error,
            Some(Error::AlertReceived(AlertDescription::CertificateRequired))
        );
    }
}

#[test]
fn unknown_server_is_refused() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let impostor = Party::soft("gateway");
    for profile in both_versions() {
        let server = impostor.server(&TlsProfile::smgw_han_server(), &consumer);
        let ends = Ends::connect(consumer.client(&profile, &gateway), server);
        assert_not_pinned(ends.client_error.as_ref());
        assert_eq!(
            ends.server_error,
            Some(Error::AlertReceived(AlertDescription::CertificateUnknown))
        );
    }
}

/// Claims to hold the victim's key, and signs with its own.
#[derive(Debug)]
struct Forger {
    own: Party,
    victim: PublicKey,
    /// Signs nothing at all, as a token that was pulled out.
    pulled: bool,
}

impl Forger {
    fn of(victim: &Party, pulled: bool) -> Party {
        let public = victim.module.public_key(&victim.identity.key).unwrap();
        let forger = Self {
            own: Party::soft("forger"),
            victim: public,
            pulled,
        };
        Party {
            module: Arc::new(forger),
            identity: victim.identity.clone(),
        }
    }
}

impl Layer for Forger {
    fn below(&self) -> &dyn SecurityModule {
        self.own.module.as_ref()
    }

    fn public_key(&self, _key: &KeyId) -> Result<PublicKey, ModuleError> {
        Ok(self.victim.clone())
    }

    fn sign_digest(&self, _key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        if self.pulled {
            return Err(ModuleError::transport("token removed"));
        }
        self.own.module.sign_digest(&self.own.identity.key, digest)
    }
}

/// A pinned certificate is public; only the handshake signature proves its owner.
#[test]
fn stolen_certificate_is_refused() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let bad = Some(Error::InvalidCertificate(CertificateError::BadSignature));
    let alert = Some(Error::AlertReceived(AlertDescription::DecryptError));
    for profile in both_versions() {
        let server = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
        let ends = Ends::connect(
            Forger::of(&consumer, false).client(&profile, &gateway),
            server,
        );
        assert_eq!(
            (ends.server_error, ends.client_error),
            (bad.clone(), alert.clone())
        );

        let server = Forger::of(&gateway, false).server(&TlsProfile::smgw_han_server(), &consumer);
        let ends = Ends::connect(consumer.client(&profile, &gateway), server);
        assert_eq!(
            (ends.client_error, ends.server_error),
            (bad.clone(), alert.clone())
        );
    }
}

/// A failing module is not the peer's misbehaviour, and the error says so.
#[test]
fn failing_module_is_named() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    for profile in both_versions() {
        let server = Forger::of(&gateway, true).server(&TlsProfile::smgw_han_server(), &consumer);
        let ends = Ends::connect(consumer.client(&profile, &gateway), server);
        let expected = "the security module does not sign: token removed";
        assert_eq!(ends.server_error, Some(Error::General(expected.into())));
        assert!(ends.client.is_handshaking());
    }
}

#[test]
fn nothing_in_common_is_refused() {
    let (gateway, consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let (server, client) = (TlsProfile::smgw_han_server, TlsProfile::han_client);
    for (server, client, alert) in [
        (
            server().only_suite(0xC02B),
            client().only_suite(0xC02C),
            AlertDescription::HandshakeFailure,
        ),
        (
            server().only_suite(0x1301),
            client().only_suite(0x1302),
            AlertDescription::HandshakeFailure,
        ),
        (
            server().only_tls13(),
            client().only_tls12(),
            AlertDescription::ProtocolVersion,
        ),
        (
            server().only_tls12(),
            client().only_tls13(),
            AlertDescription::ProtocolVersion,
        ),
    ] {
        let ends = Ends::connect(
            consumer.client(&client, &gateway),
            gateway.server(&server, &consumer),
        );
        assert!(ends.server_error.is_some());
        assert_eq!(ends.client_error, Some(Error::AlertReceived(alert)));
    }
}

#[test]
fn certificate_of_another_key_is_refused() {
    let (gateway, other) = (Party::soft("gateway"), Party::soft("other"));
    let identity = Identity {
        key: gateway.identity.key.clone(),
        chain: vec![other.leaf()],
    };
    let profile = TlsProfile::smgw_han_server();
    let made = server_config(
        Arc::clone(&gateway.module),
        &profile,
        identity.clone(),
        PinnedPeers::default(),
    );
    assert!(matches!(made, Err(TlsConfigError::KeyMismatch(key)) if key == gateway.identity.key));
    let made = client_config(
        Arc::clone(&gateway.module),
        &profile,
        Some(identity),
        PinnedPeers::default(),
    );
    assert!(matches!(made, Err(TlsConfigError::KeyMismatch(_))));

    let unknown = Identity {
        key: KeyId::from("none"),
        chain: vec![gateway.leaf()],
    };
    let made = server_config(
        Arc::clone(&gateway.module),
        &profile,
        unknown,
        PinnedPeers::default(),
    );
    assert!(matches!(made, Err(TlsConfigError::Module(_))));
    let empty = Identity {
        key: gateway.identity.key.clone(),
        chain: Vec::new(),
    };
    let made = server_config(
        Arc::clone(&gateway.module),
        &profile,
        empty,
        PinnedPeers::default(),
    );
    assert!(matches!(made, Err(TlsConfigError::Rustls(_))));
}

#[test]
fn empty_profile_is_refused() {
    let gateway = Party::soft("gateway");
    let nothing = TlsProfile::smgw_wan_client().only_suite(0xC023);
    assert!(matches!(
        provider(&gateway.module, &nothing),
        Err(TlsConfigError::EmptyProfile("smgw-wan-client"))
    ));
}

/// The administrator pins a certificate, not its validity (TR-03116-3 §5).
#[test]
fn expired_but_pinned_is_accepted() {
    let (gateway, mut consumer) = (Party::soft("gateway"), Party::soft("consumer"));
    let request = CertificateRequest::new("consumer").expired();
    let expired = self_signed(&*consumer.module, &consumer.identity.key, &request).unwrap();
    consumer.identity.chain = vec![expired];
    for profile in both_versions() {
        let server = gateway.server(&TlsProfile::smgw_han_server(), &consumer);
        Ends::connect(consumer.client(&profile, &gateway), server).assert_connected();
    }
}
