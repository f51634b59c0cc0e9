// SPDX-License-Identifier: MIT OR Apache-2.0
//! The user's end of a link: a security module whose operations travel.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hsm_api::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    PublicKey, SecurityModule, SharedSecret,
};
use zeroize::Zeroizing;

use crate::channel::{Channel, LinkError};
use crate::message::{Answer, Asked, Listed, MOST_RANDOM, Request, from_bytes, to_bytes};
use crate::secret::Secret;
use crate::stream::Stream;

/// How long the user's end waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// For a connection and its handshake together.
    pub connect: Duration,
    /// For the answer to a request.
    pub request: Duration,
}

impl Default for Patience {
    /// 5 s to connect; a minute for an answer, since a card may search for a key that long.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(60),
        }
    }
}

/// A security module at the other end of a link.
pub struct LinkModule {
    dialler: Dialler,
    capabilities: Capabilities,
    slots: Vec<Arc<Slot>>,
    next: AtomicUsize,
}

type Dial = dyn Fn() -> io::Result<Box<dyn Stream>> + Send + Sync;

/// What makes connections.
#[derive(Clone)]
struct Dialler {
    dial: Arc<Dial>,
    secret: Secret,
    patience: Patience,
}

/// A place for one connection of the pool.
#[derive(Default)]
struct Slot {
    connection: Mutex<Option<Connection>>,
    /// Ephemeral keys that were dropped unused, by connection and number.
    dropped: Mutex<Vec<(usize, u32)>>,
    /// How many connections this slot has had; tells an ephemeral key whether its own still stands.
    had: AtomicUsize,
}

struct Connection {
    channel: Channel<Box<dyn Stream>>,
    number: usize,
}

impl LinkModule {
    /// Connects to where a module is served.
    ///
    /// # Errors
    /// [`hsm_api::Fault::Transport`], with [`hsm_api::Reason::Channel`] when the other end does not hold the secret.
    pub fn connect(
        address: SocketAddr,
        secret: Secret,
        patience: Patience,
    ) -> Result<Self, ModuleError> {
        let dial = move || {
            let stream = TcpStream::connect_timeout(&address, patience.connect)?;
            // Small messages, each waited for.
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        };
        Self::over(dial, secret, patience)
    }

    /// Takes the module at the other end of the streams that `dial` makes.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn over(
        dial: impl Fn() -> io::Result<Box<dyn Stream>> + Send + Sync + 'static,
        secret: Secret,
        patience: Patience,
    ) -> Result<Self, ModuleError> {
        let dialler = Dialler {
            dial: Arc::new(dial),
            secret,
            patience,
        };
        let first = Arc::<Slot>::default();
        let (answer, _) = first.ask(&dialler, &Request::Capabilities)?;
        let Answer::Capabilities {
            name,
            version,
            curves,
            keys_stay_inside,
            parallel,
            largest_object,
        } = answer
        else {
            return Err(unexpected(answer));
        };
        let parallel = usize::from(parallel).clamp(1, MOST_SLOTS);
        let mut slots = vec![first];
        slots.resize_with(parallel, Arc::default);
        Ok(Self {
            dialler,
            capabilities: Capabilities {
                name,
                version,
                curves: curves.into_iter().map(|curve| curve.0).collect(),
                keys_stay_inside,
                parallel,
                largest_object: largest_object.map(|largest| largest as usize),
            },
            slots,
            next: AtomicUsize::new(0),
        })
    }

    /// Asks on a connection that nobody uses, or waits for one.
    fn ask(&self, request: &Request) -> Result<(Answer, Arc<Slot>, usize), ModuleError> {
        let idle = self
            .slots
            .iter()
            .find(|slot| slot.connection.try_lock().is_ok());
        let next = || {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            self.slots.get(turn % self.slots.len())
        };
        let slot = idle
            .or_else(next)
            .ok_or_else(|| ModuleError::transport("the link has no connections"))?;
        let (answer, number) = slot.ask(&self.dialler, request)?;
        Ok((answer, Arc::clone(slot), number))
    }

    fn done(&self, request: &Request) -> Result<(), ModuleError> {
        match self.ask(request)?.0 {
            Answer::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn bytes(&self, request: &Request) -> Result<Zeroizing<Vec<u8>>, ModuleError> {
        match self.ask(request)?.0 {
            Answer::Bytes { bytes } => Ok(bytes.0),
            other => Err(unexpected(other)),
        }
    }

    fn key(&self, request: &Request) -> Result<PublicKey, ModuleError> {
        match self.ask(request)?.0 {
            Answer::Key { key } => Ok(key.into()),
            other => Err(unexpected(other)),
        }
    }
}

impl Slot {
    /// Asks on this slot's connection and tells which one that was. A connection that turns out to be broken is made
    /// anew once, where asking again does no harm.
    fn ask(&self, dialler: &Dialler, request: &Request) -> Result<(Answer, usize), ModuleError> {
        let mut held = lock(&self.connection);
        if held.is_some() {
            match self.ask_now(&mut held, dialler, request) {
                Err(error) if held.is_none() && request.may_be_repeated() && !error.timed_out() => {
                }
                other => return accept(other?),
            }
        }
        let number = self.had.fetch_add(1, Ordering::Relaxed);
        *held = Some(dialler.connect(number)?);
        accept(self.ask_now(&mut held, dialler, request)?)
    }

    /// Asks on the connection that is there; a broken one is given up.
    fn ask_now(
        &self,
        held: &mut Option<Connection>,
        dialler: &Dialler,
        request: &Request,
    ) -> Result<(Answer, usize), LinkError> {
        let Some(connection) = held else {
            return Err(LinkError::Stream(io::ErrorKind::NotConnected.into()));
        };
        let number = connection.number;
        let outcome = self.exchange(connection, dialler, request);
        // What is too long was never sent, and the connection is as good as before.
        if !matches!(outcome, Ok(_) | Err(LinkError::TooLong)) {
            *held = None;
        }
        Ok((outcome?, number))
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        dialler: &Dialler,
        request: &Request,
    ) -> Result<Answer, LinkError> {
        let dropped = std::mem::take(&mut *lock(&self.dropped));
        let asked = Asked {
            forgotten: dropped
                .into_iter()
                .filter(|(number, _)| *number == connection.number)
                .map(|(_, key)| key)
                .collect(),
            request: request.clone(),
        };
        let until = Some(Instant::now() + dialler.patience.request);
        connection.channel.send(&to_bytes(&asked)?, until)?;
        from_bytes(&connection.channel.receive(until)?)
    }

    /// Agrees with an ephemeral key of connection `number`.
    fn agree(
        &self,
        dialler: &Dialler,
        number: usize,
        request: &Request,
    ) -> Result<Answer, ModuleError> {
        let mut held = lock(&self.connection);
        if held.as_ref().is_none_or(|held| held.number != number) {
            let gone = io::Error::other("the ephemeral key ended with its connection");
            return Err(LinkError::Stream(gone).into());
        }
        accept(self.ask_now(&mut held, dialler, request)?).map(|(answer, _)| answer)
    }
}

impl Dialler {
    fn connect(&self, number: usize) -> Result<Connection, LinkError> {
        let until = Some(Instant::now() + self.patience.connect);
        let channel = Channel::open((self.dial)()?, &self.secret, until)?;
        Ok(Connection { channel, number })
    }
}

/// A failure of the module is a failure here.
fn accept((answer, number): (Answer, usize)) -> Result<(Answer, usize), ModuleError> {
    match answer {
        Answer::Failed {
            fault,
            reason,
            what,
        } => {
            let error = match fault.0 {
                hsm_api::Fault::Caller => ModuleError::caller(what),
                hsm_api::Fault::Transport => ModuleError::transport(what),
                _ => ModuleError::module(what),
            };
            Err(error.because(reason.0))
        }
        answer => Ok((answer, number)),
    }
}

/// The other end broke the table.
fn unexpected(_: Answer) -> ModuleError {
    LinkError::Message.into()
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that died in a request left a connection that the next request finds broken.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for LinkModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkModule")
            .field("name", &self.capabilities.name)
            .field("connections", &self.slots.len())
            .finish_non_exhaustive()
    }
}

impl SecurityModule for LinkModule {
    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), ModuleError> {
        for part in out.chunks_mut(MOST_RANDOM.into()) {
            let count = part.len() as u16;
            let random = self.bytes(&Request::Random { count })?;
            if random.len() != part.len() {
                return Err(LinkError::Message.into());
            }
            part.copy_from_slice(&random);
        }
        Ok(())
    }

    fn generate_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
    ) -> Result<PublicKey, ModuleError> {
        self.key(&Request::GenerateKey {
            key: key.0.clone(),
            curve: Listed(curve),
            usage: Listed(usage),
        })
    }

    fn remove_key(&self, key: &KeyId) -> Result<(), ModuleError> {
        let key = key.0.clone();
        self.done(&Request::RemoveKey { key })
    }

    fn keys(&self) -> Result<Vec<KeyInfo>, ModuleError> {
        match self.ask(&Request::Keys)?.0 {
            Answer::Keys { keys } => Ok(keys.into_iter().map(Into::into).collect()),
            other => Err(unexpected(other)),
        }
    }

    fn public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError> {
        let key = key.0.clone();
        self.key(&Request::PublicKey { key })
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        let signature = self.bytes(&Request::SignDigest {
            key: key.0.clone(),
            digest: digest.into(),
        })?;
        Ok(signature.to_vec())
    }

    fn verify_digest(
        &self,
        key: &PublicKey,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, ModuleError> {
        let request = Request::VerifyDigest {
            key: key.into(),
            digest: digest.into(),
            signature: signature.into(),
        };
        match self.ask(&request)?.0 {
            Answer::Verdict { right } => Ok(right),
            other => Err(unexpected(other)),
        }
    }

    fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
        let curve = Listed(curve);
        let (answer, slot, connection) = self.ask(&Request::EphemeralKey { curve })?;
        let Answer::Ephemeral { number, key } = answer else {
            return Err(unexpected(answer));
        };
        Ok(Box::new(LinkedKey {
            public: key.into(),
            dialler: self.dialler.clone(),
            slot,
            connection,
            number: Some(number),
        }))
    }

    fn agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let agreed = self.bytes(&Request::AgreeStatic {
            key: key.0.clone(),
            peer: peer_point.into(),
        })?;
        Ok(SharedSecret(agreed))
    }

    fn objects(&self) -> Result<Vec<ObjectId>, ModuleError> {
        match self.ask(&Request::Objects)?.0 {
            Answer::Objects { objects } => Ok(objects.into_iter().map(Into::into).collect()),
            other => Err(unexpected(other)),
        }
    }

    fn read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError> {
        let object = object.into();
        let content = self.bytes(&Request::ReadObject { object })?;
        Ok(content.to_vec())
    }

    fn write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError> {
        let largest = self.capabilities.largest_object;
        if largest.is_some_and(|largest| content.len() > largest) {
            return Err(LinkError::TooLong.into());
        }
        self.done(&Request::WriteObject {
            object: object.into(),
            content: content.into(),
        })
    }

    fn remove_object(&self, object: &ObjectId) -> Result<(), ModuleError> {
        let object = object.into();
        self.done(&Request::RemoveObject { object })
    }

    fn life_cycle(&self) -> Result<LifeCycle, ModuleError> {
        match self.ask(&Request::LifeCycle)?.0 {
            Answer::Phase { phase } => Ok(phase.0),
            other => Err(unexpected(other)),
        }
    }

    fn enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError> {
        let phase = Listed(phase);
        self.done(&Request::EnterPhase { phase })
    }
}

/// An ephemeral key at the other end of one connection.
struct LinkedKey {
    public: PublicKey,
    dialler: Dialler,
    slot: Arc<Slot>,
    connection: usize,
    /// `None` once it was used.
    number: Option<u32>,
}

impl EphemeralKey for LinkedKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn agree(mut self: Box<Self>, peer_point: &[u8]) -> Result<SharedSecret, ModuleError> {
        let number = self.number.take().unwrap_or_default();
        let peer = peer_point.into();
        let request = Request::Agree { number, peer };
        let answer = self.slot.agree(&self.dialler, self.connection, &request)?;
        match answer {
            Answer::Bytes { bytes } => Ok(SharedSecret(bytes.0)),
            other => Err(unexpected(other)),
        }
    }
}

impl Drop for LinkedKey {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock(&self.slot.dropped).push((self.connection, number));
        }
    }
}

/// Connections of one user at most.
const MOST_SLOTS: usize = 8;
