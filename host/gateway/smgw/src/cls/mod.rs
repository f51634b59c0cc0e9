// SPDX-License-Identifier: MIT OR Apache-2.0
//! The proxy for controllable local systems: SOCKSv5, TLS inside SOCKS-TLS frames, CONNECT by name
//! against the profiles of this CLS, then a relay to the EMT
//! (TR-03109-1 detail specifications §11; catalogue rows PRX-*).

mod io;
mod relay;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::net::TcpListener;
use tracing::{Instrument, info, info_span, warn};

use crate::config::Profile;
use crate::defects::Defects;
use crate::listener;
use crate::stop::Stopping;

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    /// TLS towards CLS.
    pub tls: Arc<ServerConfig>,
    /// Profiles with the TLS configuration towards each one's EMT.
    pub profiles: Vec<(Profile, Arc<ClientConfig>)>,
    /// Longest time from the first byte to the CONNECT request.
    pub handshake_timeout: Duration,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl Proxy {
    /// Serves `listener` until the gateway stops, then ends all channels.
    pub async fn run(self, listener: TcpListener, stopping: Stopping) {
        let proxy = Arc::new(self);
        let channels = AtomicU64::new(0);
        let serve = |connection, peer: SocketAddr| {
            let number = channels.fetch_add(1, Ordering::Relaxed);
            let span = info_span!("channel", number, cls = %peer);
            let proxy = proxy.clone();
            async move { report(session::serve(&proxy, connection).await) }.instrument(span)
        };
        listener::run("cls", listener, stopping, serve).await;
    }
}

fn report(outcome: Result<session::Served, session::Refused>) {
    match outcome {
        Ok(session::Served { to_emt, to_cls }) => info!(to_emt, to_cls, "channel ended"),
        Err(error) => warn!(%error, "channel refused or broken"),
    }
}
