// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection of a CLS, from the greeting to the end of the channel.
//!
//! The order is the safety: nothing towards the EMT is even opened before the CLS has proven its
//! certificate and named a profile that belongs to it (REQ.SOCKS.Connect.30/70, TLS.Handshake.170).

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use smgw_socks::{
    Address, Command, ConnectName, FrameState, Greeting, Method, MethodChoice, Reply, ReplyCode,
    Request, SocksError,
};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client;
use tracing::{info, warn};

use super::Proxy;
use super::io::{SendState, SocksTlsIo};
use super::relay::{self, Broken};
use crate::config::Profile;
use crate::defects::Defect;
use crate::tls;

/// A channel that was opened and ended in order.
#[derive(Clone, Copy, Debug)]
pub struct Served {
    /// Bytes from the CLS to the EMT.
    pub to_emt: u64,
    /// Bytes from the EMT to the CLS.
    pub to_cls: u64,
}

/// Why a connection came to no good end.
#[derive(Debug, Error)]
pub enum Refused {
    /// The CLS was too slow.
    #[error("no CONNECT request within the handshake time")]
    TooSlow,
    /// The CLS does not speak the protocol.
    #[error("the CLS broke the protocol: {0}")]
    Protocol(#[from] SocksError),
    /// The CLS offered no method this proxy accepts.
    #[error("the CLS did not offer method 06")]
    Method,
    /// TLS failed, or the connection.
    #[error("CLS: {0}")]
    Connection(#[from] io::Error),
    /// The request was answered with a code other than 00.
    #[error("CONNECT answered with {:#04x}: {why}", code.code())]
    Reply {
        /// The code.
        code: ReplyCode,
        /// Why.
        why: String,
    },
    /// The open channel broke.
    #[error(transparent)]
    Broken(#[from] Broken),
}

type ClsStream = tls::Accepted<SocksTlsIo<TcpStream>>;
type EmtStream = client::TlsStream<TcpStream>;

/// Serves one connection to its end.
///
/// # Errors
/// [`Refused`]; everything of the connection is closed then, too.
pub async fn serve(proxy: &Proxy, mut connection: TcpStream) -> Result<Served, Refused> {
    connection.set_nodelay(true)?;
    let deadline = Instant::now() + proxy.handshake_timeout;
    let early = in_time(deadline, greet(proxy, &mut connection)).await?;

    let framed = SocksTlsIo::new(connection, &early);
    let send_state = framed.send_state();
    let left = deadline.saturating_duration_since(Instant::now());
    let mut cls = tls::accept(proxy.tls.clone(), framed, left, proxy.defects).await?;
    cls.get_mut().0.inner_mut().end_handshake();

    let (request, early) = match in_time(deadline, read_request(&mut cls)).await {
        Ok(complete) => complete,
        Err(Refused::Protocol(error)) => {
            return refuse(cls, &send_state, code_of(error), error.to_string()).await;
        }
        Err(error) => return Err(error),
    };
    let (profile, config) = match find_profile(proxy, &cls, &request) {
        Ok(found) => found,
        Err((code, why)) => return refuse(cls, &send_state, code, why).await,
    };
    let emt = match reach_emt(proxy, profile, config).await {
        Ok(emt) => emt,
        Err((code, why)) => return refuse(cls, &send_state, code, why).await,
    };
    cls.write_all(&Reply::new(ReplyCode::Succeeded).encode())
        .await?;
    cls.flush().await?;
    info!(name = %profile.local_server_name, emt = %profile.wan_peer_address, "channel open");
    Ok(relay::run(cls, send_state, emt, &early, proxy.defects).await?)
}

async fn in_time<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T, Refused>>,
) -> Result<T, Refused> {
    timeout_at(deadline, step)
        .await
        .unwrap_or(Err(Refused::TooSlow))
}

/// Greeting and method choice; returns what the CLS already sent behind them.
async fn greet(proxy: &Proxy, connection: &mut TcpStream) -> Result<Vec<u8>, Refused> {
    let (greeting, early) = match read_message(connection, Greeting::parse).await {
        Err(Refused::Protocol(SocksError::NoMethods)) => {
            connection
                .write_all(&MethodChoice(Method::NONE).encode())
                .await?;
            return Err(Refused::Method);
        }
        other => other?,
    };
    if proxy.defects.has(Defect::NoAuth) && greeting.offers(Method::NO_AUTH) {
        connection
            .write_all(&MethodChoice(Method::NO_AUTH).encode())
            .await?;
        return Ok(early);
    }
    if !greeting.offers(Method::TLS) {
        connection
            .write_all(&MethodChoice(Method::NONE).encode())
            .await?;
        connection.shutdown().await?;
        return Err(Refused::Method);
    }
    connection
        .write_all(&MethodChoice(Method::TLS).encode())
        .await?;
    Ok(early)
}

async fn read_request(cls: &mut ClsStream) -> Result<(Request, Vec<u8>), Refused> {
    read_message(cls, Request::parse).await
}

/// Reads until `parse` has a whole message; returns it and what came behind it.
async fn read_message<T>(
    from: &mut (impl AsyncRead + Unpin),
    parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, SocksError>,
) -> Result<(T, Vec<u8>), Refused> {
    let mut received = Vec::with_capacity(LONGEST_MESSAGE);
    loop {
        // Every SOCKS message is complete or wrong long before the limit.
        if from
            .take(LONGEST_MESSAGE as u64)
            .read_buf(&mut received)
            .await?
            == 0
        {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if let Some((message, taken)) = parse(&received)? {
            return Ok((message, received.split_off(taken)));
        }
    }
}

fn code_of(error: SocksError) -> ReplyCode {
    match error {
        SocksError::Command(_) => ReplyCode::CommandNotSupported,
        SocksError::AddressType(_) => ReplyCode::AddressTypeNotSupported,
        _ => ReplyCode::GeneralFailure,
    }
}

type Reason = (ReplyCode, String);

/// The profile of this CLS with this name (REQ.SOCKS.Connect.30/35/70).
fn find_profile<'p>(
    proxy: &'p Proxy,
    cls: &ClsStream,
    request: &Request,
) -> Result<(&'p Profile, &'p Arc<ClientConfig>), Reason> {
    if request.command != Command::Connect {
        return Err((
            ReplyCode::CommandNotSupported,
            "command is not CONNECT".into(),
        ));
    }
    let Address::Name(name) = &request.address else {
        return Err((
            ReplyCode::AddressTypeNotSupported,
            "address is not a name".into(),
        ));
    };
    let mut name = Cow::from(name);
    if proxy.defects.has(Defect::UpperCase) {
        name.to_mut().make_ascii_lowercase();
    }
    let name =
        ConnectName::parse(&name).map_err(|error| (ReplyCode::NoSuchProfile, error.to_string()))?;
    let leaf = cls.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let mut leaf = leaf.ok_or((
        ReplyCode::NoSuchProfile,
        "the CLS has no certificate".to_owned(),
    ))?;
    if proxy.defects.has(Defect::AnyClsCertificate)
        && proxy
            .profiles
            .iter()
            .all(|(profile, _)| profile.cls_certificate != *leaf)
        && let Some((first, _)) = proxy.profiles.first()
    {
        leaf = &first.cls_certificate;
    }
    let found = proxy.profiles.iter().find(|(profile, _)| {
        let own = profile.cls_certificate == *leaf || proxy.defects.has(Defect::ForeignProfile);
        own && profile.local_server_name == name
    });
    match found {
        Some((profile, config)) => Ok((profile, config)),
        None => Err((
            ReplyCode::NoSuchProfile,
            format!("this CLS has no profile {name}"),
        )),
    }
}

/// TCP and TLS to the EMT within the profile's time (table 11.1: 04 no answer in time, 05 refused).
async fn reach_emt(
    proxy: &Proxy,
    profile: &Profile,
    config: &Arc<ClientConfig>,
) -> Result<EmtStream, Reason> {
    let deadline = Instant::now() + profile.connect_timeout;
    let refused = if proxy.defects.has(Defect::OneCode) {
        ReplyCode::PeerTimeout
    } else {
        ReplyCode::PeerRefused
    };
    let silent = || {
        (
            ReplyCode::PeerTimeout,
            "the EMT does not answer in time".to_owned(),
        )
    };
    let tcp = match timeout_at(deadline, TcpStream::connect(profile.wan_peer_address)).await {
        Err(_elapsed) => return Err(silent()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err((refused, format!("the EMT refuses the connection: {error}")));
        }
        // Nobody there, no way there: nothing that answers.
        Ok(Err(error)) => {
            return Err((
                ReplyCode::PeerTimeout,
                format!("the EMT cannot be reached: {error}"),
            ));
        }
        Ok(Ok(tcp)) => tcp,
    };
    let mut name = profile.wan_tls_sni.clone();
    if proxy.defects.has(Defect::WrongSni)
        && let Ok(wrong) = rustls::pki_types::ServerName::try_from("wrong.example")
    {
        name = wrong;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let broken = |error: io::Error| (refused, format!("TLS to the EMT failed: {error}"));
    tcp.set_nodelay(true).map_err(broken)?;
    match tls::connect(config.clone(), name, tcp, left).await {
        Ok(emt) => Ok(emt),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(silent()),
        Err(error) => Err(broken(error)),
    }
}

/// Answers with `code`, then ends TLS: the closing handshake at once, the connection soon after.
async fn refuse(
    mut cls: ClsStream,
    send_state: &SendState,
    code: ReplyCode,
    why: String,
) -> Result<Served, Refused> {
    let ending = async {
        cls.write_all(&Reply::new(code).encode()).await?;
        cls.flush().await?;
        send_state.set(FrameState::Closing);
        cls.shutdown().await?;
        // Reading on until the CLS closes, too, keeps its last bytes from resetting the connection,
        // which would cost it the reply.
        tokio::io::copy(&mut cls, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = timeout(ENDING_TIME, ending).await {
        warn!(%error, "reply may not have reached the CLS");
    }
    Err(Refused::Reply { code, why })
}

/// More than any greeting (257 bytes) or request (262 bytes).
const LONGEST_MESSAGE: usize = 512;
/// REQ.SOCKS.ClosingHandshake.20: closed within 5 s, inside the 10 s of REQ.SOCKS.Connect.80.
const ENDING_TIME: Duration = Duration::from_millis(4_500);
