// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of network interfaces, told to the kernel in routing netlink messages.

use std::fs;
use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt,
};

use super::config::{Interface, Prefixed};
use super::netlink::{acknowledged, new_address, switch_on};
use super::wrong;

/// Gives the interface with this hardware address its address and switches it on.
pub(super) fn configure(interface: &Interface) -> io::Result<()> {
    let index = index_of(&interface.mac)?;
    let Prefixed { address, prefix } = interface.address;
    ask(&new_address(index, address, prefix))?;
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
    acknowledged(answer.get(..len).unwrap_or_default()).map_err(io::Error::from)
}

const INTERFACES: &str = "/sys/class/net";
#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// The kernel of the machine that runs the test judges the form: without privilege it refuses what it understood,
    /// with it there is no interface of this number.
    #[test]
    fn the_kernel_understands() {
        let address = Ipv4Addr::new(10, 0, 2, 15);
        for question in [
            new_address(u32::MAX >> 1, address, 24),
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
}
