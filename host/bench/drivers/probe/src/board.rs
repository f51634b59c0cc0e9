// SPDX-License-Identifier: MIT OR Apache-2.0
//! A board on a debug probe, driven by probe-rs: flashed once, reset, watched, dumped, and let go.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use probe_rs::config::Registry;
use probe_rs::flashing::DownloadOptions;
use probe_rs::probe::WireProtocol;
use probe_rs::probe::list::Lister;
use probe_rs::rtt::{self, Rtt, ScanRegion};
use probe_rs::{Core, CoreDump, MemoryInterface, Permissions, Session};

use crate::image::{Image, Segment};
use crate::logs::{LogDecoder, LogLine};
use crate::part::{Chip, Part};
use crate::selector::{Selector, SelectorError};
use crate::state::{BoardState, StateDir};

/// How long a core may take to halt.
const HALT: Duration = Duration::from_secs(2);
/// How often a log is looked at while an entry is awaited.
const POLL: Duration = Duration::from_millis(5);
/// Bytes of a channel that are read at once.
const CHUNK: usize = 4096;
/// Most bytes of a channel that one call reads.
const MOST: usize = 1 << 20;
/// Bytes that are compared at once when an image is verified.
const COMPARED: usize = 64 * 1024;

/// What went wrong with a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No probe is selected.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// The probe is there and the chip does not answer, or the probe is in use.
    #[error(
        "cannot attach to {part} through the probe {selector}: {why}; check cable and power, and that no other program uses the probe"
    )]
    Attach {
        /// Which board.
        part: String,
        /// Which probe.
        selector: Selector,
        /// What probe-rs says.
        why: String,
    },
    /// Another board than the rig says.
    #[error(
        "the board on the probe {selector} is no {part}: {register} is {found:#x}, not {expected:#x}; correct the selector or the board's part"
    )]
    WrongBoard {
        /// Which board the rig wants.
        part: String,
        /// Which probe.
        selector: Selector,
        /// What tells.
        register: &'static str,
        /// What it should be.
        expected: u32,
        /// What it is.
        found: u32,
    },
    /// Probe or board went away, or do not obey.
    #[error("{doing} through the probe {selector} failed: {why}")]
    Probe {
        /// What was tried.
        doing: &'static str,
        /// Which probe.
        selector: Selector,
        /// What probe-rs says.
        why: String,
    },
    /// Flashing ended early.
    #[error(
        "flashing {part} through the probe {selector} failed: {why}; the board is marked unknown and will be flashed again; check the probe's cable"
    )]
    Flash {
        /// Which board.
        part: String,
        /// Which probe.
        selector: Selector,
        /// Why.
        why: String,
    },
    /// The description of a chip is wrong.
    #[error("probe-rs does not know the chip of {part}: {why}")]
    Chip {
        /// Which board.
        part: String,
        /// What probe-rs says.
        why: String,
    },
    /// The board's state cannot be kept.
    #[error("cannot keep the state of the board on the probe {selector}: {error}")]
    State {
        /// Which probe.
        selector: Selector,
        /// Why.
        error: io::Error,
    },
    /// The image's log cannot be decoded.
    #[error("cannot decode the log of the image: {0}")]
    Logs(String),
    /// The firmware did not say what was awaited.
    #[error(
        "the firmware did not say what was awaited within {patience:?}; its last words: {last}"
    )]
    Silent {
        /// How long was waited.
        patience: Duration,
        /// What it said last.
        last: String,
    },
}

/// What [`Board::flash`] did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flashing {
    /// The image was written and read back.
    Flashed,
    /// The board held it already, by its build id.
    AlreadyThere,
}

/// A board that a debugger holds. Dropping it lets it go, as [`Board::release`] does, whatever state it is in.
pub struct Board {
    session: Session,
    part: Part,
    selector: Selector,
    states: StateDir,
    log: Log,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board")
            .field("part", &self.part.name)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

/// The log of the image that is on the board.
#[derive(Debug, Default)]
struct Log {
    /// Where the firmware keeps its channels.
    block: Option<u64>,
    /// The channels, once the firmware has made them.
    channels: Option<Rtt>,
    decoder: Option<LogDecoder>,
}

impl Board {
    /// Takes hold of a board. The core is left as it is; an unflashed one is halted by the first [`Board::flash`].
    ///
    /// # Errors
    /// When probe or chip do not answer, or it is another board.
    pub fn attach(selector: &Selector, part: &Part, states: &StateDir) -> Result<Self, Error> {
        let mut board = Self {
            session: session(selector, part)?,
            part: part.clone(),
            selector: selector.clone(),
            states: states.clone(),
            log: Log::default(),
        };
        for identity in part.identity.iter() {
            let word = board.read_word(identity.address)?;
            let found = word & identity.mask;
            if found != identity.value {
                return Err(Error::WrongBoard {
                    part: part.name.to_string(),
                    selector: selector.clone(),
                    register: identity.name,
                    expected: identity.value,
                    found,
                });
            }
        }
        Ok(board)
    }

    /// Which kind of board it is.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Makes the board hold an image, by writing it or because it holds it already; in the first case the core is left
    /// halted after a reset. From here on the log is that image's.
    ///
    /// # Errors
    /// When probe or board fail; the board's state is unknown then, and the next call flashes.
    pub fn flash(&mut self, image: &Image) -> Result<Flashing, Error> {
        self.log = Log {
            block: image.rtt(),
            channels: None,
            decoder: LogDecoder::new(image.elf()).map_err(Error::Logs)?,
        };
        let board = self.selector.to_string();
        let known = BoardState::Known(image.build_id().clone());
        if self.states.read(&board) == known && self.holds(image)? {
            return Ok(Flashing::AlreadyThere);
        }
        self.keep(&BoardState::Unknown)?;
        self.write_segments(image.segments())
            .map_err(|why| Error::Flash {
                part: self.part.name.to_string(),
                selector: self.selector.clone(),
                why,
            })?;
        self.keep(&known)?;
        Ok(Flashing::Flashed)
    }

    /// Writes bytes beside the image, a settings partition for instance, and reads them back; what else shares their
    /// sectors is kept. The core is left halted after a reset.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn program(&mut self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        let segment = Segment {
            address,
            bytes: bytes.to_vec(),
        };
        self.write_segments(std::slice::from_ref(&segment))
            .map_err(|why| Error::Probe {
                doing: "writing settings",
                selector: self.selector.clone(),
                why,
            })
    }

    /// Compares the target's memory with an image; where they first differ.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn verify(&mut self, image: &Image) -> Result<Option<u64>, Error> {
        self.on_core("verifying", |core| verify(core, image.segments()))
    }

    /// Whether the target holds the note with the image's build id where the image has it.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn holds(&mut self, image: &Image) -> Result<bool, Error> {
        let note = image.note();
        let mut found = vec![0; note.bytes.len()];
        self.read(note.address, &mut found)?;
        Ok(found == note.bytes)
    }

    /// Resets the board and lets it run from the start, with an empty log.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn reset(&mut self) -> Result<(), Error> {
        self.reset_and_halt()?;
        self.run()
    }

    /// Resets the board and halts it before the first instruction, with an empty log.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn reset_and_halt(&mut self) -> Result<(), Error> {
        self.log.channels = None;
        if let Some(decoder) = &mut self.log.decoder {
            decoder.restart();
        }
        let block = self.log.block;
        self.on_core("resetting", |core| {
            core.reset_and_halt(HALT)?;
            // What an earlier run left there would be taken for this run's log.
            match block {
                Some(block) => core.write_8(block, &[0; Rtt::RTT_ID.len()]),
                None => Ok(()),
            }
        })
    }

    /// Halts the core.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn halt(&mut self) -> Result<(), Error> {
        self.on_core("halting", |core| core.halt(HALT).map(drop))
    }

    /// Lets the core run on.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn run(&mut self) -> Result<(), Error> {
        self.on_core("running", |core| core.run())
    }

    /// Reads the target's memory, whether the core runs or not.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Error> {
        self.on_core("reading memory", |core| core.read(address, into))
    }

    /// Reads a word or a device register, whether the core runs or not.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn read_word(&mut self, address: u32) -> Result<u32, Error> {
        self.on_core("reading a word", |core| core.read_word_32(address.into()))
    }

    /// Writes the target's RAM, whether the core runs or not; flash is written by [`Board::flash`] only.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Error> {
        self.on_core("writing memory", |core| core.write(address, bytes))
    }

    /// Writes a word or a device register, whether the core runs or not.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn write_word(&mut self, address: u32, word: u32) -> Result<(), Error> {
        self.on_core("writing a word", |core| {
            core.write_word_32(address.into(), word)
        })
    }

    /// The core, for what the bench does rarely: registers, breakpoints, steps.
    ///
    /// # Errors
    /// When probe or board fail, or `work` does.
    pub fn on_core<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Core<'_>) -> Result<T, probe_rs::Error>,
    ) -> Result<T, Error> {
        let done = self.session.core(0).and_then(|mut core| work(&mut core));
        done.map_err(|error| Error::Probe {
            doing,
            selector: self.selector.clone(),
            why: whole(&error),
        })
    }

    /// What the firmware has logged since the last call. Nothing before it has set its log up, and nothing when the
    /// image has none.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn logs(&mut self) -> Result<Vec<LogLine>, Error> {
        let bytes = self.receive(0)?;
        let decoder = self.log.decoder.as_mut();
        Ok(decoder.map_or(Vec::new(), |decoder| decoder.push(&bytes)))
    }

    /// Reads the log until an entry is as wanted; all entries up to it and those that came with it.
    ///
    /// # Errors
    /// When that does not come in time, or probe or board fail.
    pub fn await_log(
        &mut self,
        patience: Duration,
        wanted: impl Fn(&LogLine) -> bool,
    ) -> Result<Vec<LogLine>, Error> {
        let deadline = Instant::now() + patience;
        let mut lines = Vec::new();
        loop {
            let new = self.logs()?;
            let found = new.iter().any(&wanted);
            lines.extend(new);
            if found {
                return Ok(lines);
            }
            if Instant::now() > deadline {
                let last = lines.last();
                let last = last.map_or("none".to_owned(), LogLine::to_string);
                return Err(Error::Silent { patience, last });
            }
            thread::sleep(POLL);
        }
    }

    /// How many entries of the log were damaged.
    pub fn damaged_logs(&self) -> u64 {
        self.log.decoder.as_ref().map_or(0, LogDecoder::damaged)
    }

    /// Reads what an RTT channel from the target holds. Nothing before the firmware has made it.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn receive(&mut self, channel: usize) -> Result<Vec<u8>, Error> {
        self.on_channels("reading a channel", |channels, core| {
            let mut bytes = Vec::new();
            let Some(channel) = channels.up_channel(channel) else {
                return Ok(bytes);
            };
            let mut chunk = [0; CHUNK];
            while bytes.len() < MOST {
                match channel.read(core, &mut chunk)? {
                    0 => break,
                    length => bytes.extend(chunk.iter().take(length)),
                }
            }
            Ok(bytes)
        })
        .map(Option::unwrap_or_default)
    }

    /// Writes to an RTT channel to the target; how many bytes it had room for, none before the firmware has made it.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn send(&mut self, channel: usize, bytes: &[u8]) -> Result<usize, Error> {
        self.on_channels("writing a channel", |channels, core| {
            match channels.down_channel(channel) {
                Some(channel) => channel.write(core, bytes),
                None => Ok(0),
            }
        })
        .map(Option::unwrap_or_default)
    }

    /// Halts the core and keeps its registers and memory in a file, for `probe-rs debug` and post-mortem reading.
    ///
    /// # Errors
    /// When probe or board fail, or the file cannot be written.
    pub fn core_dump(&mut self, path: &Path) -> Result<(), Error> {
        let ranges = self
            .part
            .dumped
            .iter()
            .map(|memory| memory.range())
            .collect();
        let dump = self.on_core("dumping the core", |core| {
            core.halt(HALT)?;
            CoreDump::dump_core(core, ranges)
        })?;
        dump.store(path).map_err(|error| Error::Probe {
            doing: "storing the core dump",
            selector: self.selector.clone(),
            why: whole(&error),
        })
    }

    /// Lets the core run without a debugger: breakpoints are gone, debug is off, and nobody accesses the target, so that
    /// its timing is its own.
    ///
    /// # Errors
    /// When probe or board fail.
    pub fn release(mut self) -> Result<(), Error> {
        self.on_core("releasing the core", |core| {
            core.clear_all_hw_breakpoints()?;
            match core.core_halted()? {
                true => core.run(),
                false => Ok(()),
            }
        })
    }

    /// Runs something with the channels; `None` when the firmware has not made them yet, or has none.
    fn on_channels<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&mut Rtt, &mut Core<'_>) -> Result<T, rtt::Error>,
    ) -> Result<Option<T>, Error> {
        let Some(block) = self.log.block else {
            return Ok(None);
        };
        let failed = |why| Error::Probe {
            doing,
            selector: self.selector.clone(),
            why,
        };
        let mut core = self
            .session
            .core(0)
            .map_err(|error| failed(whole(&error)))?;
        let mut channels = match self.log.channels.take() {
            Some(channels) => channels,
            None => match Rtt::attach_region(&mut core, &ScanRegion::Exact(block)) {
                Ok(channels) => channels,
                Err(rtt::Error::ControlBlockNotFound | rtt::Error::ControlBlockCorrupted(_)) => {
                    return Ok(None);
                }
                Err(error) => return Err(failed(whole(&error))),
            },
        };
        let done = work(&mut channels, &mut core).map_err(|error| failed(whole(&error)))?;
        self.log.channels = Some(channels);
        Ok(Some(done))
    }

    fn keep(&self, state: &BoardState) -> Result<(), Error> {
        let kept = self.states.write(&self.selector.to_string(), state);
        kept.map_err(|error| Error::State {
            selector: self.selector.clone(),
            error,
        })
    }

    /// Writes an image and reads it back.
    fn write_segments(&mut self, segments: &[Segment]) -> Result<(), String> {
        self.reset_and_halt().map_err(|error| error.to_string())?;
        let mut loader = self.session.target().flash_loader();
        for segment in segments {
            loader
                .add_data(segment.address, &segment.bytes)
                .map_err(|error| whole(&error))?;
        }
        let mut options = DownloadOptions::new();
        options.keep_unwritten_bytes = true;
        loader
            .commit(&mut self.session, options)
            .map_err(|error| whole(&error))?;
        let differs = self.on_core("verifying", |core| verify(core, segments));
        if let Some(address) = differs.map_err(|error| error.to_string())? {
            return Err(format!("the memory at {address:#x} is not as written"));
        }
        // The next instruction is the first of what was written.
        self.reset_and_halt().map_err(|error| error.to_string())
    }
}

/// Opens the probe and attaches to the chip.
fn session(selector: &Selector, part: &Part) -> Result<Session, Error> {
    let mut registry = Registry::from_builtin_families();
    let unknown = |error| Error::Chip {
        part: part.name.to_string(),
        why: whole(&error),
    };
    let name = match &part.chip {
        Chip::Named(name) => name.to_string(),
        Chip::Described(yaml) => {
            let family = registry
                .add_target_family_from_yaml(yaml)
                .map_err(unknown)?;
            let variants = registry.get_targets_by_family_name(&family);
            variants
                .map_err(unknown)?
                .into_iter()
                .next()
                .unwrap_or_default()
        }
    };
    let target = registry.get_target_by_name(&name).map_err(unknown)?;
    // probe-rs panics in some places when a probe goes away while it attaches.
    let attached = panic::catch_unwind(AssertUnwindSafe(|| {
        let mut probe = Lister::new()
            .open(selector.to_probe_rs())
            .map_err(|error| whole(&error))?;
        probe
            .select_protocol(WireProtocol::Swd)
            .map_err(|error| whole(&error))?;
        probe
            .attach_with_registry(target, Permissions::new(), &registry)
            .map_err(|error| whole(&error))
    }));
    attached
        .unwrap_or_else(|_| Err("the probe went away".to_owned()))
        .map_err(|why| Error::Attach {
            part: part.name.to_string(),
            selector: selector.clone(),
            why,
        })
}

/// The first address at which the memory is not as the segments want it.
fn verify(core: &mut Core<'_>, segments: &[Segment]) -> Result<Option<u64>, probe_rs::Error> {
    let mut buffer = vec![0; COMPARED];
    for segment in segments {
        let starts = (segment.address..).step_by(COMPARED);
        for (address, expected) in starts.zip(segment.bytes.chunks(COMPARED)) {
            let found = buffer.get_mut(..expected.len()).unwrap_or_default();
            core.read(address, found)?;
            let differs = found.iter().zip(expected).zip(address..);
            if let Some((_, at)) = differs.into_iter().find(|((is, should), _)| is != should) {
                return Ok(Some(at));
            }
        }
    }
    Ok(None)
}

/// An error with all its causes on one line.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{}: {said}", text.trim_end_matches('.'));
        }
        cause = error.source();
    }
    text.lines()
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches('.')
        .to_owned()
}
