// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace of a run: one pcapng file, one interface per tap, readable by Wireshark at any moment.
//!
//! Every packet is one `write()`, so a crash leaves a file that ends between two packets. Taps never fail:
//! the first write error is kept and reported when the trace is closed, because a full disk must not
//! disturb what is being measured.
//!
//! ```text
//! tshark -r run.pcapng -d udp.port==7259,sml -Y 'frame.comment contains "MET-01"'
//! ```

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bench_timing::BenchClock;
use smgw_units::Nanos;

use crate::packet::{self, ACK, FIN, PSH, RST, SYN};
use crate::pcapng::{self, LINKTYPE_ETHERNET, LINKTYPE_RAW, LINKTYPE_RTAC_SERIAL};

pub use crate::pcapng::Direction;

/// UDP port that carries SML files in a trace: `tshark -d udp.port==7259,sml`.
pub const SML_UDP_PORT: u16 = 7_259;
/// Payload bytes recorded per TCP conversation unless set otherwise.
pub const TCP_CAP: u64 = 256 * 1024;

/// The trace; clones write to the same file.
#[derive(Clone, Debug)]
pub struct Trace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: BenchClock,
    writer: Mutex<Writer>,
    conversations: Mutex<Vec<Weak<Conversation>>>,
}

#[derive(Debug)]
struct Writer {
    file: File,
    interfaces: HashMap<(String, u16), u32>,
    mark: Option<String>,
    packets: u64,
    trouble: Option<io::Error>,
    closed: bool,
}

impl Trace {
    /// Creates the file, which must not exist.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn create(path: &Path, clock: &BenchClock) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        let application = concat!("smgw-bench ", env!("CARGO_PKG_VERSION"));
        file.write_all(&pcapng::section_header(application))?;
        Ok(Self {
            shared: Arc::new(Shared {
                clock: clock.clone(),
                writer: Mutex::new(Writer {
                    file,
                    interfaces: HashMap::new(),
                    mark: None,
                    packets: 0,
                    trouble: None,
                    closed: false,
                }),
                conversations: Mutex::new(Vec::new()),
            }),
        })
    }

    /// Puts a comment such as `case MET-01 step 3` on every following packet of every tap.
    pub fn mark(&self, mark: Option<&str>) {
        self.shared.writer().mark = mark.map(str::to_owned);
    }

    /// A tap on a serial line.
    pub fn serial(&self, name: &str) -> SerialTap {
        let interface = self
            .shared
            .interface(name, LINKTYPE_RTAC_SERIAL, "serial line");
        SerialTap {
            shared: self.shared.clone(),
            interface,
        }
    }

    /// A tap for whole SML files, transport framing included.
    pub fn sml(&self, name: &str) -> SmlTap {
        let interface = self
            .shared
            .interface(name, LINKTYPE_RAW, "SML files in synthetic UDP");
        SmlTap {
            shared: self.shared.clone(),
            interface,
        }
    }

    /// A tap on a network of emulated boards, whole Ethernet frames.
    pub fn ethernet(&self, name: &str) -> EthernetTap {
        let interface =
            self.shared
                .interface(name, LINKTYPE_ETHERNET, "Ethernet of emulated boards");
        EthernetTap {
            shared: self.shared.clone(),
            interface,
        }
    }

    /// A tap on one TCP conversation; conversations of one name share an interface. Records the first
    /// [`TCP_CAP`] bytes of payload and counts the rest.
    pub fn tcp(&self, name: &str, client: SocketAddr, server: SocketAddr) -> TcpTap {
        self.tcp_capped(name, client, server, TCP_CAP)
    }

    /// As [`Self::tcp`] with another number of payload bytes to record.
    pub fn tcp_capped(
        &self,
        name: &str,
        client: SocketAddr,
        server: SocketAddr,
        cap: u64,
    ) -> TcpTap {
        let interface = self
            .shared
            .interface(name, LINKTYPE_RAW, "TCP with synthetic headers");
        let (client, server) = packet::same_family(client, server);
        let conversation = Arc::new(Conversation {
            shared: Arc::downgrade(&self.shared),
            interface,
            state: Mutex::new(Flow {
                ends: [client, server],
                seq: [0, 0],
                finished: [false, false],
                open: false,
                last: Nanos(0),
                room: cap,
                cap,
                elided: [0, 0],
                noted: false,
            }),
        });
        let mut all = lock(&self.shared.conversations);
        all.retain(|known| known.strong_count() > 0);
        all.push(Arc::downgrade(&conversation));
        TcpTap { conversation }
    }

    /// Packets written so far.
    pub fn packets(&self) -> u64 {
        self.shared.writer().packets
    }

    /// Notes what was elided in open conversations, brings the file to disk and ignores later packets.
    ///
    /// # Errors
    /// The first write error of the whole run.
    pub fn close(&self) -> io::Result<()> {
        let open = std::mem::take(&mut *lock(&self.shared.conversations));
        for conversation in open.iter().filter_map(Weak::upgrade) {
            conversation.note_elided();
        }
        let mut writer = self.shared.writer();
        writer.closed = true;
        match writer.trouble.take() {
            Some(error) => Err(error),
            None => writer.file.sync_data(),
        }
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        lock(&self.writer)
    }

    fn interface(&self, name: &str, linktype: u16, description: &str) -> u32 {
        let mut writer = self.writer();
        let next = writer.interfaces.len() as u32;
        let number = *writer
            .interfaces
            .entry((name.to_owned(), linktype))
            .or_insert(next);
        if number == next {
            writer.put(&pcapng::interface(linktype, name, description));
        }
        number
    }

    fn packet(
        &self,
        interface: u32,
        at: Nanos,
        data: &[u8],
        original: usize,
        direction: Direction,
        comment: Option<&str>,
    ) {
        let utc = self.clock.utc_of(at).0;
        let mut writer = self.writer();
        let comment = match (writer.mark.as_deref(), comment) {
            (Some(mark), Some(comment)) => Some(format!("{mark}: {comment}")),
            (mark, comment) => mark.or(comment).map(str::to_owned),
        };
        let block = pcapng::packet(
            interface,
            utc,
            data,
            original,
            direction,
            comment.as_deref(),
        );
        writer.put(&block);
        writer.packets += 1;
    }
}

impl Writer {
    fn put(&mut self, block: &[u8]) {
        // After a failed write the file may end inside a block; more would not be found behind it.
        if self.closed || self.trouble.is_some() {
            return;
        }
        self.trouble = self.file.write_all(block).err();
    }
}

/// What happened on a serial line besides data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SerialEvent {
    /// Control lines changed.
    StatusChange,
    /// A character without stop bit.
    FramingError,
    /// A character with wrong parity.
    ParityError,
    /// The line was held low.
    Break,
    /// The receiver lost characters.
    Overflow,
}

/// A tap on a serial line; writes LINKTYPE_RTAC_SERIAL.
#[derive(Clone, Debug)]
pub struct SerialTap {
    shared: Arc<Shared>,
    interface: u32,
}

impl SerialTap {
    /// Bytes that reached the bench; `at` is the stamp taken next to `read()`.
    pub fn rx(&self, at: Nanos, bytes: &[u8]) {
        self.write(at, DATA_RX_START, bytes, Direction::Inbound, None);
    }

    /// Bytes the bench sent; `at` is the stamp taken before `write()`.
    pub fn tx(&self, at: Nanos, bytes: &[u8]) {
        self.write(at, DATA_TX_START, bytes, Direction::Outbound, None);
    }

    /// An event of the line.
    pub fn event(&self, at: Nanos, event: SerialEvent) {
        let code = match event {
            SerialEvent::StatusChange => 0,
            SerialEvent::FramingError => 7,
            SerialEvent::ParityError => 8,
            SerialEvent::Break => 9,
            SerialEvent::Overflow => 10,
        };
        self.write(at, code, &[], Direction::Inbound, None);
    }

    /// Data that never reached the bench's records, with the reason, e.g. a vanished adapter.
    pub fn loss(&self, at: Nanos, reason: &str) {
        self.write(at, CAPTURE_DATA_LOSS, &[], Direction::Inbound, Some(reason));
    }

    fn write(
        &self,
        at: Nanos,
        event: u8,
        bytes: &[u8],
        direction: Direction,
        comment: Option<&str>,
    ) {
        let utc = self.shared.clock.utc_of(at).0;
        let micros = utc.0.rem_euclid(1_000_000_000) / 1_000;
        for (index, chunk) in chunks(bytes, MAX_DATAGRAM).enumerate() {
            let mut data = Vec::with_capacity(12 + chunk.len());
            data.extend((utc.seconds() as u32).to_be_bytes());
            data.extend((micros as u32).to_be_bytes());
            // A pseudo terminal has no control lines; none are claimed to be up.
            data.extend([event, 0, 0, 0]);
            data.extend(chunk);
            let comment = if index == 0 {
                comment
            } else {
                Some("continued")
            };
            let length = data.len();
            self.shared
                .packet(self.interface, at, &data, length, direction, comment);
        }
    }
}

/// A tap on an Ethernet; writes LINKTYPE_ETHERNET.
#[derive(Clone, Debug)]
pub struct EthernetTap {
    shared: Arc<Shared>,
    interface: u32,
}

impl EthernetTap {
    /// One frame from the destination address on, without check sequence; `direction` as its station sees it.
    pub fn frame(&self, at: Nanos, direction: Direction, frame: &[u8]) {
        let kept = frame.get(..MAX_DATAGRAM).unwrap_or(frame);
        self.shared
            .packet(self.interface, at, kept, frame.len(), direction, None);
    }
}

/// A tap for SML files; writes them as UDP so that Wireshark's dissector takes them.
#[derive(Clone, Debug)]
pub struct SmlTap {
    shared: Arc<Shared>,
    interface: u32,
}

impl SmlTap {
    /// One complete file with its `1b1b1b1b 01010101` framing.
    pub fn frame(&self, at: Nanos, direction: Direction, bytes: &[u8]) {
        let meter = SocketAddr::from((METER, SML_UDP_PORT));
        let bench = SocketAddr::from((BENCH, SML_UDP_PORT));
        let (from, to) = match direction {
            Direction::Outbound => (bench, meter),
            Direction::Inbound | Direction::Unknown => (meter, bench),
        };
        let kept = bytes.get(..MAX_DATAGRAM).unwrap_or(bytes);
        let comment = (kept.len() < bytes.len()).then_some("file cut to fit one datagram");
        let data = packet::udp(from, to, kept);
        let original = data.len() + bytes.len() - kept.len();
        self.shared
            .packet(self.interface, at, &data, original, direction, comment);
    }
}

/// One end of a TCP conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The end that connected.
    Client,
    /// The end that accepted.
    Server,
}

impl Side {
    fn index(self) -> usize {
        self as usize
    }

    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A tap on one TCP conversation; clones record into the same one. Sequence numbers count recorded bytes
/// only, so analysers see no gap where bytes were elided; a remark at the end says how many were.
#[derive(Clone, Debug)]
pub struct TcpTap {
    conversation: Arc<Conversation>,
}

#[derive(Debug)]
struct Conversation {
    shared: Weak<Shared>,
    interface: u32,
    state: Mutex<Flow>,
}

#[derive(Debug)]
struct Flow {
    /// Client and server.
    ends: [SocketAddr; 2],
    /// Next sequence number of each side.
    seq: [u32; 2],
    /// Whether each side has sent its FIN, or the conversation was reset.
    finished: [bool; 2],
    open: bool,
    /// Stamps of one conversation never run backwards.
    last: Nanos,
    /// Payload bytes that may still be recorded.
    room: u64,
    cap: u64,
    elided: [u64; 2],
    noted: bool,
}

impl TcpTap {
    /// The connection is established; writes the three-way handshake. Implied by the first data.
    pub fn opened(&self, at: Nanos) {
        self.conversation.with(at, |_, _| {});
    }

    /// Payload sent by `side`.
    pub fn data(&self, at: Nanos, side: Side, bytes: &[u8]) {
        self.conversation
            .with(at, |flow, out| flow.data(side, bytes, out));
    }

    /// Payload sent by the client.
    pub fn client(&self, at: Nanos, bytes: &[u8]) {
        self.data(at, Side::Client, bytes);
    }

    /// Payload sent by the server.
    pub fn server(&self, at: Nanos, bytes: &[u8]) {
        self.data(at, Side::Server, bytes);
    }

    /// `side` closed its direction (FIN).
    pub fn fin(&self, at: Nanos, side: Side) {
        self.conversation.with(at, |flow, out| {
            if !flow.finished[side.index()] {
                flow.segment(side, FIN | ACK, &[], None, out);
                flow.seq[side.index()] = flow.seq[side.index()].wrapping_add(1);
                flow.finished[side.index()] = true;
                if !flow.finished[side.other().index()] {
                    flow.segment(side.other(), ACK, &[], None, out);
                }
            }
        });
    }

    /// `side` reset the connection (RST).
    pub fn reset(&self, at: Nanos, side: Side) {
        self.conversation.with(at, |flow, out| {
            if flow.finished != [true, true] {
                flow.segment(side, RST | ACK, &[], None, out);
                flow.finished = [true, true];
            }
        });
    }
}

/// A segment and the remark that goes with it.
type Segment = (Side, Vec<u8>, Option<String>);

impl Flow {
    fn segment(
        &self,
        from: Side,
        flags: u8,
        payload: &[u8],
        comment: Option<String>,
        out: &mut Vec<Segment>,
    ) {
        let (near, far) = (from.index(), from.other().index());
        let ack = if flags & ACK == 0 { 0 } else { self.seq[far] };
        let bytes = packet::tcp(
            self.ends[near],
            self.ends[far],
            self.seq[near],
            ack,
            flags,
            payload,
        );
        out.push((from, bytes, comment));
    }

    fn handshake(&mut self, out: &mut Vec<Segment>) {
        self.segment(Side::Client, SYN, &[], None, out);
        self.seq[0] = 1;
        self.segment(Side::Server, SYN | ACK, &[], None, out);
        self.seq[1] = 1;
        self.segment(Side::Client, ACK, &[], None, out);
        self.open = true;
    }

    fn data(&mut self, side: Side, bytes: &[u8], out: &mut Vec<Segment>) {
        let near = side.index();
        // Bytes after the FIN or reset of their side cannot be shown in an ordinary conversation.
        let room = if self.finished[near] { 0 } else { self.room };
        let kept = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        let rest = (bytes.len() - kept) as u64;
        self.room -= kept as u64;
        let first_elision = rest > 0 && self.elided == [0, 0];
        self.elided[near] += rest;
        let kept = bytes.get(..kept).unwrap_or_default();
        let mut left = kept.len();
        for (index, piece) in kept.chunks(MAX_SEGMENT).enumerate() {
            left -= piece.len();
            let comment = (left == 0 && first_elision).then(|| {
                format!(
                    "recording stops here after {} bytes; what follows is counted",
                    self.cap
                )
            });
            let flags = if left == 0 { PSH | ACK } else { ACK };
            self.segment(side, flags, piece, comment, out);
            self.seq[near] = self.seq[near].wrapping_add(piece.len() as u32);
            // Acknowledge often enough that no analyser sees a full window.
            if left == 0 || index % 16 == 15 {
                self.segment(side.other(), ACK, &[], None, out);
            }
        }
    }
}

impl Conversation {
    /// Runs `step` in the open conversation and writes the segments it makes.
    fn with(&self, at: Nanos, step: impl FnOnce(&mut Flow, &mut Vec<Segment>)) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut flow = lock(&self.state);
        let mut segments = Vec::new();
        if !flow.open {
            flow.handshake(&mut segments);
        }
        step(&mut flow, &mut segments);
        flow.last = flow.last.max(at);
        for (from, bytes, comment) in segments {
            let direction = match from {
                Side::Client => Direction::Outbound,
                Side::Server => Direction::Inbound,
            };
            shared.packet(
                self.interface,
                flow.last,
                &bytes,
                bytes.len(),
                direction,
                comment.as_deref(),
            );
        }
    }

    /// Writes once how many bytes were counted instead of recorded.
    fn note_elided(&self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut flow = lock(&self.state);
        if flow.elided == [0, 0] || flow.noted {
            return;
        }
        flow.noted = true;
        let [client, server] = flow.elided;
        let text = format!(
            "{client} bytes from the client and {server} from the server were counted but not recorded"
        );
        let bytes = packet::remark(flow.ends[0], flow.ends[1], &text);
        shared.packet(
            self.interface,
            flow.last,
            &bytes,
            bytes.len(),
            Direction::Unknown,
            Some(&text),
        );
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.note_elided();
    }
}

/// The pieces of `bytes`; one empty piece when there are none.
fn chunks(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    let empty = bytes.is_empty().then_some(bytes);
    empty.into_iter().chain(bytes.chunks(size))
}

/// A poisoned lock still guards sound data here: every critical section leaves it so.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const DATA_TX_START: u8 = 1;
const DATA_RX_START: u8 = 2;
const CAPTURE_DATA_LOSS: u8 = 5;
/// Payload of a segment: fits an ordinary Ethernet path.
const MAX_SEGMENT: usize = 1_400;
/// Payload of a datagram.
const MAX_DATAGRAM: usize = 65_000;
/// Addresses of the synthetic datagrams (RFC 5737, TEST-NET-1).
const METER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const BENCH: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
