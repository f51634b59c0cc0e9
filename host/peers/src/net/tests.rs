// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network peers against each other over loopback, through a stand-in for the gateway's proxy.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hsm_tls::TlsProfile;
use rustix::event::{PollFd, PollFlags, poll};
use rustls::ServerConnection;
use rustls::pki_types::ServerName;
use sha2::{Digest, Sha256};
use smgw_socks::stream::SocksTlsStream;
use smgw_socks::{Greeting, Method, MethodChoice, Reply, ReplyCode, Request};
use smgw_units::Nanos;

use super::link::{Pulled, TlsLink, Wire};
use super::*;

/// Long enough for a loaded machine; a test that needs it all has failed.
fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

/// Gateway, CLS and EMT, each with a key of its own.
struct Cast {
    gateway: Party,
    cls: Party,
    emt: Party,
}

impl Cast {
    fn new() -> Self {
        let party = |name| Party::new(name).expect("a software key");
        Self {
            gateway: party("gw.smgw"),
            cls: party("cls-a.cls"),
            emt: party("emt.example"),
        }
    }

    fn cls_side(&self) -> ClientTls {
        ClientTls::new(
            Some(&self.cls),
            &TlsProfile::cls_client().only_tls12(),
            self.gateway.certificate(),
        )
        .expect("client rules")
    }

    fn proxy_inner_side(&self) -> ServerTls {
        ServerTls::new(
            &self.gateway,
            &TlsProfile::smgw_cls_server(),
            &[self.cls.certificate().clone()],
        )
        .expect("server rules")
    }

    fn proxy_outer_side(&self) -> ClientTls {
        ClientTls::new(
            Some(&self.gateway),
            &TlsProfile::smgw_wan_client(),
            self.emt.certificate(),
        )
        .expect("client rules")
    }

    fn emt_side(&self) -> ServerTls {
        ServerTls::new(
            &self.emt,
            &TlsProfile::emt_server(),
            &[self.gateway.certificate().clone()],
        )
        .expect("server rules")
    }

    fn start_emt(&self) -> Emt {
        Emt::start(self.emt_side(), Arc::new(NoTap)).expect("a loopback port")
    }

    fn start_proxy(&self, emt: SocketAddr) -> Proxy {
        Proxy::start(self.proxy_inner_side(), self.proxy_outer_side(), emt)
    }

    fn open_channel(&self, proxy: &Proxy) -> ClsChannel {
        let mut client = ClsClient::open(proxy.addr, Arc::new(NoTap), soon()).expect("TCP");
        assert_eq!(client.greet(&[6], soon()), Ok(GreetingOutcome::Method(6)));
        let mut tls = client.tls(&self.cls_side(), soon()).expect("TLS");
        let reply = tls
            .connect_name(b"emt.example", 443, soon())
            .expect("a reply");
        assert_eq!(
            (reply.code, reply.raw),
            (0, vec![5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        );
        tls.into_channel()
    }
}

/// The least that behaves like the gateway's proxy; one connection at a time.
struct Proxy {
    addr: SocketAddr,
    worker: Option<JoinHandle<()>>,
}

impl Proxy {
    fn start(inner: ServerTls, outer: ClientTls, emt: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let addr = listener.local_addr().expect("bound");
        let worker = std::thread::spawn(move || {
            // Ends with the connection that says nothing at all.
            while let Ok((mut stream, client)) = listener.accept() {
                stream
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .expect("an option");
                let mut greeting = [0; 64];
                let greeting = match stream.read(&mut greeting) {
                    Ok(len) if len > 0 => &greeting[..len],
                    _ => return,
                };
                let Ok(Some((greeting, _))) = Greeting::parse(greeting) else {
                    continue;
                };
                let choice = if greeting.offers(Method::TLS) {
                    Method::TLS
                } else {
                    Method::NONE
                };
                stream
                    .write_all(&MethodChoice(choice).encode())
                    .expect("an answer");
                if choice == Method::NONE {
                    continue;
                }
                let stream =
                    TappedStream::accepted(stream, client, Arc::new(NoTap)).expect("a socket");
                let _ = serve_proxy(stream, &inner, &outer, emt);
            }
        });
        Self {
            addr,
            worker: Some(worker),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(std::net::TcpStream::connect(self.addr));
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

fn serve_proxy(
    stream: TappedStream,
    inner: &ServerTls,
    outer: &ClientTls,
    emt: SocketAddr,
) -> Result<(), Failure> {
    let tls = ServerConnection::new(Arc::clone(&inner.0))?;
    let mut cls = TlsLink::new(Wire::Framed(SocksTlsStream::new(stream)), tls, None);
    cls.handshake(soon())?;
    let mut received = Vec::new();
    let request = loop {
        if let Ok(Some((request, _))) = Request::parse(&received) {
            break request;
        }
        let mut octet = [0];
        assert_eq!(cls.read(&mut octet, soon())?, 1);
        received.extend(octet);
    };
    if request != Request::connect(b"emt.example", 443).expect("short") {
        cls.write(&Reply::new(ReplyCode::NoSuchProfile).encode(), soon())?;
        return cls.close_write(soon());
    }
    let mut wan = connect_tls(emt, outer)?;
    cls.write(&Reply::new(ReplyCode::Succeeded).encode(), soon())?;
    let (mut out_open, mut back_open) = (true, true);
    while out_open || back_open {
        let progress =
            relay(&mut cls, &mut wan, &mut out_open)? | relay(&mut wan, &mut cls, &mut back_open)?;
        if !progress {
            let events = |link: &TlsLink| {
                if link.has_unsent() {
                    PollFlags::IN | PollFlags::OUT
                } else {
                    PollFlags::IN
                }
            };
            let mut fds = [
                PollFd::new(cls.wire.tcp(), events(&cls)),
                PollFd::new(wan.wire.tcp(), events(&wan)),
            ];
            let limit = rustix::event::Timespec {
                tv_sec: 20,
                tv_nsec: 0,
            };
            assert_ne!(
                poll(&mut fds, Some(&limit)).expect("poll"),
                0,
                "the relay stalls"
            );
        }
    }
    Ok(())
}

fn relay(from: &mut TlsLink, to: &mut TlsLink, open: &mut bool) -> Result<bool, Failure> {
    let mut progress = false;
    let mut buffer = [0; 16 * 1024];
    while *open && to.push()? {
        match from.take(&mut buffer)? {
            Some(0) => {
                *open = false;
                progress = true;
                to.wire.set_state(smgw_socks::FrameState::Closing);
                to.tls.send_close_notify();
                to.push()?;
            }
            Some(len) => {
                progress = true;
                to.tls.writer().write_all(&buffer[..len])?;
            }
            None if from.pull()? == Pulled::Nothing => break,
            None => progress = true,
        }
    }
    Ok(progress)
}

fn connect_tls(server: SocketAddr, side: &ClientTls) -> Result<TlsLink, Failure> {
    let stream = TappedStream::connect(server, Arc::new(NoTap), soon())?;
    let name = ServerName::try_from("emt.example").expect("a name");
    let tls = rustls::ClientConnection::new(Arc::clone(&side.0), name)?;
    let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
    link.handshake(soon())?;
    Ok(link)
}

fn ended(connections: &[EmtConnection]) -> bool {
    connections
        .iter()
        .all(|connection| matches!(connection.phase, EmtPhase::Ended(_)))
}

#[test]
fn eight_mebibytes_through_proxy_and_echo_come_back_unchanged() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let mut channel = cast.open_channel(&proxy);
    let plan = TransferPlan {
        seed: 7,
        len: 8 << 20,
        write_len: 16 * 1024,
        half_close: true,
    };
    let report = channel.transfer(&plan, Deadline::within(Duration::from_secs(60)));
    assert!(report.is_transparent() && report.peer_closed, "{report:?}");
    assert_eq!((report.sent, report.received), (8 << 20, 8 << 20));
    let connections = emt.wait_until(ended, soon()).expect("the EMT sees the end");
    let [connection] = connections.as_slice() else {
        panic!("one connection, not {}", connections.len())
    };
    assert_eq!(connection.received_sha256, report.sha256_sent);
    assert_eq!((connection.received, connection.sent), (8 << 20, 8 << 20));
    assert_eq!(connection.phase, EmtPhase::Ended(EmtEnd::PeerClosed));
    let tls = connection.tls.as_ref().expect("a handshake");
    assert_eq!(tls.sni.as_deref(), Some("emt.example"));
    assert_eq!(
        tls.peer_certificate.as_deref(),
        Some(cast.gateway.certificate().as_ref())
    );
    let mut first = [0; 4096];
    Pattern::new(7).fill(&mut first);
    assert_eq!(connection.received_head, first);
}

#[test]
fn single_octet_writes_and_pings_on_one_channel() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let mut channel = cast.open_channel(&proxy);
    let plan = TransferPlan {
        seed: 1,
        len: 3000,
        write_len: 1,
        half_close: false,
    };
    let report = channel.transfer(&plan, soon());
    assert!(report.is_transparent() && !report.peer_closed, "{report:?}");
    for len in [1, 16, 1400] {
        assert!(channel.ping(&vec![0x55; len], soon()).expect("an echo") > Duration::ZERO);
    }
    assert_eq!(channel.write(b"x").expect("a write"), 1);
    channel.shutdown_write(soon()).expect("a closing frame");
    let end = channel.wait_closed(soon()).expect("the proxy ends");
    assert!(end.close_notify && end.discarded == 1, "{end:?}");
}

#[test]
fn a_changed_octet_is_found() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let mut expected = vec![0; 1000];
    Pattern::new(3).fill(&mut expected);
    expected[700] ^= 1;
    emt.set_mode(EmtMode::Script(expected.into()));
    let mut link = connect_tls(emt.addr(), &cast.proxy_outer_side()).expect("TLS");
    let plan = TransferPlan {
        seed: 3,
        len: 1000,
        write_len: 100,
        half_close: false,
    };
    let report = transfer::transfer(&mut link, &plan, soon());
    assert_eq!(report.first_mismatch, Some(700));
    assert!(!report.is_transparent());
    // One octet too many is a mismatch too, and one too few is no success.
    for (len, mismatch, failure) in [
        (999, Some(999), None),
        (1001, Some(700), Some(Failure::Closed)),
    ] {
        let mut link = connect_tls(emt.addr(), &cast.proxy_outer_side()).expect("TLS");
        let report = transfer::transfer(&mut link, &TransferPlan { len, ..plan }, soon());
        assert_eq!(
            (
                report
                    .first_mismatch
                    .map(|at| at.max(mismatch.unwrap_or(0))),
                report.failure
            ),
            (mismatch, failure)
        );
        assert_eq!(report.received, 1000);
    }
}

#[test]
fn refusals_of_the_proxy_are_told_apart() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let open = || ClsClient::open(proxy.addr, Arc::new(NoTap), soon()).expect("TCP");

    let mut plain = open();
    assert_eq!(plain.greet(&[0], soon()), Ok(GreetingOutcome::Method(0xff)));
    assert_eq!(
        plain.read_raw(soon()),
        Ok(RawAnswer {
            octets: vec![],
            closed: true
        })
    );
    assert_eq!(
        open().greet_raw(&[4, 1, 0, 80, 127, 0, 0, 1, 0], soon()),
        Ok(GreetingOutcome::Closed)
    );

    let stranger = Party::new("cls-b.cls").expect("a software key");
    let sides = [
        ClientTls::new(
            Some(&stranger),
            &TlsProfile::cls_client().only_tls12(),
            cast.gateway.certificate(),
        ),
        ClientTls::new(
            None,
            &TlsProfile::cls_client().only_tls12(),
            cast.gateway.certificate(),
        ),
    ];
    for side in sides {
        let mut client = open();
        client.greet(&[0, 6], soon()).expect("an answer");
        let failure = client
            .tls(&side.expect("client rules"), soon())
            .expect_err("not the pinned CLS");
        assert!(failure.alert().is_some(), "{failure}");
    }
    // TLS 1.3 tells the refusal only after the client's handshake is complete.
    let side = ClientTls::new(
        Some(&stranger),
        &TlsProfile::cls_client().only_tls13(),
        cast.gateway.certificate(),
    );
    let mut client = open();
    client.greet(&[6], soon()).expect("an answer");
    let mut tls = client
        .tls(&side.expect("client rules"), soon())
        .expect("our half of the handshake");
    let failure = tls
        .connect_name(b"emt.example", 443, soon())
        .expect_err("not the pinned CLS");
    assert!(failure.alert().is_some(), "{failure}");
    let impostor = ClientTls::new(
        Some(&cast.cls),
        &TlsProfile::cls_client().only_tls12(),
        stranger.certificate(),
    )
    .expect("client rules");
    let mut client = open();
    client.greet(&[6], soon()).expect("an answer");
    assert!(matches!(
        client.tls(&impostor, soon()),
        Err(Failure::Tls(_))
    ));

    let mut client = open();
    client.greet(&[6], soon()).expect("an answer");
    let mut tls = client.tls(&cast.cls_side(), soon()).expect("TLS");
    assert_eq!(
        tls.connect_name(b"other.example", 443, soon())
            .expect("a reply")
            .code,
        2
    );
    let end = tls.wait_closed(soon()).expect("the proxy ends");
    assert!(end.close_notify, "{end:?}");
    assert_eq!(emt.connections().len(), 0);
}

#[test]
fn emt_modes() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let side = cast.proxy_outer_side();
    let mut buffer = [0; 64];

    emt.set_mode(EmtMode::Script(b"good day"[..].into()));
    let mut link = connect_tls(emt.addr(), &side).expect("TLS");
    assert_eq!(link.read(&mut buffer, soon()), Ok(8));
    assert_eq!(link.read(&mut buffer, soon()), Ok(0));

    emt.set_mode(EmtMode::Sink);
    let mut link = connect_tls(emt.addr(), &side).expect("TLS");
    link.write(b"swallowed", soon()).expect("sent");
    let connections = emt
        .wait_until(|all| all.len() == 2 && all[1].received == 9, soon())
        .expect("received");
    assert_eq!(
        connections[1].received_sha256,
        <[u8; 32]>::from(Sha256::digest(b"swallowed"))
    );
    assert_eq!(connections[1].sent, 0);

    emt.set_mode(EmtMode::RefuseTls);
    assert!(matches!(
        connect_tls(emt.addr(), &side),
        Err(Failure::Closed | Failure::Reset)
    ));

    emt.set_mode(EmtMode::Silent);
    let stream = TappedStream::connect(emt.addr(), Arc::new(NoTap), soon()).expect("TCP");
    let name = ServerName::try_from("emt.example").expect("a name");
    let tls = rustls::ClientConnection::new(Arc::clone(&side.0), name).expect("a connection");
    let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
    assert_eq!(
        link.handshake(Deadline::within(Duration::from_millis(100))),
        Err(Failure::Timeout)
    );

    let other = Party::new("emt.example").expect("a software key");
    emt.set_mode(EmtMode::Echo);
    emt.set_tls(
        ServerTls::new(
            &other,
            &TlsProfile::emt_server(),
            &[cast.gateway.certificate().clone()],
        )
        .expect("server rules"),
    );
    assert!(matches!(
        connect_tls(emt.addr(), &side),
        Err(Failure::Tls(_))
    ));
    let connections = emt.wait_for(5, soon()).expect("five connections");
    assert!(connections[4].tls.is_none());
}

#[test]
fn emt_stalls_until_the_sender_blocks() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    emt.set_mode(EmtMode::Stall);
    let mut link = connect_tls(emt.addr(), &cast.proxy_outer_side()).expect("TLS");
    let blocked = link.write(&vec![0; 64 << 20], Deadline::within(Duration::from_secs(2)));
    assert_eq!(blocked, Err(Failure::Timeout));
    assert_eq!(emt.connections()[0].received, 0);
}

#[test]
fn emt_ends_connections_in_order_or_not_and_within_a_second_when_dropped() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let side = cast.proxy_outer_side();

    let mut link = connect_tls(emt.addr(), &side).expect("TLS");
    emt.wait_until(|all| all[0].tls.is_some(), soon())
        .expect("a handshake");
    emt.close_connections();
    let end = link.wait_transport_end(soon()).expect("an end");
    assert!(end.close_notify && end.how == CloseKind::Peer, "{end:?}");
    drop(link);
    let connections = emt.wait_until(ended, soon()).expect("an end");
    assert_eq!(connections[0].phase, EmtPhase::Ended(EmtEnd::WeClosed));

    let mut link = connect_tls(emt.addr(), &side).expect("TLS");
    emt.wait_until(|all| all.len() == 2 && all[1].tls.is_some(), soon())
        .expect("a handshake");
    emt.abort_connections();
    let end = link.wait_transport_end(soon()).expect("an end");
    assert!(!end.close_notify && end.how == CloseKind::Reset, "{end:?}");

    let _held = connect_tls(emt.addr(), &side).expect("TLS");
    emt.set_mode(EmtMode::Silent);
    let _silent = TappedStream::connect(emt.addr(), Arc::new(NoTap), soon()).expect("TCP");
    emt.wait_for(4, soon()).expect("accepted");
    let start = now();
    drop(emt);
    assert!(now().saturating_since(start) < Duration::from_secs(1));
}

#[derive(Default)]
struct Recorder(Mutex<Vec<(Nanos, Seen)>>);

#[derive(Debug, Eq, PartialEq)]
enum Seen {
    Opened,
    Octets(Direction, Vec<u8>),
    Closed(CloseKind),
}

impl Tap for Recorder {
    fn opened(&self, _: ConnId, at: Nanos) {
        self.0.lock().expect("no panic").push((at, Seen::Opened));
    }

    fn bytes(&self, _: ConnId, direction: Direction, at: Nanos, octets: &[u8]) {
        self.0
            .lock()
            .expect("no panic")
            .push((at, Seen::Octets(direction, octets.to_vec())));
    }

    fn closed(&self, _: ConnId, at: Nanos, how: CloseKind) {
        self.0
            .lock()
            .expect("no panic")
            .push((at, Seen::Closed(how)));
    }
}

#[test]
fn a_tap_sees_the_wire_below_frames_and_tls() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let tap = Arc::new(Recorder::default());
    let mut client = ClsClient::open(proxy.addr, tap.clone(), soon()).expect("TCP");
    client.greet(&[6], soon()).expect("an answer");
    drop(client.tls(&cast.cls_side(), soon()).expect("TLS"));
    let seen = tap.0.lock().expect("no panic");
    assert!(
        seen.windows(2).all(|pair| pair[0].0 <= pair[1].0),
        "stamps never run backwards"
    );
    let seen: Vec<_> = seen.iter().map(|(_, seen)| seen).collect();
    assert_eq!(seen[0], &Seen::Opened);
    assert_eq!(
        seen[1],
        &Seen::Octets(Direction::ClientToServer, vec![5, 1, 6])
    );
    assert_eq!(
        seen[2],
        &Seen::Octets(Direction::ServerToClient, vec![5, 6])
    );
    // A frame of state 01 with a handshake record.
    assert!(
        matches!(seen[3], Seen::Octets(Direction::ClientToServer, octets) if octets[..2] == [1, 1] && octets[4] == 22)
    );
    assert_eq!(seen.last(), Some(&&Seen::Closed(CloseKind::Local)));
}

/// Serves one connection per answer: reads to the end of a head, then sends the answer.
fn https_server(
    side: ServerTls,
    answers: Vec<&'static str>,
) -> (SocketAddr, JoinHandle<Vec<Result<String, Failure>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let addr = listener.local_addr().expect("bound");
    let worker = std::thread::spawn(move || {
        let serve = |answer: &str| {
            let (stream, client) = listener.accept()?;
            let stream = TappedStream::accepted(stream, client, Arc::new(NoTap))?;
            let mut link = TlsLink::new(
                Wire::Bare(stream),
                ServerConnection::new(Arc::clone(&side.0))?,
                None,
            );
            link.handshake(soon())?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut octet = [0];
                link.read(&mut octet, soon())?;
                head.extend(octet);
            }
            // In two writes, so that the client sees an incomplete response first.
            let (first, second) = answer.split_at(answer.len() / 2);
            link.write(first.as_bytes(), soon())?;
            link.write(second.as_bytes(), soon())?;
            link.close_write(soon())?;
            Ok(String::from_utf8_lossy(&head).into_owned())
        };
        answers.into_iter().map(serve).collect()
    });
    (addr, worker)
}

#[test]
fn han_client_reads_every_kind_of_body_and_tells_alerts() {
    let cast = Cast::new();
    let (addr, worker) = https_server(
        cast.proxy_inner_side(),
        vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.0 404 Not Found\r\n\r\nuntil the end",
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut",
            "",
        ],
    );
    let client = HanClient::new(addr, cast.cls_side(), Arc::new(NoTap));
    let get = |path| client.request("GET", path, &[("Accept", "application/json")], b"", soon());
    assert_eq!(get("/smgw/").expect("a response").body, b"{}");
    assert_eq!(get("/smgw/con/v1/").expect("a response").body, b"abc");
    let response = get("/nowhere").expect("a response");
    assert_eq!(
        (response.status, response.body.as_slice()),
        (404, &b"until the end"[..])
    );
    assert_eq!(get("/cut"), Err(Failure::Closed));
    let stranger = ClientTls::new(
        None,
        &TlsProfile::cls_client().only_tls12(),
        cast.gateway.certificate(),
    )
    .expect("client rules");
    let refused =
        HanClient::new(addr, stranger, Arc::new(NoTap)).request("GET", "/", &[], b"", soon());
    assert!(
        refused
            .as_ref()
            .is_err_and(|failure| failure.alert().is_some()),
        "{refused:?}"
    );
    let heads = worker.join().expect("no panic");
    assert_eq!(
        heads[0],
        Ok(format!(
            "GET /smgw/ HTTP/1.1\r\nHost: {addr}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
        ))
    );
    assert!(heads[4].is_err());
}

#[test]
fn refusing_port_refuses_and_blackhole_swallows() {
    let refusing = RefusingPort::new().expect("a port");
    let tap = || Arc::new(NoTap);
    assert_eq!(
        TappedStream::connect(refusing.addr(), tap(), soon()).expect_err("RST"),
        Failure::Refused
    );
    let hole = BlackholePort::new().expect("a port");
    for _ in 0..2 {
        let start = now();
        let limit = Duration::from_millis(300);
        let failure = TappedStream::connect(hole.addr(), tap(), Deadline::within(limit))
            .expect_err("no answer");
        assert_eq!(failure, Failure::Timeout);
        assert!(now().saturating_since(start) >= limit);
    }
}

#[test]
fn probes_at_a_rustls_server() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let ask = |hello: &HelloSpec| {
        probe(
            emt.addr(),
            ProbeTransport::Tcp,
            hello,
            Arc::new(NoTap),
            soon(),
        )
    };
    for version in [0x0301, 0x0302] {
        assert_eq!(
            ask(&HelloSpec::old_version(version)),
            Ok(ProbeOutcome::Alert {
                level: 2,
                description: Alert(70)
            }),
            "{version:04x}"
        );
    }
    assert!(matches!(
        ask(&HelloSpec::tls12(&[0xc02b], &[26])),
        Ok(ProbeOutcome::ServerHello {
            version: 0x0303,
            suite: 0xc02b,
            compression: 0
        })
    ));
    assert_eq!(
        ask(&HelloSpec::tls12(&[0x002f], &[23])),
        Ok(ProbeOutcome::Alert {
            level: 2,
            description: Alert(40)
        })
    );
    let plain = plain_http(emt.addr(), Arc::new(NoTap), soon());
    assert!(
        matches!(plain, Ok(PlainOutcome::Alert { .. } | PlainOutcome::Closed)),
        "{plain:?}"
    );
    emt.set_mode(EmtMode::Silent);
    let short = Deadline::within(Duration::from_millis(100));
    assert_eq!(
        plain_http(emt.addr(), Arc::new(NoTap), short),
        Ok(PlainOutcome::Silence)
    );
    emt.set_mode(EmtMode::RefuseTls);
    assert_eq!(
        ask(&HelloSpec::old_version(0x0301)),
        Ok(ProbeOutcome::Closed)
    );
}

#[test]
fn probes_through_the_proxy() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let ask = |hello: &HelloSpec| {
        probe(
            proxy.addr,
            ProbeTransport::SocksTls,
            hello,
            Arc::new(NoTap),
            soon(),
        )
    };
    assert_eq!(
        ask(&HelloSpec::old_version(0x0302)),
        Ok(ProbeOutcome::Alert {
            level: 2,
            description: Alert(70)
        })
    );
    assert!(matches!(
        ask(&HelloSpec::tls12(&[0xc02b], &[26])),
        Ok(ProbeOutcome::ServerHello {
            version: 0x0303,
            suite: 0xc02b,
            ..
        })
    ));
}

#[test]
fn a_han_session_carries_several_requests() {
    let cast = Cast::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    let addr = listener.local_addr().expect("bound");
    let side = cast.proxy_inner_side();
    let worker = std::thread::spawn(move || -> Result<(), Failure> {
        let (stream, client) = listener.accept()?;
        let stream = TappedStream::accepted(stream, client, Arc::new(NoTap))?;
        let tls = ServerConnection::new(Arc::clone(&side.0))?;
        let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
        link.handshake(soon())?;
        let mut head = [0; 4096];
        link.read(&mut head, soon())?;
        link.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", soon())?;
        link.read(&mut head, soon())?;
        // Answered before the request is whole.
        link.write(
            b"HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n",
            soon(),
        )?;
        link.close_write(soon())
    });
    let mut session = HanClient::new(addr, cast.cls_side(), Arc::new(NoTap))
        .open(soon())
        .expect("TLS");
    assert_eq!(
        session.facts().peer_certificate.as_deref(),
        Some(cast.gateway.certificate().as_ref())
    );
    let first = session
        .request("PUT", "/smgw/", &[], b"{}", soon())
        .expect("a response");
    assert_eq!((first.status, first.body), (200, b"1".to_vec()));
    assert_eq!(
        session
            .request_raw(b"GET / HTTP/1.1\r\nX: ", soon())
            .expect("a response")
            .status,
        431
    );
    assert!(session.wait_closed(soon()).expect("an end").close_notify);
    assert_eq!(worker.join().expect("no panic"), Ok(()));
}

#[test]
fn a_cls_can_break_the_framing_and_the_connection() {
    let cast = Cast::new();
    let emt = cast.start_emt();
    let proxy = cast.start_proxy(emt.addr());
    let wrongs: [fn(&mut ClsChannel); 3] = [
        |channel| channel.inject(&[2, 3, 0, 1, 0], soon()).expect("sent"),
        |channel| channel.inject(&[1, 5, 0, 1, 0], soon()).expect("sent"),
        |channel| {
            channel.ping(b"data first", soon()).expect("an echo");
            channel.set_frame_state(smgw_socks::FrameState::Handshake);
            channel.write_all(b"backwards").expect("sent");
        },
    ];
    for wrong in wrongs {
        let mut channel = cast.open_channel(&proxy);
        wrong(&mut channel);
        let end = channel.wait_closed(soon()).expect("the proxy ends");
        assert!(!end.close_notify, "{end:?}");
    }
    cast.open_channel(&proxy).abort();
    let connections = emt
        .wait_until(|all| all.len() == 4 && ended(all), soon())
        .expect("four ends");
    for connection in connections {
        assert!(matches!(
            connection.phase,
            EmtPhase::Ended(EmtEnd::Broken(Failure::Closed | Failure::Reset))
        ));
    }
}
