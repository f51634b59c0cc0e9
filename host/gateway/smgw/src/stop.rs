// SPDX-License-Identifier: MIT OR Apache-2.0
//! When the gateway stops: a signal, or the end of standard input under supervision.

use std::io::Read;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::info;

/// Tells everybody to stop.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

/// Hears of it.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

impl Stop {
    /// Nobody has been told yet.
    pub fn new() -> (Self, Stopping) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stopping(receiver))
    }

    /// Tells everybody.
    pub fn stop(&self) {
        let _ = self.0.send(true);
    }
}

impl Stopping {
    /// Returns when the gateway stops.
    pub async fn wait(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

/// What can end the gateway, listened for from the moment this exists.
#[derive(Debug)]
pub struct Reasons {
    terminate: Signal,
    interrupt: Signal,
    end_of_input: Option<oneshot::Receiver<()>>,
}

impl Reasons {
    /// Listens for SIGTERM and SIGINT and, when `supervised`, for the end of standard input.
    ///
    /// # Errors
    /// When the operating system refuses the signal handlers.
    pub fn listen(supervised: bool) -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            end_of_input: supervised.then(end_of_input),
        })
    }

    /// Waits for the first of them.
    pub async fn wait(mut self) {
        let end_of_input = async {
            match self.end_of_input {
                Some(end) => drop(end.await),
                None => std::future::pending().await,
            }
        };
        let reason = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            () = end_of_input => "standard input ended",
        };
        info!(reason, "stopping");
    }
}

fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    // A thread of its own: it may sit in `read` for ever and must not keep the runtime alive.
    std::thread::spawn(move || {
        let mut sink = [0; 256];
        let mut input = std::io::stdin().lock();
        while !matches!(input.read(&mut sink), Ok(0) | Err(_)) {}
        let _ = ended.send(());
    });
    end
}
