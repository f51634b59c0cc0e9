// SPDX-License-Identifier: MIT OR Apache-2.0
//! A basic meter on the wired LMN: HDLC secondary, TLS server with a key of its own, SML server in it (BSI TR-03109-1
//! detail specifications v2.0 ch. 8-9; TR-03116-3 §6).

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use smgw_hdlc::secondary::{Config as SecondaryConfig, Event};
use smgw_hdlc::{Address, Frame, Profile, Secondary};
use smgw_sml::register_tree::{self, Path};
use smgw_sml::server::{Config as ServerIdentity, Server};
use smgw_sml::{
    AttentionNumber, Body, File, Int, List, ListEntry, Message, OpenResponse, ParameterResponse,
    Quirks, Time, Value,
};
use smgw_units::{Decimal, DeviceId, Nanos, Obis, Unit};

use super::clock::Clock;
use super::law::EnergyLaw;
use super::line::{Format, Line, LineConfig, Tap};
use super::worker::{FrameStamp, MeterError, Register, Shared, Worker, line_of_meter};
use crate::net::ServerTls;

/// What a meter is and what it shows.
#[derive(Clone, Copy, Debug)]
pub struct LmnConfig {
    /// The meter's id.
    pub id: DeviceId,
    /// HDLC address, 2 to 126.
    pub station: u8,
    /// Its line.
    pub line: LineConfig,
    /// Imported energy, 1-0:1.8.0*255.
    pub import: EnergyLaw,
    /// Power of ten of the energy, in Wh.
    pub scaler: i8,
    /// Status word of the register.
    pub status: u32,
    /// Time from the last bit of a command to the first bit of the response.
    pub delay: Duration,
}

impl LmnConfig {
    /// 921.6 kBd 8N1 (assumption), answers after 1 ms, 360 W counted from now on.
    pub fn new(id: DeviceId, station: u8) -> Self {
        Self {
            id,
            station,
            line: LineConfig {
                baud: 921_600,
                format: Format::N81,
            },
            import: EnergyLaw::per_millisecond(Clock::now(), 10_000_000),
            scaler: -4,
            status: 0x001c_0104,
            delay: Duration::from_millis(1),
        }
    }
}

/// Where the meter's end of TLS is.
#[derive(Clone, Debug)]
pub enum LmnTls {
    /// In the meter.
    Own(ServerTls),
    /// In a program that listens here; the meter only carries records.
    Elsewhere(SocketAddr),
    /// Nowhere: a meter that does not know TLS, and answers a handshake with a file of SML.
    Missing,
}

/// What goes wrong until told otherwise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LmnFault {
    /// It says nothing.
    Silent,
    /// The last octet of the check of every frame is wrong.
    BadFrames,
    /// It never stops sending, and nothing of it means anything.
    Babble,
    /// It tells another meter's id.
    WrongServerId(DeviceId),
    /// It does not know its register.
    NoRegister,
}

#[derive(Debug, Default)]
struct Control {
    fault: Option<LmnFault>,
}

/// A meter that is asked through TLS; its methods are the live control.
#[derive(Debug)]
pub struct LmnMeter {
    worker: Worker<Control>,
    config: LmnConfig,
}

line_of_meter!(LmnMeter);

impl LmnMeter {
    /// Plays `config` on a new pseudo terminal.
    ///
    /// # Errors
    /// When the host has no pseudo terminal or thread to give.
    pub fn start(
        config: LmnConfig,
        tls: LmnTls,
        tap: Option<Arc<dyn Tap>>,
    ) -> Result<Self, MeterError> {
        let line = Line::open(config.line, tap)?;
        let control = Control::default();
        let worker = Worker::spawn("lmn-meter", line, control, move |line, shared| {
            Station::new(config, tls).run(line, shared);
        })?;
        Ok(Self { worker, config })
    }

    /// What this meter is.
    pub fn config(&self) -> &LmnConfig {
        &self.config
    }

    /// Lets everything go wrong until told otherwise.
    pub fn set_fault(&self, fault: Option<LmnFault>) {
        self.worker.change(|control| control.fault = fault);
    }
}

/// What a meter answers in SML, whatever carries it.
#[derive(Debug)]
pub struct LmnServer {
    config: LmnConfig,
    /// Octets of a file that is not all there.
    pending: Vec<u8>,
}

/// A file of answers.
#[derive(Clone, Debug)]
pub struct LmnAnswer {
    /// The file.
    pub payload: Vec<u8>,
    /// Transaction id of its first message, in hex.
    pub telegram: String,
    /// What it says.
    pub registers: Vec<Register>,
    /// When that was sensed.
    pub sampled_at: Nanos,
}

impl LmnServer {
    /// Nothing was asked yet.
    pub fn new(config: LmnConfig) -> Self {
        Self {
            config,
            pending: Vec::new(),
        }
    }

    /// Takes more of a file of requests; the answers once it is complete.
    pub fn serve(&mut self, at: Nanos, plain: &[u8], fault: Option<LmnFault>) -> Option<LmnAnswer> {
        self.pending.extend_from_slice(plain);
        if self.pending.len() > LARGEST_REQUEST {
            self.pending.clear();
        }
        let file = File::parse(&self.pending, Quirks::ALL).ok()?;
        let last = file.messages.last()?;
        if !matches!(last.body, Body::CloseRequest(_)) {
            return None;
        }
        let telegram = file.transaction_id().unwrap_or_default();
        let telegram = telegram.iter().map(|byte| format!("{byte:02x}")).collect();
        let payload = std::mem::take(&mut self.pending);
        let (payload, registers) = self.answer(at, &payload, fault)?;
        Some(LmnAnswer {
            payload,
            telegram,
            registers,
            sampled_at: at,
        })
    }

    fn answer(
        &self,
        at: Nanos,
        payload: &[u8],
        fault: Option<LmnFault>,
    ) -> Option<(Vec<u8>, Vec<Register>)> {
        let config = &self.config;
        let server_id = match fault {
            Some(LmnFault::WrongServerId(other)) => other.server_id(),
            _ => config.id.server_id(),
        };
        let mut server = Server::new(ServerIdentity {
            server_id: server_id.to_vec(),
            credentials: None,
            quirks: Quirks::ALL,
        });
        let now = Some(Time::sec_index((at.0 / 1_000_000_000) as u32));
        let value = config.import.value(at);
        let entry = ListEntry {
            name: &Obis::IMPORT_TOTAL.0,
            status: Some(Int::from(config.status)),
            time: now,
            unit: Some(Unit::WATT_HOUR.0),
            scaler: Some(config.scaler),
            value: Some(Value::Signed { value, width: 8 }),
            ..ListEntry::default()
        };
        let mut told = Vec::new();
        for request in server.handle_payload(payload, now).ok()? {
            let known = |path: &List<'_, &[u8]>| {
                let is_register = Path::read(path) == Some(Obis::IMPORT_TOTAL);
                is_register && fault != Some(LmnFault::NoRegister)
            };
            let answered = match request.body {
                Body::ParameterRequest(asked) if known(&asked.path) => {
                    told.push(Register {
                        obis: Obis::IMPORT_TOTAL,
                        value: Decimal::new(i128::from(value), config.scaler),
                    });
                    register_tree::tree(&entry, |tree| {
                        let response = ParameterResponse {
                            server_id: &server_id,
                            path: asked.path,
                            tree,
                        };
                        server.answer(request.id, Body::ParameterResponse(response))
                    })
                }
                _ => server.attend(request.id, AttentionNumber::UNKNOWN_OBJECT),
            };
            // Each answer is of the kind of its request.
            answered.ok()?;
        }
        Some((server.poll_transmit()?, told))
    }
}

/// The meter's end of a session.
enum Session {
    Own(Box<ServerConnection>, LmnServer),
    Elsewhere(TcpStream),
    Missing,
}

struct Station {
    config: LmnConfig,
    tls: LmnTls,
    secondary: Secondary,
    session: Option<Session>,
    /// Responses to be sent, by the instant they are due.
    replies: VecDeque<(Nanos, Vec<u8>)>,
    /// The answer that is on its way, its first record, and whether that was sent.
    answer: Option<(LmnAnswer, Vec<u8>, bool)>,
}

impl Station {
    fn new(config: LmnConfig, tls: LmnTls) -> Self {
        let address = Address::lmn(SAP, config.station);
        Self {
            config,
            tls,
            secondary: Secondary::new(SecondaryConfig::new(Profile::LMN, address)),
            session: None,
            replies: VecDeque::new(),
            answer: None,
        }
    }

    fn run(mut self, mut line: Line, shared: &Shared<Control>) {
        let noise: Vec<u8> = (0..=u8::MAX)
            .map(|byte| byte.wrapping_mul(167) ^ 0x55)
            .collect();
        while !shared.stopped() {
            let fault = shared.control().fault;
            for (byte, at) in line.receive() {
                self.receive(at, byte, fault);
            }
            self.carry();
            if fault == Some(LmnFault::Babble) {
                self.replies.clear();
                if line
                    .send(Clock::now(), &noise, || shared.stopped())
                    .is_err()
                {
                    return;
                }
                continue;
            }
            let due = self.replies.front().map(|(due, _)| *due - LEAD);
            if due.is_none_or(|due| Clock::now() < due) {
                let elsewhere = matches!(self.session, Some(Session::Elsewhere(_)));
                let look = elsewhere.then(|| Clock::now() + LOOK);
                shared.wait(Some(&line), due.into_iter().chain(look).min());
                continue;
            }
            let Some((due, bytes)) = self.replies.pop_front() else {
                continue;
            };
            if fault != Some(LmnFault::Silent)
                && self.send(&line, shared, due, bytes, fault).is_err()
            {
                return;
            }
        }
    }

    fn receive(&mut self, at: Nanos, byte: u8, fault: Option<LmnFault>) {
        self.secondary.handle_input(at, byte);
        while let Some(event) = self.secondary.poll_event() {
            match event {
                Event::Connected { .. } => self.session = self.session(),
                Event::Disconnected => self.session = None,
                Event::Message { message, .. } => self.take(at, &message, fault),
                _ => {}
            }
        }
        while let Some(bytes) = self.secondary.poll_transmit() {
            self.replies.push_back((at + self.config.delay, bytes));
            // A line that nobody reads must not fill the memory.
            self.replies.truncate(MOST_REPLIES);
        }
    }

    /// A new session on a new link.
    fn session(&mut self) -> Option<Session> {
        self.answer = None;
        match &self.tls {
            LmnTls::Own(tls) => {
                let mut config = ServerConfig::clone(&tls.0);
                config.max_fragment_size = Some(LARGEST_FRAGMENT);
                let connection = ServerConnection::new(Arc::new(config)).ok()?;
                let server = LmnServer::new(self.config);
                Some(Session::Own(Box::new(connection), server))
            }
            LmnTls::Elsewhere(address) => {
                let stream = TcpStream::connect(address).ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Session::Elsewhere(stream))
            }
            LmnTls::Missing => Some(Session::Missing),
        }
    }

    /// A message of the gateway.
    fn take(&mut self, at: Nanos, mut message: &[u8], fault: Option<LmnFault>) {
        match &mut self.session {
            Some(Session::Own(tls, server)) => {
                let mut plain = Vec::new();
                while !message.is_empty() {
                    let read = tls.read_tls(&mut message);
                    if read.is_err() || tls.process_new_packets().is_err() {
                        break;
                    }
                    // Ends with "nothing there now".
                    let _ = tls.reader().read_to_end(&mut plain);
                }
                let mut out = records(tls);
                if let Some(answer) = server.serve(at, &plain, fault) {
                    // A file of answers is far smaller than what TLS takes.
                    let _ = tls.writer().write_all(&answer.payload);
                    let answered = records(tls);
                    let first = answered.first().cloned().unwrap_or_default();
                    self.answer = Some((answer, first, false));
                    out.extend(answered);
                }
                out.into_iter().for_each(|record| self.queue(record));
            }
            // The socket's buffer takes a frame.
            Some(Session::Elsewhere(stream)) => drop(stream.write_all(message)),
            Some(Session::Missing) => self.queue(plain_file()),
            None => {}
        }
    }

    /// What the program with the meter's end of TLS sends.
    fn carry(&mut self) {
        let Some(Session::Elsewhere(stream)) = &mut self.session else {
            return;
        };
        let mut record = [0; FRAME];
        match stream.read(&mut record) {
            Ok(length @ 1..) => {
                let bytes = record.get(..length).unwrap_or_default().to_vec();
                self.queue(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => self.session = None,
        }
    }

    fn queue(&mut self, message: Vec<u8>) {
        // Without a link, or behind many others, it is lost as on any line.
        let _ = self.secondary.send(message);
    }

    fn send(
        &mut self,
        line: &Line,
        shared: &Shared<Control>,
        due: Nanos,
        mut bytes: Vec<u8>,
        fault: Option<LmnFault>,
    ) -> Result<(), MeterError> {
        let carried = Frame::decode(&Profile::LMN, &bytes).map(|frame| frame.info.to_vec());
        if let (Some(LmnFault::BadFrames), [.., check, _]) = (fault, bytes.as_mut_slice()) {
            *check ^= 0xff;
        }
        let sent = line.send(due, &bytes, || shared.stopped())?;
        let Some((answer, first, told)) = &mut self.answer else {
            return Ok(());
        };
        if carried.is_ok_and(|carried| carried == *first) {
            let stamp = FrameStamp {
                telegram: answer.telegram.clone(),
                scheduled: due,
                first: sent.first,
                last: sent.last,
                bytes: bytes.len(),
                registers: answer.registers.clone(),
                sampled_at: answer.sampled_at,
                delivered: sent.delivered,
                faulty: fault.is_some() || std::mem::replace(told, true),
            };
            line.notify(&stamp);
            shared.log(stamp);
        }
        Ok(())
    }
}

/// SML without TLS, as it comes from a meter that sends its list to whoever listens.
fn plain_file() -> Vec<u8> {
    let response = OpenResponse {
        request_file_id: b"1",
        ..OpenResponse::default()
    };
    let mut payload = Vec::new();
    Message::new(b"1", Body::OpenResponse(response)).encode(&mut payload);
    payload
}

/// The records that TLS wants to send.
fn records(tls: &mut ServerConnection) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    while tls.wants_write() && tls.write_tls(&mut bytes).is_ok() {}
    let mut rest = bytes.as_slice();
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = *rest {
        let length = 5 + usize::from(u16::from_be_bytes([high, low]));
        let (record, behind) = rest.split_at(length.min(rest.len()));
        records.push(record.to_vec());
        rest = behind;
    }
    records
}

/// SAP of all stations (assumption; DIN VDE V 0418-63-7 is not public).
const SAP: u8 = 1;
/// Octets of information in a frame.
const FRAME: usize = Profile::LMN.max_info as usize;
/// So that a record with all that encryption adds fits a frame.
const LARGEST_FRAGMENT: usize = FRAME - 80;
const LARGEST_REQUEST: usize = 0x4000;
/// One response to each command, in normal response mode.
const MOST_REPLIES: usize = 16;
const LEAD: Duration = Duration::from_millis(1);
/// How often the program with the meter's end of TLS is looked at.
const LOOK: Duration = Duration::from_millis(2);
