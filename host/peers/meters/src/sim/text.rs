// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters that speak in lines of text: IEC 62056-21 asked (modes A, B, C) and unasked (mode D), and P1.

use smgw_iec62056::meter::Config;
use smgw_iec62056::{
    Baud, Identification, Meter, Transmit, encode_block, encode_unchecked, p1, write_set,
};
use smgw_peers::meters::LineConfig;
use smgw_units::{Decimal, Nanos, Obis, UtcNanos};

use super::fault::Fault;
use super::local::local;
use super::push::{Compose, Composed};
use super::world::{Sample, Shown, World};
use super::{Frame, Machine, Places};
use crate::profile::{Identity, Protocol, Register};

/// The identification line of the only device, with what faults make of it.
fn identification(world: &World, faults: &[Fault]) -> Vec<u8> {
    let device = world.profile.devices.first();
    let line = match device.map(|device| &device.identity) {
        Some(Identity::Text { identification }) => identification.as_str(),
        _ => "",
    };
    let mut line = format!("/{line}\r\n").into_bytes();
    let last = line.len().checked_sub(3);
    if let (true, Some(last)) = (
        faults.contains(&Fault::WrongId),
        last.and_then(|last| line.get_mut(last)),
    ) {
        *last = if *last == b'X' { b'Y' } else { b'X' };
    }
    line
}

/// The data lines.
fn lines(world: &World, samples: &[Sample]) -> Vec<u8> {
    let registers = world
        .profile
        .devices
        .first()
        .map_or(&[][..], |device| &device.registers);
    let mut lines = Vec::new();
    for sample in samples {
        if let Some(register) = registers.get(sample.register) {
            let address = sample.obis.map(code).unwrap_or_default();
            write_set(
                &mut lines,
                &address,
                &[&bracket(world, register, &sample.shown)],
            );
        }
    }
    lines
}

fn code(obis: Obis) -> String {
    let text = obis.to_string();
    match text.strip_suffix("*255") {
        Some(short) => short.to_owned(),
        None => text,
    }
}

fn bracket(world: &World, register: &Register, shown: &Shown) -> String {
    match shown {
        Shown::Number(number) => {
            let number = padded(*number, register.digits.unwrap_or(6));
            match register.unit.name.as_str() {
                "" => number,
                unit => format!("{number}*{unit}"),
            }
        }
        Shown::Text(text) => text.clone(),
        Shown::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        Shown::Clock(now) => date_time(*now, world.profile.protocol == Protocol::P1),
    }
}

/// With so many digits before the point, as meters print.
fn padded(number: Decimal, digits: u8) -> String {
    let text = number.to_string();
    let (sign, text) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |text| ("-", text));
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let point = fraction.map_or_else(String::new, |fraction| format!(".{fraction}"));
    format!("{sign}{whole:0>width$}{point}", width = usize::from(digits))
}

/// `YYMMDDhhmmss` in local time; P1 adds the season.
fn date_time(now: UtcNanos, season: bool) -> String {
    let (time, summer) = local(now);
    let season = match (season, summer) {
        (false, _) => "",
        (true, true) => "S",
        (true, false) => "W",
    };
    let year = time.year().rem_euclid(100);
    let [month, day, hour, minute, second] = [
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
    ];
    format!("{year:02}{month:02}{day:02}{hour:02}{minute:02}{second:02}{season}")
}

/// Telegrams sent unasked: mode D, P1.
pub(super) struct Composer;

impl Compose for Composer {
    fn compose(
        &mut self,
        world: &World,
        _: Nanos,
        samples: &[Sample],
        faults: &[Fault],
    ) -> Composed {
        let line = identification(world, faults);
        let lines = lines(world, samples);
        let bytes = match Identification::parse(&line) {
            Some(identification) if world.profile.protocol == Protocol::P1 => {
                p1::encode(&identification, &lines)
            }
            Some(identification) => encode_unchecked(&identification, &lines),
            None => Vec::new(),
        };
        let checked = world.profile.protocol == Protocol::P1;
        // The last digit of the checksum stands before the end of the line; mode D has none.
        let checksum = bytes.len().checked_sub(3).filter(|_| checked);
        Composed {
            bytes,
            places: Places {
                checksum,
                ..Places::default()
            },
            telegram: String::new(),
        }
    }
}

/// A meter that wants to be asked. The dialogue is that of [`Meter`]; what it reads out is put in when it is sent.
pub(super) struct Dialogue {
    meter: Meter,
    line: LineConfig,
    asked: Nanos,
}

impl Dialogue {
    pub(super) fn new(world: &World) -> Self {
        let line = world.profile.line;
        let identification = identification(world, &[]);
        let none = Identification {
            manufacturer: "",
            baud: 0,
            enhanced: "",
            id: "",
        };
        let mut config = Config::new(&Identification::parse(&identification).unwrap_or(none));
        config.initial = Baud(line.baud);
        Self {
            meter: Meter::new(config, world.epoch()),
            line,
            asked: world.epoch(),
        }
    }

    /// The readout sensed when it was asked for.
    fn readout(&self, world: &mut World, due: Nanos) -> Frame {
        let faults = world.draw(due, true);
        let sampled_at = Nanos(self.asked.0.saturating_sub(world.latency())).max(world.epoch());
        let samples = world.samples(0, sampled_at, &faults);
        let bytes = encode_block(&lines(world, &samples));
        let places = Places {
            checksum: bytes.len().checked_sub(1),
            ..Places::default()
        };
        let telegram = String::new();
        Frame {
            due,
            bytes,
            data: true,
            telegram,
            samples,
            sampled_at,
            faults,
            places,
            line: self.line,
        }
    }
}

impl Machine for Dialogue {
    fn handle_input(&mut self, _: &mut World, at: Nanos, byte: u8) {
        self.asked = at;
        self.meter.handle_input(at, byte & 0x7f);
    }

    fn line(&self) -> Option<LineConfig> {
        Some(self.line)
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        self.meter.poll_timeout()
    }

    fn poll_transmit(&mut self, world: &mut World, now: Nanos) -> Option<Frame> {
        self.meter.handle_timeout(now);
        match self.meter.poll_transmit(now)? {
            Transmit::Baud(Baud(baud)) => {
                self.line.baud = baud;
                None
            }
            Transmit::Bytes(bytes) if bytes.first() == Some(&STX) => Some(self.readout(world, now)),
            Transmit::Bytes(_) => {
                let faults = world.draw(now, false);
                Some(Frame {
                    due: now,
                    bytes: identification(world, &faults),
                    data: false,
                    telegram: String::new(),
                    samples: Vec::new(),
                    sampled_at: now,
                    faults,
                    places: Places::default(),
                    line: self.line,
                })
            }
        }
    }
}

const STX: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_leading_zeros() {
        let of = |mantissa, exponent, digits| padded(Decimal::new(mantissa, exponent), digits);
        assert_eq!(of(123_456, -3, 6), "000123.456");
        assert_eq!(of(-5, -1, 3), "-000.5");
        assert_eq!(of(42, 0, 1), "42");
        assert_eq!(of(42, 1, 5), "00420");
    }

    #[test]
    fn the_season_tells_the_two_hours_of_autumn_apart() {
        let at = |seconds| date_time(UtcNanos::from_seconds(seconds), true);
        // 2026-10-25T00:30:00Z and an hour later.
        assert_eq!(
            [at(1_792_888_200), at(1_792_891_800)],
            ["261025023000S", "261025023000W"]
        );
    }
}
