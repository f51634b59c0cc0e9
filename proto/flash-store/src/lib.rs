// SPDX-License-Identifier: MIT OR Apache-2.0
//! One value in NOR flash that is replaced as a whole: whenever power fails, the old or the new value is there, never a mix.
//!
//! The partition is a ring of slots of equal size. [`Store::replace`] erases the slot after the current one, writes the
//! value, reads it back, and writes the record's head last; the current slot is not touched meanwhile. The value of the
//! highest generation whose head and value agree with their CRC-32 is the current one, so that wear spreads over all
//! slots and nothing torn counts. A unit of flash is programmed at most once between erasures, as flash with error
//! correction demands.
//!
//! Layout of a slot, little-endian:
//!
//! | offset | bytes | content                                              |
//! |--------|-------|------------------------------------------------------|
//! | 0      | 8     | `SMGWFS`, format version 1 as 16 bits                |
//! | 8      | 8     | generation, one more than that of the value replaced |
//! | 16     | 4     | length of the value in bytes                         |
//! | 20     | 4     | CRC-32 of the value                                  |
//! | 24     | 4     | 0xFF                                                 |
//! | 28     | 4     | CRC-32 of the 28 bytes before                        |
//! | 32     |       | value, filled with 0xFF up to a unit of programming  |
#![no_std]

#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
pub mod memory;
mod record;

use core::fmt;

use embedded_storage::nor_flash::NorFlash;

use record::{HEAD_BYTES, Head, checksum};

/// Bytes that are read and programmed at a time.
const CHUNK_BYTES: usize = 256;

/// A value in flash.
#[derive(Debug)]
pub struct Store<F> {
    flash: F,
    slots: u32,
    slot_bytes: u32,
    current: Option<Current>,
}

/// Where the current value lies.
#[derive(Clone, Copy, Debug)]
struct Current {
    slot: u32,
    head: Head,
}

/// Why a store cannot do what it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The flash itself failed.
    Flash(E),
    /// The partition cannot be divided like this, or is programmed in units this store cannot serve.
    Layout {
        /// Bytes of the partition.
        capacity: usize,
        /// Slots asked for.
        slots: u32,
    },
    /// The value is longer than a slot holds.
    TooLong {
        /// Bytes of the value.
        length: usize,
        /// Bytes a slot holds.
        capacity: usize,
    },
    /// The caller's buffer is shorter than the value.
    BufferTooShort {
        /// Bytes of the value.
        length: usize,
    },
    /// No slot kept what was written to it: the flash is worn out.
    Worn,
    /// The current value is no longer what it was when the store was opened.
    Decayed,
    /// The last generation has been written.
    Exhausted,
}

impl<E: fmt::Debug> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "the flash failed: {error:?}"),
            Self::Layout { capacity, slots } => {
                write!(
                    f,
                    "a partition of {capacity} bytes cannot hold {slots} slots"
                )
            }
            Self::TooLong { length, capacity } => {
                write!(
                    f,
                    "a value of {length} bytes does not fit a slot of {capacity}"
                )
            }
            Self::BufferTooShort { length } => {
                write!(f, "the buffer is shorter than the value of {length} bytes")
            }
            Self::Worn => f.write_str("no slot keeps what is written to it, replace the flash"),
            Self::Decayed => f.write_str("the value changed in flash since it was opened"),
            Self::Exhausted => f.write_str("the last generation is written, erase the partition"),
        }
    }
}

impl<E: fmt::Debug> core::error::Error for Error<E> {}

impl<F: NorFlash> Store<F> {
    /// Bytes from the start of a slot to its value: a whole number of units of programming.
    const VALUE_AT: u32 = HEAD_BYTES.next_multiple_of(F::WRITE_SIZE) as u32;

    /// Finds the current value in a partition divided into `slots` (two at least, each a whole number of sectors).
    ///
    /// Whatever the partition holds, torn or never written, this finds the last value written as a whole, or none. A slot
    /// that cannot be read counts as torn: flash with error correction says so of what an interruption left.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`], and [`Error::Flash`] when no slot at all can be read.
    pub fn open(flash: F, slots: u32) -> Result<Self, Error<F::Error>> {
        let mut store = Self {
            slot_bytes: slot_bytes(&flash, slots)?,
            flash,
            slots,
            current: None,
        };
        let mut unreadable = 0;
        for slot in 0..slots {
            match store.record(slot) {
                Ok(Some(head)) if store.generation() < head.generation => {
                    store.current = Some(Current { slot, head });
                }
                Ok(_) => {}
                Err(error) => {
                    unreadable += 1;
                    if unreadable == slots {
                        return Err(Error::Flash(error));
                    }
                }
            }
        }
        Ok(store)
    }

    /// Bytes of the longest value.
    pub fn capacity(&self) -> usize {
        (self.slot_bytes - Self::VALUE_AT) as usize
    }

    /// Bytes of the current value, if there is one.
    pub fn length(&self) -> Option<usize> {
        self.current.map(|current| current.head.length as usize)
    }

    /// How often a value was written, zero when there is none.
    pub fn generation(&self) -> u64 {
        self.current.map_or(0, |current| current.head.generation)
    }

    /// The current value, in the caller's buffer.
    ///
    /// # Errors
    ///
    /// [`Error::BufferTooShort`], [`Error::Flash`], and [`Error::Decayed`] when the flash has lost it meanwhile.
    pub fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Error<F::Error>> {
        let Some(Current { slot, head }) = self.current else {
            return Ok(None);
        };
        let length = head.length as usize;
        let value = buffer
            .get_mut(..length)
            .ok_or(Error::BufferTooShort { length })?;
        let mut rest = &mut *value;
        let at = slot * self.slot_bytes + Self::VALUE_AT;
        self.each_chunk(at, head.length, |chunk| {
            if let Some((part, others)) =
                core::mem::take(&mut rest).split_at_mut_checked(chunk.len())
            {
                part.copy_from_slice(chunk);
                rest = others;
            }
        })
        .map_err(Error::Flash)?;
        match checksum(value) == head.value_checksum {
            true => Ok(Some(value)),
            false => Err(Error::Decayed),
        }
    }

    /// Replaces the value. After an interruption at any moment, or after an error, the old value is still there; or the
    /// new one, when all of it had been written.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Flash`], [`Error::Worn`], [`Error::Exhausted`].
    pub fn replace(&mut self, value: &[u8]) -> Result<(), Error<F::Error>> {
        let too_long = Error::TooLong {
            length: value.len(),
            capacity: self.capacity(),
        };
        if value.len() > self.capacity() {
            return Err(too_long);
        }
        let head = Head {
            generation: self.generation() + 1,
            length: u32::try_from(value.len()).map_err(|_| too_long)?,
            value_checksum: checksum(value),
        };
        if head.generation == Head::END {
            return Err(Error::Exhausted);
        }
        // Without a value, every slot may be written.
        let (last, others) = match self.current {
            Some(current) => (current.slot, self.slots - 1),
            None => (self.slots - 1, self.slots),
        };
        for step in 1..=others {
            let slot = (last + step) % self.slots;
            self.write(slot, &head, value).map_err(Error::Flash)?;
            if self.record(slot).map_err(Error::Flash)? == Some(head) {
                self.current = Some(Current { slot, head });
                return Ok(());
            }
        }
        Err(Error::Worn)
    }

    /// The flash, as it was given.
    pub fn into_flash(self) -> F {
        self.flash
    }

    /// Erases as much of a slot as the record needs, its head first, and writes the record, its head last.
    fn write(&mut self, slot: u32, head: &Head, value: &[u8]) -> Result<(), F::Error> {
        let start = slot * self.slot_bytes;
        let end = start + Self::VALUE_AT + head.length;
        let sector = F::ERASE_SIZE as u32;
        for from in (start..end).step_by(F::ERASE_SIZE) {
            self.flash.erase(from, from + sector)?;
        }
        let mut at = start + Self::VALUE_AT;
        for part in value.chunks(CHUNK_BYTES) {
            self.program(at, part)?;
            at += CHUNK_BYTES as u32;
        }
        self.program(start, &head.encode())
    }

    /// Programs a part that fits a chunk, filled up to a unit of programming.
    fn program(&mut self, at: u32, part: &[u8]) -> Result<(), F::Error> {
        let mut chunk = [0xFF; CHUNK_BYTES];
        chunk[..part.len()].copy_from_slice(part);
        self.flash
            .write(at, &chunk[..part.len().next_multiple_of(F::WRITE_SIZE)])
    }

    /// The head of a slot whose value is what the head says.
    fn record(&mut self, slot: u32) -> Result<Option<Head>, F::Error> {
        let start = slot * self.slot_bytes;
        let mut bytes = [0; HEAD_BYTES];
        self.each_chunk(start, HEAD_BYTES as u32, |chunk| {
            bytes.copy_from_slice(chunk)
        })?;
        let head =
            Head::decode(&bytes).filter(|head| u64::from(head.length) <= self.capacity() as u64);
        let Some(head) = head else {
            return Ok(None);
        };
        let mut digest = record::CHECKSUM.digest();
        self.each_chunk(start + Self::VALUE_AT, head.length, |chunk| {
            digest.update(chunk)
        })?;
        Ok((digest.finalize() == head.value_checksum).then_some(head))
    }

    /// Reads `length` bytes from `at`, a chunk at a time.
    fn each_chunk(
        &mut self,
        at: u32,
        length: u32,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), F::Error> {
        let mut chunk = [0; CHUNK_BYTES];
        for from in (0..length).step_by(CHUNK_BYTES) {
            let wanted = CHUNK_BYTES.min((length - from) as usize);
            let units = wanted.next_multiple_of(F::READ_SIZE);
            self.flash.read(at + from, &mut chunk[..units])?;
            take(&chunk[..wanted]);
        }
        Ok(())
    }
}

/// Bytes of each slot of a partition.
fn slot_bytes<F: NorFlash>(flash: &F, slots: u32) -> Result<u32, Error<F::Error>> {
    let capacity = flash.capacity();
    let fits_chunk = |unit: usize| unit > 0 && CHUNK_BYTES.is_multiple_of(unit);
    let possible = slots >= 2
        && u32::try_from(capacity).is_ok()
        && fits_chunk(F::READ_SIZE)
        && fits_chunk(F::WRITE_SIZE);
    let sectors = match possible {
        true => capacity / slots as usize / F::ERASE_SIZE,
        false => 0,
    };
    match sectors * F::ERASE_SIZE {
        bytes if bytes > Store::<F>::VALUE_AT as usize => Ok(bytes as u32),
        _ => Err(Error::Layout { capacity, slots }),
    }
}
