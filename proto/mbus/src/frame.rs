// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of the link layer (EN 13757-2, format class FT1.2).

use alloc::vec::Vec;

use crate::Error;

/// Control fields.
pub mod control {
    /// Link reset, answered by an acknowledgement.
    pub const SND_NKE: u8 = 0x40;
    /// Data to the slave, answered by an acknowledgement.
    pub const SND_UD: u8 = 0x53;
    /// Data to the slave, answered by data.
    pub const SND_UD2: u8 = 0x43;
    /// Request of alarm data.
    pub const REQ_UD1: u8 = 0x5a;
    /// Request of data.
    pub const REQ_UD2: u8 = 0x5b;
    /// Request of the state of the link.
    pub const REQ_SKE: u8 = 0x49;
    /// Data from the slave.
    pub const RSP_UD: u8 = 0x08;
    /// Frame count bit of a master.
    pub const FCB: u8 = 0x20;
    /// Frame count bit valid.
    pub const FCV: u8 = 0x10;
    /// Slave has alarm data.
    pub const ACD: u8 = 0x20;
    /// Slave is busy.
    pub const DFC: u8 = 0x10;
    /// Set in frames of a master.
    pub const PRM: u8 = 0x40;

    /// Whether `control` says "data from the slave", whatever its flags.
    pub const fn is_response(control: u8) -> bool {
        control & !(ACD | DFC) == RSP_UD
    }
}

/// One frame; control frames are long frames without data.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Frame<'a> {
    /// E5.
    Ack,
    /// 10 C A.
    Short {
        /// Control field.
        control: u8,
        /// Address field.
        address: u8,
    },
    /// 68 L L 68 C A CI data.
    Long {
        /// Control field.
        control: u8,
        /// Address field.
        address: u8,
        /// Control information field.
        ci: u8,
        /// 0 to 252 bytes behind the CI field.
        data: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Longest frame on the line.
    pub const MAX_LEN: usize = 261;
    /// Most data behind the CI field.
    pub const MAX_DATA: usize = 252;

    /// Reads exactly one frame.
    ///
    /// # Errors
    /// The first check of EN 13757-2 that fails: start, length, checksum, stop.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        match *bytes {
            [ACK] => Ok(Self::Ack),
            [SHORT, control, address, sum, stop] => {
                check(&[control, address], sum, stop)?;
                Ok(Self::Short { control, address })
            }
            [LONG, length, again, LONG, ref rest @ ..] => {
                if length != again || length < 3 {
                    return Err(Error::Length);
                }
                let Some((body, &[sum, stop])) = rest.split_at_checked(usize::from(length)) else {
                    return Err(Error::Length);
                };
                check(body, sum, stop)?;
                match *body {
                    [control, address, ci, ref data @ ..] => Ok(Self::Long {
                        control,
                        address,
                        ci,
                        data,
                    }),
                    _ => Err(Error::Length),
                }
            }
            _ => Err(Error::NoFrame),
        }
    }

    /// The bytes on the line.
    ///
    /// # Errors
    /// [`Error::FrameTooLong`] for more than 252 bytes of data.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut line = Vec::new();
        match *self {
            Self::Ack => line.push(ACK),
            Self::Short { control, address } => {
                let sum = control.wrapping_add(address);
                line.extend_from_slice(&[SHORT, control, address, sum, STOP]);
            }
            Self::Long {
                control,
                address,
                ci,
                data,
            } => {
                if data.len() > Self::MAX_DATA {
                    return Err(Error::FrameTooLong);
                }
                let length = data.len() as u8 + 3;
                line.extend_from_slice(&[LONG, length, length, LONG, control, address, ci]);
                line.extend_from_slice(data);
                let sum = sum(line.get(4..).unwrap_or_default());
                line.extend_from_slice(&[sum, STOP]);
            }
        }
        Ok(line)
    }
}

fn check(body: &[u8], got: u8, stop: u8) -> Result<(), Error> {
    let expected = sum(body);
    if got != expected {
        return Err(Error::Checksum { expected, got });
    }
    if stop != STOP {
        return Err(Error::Stop);
    }
    Ok(())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

pub(crate) const ACK: u8 = 0xe5;
pub(crate) const SHORT: u8 = 0x10;
pub(crate) const LONG: u8 = 0x68;
const STOP: u8 = 0x16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples() {
        let short = |control, address| Frame::Short { control, address };
        let baud = Frame::Long {
            control: control::SND_UD,
            address: 1,
            ci: 0xbd,
            data: &[],
        };
        for (frame, line) in [
            (short(control::SND_NKE, 1), &b"\x10\x40\x01\x41\x16"[..]),
            (
                short(control::REQ_UD2 | control::FCB, 1),
                b"\x10\x7b\x01\x7c\x16",
            ),
            (baud, b"\x68\x03\x03\x68\x53\x01\xbd\x11\x16"),
            (Frame::Ack, b"\xe5"),
        ] {
            assert_eq!(frame.encode().as_deref(), Ok(line));
            assert_eq!(Frame::parse(line), Ok(frame));
        }
    }

    #[test]
    fn each_check_has_its_error() {
        for (line, error) in [
            (&b""[..], Error::NoFrame),
            (b"\x10\x40\x01", Error::NoFrame),
            (
                b"\x10\x40\x01\x42\x16",
                Error::Checksum {
                    expected: 0x41,
                    got: 0x42,
                },
            ),
            (b"\x10\x40\x01\x41\x17", Error::Stop),
            (b"\x68\x03\x04\x68\x53\x01\xbd\x11\x16", Error::Length),
            (b"\x68\x02\x02\x68\x53\x01\x54\x16", Error::Length),
            (b"\x68\x03\x03\x68\x53\x01\xbd\x11\x16\x00", Error::Length),
        ] {
            assert_eq!(Frame::parse(line), Err(error), "{line:02x?}");
        }
    }
}
