// SPDX-License-Identifier: MIT OR Apache-2.0
//! A world for the device, in memory: Ethernet, the other end of its TCP connection, its pins, its identity.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;

use cls_app::{App, Board, PulseCounter, StartError, Watchdog};
use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use getrandom::SysRng;
use hsm_api::{Curve, Import, KeyId, KeyUsage};
use hsm_pki::{CertificateRequest, self_signed};
use hsm_soft::{PrivateKey, SoftModule};
use rustls::pki_types::CertificateDer;
use smgw_cls::settings::{self, BackOff, Limits, Network, Settings};
use smgw_socks::ConnectName;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

pub const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 20);
pub const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 3, 15), 8443);
pub const NAME: &str = "emt.example";

/// Who the device is, and whom it trusts.
pub fn settings(gateway: &CertificateDer<'_>, curve: settings::KeyCurve) -> Settings {
    let key = PrivateKey::generate(module_curve(curve)).unwrap();
    let module = SoftModule::new();
    let name = KeyId::from("cls");
    module
        .import_key(&name, module_curve(curve), KeyUsage::Sign, &key.to_bytes())
        .unwrap();
    let certificate = self_signed(&module, &name, &CertificateRequest::new("cls")).unwrap();
    Settings {
        server_name: ConnectName::parse(NAME.as_bytes()).unwrap(),
        network: Network {
            address: DEVICE,
            prefix: 24,
            router: None,
        },
        proxy: GATEWAY,
        certificate: certificate.to_vec(),
        key: settings::PrivateKey {
            curve,
            scalar: key.to_bytes(),
        },
        gateway_certificate: gateway.to_vec(),
        limits: Limits::default(),
        back_off: BackOff::default(),
    }
}

pub fn module_curve(curve: settings::KeyCurve) -> Curve {
    match curve {
        settings::KeyCurve::NistP256 => Curve::NistP256,
        settings::KeyCurve::BrainpoolP256r1 => Curve::BrainpoolP256r1,
        other => panic!("no test has {other:?}"),
    }
}

/// The device with a relay of the test's choice.
pub type TestDevice<Relay> = App<Nic, Relay, Button, Meter, Dog>;

/// The parts of a board that the test looks at.
#[derive(Clone, Default)]
pub struct Parts {
    pub button: Rc<Cell<bool>>,
    pub pulses: Rc<Cell<u32>>,
    pub fed: Rc<Cell<u64>>,
}

impl Parts {
    pub fn device<Relay: OutputPin>(
        &self,
        relay: Relay,
        nic: Nic,
        settings: &Settings,
    ) -> TestDevice<Relay> {
        self.try_device(relay, nic, settings).unwrap()
    }

    pub fn try_device<Relay: OutputPin>(
        &self,
        relay: Relay,
        nic: Nic,
        settings: &Settings,
    ) -> Result<TestDevice<Relay>, StartError> {
        let board = Board {
            relay,
            button: Button(self.button.clone()),
            meter: Meter(self.pulses.clone()),
            watchdog: Dog {
                fed: self.fed.clone(),
                started: false,
            },
            address: [0x52, 0x54, 0, 0, 3, 20],
            build_id: &[0xb1; 20],
        };
        App::new(board, nic, settings.clone(), SysRng, 0)
    }
}

/// A relay that only remembers.
#[derive(Clone, Default)]
pub struct Relay(pub Rc<Cell<Option<bool>>>);

impl ErrorType for Relay {
    type Error = Infallible;
}

impl OutputPin for Relay {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.0.set(Some(false));
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set(Some(true));
        Ok(())
    }
}

pub struct Button(Rc<Cell<bool>>);

impl ErrorType for Button {
    type Error = Infallible;
}

impl InputPin for Button {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.get())
    }

    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0.get())
    }
}

pub struct Meter(Rc<Cell<u32>>);

impl PulseCounter for Meter {
    fn pulses(&mut self) -> u32 {
        self.0.get()
    }
}

pub struct Dog {
    fed: Rc<Cell<u64>>,
    started: bool,
}

impl Watchdog for Dog {
    fn start(&mut self, _milliseconds: u32) {
        assert!(!self.started, "a watchdog is started once");
        self.started = true;
    }

    fn feed(&mut self) {
        assert!(self.started, "a watchdog that sleeps is not fed");
        self.fed.set(self.fed.get() + 1);
    }
}

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of an Ethernet cable.
pub struct Nic {
    from: Frames,
    to: Frames,
}

/// A cable with its two ends.
pub fn cable() -> (Nic, Nic) {
    let (one, other) = (Frames::default(), Frames::default());
    let end = |from: &Frames, to: &Frames| Nic {
        from: from.clone(),
        to: to.clone(),
    };
    (end(&one, &other), end(&other, &one))
}

pub struct Received(Vec<u8>);
pub struct Sending(Frames);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl phy::TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = vec![0; len];
        let result = fill(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl Device for Nic {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending)> {
        let frame = self.from.borrow_mut().pop_front()?;
        Some((Received(frame), Sending(self.to.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending> {
        Some(Sending(self.to.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

/// The gateway's IP stack, with one connection at a time.
pub struct Host {
    nic: Nic,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    pub listening: bool,
}

impl Host {
    pub fn new(mut nic: Nic) -> Self {
        let address = EthernetAddress([0x52, 0x54, 0, 0, 3, 15]);
        let mut interface = Interface::new(Config::new(address.into()), &mut nic, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(IpAddress::Ipv4(*GATEWAY.ip()), 24);
            addresses.push(own).unwrap();
        });
        let buffer = || SocketBuffer::new(vec![0; 16 * 1024]);
        let mut sockets = SocketSet::new(vec![]);
        let socket = sockets.add(Socket::new(buffer(), buffer()));
        Self {
            nic,
            interface,
            sockets,
            socket,
            listening: true,
        }
    }

    pub fn poll(&mut self, now: u64) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.socket);
        if self.listening && socket.state() == State::Closed {
            socket.listen(GATEWAY.port()).unwrap();
        }
        let now = Instant::from_millis(now as i64);
        self.interface.poll(now, &mut self.nic, &mut self.sockets);
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    /// Whether the device is connected.
    pub fn is_connected(&mut self) -> bool {
        let state = self.socket().state();
        matches!(state, State::Established | State::CloseWait)
    }

    /// Whether the device has ended its direction, or all.
    pub fn has_ended(&mut self) -> bool {
        !self.socket().may_recv() && !self.socket().can_recv()
    }

    /// Whether the device has ended its direction, read or not.
    pub fn has_closed(&mut self) -> bool {
        self.socket().state() != State::Established
    }

    pub fn receive(&mut self) -> Vec<u8> {
        let taken = self.socket().recv(|octets| (octets.len(), octets.to_vec()));
        taken.unwrap_or_default()
    }

    /// Sends what fits and leaves the rest.
    pub fn send(&mut self, octets: &mut Vec<u8>) {
        if self.socket().can_send() {
            let sent = self.socket().send_slice(octets).unwrap();
            octets.drain(..sent);
        }
    }

    pub fn close(&mut self) {
        self.socket().close();
    }

    pub fn abort(&mut self) {
        self.socket().abort();
    }
}
