// SPDX-License-Identifier: MIT OR Apache-2.0
//! The home area network server: HTTPS with mutual authentication by pinned certificates
//! (TR-03109-1 detail specifications §6; catalogue rows HTT-*, CON-*).

mod evaluations;
mod logs;
mod query;
mod routes;
mod view;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hsm_tls::{SessionOver, TlsProfile};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use smgw_core::log::{Event, EventKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use crate::active::Current;
use crate::config::User;
use crate::defects::{Defect, Defects};
use crate::journal::Journal;
use crate::stop::Stopping;
use crate::{listener, tls};

pub use logs::LogEntry;
pub use routes::Answer;
pub use view::View;

/// The HAN server.
#[derive(Debug)]
pub struct Server {
    /// Who may connect.
    pub current: Current,
    /// What users look at.
    pub view: View,
    /// Takes down what happens.
    pub journal: Journal,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl Server {
    /// Serves `listener` until the gateway stops, then ends all connections.
    pub async fn run(self, listener: TcpListener, stopping: Stopping) {
        let server = Arc::new(self);
        let serve = |connection, peer: SocketAddr| {
            let server = server.clone();
            async move {
                match server.clone().serve(connection, peer).await {
                    Ok(()) => debug!(%peer, interface = "han", "connection ended"),
                    Err(error) => {
                        warn!(%peer, interface = "han", %error, "connection refused or broken");
                        // Without the port: it differs every time and says nothing.
                        let event = Event::new(EventKind::HanRefused).subject(peer.ip());
                        if !server.defects.has(Defect::SilentRefusal) {
                            server.journal.note(event.with(error));
                        }
                    }
                }
            }
        };
        listener::run("han", listener, stopping, serve).await;
    }

    async fn serve(self: Arc<Self>, connection: TcpStream, peer: SocketAddr) -> io::Result<()> {
        connection.set_nodelay(true)?;
        let active = self.current.borrow().clone();
        let Some(config) = active.han.clone() else {
            let Some(user) = active.users.first().cloned() else {
                return Ok(());
            };
            return self.speak_http(connection, user).await;
        };
        let stream = tls::accept(config, connection, HANDSHAKE_TIMEOUT, self.defects).await?;
        let leaf = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let known = active
            .users
            .iter()
            .find(|user| Some(&user.certificate) == leaf);
        #[cfg(feature = "defects")]
        let known = known.or_else(|| {
            let consumer = |user: &&User| matches!(user.role, crate::config::Role::Consumer { .. });
            let any = self.defects.has(crate::defects::Defect::AnyHanCertificate);
            active.users.iter().find(consumer).filter(|_| any)
        });
        let Some(user) = known.cloned() else {
            return Err(io::Error::other(
                "the client's certificate belongs to no user",
            ));
        };
        info!(%peer, interface = "han", user = user.id, "user connected");
        let connected = Event::new(EventKind::HanConnected).subject(peer.ip());
        self.journal.note(connected.user(&user.id));
        // TR-03116-3 §5.1.5: then the client has to shake hands anew.
        let limit = TlsProfile::smgw_han_server().session_limit();
        match tokio::time::timeout(limit, self.speak_http(stream, user)).await {
            Ok(ended) => ended,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, SessionOver)),
        }
    }

    async fn speak_http<S>(self: Arc<Self>, stream: S, user: User) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let user = Arc::new(user);
        let service = service_fn(move |request| {
            let (server, user) = (self.clone(), user.clone());
            async move { Ok::<_, Infallible>(server.respond(request, user).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .max_buf_size(LARGEST_READ)
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }

    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        user: Arc<User>,
    ) -> Response<Full<Bytes>> {
        let (head, _body) = request.into_parts();
        let who = user.id.clone();
        let line = format!("{} {}", head.method, head.uri.path());
        // The store reads from a disk: not on an asynchronous thread.
        let work = move || {
            let answer = routes::answer(&head, &user, &self.view, self.defects);
            if let Some(event) = logs::event_of(&head, &user, &answer)
                && (answer.status.is_success() || !self.defects.has(Defect::SilentRefusal))
            {
                self.journal.note(event);
            }
            answer
        };
        let answer =
            match tokio::time::timeout(REQUEST_TIMEOUT, tokio::task::spawn_blocking(work)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) | Err(_) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR),
            };
        info!(
            interface = "han",
            user = who,
            request = line,
            status = answer.status.as_u16(),
            "answered"
        );
        let mut response = Response::builder().status(answer.status);
        if answer.status == StatusCode::METHOD_NOT_ALLOWED {
            response = response.header(ALLOW, "GET");
        }
        if !answer.body.is_empty() {
            response = response.header(CONTENT_TYPE, answer.content_type);
        }
        response
            .body(Full::new(Bytes::from(answer.body)))
            .unwrap_or_default()
    }
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// REQ.Http.190: an answer within 20 s; a client gets as long to ask.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Above the largest header block there is an answer for; beyond it hyper answers 431 itself.
const LARGEST_READ: usize = 32 * 1024;
