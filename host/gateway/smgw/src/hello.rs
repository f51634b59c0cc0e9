// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks at the version of a ClientHello before TLS does (TR-03116-3 §4.1.2: nothing below TLS 1.2).
//!
//! rustls misses the `signature_algorithms` extension, which TLS 1.1 does not have, before it looks
//! at the version, and answers `handshake_failure`. The alert that tells the client what is wrong is
//! `protocol_version`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// A connection whose first bytes were looked at and are read once more.
#[derive(Debug)]
pub struct Screened<S> {
    inner: S,
    first: Vec<u8>,
    replayed: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Screened<S> {
    /// Reads up to the version of the ClientHello; what is no ClientHello is left to TLS.
    ///
    /// # Errors
    /// `Unsupported` when the version is below TLS 1.2; the alert has been sent, unless `silently`.
    pub async fn new(mut inner: S, silently: bool) -> io::Result<Self> {
        let mut first = Vec::with_capacity(TO_VERSION);
        while first.len() < TO_VERSION {
            let missing = (TO_VERSION - first.len()) as u64;
            if (&mut inner).take(missing).read_buf(&mut first).await? == 0 {
                break;
            }
        }
        if let Some(version) = old_version(&first) {
            if !silently {
                let [major, minor] = version;
                inner
                    .write_all(&[ALERT, major, minor, 0, 2, FATAL, PROTOCOL_VERSION])
                    .await?;
            }
            inner.shutdown().await?;
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the client's TLS version is too old",
            ));
        }
        Ok(Self {
            inner,
            first,
            replayed: 0,
        })
    }

    /// The connection itself.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

/// The version of a ClientHello below TLS 1.2: record type 22, record version, length, handshake
/// type 1, length, version.
fn old_version(first: &[u8]) -> Option<[u8; 2]> {
    match *first {
        [
            HANDSHAKE,
            _,
            _,
            _,
            _,
            CLIENT_HELLO,
            _,
            _,
            _,
            major @ 3,
            minor @ 0..=2,
        ] => Some([major, minor]),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.first.get(this.replayed..) {
            Some(rest) if !rest.is_empty() => {
                let len = rest.len().min(out.remaining());
                out.put_slice(rest.get(..len).unwrap_or_default());
                this.replayed += len;
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut this.inner).poll_read(cx, out),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Bytes of a connection up to the end of the version in a ClientHello.
const TO_VERSION: usize = 11;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const ALERT: u8 = 21;
const FATAL: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn screen(first: &[u8], silently: bool) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let (near, mut far) = duplex(64);
        far.write_all(first).await.unwrap();
        far.shutdown().await.unwrap();
        let read = match Screened::new(near, silently).await {
            Ok(mut screened) => {
                let mut all = Vec::new();
                screened.read_to_end(&mut all).await.map(|_| all)
            }
            Err(error) => Err(error),
        };
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).await.unwrap();
        (read, answer)
    }

    #[tokio::test]
    async fn only_old_versions_are_refused() {
        let hello = |minor| [22, 3, 1, 0, 99, 1, 0, 0, 95, 3, minor, 42, 42];
        for minor in 0..3 {
            let (read, answer) = screen(&hello(minor), false).await;
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::Unsupported);
            assert_eq!(answer, [21, 3, minor, 0, 2, 2, 70]);
            assert!(screen(&hello(minor), true).await.1.is_empty());
        }
        for first in [
            hello(3).as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03",
            b"",
        ] {
            let (read, answer) = screen(first, false).await;
            assert_eq!(
                (read.unwrap().as_slice(), answer.as_slice()),
                (first, [].as_slice())
            );
        }
    }
}
