// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other end of the local socket, for the commands of `smgw` that ask a running gateway.

use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Asks the gateway behind `socket`; the status and the text it answers with.
///
/// # Errors
/// When nobody listens there, or the answer breaks off or takes more than a minute.
pub fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    document: Vec<u8>,
) -> io::Result<(StatusCode, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let exchange = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "smgw")
            .body(Full::new(Bytes::from(document)))
            .map_err(io::Error::other)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(io::Error::other)?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(io::Error::other)?;
        Ok((
            status,
            String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        ))
    };
    runtime.block_on(async { tokio::time::timeout(PATIENCE, exchange).await? })
}

/// Longer than the gateway takes for any order.
const PATIENCE: Duration = Duration::from_secs(60);
