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
use smgw_core::log::{Event, EventKind};
use tokio::net::TcpListener;
use tracing::{Instrument, info, info_span, warn};

use crate::active::Current;
use crate::config::Profile;
use crate::defects::Defects;
use crate::journal::Journal;
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
    /// Serves `listener` by these profiles alone until told to stop, then ends all channels. Takes nothing down.
    pub async fn run(self, listener: TcpListener, stopping: Stopping) {
        let proxy = Some(Arc::new(self));
        serve(|| proxy.clone(), |_, _| {}, listener, stopping).await;
    }
}

/// Serves `listener` until the gateway stops, then ends all channels. Each connection meets the profiles that count when
/// it comes; how it ended is taken down.
pub async fn run(current: Current, journal: Journal, listener: TcpListener, stopping: Stopping) {
    let profiles = || current.borrow().proxy.clone();
    let ended = move |outcome: &Outcome, peer| note(outcome, peer, &journal);
    serve(profiles, ended, listener, stopping).await;
}

type Outcome = Result<session::Served, session::Refused>;

async fn serve(
    profiles: impl Fn() -> Option<Arc<Proxy>>,
    ended: impl Fn(&Outcome, SocketAddr) + Clone + Send + 'static,
    listener: TcpListener,
    stopping: Stopping,
) {
    let channels = AtomicU64::new(0);
    let serve = |connection, peer: SocketAddr| {
        let number = channels.fetch_add(1, Ordering::Relaxed);
        let span = info_span!("channel", number, cls = %peer);
        let (proxy, ended) = (profiles(), ended.clone());
        let served = async move {
            let Some(proxy) = proxy else { return };
            let outcome = session::serve(&proxy, connection).await;
            match &outcome {
                Ok(session::Served { to_emt, to_cls }) => info!(to_emt, to_cls, "channel ended"),
                Err(error) => warn!(%error, "channel refused or broken"),
            }
            ended(&outcome, peer);
        };
        served.instrument(span)
    };
    listener::run("cls", listener, stopping, serve).await;
}

fn note(outcome: &Outcome, peer: SocketAddr, journal: &Journal) {
    // Without the port: it differs every time and says nothing.
    let event = |kind| Event::new(kind).subject(peer.ip());
    journal.note(match outcome {
        Ok(_) => event(EventKind::ClsEnded),
        Err(error) => event(EventKind::ClsRefused).with(error),
    });
}
