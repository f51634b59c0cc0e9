// SPDX-License-Identifier: MIT OR Apache-2.0
//! QEMU's qtest protocol: memory and device registers read and written while the core runs, in lines of text.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long QEMU may take to answer. Far more than it needs on a machine at its limits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest line that is read: two digits for each byte of the largest access, and some words.
pub const LONGEST: usize = 64 * 1024;

/// Most bytes in one access.
pub const MOST_BYTES: usize = 16 * 1024;

/// What a line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Line {
    /// Done, with the bytes that were read.
    Ok(Vec<u8>),
    /// Not done, and why.
    Failed(String),
    /// Not an answer: an interrupt line that the peer may watch.
    Event,
}

/// Reads a line without its end; `None` when it is none of the protocol's.
pub fn parse(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "OK" if rest.is_empty() => Some(Line::Ok(Vec::new())),
        "OK" => unhex(rest.strip_prefix("0x")?).map(Line::Ok),
        "FAIL" | "ERR" => Some(Line::Failed(rest.to_owned())),
        "IRQ" => Some(Line::Event),
        _ => None,
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// QEMU's end of the protocol.
#[derive(Debug)]
pub struct Qtest {
    stream: BufReader<UnixStream>,
}

impl Qtest {
    /// Connects.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    fn ask(&mut self, command: &str) -> io::Result<Vec<u8>> {
        self.stream.get_mut().write_all(command.as_bytes())?;
        loop {
            let mut line = Vec::new();
            let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
            self.stream
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match parse(&line) {
                Some(Line::Ok(bytes)) => return Ok(bytes),
                Some(Line::Event) => {}
                Some(Line::Failed(why)) => {
                    return Err(io::Error::other(format!("qemu refuses an access: {why}")));
                }
                None => return Err(io::Error::other("qemu speaks no qtest")),
            }
        }
    }

    /// Reads memory or device registers, these in words where the address allows it.
    ///
    /// # Errors
    /// When QEMU is gone. Addresses with nothing behind them read as zero.
    pub fn read(&mut self, address: u32, into: &mut [u8]) -> io::Result<()> {
        for (part, start) in into.chunks_mut(MOST_BYTES).zip((0..).step_by(MOST_BYTES)) {
            let address = u64::from(address) + start;
            let bytes = self.ask(&format!("read {address:#x} {:#x}\n", part.len()))?;
            if bytes.len() != part.len() {
                return Err(io::Error::other("qemu read another number of bytes"));
            }
            part.copy_from_slice(&bytes);
        }
        Ok(())
    }

    /// Writes memory or device registers, these in words where the address allows it.
    ///
    /// # Errors
    /// When QEMU is gone. Addresses with nothing behind them swallow what is written.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        for (part, start) in bytes.chunks(MOST_BYTES).zip((0..).step_by(MOST_BYTES)) {
            let address = u64::from(address) + start;
            let digits: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            self.ask(&format!(
                "write {address:#x} {:#x} 0x{digits}\n",
                part.len()
            ))?;
        }
        Ok(())
    }
}
