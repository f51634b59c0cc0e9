// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks one SML server what it shows: first for its list, which names the registers, and from then on for each of these
//! by GetProcParameter, as a gateway does on its wired LMN (BSI TR-03109-1 detail specifications v2.0 ch. 9).

use std::time::Duration;

use smgw_sml::client::{Client, Config, Event};
use smgw_sml::register_tree::{self, Path};
use smgw_sml::{Body, List, ListRequest, ParameterRequest, Quirks};
use smgw_units::{Nanos, Obis};

use super::decode::{self, Telegram};
use super::detect::Counters;
use crate::profile::Protocol;

/// The client of one server.
pub(super) struct Inquiry {
    client: Client,
    protocol: Protocol,
    /// What is asked for by name; none before the list was there.
    registers: Option<Vec<Obis>>,
    asking: bool,
}

impl Inquiry {
    /// `seed` tells its transactions from those of others.
    pub(super) fn new(protocol: Protocol, seed: u32) -> Self {
        let config = Config {
            client_id: b"smgw-bench".to_vec(),
            first_transaction: seed,
            timeout: TIMEOUT,
            quirks: Quirks::ALL,
        };
        Self {
            client: Client::new(config),
            protocol,
            registers: None,
            asking: false,
        }
    }

    /// Begins a round; nothing happens while one is under way.
    pub(super) fn begin(&mut self, now: Nanos) {
        let Some(registers) = &self.registers else {
            let request = Body::ListRequest(ListRequest {
                client_id: b"smgw-bench",
                ..ListRequest::default()
            });
            self.asking |= self.client.ask(now, None, &[request]).is_ok();
            return;
        };
        let paths: Vec<_> = registers.iter().map(|obis| Path::to(*obis)).collect();
        let parts: Vec<_> = paths.iter().map(Path::parts).collect();
        // Server id, user, password and attribute stay absent.
        let requests: Vec<_> = parts
            .iter()
            .map(|path| {
                Body::ParameterRequest(ParameterRequest {
                    path: List::from(path),
                    ..ParameterRequest::default()
                })
            })
            .collect();
        self.asking |= self.client.ask(now, None, &requests).is_ok();
    }

    /// Whether a round is under way.
    pub(super) const fn is_asking(&self) -> bool {
        self.asking
    }

    /// The payload to send, once.
    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.client.poll_transmit()
    }

    pub(super) fn poll_timeout(&self) -> Option<Nanos> {
        self.client.poll_timeout()
    }

    /// Whether the round ended because nothing more came.
    pub(super) fn handle_timeout(&mut self, now: Nanos) -> bool {
        let over = self.client.handle_timeout(now).is_some();
        self.asking &= !over;
        over
    }

    /// Gives up what is under way.
    pub(super) fn give_up(&mut self) {
        self.handle_timeout(Nanos(u64::MAX));
        self.asking = false;
    }

    /// Takes a file of answers.
    pub(super) fn handle_payload(
        &mut self,
        now: Nanos,
        payload: &[u8],
        counters: &mut Counters,
    ) -> Option<Telegram> {
        let Ok(events) = self.client.handle_payload(payload) else {
            counters.incomplete += 1;
            return None;
        };
        let mut told: Option<Telegram> = None;
        let mut remarks = Vec::new();
        let mut listed = Vec::new();
        let mut closed = false;
        let mut time = None;
        for event in events {
            match event {
                Event::Opened(open) => time = open.reference_time,
                Event::Answer {
                    body: Body::ListResponse(list),
                    ..
                } => {
                    let telegram = told.get_or_insert_with(|| {
                        decode::sml_telegram(self.protocol, list.server_id, list.sensor_time)
                    });
                    let entries = list.entries.iter().take(MOST_REGISTERS);
                    for entry in entries {
                        listed.extend(entry.name.try_into().map(Obis));
                        telegram.readings.push(decode::sml_reading(&entry));
                    }
                }
                Event::Answer {
                    body: Body::ParameterResponse(answer),
                    ..
                } => {
                    let telegram = told.get_or_insert_with(|| {
                        decode::sml_telegram(self.protocol, answer.server_id, time)
                    });
                    let entry = register_tree::entry(&answer);
                    telegram.readings.push(decode::sml_reading(&entry));
                }
                Event::Refused { request, attention } => {
                    let register = request.zip(self.registers.as_ref());
                    let register = register.and_then(|(at, registers)| registers.get(at));
                    let what = register.map_or_else(|| "request".to_owned(), Obis::to_string);
                    let why = attention
                        .meaning()
                        .map_or_else(|| decode::hex(attention.number), |why| why.to_string());
                    remarks.push(format!("{what}: {why}"));
                }
                Event::Ignored { .. } => counters.checksum_errors += 1,
                Event::Closed { .. } => closed = true,
                Event::Answer { .. } | Event::Acknowledged { .. } => {}
            }
        }
        if closed {
            self.asking = false;
            if self.registers.is_none() {
                // A meter without a list is asked for what all have.
                let usual = || vec![Obis::IMPORT_TOTAL];
                self.registers = Some(if listed.is_empty() { usual() } else { listed });
                self.begin(now);
            }
        }
        if let Some(telegram) = &mut told {
            telegram.remarks.extend(remarks);
        }
        told
    }
}

/// How long a meter may take for all answers.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any meter has; a list without an end must not become requests without an end.
const MOST_REGISTERS: usize = 64;
