// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the TLS servers among the peers share: a listener, the thread that accepts, and an orderly end of both.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::event::PollFlags;

use super::deadline::Deadline;
use super::failure::Failure;
use super::wait::{Signal, Woken, wait};

/// What is done with accepted connections.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Names the accepting thread, and the server in its warnings.
    const NAME: &'static str;

    /// Takes a connection; whoever goes on with it is joined when the server ends.
    fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        client: SocketAddr,
    ) -> Result<JoinHandle<()>, Failure>;

    /// Lets those who still work on connections end soon.
    fn call_off(&self);
}

/// A listener whose connections go to a service. Dropping it ends connections and threads.
pub(crate) struct Acceptor<S> {
    addr: SocketAddr,
    service: Arc<S>,
    stop: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Serve> Acceptor<S> {
    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn start(addr: SocketAddr, service: S) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let service = Arc::new(service);
        let stop = Signal::new()?;
        let thread = std::thread::Builder::new().name(S::NAME.into()).spawn({
            let (service, stop) = (Arc::clone(&service), Arc::clone(&stop));
            move || accept(&listener, &service, &stop)
        })?;
        Ok(Self {
            addr,
            service,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who serves.
    pub(crate) fn service(&self) -> &S {
        &self.service
    }
}

impl<S> Drop for Acceptor<S> {
    fn drop(&mut self) {
        self.stop.raise(1);
        if let Some(thread) = self.thread.take() {
            // A panic in there was reported by the panic hook; dropping must not panic again.
            let _ = thread.join();
        }
    }
}

impl<S> fmt::Debug for Acceptor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

fn accept<S: Serve>(listener: &TcpListener, service: &Arc<S>, stop: &Signal) {
    let mut workers: Vec<JoinHandle<()>> = Vec::new();
    while let Ok(Woken::Ready) = wait(listener, PollFlags::IN, Deadline::NEVER, Some(stop)) {
        workers.retain(|worker| !worker.is_finished());
        match listener.accept() {
            Ok((stream, client)) => match service.serve(stream, client) {
                Ok(worker) => workers.push(worker),
                Err(failure) => {
                    tracing::warn!(server = S::NAME, %failure, "a connection was lost right after it was accepted");
                }
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::warn!(server = S::NAME, %error, "failed to accept"),
        }
    }
    service.call_off();
    for worker in workers {
        let _ = worker.join();
    }
}
