// SPDX-License-Identifier: MIT OR Apache-2.0
//! Routing netlink messages that give a network interface its address, and the kernel's answers (RFC 3549).

use std::io;
use std::net::Ipv4Addr;

use thiserror::Error;

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The kernel refused it, with this error number.
    #[error("the kernel refuses: {}", io::Error::from_raw_os_error(*.0))]
    Kernel(i32),
    /// The answer is another one.
    #[error("the kernel's answer is no acknowledgement")]
    Other,
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Kernel(number) => Self::from_raw_os_error(number),
            Refusal::Other => Self::new(io::ErrorKind::InvalidData, refusal.to_string()),
        }
    }
}

/// RTM_NEWADDR: this address, and no other of the interface's is touched.
pub fn new_address(index: u32, address: Ipv4Addr, prefix: u8) -> Vec<u8> {
    let mut body = vec![AF_INET, prefix, 0, 0];
    body.extend(index.to_ne_bytes());
    for kind in [IFA_LOCAL, IFA_ADDRESS] {
        body.extend(attribute(kind, address));
    }
    message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body)
}

fn attribute(kind: u16, address: Ipv4Addr) -> Vec<u8> {
    let mut attribute = Vec::from(8u16.to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(address.octets());
    attribute
}

/// RTM_NEWLINK: the flag IFF_UP.
pub fn switch_on(index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    for word in [index, IFF_UP, IFF_UP] {
        body.extend(word.to_ne_bytes());
    }
    message(RTM_NEWLINK, 0, &body)
}

/// A netlink message that wants to be acknowledged.
fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    // Sequence number and sender: one question on a socket of its own.
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Whether an NLMSG_ERROR message says that there was none.
///
/// # Errors
/// What it says in place of that.
pub fn acknowledged(answer: &[u8]) -> Result<(), Refusal> {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok());
    let code = answer.get(HEADER..HEADER + 4);
    let code = code.and_then(|code| code.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        // The kernel gives error numbers as negative ones; a positive one is none of its.
        (Some(NLMSG_ERROR), Some(code)) => match code.checked_neg() {
            Some(number) if number > 0 => Err(Refusal::Kernel(number)),
            _ => Err(Refusal::Other),
        },
        _ => Err(Refusal::Other),
    }
}

const HEADER: usize = 16;
// Numbers of the kernel's interface: linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h.
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_taken_for_an_acknowledgement() {
        let full = [vec![20, 0, 0, 0, 2, 0], vec![0; 14]].concat();
        assert!(acknowledged(&full).is_ok());
        for end in 0..full.len() {
            assert!(acknowledged(&full[..end]).is_err());
        }
    }
}
