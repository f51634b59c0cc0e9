// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mutual TLS handshakes in memory, the gateway's end with a security module and its partner's in software.

use std::error::Error;
use std::sync::Arc;

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsProfile, client_config, server_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// A TLS version, by what narrows a profile to it.
pub type Version = fn(TlsProfile) -> TlsProfile;

pub const VERSIONS: [(&str, Version); 2] = [
    ("TLS 1.2", TlsProfile::only_tls12),
    ("TLS 1.3", TlsProfile::only_tls13),
];

/// Both ends, ready to shake hands again and again.
pub struct Ends {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Ends {
    /// A gateway with `module`, in which this makes a key, and a consumer in software.
    pub fn new(module: Arc<dyn SecurityModule>, version: Version) -> Result<Self, Box<dyn Error>> {
        let soft: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let gateway = identity(&*module, "bench-gateway")?;
        let consumer = identity(&*soft, "bench-consumer")?;
        let gateways = PinnedPeers::new(gateway.chain.clone());
        let consumers = PinnedPeers::new(consumer.chain.clone());
        let profile = version(TlsProfile::smgw_han_server());
        let server = server_config(module, &profile, gateway, consumers)?;
        let profile = version(TlsProfile::han_client());
        let client = client_config(soft, &profile, Some(consumer), gateways)?;
        Ok(Self { client, server })
    }

    /// One full handshake.
    pub fn shake_hands(&self) -> Result<(), Box<dyn Error>> {
        let name = ServerName::try_from("gateway.example")?;
        let mut client = ClientConnection::new(Arc::clone(&self.client), name)?;
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire)?;
            }
            let mut arriving = wire.as_slice();
            while !arriving.is_empty() {
                server.read_tls(&mut arriving)?;
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            let mut arriving = wire.as_slice();
            while !arriving.is_empty() {
                client.read_tls(&mut arriving)?;
                client.process_new_packets()?;
            }
        }
        if client.is_handshaking() || server.is_handshaking() {
            return Err("the handshake came to a standstill".into());
        }
        Ok(())
    }
}

/// A key of this name, made anew, and a certificate for it.
fn identity(module: &dyn SecurityModule, name: &str) -> Result<Identity, Box<dyn Error>> {
    let key = KeyId::from(name);
    // Left by the version before.
    let _ = module.remove_key(&key);
    module.generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)?;
    let request = CertificateRequest::new(name).with_dns_name("gateway.example");
    let chain = vec![self_signed(module, &key, &request)?];
    Ok(Identity { key, chain })
}
