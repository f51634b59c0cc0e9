// SPDX-License-Identifier: MIT OR Apache-2.0
//! A partner with a module, a key and a certificate, and handshakes in memory.

use std::path::Path;
use std::sync::Arc;

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_card::{CardModule, CardOptions, CardProfile, CardTransport, InProcess, Signal};
use hsm_card_emulator::randomness::Random;
use hsm_card_emulator::state::{State, Volatile};
use hsm_card_emulator::{Card, SharedCard};
use hsm_pkcs11::{Pin, Pkcs11Config, Pkcs11Module, TokenSelector};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

pub const PIN: &str = "1234567890";

#[derive(Clone, Debug)]
pub struct Party {
    pub module: Arc<dyn SecurityModule>,
    pub identity: Identity,
}

impl Party {
    pub fn new(module: Arc<dyn SecurityModule>, name: &str) -> Self {
        Self::on_curve(module, name, Curve::BrainpoolP256r1)
    }

    pub fn on_curve(module: Arc<dyn SecurityModule>, name: &str, curve: Curve) -> Self {
        let key = KeyId::from(name);
        module.generate_key(&key, curve, KeyUsage::Sign).unwrap();
        let request = CertificateRequest::new(name).with_dns_name(name);
        let chain = vec![self_signed(&*module, &key, &request).unwrap()];
        Self {
            module,
            identity: Identity { key, chain },
        }
    }

    pub fn soft(name: &str) -> Self {
        Self::new(Arc::new(SoftModule::new()), name)
    }

    /// A partner whose key is in the SoftHSM2 token labelled "t".
    pub fn token(library: &Path, name: &str) -> Self {
        Self::new(token(library), name)
    }

    pub fn leaf(&self) -> CertificateDer<'static> {
        self.identity.chain[0].clone()
    }

    pub fn server(&self, profile: &TlsProfile, client: &Party) -> Arc<ServerConfig> {
        let clients = PinnedPeers::new([client.leaf()]);
        server_config(
            Arc::clone(&self.module),
            profile,
            self.identity.clone(),
            clients,
        )
        .unwrap()
    }

    pub fn client(&self, profile: &TlsProfile, server: &Party) -> Arc<ClientConfig> {
        let servers = PinnedPeers::new([server.leaf()]);
        client_config(
            Arc::clone(&self.module),
            profile,
            Some(self.identity.clone()),
            servers,
        )
        .unwrap()
    }
}

/// The SoftHSM2 token labelled "t".
pub fn token(library: &Path) -> Arc<dyn SecurityModule> {
    let token = TokenSelector::Label("t".into());
    let module = Pkcs11Module::open(Pkcs11Config::new(library, token, Pin::new(PIN)));
    Arc::new(module.unwrap())
}

/// A card of our own in this process.
pub fn new_card(random: impl Random + 'static) -> SharedCard {
    let profile = CardProfile::tr03109_2_assumed();
    let state = State::fresh(&profile, "00", Pin::new(PIN));
    SharedCard::new(Card::new(profile, state, Volatile, random))
}

/// The way to a card in this process.
pub fn line_to(card: &SharedCard) -> Box<dyn CardTransport> {
    let card = card.clone();
    let line = move |signal: Signal<'_>| match signal {
        Signal::Reset => {
            card.reset();
            Some(Vec::new())
        }
        Signal::Command(command) => Some(card.transmit(command)),
    };
    Box::new(InProcess::new("card in this process", line))
}

/// The driver of a card: PACE and secure messaging are real, wherever the card is.
pub fn open_card(card: Box<dyn CardTransport>, options: CardOptions) -> CardModule {
    CardModule::open(card, Pin::new(PIN), options).unwrap()
}

/// Both ends after a handshake attempt, with the first error of each.
pub struct Ends {
    pub client: ClientConnection,
    pub server: ServerConnection,
    pub client_error: Option<Error>,
    pub server_error: Option<Error>,
}

impl Ends {
    pub fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let name = ServerName::try_from("gateway.example").unwrap();
        let mut ends = Self {
            client: ClientConnection::new(client, name).unwrap(),
            server: ServerConnection::new(server).unwrap(),
            client_error: None,
            server_error: None,
        };
        ends.pump();
        ends
    }

    /// Carries records, alerts included, until both sides are silent.
    pub fn pump(&mut self) {
        while self.client.wants_write() || self.server.wants_write() {
            let mut wire = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut wire).unwrap();
            }
            let mut input = wire.as_slice();
            while !input.is_empty() && self.server_error.is_none() {
                self.server.read_tls(&mut input).unwrap();
                self.server_error = self.server.process_new_packets().err();
            }
            let mut wire = Vec::new();
            while self.server.wants_write() {
                self.server.write_tls(&mut wire).unwrap();
            }
            let mut input = wire.as_slice();
            while !input.is_empty() && self.client_error.is_none() {
                self.client.read_tls(&mut input).unwrap();
                self.client_error = self.client.process_new_packets().err();
            }
        }
    }

    pub fn assert_connected(&self) {
        assert_eq!((&self.client_error, &self.server_error), (&None, &None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }
}
