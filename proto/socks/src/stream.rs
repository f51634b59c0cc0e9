// SPDX-License-Identifier: MIT OR Apache-2.0
//! Blocking adaptor: what is written goes out as SOCKS-TLS frames, what is read comes out of them.
//!
//! Non-blocking transports work too: an interrupted frame is kept and finished by the next `write` or `flush`.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::vec::Vec;

use crate::frame::{FrameDecoder, FrameState, MAX_PAYLOAD, encode_header};

/// Names the state of the frames a [`SocksTlsStream`] sends, from outside the TLS stack that owns the stream.
#[derive(Clone, Debug)]
pub struct StateHandle(Arc<AtomicU8>);

impl StateHandle {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(FrameState::Handshake.code())))
    }

    /// Frames begun from now on carry `state`.
    pub fn set(&self, state: FrameState) {
        self.0.store(state.code(), Ordering::Release);
    }

    /// The state of the next frame.
    pub fn current(&self) -> FrameState {
        // Only `set` stores, and it stores codes.
        FrameState::from_code(self.0.load(Ordering::Acquire)).unwrap_or(FrameState::Handshake)
    }
}

/// `Read + Write` over frames on a transport.
///
/// Reading ends (`Ok(0)`) behind the peer's closing frame, or where the transport ends between two frames. A frame
/// that cannot be accepted is `InvalidData` with a [`crate::FrameError`] inside; an end inside a frame is `UnexpectedEof`.
#[derive(Debug)]
pub struct SocksTlsStream<S> {
    inner: S,
    state: StateHandle,
    decoder: FrameDecoder,
    /// Octets read from the transport and not yet decoded: `rx[rx_at..]`.
    rx: Vec<u8>,
    rx_at: usize,
    /// Payload of a decoded fragment that the caller has not taken: the next `rx_payload` octets of `rx`.
    rx_payload: usize,
    rx_state: FrameState,
    rx_ends_frame: bool,
    closed: bool,
    /// A frame on its way: `tx[tx_at..]`.
    tx: Vec<u8>,
    tx_at: usize,
}

impl<S> SocksTlsStream<S> {
    /// Frames `inner`; sending starts in state 01.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            state: StateHandle::new(),
            decoder: FrameDecoder::new(),
            rx: Vec::new(),
            rx_at: 0,
            rx_payload: 0,
            rx_state: FrameState::Handshake,
            rx_ends_frame: true,
            closed: false,
            tx: Vec::new(),
            tx_at: 0,
        }
    }

    /// Continues on octets that were already read from the transport.
    pub fn with_received(inner: S, received: &[u8]) -> Self {
        Self {
            rx: received.to_vec(),
            ..Self::new(inner)
        }
    }

    /// A handle to switch the state of the frames sent.
    pub fn state_handle(&self) -> StateHandle {
        self.state.clone()
    }

    /// State of the frame that the last octets read came from.
    pub fn received_state(&self) -> FrameState {
        self.rx_state
    }

    /// Whether the peer's closing frame has come.
    pub fn peer_closed(&self) -> bool {
        self.closed
    }

    /// Whether a frame waits for the transport to take it.
    pub fn has_unsent(&self) -> bool {
        self.tx_at < self.tx.len()
    }

    /// The transport.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The transport; octets sent here bypass the framing.
    pub fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the transport back; what was read ahead is lost.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Write> SocksTlsStream<S> {
    /// Sends what is left of the running frame.
    fn send(&mut self) -> io::Result<()> {
        while let Some(rest) = self.tx.get(self.tx_at..).filter(|rest| !rest.is_empty()) {
            match self.inner.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.tx_at += sent,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.tx.clear();
        self.tx_at = 0;
        Ok(())
    }

    /// Begins a frame with `payload`, which must fit one, and sends as much as the transport takes.
    fn begin(&mut self, payload: &[u8]) -> io::Result<()> {
        // The callers cut payloads to MAX_PAYLOAD.
        self.tx
            .extend(encode_header(self.state.current(), payload.len() as u16));
        self.tx.extend(payload);
        match self.send() {
            // The frame is kept: its octets count as written.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Sends an empty closing frame, for an end without close_notify.
    ///
    /// # Errors
    /// Those of the transport.
    pub fn send_empty_closing_frame(&mut self) -> io::Result<()> {
        self.send()?;
        self.state.set(FrameState::Closing);
        self.begin(&[])
    }
}

impl<S: Write> Write for SocksTlsStream<S> {
    fn write(&mut self, payload: &[u8]) -> io::Result<usize> {
        self.send()?;
        if payload.is_empty() {
            return Ok(0);
        }
        let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
        self.begin(payload)?;
        Ok(payload.len())
    }

    /// One frame for all slices, so that a TLS flight costs one system call.
    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.send()?;
        let mut payload = Vec::new();
        for slice in slices {
            let room = MAX_PAYLOAD - payload.len();
            payload.extend(slice.get(..room).unwrap_or(slice));
        }
        if payload.is_empty() {
            return Ok(0);
        }
        self.begin(&payload)?;
        Ok(payload.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.inner.flush()
    }
}

impl<S: Read> Read for SocksTlsStream<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            if self.rx_payload > 0 {
                let len = self.rx_payload.min(out.len());
                let from = self
                    .rx
                    .get(self.rx_at..self.rx_at + len)
                    .unwrap_or_default();
                if let Some(to) = out.get_mut(..from.len()) {
                    to.copy_from_slice(from);
                }
                self.rx_at += len;
                self.rx_payload -= len;
                self.end_of_fragment();
                return Ok(len);
            }
            if self.closed {
                return Ok(0);
            }
            let mut input = self.rx.get(self.rx_at..).unwrap_or_default();
            let before = input.len();
            let fragment = self
                .decoder
                .decode(&mut input)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let taken = before - input.len();
            match fragment {
                Some(fragment) => {
                    self.rx_payload = fragment.payload.len();
                    self.rx_state = fragment.state;
                    self.rx_ends_frame = fragment.ends_frame;
                    // What the decoder took ends with the payload.
                    self.rx_at += taken - self.rx_payload;
                    self.end_of_fragment();
                }
                None => {
                    self.rx.resize(READ_LEN, 0);
                    self.rx_at = 0;
                    let received = self.inner.read(&mut self.rx);
                    self.rx.truncate(*received.as_ref().unwrap_or(&0));
                    if received? == 0 {
                        return if self.decoder.at_frame_limit() {
                            Ok(0)
                        } else {
                            Err(io::ErrorKind::UnexpectedEof.into())
                        };
                    }
                }
            }
        }
    }
}

impl<S> SocksTlsStream<S> {
    fn end_of_fragment(&mut self) {
        if self.rx_payload == 0 && self.rx_ends_frame && self.rx_state == FrameState::Closing {
            self.closed = true;
        }
    }
}

/// One read takes a largest TLS record and its frame.
const READ_LEN: usize = 18 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::frame::FrameError;

    /// A transport with scripted reads and a limit on what each write takes (0: would block).
    #[derive(Default)]
    struct Script {
        reads: VecDeque<Vec<u8>>,
        write_limits: VecDeque<usize>,
        written: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(mut chunk) = self.reads.pop_front() else {
                return Ok(0);
            };
            let rest = chunk.split_off(chunk.len().min(out.len()));
            if !rest.is_empty() {
                self.reads.push_front(rest);
            }
            out[..chunk.len()].copy_from_slice(&chunk);
            Ok(chunk.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let limit = self.write_limits.pop_front().unwrap_or(usize::MAX);
            if limit == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = limit.min(bytes.len());
            self.written.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reading(reads: &[&[u8]]) -> SocksTlsStream<Script> {
        SocksTlsStream::new(Script {
            reads: reads.iter().map(|chunk| chunk.to_vec()).collect(),
            ..Script::default()
        })
    }

    #[test]
    fn writes_carry_the_state_of_the_handle() {
        let mut stream = SocksTlsStream::new(Script::default());
        let handle = stream.state_handle();
        stream.write_all(&[0x16]).unwrap();
        handle.set(FrameState::Data);
        stream.write_all(b"ab").unwrap();
        handle.set(FrameState::Closing);
        stream.write_all(&[0x15]).unwrap();
        assert_eq!(
            stream.inner().written,
            [1, 1, 0, 1, 0x16, 1, 3, 0, 2, b'a', b'b', 1, 4, 0, 1, 0x15]
        );
    }

    #[test]
    fn reading_ends_behind_the_closing_frame() {
        let mut stream = reading(&[&[1, 3, 0, 1, b'x', 1, 4], &[0, 2, 0x15, 3, 1, 3]]);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, [b'x', 0x15, 3]);
        assert!(stream.peer_closed());
        assert_eq!(stream.received_state(), FrameState::Closing);
        let mut empty = reading(&[&[1, 4, 0, 0]]);
        assert_eq!(empty.read(&mut [0; 4]).unwrap(), 0);
        assert!(empty.peer_closed());
    }

    #[test]
    fn a_cut_frame_and_a_wrong_frame_are_errors() {
        let mut cut = reading(&[&[1, 3, 0, 2, b'x']]);
        assert_eq!(cut.read(&mut [0; 4]).unwrap(), 1);
        assert_eq!(
            cut.read(&mut [0; 4]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let error = reading(&[&[1, 7]]).read(&mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            error.get_ref().unwrap().downcast_ref(),
            Some(&FrameError::State(7))
        );
    }

    #[test]
    fn an_interrupted_frame_is_finished_later() {
        let script = Script {
            write_limits: [3, 0, 0, 1, 0].into(),
            ..Script::default()
        };
        let mut stream = SocksTlsStream::new(script);
        assert_eq!(stream.write(b"abc").unwrap(), 3);
        assert!(stream.has_unsent());
        assert_eq!(
            stream.write(b"d").unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(
            stream.flush().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        stream.flush().unwrap();
        assert!(!stream.has_unsent());
        assert_eq!(stream.inner().written, [1, 1, 0, 3, b'a', b'b', b'c']);
    }

    #[test]
    fn octets_read_before_the_framing_count() {
        let mut stream = SocksTlsStream::with_received(Script::default(), &[1, 1, 0, 1, 7]);
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        assert_eq!(octet, [7]);
    }

    #[test]
    fn a_long_write_is_cut_to_the_longest_frame() {
        let mut stream = SocksTlsStream::new(Script::default());
        assert_eq!(
            stream.write(&vec![0; MAX_PAYLOAD + 5]).unwrap(),
            MAX_PAYLOAD
        );
        assert_eq!(stream.inner().written[..4], [1, 1, 0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..20),
            cut in 1usize..30,
            take in 1usize..30,
        ) {
            let mut sender = SocksTlsStream::new(Script::default());
            for payload in &writes {
                sender.write_all(payload).unwrap();
            }
            let wire = sender.into_inner().written;
            let mut receiver = reading(&wire.chunks(cut).collect::<Vec<_>>());
            let mut all = Vec::<u8>::new();
            let mut out = vec![0; take];
            loop {
                match receiver.read(&mut out).unwrap() {
                    0 => break,
                    len => all.extend(&out[..len]),
                }
            }
            prop_assert_eq!(all, writes.concat());
        }
    }
}
