// SPDX-License-Identifier: MIT OR Apache-2.0
//! Request and reply (RFC 1928 §4–6), narrowed to names by REQ.SOCKS.Connect.20/30/35/40 and table 11.1.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::{SOCKS_VERSION, SocksError};

/// What the client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    /// 01: the only one a gateway serves.
    Connect,
    /// 02.
    Bind,
    /// 03.
    UdpAssociate,
}

impl Command {
    /// The octet on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Connect => 1,
            Self::Bind => 2,
            Self::UdpAssociate => 3,
        }
    }
}

/// Where the client wants to go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// ATYP 01.
    V4([u8; 4]),
    /// ATYP 03: the octets as they came, 0 to 255 of them; [`ConnectName`] tells whether they are a name.
    Name(Vec<u8>),
    /// ATYP 04.
    V6([u8; 16]),
}

/// A request `05 cmd 00 atyp address port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What is asked for.
    pub command: Command,
    /// Destination address.
    pub address: Address,
    /// Destination port.
    pub port: u16,
}

impl Request {
    /// CONNECT to raw name octets, valid or not; `None` when they are more than 255.
    pub fn connect(name: &[u8], port: u16) -> Option<Self> {
        (name.len() <= 255).then(|| Self {
            command: Command::Connect,
            address: Address::Name(name.to_vec()),
            port,
        })
    }

    /// Reads a request from the front of `input`; returns it and the octets it took, or `None` while octets are missing.
    ///
    /// # Errors
    /// The octet at fault, as soon as it is seen.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, SocksError> {
        let mut reader = Reader { input, taken: 0 };
        finish(reader.request(), reader.taken)
    }

    /// The octets on the wire; a name longer than 255 octets is cut there.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(7 + 255);
        out.extend([SOCKS_VERSION, self.command.code(), 0]);
        match &self.address {
            Address::V4(octets) => {
                out.push(ATYP_V4);
                out.extend(octets);
            }
            Address::Name(name) => {
                let name = name.get(..255).unwrap_or(name);
                out.extend([ATYP_NAME, name.len() as u8]);
                out.extend(name);
            }
            Address::V6(octets) => {
                out.push(ATYP_V6);
                out.extend(octets);
            }
        }
        out.extend(self.port.to_be_bytes());
        out
    }
}

/// A name a gateway may look up: 1–63 characters of `a-z 0-9 . -` (REQ.SOCKS.Connect.35).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ConnectName(String);

impl ConnectName {
    /// The longest name.
    pub const MAX_LEN: usize = 63;

    /// Accepts the octets of a request, or of a configured `localServerName`.
    ///
    /// # Errors
    /// [`ConnectNameError`]; a gateway answers it with [`ReplyCode::NoSuchProfile`].
    pub fn parse(raw: &[u8]) -> Result<Self, ConnectNameError> {
        if !(1..=Self::MAX_LEN).contains(&raw.len()) {
            return Err(ConnectNameError::Length(raw.len()));
        }
        let allowed = |octet: &u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        match raw.iter().position(|octet| !allowed(octet)) {
            Some(at) => Err(ConnectNameError::Character {
                at,
                octet: raw.get(at).copied().unwrap_or_default(),
            }),
            None => Ok(Self(raw.iter().copied().map(char::from).collect())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why octets are no [`ConnectName`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectNameError {
    /// Not 1 to 63 octets long.
    Length(usize),
    /// An octet outside `a-z 0-9 . -`.
    Character {
        /// Its position, from 0.
        at: usize,
        /// The octet.
        octet: u8,
    },
}

impl fmt::Display for ConnectNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(got) => write!(f, "name has {got} characters, expected 1 to 63"),
            Self::Character { at, octet } => {
                write!(
                    f,
                    "name holds octet {octet:#04x} at {at}, expected a-z, 0-9, '.' or '-'"
                )
            }
        }
    }
}

impl core::error::Error for ConnectNameError {}

/// Reply codes (RFC 1928 §6) with the meaning DS table 11.1 gives them on the proxy.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum ReplyCode {
    /// 00: the channel is open.
    Succeeded = 0x00,
    /// 01: any failure without a code of its own.
    GeneralFailure = 0x01,
    /// 02 (not allowed by ruleset): no such profile for this CLS.
    NoSuchProfile = 0x02,
    /// 03: not used by a gateway.
    NetworkUnreachable = 0x03,
    /// 04 (host unreachable): the WAN peer does not answer in time.
    PeerTimeout = 0x04,
    /// 05 (connection refused): the WAN peer refuses, by TCP or by TLS.
    PeerRefused = 0x05,
    /// 06: not used by a gateway.
    TtlExpired = 0x06,
    /// 07: the command is not CONNECT.
    CommandNotSupported = 0x07,
    /// 08: the address type is not served.
    AddressTypeNotSupported = 0x08,
}

impl ReplyCode {
    /// The octet on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl TryFrom<u8> for ReplyCode {
    type Error = SocksError;

    fn try_from(code: u8) -> Result<Self, SocksError> {
        Ok(match code {
            0x00 => Self::Succeeded,
            0x01 => Self::GeneralFailure,
            0x02 => Self::NoSuchProfile,
            0x03 => Self::NetworkUnreachable,
            0x04 => Self::PeerTimeout,
            0x05 => Self::PeerRefused,
            0x06 => Self::TtlExpired,
            0x07 => Self::CommandNotSupported,
            0x08 => Self::AddressTypeNotSupported,
            other => return Err(SocksError::Reply(other)),
        })
    }
}

/// A reply `05 rep 00 atyp bnd.addr bnd.port`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The outcome.
    pub code: ReplyCode,
    /// Bound address; a CLS ignores it (REQ.SOCKS.Connect.50).
    pub bound: Address,
    /// Bound port; likewise ignored.
    pub bound_port: u16,
}

impl Reply {
    /// The reply a gateway sends: BND.ADDR and BND.PORT are zero.
    pub const fn new(code: ReplyCode) -> Self {
        Self {
            code,
            bound: Address::V4([0; 4]),
            bound_port: 0,
        }
    }

    /// Reads a reply from the front of `input`; returns it and the octets it took, or `None` while octets are missing.
    ///
    /// # Errors
    /// The octet at fault, as soon as it is seen.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, SocksError> {
        let mut reader = Reader { input, taken: 0 };
        finish(reader.reply(), reader.taken)
    }

    /// The octets on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let as_request = Request {
            command: Command::Connect,
            address: self.bound.clone(),
            port: self.bound_port,
        };
        let mut out = as_request.encode();
        // Reply and request share one layout but for this octet.
        if let Some(code) = out.get_mut(1) {
            *code = self.code.code();
        }
        out
    }
}

/// Octets are missing, or the peer is at fault.
enum Stop {
    Incomplete,
    Fault(SocksError),
}

impl From<SocksError> for Stop {
    fn from(error: SocksError) -> Self {
        Self::Fault(error)
    }
}

/// Tells "wait for more" from "the peer is at fault", as the public parsers do.
fn finish<T>(outcome: Result<T, Stop>, taken: usize) -> Result<Option<(T, usize)>, SocksError> {
    match outcome {
        Ok(value) => Ok(Some((value, taken))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Fault(error)) => Err(error),
    }
}

struct Reader<'a> {
    input: &'a [u8],
    taken: usize,
}

impl Reader<'_> {
    fn request(&mut self) -> Result<Request, Stop> {
        self.version()?;
        let command = match self.octet()? {
            1 => Command::Connect,
            2 => Command::Bind,
            3 => Command::UdpAssociate,
            other => return Err(SocksError::Command(other).into()),
        };
        self.reserved()?;
        Ok(Request {
            command,
            address: self.address()?,
            port: self.port()?,
        })
    }

    fn reply(&mut self) -> Result<Reply, Stop> {
        self.version()?;
        let code = ReplyCode::try_from(self.octet()?)?;
        self.reserved()?;
        Ok(Reply {
            code,
            bound: self.address()?,
            bound_port: self.port()?,
        })
    }

    fn version(&mut self) -> Result<(), Stop> {
        match self.octet()? {
            SOCKS_VERSION => Ok(()),
            other => Err(SocksError::Version(other).into()),
        }
    }

    fn reserved(&mut self) -> Result<(), Stop> {
        match self.octet()? {
            0 => Ok(()),
            other => Err(SocksError::Reserved(other).into()),
        }
    }

    fn address(&mut self) -> Result<Address, Stop> {
        Ok(match self.octet()? {
            ATYP_V4 => Address::V4(self.octets()?),
            ATYP_NAME => {
                let len = usize::from(self.octet()?);
                Address::Name(self.take(len)?.to_vec())
            }
            ATYP_V6 => Address::V6(self.octets()?),
            other => return Err(SocksError::AddressType(other).into()),
        })
    }

    fn port(&mut self) -> Result<u16, Stop> {
        self.octets().map(u16::from_be_bytes)
    }

    fn octet(&mut self) -> Result<u8, Stop> {
        self.octets().map(|[octet]| octet)
    }

    fn octets<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        self.take(N)?.try_into().map_err(|_| Stop::Incomplete)
    }

    fn take(&mut self, len: usize) -> Result<&[u8], Stop> {
        let end = self.taken + len;
        let octets = self.input.get(self.taken..end).ok_or(Stop::Incomplete)?;
        self.taken = end;
        Ok(octets)
    }
}

const ATYP_V4: u8 = 1;
const ATYP_NAME: u8 = 3;
const ATYP_V6: u8 = 4;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn connect_by_name_byte_for_byte() {
        let wire = b"\x05\x01\x00\x03\x0bemt.example\x11\x51";
        let request = Request::connect(b"emt.example", 4433).unwrap();
        assert_eq!(request.encode(), wire);
        assert_eq!(Request::parse(wire), Ok(Some((request, wire.len()))));
    }

    #[test]
    fn bind_udp_and_addresses() {
        let (bind, taken) = Request::parse(&[5, 2, 0, 1, 127, 0, 0, 1, 0, 80, 9])
            .unwrap()
            .unwrap();
        assert_eq!(
            (bind.command, &bind.address, taken),
            (Command::Bind, &Address::V4([127, 0, 0, 1]), 10)
        );
        let mut v6 = vec![5, 3, 0, 4];
        v6.extend([0; 15]);
        v6.extend([1, 0x01, 0xbb]);
        let (udp, taken) = Request::parse(&v6).unwrap().unwrap();
        assert_eq!(
            (udp.command, udp.port, taken),
            (Command::UdpAssociate, 443, 22)
        );
    }

    #[test]
    fn faults_are_told_at_the_first_wrong_octet() {
        assert_eq!(Request::parse(&[4]), Err(SocksError::Version(4)));
        assert_eq!(Request::parse(&[5, 9]), Err(SocksError::Command(9)));
        assert_eq!(Request::parse(&[5, 1, 1]), Err(SocksError::Reserved(1)));
        assert_eq!(
            Request::parse(&[5, 1, 0, 2]),
            Err(SocksError::AddressType(2))
        );
        assert_eq!(Reply::parse(&[5, 9]), Err(SocksError::Reply(9)));
    }

    #[test]
    fn replies_of_table_11_1() {
        for (code, octet) in [
            (ReplyCode::Succeeded, 0),
            (ReplyCode::NoSuchProfile, 2),
            (ReplyCode::PeerTimeout, 4),
            (ReplyCode::PeerRefused, 5),
            (ReplyCode::CommandNotSupported, 7),
            (ReplyCode::AddressTypeNotSupported, 8),
        ] {
            let wire = Reply::new(code).encode();
            assert_eq!(wire, [5, octet, 0, 1, 0, 0, 0, 0, 0, 0]);
            assert_eq!(Reply::parse(&wire), Ok(Some((Reply::new(code), 10))));
        }
    }

    #[test]
    fn a_junk_bound_address_is_read_over() {
        let wire = b"\x05\x00\x00\x03\x04junk\xff\xff";
        let (reply, taken) = Reply::parse(wire).unwrap().unwrap();
        assert_eq!((reply.code, taken), (ReplyCode::Succeeded, wire.len()));
    }

    #[test]
    fn names_are_parsed_not_validated() {
        assert_eq!(
            ConnectName::parse(b"emt-1.example").unwrap().as_str(),
            "emt-1.example"
        );
        assert!(ConnectName::parse(&[b'a'; 63]).is_ok());
        assert_eq!(
            ConnectName::parse(&[b'a'; 64]),
            Err(ConnectNameError::Length(64))
        );
        assert_eq!(ConnectName::parse(b""), Err(ConnectNameError::Length(0)));
        for (name, at, octet) in [
            (&b"Emt"[..], 0, b'E'),
            (b"e_t", 1, b'_'),
            (b"emt\0", 3, 0),
            ("ümt".as_bytes(), 0, 0xc3),
        ] {
            assert_eq!(
                ConnectName::parse(name),
                Err(ConnectNameError::Character { at, octet })
            );
        }
        assert_eq!(
            ConnectName::parse(b"e_t").unwrap_err().to_string(),
            "name holds octet 0x5f at 1, expected a-z, 0-9, '.' or '-'"
        );
    }

    fn address() -> impl Strategy<Value = Address> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(Address::V4),
            prop::collection::vec(any::<u8>(), 0..=255).prop_map(Address::Name),
            any::<[u8; 16]>().prop_map(Address::V6),
        ]
    }

    proptest! {
        #[test]
        fn round_trip_and_every_prefix_waits(
            command in prop_oneof![Just(Command::Connect), Just(Command::Bind), Just(Command::UdpAssociate)],
            address in address(),
            port in any::<u16>(),
            code in 0u8..=8,
        ) {
            let reply = Reply { code: ReplyCode::try_from(code).unwrap(), bound: address.clone(), bound_port: port };
            let request = Request { command, address, port };
            let (request_wire, reply_wire) = (request.encode(), reply.encode());
            prop_assert_eq!(Request::parse(&request_wire), Ok(Some((request, request_wire.len()))));
            prop_assert_eq!(Reply::parse(&reply_wire), Ok(Some((reply, reply_wire.len()))));
            for end in 0..request_wire.len() {
                prop_assert_eq!(Request::parse(&request_wire[..end]), Ok(None));
                prop_assert_eq!(Reply::parse(&reply_wire[..end]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..300), like_socks in any::<bool>()) {
            if like_socks {
                bytes.splice(0..0, [5, 1, 0, 3]);
            }
            if let Ok(Some((request, taken))) = Request::parse(&bytes) {
                prop_assert_eq!(request.encode(), &bytes[..taken]);
            }
            let _ = Reply::parse(&bytes);
            let _ = ConnectName::parse(&bytes);
        }
    }
}
