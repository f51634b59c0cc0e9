// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks a meter in SML over the line as it is (transport version 1), again and again.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_sml::transport::{self, Discard, Event, Framer};
use smgw_units::Nanos;

use super::detect::{Action, Counters, Options, Report, Worker};
use super::inquiry::Inquiry;
use crate::profile::Protocol;

/// The reader of one meter.
pub(super) struct Puller {
    inquiry: Inquiry,
    framer: Framer,
    interval: Duration,
    next: Option<Nanos>,
    known: bool,
    reports: VecDeque<Report>,
}

impl Puller {
    pub(super) fn new(options: &Options, now: Nanos) -> Self {
        let mut inquiry = Inquiry::new(Protocol::SmlPull, FIRST_TRANSACTION);
        inquiry.begin(now);
        Self {
            inquiry,
            framer: Framer::new(),
            interval: options.interval,
            next: None,
            known: false,
            reports: VecDeque::new(),
        }
    }
}

impl Worker for Puller {
    fn exhausted(&self) -> bool {
        !self.known && !self.inquiry.is_asking()
    }

    fn handle_input(&mut self, at: Nanos, byte: u8, counters: &mut Counters) {
        match self.framer.push(byte, at) {
            Some(Event::File { payload, .. }) => {
                let telegram = self.inquiry.handle_payload(at, payload, counters);
                self.known |= telegram.is_some();
                self.reports.extend(telegram.map(Report::Telegram));
                if self.known && !self.inquiry.is_asking() && self.next.is_none() {
                    self.next = Some(at + self.interval);
                    self.reports.push_back(Report::RoundEnded);
                }
            }
            Some(Event::Discarded { bytes, reason, .. }) => match reason {
                Discard::Noise => counters.noise_bytes += bytes as u64,
                Discard::BadCrc => counters.checksum_errors += 1,
                _ => counters.incomplete += 1,
            },
            None => {}
        }
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        self.inquiry.poll_timeout().or(self.next)
    }

    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters) {
        if self.inquiry.handle_timeout(now) {
            counters.unanswered += 1;
            self.next = self.known.then(|| now + self.interval);
        }
        if self.next.take_if(|next| now >= *next).is_some() {
            self.inquiry.begin(now);
        }
    }

    fn poll_action(&mut self, _: Nanos) -> Option<Action> {
        let payload = self.inquiry.poll_transmit()?;
        Some(Action::Send(transport::encode(&payload)))
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }
}

const FIRST_TRANSACTION: u32 = 0x5000_0001;
