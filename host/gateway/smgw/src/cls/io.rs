// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TCP connection whose bytes travel in SOCKS-TLS frames, for the TLS stack on top of it
//! (REQ.SOCKS.ReceiveSocksTlsRecord.10).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use smgw_socks::{FrameDecoder, FrameState, HEADER_LEN, encode_header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Says what the frames sent from now on carry, from outside the TLS stack that owns the connection.
#[derive(Clone, Debug)]
pub struct SendState(Arc<AtomicU8>);

impl SendState {
    /// Frames begun from now on carry `state`.
    pub fn set(&self, state: FrameState) {
        self.0.store(state.code(), Ordering::Release);
    }

    fn current(&self) -> FrameState {
        FrameState::from_code(self.0.load(Ordering::Acquire)).unwrap_or(FrameState::Handshake)
    }
}

/// `AsyncRead + AsyncWrite` over frames on `S`.
///
/// Reading ends behind the peer's closing frame, or where the connection ends between two frames; an
/// end inside a frame is `UnexpectedEof`, a frame that cannot be accepted `InvalidData`.
#[derive(Debug)]
pub struct SocksTlsIo<S> {
    inner: S,
    state: SendState,
    decoder: FrameDecoder,
    received: Box<[u8]>,
    /// What of `received` is not decoded yet.
    undecoded: std::ops::Range<usize>,
    closed: bool,
    /// A frame on its way: `sending[sent..]`.
    sending: Vec<u8>,
    sent: usize,
}

impl<S> SocksTlsIo<S> {
    /// Frames `inner`, beginning with the handshake; `received` was already read from it.
    pub fn new(inner: S, received: &[u8]) -> Self {
        let mut buffer = vec![0; RECEIVE_LEN.max(received.len())].into_boxed_slice();
        if let Some(start) = buffer.get_mut(..received.len()) {
            start.copy_from_slice(received);
        }
        Self {
            inner,
            state: SendState(Arc::new(AtomicU8::new(FrameState::Handshake.code()))),
            decoder: FrameDecoder::new(),
            received: buffer,
            undecoded: 0..received.len(),
            closed: false,
            sending: Vec::new(),
            sent: 0,
        }
    }

    /// A handle on the state of the frames sent.
    pub fn send_state(&self) -> SendState {
        self.state.clone()
    }

    /// The TLS handshake is over: both directions now carry data frames only.
    pub fn end_handshake(&mut self) {
        self.decoder.end_handshake();
        self.state.set(FrameState::Data);
    }
}

impl<S: AsyncWrite + Unpin> SocksTlsIo<S> {
    /// Sends what is left of the running frame.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .sending
            .get(self.sent..)
            .filter(|rest| !rest.is_empty())
        {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.sending.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_begin(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        match self.poll_send(cx) {
            // The frame is kept: its bytes count as written.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(len)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for SocksTlsIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.closed || out.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            // Never decode more than `out` takes, so that no payload has to be kept.
            let limit = this.undecoded.len().min(out.remaining());
            let start = this.undecoded.start;
            let mut input = this.received.get(start..start + limit).unwrap_or_default();
            let fragment = this
                .decoder
                .decode(&mut input)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            this.undecoded.start += limit - input.len();
            match fragment {
                Some(fragment) => {
                    out.put_slice(fragment.payload);
                    this.closed = fragment.ends_frame && fragment.state == FrameState::Closing;
                    if !fragment.payload.is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
                None if !this.undecoded.is_empty() => {}
                None => {
                    let mut buffer = ReadBuf::new(&mut this.received);
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buffer))?;
                    this.undecoded = 0..buffer.filled().len();
                    if this.undecoded.is_empty() {
                        return Poll::Ready(if this.decoder.at_frame_limit() {
                            Ok(())
                        } else {
                            Err(io::ErrorKind::UnexpectedEof.into())
                        });
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SocksTlsIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(payload)])
    }

    /// One frame for all slices, so that a flight of TLS records costs one system call.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        this.sending.extend([0; HEADER_LEN]);
        for slice in slices {
            let room = LONGEST_FRAME - this.sending.len().min(LONGEST_FRAME);
            this.sending
                .extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        let len = this.sending.len() - HEADER_LEN;
        if len == 0 {
            this.sending.clear();
            return Poll::Ready(Ok(0));
        }
        // LONGEST_FRAME keeps the length inside 16 bits.
        let header = encode_header(this.state.current(), len as u16);
        if let Some(start) = this.sending.get_mut(..HEADER_LEN) {
            start.copy_from_slice(&header);
        }
        this.poll_begin(cx, len)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

/// Room for a few TLS records of full size.
const RECEIVE_LEN: usize = 64 * 1024;
/// Header and the longest payload the length field can tell.
const LONGEST_FRAME: usize = HEADER_LEN + smgw_socks::MAX_PAYLOAD;

#[cfg(test)]
mod tests {
    use smgw_socks::FrameError;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn frames_what_is_written_and_unframes_what_is_read() {
        // A pipe of 3 bytes cuts frames everywhere.
        let (near, mut far) = duplex(3);
        let writer = tokio::spawn(async move {
            let mut io = SocksTlsIo::new(near, &[]);
            io.write_all(b"hello").await.unwrap();
            io.end_handshake();
            io.write_all(b"data").await.unwrap();
            io.send_state().set(FrameState::Closing);
            io.write_all(b"bye").await.unwrap();
            io.shutdown().await.unwrap();
        });
        let mut wire = Vec::new();
        far.read_to_end(&mut wire).await.unwrap();
        writer.await.unwrap();
        assert_eq!(
            wire,
            b"\x01\x01\x00\x05hello\x01\x03\x00\x04data\x01\x04\x00\x03bye"
        );

        for cut in 1..wire.len() {
            let (near, mut far) = duplex(64);
            let (front, back) = wire.split_at(cut);
            far.write_all(back).await.unwrap();
            let mut io = SocksTlsIo::new(near, front);
            let mut payload = Vec::new();
            // The connection stays open: the closing frame alone ends the stream.
            io.read_to_end(&mut payload).await.unwrap();
            assert_eq!(payload, b"hellodatabye", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_cut_frame_and_a_wrong_frame_are_errors() {
        let (near, mut far) = duplex(64);
        far.write_all(b"\x01\x01\x00\x05he").await.unwrap();
        drop(far);
        let mut io = SocksTlsIo::new(near, &[]);
        let error = io.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

        let (near, _far) = duplex(64);
        let mut io = SocksTlsIo::new(near, b"\x02\x01\x00\x00");
        let error = io.read(&mut [0; 8]).await.unwrap_err();
        let inside = error
            .get_ref()
            .and_then(|inside| inside.downcast_ref::<FrameError>());
        assert_eq!(inside, Some(&FrameError::Version(2)));
    }
}
