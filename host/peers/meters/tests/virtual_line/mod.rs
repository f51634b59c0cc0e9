// SPDX-License-Identifier: MIT OR Apache-2.0
//! Simulator and detector on one line in virtual time: minutes pass in milliseconds, and always the same way.

use std::time::Duration;

use smgw_meters::profile::Profile;
use smgw_meters::read::{Action, Options, Report, Telegram};
use smgw_meters::{Detector, Simulator, Transmission};
use smgw_peers::meters::{LineConfig, garble};
use smgw_units::{Nanos, UtcNanos};

/// What came of it.
#[derive(Debug, Default)]
pub struct Heard {
    pub telegrams: Vec<(Telegram, Nanos)>,
    pub reports: Vec<Report>,
    pub sent: Vec<Transmission>,
    /// Transmissions whose last byte came through at the right speed, by their place in `sent`.
    pub whole: Vec<usize>,
}

impl Heard {
    #[allow(dead_code, reason = "not every test program asks")]
    pub fn readings(&self) -> usize {
        self.telegrams
            .iter()
            .map(|(telegram, _)| telegram.readings.len())
            .sum()
    }

    #[allow(dead_code, reason = "not every test program asks")]
    pub fn was_read(&self, transmission: &Transmission) -> bool {
        let place = self
            .sent
            .iter()
            .position(|sent| std::ptr::eq(sent, transmission));
        transmission.data && place.is_some_and(|place| self.whole.contains(&place))
    }
}

pub struct VirtualLine {
    simulator: Simulator,
    detector: Detector,
    now: Nanos,
    /// Speed the reader listens at.
    speed: u32,
    /// Bytes on their way to the reader: instant, byte, place of the transmission when it is the last, speed.
    coming: std::collections::VecDeque<(Nanos, u8, Option<usize>, LineConfig)>,
    line_free: Nanos,
    heard: Heard,
}

pub const EPOCH: Nanos = Nanos(1_000_000_000_000);

impl VirtualLine {
    pub fn new(profile: Profile, options: Options, seed: u64) -> Self {
        let utc = UtcNanos::from_seconds(1_790_000_000);
        Self {
            simulator: Simulator::new(profile, EPOCH, utc, seed),
            detector: Detector::new(options, EPOCH),
            now: EPOCH,
            speed: 0,
            coming: std::collections::VecDeque::new(),
            line_free: EPOCH,
            heard: Heard::default(),
        }
    }

    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    #[allow(dead_code, reason = "not every test program asks")]
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    #[allow(dead_code, reason = "not every test program asks")]
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Lets at most `length` pass, or until `enough`, or until the detector has nothing left to try.
    pub fn run(&mut self, length: Duration, enough: impl Fn(&Heard) -> bool) {
        let end = self.now + length;
        while self.now < end && !self.detector.ended() && !enough(&self.heard) {
            self.act();
            let instants = [
                self.coming.front().map(|(at, ..)| *at),
                self.simulator.poll_timeout(),
                self.detector.poll_timeout(),
            ];
            let Some(next) = instants.into_iter().flatten().min() else {
                break;
            };
            self.now = self.now.max(next);
            self.deliver();
            self.transmit();
            self.detector.handle_timeout(self.now);
            self.collect();
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.detector.poll_action(self.now) {
            match action {
                Action::Configure(line) => self.speed = line.baud,
                Action::Send(bytes) => {
                    let line = LineConfig {
                        baud: self.speed,
                        ..self.simulator.line()
                    };
                    let fits = self.speed == self.simulator.line().baud;
                    for (index, byte) in bytes.iter().enumerate() {
                        let at = self.now + line.characters(index + 1);
                        self.simulator
                            .handle_input(at, if fits { *byte } else { garble(*byte) });
                    }
                }
            }
        }
        self.collect();
    }

    fn deliver(&mut self) {
        while let Some((at, byte, last, line)) = self
            .coming
            .front()
            .copied()
            .filter(|(at, ..)| *at <= self.now)
        {
            self.coming.pop_front();
            let fits = line.baud == self.speed;
            self.detector
                .handle_input(at, if fits { byte } else { garble(byte) });
            if fits {
                self.heard.whole.extend(last);
            }
            self.collect();
        }
    }

    fn transmit(&mut self) {
        while self
            .simulator
            .poll_timeout()
            .is_some_and(|due| due <= self.now)
        {
            let Some(transmission) = self.simulator.poll_transmit(self.now) else {
                break;
            };
            let mut at = transmission.due.max(self.line_free);
            let place = self.heard.sent.len();
            let last_piece = transmission.pieces.len().saturating_sub(1);
            for (index, piece) in transmission.pieces.iter().enumerate() {
                at = at + piece.pause;
                let last_byte = piece.bytes.len().saturating_sub(1);
                for (number, byte) in piece.bytes.iter().enumerate() {
                    let pace = if piece.rushed {
                        Duration::ZERO
                    } else {
                        transmission.line.characters(number + 1)
                    };
                    let last = (index == last_piece && number == last_byte).then_some(place);
                    self.coming
                        .push_back((at + pace, *byte, last, transmission.line));
                }
                if !piece.rushed {
                    at = at + transmission.line.characters(piece.bytes.len());
                }
            }
            self.line_free = at + transmission.vanish.unwrap_or_default();
            self.heard.sent.push(transmission);
        }
    }

    fn collect(&mut self) {
        while let Some(report) = self.detector.poll_report() {
            if let Report::Telegram(telegram) = &report {
                self.heard.telegrams.push((telegram.clone(), self.now));
            }
            self.heard.reports.push(report);
        }
    }
}
