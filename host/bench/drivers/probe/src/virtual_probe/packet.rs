// SPDX-License-Identifier: MIT OR Apache-2.0
//! Packets of the Black Magic remote protocol, version 1: `!` command `#` towards the probe, `&` answer `#` back.
//!
//! Numbers are hexadecimal. The words that DP and AP reads answer with are the hex of their little-endian bytes; all
//! other numbers are plain.

/// Most bytes one memory command may move: the Black Magic Probe's own buffer has 1024 characters.
pub const MOST_BYTES: usize = 512;

/// Longest command that is kept: the head of a memory write, and its bytes in hex.
pub const LONGEST: usize = 64 + 2 * MOST_BYTES;

/// Finds commands in what a host sends. Anything between commands is ignored, as the probe does.
#[derive(Debug, Default)]
pub struct Framer {
    command: Option<Vec<u8>>,
    too_long: bool,
}

impl Framer {
    /// Takes one byte; the command that it ends, without its marks, or a refusal when that was too long.
    pub fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, Refusal>> {
        match (byte, &mut self.command) {
            (b'!', command) => {
                *command = Some(Vec::new());
                self.too_long = false;
                None
            }
            (b'#', command) => {
                let command = command.take()?;
                Some(match std::mem::take(&mut self.too_long) {
                    true => Err(Refusal::Parameter),
                    false => Ok(command),
                })
            }
            (_, Some(command)) if command.len() < LONGEST => {
                command.push(byte);
                None
            }
            (_, command) => {
                self.too_long |= command.is_some();
                None
            }
        }
    }
}

/// What a host can ask for. `bits` is at most 32.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// `GA`: who are you.
    Identify,
    /// `GV`: voltage of the target.
    Voltage,
    /// `Gf`: clock in Hz.
    Clock,
    /// `GF`: set the clock in Hz.
    SetClock(u32),
    /// `GP`, `GE`: target power and clock output; the emulated board has neither.
    SetOutput,
    /// `GZ`: hold the target in reset, or let it go.
    Reset(bool),
    /// `HC`: version of the protocol.
    Version,
    /// `SS`: prepare the pins for SWD.
    SwdInit,
    /// `So`, `SO`: clock bits out, the lowest first; `SO` appends their parity.
    SwdOut {
        /// How many.
        bits: u8,
        /// The bits.
        value: u32,
        /// Whether the parity follows.
        parity: bool,
    },
    /// `Si`, `SI`: clock bits in; `SI` checks the parity that follows them.
    SwdIn {
        /// How many.
        bits: u8,
        /// Whether the parity follows.
        parity: bool,
    },
    /// `HL`: access to a DP register or, with bit 8 of the address, to an AP register through SELECT.
    Raw {
        /// Read or write.
        read: bool,
        /// Register, bit 8 for AP.
        address: u16,
        /// What is written.
        value: u32,
    },
    /// `Hd`: read a DP register.
    ReadDp {
        /// Register.
        address: u16,
    },
    /// `Ha`: read an AP register.
    ReadAp {
        /// Number of the access port.
        ap: u8,
        /// Register.
        address: u16,
    },
    /// `HA`: write an AP register.
    WriteAp {
        /// Number of the access port.
        ap: u8,
        /// Register.
        address: u16,
        /// What is written.
        value: u32,
    },
    /// `HM`: read memory.
    ReadMemory {
        /// Number of the access port.
        ap: u8,
        /// Control word for the access port.
        csw: u32,
        /// From here.
        address: u32,
        /// Number of bytes, up to [`MOST_BYTES`].
        length: usize,
    },
    /// `Hm`: write memory.
    WriteMemory {
        /// Number of the access port.
        ap: u8,
        /// Control word for the access port.
        csw: u32,
        /// Logarithm of the access width in bytes, 0 to 3.
        align: u8,
        /// To here.
        address: u32,
        /// Up to [`MOST_BYTES`].
        bytes: Vec<u8>,
    },
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The command is known, its parameters make no sense.
    Parameter,
    /// The command is not known.
    Unsupported,
}

impl Command {
    /// Reads a command without its marks.
    ///
    /// # Errors
    /// When the command is not one of ours, or its parameters do not fit it exactly.
    pub fn parse(command: &[u8]) -> Result<Self, Refusal> {
        let (word, rest) = command.split_at_checked(2).ok_or(Refusal::Unsupported)?;
        let mut rest = Digits(rest);
        let parsed = match word {
            b"GA" => Self::Identify,
            b"GV" => Self::Voltage,
            b"Gf" => Self::Clock,
            b"GF" => Self::SetClock(rest.number(8)?),
            b"GP" | b"GE" => {
                rest.number(1)?;
                Self::SetOutput
            }
            b"GZ" => Self::Reset(rest.number(1)? != 0),
            b"HC" => Self::Version,
            b"SS" => Self::SwdInit,
            b"So" | b"SO" => Self::SwdOut {
                bits: rest.bits()?,
                value: rest.remaining()?,
                parity: word == b"SO",
            },
            b"Si" | b"SI" => Self::SwdIn {
                bits: rest.bits()?,
                parity: word == b"SI",
            },
            b"HL" => {
                rest.number(2)?;
                Self::Raw {
                    read: rest.number(2)? != 0,
                    address: rest.half()?,
                    value: rest.number(8)?,
                }
            }
            b"Hd" => {
                rest.number(4)?;
                Self::ReadDp {
                    address: rest.half()?,
                }
            }
            b"Ha" => Self::ReadAp {
                ap: rest.access_port()?,
                address: rest.half()?,
            },
            b"HA" => Self::WriteAp {
                ap: rest.access_port()?,
                address: rest.half()?,
                value: rest.number(8)?,
            },
            b"HM" => Self::ReadMemory {
                ap: rest.access_port()?,
                csw: rest.number(8)?,
                address: rest.number(8)?,
                length: rest.length()?,
            },
            b"Hm" => {
                let ap = rest.access_port()?;
                let csw = rest.number(8)?;
                let align = rest.byte()?;
                let address = rest.number(8)?;
                let length = rest.length()?;
                let bytes = (0..length).map(|_| rest.byte()).collect::<Result<_, _>>()?;
                match align {
                    0..=3 => Self::WriteMemory {
                        ap,
                        csw,
                        align,
                        address,
                        bytes,
                    },
                    _ => return Err(Refusal::Parameter),
                }
            }
            _ => return Err(Refusal::Unsupported),
        };
        match rest.0.is_empty() {
            true => Ok(parsed),
            false => Err(Refusal::Parameter),
        }
    }

    /// The command as a host sends it, without its marks.
    pub fn encode(&self) -> Vec<u8> {
        let text = match self {
            Self::Identify => "GA".to_owned(),
            Self::Voltage => "GV".to_owned(),
            Self::Clock => "Gf".to_owned(),
            Self::SetClock(hertz) => format!("GF{hertz:08x}"),
            Self::SetOutput => "GP1".to_owned(),
            Self::Reset(hold) => format!("GZ{}", u8::from(*hold)),
            Self::Version => "HC".to_owned(),
            Self::SwdInit => "SS".to_owned(),
            Self::SwdOut {
                bits,
                value,
                parity,
            } => format!("S{}{bits:02x}{value:x}", if *parity { 'O' } else { 'o' }),
            Self::SwdIn { bits, parity } => {
                format!("S{}{bits:02x}", if *parity { 'I' } else { 'i' })
            }
            Self::Raw {
                read,
                address,
                value,
            } => format!("HL00{:02x}{address:04x}{value:08x}", u8::from(*read)),
            Self::ReadDp { address } => format!("Hd00ff{address:04x}"),
            Self::ReadAp { ap, address } => format!("Ha00{ap:02x}{address:04x}"),
            Self::WriteAp { ap, address, value } => {
                format!("HA00{ap:02x}{address:04x}{value:08x}")
            }
            Self::ReadMemory {
                ap,
                csw,
                address,
                length,
            } => format!("HM00{ap:02x}{csw:08x}{address:08x}{length:08x}"),
            Self::WriteMemory {
                ap,
                csw,
                align,
                address,
                bytes,
            } => {
                let length = bytes.len();
                format!(
                    "Hm00{ap:02x}{csw:08x}{align:02x}{address:08x}{length:08x}{}",
                    hex(bytes)
                )
            }
        };
        text.into_bytes()
    }
}

/// What the probe says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// Done.
    Done,
    /// A number.
    Number(u32),
    /// A word as the hex of its little-endian bytes.
    Word(u32),
    /// Bytes in hex.
    Bytes(Vec<u8>),
    /// Text as it is.
    Text(&'static str),
    /// The target did not do it.
    Failed,
    /// The command is wrong or unknown.
    Refused(Refusal),
}

impl Answer {
    /// The answer as it is sent, with its marks.
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Self::Done => "K0".to_owned(),
            Self::Number(number) => format!("K{number:x}"),
            Self::Word(word) => format!("K{}", hex(&word.to_le_bytes())),
            Self::Bytes(bytes) => format!("K{}", hex(bytes)),
            Self::Text(text) => format!("K{text}"),
            Self::Failed => "E1".to_owned(),
            Self::Refused(Refusal::Parameter) => "P0".to_owned(),
            Self::Refused(Refusal::Unsupported) => "N0".to_owned(),
        };
        format!("&{body}#").into_bytes()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal fields of fixed width.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// A number of so many digits, at most eight.
    fn number(&mut self, digits: usize) -> Result<u32, Refusal> {
        let (field, rest) = self.0.split_at_checked(digits).ok_or(Refusal::Parameter)?;
        self.0 = rest;
        field.iter().try_fold(0, |number, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(Refusal::Parameter)?;
            Ok(number << 4 | digit)
        })
    }

    fn byte(&mut self) -> Result<u8, Refusal> {
        u8::try_from(self.number(2)?).map_err(|_| Refusal::Parameter)
    }

    fn half(&mut self) -> Result<u16, Refusal> {
        u16::try_from(self.number(4)?).map_err(|_| Refusal::Parameter)
    }

    /// The number of an access port, which follows that of the debug port.
    fn access_port(&mut self) -> Result<u8, Refusal> {
        self.byte()?;
        self.byte()
    }

    fn bits(&mut self) -> Result<u8, Refusal> {
        let bits = self.byte()?;
        match bits {
            0..=32 => Ok(bits),
            _ => Err(Refusal::Parameter),
        }
    }

    fn length(&mut self) -> Result<usize, Refusal> {
        let length = usize::try_from(self.number(8)?).map_err(|_| Refusal::Parameter)?;
        match length {
            0..=MOST_BYTES => Ok(length),
            _ => Err(Refusal::Parameter),
        }
    }

    /// All that is left as one number.
    fn remaining(&mut self) -> Result<u32, Refusal> {
        match self.0.len() {
            digits @ 1..=8 => self.number(digits),
            _ => Err(Refusal::Parameter),
        }
    }
}
