// SPDX-License-Identifier: MIT OR Apache-2.0
//! The IP stack of the device, with a fixed address, and its one TCP connection.

use alloc::vec;
use core::net::{Ipv4Addr, SocketAddrV4};

use smgw_cls::settings::Network;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// Stack and connection.
pub struct Station<D> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'static>,
    connection: SocketHandle,
}

/// How the connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Connection {
    /// Nothing, or no more.
    None,
    /// The peer is called.
    Calling,
    /// It stands; octets still come.
    Standing,
    /// The peer ended its direction, and all its octets were taken.
    PeerEnded,
}

impl<D: Device> Station<D> {
    /// Brings up the stack; `seed` makes sequence numbers unpredictable.
    pub fn new(mut device: D, address: [u8; 6], network: &Network, seed: u64, now: u64) -> Self {
        let mut config = Config::new(EthernetAddress(address).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, instant(now));
        interface.update_ip_addrs(|addresses| {
            // The list is empty, so there is room.
            let _ = addresses.push(IpCidr::new(
                IpAddress::Ipv4(network.address),
                network.prefix.min(32),
            ));
        });
        if let Some(router) = network.router {
            // As above.
            let _ = interface.routes_mut().add_default_ipv4_route(router);
        }
        let buffer = || SocketBuffer::new(vec![0; BUFFER]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_timeout(Some(SILENCE));
        socket.set_keep_alive(Some(KEEP_ALIVE));
        // Each write is a message that somebody waits for.
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(vec![]);
        let connection = sockets.add(socket);
        Self {
            device,
            interface,
            sockets,
            connection,
        }
    }

    /// Lets frames come and go.
    pub fn poll(&mut self, now: u64) {
        self.interface
            .poll(instant(now), &mut self.device, &mut self.sockets);
    }

    /// When the stack has something to do by itself.
    pub fn poll_at(&mut self, now: u64) -> Option<u64> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        u64::try_from(at.total_millis()).ok()
    }

    /// Calls the peer from a port of the dynamic range.
    ///
    /// Without an answer the connection is gone again after 20 s.
    pub fn connect(&mut self, peer: SocketAddrV4, port: u16) -> bool {
        let local = 49_152 | (port & 0x3fff);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.connection);
        socket.abort();
        let peer = (IpAddress::Ipv4(*peer.ip()), peer.port());
        socket
            .connect(self.interface.context(), peer, local)
            .is_ok()
    }

    /// How the connection is.
    pub fn connection(&self) -> Connection {
        let socket = self.sockets.get::<Socket<'_>>(self.connection);
        match socket.state() {
            State::Closed | State::Listen | State::TimeWait => Connection::None,
            State::SynSent | State::SynReceived => Connection::Calling,
            _ if socket.may_recv() || socket.can_recv() => Connection::Standing,
            _ => Connection::PeerEnded,
        }
    }

    /// Takes up to `most` octets and gives them to `take`.
    pub fn receive(&mut self, most: usize, take: impl FnOnce(&[u8])) -> usize {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.connection);
        let received = socket.recv(|octets| {
            let octets = octets.get(..most).unwrap_or(octets);
            take(octets);
            (octets.len(), octets.len())
        });
        received.unwrap_or(0)
    }

    /// Sends as much as there is room for; how much that was.
    pub fn send(&mut self, octets: &[u8]) -> usize {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.connection);
        socket.send_slice(octets).unwrap_or(0)
    }

    /// Ends our direction behind what was sent.
    pub fn close(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.connection).close();
    }

    /// Breaks the connection.
    pub fn abort(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.connection).abort();
    }

    /// Whether all that was sent has been acknowledged.
    pub fn is_drained(&self) -> bool {
        let socket = self.sockets.get::<Socket<'_>>(self.connection);
        socket.send_queue() == 0
    }

    /// The address the interface has.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.interface.ipv4_addr()
    }
}

impl<D> core::fmt::Debug for Station<D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Station").finish_non_exhaustive()
    }
}

fn instant(now: u64) -> Instant {
    Instant::from_millis(i64::try_from(now).unwrap_or(i64::MAX))
}

/// Octets of each socket buffer.
const BUFFER: usize = 8 * 1_024;
/// Without an acknowledgement for so long the peer is gone.
const SILENCE: Duration = Duration::from_secs(20);
/// So often a silent peer is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
