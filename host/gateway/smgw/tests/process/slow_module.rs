// SPDX-License-Identifier: MIT OR Apache-2.0
//! A security module that hangs, or lies, costs new handshakes and nothing else. The gateway runs in this process, so
//! that its module can be stopped and let go on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use hsm_api::{KeyId, Layer, ModuleError, SecurityModule};
use hsm_pki::to_pem;
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsProfile};
use rustls::{AlertDescription, ClientConfig, ClientConnection, StreamOwned};
use smgw::config::Config;
use smgw::defects::Defects;
use smgw_socks::ReplyCode;

use crate::rig::{PATIENCE, Rig, SmlMeter, identity, until};
use crate::{connect, sml_meter};

/// What a signature is like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Signs {
    #[default]
    Well,
    /// Not until this changes.
    Never,
    /// With a bit flipped.
    Wrongly,
}

#[derive(Debug, Default)]
struct Moody {
    soft: SoftModule,
    mood: Mutex<Signs>,
    hanging: Mutex<usize>,
    changed: Condvar,
}

impl Moody {
    fn turn(&self, mood: Signs) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }
}

impl Layer for Moody {
    fn below(&self) -> &dyn SecurityModule {
        &self.soft
    }

    fn sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError> {
        *self.hanging.lock().unwrap() += 1;
        let mood = self.mood.lock().unwrap();
        let mood = self.changed.wait_while(mood, |mood| *mood == Signs::Never);
        let wrongly = *mood.unwrap() == Signs::Wrongly;
        *self.hanging.lock().unwrap() -= 1;
        let mut signature = self.soft.sign_digest(key, digest)?;
        signature[7] ^= u8::from(wrongly);
        Ok(signature)
    }
}

/// A gateway on a thread of this process, with meter and EMT beside it.
struct Scene {
    rig: Rig,
    module: Arc<Moody>,
    han: SocketAddr,
    cls: SocketAddr,
    user: Identity,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    gateway: Option<thread::JoinHandle<Result<(), smgw::Failure>>>,
    _meter: SmlMeter,
}

const METER: &str = "1smb0000000001";
/// What the module may take. Everything else in these tests may take [`PATIENCE`].
const LIMIT: Duration = Duration::from_secs(2);

impl Scene {
    fn start() -> Self {
        let module = Arc::new(Moody::default());
        let own = identity(&*module, "gw-tls");
        let rig = Rig::around(Path::new("/nowhere").into(), own.chain[0].clone());
        let user = identity(&*rig.soft, "in-process");
        std::fs::write(rig.folder.join("in-process.pem"), to_pem(&user.chain[0])).unwrap();
        let meter = SmlMeter::start(METER.parse().unwrap());
        let (emt, _served) = rig.echo_emt();
        let path = rig.configure(5, &sml_meter(METER, &meter.port), emt);
        let more =
            "[[han.user]]\nid = \"in-process\"\nrole = \"srv\"\ncertificate = \"in-process.pem\"\n";
        let text = std::fs::read_to_string(&path).unwrap() + more;
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();

        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (ready, addresses) = mpsc::channel();
        let below = module.clone();
        let gateway = thread::spawn(move || {
            let secure = smgw::module::secure(below, "moody", LIMIT, own)?;
            let told = move |listening: smgw::Listening| {
                let addresses = (listening.han, listening.cls);
                ready.send(addresses).map_err(std::io::Error::other)
            };
            let stop = || Ok(async { drop(stopped.await) });
            smgw::run_with(config, Some(secure), Defects::default(), told, stop)
        });
        let (han, cls) = addresses
            .recv_timeout(PATIENCE)
            .expect("the gateway starts");
        Self {
            rig,
            module,
            han,
            cls,
            user,
            stop: Some(stop),
            gateway: Some(gateway),
            _meter: meter,
        }
    }

    fn client(&self, profile: &TlsProfile) -> Arc<ClientConfig> {
        let gateway = PinnedPeers::new([self.rig.gateway.clone()]);
        let soft = self.rig.soft.clone();
        hsm_tls::client_config(soft, profile, Some(self.user.clone()), gateway).unwrap()
    }

    /// A handshake with the HAN, to its end.
    fn shake_hands(&self, config: Arc<ClientConfig>) -> std::io::Result<Session> {
        let socket = TcpStream::connect(self.han)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut socket = socket;
        let mut tls = ClientConnection::new(config, "smgw".try_into().unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Session(StreamOwned::new(tls, socket)))
    }

    fn han(&self) -> std::io::Result<Session> {
        self.shake_hands(self.client(&TlsProfile::han_client().only_tls12()))
    }

    /// The end of the gateway; the module must not be what it waits for.
    fn end(mut self) {
        drop(self.stop.take());
        let gateway = self.gateway.take().unwrap();
        until("the gateway ends", || gateway.is_finished().then_some(()));
        gateway.join().unwrap().unwrap();
        // Lets go of the call that may still hang.
        self.module.turn(Signs::Well);
    }
}

/// An open session with the HAN.
struct Session(StreamOwned<ClientConnection, TcpStream>);

impl Session {
    fn get(&mut self, path: &str) -> String {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: smgw\r\n\r\n").unwrap();
        self.0.flush().unwrap();
        let mut answer = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let len = self.0.read(&mut chunk).unwrap();
            answer.extend_from_slice(&chunk[..len]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.expect("a length") {
                return body.to_owned();
            }
        }
    }

    /// When the newest telegram of the meter came.
    fn newest_reception(&mut self) -> String {
        let path = format!("/smgw/srv/v1/exp/receptions/{METER}?q.count=1");
        let body: serde_json::Value = serde_json::from_str(&self.get(&path)).unwrap();
        body["receptions"][0]["receivedAt"].to_string()
    }
}

fn alert(error: &std::io::Error) -> Option<AlertDescription> {
    let inside = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match inside {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn openssl_is_missing() -> bool {
    let missing = Command::new("openssl").arg("version").output().is_err();
    if missing {
        println!("SKIPPED: openssl is not installed");
    }
    missing
}

#[test]
fn a_module_that_hangs_costs_new_handshakes_and_nothing_else() {
    if openssl_is_missing() {
        return;
    }
    let scene = Scene::start();
    let (code, mut channel) =
        connect(&scene.rig, scene.cls, &scene.rig.cls_a, b"emt.example").unwrap();
    assert_eq!(code, ReplyCode::Succeeded);
    let mut session = scene.han().unwrap();
    let mut goes_on = |what: &str| {
        let text = what.repeat(20_000);
        channel.write_all(text.as_bytes()).unwrap();
        let mut back = vec![0; text.len()];
        channel.read_exact(&mut back).unwrap();
        assert!(back == text.as_bytes(), "{what}: the channel's echo");
        let before = session.newest_reception();
        until("another telegram came", || {
            (session.newest_reception() != before).then_some(())
        });
    };
    goes_on("working");

    scene.module.turn(Signs::Never);
    thread::scope(|scope| {
        let refused = scope.spawn(|| scene.han().err().expect("no handshake without a module"));
        until("the module hangs", || {
            (*scene.module.hanging.lock().unwrap() > 0).then_some(())
        });
        goes_on("hanging");
        let error = refused.join().unwrap();
        assert_eq!(
            alert(&error),
            Some(AlertDescription::InternalError),
            "{error}"
        );
    });
    // By now workers are stuck; a flood of further handshakes is refused and the rest goes on all the same.
    for _ in 0..20 {
        let error = scene.han().err().expect("no handshake without a module");
        assert_eq!(
            alert(&error),
            Some(AlertDescription::InternalError),
            "{error}"
        );
    }
    let tls13 = scene.client(&TlsProfile::han_client());
    assert!(scene.shake_hands(tls13).is_err());
    assert!(connect(&scene.rig, scene.cls, &scene.rig.cls_a, b"emt.example").is_err());
    goes_on("still hanging");

    scene.module.turn(Signs::Well);
    until("the module answers again", || scene.han().ok());
    goes_on("recovered");
    let (code, _) = until("new channels open again", || {
        connect(&scene.rig, scene.cls, &scene.rig.cls_a, b"emt.example").ok()
    });
    assert_eq!(code, ReplyCode::Succeeded);
    scene.end();
}

#[test]
fn a_gateway_whose_module_hangs_still_ends() {
    if openssl_is_missing() {
        return;
    }
    let scene = Scene::start();
    scene.module.turn(Signs::Never);
    assert!(scene.han().is_err());
    scene.end();
}

#[test]
fn a_wrong_signature_is_caught_before_the_peer_sees_it() {
    if openssl_is_missing() {
        return;
    }
    let scene = Scene::start();
    scene.module.turn(Signs::Wrongly);
    let error = scene.han().err().expect("a wrong signature leaves");
    // The peer would say decrypt_error itself, had it seen the signature.
    assert_eq!(
        alert(&error),
        Some(AlertDescription::InternalError),
        "{error}"
    );
    scene.module.turn(Signs::Well);
    scene.han().unwrap();
    scene.end();
}
