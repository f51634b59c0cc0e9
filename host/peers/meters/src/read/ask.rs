// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks a meter for its readout over IEC 62056-21 (modes A, B, C), again and again.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_iec62056::reader::{Config, Event};
use smgw_iec62056::{Baud, Bcc, Block, Reader, Transmit};
use smgw_peers::meters::LineConfig;
use smgw_units::Nanos;

use super::decode;
use super::detect::{Action, Counters, Options, Report, Worker};

/// The reader of one meter.
pub(super) struct Asker {
    reader: Reader,
    line: LineConfig,
    interval: Duration,
    identification: Vec<u8>,
    known: bool,
    failed: bool,
    next: Option<Nanos>,
    reports: VecDeque<Report>,
}

impl Asker {
    pub(super) fn new(line: LineConfig, options: &Options, now: Nanos) -> Self {
        let config = Config {
            initial: Baud(line.baud),
            strip_parity: true,
            retries: 1,
            ..Config::default()
        };
        let mut reader = Reader::new(config);
        reader.start(now);
        Self {
            reader,
            line,
            interval: options.interval,
            identification: Vec::new(),
            known: false,
            failed: false,
            next: None,
            reports: VecDeque::new(),
        }
    }

    fn collect(&mut self, now: Nanos, counters: &mut Counters) {
        while let Some(event) = self.reader.poll_event() {
            match event {
                Event::Identified { line, .. } => self.identification = line,
                Event::Readout { block, bcc, .. } => {
                    if matches!(bcc, Bcc::Wrong { .. }) {
                        counters.checksum_errors += 1;
                    } else {
                        self.known = true;
                        let block = Block::parse(&block);
                        let telegram = decode::readout(&self.identification, &block);
                        self.reports
                            .extend([Report::Telegram(telegram), Report::RoundEnded]);
                    }
                    self.next = Some(now + self.interval);
                }
                Event::Failed(_) => {
                    counters.unanswered += 1;
                    self.failed = true;
                    self.next = self.known.then(|| now + self.interval);
                }
                Event::Answer { .. } | Event::Ended | Event::Handover { .. } => {}
            }
        }
    }
}

impl Worker for Asker {
    /// Whether nobody answered.
    fn exhausted(&self) -> bool {
        self.failed && !self.known
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    fn poll_action(&mut self, now: Nanos) -> Option<Action> {
        self.reader
            .poll_transmit(now)
            .map(|transmit| match transmit {
                Transmit::Bytes(bytes) => Action::Send(bytes),
                Transmit::Baud(Baud(baud)) => Action::Configure(LineConfig { baud, ..self.line }),
            })
    }

    fn handle_input(&mut self, at: Nanos, byte: u8, counters: &mut Counters) {
        self.reader.handle_input(at, byte);
        self.collect(at, counters);
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        [self.reader.poll_timeout(), self.next]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters) {
        if self.reader.poll_timeout().is_some_and(|due| now >= due) {
            self.reader.handle_timeout(now);
        }
        self.collect(now, counters);
        if self.next.is_some_and(|next| now >= next) {
            self.next = None;
            self.reader.start(now);
        }
    }
}
