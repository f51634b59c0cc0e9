// SPDX-License-Identifier: MIT OR Apache-2.0
//! A HAN user, consumer or service technician, at the gateway's HTTPS server (DS §6; CON-05 to CON-11).

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::deadline::Deadline;
use super::failure::Failure;
use super::http::{HttpResponse, parse_response};
use super::link::{Ended, TlsFacts, TlsLink, WRITE_LEN, Wire};
use super::party::ClientTls;
use super::tap::{Tap, TappedStream};

/// A HAN user's way to one gateway.
#[derive(Clone)]
pub struct HanClient {
    server: SocketAddr,
    tls: ClientTls,
    tap: Arc<dyn Tap>,
}

impl std::fmt::Debug for HanClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HanClient")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl HanClient {
    /// A client of `server`; nothing is connected yet.
    pub fn new(server: SocketAddr, tls: ClientTls, tap: Arc<dyn Tap>) -> Self {
        Self { server, tls, tap }
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// [`Failure::Alert`] when the gateway refuses our certificate, and what else keeps the response away.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        deadline: Deadline,
    ) -> Result<HttpResponse, Failure> {
        let mut session = self.open(deadline)?;
        let mut headers = headers.to_vec();
        headers.push(("Connection", "close"));
        session.request(method, path, &headers, body, deadline)
    }

    /// A connection for several requests.
    ///
    /// # Errors
    /// What keeps TCP or TLS from standing. With TLS 1.3 a refusal of our certificate shows in the first request.
    pub fn open(&self, deadline: Deadline) -> Result<HanSession, Failure> {
        let stream = TappedStream::connect(self.server, Arc::clone(&self.tap), deadline)?;
        // An address in place of a name: no SNI is sent.
        let tls =
            ClientConnection::new(Arc::clone(&self.tls.0), ServerName::from(self.server.ip()))?;
        let mut link = TlsLink::new(Wire::Bare(stream), tls, None);
        let facts = link.handshake(deadline)?;
        Ok(HanSession {
            link,
            facts,
            host: self.server.to_string(),
            received: Vec::new(),
        })
    }
}

/// A connection to the gateway's HAN server.
#[derive(Debug)]
pub struct HanSession {
    link: TlsLink,
    facts: TlsFacts,
    host: String,
    /// Plaintext behind the last response.
    received: Vec<u8>,
}

impl HanSession {
    /// What the handshake settled.
    pub fn facts(&self) -> &TlsFacts {
        &self.facts
    }

    /// Sends a request with `Host` and, with a body, `Content-Length`; reads the response.
    ///
    /// Nothing is checked or escaped: a caller may send what no client should.
    ///
    /// # Errors
    /// What keeps the response away.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        deadline: Deadline,
    ) -> Result<HttpResponse, Failure> {
        let mut wire = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            wire.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() {
            wire.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        wire.push_str("\r\n");
        let mut wire = wire.into_bytes();
        wire.extend(body);
        self.exchange(&wire, method == "HEAD", deadline)
    }

    /// Sends any octets in place of a request and reads the response.
    ///
    /// # Errors
    /// What keeps the response away.
    pub fn request_raw(
        &mut self,
        octets: &[u8],
        deadline: Deadline,
    ) -> Result<HttpResponse, Failure> {
        self.exchange(octets, false, deadline)
    }

    /// Reads and drops until the gateway ends the connection; tells how, and how long it took.
    ///
    /// # Errors
    /// [`Failure::Timeout`].
    pub fn wait_closed(&mut self, deadline: Deadline) -> Result<Ended, Failure> {
        self.link.wait_transport_end(deadline)
    }

    fn exchange(
        &mut self,
        octets: &[u8],
        head_only: bool,
        deadline: Deadline,
    ) -> Result<HttpResponse, Failure> {
        // A server may answer and close before it has read everything (431): the response then counts.
        let unsent = self.link.write(octets, deadline).err();
        let mut buffer = vec![0; WRITE_LEN];
        loop {
            if let Some((response, taken)) = parse_response(&self.received, head_only, false)? {
                self.received.drain(..taken);
                return Ok(response);
            }
            match self.link.read(&mut buffer, deadline) {
                Ok(0) => {
                    let whole = parse_response(&self.received, head_only, true)?;
                    self.received.clear();
                    return whole.map(|(response, _)| response).ok_or(Failure::Closed);
                }
                Ok(len) => self.received.extend(buffer.get(..len).unwrap_or_default()),
                Err(failure) => return Err(unsent.unwrap_or(failure)),
            }
        }
    }
}
