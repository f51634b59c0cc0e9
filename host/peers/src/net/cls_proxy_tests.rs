// SPDX-License-Identifier: MIT OR Apache-2.0
//! The played proxy against the played CLS.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hsm_tls::TlsProfile;
use smgw_cls::command::Command;

use super::*;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

fn pair() -> (ClsProxy, ClientTls) {
    let gateway = Party::new("gw.smgw").expect("a software key");
    let cls = Party::new("relay.cls").expect("a software key");
    let server = ServerTls::new(
        &gateway,
        &TlsProfile::smgw_cls_server(),
        std::slice::from_ref(cls.certificate()),
    );
    let client = ClientTls::new(Some(&cls), &TlsProfile::cls_client(), gateway.certificate());
    let proxy = ClsProxy::start(server.expect("server rules"), Arc::new(NoTap));
    (proxy.expect("a port"), client.expect("client rules"))
}

/// Lets a system ask for `relay.example`, and answers these octets.
fn asked(proxy: &ClsProxy, client: ClientTls, reply: &'static [u8]) -> (Asked, ClsTls, ClsReply) {
    let addr = proxy.addr();
    let system = thread::spawn(move || {
        let mut tcp = ClsClient::open(addr, Arc::new(NoTap), soon()).expect("TCP");
        let method = tcp.greet(&[6], soon()).expect("a method");
        assert_eq!(method, GreetingOutcome::Method(6));
        let mut tls = tcp.tls(&client, soon()).expect("TLS");
        let reply = tls.connect_name(b"relay.example", 443, soon());
        (tls, reply.expect("a reply"))
    });
    let mut asked = proxy.hear(soon()).expect("a CONNECT");
    assert_eq!(asked.name(), b"relay.example");
    asked.reply(reply, soon()).expect("sent");
    let (tls, reply) = system.join().expect("no panic");
    (asked, tls, reply)
}

#[test]
fn a_system_gets_the_reply_that_was_asked_for() {
    let (proxy, client) = pair();
    let odd = &[5, 0, 0, 3, 4, b'j', b'u', b'n', b'k', 1, 2];
    let (asked, tls, reply) = asked(&proxy, client, odd);
    assert_eq!((reply.code, reply.raw.as_slice()), (0, odd.as_slice()));
    let mut session = asked.into_session();
    session.send(&Command::Status, soon()).expect("sent");
    let mut channel = tls.into_channel();
    let mut octets = vec![0; Command::Status.encode().len()];
    std::io::Read::read_exact(&mut channel, &mut octets).expect("the command");
    assert_eq!(octets, Command::Status.encode());
}

#[test]
fn the_end_behind_a_refusal_is_timed() {
    let (proxy, client) = pair();
    let (mut asked, tls, reply) = asked(&proxy, client, &[5, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(reply.code, 1);
    let mut channel = tls.into_channel();
    channel.shutdown_write(soon()).expect("sent");
    channel.close_tcp();
    let ended = asked.wait_closed(soon()).expect("an end");
    assert!(ended.close_notify && ended.discarded == 0, "{ended:?}");
}

#[test]
fn nobody_comes() {
    let (proxy, _) = pair();
    let waited = proxy.hear(Deadline::within(Duration::from_millis(10)));
    assert_eq!(waited.err(), Some(Failure::Timeout));
}
