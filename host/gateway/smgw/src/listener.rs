// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes connections for an interface: a bounded number at a time, all of them ended when the gateway stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::error;

use crate::stop::Stopping;

/// Serves `listener` until the gateway stops. What is beyond [`MOST_CONNECTIONS`] waits in the
/// listener's queue.
pub async fn run<F>(
    interface: &'static str,
    listener: TcpListener,
    mut stopping: Stopping,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
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
