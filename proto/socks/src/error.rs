// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a SOCKS peer can do wrong.

use core::fmt;

/// Bytes that no SOCKS message starts with. The peer that sent them is at fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SocksError {
    /// The version octet is not 05 (SOCKS4 sends 04 here).
    Version(u8),
    /// A greeting that offers no method at all.
    NoMethods,
    /// The command octet is none of CONNECT, BIND and UDP ASSOCIATE (answer: reply 07).
    Command(u8),
    /// The reserved octet is not 00.
    Reserved(u8),
    /// The address type is none of IPv4, name and IPv6 (answer: reply 08).
    AddressType(u8),
    /// A reply code outside RFC 1928 §6.
    Reply(u8),
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(got) => write!(f, "peer speaks SOCKS version {got}, expected 5"),
            Self::NoMethods => f.write_str("peer offers no authentication method"),
            Self::Command(got) => write!(f, "peer sent the unknown command {got:#04x}"),
            Self::Reserved(got) => write!(f, "peer set the reserved octet to {got:#04x}"),
            Self::AddressType(got) => write!(f, "peer sent the unknown address type {got:#04x}"),
            Self::Reply(got) => write!(f, "peer sent the unknown reply code {got:#04x}"),
        }
    }
}

impl core::error::Error for SocksError {}
