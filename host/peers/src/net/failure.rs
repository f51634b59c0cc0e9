// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a step on a network leg can fail, as the peer saw it.

use std::io;

use thiserror::Error;

use super::alert::Alert;
use super::http::HttpError;

/// Why a step did not succeed. Mostly a finding about the other end, not an error of the bench.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Failure {
    /// The other end sent a fatal TLS alert.
    #[error("peer sent the fatal alert {0}")]
    Alert(Alert),
    /// The other end refused the TCP connection.
    #[error("peer refused the connection")]
    Refused,
    /// The other end closed the connection, in order but before the step was done.
    #[error("peer closed the connection")]
    Closed,
    /// The other end broke the connection (RST).
    #[error("peer reset the connection")]
    Reset,
    /// The deadline passed.
    #[error("peer did not answer in time")]
    Timeout,
    /// We refused what the other end did in TLS, an unexpected certificate for instance.
    #[error("peer's TLS is not acceptable: {0}")]
    Tls(String),
    /// The other end broke the protocol below or above TLS: frames, SOCKS.
    #[error("peer broke the protocol: {0}")]
    Protocol(String),
    /// The other end's HTTP response cannot be read.
    #[error("peer's HTTP response is not acceptable: {0}")]
    Http(#[from] HttpError),
    /// The operation was called off from our side.
    #[error("called off")]
    CalledOff,
    /// The bench's own operating system failed.
    #[error("failed to use a socket: {0}")]
    Io(String),
}

impl Failure {
    /// The fatal alert, if that is what happened.
    pub fn alert(&self) -> Option<Alert> {
        match self {
            Self::Alert(alert) => Some(*alert),
            _ => None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind;
        match error.kind() {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                Self::Reset
            }
            ErrorKind::UnexpectedEof => Self::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Self::Timeout,
            ErrorKind::InvalidData => Self::Protocol(error.to_string()),
            _ => Self::Io(error.to_string()),
        }
    }
}

impl From<rustls::Error> for Failure {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(description) => Self::Alert(Alert(description.into())),
            other => Self::Tls(other.to_string()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        use io::ErrorKind;
        let kind = match failure {
            Failure::Refused => ErrorKind::ConnectionRefused,
            Failure::Closed => ErrorKind::UnexpectedEof,
            Failure::Reset => ErrorKind::ConnectionReset,
            Failure::Timeout => ErrorKind::TimedOut,
            Failure::Alert(_) | Failure::Tls(_) | Failure::Protocol(_) | Failure::Http(_) => {
                ErrorKind::InvalidData
            }
            Failure::CalledOff | Failure::Io(_) => ErrorKind::Other,
        };
        Self::new(kind, failure)
    }
}
