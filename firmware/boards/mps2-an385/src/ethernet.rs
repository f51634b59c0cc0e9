// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Ethernet controller LAN9118 as a device of smoltcp: whole frames through its FIFOs, no DMA, no interrupts.
//!
//! Registers as in the data sheet of the LAN9118. The MAC address is the one that the controller loads from its EEPROM;
//! QEMU puts that of `-nic …,mac=` there.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::registers::Registers;

/// Longest frame without its check sequence.
const FRAME_BYTES: usize = 1514;
/// Length of the check sequence that the controller leaves at the end of a received frame.
const CHECK_BYTES: usize = 4;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const BYTE_TEST: usize = 0x64;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const PMT_CTRL: usize = 0x84;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;

/// What BYTE_TEST reads when the controller is awake.
const AWAKE: u32 = 0x8765_4321;
/// In PMT_CTRL: the controller may be used.
const READY: u32 = 1;
/// In HW_CFG: reset.
const SOFT_RESET: u32 = 1;
/// In HW_CFG: must be one.
const MUST_BE_ONE: u32 = 1 << 20;
/// In HW_CFG: 5 KiB of the 16 KiB for sending.
const TX_FIFO_5K: u32 = 5 << 16;
/// In TX_CFG: send.
const TX_ON: u32 = 1 << 1;
/// In MAC_CSR_CMD: an access is under way or shall begin.
const BUSY: u32 = 1 << 31;
/// In MAC_CSR_CMD: the access reads.
const READS: u32 = 1 << 30;
/// In the status of a received frame: it is damaged.
const RX_ERROR: u32 = 1 << 15;
/// In the command before a frame to send: its first and its last buffer in one.
const WHOLE_FRAME: u32 = 1 << 13 | 1 << 12;

/// Registers behind MAC_CSR_CMD.
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;
const MII_ACC: u32 = 6;
const MII_DATA: u32 = 7;

/// In MAC_CR: full duplex, send, receive.
const RUN: u32 = 1 << 20 | 1 << 3 | 1 << 2;
/// In MII_ACC: an access of the internal PHY, address 1.
const PHY: u32 = 1 << 11;
const MII_BUSY: u32 = 1;
const MII_WRITES: u32 = 1 << 1;
/// Register of the PHY and what starts its negotiation.
const PHY_CONTROL: u32 = 0;
const NEGOTIATE: u32 = 1 << 12 | 1 << 9;

/// Times a busy controller is asked before it counts as missing; it needs a few.
const PATIENCE: u32 = 100_000;

/// The controller, ready for smoltcp.
#[derive(Debug)]
pub struct Ethernet {
    registers: Registers,
    address: [u8; 6],
    received: [u8; FRAME_BYTES],
}

/// The controller does not answer as a LAN9118 does.
#[derive(Clone, Copy, Debug, defmt::Format)]
pub struct Missing;

impl Ethernet {
    pub(crate) fn start(registers: Registers) -> Result<Self, Missing> {
        let mut ethernet = Self {
            registers,
            address: [0; 6],
            received: [0; FRAME_BYTES],
        };
        ethernet.until(BYTE_TEST, |test| test == AWAKE)?;
        ethernet.until(PMT_CTRL, |control| control & READY != 0)?;
        let registers = &ethernet.registers;
        registers.write(HW_CFG, SOFT_RESET);
        ethernet.until(HW_CFG, |configuration| configuration & SOFT_RESET == 0)?;
        registers.write(HW_CFG, MUST_BE_ONE | TX_FIFO_5K);
        ethernet.write_mac(MII_DATA, NEGOTIATE)?;
        ethernet.write_mac(MII_ACC, PHY | PHY_CONTROL << 6 | MII_WRITES | MII_BUSY)?;
        let [low, high] =
            [ethernet.read_mac(ADDRL)?, ethernet.read_mac(ADDRH)?].map(u32::to_le_bytes);
        ethernet.address = [low[0], low[1], low[2], low[3], high[0], high[1]];
        registers.write(TX_CFG, TX_ON);
        ethernet.write_mac(MAC_CR, RUN)?;
        Ok(ethernet)
    }

    /// The controller's MAC address.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    fn until(&self, register: usize, done: impl Fn(u32) -> bool) -> Result<(), Missing> {
        let found = (0..PATIENCE).any(|_| done(self.registers.read(register)));
        found.then_some(()).ok_or(Missing)
    }

    fn read_mac(&self, register: u32) -> Result<u32, Missing> {
        self.registers.write(MAC_CSR_CMD, BUSY | READS | register);
        self.until(MAC_CSR_CMD, |command| command & BUSY == 0)?;
        Ok(self.registers.read(MAC_CSR_DATA))
    }

    fn write_mac(&self, register: u32, value: u32) -> Result<(), Missing> {
        self.registers.write(MAC_CSR_DATA, value);
        self.registers.write(MAC_CSR_CMD, BUSY | register);
        self.until(MAC_CSR_CMD, |command| command & BUSY == 0)
    }

    /// Takes the next good frame out of the FIFO: its length.
    fn take(&mut self) -> Option<usize> {
        loop {
            let waiting = self.registers.read(RX_FIFO_INF) >> 16 & 0xFF;
            if waiting == 0 {
                return None;
            }
            let status = self.registers.read(RX_STATUS);
            let stored = (status >> 16 & 0x3FFF) as usize;
            for at in (0..stored).step_by(4) {
                let word = self.registers.read(RX_DATA).to_le_bytes();
                let rest = self.received.get_mut(at..).unwrap_or_default();
                for (byte, new) in rest.iter_mut().zip(word) {
                    *byte = new;
                }
            }
            let length = stored.saturating_sub(CHECK_BYTES);
            if status & RX_ERROR == 0 && (1..=FRAME_BYTES).contains(&length) {
                return Some(length);
            }
        }
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The place for a frame to send.
#[derive(Debug)]
pub struct Sending<'a>(&'a Registers);

impl Sending<'_> {
    /// The place, when the FIFO has room for a whole frame; what became of those before is of no interest.
    fn room(registers: &Registers) -> Option<Sending<'_>> {
        let state = registers.read(TX_FIFO_INF);
        for _ in 0..state >> 16 & 0xFF {
            registers.read(TX_STATUS);
        }
        // Two words of commands go before the frame.
        let needed = FRAME_BYTES.next_multiple_of(4) + 8;
        ((state & 0xFFFF) as usize >= needed).then_some(Sending(registers))
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = [0; FRAME_BYTES.next_multiple_of(4)];
        let length = length.min(FRAME_BYTES);
        let result = f(&mut frame[..length]);
        self.0.write(TX_DATA, WHOLE_FRAME | length as u32);
        self.0.write(TX_DATA, length as u32);
        for word in frame[..length.next_multiple_of(4)].chunks_exact(4) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            self.0.write(TX_DATA, word);
        }
        result
    }
}

impl Device for Ethernet {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_>)> {
        // Without room for an answer the frame stays in the FIFO.
        Sending::room(&self.registers)?;
        let length = self.take()?;
        Some((Received(&self.received[..length]), Sending(&self.registers)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Sending::room(&self.registers)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities.max_burst_size = Some(1);
        capabilities
    }
}
