// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter on the wired LMN of the German norm: SML GetProcParameter in TLS in HDLC, shortly before every grid point
//! (TR-03109-1 detail specifications v2.0 ch. 8-9).

use std::io;
use std::time::Duration;

use serialport::SerialPort;
use smgw_core::log::{Event as LogEvent, EventKind};
use smgw_core::{GapReason, Reading};
use smgw_sml::client::{Client, Config, Event, Ignored};
use smgw_sml::register_tree::{self, Path};
use smgw_sml::{Body, List, ParameterRequest, Quirks};
use smgw_units::Nanos;
use tracing::debug;

use super::Line;
use super::schedule::Schedule;
use super::session::{Channel, Trouble};
use crate::config::HdlcLmn;
use crate::measuring::LineEventKind;

/// Polls around every grid point until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn poll(line: &Line, asked: &HdlcLmn, port: &mut dyn SerialPort) -> io::Result<()> {
    let Some(tls) = &line.tls else {
        // Without a security module there is no session, and without a session no value.
        return idle(line, port);
    };
    let mut asking = Asking {
        channel: Channel::new(line, tls, asked.station, port),
        client: Client::new(Config {
            client_id: CLIENT_ID.to_vec(),
            // Others than before a restart: nobody must take an old answer for a new one.
            first_transaction: (line.clock.now().0 / 1_000_000) as u32,
            timeout: NEVER,
            quirks: Quirks::ALL,
        }),
        server_id: &asked.server_id,
        trouble: None,
    };
    // The handshake is over before the first grid point, if the meter is there.
    let first = asking.read();
    if !asking.settle(first)? {
        return Ok(());
    }
    let mut schedule = Schedule::new(line, asked.poll_lead);
    while let Some(poll) = schedule.next(asking.channel.port)? {
        loop {
            let outcome = asking.read();
            let done = outcome.is_ok();
            if !asking.settle(outcome)? {
                return Ok(());
            }
            if done || super::pause_unless_stopping(line, PAUSE).is_none() || schedule.is_over(poll)
            {
                break;
            }
        }
    }
    asking.channel.close();
    Ok(())
}

fn idle(line: &Line, port: &mut dyn SerialPort) -> io::Result<()> {
    let mut unasked = [0; 64];
    while !line.stopping() {
        super::read(&line.clock, port, &mut unasked)?;
    }
    Ok(())
}

struct Asking<'a> {
    channel: Channel<'a>,
    client: Client,
    server_id: &'a [u8],
    /// What was last told to be wrong.
    trouble: Option<String>,
}

impl Asking<'_> {
    /// One answer, from a session that is set up if there is none.
    fn read(&mut self) -> Result<(), Trouble> {
        let is_new = self.channel.open()?;
        let line = self.channel.line;
        let paths: Vec<_> = line.meter.registers.iter().copied().map(Path::to).collect();
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
        // What an exchange that failed left behind is not awaited any more.
        self.client.handle_timeout(Nanos(u64::MAX));
        let asked = self.client.ask(Nanos(0), None, &requests);
        let request = asked.ok().and_then(|()| self.client.poll_transmit());
        let request = request.ok_or(Trouble::Damaged("there is nothing to ask for"))?;
        let mut answers = Answers::default();
        let (client, server_id) = (&mut self.client, self.server_id);
        let first = self
            .channel
            .exchange(&request, |plain| answers.take(client, server_id, plain))?;
        // Only now it is sure that the meter took our certificate too.
        if is_new {
            self.trouble = None;
            self.log(LogEvent::new(EventKind::MeterConnected));
        }
        let kind = if answers.foreign {
            LineEventKind::Refused {
                id: answers.id,
                reason: GapReason::WrongMeter,
            }
        } else {
            LineEventKind::Telegram {
                id: answers.id,
                readings: answers.readings,
            }
        };
        line.report_telegram(first, kind);
        Ok(())
    }

    /// Tells of trouble, in the log book when it is new; `false` when the gateway stops.
    fn settle(&mut self, outcome: Result<(), Trouble>) -> io::Result<bool> {
        let line = self.channel.line;
        let trouble = match outcome {
            Ok(()) => return Ok(true),
            Err(Trouble::Stopping) => return Ok(false),
            Err(Trouble::Port(error)) => return Err(error),
            Err(trouble) => trouble,
        };
        let why = trouble.to_string();
        debug!(meter = %line.meter.id, %why, "meter not read");
        if self.trouble.as_ref() != Some(&why) {
            self.log(LogEvent::new(EventKind::MeterRefused).with(&why));
            self.trouble = Some(why);
        }
        let kind = match trouble.reason() {
            reason @ GapReason::NoAnswer => LineEventKind::Fault(reason),
            reason => LineEventKind::Refused {
                id: String::new(),
                reason,
            },
        };
        line.report_of(line.number, line.clock.now(), kind);
        Ok(true)
    }

    fn log(&self, event: LogEvent) {
        let line = self.channel.line;
        line.report_of(line.number, line.clock.now(), LineEventKind::Logged(event));
    }
}

/// What a file of answers has said so far.
#[derive(Default)]
struct Answers {
    /// Octets that are no whole message yet.
    pending: Vec<u8>,
    id: String,
    /// Another server answered.
    foreign: bool,
    readings: Vec<Reading>,
}

impl Answers {
    /// Takes more of the file; whether it is complete.
    fn take(
        &mut self,
        client: &mut Client,
        server_id: &[u8],
        plain: &[u8],
    ) -> Result<bool, Trouble> {
        if self.pending.len() + plain.len() > LARGEST_ANSWER {
            return Err(Trouble::Damaged("the meter's answer has no end"));
        }
        self.pending.extend_from_slice(plain);
        // A file that cannot be read yet may be one that is not all there; the time for an answer bounds the wait.
        let Ok(events) = client.handle_payload(&self.pending) else {
            return Ok(false);
        };
        let mut complete = false;
        for event in events {
            match event {
                Event::Opened(open) => {
                    self.id = super::hex(open.request_file_id);
                    self.foreign |= open.server_id != server_id;
                }
                Event::Answer {
                    body: Body::ParameterResponse(answer),
                    ..
                } => {
                    self.foreign |= answer.server_id != server_id;
                    let entry = register_tree::entry(&answer);
                    let reading = smgw_sml::Reading::of(&entry, None);
                    self.readings.extend(reading.map(|reading| Reading {
                        obis: reading.obis,
                        value: reading.value,
                        unit: reading.unit,
                        // The combined status word has room for 32 bits of the meter.
                        meter_status: reading.status.unwrap_or(0) as u32,
                    }));
                }
                Event::Ignored {
                    reason: Ignored::BadCrc,
                    ..
                } => {
                    return Err(Trouble::Damaged(
                        "a checksum in the meter's answer is wrong",
                    ));
                }
                // A register the meter does not have is missing among the readings.
                Event::Refused {
                    request: Some(_), ..
                }
                | Event::Answer { .. }
                | Event::Acknowledged { .. }
                | Event::Ignored { .. } => {}
                Event::Refused { request: None, .. } => {
                    return Err(Trouble::Damaged("the meter refuses the request"));
                }
                Event::Closed { .. } => complete = true,
            }
        }
        self.pending.clear();
        Ok(complete)
    }
}

/// Who asks (assumption: the name is free).
const CLIENT_ID: &[u8] = b"smgw";
/// Octets of an answer: some hundred registers.
const LARGEST_ANSWER: usize = 0x4000;
/// The session has the deadline.
const NEVER: Duration = Duration::from_secs(3_600);
/// Between attempts inside a window.
const PAUSE: Duration = Duration::from_millis(200);
