// SPDX-License-Identifier: MIT OR Apache-2.0
//! The local socket: status, metrics, and the administrator's orders as long as there is no wide area network interface
//! (assumption `administration-local` in rigs/assumptions.toml). HTTP/1.1 on a Unix socket that only the gateway's own user may
//! open, so `curl --unix-socket` will do.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use smgw_core::clock::Validity;
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use crate::administration::{Administration, LONGEST_DOCUMENT, OrderError};
use crate::board::Board;
use crate::clock::{self, Clock};
use crate::journal::Journal;
use crate::listener;
use crate::measuring::Order;
use crate::metrics::Metrics;
use crate::stop::Stopping;

/// What the socket leads to.
#[derive(Debug)]
pub struct Desk {
    /// The gateway's id.
    pub device_id: String,
    /// Carries out orders.
    pub administration: Arc<Mutex<Administration>>,
    /// Knows whether the store takes what is measured.
    pub journal: Journal,
    /// What is going on on the lines.
    pub board: Arc<Board>,
    /// The gateway's clock.
    pub clock: Clock,
    /// Where the measuring thread is told that the clock was advanced.
    pub orders: mpsc::Sender<Order>,
    /// What is counted.
    pub metrics: Metrics,
}

/// Binds the socket; one that a dead gateway left behind is replaced.
///
/// # Errors
/// The operating system's, also when a living gateway listens there.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Desk {
    /// Serves the socket until the gateway stops.
    pub async fn run(self, listener: UnixListener, stopping: Stopping) {
        let desk = Arc::new(self);
        let serve = |connection, _peer| {
            let desk = desk.clone();
            async move {
                if let Err(error) = desk.serve(connection).await {
                    warn!(interface = "local", %error, "connection broken");
                }
            }
        };
        listener::run("local", listener, stopping, serve).await;
    }

    async fn serve(self: Arc<Self>, connection: UnixStream) -> io::Result<()> {
        let service = service_fn(move |request| {
            let desk = self.clone();
            async move { Ok::<_, Infallible>(desk.answer(request).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .serve_connection(TokioIo::new(connection), service)
            .await
            .map_err(io::Error::other)
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let document = match tokio::time::timeout(
            REQUEST_TIMEOUT,
            Limited::new(body, LONGEST_DOCUMENT).collect(),
        )
        .await
        {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(_)) => {
                return text(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the document is too long or broke off",
                );
            }
            Err(_) => {
                return text(
                    StatusCode::REQUEST_TIMEOUT,
                    "the document did not come in time",
                );
            }
        };
        if (&head.method, head.uri.path()) == (&Method::POST, "/clock") {
            return self.advance(&document).await;
        }
        let work = move || match (&head.method, head.uri.path()) {
            (&Method::GET, "/status") => json(StatusCode::OK, &self.status()),
            (&Method::GET, "/metrics") => self.metrics.render().map_or_else(
                |error| text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                |rendered| with_type(StatusCode::OK, OPEN_METRICS, rendered),
            ),
            (&Method::GET, "/profiles") => json(StatusCode::OK, &self.versions()),
            (&Method::POST, "/profiles") => self.submit(&document),
            (_, "/status" | "/metrics" | "/profiles" | "/clock") => {
                let what = "GET, POST of /profiles, and only that of /clock";
                text(StatusCode::METHOD_NOT_ALLOWED, what)
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "/status, /metrics, /profiles, /clock",
            ),
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(response) => response,
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed"),
        }
    }

    /// Advances a driven clock; answered when everything due by then was decided and kept.
    async fn advance(self: Arc<Self>, document: &[u8]) -> Response<Full<Bytes>> {
        let to = str::from_utf8(document).ok();
        let Some(to) = to.and_then(|text| clock::instant(text.trim())) else {
            return refused(StatusCode::BAD_REQUEST, "the document is no instant");
        };
        // What was ordered before belongs to the time before.
        let desk = self.clone();
        let _ = tokio::task::spawn_blocking(move || desk.settle()).await;
        if let Err(error) = self.clock.advance(to).await {
            return refused(StatusCode::CONFLICT, &error.to_string());
        }
        let settle = move || {
            self.settle();
            let state = ClockState {
                time: self.clock.now().to_string(),
                time_valid: self.clock.validity() == Validity::Valid,
                telegrams: self.board.telegrams(),
            };
            match self.journal.settle() {
                Ok(()) => json(StatusCode::OK, &state),
                Err(error) => refused(StatusCode::INSUFFICIENT_STORAGE, &error.to_string()),
            }
        };
        match tokio::task::spawn_blocking(settle).await {
            Ok(response) => response,
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed"),
        }
    }

    /// Returns when the measuring thread has done all it was told, and all it decided is kept.
    fn settle(&self) {
        let (settled, told) = mpsc::channel();
        // Should the measuring thread be gone, the gateway is ending, and the channel ends at once.
        let _ = self.orders.send(Order::Settle(settled));
        let _ = told.recv();
    }

    fn submit(&self, document: &[u8]) -> Response<Full<Bytes>> {
        let Ok(document) = str::from_utf8(document) else {
            return refused(StatusCode::BAD_REQUEST, "the document is no text");
        };
        let taken = self.lock().submit(document, self.clock.now());
        match taken {
            Ok(version) => {
                let taken = VersionInfo {
                    number: version.number,
                    active_from: version.active_from.to_string(),
                    active: version.active_from <= self.clock.now(),
                };
                json(StatusCode::CREATED, &taken)
            }
            Err(error) => {
                let status = match error {
                    OrderError::Document(_) => StatusCode::BAD_REQUEST,
                    OrderError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
                    OrderError::Store(_) => StatusCode::INSUFFICIENT_STORAGE,
                };
                refused(status, &error.to_string())
            }
        }
    }

    fn versions(&self) -> Versions {
        let now = self.clock.now();
        let administration = self.lock();
        let version = |version: &smgw_core::profile::Version| VersionInfo {
            number: version.number,
            active_from: version.active_from.to_string(),
            active: version.active_from <= now,
        };
        Versions {
            versions: administration.versions().map(version).collect(),
        }
    }

    fn status(&self) -> Status {
        let now = self.clock.now();
        let version = self
            .lock()
            .versions()
            .next()
            .map_or(0, |version| version.number);
        let meter = |(id, link, reason): (
            smgw_units::DeviceId,
            crate::board::Link,
            Option<smgw_core::GapReason>,
        )| MeterStatus {
            id: id.to_string(),
            link: link.as_str(),
            reason: reason.map(smgw_core::GapReason::as_str),
        };
        let trouble = self.journal.trouble();
        Status {
            device_id: self.device_id.clone(),
            state: match &trouble {
                None => "measuring",
                Some(_) => "stopped",
            },
            trouble,
            time_valid: self.clock.validity() == Validity::Valid,
            time: now.to_string(),
            started_at: self.board.started_at().to_string(),
            profiles: version,
            meters: self.board.links(now).into_iter().map(meter).collect(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Administration> {
        self.administration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Status {
    device_id: String,
    state: &'static str,
    /// Why nothing is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    time_valid: bool,
    time: String,
    started_at: String,
    profiles: u32,
    meters: Vec<MeterStatus>,
}

#[derive(Serialize)]
struct MeterStatus {
    id: String,
    link: &'static str,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ClockState {
    time: String,
    time_valid: bool,
    /// How many came since the start, so that whoever sent some knows that they were there in time.
    telegrams: u64,
}

#[derive(Serialize)]
struct Versions {
    versions: Vec<VersionInfo>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct VersionInfo {
    number: u32,
    active_from: String,
    active: bool,
}

#[derive(Serialize)]
struct Refusal<'a> {
    refused: &'a str,
}

fn refused(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    json(status, &Refusal { refused: why })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(body) {
        Ok(body) => with_type(status, "application/json", body + "\n"),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed"),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    with_type(status, "text/plain", format!("{body}\n"))
}

fn with_type(status: StatusCode, media: &'static str, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, media)
        .body(Full::new(Bytes::from(body)))
        .unwrap_or_default()
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
