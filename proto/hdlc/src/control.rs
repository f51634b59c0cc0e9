// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control byte, modulo 8 (ISO/IEC 13239 §5.3).

/// What a frame is for. `poll` is the P bit of a command and the F bit of a response.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Control {
    /// I: numbered information.
    Information {
        /// N(S), 0 to 7.
        send: u8,
        /// N(R), 0 to 7: the number expected next.
        receive: u8,
        /// P/F.
        poll: bool,
    },
    /// RR: ready.
    ReceiveReady {
        /// N(R).
        receive: u8,
        /// P/F.
        poll: bool,
    },
    /// RNR: busy.
    ReceiveNotReady {
        /// N(R).
        receive: u8,
        /// P/F.
        poll: bool,
    },
    /// SNRM: set normal response mode.
    Snrm {
        /// P.
        poll: bool,
    },
    /// DISC: disconnect.
    Disc {
        /// P.
        poll: bool,
    },
    /// UA: accepted.
    Ua {
        /// F.
        poll: bool,
    },
    /// DM: not connected.
    Dm {
        /// F.
        poll: bool,
    },
    /// FRMR: a frame was rejected; the information says which and why.
    Frmr {
        /// F.
        poll: bool,
    },
    /// UI: information without a number or an acknowledgement.
    Ui {
        /// P/F.
        poll: bool,
    },
    /// A byte the normal response mode of the LMN and of DLMS does not use.
    Other(u8),
}

const POLL: u8 = 0x10;

impl Control {
    /// The meaning of a byte; every byte has one.
    pub const fn from_byte(byte: u8) -> Self {
        let poll = byte & POLL != 0;
        let receive = byte >> 5;
        if byte & 1 == 0 {
            let send = byte >> 1 & 7;
            return Self::Information {
                send,
                receive,
                poll,
            };
        }
        match (byte & 0x0f, byte & !POLL) {
            (0x01, _) => Self::ReceiveReady { receive, poll },
            (0x05, _) => Self::ReceiveNotReady { receive, poll },
            (_, 0x83) => Self::Snrm { poll },
            (_, 0x43) => Self::Disc { poll },
            (_, 0x63) => Self::Ua { poll },
            (_, 0x0f) => Self::Dm { poll },
            (_, 0x87) => Self::Frmr { poll },
            (_, 0x03) => Self::Ui { poll },
            _ => Self::Other(byte),
        }
    }

    /// The byte on the line; numbers are taken modulo 8.
    pub const fn byte(self) -> u8 {
        let (byte, poll) = match self {
            Self::Information {
                send,
                receive,
                poll,
            } => (receive << 5 | (send & 7) << 1, poll),
            Self::ReceiveReady { receive, poll } => (receive << 5 | 0x01, poll),
            Self::ReceiveNotReady { receive, poll } => (receive << 5 | 0x05, poll),
            Self::Snrm { poll } => (0x83, poll),
            Self::Disc { poll } => (0x43, poll),
            Self::Ua { poll } => (0x63, poll),
            Self::Dm { poll } => (0x0f, poll),
            Self::Frmr { poll } => (0x87, poll),
            Self::Ui { poll } => (0x03, poll),
            Self::Other(byte) => return byte,
        };
        if poll { byte | POLL } else { byte }
    }

    /// Whether the P or F bit is set.
    pub const fn poll(self) -> bool {
        self.byte() & POLL != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        for byte in 0..=255 {
            assert_eq!(Control::from_byte(byte).byte(), byte);
        }
        assert_eq!(Control::from_byte(0x93), Control::Snrm { poll: true });
        assert_eq!(Control::from_byte(0x1f), Control::Dm { poll: true });
    }
}
