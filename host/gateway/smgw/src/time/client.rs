// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks the time server: messages of 48 octets straight inside TLS, no framing (REQ.TA.NTP.BuildRequest.10–40).
//!
//! The connection stays for the polls to come. It ends with the session limit of the WAN, and with anything out of the
//! ordinary, because a stream without framing cannot find its place again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hsm_tls::TlsProfile;
use rustls::ClientConfig;
use smgw_ntp::{Client, LEN};
use smgw_units::Nanos;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{Shared, TimeEvent, rules};
use crate::defects::{Defect, Defects};
use crate::tls;

/// Polls when the clock wants it, for ever.
pub(super) async fn run(shared: &Shared, tls: Arc<ClientConfig>) {
    let keeper = &shared.keeper;
    let clock = &keeper.clock;
    let mut client = Client::new(rules(&keeper.server, keeper.defects));
    let mut connection: Option<Connection> = None;
    loop {
        let Some(next) = clock.discipline().map(|discipline| discipline.next_poll()) else {
            return;
        };
        let pause = next.saturating_since(clock.monotonic());
        match &mut connection {
            Some(open) if !pause.is_zero() => {
                if open.quiet(keeper.asking.sleep(pause)).await.is_none() {
                    connection = None;
                }
                continue;
            }
            None if !pause.is_zero() => {
                keeper.asking.sleep(pause).await;
                continue;
            }
            _ => {}
        }
        // The pause counts from the decision to ask, so that a server that is away is not asked more often.
        if let Some(mut discipline) = clock.discipline() {
            discipline.polled(clock.monotonic());
        }
        let polled = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(shared, tls.clone()).await?,
            };
            let answer = open.exchange(shared, &mut client, tls.clone()).await?;
            io::Result::Ok((open, answer))
        };
        match polled.await {
            Ok((open, (octets, at))) => match client.judge(&octets, at) {
                Ok(answer) => {
                    connection = Some(open);
                    shared.believe(answer);
                }
                Err(reason) => shared.fail(TimeEvent::Ignored(reason)),
            },
            Err(error) => shared.fail(TimeEvent::Unreachable(Arc::new(error))),
        }
    }
}

struct Connection {
    stream: TlsStream<TcpStream>,
    /// TR-03116-3 §4.1.5: then a new handshake.
    ends: Instant,
}

impl Connection {
    async fn open(shared: &Shared, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let server = &shared.keeper.server;
        let connecting = TcpStream::connect(server.server);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
        stream.set_nodelay(true)?;
        let stream = tls::connect(tls, server.tls_name.clone(), stream, HANDSHAKE_TIMEOUT).await?;
        let ends = Instant::now() + TlsProfile::smgw_wan_client().session_limit();
        Ok(Self { stream, ends })
    }

    /// Keeps the connection for `pause`; `None` when it ended, or the server spoke unasked.
    async fn quiet(&mut self, pause: impl Future<Output = ()>) -> Option<()> {
        tokio::select! {
            () = pause => (Instant::now() < self.ends).then_some(()),
            () = tokio::time::sleep_until(self.ends) => None,
            // An end is as unwanted as an octet.
            _ = self.stream.read_u8() => None,
        }
    }

    /// One question, and the octets that came for it with the instant of the last of them. Should more have come than
    /// one answer, all of it is given.
    async fn exchange(
        &mut self,
        shared: &Shared,
        client: &mut Client,
        tls: Arc<ClientConfig>,
    ) -> io::Result<(Vec<u8>, Nanos)> {
        let clock = &shared.keeper.clock;
        let defects = shared.keeper.defects;
        let random = random(tls).await?;
        let mut question = client.ask(random, clock.monotonic()).to_vec();
        defects.falsify_question(&mut question, clock.now());
        self.stream.write_all(&question).await?;
        self.stream.flush().await?;
        let mut answer = Vec::with_capacity(2 * LEN);
        let receive = async {
            while answer.len() < LEN {
                if self.stream.read_buf(&mut answer).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            io::Result::Ok(clock.monotonic())
        };
        let at = tokio::time::timeout(patience(defects), receive).await??;
        defects.falsify_answer(&mut answer, &question);
        Ok((answer, at))
    }
}

/// Octets from the security module, which blocks.
async fn random(tls: Arc<ClientConfig>) -> io::Result<[u8; 8]> {
    let fill = move || {
        let mut octets = [0; 8];
        let filled = tls.crypto_provider().secure_random.fill(&mut octets);
        filled.map(|()| octets)
    };
    let filled = tokio::task::spawn_blocking(fill).await?;
    filled.map_err(|_| io::Error::other("the security module gave no random numbers"))
}

/// Beyond the 9 s an answer may take, so that a late one is told from none.
fn patience(defects: Defects) -> Duration {
    match defects.has(Defect::SlowAnswer) {
        true => Duration::from_secs(60),
        false => Duration::from_secs(12),
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
