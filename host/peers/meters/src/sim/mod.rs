// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulator: a profile in, bytes and stamps in, transmissions out; no line, no clock, no thread.

mod fault;
pub(crate) mod lmn;
pub(crate) mod local;
mod mbus;
mod player;
mod push;
mod server;
mod sml;
mod text;
mod wmbus;
mod world;

use std::collections::VecDeque;
use std::time::Duration;

use smgw_peers::meters::{LineConfig, garble};
use smgw_units::{Nanos, UtcNanos};

pub use fault::{Fault, FaultError, FaultKind, FaultRule, When};
pub use player::{Player, PlayerError, Port, Pty, Stdout, Tty, play};
pub(crate) use player::{configure_serial, open_serial};
pub use world::{Sample, Shown};

use crate::profile::{Profile, Protocol};
use fault::FaultPlan;
use world::World;

/// Something to be sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmission {
    /// When its first start bit is due.
    pub due: Nanos,
    /// What is sent, one piece after the other.
    pub pieces: Vec<Piece>,
    /// The port is gone for this long after the last piece.
    pub vanish: Option<Duration>,
    /// Speed of the line.
    pub line: LineConfig,
    /// Whether it carries data; otherwise it acknowledges.
    pub data: bool,
    /// What tells this telegram from others: transaction id or access number in hex.
    pub telegram: String,
    /// What it shows.
    pub samples: Vec<Sample>,
    /// When that was sensed.
    pub sampled_at: Nanos,
    /// What is wrong with it.
    pub faults: Vec<&'static str>,
}

/// A run of bytes without a pause.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Piece {
    /// Silence before it.
    pub pause: Duration,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the pace of the line does not hold.
    pub rushed: bool,
}

impl Transmission {
    /// All bytes in order.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|piece| piece.bytes.iter().copied())
            .collect()
    }

    /// When its last stop bit is on the line, if it begins at `start`.
    pub fn end(&self, start: Nanos) -> Nanos {
        self.pieces.iter().fold(start, |at, piece| {
            let length = if piece.rushed {
                Duration::ZERO
            } else {
                self.line.characters(piece.bytes.len())
            };
            at + piece.pause + length
        })
    }
}

/// What a protocol wants to send, before anything goes wrong with it on the line.
#[derive(Clone, Debug)]
struct Frame {
    due: Nanos,
    bytes: Vec<u8>,
    data: bool,
    telegram: String,
    samples: Vec<Sample>,
    sampled_at: Nanos,
    faults: Vec<Fault>,
    places: Places,
    line: LineConfig,
}

/// Where in a frame the things stand that faults attack.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    checksum: Option<usize>,
    header_checksum: Option<usize>,
    length: Option<usize>,
    stop: Option<usize>,
}

/// A protocol: what it sends and when.
trait Machine: Send {
    /// A byte came, its last bit at `at`.
    fn handle_input(&mut self, _world: &mut World, _at: Nanos, _byte: u8) {}

    /// When something is to be sent next.
    fn poll_timeout(&self) -> Option<Nanos>;

    /// What is to be sent once [`Machine::poll_timeout`] is reached.
    fn poll_transmit(&mut self, world: &mut World, now: Nanos) -> Option<Frame>;

    /// The line it speaks and hears on at present, when that changes.
    fn line(&self) -> Option<LineConfig> {
        None
    }
}

/// A meter, or all meters of one line, without the line.
pub struct Simulator {
    machine: Box<dyn Machine>,
    world: World,
    queue: VecDeque<Transmission>,
    /// Held back for the next telegram.
    held: Vec<u8>,
    previous: Vec<u8>,
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator")
            .field("profile", &self.world.profile.name)
            .finish_non_exhaustive()
    }
}

impl Simulator {
    /// Begins at `epoch`, which is `utc`; the same `seed` gives the same course of chance.
    pub fn new(profile: Profile, epoch: Nanos, utc: UtcNanos, seed: u64) -> Self {
        let faults = FaultPlan::new(epoch, profile.faults.clone(), seed);
        let world = World::new(profile, epoch, utc, faults);
        let machine: Box<dyn Machine> = match world.profile.protocol {
            Protocol::SmlPush => Box::new(push::Pusher::new(&world, sml::Composer::new())),
            Protocol::SmlPull => Box::new(server::Pulled::new(&world)),
            Protocol::HdlcLmn => Box::new(lmn::Lmn::new(&world)),
            Protocol::Mbus => Box::new(mbus::Bus::new(&world)),
            Protocol::Wmbus => Box::new(push::Pusher::new(&world, wmbus::Composer::default())),
            Protocol::D0 => Box::new(text::Dialogue::new(&world)),
            Protocol::D0Push | Protocol::P1 => Box::new(push::Pusher::new(&world, text::Composer)),
        };
        Self {
            machine,
            world,
            queue: VecDeque::new(),
            held: Vec::new(),
            previous: Vec::new(),
        }
    }

    /// What it plays.
    pub fn profile(&self) -> &Profile {
        &self.world.profile
    }

    /// The line it speaks and hears on at present.
    pub fn line(&self) -> LineConfig {
        self.machine.line().unwrap_or(self.world.profile.line)
    }

    /// What device number `device` shows at `at`.
    pub fn samples(&self, device: usize, at: Nanos) -> Vec<Sample> {
        self.world.samples(device, at, &[])
    }

    /// A byte came in, its last bit at `at`.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        self.machine.handle_input(&mut self.world, at, byte);
    }

    /// When [`Simulator::poll_transmit`] has something.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match self.queue.front() {
            Some(next) => Some(next.due),
            None => self.machine.poll_timeout(),
        }
    }

    /// What to send once [`Simulator::poll_timeout`] is not after `now`. Its `due` may be later still.
    pub fn poll_transmit(&mut self, now: Nanos) -> Option<Transmission> {
        if self.queue.is_empty()
            && self.machine.poll_timeout().is_some_and(|due| due <= now)
            && let Some(frame) = self.machine.poll_transmit(&mut self.world, now)
        {
            let transmission = self.spoil(frame);
            self.queue.extend(transmission);
        }
        self.queue.pop_front()
    }

    /// Lets a frame go wrong on its way; `None` when nothing of it gets onto the line.
    fn spoil(&mut self, frame: Frame) -> Option<Transmission> {
        let Frame {
            mut due,
            mut bytes,
            data,
            telegram,
            samples,
            sampled_at,
            faults,
            places,
            line,
        } = frame;
        let random = self.world.faults.random();
        let genuine = bytes.clone();
        let mut single = None;
        let mut gap = None;
        let mut vanish = None;
        let mut flood = None;
        let mut merge = false;
        let mut before = Vec::new();
        let mut behind = Vec::new();
        for fault in &faults {
            match fault {
                Fault::Silent | Fault::NoAck => return None,
                Fault::Late(length) => due = due + *length,
                Fault::Duplicate if !self.previous.is_empty() => bytes.clone_from(&self.previous),
                Fault::BadChecksum => invert(&mut bytes, places.checksum),
                Fault::WrongHcs => invert(&mut bytes, places.header_checksum),
                Fault::BadLength => raise(&mut bytes, places.length),
                Fault::BadStop => invert(&mut bytes, places.stop),
                Fault::BitFlip => {
                    let at = random.below(bytes.len());
                    let bit = random.below(8);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << bit;
                    }
                }
                Fault::Truncate(missing) => {
                    let half = bytes.len() / 2;
                    bytes.truncate(if *missing == 0 {
                        half
                    } else {
                        bytes.len().saturating_sub(*missing)
                    });
                }
                Fault::Garbage(count) => before = random.bytes(*count),
                Fault::Trailing(count) => behind = random.bytes(*count),
                Fault::SingleBytes(pause) => single = Some(*pause),
                Fault::Gap(pause) => gap = Some(*pause),
                Fault::Flood(count) => flood = Some(random.bytes(*count)),
                Fault::Vanish(length) => {
                    bytes.truncate(bytes.len() / 2);
                    vanish = Some(*length);
                }
                Fault::Merge => merge = true,
                // Done by the protocol, at the very end, or nothing to repeat yet.
                _ => {}
            }
        }
        if data {
            self.previous = genuine;
        }
        bytes.splice(0..0, before);
        bytes.extend(behind);
        bytes.splice(0..0, std::mem::take(&mut self.held));
        if merge {
            self.held = bytes;
            return None;
        }
        if faults.contains(&Fault::WrongBaud) {
            bytes.iter_mut().for_each(|byte| *byte = garble(*byte));
        }
        let mut pieces = Vec::new();
        pieces.extend(flood.map(|bytes| Piece {
            pause: Duration::ZERO,
            bytes,
            rushed: true,
        }));
        let piece = |pause, bytes: &[u8]| Piece {
            pause,
            bytes: bytes.to_vec(),
            rushed: false,
        };
        match (single, gap) {
            (Some(pause), _) => pieces.extend(bytes.chunks(1).map(|byte| piece(pause, byte))),
            (None, Some(pause)) => {
                let (first, second) = bytes.split_at(bytes.len() / 2);
                pieces.extend([piece(Duration::ZERO, first), piece(pause, second)]);
            }
            (None, None) => pieces.push(piece(Duration::ZERO, &bytes)),
        }
        let faults = faults.iter().map(Fault::name).collect();
        Some(Transmission {
            due,
            pieces,
            vanish,
            line,
            data,
            telegram,
            samples,
            sampled_at,
            faults,
        })
    }
}

fn invert(bytes: &mut [u8], place: Option<usize>) {
    if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
        *byte = !*byte;
    }
}

fn raise(bytes: &mut [u8], place: Option<usize>) {
    if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
        *byte = byte.wrapping_add(1);
    }
}
