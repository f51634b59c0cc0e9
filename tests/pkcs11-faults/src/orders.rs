// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the library is told to do wrong: a text file, one order a line, and the record of calls beside it.
//!
//! A line is `FUNCTION FIRST LAST EFFECT`: from the FIRST to the LAST call of that function, counted from 1 over the
//! process. Effects are `answer RV`, `delay MS`, `hold`, `xor AT MASK` and `fill BYTE`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// What happens to a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It answers this `CKR_` value without reaching the real library.
    Answer(u64),
    /// It takes this much longer.
    Delay(Duration),
    /// It does not go on before the order is lifted.
    Hold,
    /// In byte `at` of what it puts out these bits are turned.
    Xor {
        /// Which byte.
        at: usize,
        /// Which bits.
        mask: u8,
    },
    /// All bytes it puts out are this one.
    Fill(u8),
}

/// Which calls of a function, counted from the order on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Calls {
    /// The n-th one only; the next one is the first.
    Nth(u64),
    /// All, until the order is lifted.
    All,
}

/// The orders of one process that uses the library.
#[derive(Debug)]
pub struct Faults {
    control: PathBuf,
    lines: Mutex<Vec<String>>,
}

impl Faults {
    /// Gives orders through this file, the one that [`crate::CONTROL_VARIABLE`] names to the process.
    pub fn at(control: impl Into<PathBuf>) -> Self {
        Self {
            control: control.into(),
            lines: Mutex::default(),
        }
    }

    /// The file of orders of this process.
    ///
    /// # Panics
    /// When the process was started without [`crate::CONTROL_VARIABLE`].
    pub fn of_this_process() -> Self {
        Self::at(std::env::var_os(crate::CONTROL_VARIABLE).expect("the environment names orders"))
    }

    /// Orders an effect on calls of `function`, beside the orders given before.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn order(&self, function: &str, calls: Calls, effect: Effect) {
        let done = self.calls(function);
        let (first, last) = match calls {
            Calls::Nth(nth) => (done + nth, done + nth),
            Calls::All => (done + 1, u64::MAX),
        };
        let effect = match effect {
            Effect::Answer(rv) => format!("answer {rv}"),
            Effect::Delay(time) => format!("delay {}", time.as_millis()),
            Effect::Hold => "hold".to_owned(),
            Effect::Xor { at, mask } => format!("xor {at} {mask}"),
            Effect::Fill(byte) => format!("fill {byte}"),
        };
        let mut lines = self.lines.lock().expect("no order panics");
        lines.push(format!("{function} {first} {last} {effect}\n"));
        self.write(&lines.concat());
    }

    /// Lifts all orders.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn lift(&self) {
        self.lines.lock().expect("no order panics").clear();
        self.write("");
    }

    /// How often `function` was called so far.
    pub fn calls(&self, function: &str) -> u64 {
        let calls = self.record();
        calls.lines().filter(|call| *call == function).count() as u64
    }

    /// How often anything was called so far.
    pub fn all_calls(&self) -> u64 {
        self.record().lines().count() as u64
    }

    fn record(&self) -> String {
        fs::read_to_string(record_beside(&self.control)).unwrap_or_default()
    }

    /// Renamed into place, so that the library never reads half of it.
    fn write(&self, orders: &str) {
        let fresh = self.control.with_extension("new");
        fs::write(&fresh, orders).expect("orders can be written");
        fs::rename(&fresh, &self.control).expect("orders can be put in place");
    }
}

/// Notes a call, for [`Faults::calls`].
pub(crate) fn record(control: &Path, function: &str) {
    let record = OpenOptions::new()
        .append(true)
        .create(true)
        .open(record_beside(control));
    record
        .and_then(|mut record| record.write_all(format!("{function}\n").as_bytes()))
        .expect("calls can be recorded");
}

/// The effects on the call with this number.
pub(crate) fn effects(control: &Path, function: &str, number: u64) -> Vec<Effect> {
    fs::read_to_string(control)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let (name, first, last, effect) =
                parse(line).unwrap_or_else(|| panic!("no order for the PKCS#11 library: {line}"));
            (name == function && (first..=last).contains(&number)).then_some(effect)
        })
        .collect()
}

fn parse(line: &str) -> Option<(&str, u64, u64, Effect)> {
    let mut words = line.split(' ');
    let (function, first, last) = (
        words.next()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    );
    let effect = words.next()?;
    let mut number = || words.next()?.parse::<u64>().ok();
    let effect = match effect {
        "answer" => Effect::Answer(number()?),
        "delay" => Effect::Delay(Duration::from_millis(number()?)),
        "hold" => Effect::Hold,
        "xor" => Effect::Xor {
            at: number()?.try_into().ok()?,
            mask: number()?.try_into().ok()?,
        },
        "fill" => Effect::Fill(number()?.try_into().ok()?),
        _ => return None,
    };
    Some((function, first, last, effect))
}

fn record_beside(control: &Path) -> PathBuf {
    control.with_extension("calls")
}
