// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes connections for an interface: a bounded number at a time, all of them ended when the gateway stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::error;

use crate::stop::Stopping;

/// Where connections come from.
pub trait Accept {
    /// A connection.
    type Connection;
    /// Who is at its other end.
    type Peer;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Connection, Self::Peer)>> + Send;
}

impl Accept for TcpListener {
    type Connection = TcpStream;
    type Peer = SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }
}

impl Accept for UnixListener {
    type Connection = UnixStream;
    type Peer = tokio::net::unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, Self::Peer)> {
        Self::accept(self).await
    }
}

/// Serves `listener` until the gateway stops. What is beyond [`MOST_CONNECTIONS`] waits in the
/// listener's queue.
pub async fn run<L, F>(
    interface: &'static str,
    listener: L,
    mut stopping: Stopping,
    serve: impl Fn(L::Connection, L::Peer) -> F,
) where
    L: Accept,
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, Accept::accept(&listener).await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = stopping.wait() => break,
        };
        // Forgets the ended ones.
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((connection, peer)) => {
                let served = serve(connection, peer);
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Err(error) => {
                error!(interface, %error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
}

/// Connections served at a time, per interface.
pub const MOST_CONNECTIONS: usize = 64;
/// Long enough for other connections to give back what the operating system ran out of.
const PAUSE: Duration = Duration::from_millis(50);
