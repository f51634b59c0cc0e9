// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of network interfaces, told to the kernel in routing netlink messages (RFC 3549).

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

use super::config::{Interface, Prefixed};
use super::wrong;

/// Gives the interface with this hardware address its address and switches it on.
pub(super) fn configure(interface: &Interface) -> io::Result<()> {
    let index = index_of(&interface.mac)?;
    ask(&new_address(index, interface.address))?;
    ask(&switch_on(index))
}

/// Switches the loopback interface on; the kernel gives it its address.
pub(super) fn loopback() -> io::Result<()> {
    ask(&switch_on(index_in("lo")?))
}

fn index_of(mac: &str) -> io::Result<u32> {
    let names: Vec<_> = fs::read_dir(INTERFACES)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let found = names.iter().find(|name| {
        fs::read_to_string(format!("{INTERFACES}/{name}/address"))
            .is_ok_and(|address| address.trim().eq_ignore_ascii_case(mac))
    });
    match found {
        Some(name) => index_in(name),
        None => Err(wrong(&format!(
            "there is no network interface {mac}, only {}",
            names.join(", ")
        ))),
    }
}

fn index_in(name: &str) -> io::Result<u32> {
    fs::read_to_string(format!("{INTERFACES}/{name}/ifindex"))?
        .trim()
        .parse()
        .map_err(|_| wrong("the kernel's interface index is no number"))
}

/// RTM_NEWADDR: this address, and no other of the interface's is touched.
fn new_address(index: u32, Prefixed { address, prefix }: Prefixed) -> Vec<u8> {
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
fn switch_on(index: u32) -> Vec<u8> {
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

fn ask(message: &[u8]) -> io::Result<()> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE, number 0, is what a netlink socket speaks when nothing else is said.
        None,
    )?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(super::SOON))?;
    send(&socket, message, SendFlags::empty())?;
    let mut answer = [0; 512];
    let (len, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(answer.get(..len).unwrap_or_default())
}

/// Whether an NLMSG_ERROR message says that there was none.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok());
    let code = answer.get(HEADER..HEADER + 4);
    let code = code.and_then(|code| code.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(wrong("the kernel's answer is no acknowledgement")),
    }
}

const INTERFACES: &str = "/sys/class/net";
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

    /// The kernel of the machine that runs the test judges the form: without privilege it refuses what it understood,
    /// with it there is no interface of this number.
    #[test]
    fn the_kernel_understands() {
        let address = Prefixed {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
        };
        for question in [
            new_address(u32::MAX >> 1, address),
            switch_on(u32::MAX >> 1),
        ] {
            let error = ask(&question).unwrap_err();
            let code = error.raw_os_error();
            // EPERM, ENODEV, ENXIO; a message of wrong form is EINVAL.
            assert!(matches!(code, Some(1 | 19 | 6)), "{error}");
        }
        assert!(index_in("lo").is_ok());
        assert!(index_of("02:00:00:00:00:99").is_err());
    }

    #[test]
    fn no_answer_is_taken_for_an_acknowledgement() {
        let full = [vec![20, 0, 0, 0, 2, 0], vec![0; 14]].concat();
        assert!(acknowledged(&full).is_ok());
        for end in 0..full.len() {
            assert!(acknowledged(&full[..end]).is_err());
        }
    }
}
