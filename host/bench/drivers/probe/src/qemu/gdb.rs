// SPDX-License-Identifier: MIT OR Apache-2.0
//! GDB's remote serial protocol, as far as run control needs it: `$` payload `#` checksum, acknowledged by `+`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::virtual_probe::cortex_m::Register;

/// Longest payload that is kept; QEMU's own limit is 4 KiB.
pub const LONGEST: usize = 16 * 1024;

/// How long QEMU may take to answer. Far more than it needs on a machine at its limits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of xPSR in QEMU's description of the core.
const XPSR: u8 = 25;

/// A packet around the payload; `}`, `#` and `$` in it are escaped.
pub fn encode(payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(payload.len() + 4);
    for byte in payload {
        match byte {
            b'}' | b'#' | b'$' | b'*' => body.extend([b'}', byte ^ 0x20]),
            _ => body.push(*byte),
        }
    }
    let sum = checksum(&body);
    let mut packet = vec![b'$'];
    packet.append(&mut body);
    packet.extend(format!("#{sum:02x}").into_bytes());
    packet
}

fn checksum(body: &[u8]) -> u8 {
    body.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Finds packets in what a stub sends.
#[derive(Debug, Default)]
pub struct Framer {
    state: Place,
    body: Vec<u8>,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Between,
    Body,
    Checksum(Option<u8>),
}

/// A packet that cannot be used: too long, with a wrong checksum, or coded wrongly.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Damaged;

impl Framer {
    /// Takes one byte; the payload of the packet that it ends.
    pub fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, Damaged>> {
        match (&self.state, byte) {
            (Place::Between | Place::Body, b'$') => {
                self.body.clear();
                self.state = Place::Body;
            }
            (Place::Between, _) => {}
            (Place::Body, b'#') => self.state = Place::Checksum(None),
            // One byte more than allowed is kept, to tell.
            (Place::Body, _) if self.body.len() <= LONGEST => self.body.push(byte),
            (Place::Body, _) => {}
            (Place::Checksum(None), _) => self.state = Place::Checksum(Some(byte)),
            (Place::Checksum(Some(first)), _) => {
                let sent = [*first, byte];
                self.state = Place::Between;
                let body = std::mem::take(&mut self.body);
                return Some(payload(&body, sent));
            }
        }
        None
    }
}

/// Checks a packet and undoes escapes and run lengths.
fn payload(body: &[u8], sent: [u8; 2]) -> Result<Vec<u8>, Damaged> {
    let [high, low] = sent.map(|digit| char::from(digit).to_digit(16));
    let sent = high.zip(low).map(|(high, low)| high << 4 | low);
    if sent != Some(u32::from(checksum(body))) || body.len() > LONGEST {
        return Err(Damaged);
    }
    let mut payload = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'}' => payload.push(bytes.next().ok_or(Damaged)? ^ 0x20),
            b'*' => {
                let count = bytes.next().and_then(|count| count.checked_sub(29));
                let (last, count) = payload.last().copied().zip(count).ok_or(Damaged)?;
                payload.resize(payload.len() + usize::from(count), last);
            }
            _ => payload.push(*byte),
        }
        if payload.len() > LONGEST {
            return Err(Damaged);
        }
    }
    Ok(payload)
}

/// Reads a register's value: eight digits, little-endian.
pub fn register_value(payload: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(payload).ok()?;
    let digits = text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    digits.then(|| u32::from_str_radix(text, 16).ok().map(u32::swap_bytes))?
}

/// Whether a packet says that the core has stopped, and then if by itself: by a trap, not on request.
pub fn stop_reply(payload: &[u8]) -> Option<bool> {
    match payload {
        [b'T' | b'S', signal @ ..] => Some(signal.starts_with(b"05")),
        _ => None,
    }
}

/// QEMU's stub.
#[derive(Debug)]
pub struct Gdb {
    stream: UnixStream,
    framer: Framer,
    /// Read but not yet framed.
    pending: Vec<u8>,
}

impl Gdb {
    /// Connects to a stub whose machine is stopped.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut gdb = Self {
            stream,
            framer: Framer::default(),
            pending: Vec::new(),
        };
        gdb.ask(b"qSupported:hwbreak+")?;
        // QEMU knows single registers only after it was asked for its description.
        gdb.ask(b"qXfer:features:read:target.xml:0,ffb")?;
        gdb.ask(b"?")?;
        Ok(gdb)
    }

    fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&encode(payload))
    }

    /// The next packet, or nothing when none comes in time.
    fn receive(&mut self, patience: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut pending = std::mem::take(&mut self.pending).into_iter();
            let packet = pending.by_ref().find_map(|byte| self.framer.push(byte));
            self.pending = pending.collect();
            if let Some(packet) = packet {
                self.stream.write_all(b"+")?;
                let damaged = |_| io::Error::new(io::ErrorKind::InvalidData, "damaged gdb packet");
                return packet.map(Some).map_err(damaged);
            }
            self.stream.set_nonblocking(patience.is_none())?;
            self.stream.set_read_timeout(patience)?;
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer);
            self.stream.set_nonblocking(false)?;
            match read {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.pending.extend(buffer.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn answer(&mut self) -> io::Result<Vec<u8>> {
        let answer = self.receive(Some(PATIENCE))?;
        answer.ok_or_else(|| io::ErrorKind::TimedOut.into())
    }

    fn ask(&mut self, payload: &[u8]) -> io::Result<Vec<u8>> {
        self.send(payload)?;
        self.answer()
    }

    fn command(&mut self, payload: &str) -> io::Result<()> {
        match self.ask(payload.as_bytes())?.as_slice() {
            b"OK" => Ok(()),
            other => Err(io::Error::other(format!(
                "qemu answers {payload} with {}",
                String::from_utf8_lossy(other)
            ))),
        }
    }

    /// Waits for the core to stop; whether it did so by itself.
    fn await_stop(&mut self) -> io::Result<bool> {
        loop {
            if let Some(by_itself) = stop_reply(&self.answer()?) {
                return Ok(by_itself);
            }
        }
    }

    /// Whether the running core has stopped by now.
    pub(super) fn stopped(&mut self) -> io::Result<bool> {
        while let Some(packet) = self.receive(None)? {
            if stop_reply(&packet).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stops the running core; whether it had stopped by itself.
    pub(super) fn stop(&mut self) -> io::Result<bool> {
        self.stream.write_all(&[3])?;
        self.await_stop()
    }

    pub(super) fn go(&mut self) -> io::Result<()> {
        self.send(b"c")
    }

    pub(super) fn step(&mut self) -> io::Result<()> {
        self.send(b"s")?;
        self.await_stop().map(drop)
    }

    pub(super) fn register(&mut self, register: Register) -> io::Result<u32> {
        let answer = self.ask(format!("p{:x}", number(register)).as_bytes())?;
        register_value(&answer)
            .ok_or_else(|| io::Error::other(format!("qemu does not know {register:?}")))
    }

    pub(super) fn set_register(&mut self, register: Register, value: u32) -> io::Result<()> {
        let value = value.swap_bytes();
        self.command(&format!("P{:x}={value:08x}", number(register)))
    }

    pub(super) fn breakpoint(&mut self, address: u32, set: bool) -> io::Result<()> {
        let letter = if set { 'Z' } else { 'z' };
        self.command(&format!("{letter}1,{address:x},2"))
    }

    /// Asks for a reset of the machine, which follows before QEMU reads another command from anyone.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        let command: String = "system_reset"
            .bytes()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.send(format!("qRcmd,{command}").as_bytes())?;
        // What the monitor prints comes first, in packets of its own.
        loop {
            match self.answer()?.as_slice() {
                b"OK" => return Ok(()),
                [b'O', ..] => {}
                other => {
                    let other = String::from_utf8_lossy(other).into_owned();
                    return Err(io::Error::other(format!("qemu does not reset: {other}")));
                }
            }
        }
    }
}

/// QEMU's number of a register.
fn number(register: Register) -> u8 {
    match register {
        Register::General(number) => number,
        Register::Xpsr => XPSR,
    }
}
