// SPDX-License-Identifier: MIT OR Apache-2.0
//! The open channel: bytes both ways, unchanged, each direction ending on its own
//! (catalogue rows PRX-10, PRX-11, PRX-12, PRX-22).
//!
//! A direction reads again only when what it read has gone out, so a slow leg slows the other and
//! memory stays bounded. A leg that breaks ends both at once.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hsm_tls::TlsProfile;
use smgw_socks::FrameState;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::io::SendState;
use super::session::Served;
use crate::defects::Defects;

/// How an open channel can end badly.
#[derive(Debug, Error)]
pub enum Broken {
    /// The CLS broke off.
    #[error("the CLS leg broke: {0}")]
    Cls(io::Error),
    /// The EMT broke off.
    #[error("the EMT leg broke: {0}")]
    Emt(io::Error),
    /// One side ended and the other had nothing more to say, but did not end.
    #[error("half closed and silent")]
    HalfClosed,
    /// A TLS session may not last longer (TR-03116-3 §5).
    #[error("the channel reached the longest session time")]
    SessionLimit,
}

/// Relays between the two legs until both directions have ended. `early` came behind the CONNECT request.
///
/// # Errors
/// [`Broken`]; both legs are dropped then.
pub async fn run<C, E>(
    cls: C,
    send_state: SendState,
    mut emt: E,
    early: &[u8],
    defects: Defects,
) -> Result<Served, Broken>
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    if !early.is_empty() {
        emt.write_all(early).await.map_err(Broken::Emt)?;
        emt.flush().await.map_err(Broken::Emt)?;
    }
    let (cls_reader, cls_writer) = tokio::io::split(cls);
    let (emt_reader, emt_writer) = tokio::io::split(emt);
    let activity = Activity::default();
    let up = Pump {
        from: cls_reader,
        to: emt_writer,
        read: Broken::Cls,
        write: Broken::Emt,
        activity: &activity,
    };
    let down = Pump {
        from: emt_reader,
        to: cls_writer,
        read: Broken::Emt,
        write: Broken::Cls,
        activity: &activity,
    };
    let both = async {
        let up = up.run(early.len() as u64, || {}, Tamper::towards_emt(defects));
        let down = down.run(0, || send_state.set(FrameState::Closing), Tamper::none());
        tokio::try_join!(up, down)
    };
    tokio::select! {
        ended = both => ended.map(|(to_emt, to_cls)| Served { to_emt, to_cls }),
        () = activity.half_closed_and_silent() => Err(Broken::HalfClosed),
        () = sleep(TlsProfile::smgw_cls_server().session_limit()) => Err(Broken::SessionLimit),
    }
}

/// One direction.
struct Pump<'a, R, W> {
    from: R,
    to: W,
    read: fn(io::Error) -> Broken,
    write: fn(io::Error) -> Broken,
    activity: &'a Activity,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pump<'_, R, W> {
    /// Pumps to the end of the stream and passes the end on.
    async fn run(
        mut self,
        mut total: u64,
        before_end: impl FnOnce(),
        mut tamper: Tamper,
    ) -> Result<u64, Broken> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let len = tamper
                .read(&mut self.from, &mut buffer)
                .await
                .map_err(self.read)?;
            let Some(chunk) = buffer.get_mut(..len).filter(|chunk| !chunk.is_empty()) else {
                before_end();
                self.to.shutdown().await.map_err(self.write)?;
                self.activity.ended();
                return Ok(total);
            };
            tamper.touch(total, chunk);
            self.to.write_all(chunk).await.map_err(self.write)?;
            self.to.flush().await.map_err(self.write)?;
            total += len as u64;
            self.activity.moved();
        }
    }
}

/// Watches for a channel that one side has left and the other forgot.
#[derive(Debug, Default)]
struct Activity {
    moves: AtomicU64,
    ended: AtomicUsize,
}

impl Activity {
    fn moved(&self) {
        self.moves.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.moved();
    }

    async fn half_closed_and_silent(&self) {
        let mut seen = (self.moves.load(Ordering::Relaxed), Instant::now());
        loop {
            sleep(HALF_CLOSED_CHECK).await;
            let moves = self.moves.load(Ordering::Relaxed);
            if moves != seen.0 || self.ended.load(Ordering::Relaxed) == 0 {
                seen = (moves, Instant::now());
            } else if seen.1.elapsed() >= LONGEST_HALF_CLOSED_SILENCE {
                return;
            }
        }
    }
}

/// Where seeded defects reach into a channel; nothing without the feature `defects`.
struct Tamper {
    #[cfg(feature = "defects")]
    flip: bool,
    #[cfg(feature = "defects")]
    crosstalk: Option<crate::defects::CrossTalk>,
}

#[cfg(not(feature = "defects"))]
impl Tamper {
    fn none() -> Self {
        Self {}
    }

    fn towards_emt(_: Defects) -> Self {
        Self {}
    }

    async fn read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        from.read(buffer).await
    }

    fn touch(&mut self, _: u64, _: &mut [u8]) {}
}

/// Seeded defects PRX-11 and PRX-12.
#[cfg(feature = "defects")]
impl Tamper {
    fn none() -> Self {
        Self {
            flip: false,
            crosstalk: None,
        }
    }

    fn towards_emt(defects: Defects) -> Self {
        use crate::defects::{CrossTalk, Defect};
        Self {
            flip: defects.has(Defect::BitFlip),
            crosstalk: defects.has(Defect::CrossTalk).then(CrossTalk::join),
        }
    }

    async fn read(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let Some(crosstalk) = &mut self.crosstalk else {
            return from.read(buffer).await;
        };
        tokio::select! {
            read = from.read(buffer) => {
                let len = read?;
                crosstalk.leak(buffer.get(..len).unwrap_or_default());
                Ok(len)
            }
            Some(foreign) = crosstalk.injected() => {
                let len = foreign.len().min(buffer.len());
                if let (Some(to), Some(chunk)) = (buffer.get_mut(..len), foreign.get(..len)) {
                    to.copy_from_slice(chunk);
                }
                Ok(len)
            }
        }
    }

    fn touch(&mut self, before: u64, chunk: &mut [u8]) {
        let at = 5_000_000_u64
            .checked_sub(before)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(byte) = at.and_then(|at| chunk.get_mut(at)).filter(|_| self.flip) {
            *byte ^= 1;
        }
    }
}

/// Four TLS records of full size.
const CHUNK: usize = 64 * 1024;
/// REQ.TA.TLS.Close.90: after a close_notify the peer has 20 s, here counted from its last byte.
const LONGEST_HALF_CLOSED_SILENCE: Duration = Duration::from_secs(20);
const HALF_CLOSED_CHECK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::cls::io::SocksTlsIo;

    type Outcome = tokio::task::JoinHandle<Result<Served, Broken>>;

    /// A CLS and an EMT with a channel open between them.
    fn channel() -> (DuplexStream, DuplexStream, Outcome) {
        let (cls, near_cls) = duplex(1_024);
        let (emt, near_emt) = duplex(1_024);
        let state = SocksTlsIo::new(tokio::io::empty(), &[]).send_state();
        let run = async move { run(near_cls, state, near_emt, b"early", Defects::default()).await };
        (cls, emt, tokio::spawn(run))
    }

    #[tokio::test]
    async fn each_direction_ends_on_its_own() {
        let (mut cls, mut emt, outcome) = channel();
        cls.write_all(b" bird").await.unwrap();
        cls.shutdown().await.unwrap();
        let mut got = String::new();
        emt.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "early bird");
        // The EMT still answers after the CLS has ended its direction.
        let mut back = Vec::new();
        let answer = async {
            emt.write_all(&[7; 5_000]).await.unwrap();
            emt.shutdown().await.unwrap();
        };
        let ((), read) = tokio::join!(answer, cls.read_to_end(&mut back));
        read.unwrap();
        assert_eq!(back, [7; 5_000]);
        let served = outcome.await.unwrap().unwrap();
        assert_eq!((served.to_emt, served.to_cls), (10, 5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_half_channel_ends() {
        let (mut cls, emt, outcome) = channel();
        let began = Instant::now();
        cls.shutdown().await.unwrap();
        assert!(matches!(outcome.await.unwrap(), Err(Broken::HalfClosed)));
        let lasted = began.elapsed().as_secs();
        assert!((20..=22).contains(&lasted), "{lasted} s");
        drop(emt);
    }

    #[tokio::test]
    async fn a_broken_leg_ends_the_other() {
        let (near, far) = duplex(64);
        let broken = Arc::new(io::Error::from(io::ErrorKind::ConnectionReset));
        struct Reset(Arc<io::Error>);
        impl AsyncRead for Reset {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Err(self.0.kind().into()))
            }
        }
        let leg = tokio::io::join(Reset(broken), tokio::io::sink());
        let state = SocksTlsIo::new(tokio::io::empty(), &[]).send_state();
        let outcome = run(near, state, leg, &[], Defects::default()).await;
        assert!(matches!(outcome, Err(Broken::Emt(_))));
        let mut far = far;
        assert_eq!(
            far.read(&mut [0; 8]).await.unwrap(),
            0,
            "the other leg is closed"
        );
    }
}
