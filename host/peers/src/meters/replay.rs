// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captures of real meters, put back onto a line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use smgw_mbus::slave::Config as SlaveConfig;
use smgw_mbus::{Device, Manufacturer, Telegram, Timing};
use smgw_sml::transport::{Event, Framer};
use smgw_sml::{File, Quirks};
use smgw_units::Nanos;

use super::MbusFaults;
use super::clock::Clock;
use super::line::{Line, LineConfig, Tap};
use super::mbus::{Answer, FaultSource, run};
use super::worker::{FrameStamp, MeterError, Shared, Worker, line_of_meter};

/// What is replayed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Recording {
    /// Bytes of a pushing SML meter: pushed one transmission after the other.
    Sml {
        /// The capture; it may begin and end inside a transmission.
        capture: Vec<u8>,
        /// Silence between two transmissions.
        pause: Duration,
    },
    /// Frames of an M-Bus slave: each new data request at `address` gets the next one, whatever it says.
    Mbus {
        /// The frames.
        frames: Vec<Vec<u8>>,
        /// Primary address the slave answers at.
        address: u8,
    },
}

impl Recording {
    /// An SML capture with a pause of one second.
    pub fn sml(capture: Vec<u8>) -> Self {
        Self::Sml {
            capture,
            pause: Duration::from_secs(1),
        }
    }

    /// One M-Bus frame per file, as hexadecimal bytes separated by white space.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else than hexadecimal bytes.
    pub fn mbus_files(files: &[&Path], address: u8) -> std::io::Result<Self> {
        let mut frames = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(file)?;
            let bytes = text
                .split_whitespace()
                .map(|word| u8::from_str_radix(word, 16))
                .collect::<Result<_, _>>()
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
            frames.push(bytes);
        }
        Ok(Self::Mbus { frames, address })
    }
}

/// A meter that repeats a recording.
#[derive(Debug)]
pub struct ReplayMeter {
    worker: Worker<Control>,
}

line_of_meter!(ReplayMeter);

/// Replay knows no faults but those of the recording.
#[derive(Debug)]
struct Control;

impl FaultSource for Control {
    fn next(&mut self) -> MbusFaults {
        MbusFaults::default()
    }

    fn lasting(&self) -> MbusFaults {
        MbusFaults::default()
    }
}

impl ReplayMeter {
    /// Replays on a new pseudo terminal: once, or `again` and again.
    ///
    /// # Errors
    /// When the host has no pseudo terminal or thread to give.
    pub fn start(
        recording: Recording,
        config: LineConfig,
        again: bool,
        tap: Option<Arc<dyn Tap>>,
    ) -> Result<Self, MeterError> {
        let line = Line::open(config, tap)?;
        let worker =
            Worker::spawn(
                "replay-meter",
                line,
                Control,
                move |line, shared| match recording {
                    Recording::Sml { capture, pause } => {
                        push(&line, shared, &capture, pause, again)
                    }
                    Recording::Mbus { frames, address } => {
                        answer(line, shared, &frames, address, again);
                    }
                },
            )?;
        Ok(Self { worker })
    }
}

fn push(line: &Line, shared: &Shared<Control>, capture: &[u8], pause: Duration, again: bool) {
    let chunks = transmissions(capture);
    // Nobody would hear the beginning of a recording that is played once.
    while !shared.stopped() && !line.is_connected() {
        shared.wait(Some(line), None);
    }
    let mut due = Clock::now() + Duration::from_millis(10);
    while !shared.stopped() {
        for chunk in &chunks {
            while !shared.stopped() && Clock::now() < due {
                shared.wait(None, Some(due));
            }
            let Ok(sent) = line.send(due, chunk, || shared.stopped()) else {
                return;
            };
            let stamp = FrameStamp {
                telegram: transaction_id(chunk),
                scheduled: due,
                first: sent.first,
                last: sent.last,
                bytes: chunk.len(),
                registers: Vec::new(),
                sampled_at: due,
                delivered: sent.delivered,
                faulty: false,
            };
            line.notify(&stamp);
            shared.log(stamp);
            due = sent.last + pause;
        }
        if !again || chunks.is_empty() {
            break;
        }
    }
    // The line stays plugged in until the owner says otherwise.
    while !shared.stopped() {
        shared.wait(None, None);
    }
}

/// Splits a capture at its start sequences.
fn transmissions(capture: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    let mut rest = capture;
    while !rest.is_empty() {
        let next = rest
            .windows(START.len())
            .skip(1)
            .position(|window| window == START)
            .map_or(rest.len(), |at| at + 1);
        let (chunk, after) = rest.split_at(next);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// Hex transaction id of a transmission, empty when it is damaged.
fn transaction_id(chunk: &[u8]) -> String {
    let mut framer = Framer::new();
    for byte in chunk {
        if let Some(Event::File { payload, .. }) = framer.push(*byte, Nanos(0)) {
            let file = File::parse(payload, Quirks::ALL).unwrap_or_default();
            let id = file.transaction_id().unwrap_or_default();
            return id.iter().map(|byte| format!("{byte:02x}")).collect();
        }
    }
    String::new()
}

fn answer(line: Line, shared: &Shared<Control>, frames: &[Vec<u8>], address: u8, again: bool) {
    let config = SlaveConfig {
        address,
        device: Device {
            id: [0; 4],
            manufacturer: Manufacturer(0),
            version: 0,
            medium: 0,
        },
        timing: Timing::at(line.config().baud),
        delay: Duration::from_millis(20),
    };
    let mut next = 0;
    run(line, shared, config, &mut |slave, at| {
        let mut telegram = String::new();
        if let Some(frame) = frames.get(next) {
            let access = Telegram::parse(frame).ok().and_then(|frame| frame.access());
            telegram = access.map_or_else(String::new, |access| format!("{access:02x}"));
            slave.respond_raw(frame.clone());
            next += 1;
            if again && next == frames.len() {
                next = 0;
            }
        }
        Answer {
            telegram,
            registers: Vec::new(),
            sampled_at: at,
        }
    });
}

const START: [u8; 8] = [0x1b, 0x1b, 0x1b, 0x1b, 1, 1, 1, 1];
