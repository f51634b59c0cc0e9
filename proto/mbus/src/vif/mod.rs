// SPDX-License-Identifier: MIT OR Apache-2.0
//! Value information: what a value measures, in which unit, times which power of ten
//! (EN 13757-3 §6.4).

mod extension;
mod quantity;
mod tables;

pub use extension::{Action, Extension, RecordFault};
pub use quantity::{Measure, Quantity};

use crate::value::Latin1;
use tables::{FIRST, Meaning, PRIMARY, SECOND, duration, second_level};

/// In which order a meter sent a text and the extensions of its VIF.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TextOrder {
    /// Text right behind the VIF: what meters in the field do.
    TextFirst,
    /// Extensions first: the wording of newer editions.
    ExtensionsFirst,
}

/// Value information block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vib<'a> {
    /// The VIF itself.
    pub vif: u8,
    /// Its VIFE as sent.
    pub extensions: &'a [u8],
    /// Text that names quantity or unit, with the order it was found in.
    pub text: Option<(Latin1<'a>, TextOrder)>,
    /// What is measured.
    pub quantity: Quantity,
    /// In which unit, before extensions; [`Vib::counted_in`] tells what they make of it.
    pub measure: Measure,
    /// Power of ten, correcting extensions included.
    pub exponent: i8,
    marks: Marks,
}

/// What the combinable extensions do to the value, gathered once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Marks {
    /// The value is a date although the VIF says otherwise.
    pub(crate) date: bool,
    /// An error stands in place of the value.
    pub(crate) error: bool,
    /// The value is a series (annex F).
    pub(crate) profile: bool,
    /// The number has no sign (data type C).
    pub(crate) unsigned: bool,
}

impl<'a> Vib<'a> {
    /// The meaning of a VIF and its extensions.
    // Inlined, as what it is built from, so that a record is built in place.
    #[inline(always)]
    pub(crate) fn of(vif: u8, extensions: &'a [u8], text: Option<(Latin1<'a>, TextOrder)>) -> Self {
        let (quantity, measure, exponent) = if vif < 0x80 {
            meaning(&PRIMARY, vif)
        } else {
            extended(vif, extensions)
        };
        let (exponent, marks) = if extensions.is_empty() {
            (exponent, Marks::default())
        } else {
            corrected(vif, extensions, exponent)
        };
        Self {
            vif,
            extensions,
            text,
            quantity,
            measure,
            exponent,
            marks,
        }
    }

    /// The combinable extensions in order, up to where a manufacturer's own begin.
    pub fn combinable(&self) -> impl Iterator<Item = Extension> + use<'a> {
        combinable(self.vif, self.extensions)
    }

    /// The unit a number of this block is in: some extensions turn a quantity into how often or how
    /// long it was something (codes 41, 49, 50-5F, 60-67).
    pub fn counted_in(&self) -> Measure {
        self.combinable()
            .fold(self.measure, |measure, extension| match extension {
                Extension::Limit(0x41 | 0x49) => Measure::None,
                Extension::Limit(code @ 0x50..=0x67) => duration(code),
                _ => measure,
            })
    }

    /// Whether values of this block are dates or times.
    #[inline]
    pub(crate) fn is_date(&self) -> bool {
        matches!(
            self.quantity,
            Quantity::Date
                | Quantity::DateTime
                | Quantity::TariffStart
                | Quantity::BatteryChange
                | Quantity::TimeOfDayChange
        ) || self.marks.date
    }

    /// Whether text of variable length is bytes here: containers and series.
    #[inline]
    pub(crate) fn is_container(&self) -> bool {
        matches!(
            self.quantity,
            Quantity::RadioContainer
                | Quantity::ManufacturerContainer
                | Quantity::ListeningWindow
                | Quantity::SecurityKey
        ) || self.marks.profile
    }

    /// Whether numbers of this block have no sign (data type C).
    #[inline]
    pub(crate) fn is_unsigned(&self) -> bool {
        self.marks.unsigned || self.quantity == Quantity::BusAddress
    }

    pub(crate) const fn marks(&self) -> Marks {
        self.marks
    }
}

/// The combinable extensions behind a VIF.
fn combinable(vif: u8, extensions: &[u8]) -> impl Iterator<Item = Extension> {
    // The others are the code itself; behind FF all are the manufacturer's.
    let skip = match (vif, extensions) {
        (0xfd, [0xfd, ..]) => 2,
        (0xfb | 0xfd | 0xef, _) => 1,
        (0xff, _) => extensions.len(),
        _ => 0,
    };
    let mut second_table = false;
    let mut over = false;
    extensions.iter().skip(skip).map_while(move |code| {
        if over {
            return None;
        }
        let code = code & 0x7f;
        let extension = Extension::of(code, second_table);
        second_table = code == 0x7c && !second_table;
        over = extension == Extension::Manufacturer;
        Some(extension)
    })
}

/// The power of ten with all corrections, and what else the extensions do.
fn corrected(vif: u8, extensions: &[u8], exponent: i8) -> (i8, Marks) {
    let mut power = i32::from(exponent);
    let mut marks = Marks::default();
    for extension in combinable(vif, extensions) {
        match extension {
            Extension::PowerOfTen(correction) => power += i32::from(correction),
            Extension::RecordError(_) => marks.error = true,
            Extension::CompactProfile { .. } | Extension::InverseCompactProfile => {
                marks.profile = true;
            }
            Extension::Second(0x11) => marks.unsigned = true,
            _ => marks.date |= extension.makes_date(),
        }
    }
    // Ten extensions of at most six powers each stay inside.
    (i8::try_from(power).unwrap_or(exponent), marks)
}

/// The meaning of a VIF with extensions: for FB and FD they hold the code.
fn extended(vif: u8, extensions: &[u8]) -> Meaning {
    match (vif, extensions) {
        (0xfb, [code, ..]) => meaning(&FIRST, *code),
        (0xfd, [0xfd, code, ..]) => second_level(code & 0x7f),
        (0xfd, [code, ..]) => meaning(&SECOND, *code),
        _ => meaning(&PRIMARY, vif),
    }
}

#[inline]
fn meaning(table: &[Meaning; 128], code: u8) -> Meaning {
    let entry = table.get(usize::from(code & 0x7f));
    entry.map_or((Quantity::Reserved, Measure::None, 0), |entry| *entry)
}
