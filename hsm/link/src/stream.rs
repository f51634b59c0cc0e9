// SPDX-License-Identifier: MIT OR Apache-2.0
//! Byte streams with a limit on how long a read or a write may take.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What a link runs over.
pub trait Stream: Read + Write + Send {
    /// How long one read or write may block; `None` is for ever.
    ///
    /// # Errors
    /// The operating system's.
    fn set_patience(&self, limit: Option<Duration>) -> io::Result<()>;
}

macro_rules! sockets {
    ($($socket:ty),*) => {$(
        impl Stream for $socket {
            fn set_patience(&self, limit: Option<Duration>) -> io::Result<()> {
                self.set_read_timeout(limit)?;
                self.set_write_timeout(limit)
            }
        }
    )*};
}

sockets!(TcpStream, UnixStream);

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn set_patience(&self, limit: Option<Duration>) -> io::Result<()> {
        (**self).set_patience(limit)
    }
}

/// Until when something has to be done; `None` is for ever.
pub(crate) type Until = Option<Instant>;

/// Reads exactly `out`, however slowly it trickles in, but never beyond `until`.
pub(crate) fn read_exact(
    stream: &mut (impl Stream + ?Sized),
    mut out: &mut [u8],
    until: Until,
) -> io::Result<()> {
    while !out.is_empty() {
        wait_no_longer(stream, until)?;
        match stream.read(out) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => out = out.get_mut(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, but never beyond `until`.
pub(crate) fn write_all(
    stream: &mut (impl Stream + ?Sized),
    mut bytes: &[u8],
    until: Until,
) -> io::Result<()> {
    while !bytes.is_empty() {
        wait_no_longer(stream, until)?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => bytes = bytes.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    stream.flush()
}

fn wait_no_longer(stream: &(impl Stream + ?Sized), until: Until) -> io::Result<()> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    if left.is_some_and(|left| left.is_zero()) {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_patience(left)
}
