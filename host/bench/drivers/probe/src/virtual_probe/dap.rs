// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug access port of a Cortex-M: a serial wire debug port and one memory access port (ARM IHI 0031, ADIv5).

use std::io;

use super::cortex_m::{CortexM, Machine};
use super::swd::Port;

/// DPIDR of the SW-DP in Cortex-M3 and M4 parts: version 1, designed by ARM.
const DPIDR: u32 = 0x2ba0_1477;
/// IDR of their AHB access port.
const AHB_AP_IDR: u32 = 0x2477_0011;
/// Where the ROM table is, with the bits for "present" and "in this format".
const BASE: u32 = super::cortex_m::ROM_TABLE | 3;

/// CTRL/STAT: requests to power up and to reset the debug logic, each acknowledged by the bit above it.
const REQUESTS: u32 = 1 << 28 | 1 << 30 | 1 << 26;
/// CTRL/STAT: sticky flags, which only the target sets.
const STICKY: u32 = 0xb2;
/// CSW: the device is enabled.
const DEVICE_EN: u32 = 1 << 6;
/// CSW: the address moves on after each access.
const ADDRESS_INCREMENT: u32 = 0x30;

/// The port's registers in front of a core.
#[derive(Debug)]
pub struct Dap<M> {
    core: CortexM<M>,
    control: u32,
    select: u32,
    /// Result of the last AP read, which SWD delivers one transfer late.
    posted: u32,
    csw: u32,
    tar: u32,
}

impl<M: Machine> Dap<M> {
    /// A port as it is after power-up.
    pub fn new(core: CortexM<M>) -> Self {
        Self {
            core,
            control: 0,
            select: 0,
            posted: 0,
            csw: DEVICE_EN | 0x2300_0000,
            tar: 0,
        }
    }

    /// The core behind it.
    pub fn core(&mut self) -> &mut CortexM<M> {
        &mut self.core
    }

    /// Reads a DP register; those of other banks than 0 are not there and read as zero.
    pub fn read_dp(&self, address: u8) -> u32 {
        let banked = self.select & 0xf != 0;
        match address & 0xc {
            0x0 => DPIDR,
            0x4 if !banked => self.control | (self.control & REQUESTS) << 1,
            0x8 | 0xc => self.posted,
            _ => 0,
        }
    }

    /// Writes a DP register. ABORT has nothing to abort: accesses end before they are answered.
    pub fn write_dp(&mut self, address: u8, value: u32) {
        match address & 0xc {
            0x4 if self.select & 0xf == 0 => self.control = value & !(STICKY | REQUESTS << 1),
            0x8 => self.select = value,
            _ => {}
        }
    }

    /// Reads an AP register; access ports other than 0 are not there and read as zero.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn read_ap(&mut self, ap: u8, address: u8) -> io::Result<u32> {
        Ok(match (ap, address) {
            (0, 0x00) => self.csw,
            (0, 0x04) => self.tar,
            (0, 0x0c) => {
                let word = self.word(self.tar)?;
                self.advance();
                word
            }
            (0, 0x10..=0x1c) => self.word(self.banked(address))?,
            (0, 0xf8) => BASE,
            (0, 0xfc) => AHB_AP_IDR,
            _ => 0,
        })
    }

    /// Writes an AP register.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn write_ap(&mut self, ap: u8, address: u8, value: u32) -> io::Result<()> {
        match (ap, address) {
            (0, 0x00) => self.csw = value | DEVICE_EN,
            (0, 0x04) => self.tar = value,
            (0, 0x0c) => {
                self.core.write(self.tar & !3, &value.to_le_bytes())?;
                self.advance();
            }
            (0, 0x10..=0x1c) => self
                .core
                .write(self.banked(address), &value.to_le_bytes())?,
            _ => {}
        }
        Ok(())
    }

    /// A register access through SELECT, as `HL` has it. Reads are not posted there.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn raw(&mut self, read: bool, address: u16, value: u32) -> io::Result<u32> {
        // The mask leaves one byte.
        let (ap, register) = (address & 0x100 != 0, (address & 0xff) as u8);
        let (port, banked) = self.selected(register);
        match (ap, read) {
            (true, true) => self.read_ap(port, banked),
            (true, false) => self.write_ap(port, banked, value).map(|()| 0),
            (false, true) => Ok(self.read_dp(register)),
            (false, false) => {
                self.write_dp(register, value);
                Ok(0)
            }
        }
    }

    /// Access port and register that SELECT and the two address bits of a transfer name.
    fn selected(&self, address: u8) -> (u8, u8) {
        let [low, .., port] = self.select.to_le_bytes();
        (port, low & 0xf0 | address & 0xc)
    }

    /// Where the banked data registers BD0 to BD3 point.
    fn banked(&self, address: u8) -> u32 {
        self.tar & !0xf | u32::from(address & 0xc)
    }

    fn word(&mut self, address: u32) -> io::Result<u32> {
        let mut word = [0; 4];
        self.core.read(address & !3, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    fn advance(&mut self) {
        if self.csw & ADDRESS_INCREMENT != 0 {
            self.tar = self.tar.wrapping_add(4);
        }
    }
}

impl<M: Machine> Port for Dap<M> {
    fn read(&mut self, ap: bool, address: u8) -> io::Result<u32> {
        if !ap {
            return Ok(self.read_dp(address));
        }
        let (port, register) = self.selected(address);
        let word = self.read_ap(port, register)?;
        Ok(std::mem::replace(&mut self.posted, word))
    }

    fn write(&mut self, ap: bool, address: u8, value: u32) -> io::Result<()> {
        if !ap {
            self.write_dp(address, value);
            return Ok(());
        }
        let (port, register) = self.selected(address);
        self.write_ap(port, register, value)
    }
}
