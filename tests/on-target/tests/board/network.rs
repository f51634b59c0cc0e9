// SPDX-License-Identifier: MIT OR Apache-2.0
//! The board's Ethernet answers another stack, and its watchdog starts it anew when the application hangs.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant as Clock};

use bench_probe::qemu::Network;
use on_target::{Target, WATCHDOG_CONTROL, image};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::icmp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr};

/// How long the board may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the host waits for a frame before it looks after its timers.
const TICK: Duration = Duration::from_millis(20);

/// Address of the board.
const BOARD_MAC: &str = "52:54:00:10:03:14";
const BOARD_IP: IpAddress = IpAddress::v4(10, 0, 3, 20);
const IDENT: u16 = 0x4d47;

/// The other end of the board's cable: one Ethernet frame in each datagram.
struct Cable {
    socket: UnixDatagram,
    board: std::path::PathBuf,
    received: VecDeque<Vec<u8>>,
}

impl Cable {
    fn plug(folder: &Path) -> (Self, Network) {
        let [board, host] = ["board.sock", "host.sock"].map(|name| folder.join(name));
        let socket = UnixDatagram::bind(&host).expect("a socket");
        socket.set_read_timeout(Some(TICK)).expect("a time-out");
        let network = Network::Datagram {
            local: board.clone(),
            remote: host,
            mac: BOARD_MAC.to_owned(),
        };
        let received = VecDeque::new();
        (
            Self {
                socket,
                board,
                received,
            },
            network,
        )
    }

    /// Waits a tick for a frame.
    fn listen(&mut self) {
        let mut frame = vec![0; 2048];
        if let Ok(length) = self.socket.recv(&mut frame) {
            frame.truncate(length);
            self.received.push_back(frame);
        }
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Send<'a>(&'a UnixDatagram, &'a Path);

impl TxToken for Send<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        // A frame may get lost; who misses it sends it again.
        let _ = self.0.send_to(&frame, self.1);
        result
    }
}

impl Device for Cable {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Send<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Frame, Send<'_>)> {
        let frame = self.received.pop_front()?;
        Some((Frame(frame), Send(&self.socket, &self.board)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Send<'_>> {
        Some(Send(&self.socket, &self.board))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

#[test]
fn ethernet_answers_pings_of_every_length() {
    let Some(image) = image("network") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let (mut cable, network) = Cable::plug(folder.path());
    let target = Target::start(&image, None, network);

    let began = Clock::now();
    let now =
        || Instant::from_millis(i64::try_from(began.elapsed().as_millis()).expect("a short test"));
    let address = EthernetAddress([0x52, 0x54, 0, 0x10, 3, 2]);
    let mut interface = Interface::new(Config::new(address.into()), &mut cable, now());
    interface.update_ip_addrs(|addresses| {
        addresses
            .push(IpCidr::new(IpAddress::v4(10, 0, 3, 2), 24))
            .expect("room for an address");
    });
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 8192]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket.bind(icmp::Endpoint::Ident(IDENT)).expect("free");
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(socket);

    // All remainders of words, the shortest and the longest frame.
    let lengths = (0..9).chain([17, 18, 19, 63, 64, 500, 1001, 1469, 1470, 1471, 1472]);
    for (sequence, length) in (1_u16..).zip(lengths) {
        let data: Vec<u8> = (0..length)
            .map(|at: usize| (at * 7 + length) as u8)
            .collect();
        let deadline = Clock::now() + PATIENCE;
        let mut asked = None;
        loop {
            assert!(Clock::now() < deadline, "no answer to {length} bytes");
            let socket = sockets.get_mut::<icmp::Socket>(handle);
            // Asked again from time to time: the first ones may come before the board is awake.
            if asked.is_none_or(|asked: Clock| asked.elapsed() > Duration::from_millis(500))
                && socket.can_send()
            {
                let request = Icmpv4Repr::EchoRequest {
                    ident: IDENT,
                    seq_no: sequence,
                    data: &data,
                };
                let room = socket
                    .send(request.buffer_len(), BOARD_IP)
                    .expect("room for a packet");
                request.emit(&mut Icmpv4Packet::new_unchecked(room), &Default::default());
                asked = Some(Clock::now());
            }
            interface.poll(now(), &mut cable, &mut sockets);
            let socket = sockets.get_mut::<icmp::Socket>(handle);
            let answer = socket
                .recv()
                .ok()
                .map(|(packet, from)| (packet.to_vec(), from));
            let Some((packet, from)) = answer else {
                cable.listen();
                continue;
            };
            assert_eq!(from, BOARD_IP);
            let packet = Icmpv4Packet::new_checked(&packet[..]).expect("a whole packet");
            match Icmpv4Repr::parse(&packet, &Default::default()) {
                // Late answers to questions that were repeated.
                Ok(Icmpv4Repr::EchoReply { seq_no, .. }) if seq_no < sequence => {}
                Ok(Icmpv4Repr::EchoReply { data: found, .. }) => {
                    assert_eq!(found, data);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    target.cut_power();
}

#[test]
fn watchdog_starts_a_hanging_application_anew() {
    const STARTS: &str = "SMGW_STARTS";
    const HANG: &str = "SMGW_HANG";
    let Some(image) = image("network") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let (_cable, network) = Cable::plug(folder.path());
    let mut target = Target::start(&image, None, network);
    for start in 1..=3 {
        assert_eq!(target.await_cell(STARTS, |starts| starts >= start), start);
        target.await_cell(HANG, |hang| hang == 0);
        target.set_cell(HANG, 1);
    }
    // Others tell a watchdog that sleeps by this register.
    target.await_word(WATCHDOG_CONTROL, |control| control != 0);
    target.cut_power();
}
