// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Ethernet controller with its PHY LAN8742A, as a device of this workspace's smoltcp.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp_hal::phy::{Device as HalDevice, RxToken as _, TxToken as _};
use stm32h7xx_hal::ethernet::phy::LAN8742A;
use stm32h7xx_hal::ethernet::{EthernetDMA, EthernetMAC};

/// Descriptors, and so frames, in each direction.
pub(crate) const FRAMES: usize = 4;

/// The hardware layer's device.
type Dma = EthernetDMA<FRAMES, FRAMES>;

/// Longest frame without its check sequence.
const FRAME_BYTES: usize = 1514;

/// The controller.
pub struct Ethernet {
    pub(crate) dma: Dma,
    pub(crate) phy: LAN8742A<EthernetMAC>,
    pub(crate) address: [u8; 6],
}

impl Ethernet {
    /// The MAC address: a local one made of the chip's serial number.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// Whether a cable with something at its other end is plugged.
    pub fn has_link(&mut self) -> bool {
        self.phy.poll_link()
    }
}

/// A local MAC address from a serial number: two octets fixed, four from its FNV-1a hash.
pub(crate) fn local_address(serial: &[u8]) -> [u8; 6] {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = serial.iter().fold(0x811C_9DC5, step).to_be_bytes();
    [0x02, 0x53, hash[0], hash[1], hash[2], hash[3]]
}

/// A frame that was received.
pub struct Received<'a>(<Dma as HalDevice>::RxToken<'a>);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        self.0.consume(|frame| f(frame))
    }
}

/// The place for a frame to send.
pub struct Sending<'a>(<Dma as HalDevice>::TxToken<'a>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        self.0.consume(length.min(FRAME_BYTES), f)
    }
}

/// The hardware layer asks for the time and does not use it.
const NO_TIME: smoltcp_hal::time::Instant = smoltcp_hal::time::Instant::ZERO;

impl Device for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        let (received, sending) = self.dma.receive(NO_TIME)?;
        Some((Received(received), Sending(sending)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        self.dma.transmit(NO_TIME).map(Sending)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.max_burst_size = Some(FRAMES);
        capabilities
    }
}
