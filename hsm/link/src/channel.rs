// SPDX-License-Identifier: MIT OR Apache-2.0
//! The protected channel: Noise `NNpsk0` over frames of at most 65 535 bytes, each led by its length.
//!
//! `NNpsk0` proves to each side that the other holds the secret, with fresh keys for every connection, so that a secret
//! that leaks later opens no recording.

use std::io;
use std::time::{Duration, Instant};

use hsm_api::{ModuleError, Reason};
use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::stream::{Stream, Until, read_exact, write_all};

/// Why a link ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream broke, or a limit of time passed.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// The other end holds another secret, or is no end of a link.
    #[error("the other end does not hold the link's secret, or is no end of such a link")]
    Stranger,
    /// A frame was altered, repeated or left out on its way.
    #[error("a frame does not belong where it came: it was altered, repeated or left out")]
    Frame,
    /// A message that does not follow the table.
    #[error("a message does not follow the link's table")]
    Message,
    /// A message is longer than a frame can be.
    #[error("a message is longer than a link carries")]
    TooLong,
}

impl LinkError {
    pub(crate) fn timed_out(&self) -> bool {
        matches!(self, Self::Stream(error)
            if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock))
    }
}

impl From<LinkError> for ModuleError {
    fn from(error: LinkError) -> Self {
        let reason = match &error {
            LinkError::TooLong => {
                return ModuleError::caller(error.to_string()).because(Reason::Unsupported);
            }
            LinkError::Stream(_) if error.timed_out() => Reason::Timeout,
            LinkError::Stream(_) => Reason::Gone,
            LinkError::Stranger | LinkError::Frame | LinkError::Message => Reason::Channel,
        };
        ModuleError::transport(format!("link to the security module: {error}")).because(reason)
    }
}

/// A stream on which both ends have proven that they hold the secret.
pub(crate) struct Channel<S> {
    stream: S,
    noise: TransportState,
}

impl<S: Stream> Channel<S> {
    /// Opens the channel as the side that asks.
    pub(crate) fn open(mut stream: S, secret: &Secret, until: Until) -> Result<Self, LinkError> {
        let mut noise = builder(secret)?
            .build_initiator()
            .map_err(|_| LinkError::Stranger)?;
        send_part(&mut noise, &mut stream, until)?;
        // A stranger hangs up here, so the end of the stream means that.
        match take_part(&mut noise, &mut stream, until) {
            Err(LinkError::Stream(error)) if ended(&error) => Err(LinkError::Stranger),
            other => other,
        }?;
        Self::established(stream, noise)
    }

    /// Opens the channel as the side that answers.
    pub(crate) fn accept(mut stream: S, secret: &Secret, until: Until) -> Result<Self, LinkError> {
        let mut noise = builder(secret)?
            .build_responder()
            .map_err(|_| LinkError::Stranger)?;
        take_part(&mut noise, &mut stream, until)?;
        send_part(&mut noise, &mut stream, until)?;
        Self::established(stream, noise)
    }

    fn established(stream: S, noise: HandshakeState) -> Result<Self, LinkError> {
        let noise = noise
            .into_transport_mode()
            .map_err(|_| LinkError::Stranger)?;
        Ok(Self { stream, noise })
    }

    /// Sends one message.
    pub(crate) fn send(&mut self, message: &[u8], until: Until) -> Result<(), LinkError> {
        if message.len() > MAX_MESSAGE {
            return Err(LinkError::TooLong);
        }
        let mut sealed = vec![0; message.len() + TAG];
        let len = self
            .noise
            .write_message(message, &mut sealed)
            .map_err(|_| LinkError::Frame)?;
        send_frame(
            &mut self.stream,
            sealed.get(..len).unwrap_or_default(),
            until,
        )
    }

    /// Takes one message. A frame that has begun has to end within [`FRAME_TIME`].
    pub(crate) fn receive(&mut self, until: Until) -> Result<Zeroizing<Vec<u8>>, LinkError> {
        let sealed = take_frame(&mut self.stream, until)?;
        let mut message = Zeroizing::new(vec![0; sealed.len()]);
        let len = self
            .noise
            .read_message(&sealed, &mut message)
            .map_err(|_| LinkError::Frame)?;
        message.truncate(len);
        Ok(message)
    }
}

fn builder(secret: &Secret) -> Result<Builder<'_>, LinkError> {
    let pattern = PATTERN.parse().map_err(|_| LinkError::Stranger)?;
    Builder::new(pattern)
        .prologue(PROLOGUE)
        .and_then(|builder| builder.psk(0, secret.bytes()))
        .map_err(|_| LinkError::Stranger)
}

fn send_part(
    noise: &mut HandshakeState,
    stream: &mut impl Stream,
    until: Until,
) -> Result<(), LinkError> {
    let mut part = [0; HANDSHAKE];
    let len = noise
        .write_message(&[], &mut part)
        .map_err(|_| LinkError::Stranger)?;
    send_frame(stream, part.get(..len).unwrap_or_default(), until)
}

fn take_part(
    noise: &mut HandshakeState,
    stream: &mut impl Stream,
    until: Until,
) -> Result<(), LinkError> {
    let part = take_frame(stream, until)?;
    noise
        .read_message(&part, &mut [0; HANDSHAKE])
        .map(drop)
        .map_err(|_| LinkError::Stranger)
}

fn send_frame(stream: &mut impl Stream, bytes: &[u8], until: Until) -> Result<(), LinkError> {
    let len = u16::try_from(bytes.len()).map_err(|_| LinkError::TooLong)?;
    let frame = [&len.to_be_bytes(), bytes].concat();
    Ok(write_all(stream, &frame, until)?)
}

fn take_frame(stream: &mut impl Stream, until: Until) -> Result<Vec<u8>, LinkError> {
    let mut len = [0; 2];
    let (first, second) = len.split_at_mut(1);
    read_exact(stream, first, until)?;
    let latest = Instant::now() + FRAME_TIME;
    let until = Some(until.map_or(latest, |until| until.min(latest)));
    read_exact(stream, second, until)?;
    let mut frame = vec![0; u16::from_be_bytes(len).into()];
    read_exact(stream, &mut frame, until)?;
    Ok(frame)
}

fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// The longest message: a Noise message less its tag.
pub const MAX_MESSAGE: usize = 65_535 - TAG;

const TAG: usize = 16;
/// More than either part of the handshake.
const HANDSHAKE: usize = 128;
/// How long a frame may take from its first byte to its last.
const FRAME_TIME: Duration = Duration::from_secs(5);
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// Both ends must mean the same link in the same version.
const PROLOGUE: &[u8] = b"smgw-bench security module link/1";
