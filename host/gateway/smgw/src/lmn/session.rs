// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS inside HDLC on one serial port (TR-03109-1 detail specifications v2.0 ch. 8; TR-03116-3 §6): the gateway is primary
//! and TLS client, a TLS record fits into one frame.
//!
//! Everything has a deadline and a bound: a meter that is silent, slow or never stops talking costs one attempt.
//! Assumptions, all of them constants at the end: the service access points, the gateway's own station and the times;
//! DIN VDE V 0418-63-7 is not public.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hsm_tls::{ResumptionWindow, SessionClock, TlsProfile};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serialport::{ClearBuffer, SerialPort};
use smgw_core::GapReason;
use smgw_hdlc::primary::{Config, Event, Failure};
use smgw_hdlc::{Address, Primary, Profile};
use smgw_units::{DeviceId, Nanos, UtcNanos};

use super::{Line, READ_TIMEOUT};

/// TLS towards one meter.
#[derive(Clone, Debug)]
pub struct MeterTls {
    client: Arc<ClientConfig>,
    window: Arc<ResumptionWindow>,
    profile: TlsProfile,
    name: ServerName<'static>,
}

impl MeterTls {
    /// `client` with sessions that may be resumed as long as `profile` allows, and records that fit into a frame.
    ///
    /// # Errors
    /// When the name of `meter` cannot be told in TLS.
    pub fn new(
        client: &ClientConfig,
        profile: TlsProfile,
        meter: DeviceId,
    ) -> Result<Self, rustls::Error> {
        let window = ResumptionWindow::new(&profile);
        let mut client = client.clone();
        client.max_fragment_size = Some(LARGEST_FRAGMENT);
        let name = ServerName::try_from(format!("{meter}.sm"))
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self {
            client: window.on_client(&client),
            window,
            profile,
            name,
        })
    }
}

/// Why an exchange did not come about.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The gateway stops.
    Stopping,
    /// The port is lost.
    Port(io::Error),
    /// Nothing came in time.
    Silent,
    /// What came was damaged, too long, or no answer.
    Damaged(&'static str),
    /// The link broke.
    Link(Failure),
    /// TLS broke.
    Tls(rustls::Error),
    /// The meter ended the session.
    Ended,
}

impl Trouble {
    /// What a grid point without a value is told to lack.
    pub(super) fn reason(&self) -> GapReason {
        use rustls::Error as Tls;
        match self {
            Self::Tls(Tls::InvalidCertificate(_) | Tls::NoCertificatesPresented) => {
                GapReason::WrongMeter
            }
            // The module's failure, or a meter that does not want to talk to us.
            Self::Tls(Tls::General(_) | Tls::FailedToGetRandomBytes | Tls::AlertReceived(_))
            | Self::Link(Failure::NoAnswer | Failure::Refused)
            | Self::Stopping
            | Self::Port(_)
            | Self::Silent
            | Self::Ended => GapReason::NoAnswer,
            Self::Tls(_) | Self::Link(_) | Self::Damaged(_) => GapReason::BadTelegram,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the gateway stops"),
            Self::Port(error) => write!(f, "port lost: {error}"),
            Self::Silent | Self::Link(Failure::NoAnswer) => {
                f.write_str("the meter does not answer")
            }
            Self::Damaged(what) => f.write_str(what),
            Self::Link(Failure::Refused) => f.write_str("the meter refuses the link"),
            Self::Link(Failure::FrameRejected(_)) => f.write_str("the meter rejects a frame"),
            Self::Link(Failure::InvalidNumber) => {
                f.write_str("the meter acknowledges what was never sent")
            }
            Self::Link(Failure::TooLong) => f.write_str("the meter sends more than fits a frame"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Ended => f.write_str("the meter ended the session"),
        }
    }
}

/// The way to one meter.
pub(super) struct Channel<'a> {
    pub(super) line: &'a Line,
    pub(super) port: &'a mut dyn SerialPort,
    tls: &'a MeterTls,
    config: Config,
    meter: Address,
    /// Zero of the primary's clock, which must not step with UTC.
    origin: Instant,
    primary: Primary,
    session: Option<Session>,
    /// Damaged bytes came since the last good message.
    damaged: bool,
    /// Said good-bye: goes on although the gateway stops.
    leaving: bool,
}

struct Session {
    tls: ClientConnection,
    clock: SessionClock,
}

impl<'a> Channel<'a> {
    /// No link yet.
    pub(super) fn new(
        line: &'a Line,
        tls: &'a MeterTls,
        station: u8,
        port: &'a mut dyn SerialPort,
    ) -> Self {
        let format = line.meter.format;
        let bits = 1 + format.data_bits + u8::from(format.parity != 'N') + format.stop_bits;
        let nanos = u64::from(bits) * 1_000_000_000 / u64::from(line.meter.baud.max(1));
        let character = Duration::from_nanos(nanos);
        let config = Config {
            response_timeout: RESPONSE + character * LONGEST_FRAME,
            poll_interval: POLL_INTERVAL,
            character,
            gap: GAP,
            max_message: usize::from(Profile::LMN.max_info),
            ..Config::new(Profile::LMN, Address::lmn(SAP, GATEWAY))
        };
        Self {
            line,
            port,
            tls,
            config,
            meter: Address::lmn(SAP, station),
            origin: Instant::now(),
            primary: Primary::new(config),
            session: None,
            damaged: false,
            leaving: false,
        }
    }

    /// Makes sure of a session; `true` when it is a new one. One that is as old as it may be ends first.
    pub(super) fn open(&mut self) -> Result<bool, Trouble> {
        if let Some(session) = &self.session {
            if !session.clock.is_over(Instant::now()) {
                return Ok(false);
            }
            self.close();
        }
        self.primary = Primary::new(self.config);
        self.quiet()?;
        let deadline = Instant::now() + HANDSHAKE;
        self.primary.connect(self.meter);
        while !matches!(self.event(deadline)?, Event::Connected { .. }) {}
        let mut tls = ClientConnection::new(self.tls.client.clone(), self.tls.name.clone())
            .map_err(Trouble::Tls)?;
        let shaken = self.shake_hands(&mut tls, deadline);
        if let Err(trouble) = shaken {
            self.hang_up(&mut tls);
            return Err(trouble);
        }
        let (profile, window) = (&self.tls.profile, Some(&*self.tls.window));
        let clock = SessionClock::of(&tls, profile, window, Instant::now());
        self.session = Some(Session { tls, clock });
        Ok(true)
    }

    fn shake_hands(
        &mut self,
        tls: &mut ClientConnection,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        self.send(tls)?;
        while tls.is_handshaking() {
            if let Event::Message { message, .. } = self.event(deadline)? {
                feed(tls, &message)?;
                self.send(tls)?;
            }
        }
        Ok(())
    }

    /// Sends `request` and hands what comes back to `take` until that says it is all; the receive stamp of the first octet
    /// of the answer. After an error there is no session any more.
    pub(super) fn exchange(
        &mut self,
        request: &[u8],
        take: impl FnMut(&[u8]) -> Result<bool, Trouble>,
    ) -> Result<UtcNanos, Trouble> {
        let mut session = self.session.take().ok_or(Trouble::Ended)?;
        self.quiet()?;
        match self.ask(&mut session.tls, request, take) {
            Ok(first) => {
                self.session = Some(session);
                Ok(self.utc(first))
            }
            Err(trouble) => {
                self.hang_up(&mut session.tls);
                Err(trouble)
            }
        }
    }

    fn ask(
        &mut self,
        tls: &mut ClientConnection,
        request: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<bool, Trouble>,
    ) -> Result<Nanos, Trouble> {
        let unsent = |_| Trouble::Damaged("the request does not fit");
        io::Write::write_all(&mut tls.writer(), request).map_err(unsent)?;
        self.send(tls)?;
        let deadline = Instant::now() + ANSWER;
        let mut began = None;
        let mut plain = [0; FRAME];
        loop {
            let event = self.event(deadline).map_err(|trouble| match trouble {
                Trouble::Silent if began.is_some() => {
                    Trouble::Damaged("the meter's answer is not complete")
                }
                other => other,
            })?;
            let Event::Message { message, first, .. } = event else {
                continue;
            };
            let ended = feed(tls, &message)?;
            self.send(tls)?;
            // A record is a frame; what holds no plain text, a session ticket, is no answer.
            while let Ok(length @ 1..) = io::Read::read(&mut tls.reader(), &mut plain) {
                let began = *began.get_or_insert(first);
                if take(plain.get(..length).unwrap_or_default())? {
                    return Ok(began);
                }
            }
            if ended {
                return Err(Trouble::Ended);
            }
        }
    }

    /// Ends session and link in order.
    pub(super) fn close(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.tls.send_close_notify();
            self.hang_up(&mut session.tls);
        }
    }

    /// Tells the meter what TLS still has to say, an alert mostly, and ends the link. Nobody minds when that fails.
    fn hang_up(&mut self, tls: &mut ClientConnection) {
        self.leaving = true;
        let deadline = Instant::now() + GOOD_BYE;
        if let Ok(1..) = self.send(tls) {
            while let Ok(event) = self.event(deadline) {
                if let Event::Delivered { .. } = event {
                    break;
                }
            }
        }
        if !self.primary.is_connected(self.meter) {
            self.leaving = false;
            return;
        }
        self.primary.disconnect(self.meter);
        while let Ok(event) = self.event(deadline) {
            if let Event::Disconnected { .. } = event {
                break;
            }
        }
        self.leaving = false;
    }

    /// Forgets what came unasked: a secondary speaks only when it is asked.
    fn quiet(&mut self) -> Result<(), Trouble> {
        self.damaged = false;
        self.port.clear(ClearBuffer::Input).map_err(lost)
    }

    /// Queues the records that TLS wants to send, each as a message of its own; how many.
    fn send(&mut self, tls: &mut ClientConnection) -> Result<usize, Trouble> {
        let mut bytes = Vec::new();
        while tls.wants_write() {
            let failed = |_| Trouble::Damaged("TLS gives no record");
            tls.write_tls(&mut bytes).map_err(failed)?;
        }
        let (mut rest, mut count) = (bytes.as_slice(), 0);
        while let [_, _, _, high, low, ..] = *rest {
            let length = HEADER + usize::from(u16::from_be_bytes([high, low]));
            let (record, behind) = rest.split_at(length.min(rest.len()));
            let sent = self.primary.send(self.meter, record.to_vec());
            sent.map_err(|_| Trouble::Link(Failure::NoAnswer))?;
            (rest, count) = (behind, count + 1);
        }
        Ok(count)
    }

    /// Runs the link until something happens.
    fn event(&mut self, deadline: Instant) -> Result<Event, Trouble> {
        let mut buffer = [0; 512];
        loop {
            if self.line.stopping() && !self.leaving {
                return Err(Trouble::Stopping);
            }
            match self.primary.poll_event() {
                Some(Event::Discarded { .. }) => {
                    self.damaged = true;
                    continue;
                }
                Some(Event::Failed { why, .. }) => return Err(self.broken(Trouble::Link(why))),
                Some(Event::Datagram { .. }) => continue,
                Some(event) => {
                    self.damaged = false;
                    return Ok(event);
                }
                None => {}
            }
            if Instant::now() >= deadline {
                return Err(self.broken(Trouble::Silent));
            }
            if let Some(frame) = self.primary.poll_transmit(self.now()) {
                self.port.set_timeout(READ_TIMEOUT).map_err(lost)?;
                match self.port.write_all(&frame) {
                    // Nobody takes it: the time for the answer runs.
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    written => written.map_err(Trouble::Port)?,
                }
            }
            let due = self.primary.poll_timeout().unwrap_or_else(|| self.now());
            let left = due.saturating_since(self.now());
            self.port
                .set_timeout(left.clamp(SHORTEST_READ, READ_TIMEOUT))
                .map_err(lost)?;
            let read = super::read(&self.line.clock, self.port, &mut buffer);
            if let Some((length, _)) = read.map_err(Trouble::Port)? {
                let at = self.now();
                let received = buffer.iter().take(length);
                received.for_each(|byte| self.primary.handle_input(at, *byte));
            }
            self.primary.handle_timeout(self.now());
        }
    }

    /// Tells silence from noise.
    fn broken(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Silent | Trouble::Link(Failure::NoAnswer) if self.damaged => {
                Trouble::Damaged("the meter's frames are damaged")
            }
            other => other,
        }
    }

    fn now(&self) -> Nanos {
        Nanos(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// The UTC of a stamp of the primary's clock.
    fn utc(&self, stamp: Nanos) -> UtcNanos {
        UtcNanos(self.line.clock.now().0 - self.now().signed_since(stamp))
    }
}

/// Gives TLS what came; whether the meter ended the session with it.
fn feed(tls: &mut ClientConnection, mut received: &[u8]) -> Result<bool, Trouble> {
    let mut ended = false;
    while !received.is_empty() {
        let failed = |_| Trouble::Damaged("the meter sends more than TLS takes");
        tls.read_tls(&mut received).map_err(failed)?;
        ended = tls
            .process_new_packets()
            .map_err(Trouble::Tls)?
            .peer_has_closed();
    }
    Ok(ended)
}

fn lost(error: serialport::Error) -> Trouble {
    Trouble::Port(error.into())
}

/// SAP of all stations (assumption).
const SAP: u8 = 1;
/// Station of the gateway (assumption).
const GATEWAY: u8 = 1;
/// How long a meter may take for a response, its transmission aside (assumption).
const RESPONSE: Duration = Duration::from_millis(500);
/// How often a meter is asked for the answer it owes (assumption).
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Link and handshake together.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Until the whole answer is there; meters in the field need up to 3.4 s.
const ANSWER: Duration = Duration::from_secs(5);
/// For the last words.
const GOOD_BYE: Duration = Duration::from_millis(500);
/// Silence that ends a frame begun: adapters and a busy host deliver in bursts.
const GAP: Duration = Duration::from_millis(200);
const SHORTEST_READ: Duration = Duration::from_millis(1);
/// Octets of information in a frame.
const FRAME: usize = Profile::LMN.max_info as usize;
/// Characters of the longest frame.
const LONGEST_FRAME: u32 = Profile::LMN.max_info as u32 + 13;
/// Octets before the content of a record.
const HEADER: usize = 5;
/// What rustls counts as a fragment, header included, so that the encrypted record fits a frame: the costliest suite,
/// CBC with SHA-384, adds 16 octets in front, 48 of a code and up to 16 of padding.
const LARGEST_FRAGMENT: usize = FRAME - 80;
