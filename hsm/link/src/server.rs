// SPDX-License-Identifier: MIT OR Apache-2.0
//! The module's end of a link: takes connections, lets nobody in without the secret, and works on what is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hsm_api::SecurityModule;

use crate::channel::{Channel, LinkError};
use crate::desk::Desk;
use crate::secret::Secret;
use crate::stream::Stream;

/// A module that is being served; dropping it ends all connections and waits until nobody works on the module any more,
/// 5 s at most: a token's library that is still called while the process ends may bring it down.
pub struct Served {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the acceptor, the connections and [`Served`] have in common. The module is not part of it: who works on it lets
/// go of it before saying so.
struct Shared {
    secret: Secret,
    stopped: AtomicBool,
    open: Mutex<BTreeMap<u64, TcpStream>>,
    /// A connection ended.
    left: Condvar,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a module to whoever connects and holds the secret.
///
/// # Errors
/// The operating system's.
pub fn serve(
    listener: TcpListener,
    module: Arc<dyn SecurityModule>,
    secret: Secret,
) -> io::Result<Served> {
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared {
        secret,
        stopped: AtomicBool::new(false),
        open: Mutex::default(),
        left: Condvar::new(),
    });
    let acceptor = std::thread::Builder::new().name("hsm-link".into()).spawn({
        let shared = Arc::clone(&shared);
        move || accept(&listener, &module, &shared)
    })?;
    Ok(Served {
        address,
        shared,
        acceptor: Some(acceptor),
    })
}

fn accept(listener: &TcpListener, module: &Arc<dyn SecurityModule>, shared: &Arc<Shared>) {
    let numbered = (0..).zip(listener.incoming());
    for (number, stream) in numbered {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of file descriptors, most likely: others have to end first.
            std::thread::sleep(PAUSE);
            continue;
        };
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        {
            let mut open = shared.open();
            if open.len() == MOST_CONNECTIONS {
                continue;
            }
            open.insert(number, handle);
        }
        let worker = std::thread::Builder::new().name(format!("hsm-link-{number}"));
        let spawned = worker.spawn({
            let shared = Arc::clone(shared);
            let module = Arc::clone(module);
            move || {
                let _leaving = Leaving(&shared, number);
                let module = module;
                // Small messages, each waited for.
                let _ = stream.set_nodelay(true);
                let _ = serve_stream(stream, module.as_ref(), &shared.secret);
            }
        });
        if spawned.is_err() {
            shared.open().remove(&number);
        }
    }
}

/// Gives the place of a connection back, also when the module panics.
struct Leaving<'a>(&'a Shared, u64);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.open().remove(&self.1);
        self.0.left.notify_all();
    }
}

/// Serves a module on one stream until the other end hangs up.
///
/// # Errors
/// [`LinkError`]; a stream that ends between two messages is no error.
pub fn serve_stream(
    stream: impl Stream,
    module: &dyn SecurityModule,
    secret: &Secret,
) -> Result<(), LinkError> {
    let mut channel = Channel::accept(stream, secret, soon())?;
    let mut desk = Desk::new(module);
    loop {
        let request = match channel.receive(None) {
            Err(LinkError::Stream(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(());
            }
            other => other?,
        };
        let answer = desk.answer(&request)?;
        channel.send(&answer, soon())?;
    }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + PART_TIME)
}

impl Served {
    /// Where the module is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let woken = TcpStream::connect_timeout(&self.address, PART_TIME).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
        let open = self.shared.open();
        for stream in open.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let all_left = |open: &mut BTreeMap<_, _>| !open.is_empty();
        drop(
            self.shared
                .left
                .wait_timeout_while(open, PART_TIME, all_left),
        );
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Connections at a time, with and without the secret; more are closed at once.
const MOST_CONNECTIONS: usize = 32;
/// How long a handshake, or the other end's taking of an answer, may last.
const PART_TIME: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);
