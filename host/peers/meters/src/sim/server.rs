// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters that are asked in SML: files of requests in, files of answers out (SML 1.05 §5.1; BSI TR-03109-1 detail
//! specifications v2.0 ch. 9), and a line that carries nothing else.

use smgw_peers::meters::LineConfig;
use smgw_sml::register_tree::{self, Path};
use smgw_sml::server::{Config, Server};
use smgw_sml::transport::{Event, Framer, encode_with};
use smgw_sml::{
    AttentionNumber, Body, CrcKind, ListEntry, ListResponse, ParameterResponse, Quirks,
};
use smgw_units::Nanos;

use super::fault::Fault;
use super::sml::{LIST_NAME, entry, time};
use super::world::{Sample, World};
use super::{Frame, Machine, Places};
use crate::profile::{Checksum, Identity};

/// The SML server of one device.
pub(super) struct Responder {
    server: Server,
    server_id: Vec<u8>,
    device: usize,
    files: u32,
}

/// A file of answers and what it says.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) payload: Vec<u8>,
    pub(super) telegram: String,
    pub(super) samples: Vec<Sample>,
    pub(super) sampled_at: Nanos,
    pub(super) faults: Vec<Fault>,
}

impl Responder {
    pub(super) fn new(world: &World, device: usize) -> Self {
        let identity = world.profile.devices.get(device);
        let server_id = match identity.map(|device| &device.identity) {
            Some(Identity::Sml { server_id, .. }) => server_id.clone(),
            Some(Identity::Lmn { device, .. }) => device.server_id().to_vec(),
            _ => Vec::new(),
        };
        let config = Config {
            server_id: server_id.clone(),
            credentials: None,
            quirks: Quirks::ALL,
        };
        Self {
            server: Server::new(config),
            server_id,
            device,
            files: 0,
        }
    }

    /// Answers a file of requests that came at `at`; nothing for what is no SML or asks nothing.
    pub(super) fn serve(&mut self, world: &mut World, at: Nanos, payload: &[u8]) -> Option<Served> {
        let sampled_at = Nanos(at.0.saturating_sub(world.latency())).max(world.epoch());
        let now = time(world, at);
        let sensed = time(world, sampled_at);
        let requests = self.server.handle_payload(payload, now).ok()?;
        let faults = world.draw(at, true);
        let mut samples = world.samples(self.device, sampled_at, &faults);
        let mut server_id = self.server_id.clone();
        if let (true, Some(last)) = (faults.contains(&Fault::WrongId), server_id.last_mut()) {
            *last = last.wrapping_add(1);
        }
        let registers = world.profile.devices.get(self.device);
        let registers = registers.map_or(&[][..], |device| &device.registers);
        let entries: Vec<ListEntry<'_>> = samples
            .iter()
            .filter_map(|sample| {
                let entry = entry(registers.get(sample.register)?, sample);
                Some(ListEntry {
                    time: sensed,
                    ..entry
                })
            })
            .collect();
        let mut told = Vec::new();
        for request in &requests {
            let answered = match request.body {
                Body::ListRequest(asked) => {
                    told.extend(samples.iter().map(|sample| sample.register));
                    let list = ListResponse {
                        client_id: Some(asked.client_id),
                        server_id: &server_id,
                        list_name: Some(LIST_NAME),
                        sensor_time: sensed,
                        entries: (&entries).into(),
                        ..ListResponse::default()
                    };
                    self.server.answer(request.id, Body::ListResponse(list))
                }
                Body::ParameterRequest(asked) => {
                    let obis = Path::read(&asked.path);
                    let place = samples
                        .iter()
                        .position(|sample| obis.is_some() && sample.obis == obis);
                    match place.and_then(|place| entries.get(place).zip(samples.get(place))) {
                        Some((entry, sample)) => {
                            told.push(sample.register);
                            register_tree::tree(entry, |tree| {
                                let response = ParameterResponse {
                                    server_id: &server_id,
                                    path: asked.path,
                                    tree,
                                };
                                let body = Body::ParameterResponse(response);
                                self.server.answer(request.id, body)
                            })
                        }
                        None => self
                            .server
                            .attend(request.id, AttentionNumber::UNKNOWN_OBJECT),
                    }
                }
                _ => self
                    .server
                    .attend(request.id, AttentionNumber::NOT_EXECUTED),
            };
            // Each answer is of the kind of its request.
            answered.ok()?;
        }
        samples.retain(|sample| told.contains(&sample.register));
        self.files = self.files.wrapping_add(1);
        Some(Served {
            payload: self.server.poll_transmit()?,
            telegram: format!("{:08x}", self.files),
            samples,
            sampled_at,
            faults,
        })
    }
}

/// A meter that is asked over the line as it is, in transport version 1.
pub(super) struct Pulled {
    responder: Responder,
    framer: Framer,
    line: LineConfig,
    answer: Option<(Nanos, Served)>,
}

impl Pulled {
    pub(super) fn new(world: &World) -> Self {
        Self {
            responder: Responder::new(world, 0),
            framer: Framer::new(),
            line: world.profile.line,
            answer: None,
        }
    }
}

impl Machine for Pulled {
    fn handle_input(&mut self, world: &mut World, at: Nanos, byte: u8) {
        if let Some(Event::File { payload, .. }) = self.framer.push(byte, at)
            && let Some(served) = self.responder.serve(world, at, payload)
        {
            self.answer = Some((at + world.profile.delay, served));
        }
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        self.answer.as_ref().map(|(due, _)| *due)
    }

    fn poll_transmit(&mut self, world: &mut World, _: Nanos) -> Option<Frame> {
        let (due, served) = self.answer.take()?;
        let crc = match world.profile.layout.crc {
            Checksum::X25 => CrcKind::X25,
            Checksum::Kermit => CrcKind::Kermit,
        };
        let bytes = encode_with(&served.payload, crc);
        let places = Places {
            checksum: bytes.len().checked_sub(1),
            length: Some(9),
            ..Places::default()
        };
        Some(served.frame(due, bytes, places, self.line))
    }
}

impl Served {
    /// What is sent of it in these bytes.
    pub(super) fn frame(
        self,
        due: Nanos,
        bytes: Vec<u8>,
        places: Places,
        line: LineConfig,
    ) -> Frame {
        Frame {
            due,
            bytes,
            data: true,
            telegram: self.telegram,
            samples: self.samples,
            sampled_at: self.sampled_at,
            faults: self.faults,
            places,
            line,
        }
    }
}
