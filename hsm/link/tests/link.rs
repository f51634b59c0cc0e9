// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a link does when somebody attacks it, and when it breaks.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hsm_api::{
    Curve, Fault, KeyId, KeyUsage, Layer, ModuleError, ObjectId, PublicKey, Reason, SecurityModule,
};
use hsm_link::{LinkModule, Patience, Secret, Stream, serve, serve_stream};
use hsm_soft::SoftModule;

const CURVE: Curve = Curve::BrainpoolP256r1;

fn secret() -> Secret {
    Secret::new([5; 32])
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn another_secret_is_refused_and_told_so() {
    let served = serve(listener(), Arc::new(SoftModule::new()), secret()).unwrap();
    let other = Secret::new([6; 32]);
    let error = LinkModule::connect(served.address(), other, Patience::default()).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Channel),
        "{error}"
    );
    assert!(error.to_string().contains("secret"), "{error}");
    // The good case of the negative one.
    LinkModule::connect(served.address(), secret(), Patience::default()).unwrap();
}

#[test]
fn nobody_listening_is_told_as_gone() {
    let address = listener().local_addr().unwrap();
    let error = LinkModule::connect(address, secret(), Patience::default()).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Gone),
        "{error}"
    );
}

/// A link over pairs of sockets that tests cut; counts the connections.
struct Bench {
    module: Arc<dyn SecurityModule>,
    made: AtomicUsize,
    ends: Mutex<Vec<UnixStream>>,
    refusing: AtomicBool,
}

impl Bench {
    fn new(module: impl SecurityModule + 'static) -> Arc<Self> {
        Arc::new(Self {
            module: Arc::new(module),
            made: AtomicUsize::new(0),
            ends: Mutex::default(),
            refusing: AtomicBool::new(false),
        })
    }

    fn dial(&self) -> io::Result<Box<dyn Stream>> {
        if self.refusing.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = UnixStream::pair()?;
        self.made.fetch_add(1, Ordering::SeqCst);
        self.ends.lock().unwrap().push(far.try_clone()?);
        let module = Arc::clone(&self.module);
        std::thread::spawn(move || serve_stream(far, module.as_ref(), &secret()));
        Ok(Box::new(near))
    }

    fn connect(self: &Arc<Self>, patience: Patience) -> LinkModule {
        let bench = Arc::clone(self);
        LinkModule::over(move || bench.dial(), secret(), patience).unwrap()
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            end.shutdown(Shutdown::Both).unwrap();
        }
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

#[test]
fn a_broken_link_is_made_anew_once_where_repeating_does_no_harm() {
    let bench = Bench::new(SoftModule::new());
    let link = bench.connect(Patience::default());
    let key = "k".into();
    link.generate_key(&key, CURVE, KeyUsage::Sign).unwrap();
    assert_eq!(bench.made(), 1);
    bench.cut();
    link.sign_digest(&key, &[1; 32]).unwrap();
    assert_eq!(bench.made(), 2);
    bench.cut();
    // Whether the key was removed nobody can know, so it is not tried again.
    let error = link.remove_key(&key).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Gone),
        "{error}"
    );
    assert_eq!(bench.made(), 2);
    // The next one connects again.
    link.public_key(&key).unwrap();
    assert_eq!(bench.made(), 3);
    bench.cut();
    bench.refusing.store(true, Ordering::SeqCst);
    let error = link.public_key(&key).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Gone),
        "{error}"
    );
}

#[test]
fn an_ephemeral_key_ends_with_its_connection() {
    let bench = Bench::new(SoftModule::new());
    let link = bench.connect(Patience::default());
    let peer = SoftModule::new().ephemeral_key(CURVE).unwrap();
    let point = peer.public_key().point.clone();
    let lost = link.ephemeral_key(CURVE).unwrap();
    bench.cut();
    let error = lost.agree(&point).err().unwrap();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Gone),
        "{error}"
    );
    // One of a later connection is not taken for it.
    let lost = link.ephemeral_key(CURVE).unwrap();
    bench.cut();
    let fresh = link.ephemeral_key(CURVE).unwrap();
    assert!(lost.agree(&point).is_err());
    let public = fresh.public_key().point.clone();
    let agreed = fresh.agree(&point).unwrap();
    assert_eq!(*agreed.0, *peer.agree(&public).unwrap().0);
}

/// More keys than a connection may hold, all but a few forgotten: the module's side forgets them too.
#[test]
fn dropped_ephemeral_keys_are_forgotten_at_the_other_end() {
    let bench = Bench::new(SoftModule::new());
    let link = bench.connect(Patience::default());
    for _ in 0..600 {
        drop(link.ephemeral_key(Curve::NistP256).unwrap());
    }
    let mut held = Vec::new();
    let error = loop {
        match link.ephemeral_key(Curve::NistP256) {
            Ok(key) => held.push(key),
            Err(error) => break error,
        }
        assert!(held.len() < 10_000, "there is no limit");
    };
    assert_eq!(error.reason(), Reason::Memory, "{error}");
    assert!(held.len() >= 250, "{}", held.len());
    drop(held);
    link.ephemeral_key(Curve::NistP256).unwrap();
}

#[derive(Debug)]
struct Failing(SoftModule);

impl Layer for Failing {
    fn below(&self) -> &dyn SecurityModule {
        &self.0
    }

    fn public_key(&self, _: &KeyId) -> Result<PublicKey, ModuleError> {
        Err(ModuleError::module("memory failed").because(Reason::Memory))
    }
}

#[test]
fn what_the_module_says_arrives_as_it_was_said() {
    let link = Bench::new(Failing(SoftModule::new())).connect(Patience::default());
    let error = link.public_key(&"k".into()).unwrap_err();
    let said = (error.fault(), error.reason(), error.to_string());
    assert_eq!(
        said,
        (Fault::Module, Reason::Memory, "memory failed".to_owned())
    );
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout_and_not_asked_for_again() {
    // The other end never answers this one: nobody serves the stream any more.
    let silent = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&silent);
    let dead = LinkModule::over(
        move || {
            let (near, far) = UnixStream::pair()?;
            kept.lock().unwrap().push(far);
            Ok(Box::new(near) as Box<dyn Stream>)
        },
        secret(),
        Patience {
            connect: Duration::from_millis(200),
            request: Duration::from_millis(200),
        },
    );
    let error = dead.unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Transport, Reason::Timeout),
        "{error}"
    );
    assert_eq!(silent.lock().unwrap().len(), 1);
}

/// A stream of which one byte is changed on its way to the module.
struct Altered(UnixStream, usize);

impl Read for Altered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Altered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut altered = bytes.to_vec();
        if let Some(byte) = altered.get_mut(self.1) {
            *byte ^= 1;
            self.1 = usize::MAX;
        } else {
            self.1 = self.1.saturating_sub(bytes.len());
        }
        self.0.write_all(&altered)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Altered {
    fn set_patience(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.set_patience(limit)
    }
}

/// Every byte of the first part of the handshake and of the first request.
#[test]
fn no_altered_byte_gets_through() {
    const SENT: usize = 2 + 48 + 2 + 20;
    for at in 0..SENT {
        let bench = Bench::new(SoftModule::new());
        let dial = move || {
            let (near, far) = UnixStream::pair()?;
            let module = Arc::clone(&bench.module);
            std::thread::spawn(move || {
                // What it takes for longer, or for shorter, ends when the other side gives up.
                let _ = serve_stream(far, module.as_ref(), &secret());
            });
            Ok(Box::new(Altered(near, at)) as Box<dyn Stream>)
        };
        let patience = Patience {
            connect: Duration::from_millis(50),
            request: Duration::from_millis(50),
        };
        assert!(
            LinkModule::over(dial, secret(), patience).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn many_threads_share_a_link() {
    let served = serve(listener(), Arc::new(SoftModule::new()), secret()).unwrap();
    let link = LinkModule::connect(served.address(), secret(), Patience::default()).unwrap();
    let key = "k".into();
    let public = link.generate_key(&key, CURVE, KeyUsage::Sign).unwrap();
    std::thread::scope(|scope| {
        for number in 0..6u8 {
            let (link, key, public) = (&link, &key, &public);
            scope.spawn(move || {
                for round in 0..10 {
                    let digest = [number * 16 + round; 32];
                    let signature = link.sign_digest(key, &digest).unwrap();
                    assert!(hsm_soft::verify(public, &digest, &signature).unwrap());
                    let ours = link.ephemeral_key(CURVE).unwrap();
                    let theirs = SoftModule::new().ephemeral_key(CURVE).unwrap();
                    let (point, peer) = (
                        ours.public_key().point.clone(),
                        theirs.public_key().point.clone(),
                    );
                    assert_eq!(
                        *ours.agree(&peer).unwrap().0,
                        *theirs.agree(&point).unwrap().0
                    );
                }
            });
        }
    });
}

#[test]
fn the_end_of_serving_ends_connections() {
    let served = serve(listener(), Arc::new(SoftModule::new()), secret()).unwrap();
    let address = served.address();
    let link = LinkModule::connect(address, secret(), Patience::default()).unwrap();
    link.life_cycle().unwrap();
    drop(served);
    assert_eq!(link.life_cycle().unwrap_err().fault(), Fault::Transport);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn what_is_too_large_is_refused_before_it_is_sent() {
    let bench = Bench::new(SoftModule::new());
    let link = bench.connect(Patience::default());
    let object = ObjectId::data("large");
    let error = link.write_object(&object, &vec![0; 70_000]).unwrap_err();
    assert_eq!(
        (error.fault(), error.reason()),
        (Fault::Caller, Reason::Unsupported),
        "{error}"
    );
    let largest = link.capabilities().largest_object.unwrap();
    link.write_object(&object, &vec![1; largest]).unwrap();
    assert_eq!(link.read_object(&object).unwrap(), vec![1; largest]);
    let mut random = vec![0; 100_000];
    link.random(&mut random).unwrap();
    assert!(
        random
            .chunks(1_000)
            .all(|part| part.iter().any(|byte| *byte != 0))
    );
    assert_eq!(bench.made(), 1);
}
