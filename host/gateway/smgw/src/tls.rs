// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS of the gateway: configurations once at start, handshakes off the asynchronous threads.
//!
//! A handshake asks the security module to agree and sign, which blocks (a card takes hundreds of
//! milliseconds). Each handshake therefore runs on a thread of the blocking pool; bulk data does not
//! need the module and stays on the asynchronous threads.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hsm_api::SecurityModule;
use hsm_tls::{Identity, PinnedPeers, TlsConfigError, TlsProfile};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use smgw_units::DeviceId;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tracing::error;

use crate::defects::{Defect, Defects};
use crate::hello::Screened;
use crate::lmn::MeterTls;

/// What all TLS configurations of the gateway share.
#[derive(Clone, Debug)]
pub struct TlsFactory {
    /// The security module.
    pub module: Arc<dyn SecurityModule>,
    /// Key and certificate of the gateway.
    pub identity: Identity,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl TlsFactory {
    /// The HAN server: exactly these clients.
    ///
    /// # Errors
    /// When the module or rustls refuses.
    pub fn han(
        &self,
        clients: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<ServerConfig>, TlsConfigError> {
        let any = self.defects.has(Defect::AnyHanCertificate);
        self.server(TlsProfile::smgw_han_server(), clients, any)
    }

    /// The proxy server: exactly these CLS.
    ///
    /// # Errors
    /// When the module or rustls refuses.
    pub fn cls(
        &self,
        clients: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<ServerConfig>, TlsConfigError> {
        let any = self.defects.has(Defect::AnyClsCertificate);
        self.server(TlsProfile::smgw_cls_server(), clients, any)
    }

    /// The client towards one EMT.
    ///
    /// # Errors
    /// When the module or rustls refuses.
    pub fn emt(
        &self,
        server: CertificateDer<'static>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        let pinned = PinnedPeers::new([server]);
        hsm_tls::client_config(
            self.module.clone(),
            &TlsProfile::smgw_wan_client(),
            Some(self.identity.clone()),
            pinned,
        )
    }

    /// The client towards the administrator's time server.
    ///
    /// # Errors
    /// When the module or rustls refuses.
    pub fn time(
        &self,
        server: CertificateDer<'static>,
    ) -> Result<Arc<ClientConfig>, TlsConfigError> {
        self.emt(server)
    }

    /// The client towards a meter: with the gateway's key of that network, and exactly this meter.
    ///
    /// # Errors
    /// When the module or rustls refuses.
    pub fn meter(
        &self,
        own: Identity,
        id: DeviceId,
        meter: CertificateDer<'static>,
    ) -> Result<MeterTls, TlsConfigError> {
        let profile = TlsProfile::smgw_lmn_client();
        let pinned = PinnedPeers::new([meter]);
        let client = hsm_tls::client_config(self.module.clone(), &profile, Some(own), pinned)?;
        Ok(MeterTls::new(&client, profile, id)?)
    }

    /// A server for exactly these clients, or for any with the defects PRX-03 and CON-05; TLS-01 takes AES-128 away.
    fn server(
        &self,
        profile: TlsProfile,
        clients: Vec<CertificateDer<'static>>,
        any_client: bool,
    ) -> Result<Arc<ServerConfig>, TlsConfigError> {
        let profile = if self.defects.has(Defect::NoGcm128) {
            profile.only_aes256()
        } else {
            profile
        };
        let (module, identity) = (self.module.clone(), self.identity.clone());
        #[cfg(feature = "defects")]
        if any_client {
            return hsm_tls::server_config(module, &profile, identity, crate::defects::Anyone);
        }
        let _ = any_client;
        hsm_tls::server_config(module, &profile, identity, PinnedPeers::new(clients))
    }
}

/// A server's TLS session on `S`.
pub type Accepted<S> = server::TlsStream<Screened<S>>;

/// Takes a client's handshake, within `limit`.
///
/// # Errors
/// `TimedOut`, or what TLS or the connection said; a fatal alert has been sent where TLS asks for one.
pub async fn accept<S>(
    config: Arc<ServerConfig>,
    io: S,
    limit: Duration,
    defects: Defects,
) -> io::Result<Accepted<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let handshake = async move {
        let io = Screened::new(io, defects.has(Defect::SilentClose)).await?;
        match TlsAcceptor::from(config).accept(io).into_fallible().await {
            Ok(stream) => Ok(stream),
            Err((error, io)) => Err(with_alert(error, io).await),
        }
    };
    off_reactor(limit, handshake).await
}

/// Tells the client of a fault that is ours: rustls has an alert for every fault of the peer, but
/// none when a security module does not sign, agree or give randomness.
async fn with_alert<S: AsyncWrite + Unpin>(error: io::Error, mut io: S) -> io::Error {
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref());
    if let Some(rustls::Error::General(_) | rustls::Error::FailedToGetRandomBytes) = inside {
        error!(%error, "handshake refused, the security module failed");
        // The handshake has failed either way.
        let _ = io.write_all(&INTERNAL_ERROR).await;
        let _ = io.shutdown().await;
    }
    error
}

/// Shakes hands with a server, within `limit`.
///
/// # Errors
/// Like [`accept`].
pub async fn connect<S>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    io: S,
    limit: Duration,
) -> io::Result<client::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    off_reactor(limit, TlsConnector::from(config).connect(name, io)).await
}

async fn off_reactor<T, F>(limit: Duration, handshake: F) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let runtime = Handle::current();
    let work = move || runtime.block_on(async { tokio::time::timeout(limit, handshake).await });
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_elapsed)) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "handshake took too long",
        )),
        Err(join) => Err(io::Error::other(join)),
    }
}

/// A fatal alert in the clear, as the module's part of a TLS 1.2 handshake is.
const INTERNAL_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 80];

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use hsm_api::{Curve, KeyId, KeyUsage, Layer, ModuleError};
    use hsm_pki::{CertificateRequest, self_signed};
    use hsm_soft::SoftModule;
    use rustls::AlertDescription;
    use tokio::io::duplex;

    use super::*;

    /// Works until it is told not to.
    #[derive(Debug, Default)]
    struct Failing {
        soft: SoftModule,
        failed: AtomicBool,
    }

    impl Layer for Failing {
        fn below(&self) -> &dyn SecurityModule {
            &self.soft
        }

        fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
            if self.failed.load(Ordering::Relaxed) {
                return Err(ModuleError::transport("token removed"));
            }
            self.soft.sign_digest(key, digest)
        }
    }

    #[tokio::test]
    async fn a_module_that_fails_later_refuses_handshakes_with_an_alert() {
        let module = Arc::new(Failing::default());
        let identity = |name: &str| {
            let key = KeyId::from(name);
            module
                .soft
                .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
                .unwrap();
            let chain = vec![self_signed(&*module, &key, &CertificateRequest::new(name)).unwrap()];
            Identity { key, chain }
        };
        let (gateway, consumer) = (identity("gateway"), identity("consumer"));
        let leaf = |identity: &Identity| identity.chain[0].clone();
        let peer: Arc<dyn SecurityModule> = Arc::new(SoftModule::new());
        let profile = TlsProfile::han_client().only_tls12();
        let pinned = PinnedPeers::new([leaf(&gateway)]);
        let client = hsm_tls::client_config(peer, &profile, None, pinned).unwrap();
        let factory = TlsFactory {
            module: module.clone(),
            identity: gateway,
            defects: Defects::default(),
        };
        let server = factory.han(vec![leaf(&consumer)]).unwrap();

        module.failed.store(true, Ordering::Relaxed);
        let (near, far) = duplex(16_384);
        let limit = Duration::from_secs(10);
        let (accepted, connected) = tokio::join!(
            accept(server, near, limit, Defects::default()),
            connect(client, "smgw".try_into().unwrap(), far, limit),
        );
        assert!(accepted.unwrap_err().to_string().contains("token removed"));
        let error = connected.unwrap_err();
        let alert = error
            .get_ref()
            .and_then(|inside| inside.downcast_ref::<rustls::Error>());
        assert_eq!(
            alert,
            Some(&rustls::Error::AlertReceived(
                AlertDescription::InternalError
            ))
        );
    }
}
