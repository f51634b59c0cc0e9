// SPDX-License-Identifier: MIT OR Apache-2.0
//! Registers of a device: the one place where this board touches addresses of hardware.

/// The registers of one device, 32 bits each.
#[derive(Debug)]
pub(crate) struct Registers(usize);

impl Registers {
    /// The device at this address.
    ///
    /// # Safety
    ///
    /// Words from `base` on, as far as the caller's offsets reach, are registers of one device of this board: reading and
    /// writing them must be possible at any time and never change memory that Rust knows of.
    pub(crate) const unsafe fn at(base: usize) -> Self {
        Self(base)
    }

    pub(crate) fn read(&self, offset: usize) -> u32 {
        // SAFETY: whoever made this promised that a register is there.
        unsafe { core::ptr::read_volatile((self.0 + offset) as *const u32) }
    }

    pub(crate) fn write(&self, offset: usize, value: u32) {
        // SAFETY: whoever made this promised that a register is there.
        unsafe { core::ptr::write_volatile((self.0 + offset) as *mut u32, value) }
    }

    /// Sets the bits of `mask` to those of `bits`.
    pub(crate) fn modify(&self, offset: usize, mask: u32, bits: u32) {
        // An interrupt may change other bits.
        critical_section::with(|_| self.write(offset, self.read(offset) & !mask | bits & mask));
    }
}
