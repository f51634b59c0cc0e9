// SPDX-License-Identifier: MIT OR Apache-2.0
//! The debug side of an ARMv7-M core (ARM DDI 0403, part C): what a debugger sees at its registers, put together from
//! what an emulator can do.
//!
//! A board is powered up halted and with debug enabled, as if a debugger held it: an empty board that ran would lock up.

use std::collections::BTreeSet;
use std::io;

/// Where the ROM table is.
pub(super) const ROM_TABLE: u32 = 0xe00f_f000;
const PRIVATE_BUS: std::ops::Range<u32> = 0xe000_0000..0xe010_0000;

const DFSR: u32 = 0xe000_ed30;
const AIRCR: u32 = 0xe000_ed0c;
const DHCSR: u32 = 0xe000_edf0;
const DCRSR: u32 = 0xe000_edf4;
const DCRDR: u32 = 0xe000_edf8;
const DEMCR: u32 = 0xe000_edfc;
const FP_CTRL: u32 = 0xe000_2000;
const FP_COMP: u32 = 0xe000_2008;
const COMPARATORS: usize = 6;

const C_DEBUGEN: u32 = 1;
const C_HALT: u32 = 1 << 1;
const C_STEP: u32 = 1 << 2;
/// C_DEBUGEN, C_HALT, C_STEP, C_MASKINTS, C_SNAPSTALL.
const DHCSR_WRITABLE: u32 = 0x2f;
const S_REGRDY: u32 = 1 << 16;
const S_HALT: u32 = 1 << 17;
const S_LOCKUP: u32 = 1 << 19;
const S_RESET_ST: u32 = 1 << 25;
const DHCSR_KEY: u32 = 0xa05f;

/// DFSR: halted on request or by a step; by a breakpoint; by a vector catch.
const DFSR_HALTED: u32 = 1;
const DFSR_BKPT: u32 = 1 << 1;
const DFSR_VCATCH: u32 = 1 << 3;

/// DEMCR: halt when the core leaves reset.
const VC_CORERESET: u32 = 1;
const AIRCR_KEY: u32 = 0x05fa;
const SYSRESETREQ: u32 = 1 << 2;
const DCRSR_WRITE: u32 = 1 << 16;
/// FP_CTRL: six code comparators, two literal ones, revision 1.
const FP_CTRL_FIXED: u32 = 0x260;
const FP_CTRL_KEY: u32 = 1 << 1;

/// xPSR: the core executes Thumb code; clear, any instruction faults.
const XPSR_T: u32 = 1 << 24;

/// A core register, by its number in DCRSR.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Register {
    /// R0 to R12, SP, LR, PC: 0 to 15.
    General(u8),
    /// xPSR: 16.
    Xpsr,
}

impl Register {
    /// The register that DCRSR's REGSEL names; the stack pointers 17 and 18 and the masks in 20 are not known to
    /// QEMU's stub, and MSP stands for SP.
    fn selected(dcrsr: u32) -> Option<Self> {
        match dcrsr & 0x7f {
            // The pattern leaves one byte.
            number @ 0..=15 => Some(Self::General(number as u8)),
            16 => Some(Self::Xpsr),
            17 => Some(Self::General(13)),
            _ => None,
        }
    }
}

/// What an emulator does for the core. Errors mean that it is gone.
pub trait Machine {
    /// Reads memory or device registers, whether the core runs or not.
    ///
    /// # Errors
    /// When the emulator is gone, as with all that follow.
    fn read(&mut self, address: u32, into: &mut [u8]) -> io::Result<()>;

    /// Writes memory or device registers, whether the core runs or not.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()>;

    /// Whether the core has stopped by itself, at a breakpoint, since it was let go.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn stopped(&mut self) -> io::Result<bool>;

    /// Stops the running core; whether it had stopped by itself.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn stop(&mut self) -> io::Result<bool>;

    /// Lets the stopped core go.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn go(&mut self) -> io::Result<()>;

    /// Lets the stopped core execute one instruction.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn step(&mut self) -> io::Result<()>;

    /// Reads a register of the stopped core.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn register(&mut self, register: Register) -> io::Result<u32>;

    /// Writes a register of the stopped core.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn set_register(&mut self, register: Register, value: u32) -> io::Result<()>;

    /// Sets or takes away a breakpoint of the stopped core.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn breakpoint(&mut self, address: u32, set: bool) -> io::Result<()>;

    /// Resets the stopped machine and leaves it stopped at the first instruction.
    ///
    /// # Errors
    /// See [`Machine::read`].
    fn reset(&mut self) -> io::Result<()>;
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Halted,
    Running,
    /// Let go where no instruction could be executed; the emulator stays stopped.
    LockedUp,
    /// Held by the reset line; the emulator stays stopped.
    InReset,
}

/// A core with its debug registers.
#[derive(Debug)]
pub struct CortexM<M> {
    machine: M,
    state: State,
    /// The writable bits of DHCSR.
    dhcsr: u32,
    dcrdr: u32,
    demcr: u32,
    dfsr: u32,
    was_reset: bool,
    fp_enabled: bool,
    fp_comp: [u32; COMPARATORS],
    breakpoints: BTreeSet<u32>,
}

impl<M: Machine> CortexM<M> {
    /// A core whose machine is stopped at power-up.
    pub fn new(machine: M) -> Self {
        Self {
            machine,
            state: State::Halted,
            dhcsr: C_DEBUGEN | C_HALT,
            dcrdr: 0,
            demcr: 0,
            dfsr: DFSR_HALTED,
            was_reset: true,
            fp_enabled: false,
            fp_comp: [0; COMPARATORS],
            breakpoints: BTreeSet::new(),
        }
    }

    /// Reads as a debugger does through its memory access port.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn read(&mut self, address: u32, into: &mut [u8]) -> io::Result<()> {
        if !debug_words(address, into.len()) {
            return self.machine.read(address, into);
        }
        for (index, word) in (0..).step_by(4).zip(into.chunks_mut(4)) {
            let value = self.register_read(address.wrapping_add(index))?;
            word.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    /// Writes as a debugger does through its memory access port.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        if !debug_words(address, bytes.len()) {
            return self.machine.write(address, bytes);
        }
        for (index, word) in (0..).step_by(4).zip(bytes.chunks_exact(4)) {
            let value = word.try_into().map_or(0, u32::from_le_bytes);
            self.register_write(address.wrapping_add(index), value)?;
        }
        Ok(())
    }

    /// Pulls or releases the reset line.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn hold_in_reset(&mut self, hold: bool) -> io::Result<()> {
        match (hold, self.state == State::InReset) {
            (true, false) => {
                self.halt()?;
                self.state = State::InReset;
                Ok(())
            }
            (false, true) => self.reset(),
            _ => Ok(()),
        }
    }

    fn register_read(&mut self, address: u32) -> io::Result<u32> {
        Ok(match address {
            DHCSR => self.dhcsr_read()?,
            DCRSR => 0,
            DCRDR => self.dcrdr,
            DEMCR => self.demcr,
            DFSR => {
                self.look()?;
                self.dfsr
            }
            FP_CTRL => FP_CTRL_FIXED | u32::from(self.fp_enabled),
            _ => match comparator(address) {
                Some(index) => self.fp_comp.get(index).copied().unwrap_or(0),
                None if address >= ROM_TABLE => rom_table(address - ROM_TABLE),
                None => {
                    let mut word = [0; 4];
                    self.machine.read(address, &mut word)?;
                    u32::from_le_bytes(word)
                }
            },
        })
    }

    fn register_write(&mut self, address: u32, value: u32) -> io::Result<()> {
        match address {
            DHCSR if value >> 16 == DHCSR_KEY => return self.dhcsr_write(value & DHCSR_WRITABLE),
            DHCSR => {}
            DCRSR => return self.transfer(value),
            DCRDR => self.dcrdr = value,
            DEMCR => self.demcr = value,
            DFSR => self.dfsr &= !value,
            AIRCR if value >> 16 == AIRCR_KEY && value & SYSRESETREQ != 0 => return self.reset(),
            FP_CTRL if value & FP_CTRL_KEY != 0 => {
                self.fp_enabled = value & 1 == 1;
                return self.place_breakpoints();
            }
            FP_CTRL => {}
            _ => match comparator(address).and_then(|index| self.fp_comp.get_mut(index)) {
                Some(comparator) => {
                    *comparator = value;
                    return self.place_breakpoints();
                }
                None => return self.machine.write(address, &value.to_le_bytes()),
            },
        }
        Ok(())
    }

    /// Notices a core that has stopped at a breakpoint.
    fn look(&mut self) -> io::Result<()> {
        if self.state == State::Running && self.machine.stopped()? {
            self.state = State::Halted;
            self.dfsr |= DFSR_BKPT;
        }
        Ok(())
    }

    fn dhcsr_read(&mut self) -> io::Result<u32> {
        self.look()?;
        let reset = match std::mem::take(&mut self.was_reset) {
            true => S_RESET_ST,
            false => 0,
        };
        let state = match self.state {
            State::Halted => S_HALT | C_HALT,
            State::LockedUp => S_LOCKUP,
            State::Running | State::InReset => 0,
        };
        Ok(self.dhcsr & !C_HALT | S_REGRDY | reset | state)
    }

    fn dhcsr_write(&mut self, value: u32) -> io::Result<()> {
        self.look()?;
        self.dhcsr = value;
        let enabled = value & C_DEBUGEN != 0;
        match self.state {
            _ if enabled && value & C_HALT != 0 => self.halt(),
            State::Halted if enabled && value & C_STEP != 0 => self.step(),
            State::Halted => self.go(),
            State::Running | State::LockedUp | State::InReset => Ok(()),
        }
    }

    fn halt(&mut self) -> io::Result<()> {
        let halting = match self.state {
            State::Running if self.machine.stop()? => DFSR_BKPT,
            State::Running | State::LockedUp => DFSR_HALTED,
            State::Halted | State::InReset => return Ok(()),
        };
        self.dfsr |= halting;
        self.state = State::Halted;
        Ok(())
    }

    fn can_execute(&mut self) -> io::Result<bool> {
        Ok(self.machine.register(Register::Xpsr)? & XPSR_T != 0)
    }

    fn go(&mut self) -> io::Result<()> {
        // QEMU would abort where a real core locks up.
        self.state = match self.can_execute()? {
            true => {
                self.machine.go()?;
                State::Running
            }
            false => State::LockedUp,
        };
        Ok(())
    }

    fn step(&mut self) -> io::Result<()> {
        match self.can_execute()? {
            true => {
                self.machine.step()?;
                self.dfsr |= DFSR_HALTED;
            }
            false => self.state = State::LockedUp,
        }
        Ok(())
    }

    /// Moves a word between DCRDR and a core register; unknown registers read as zero.
    fn transfer(&mut self, dcrsr: u32) -> io::Result<()> {
        self.look()?;
        if self.state != State::Halted {
            return Ok(());
        }
        let register = Register::selected(dcrsr);
        match (register, dcrsr & DCRSR_WRITE != 0) {
            (Some(register), true) => self.machine.set_register(register, self.dcrdr)?,
            (Some(register), false) => self.dcrdr = self.machine.register(register)?,
            (None, true) => {}
            (None, false) => self.dcrdr = 0,
        }
        Ok(())
    }

    /// Runs something for which the machine must be stopped, unnoticed by the debugger.
    fn stopped<T>(&mut self, work: impl FnOnce(&mut M) -> io::Result<T>) -> io::Result<T> {
        self.look()?;
        if self.state != State::Running {
            return work(&mut self.machine);
        }
        let by_itself = self.machine.stop()?;
        let done = work(&mut self.machine)?;
        if by_itself {
            self.state = State::Halted;
            self.dfsr |= DFSR_BKPT;
        } else {
            self.machine.go()?;
        }
        Ok(done)
    }

    /// Makes the machine's breakpoints those that the comparators ask for.
    fn place_breakpoints(&mut self) -> io::Result<()> {
        let wanted: BTreeSet<u32> = match self.fp_enabled {
            true => self
                .fp_comp
                .iter()
                .flat_map(|comp| halfwords(*comp))
                .collect(),
            false => BTreeSet::new(),
        };
        let gone: Vec<u32> = self.breakpoints.difference(&wanted).copied().collect();
        let new: Vec<u32> = wanted.difference(&self.breakpoints).copied().collect();
        if gone.is_empty() && new.is_empty() {
            return Ok(());
        }
        self.stopped(|machine| {
            gone.iter()
                .try_for_each(|address| machine.breakpoint(*address, false))?;
            new.iter()
                .try_for_each(|address| machine.breakpoint(*address, true))
        })?;
        self.breakpoints = wanted;
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        if self.state == State::Running {
            self.machine.stop()?;
        }
        self.machine.reset()?;
        self.was_reset = true;
        self.state = State::Halted;
        if self.dhcsr & C_DEBUGEN != 0 && self.demcr & VC_CORERESET != 0 {
            self.dfsr |= DFSR_VCATCH;
            return Ok(());
        }
        self.go()
    }
}

/// Whether all of it lies in the private bus and in whole words, as debug registers are accessed.
fn debug_words(address: u32, length: usize) -> bool {
    PRIVATE_BUS.contains(&address) && address.is_multiple_of(4) && length.is_multiple_of(4)
}

fn comparator(address: u32) -> Option<usize> {
    let index = usize::try_from(address.checked_sub(FP_COMP)? / 4).ok()?;
    (index < COMPARATORS && address.is_multiple_of(4)).then_some(index)
}

/// The instructions of a comparator: its word's lower halfword, the upper, or both.
fn halfwords(comparator: u32) -> impl Iterator<Item = u32> {
    let word = comparator & 0x1fff_fffc;
    let replace = match comparator & 1 {
        1 => comparator >> 30,
        _ => 0,
    };
    [1, 2]
        .into_iter()
        .filter(move |half| replace & half != 0)
        .map(move |half| word + (half - 1) * 2)
}

/// The ROM table of a Cortex-M3: SCS, DWT and FPB, and what identifies the table itself.
fn rom_table(offset: u32) -> u32 {
    const WORDS: [(u32, u32); 12] = [
        (0x000, 0xfff0_f003),
        (0x004, 0xfff0_2003),
        (0x008, 0xfff0_3003),
        (0xfd0, 0x04),
        (0xfe0, 0xc3),
        (0xfe4, 0xb4),
        (0xfe8, 0x0b),
        (0xff0, 0x0d),
        (0xff4, 0x10),
        (0xff8, 0x05),
        (0xffc, 0xb1),
        (0xfec, 0x00),
    ];
    let word = WORDS.iter().find(|(at, _)| *at == offset);
    word.map_or(0, |(_, word)| *word)
}
