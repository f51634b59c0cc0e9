// SPDX-License-Identifier: MIT OR Apache-2.0
//! The active EMT against a system that is reached straight, without a gateway between them.

use std::sync::Arc;
use std::time::Duration;

use hsm_tls::TlsProfile;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use smgw_cls::command::{Command, Report, State};
use smgw_cls::limiter::Mode;

use super::link::{TlsLink, Wire};
use super::*;

fn soon() -> Deadline {
    Deadline::within(Duration::from_secs(20))
}

struct Pair {
    emt: ActiveEmt,
    client: ClientTls,
}

fn pair() -> Pair {
    let gateway = Party::new("gw.smgw").expect("a software key");
    let emt = Party::new("emt.example").expect("a software key");
    let server = ServerTls::new(
        &emt,
        &TlsProfile::emt_server(),
        std::slice::from_ref(gateway.certificate()),
    );
    let client = ClientTls::new(
        Some(&gateway),
        &TlsProfile::smgw_wan_client(),
        emt.certificate(),
    );
    Pair {
        emt: ActiveEmt::start(server.expect("server rules"), Arc::new(NoTap)).expect("a port"),
        client: client.expect("client rules"),
    }
}

impl Pair {
    fn connect(&self) -> Result<TlsLink, Failure> {
        let stream = TappedStream::connect(self.emt.addr(), Arc::new(NoTap), soon())?;
        let name = ServerName::try_from("emt.example").expect("a name");
        let tls = ClientConnection::new(Arc::clone(&self.client.0), name)?;
        let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
        link.handshake(soon())?;
        Ok(link)
    }
}

fn state(mode: Mode, watts: Option<u32>) -> Report {
    Report::State(State {
        watts,
        mode,
        relay: watts.is_none(),
        pulses: 0,
        uptime_ms: 1,
    })
}

#[test]
fn commands_go_down_and_states_come_up() {
    let pair = pair();
    let mut system = pair.connect().expect("a channel");
    let mut session = pair.emt.session(soon()).expect("a session");
    assert_eq!(
        session.facts().sni.as_deref(),
        Some("emt.example"),
        "what the gateway asked for"
    );
    // The answer is there before the question: the test needs no second thread.
    let limited = [
        state(Mode::Init, Some(4_200)).encode(),
        state(Mode::Limited, Some(1_500)).encode(),
    ];
    system.write(&limited.concat(), soon()).expect("sent");
    let limit = Command::Limit {
        watts: 1_500,
        seconds: None,
    };
    let (state, _) = session
        .command(&limit, soon(), |state| state.mode == Mode::Limited)
        .expect("a state");
    assert_eq!(state.watts, Some(1_500));
    let mut sent = vec![0; 64];
    let len = system.read(&mut sent, soon()).expect("a command");
    assert_eq!(Command::parse(&sent[..len]), Ok(Some((limit, len))));
    assert_eq!(
        session.receive(Deadline::within(Duration::from_millis(10))),
        Err(Failure::Timeout)
    );
    system.write(&[0, 0], soon()).expect("sent");
    assert!(matches!(session.receive(soon()), Err(Failure::Protocol(_))));
}

#[test]
fn the_newest_session_is_given_once() {
    let pair = pair();
    let mut first = pair.connect().expect("a channel");
    let mut second = pair.connect().expect("a channel");
    second
        .write(&state(Mode::Failsafe, Some(4_200)).encode(), soon())
        .expect("sent");
    // With TLS 1.3 the client is done before the server: only a report shows whose session it is.
    let report = loop {
        let mut session = pair.emt.session(soon()).expect("a session");
        match session.receive(Deadline::within(Duration::from_secs(1))) {
            Ok(report) => break report,
            Err(Failure::Timeout) => {}
            Err(failure) => panic!("{failure}"),
        }
    };
    assert_eq!(report, state(Mode::Failsafe, Some(4_200)));
    let nobody = Deadline::within(Duration::from_millis(10));
    assert!(pair.emt.session(nobody).is_none());
    // The one that nobody took is over.
    assert!(matches!(
        first.read(&mut [0; 8], soon()),
        Ok(0) | Err(Failure::Closed | Failure::Reset)
    ));
}
