// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's side of TLS without sockets: records in and out of buffers, one record at a time
//! (TR-03116-3 §5; the profile is the workspace's, see `hsm-tls`).

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls::{ClientConfig, Error};
use smgw_socks::FrameState;

/// The most octets of records that wait to be complete: one record of TLS 1.2 at its longest (RFC 5246 §6.2.3), or the
/// certificate message of a gateway over several records.
pub const MAX_INCOMING: usize = 20 * 1_024;

/// One connection.
pub struct Session {
    connection: UnbufferedClientConnection,
    /// Received and not yet understood.
    incoming: Vec<u8>,
    /// To be sent as soon as the handshake is over.
    plain: Vec<u8>,
    established: bool,
    closing: Closing,
    peer_closed: bool,
}

/// How far our direction is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Closing {
    No,
    Wanted,
    Done,
}

impl Session {
    /// Before the handshake; [`Self::advance`] begins it.
    ///
    /// # Errors
    /// rustls's, for a configuration without anything to negotiate.
    pub fn new(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedClientConnection::new(config, server)?,
            incoming: Vec::new(),
            plain: Vec::new(),
            established: false,
            closing: Closing::No,
            peer_closed: false,
        })
    }

    /// Whether the handshake is over, and nothing of it left to send.
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// Whether the peer sent close_notify.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Whether close_notify was sent.
    pub fn closed(&self) -> bool {
        self.closing == Closing::Done
    }

    /// Sends `plain` with the next [`Self::advance`] after the handshake. Behind [`Self::close`] nothing is sent.
    pub fn write(&mut self, plain: &[u8]) {
        if self.closing == Closing::No {
            self.plain.extend_from_slice(plain);
        }
    }

    /// Ends our direction with the next [`Self::advance`].
    pub fn close(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::Wanted;
        }
    }

    /// Takes octets of records that were received.
    ///
    /// # Errors
    /// [`Error::PeerSentOversizedRecord`] when more than [`MAX_INCOMING`] octets make no record.
    pub fn receive(&mut self, records: &[u8]) -> Result<(), Error> {
        if self.incoming.len() + records.len() > MAX_INCOMING {
            return Err(Error::PeerSentOversizedRecord);
        }
        self.incoming.extend_from_slice(records);
        Ok(())
    }

    /// Room for [`Self::receive`].
    pub fn room(&self) -> usize {
        MAX_INCOMING - self.incoming.len()
    }

    /// Goes as far as it can: plaintext received goes to the end of `received`, records to be sent to `send`, with the
    /// state of the frame that they belong in.
    ///
    /// # Errors
    /// rustls's, when the peer is at fault or refused us; the alert for it went to `send`.
    pub fn advance(
        &mut self,
        received: &mut Vec<u8>,
        mut send: impl FnMut(FrameState, &[u8]),
    ) -> Result<(), Error> {
        let mut failed = None;
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.connection.process_tls_records(&mut self.incoming);
            let mut waits = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record?;
                        discard += record.discard;
                        received.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let state = match self.established {
                        true => FrameState::Data,
                        false => FrameState::Handshake,
                    };
                    let mut record = Vec::new();
                    while let Err(error) = data.encode(&mut record) {
                        match error {
                            EncodeError::InsufficientSize(size) => {
                                record = vec![0; size.required_size];
                            }
                            EncodeError::AlreadyEncoded => break,
                        }
                    }
                    // Behind close_notify nothing follows.
                    if self.closing != Closing::Done {
                        send(state, &record);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    self.established = true;
                    if failed.is_none() && !self.plain.is_empty() {
                        let record = encrypted(|to| traffic.encrypt(&self.plain, to))?;
                        self.plain.clear();
                        send(FrameState::Data, &record);
                    }
                    if self.closing == Closing::Wanted {
                        let alert = close_notify(&mut traffic)?;
                        self.closing = Closing::Done;
                        send(FrameState::Closing, &alert);
                    }
                    waits = true;
                }
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                // The only other states are the end, and early data, which clients never read.
                Ok(_) => waits = true,
                Err(error) => {
                    // The next turn gives the alert; the one after it the error again.
                    waits = failed.is_some();
                    failed = Some(error);
                }
            }
            self.incoming.drain(..discard.min(self.incoming.len()));
            if waits {
                // A full buffer that makes no record never will.
                let full = (self.room() == 0).then_some(Error::PeerSentOversizedRecord);
                return failed.or(full).map_or(Ok(()), Err);
            }
        }
    }
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session")
            .field("established", &self.established)
            .field("closing", &self.closing)
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

fn close_notify(traffic: &mut WriteTraffic<'_, ClientConnectionData>) -> Result<Vec<u8>, Error> {
    encrypted(|to| traffic.queue_close_notify(to))
}

/// Asks for the size first.
fn encrypted(
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<Vec<u8>, Error> {
    let mut records = Vec::new();
    loop {
        match write(&mut records) {
            Ok(len) => {
                records.truncate(len);
                return Ok(records);
            }
            Err(EncryptError::InsufficientSize(size)) if size.required_size > records.len() => {
                records = vec![0; size.required_size];
            }
            Err(_) => return Err(Error::EncryptError),
        }
    }
}
