// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole device, poll by poll: network, channel, limit, relay, button, watchdog.

use alloc::sync::Arc;
use alloc::vec;
use core::fmt;
use core::time::Duration;

use embedded_hal::digital::{InputPin, OutputPin, PinState};
use embedded_storage::nor_flash::NorFlash;
use hsm_api::lock::Lock;
use hsm_api::{Curve, Import, KeyId, KeyUsage, ModuleError, SecurityModule};
use hsm_soft::SoftModule;
use hsm_tls::{Identity, PinnedPeers, TlsConfigError, TlsProfile, client_config_at};
use rand_core::TryCryptoRng;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, Ipv4Addr, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use smgw_cls::command::{self, Command, Report};
use smgw_cls::defect::Defect;
use smgw_cls::limiter::{Limiter, Mode};
use smgw_cls::settings::{KeyCurve, Settings};
use smoltcp::phy::Device;

use crate::board::{Board, PulseCounter, Watchdog};
use crate::channel::{Channel, End};
use crate::defects::Defects;
use crate::load::{NoSettings, load};
use crate::log::{Shown, info, warning};
use crate::station::{Connection, Station};

/// What the hello calls this firmware.
pub const NAME: &str = concat!("smgw-bench cls ", env!("CARGO_PKG_VERSION"));

/// Longer than this [`App::poll`] never asks to sleep, in milliseconds, so that button and watchdog are looked after.
pub const LONGEST_SLEEP_MS: u64 = 100;

/// What the watchdog is given. A handshake takes several operations with elliptic curves in one poll, and they may take
/// seconds on a small core.
pub const WATCHDOG_MS: u32 = 30_000;

/// Why the device cannot begin to work; its settings are at fault.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// There are none that can be read.
    Settings(NoSettings),
    /// The key is none, or there is no randomness.
    Key(ModuleError),
    /// Certificate and key do not belong together, or one cannot be read.
    Tls(TlsConfigError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => write!(f, "{error}"),
            Self::Key(error) => write!(f, "the key cannot be used: {error}"),
            Self::Tls(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// A device with the settings that are in a flash partition of that many slots; else as [`App::new`].
///
/// # Errors
/// [`StartError`].
pub fn start<D, Relay, Button, Meter, Dog>(
    board: Board<Relay, Button, Meter, Dog>,
    device: D,
    flash: impl NorFlash,
    slots: u32,
    random: impl TryCryptoRng + Send + 'static,
    now: u64,
) -> Result<App<D, Relay, Button, Meter, Dog>, StartError>
where
    D: Device,
    Relay: OutputPin,
    Button: InputPin,
    Meter: PulseCounter,
    Dog: Watchdog,
{
    let (settings, defects) = load(flash, slots).map_err(StartError::Settings)?;
    let app = App::new(board, device, settings, random, now)?;
    Ok(App { defects, ..app })
}

/// What the connection to the gateway is doing.
#[derive(Debug)]
enum Link {
    /// Nothing until this time.
    Waiting { until: u64 },
    /// TCP is being opened.
    Calling,
    /// TCP stands.
    Talking {
        channel: Channel,
        /// When the session has lived long enough, once it is open.
        over: Option<u64>,
    },
    /// The channel is over; what it left is sent until this time.
    Ending { channel: Channel, until: u64 },
}

/// The controllable local system.
#[derive(Debug)]
pub struct App<D, Relay, Button, Meter, Dog> {
    board: Board<Relay, Button, Meter, Dog>,
    settings: Settings,
    module: Arc<SoftModule>,
    tls: Arc<ClientConfig>,
    session_limit: Duration,
    station: Station<D>,
    link: Link,
    limiter: Limiter,
    relay: Option<bool>,
    reported: Option<(Mode, Option<u32>, bool)>,
    pressed: bool,
    started: u64,
    /// The time of the last poll that fed the watchdog.
    fed: Option<u64>,
    defects: Defects,
}

impl<D, Relay, Button, Meter, Dog> App<D, Relay, Button, Meter, Dog>
where
    D: Device,
    Relay: OutputPin,
    Button: InputPin,
    Meter: PulseCounter,
    Dog: Watchdog,
{
    /// A device that just started; it calls the gateway with the first [`Self::poll`].
    ///
    /// `now` is in milliseconds of a clock that never goes back; `random` must be fit for keys.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        board: Board<Relay, Button, Meter, Dog>,
        device: D,
        settings: Settings,
        random: impl TryCryptoRng + Send + 'static,
        now: u64,
    ) -> Result<Self, StartError> {
        let module = Arc::new(SoftModule::with_random(Lock::new(random)));
        let key = KeyId::from("cls");
        let curve = curve(settings.key.curve);
        module
            .import_key(&key, curve, KeyUsage::Sign, &settings.key.scalar)
            .map_err(StartError::Key)?;
        let profile = TlsProfile::cls_client().portable();
        let certificate = CertificateDer::from(settings.certificate.clone());
        let gateway = CertificateDer::from(settings.gateway_certificate.clone());
        let identity = Identity {
            key,
            chain: vec![certificate],
        };
        let tls = client_config_at(
            module.clone(),
            &profile,
            Some(identity),
            PinnedPeers::new([gateway]),
            Arc::new(NoTime),
        )
        .map_err(StartError::Tls)?;
        let mut seed = [0; 8];
        module.random(&mut seed).map_err(StartError::Key)?;
        let station = Station::new(
            device,
            board.address,
            &settings.network,
            u64::from_ne_bytes(seed),
            now,
        );
        Ok(Self {
            limiter: Limiter::new(settings.limits.into(), now),
            link: Link::Waiting { until: now },
            session_limit: profile.session_limit(),
            board,
            settings,
            module,
            tls,
            station,
            relay: None,
            reported: None,
            pressed: false,
            started: now,
            fed: None,
            defects: Defects::default(),
        })
    }

    /// Does what is due and returns when it wants to be polled again, at most [`LONGEST_SLEEP_MS`] later; a frame that
    /// arrives is reason to poll earlier.
    pub fn poll(&mut self, now: u64) -> u64 {
        if self.fed.is_none() {
            self.board.watchdog.start(WATCHDOG_MS);
        }
        self.station.poll(now);
        self.look_at_button(now);
        if self.defects.has(Defect::NoFailsafe) && self.is_controlled() {
            self.limiter.heartbeat(now);
        }
        self.limiter.handle_timeout(now);
        let link = core::mem::replace(&mut self.link, Link::Calling);
        self.link = self.follow(link, now);
        self.switch_relay();
        self.report_changes(now);
        self.send();
        self.station.poll(now);
        // A clock that stands still would let no step ever time out: that is no progress.
        if self.fed.is_none_or(|fed| fed < now) {
            self.board.watchdog.feed();
            self.fed = Some(now);
        }
        self.wake(now)
    }

    /// Whether commands can come.
    pub fn is_open(&self) -> bool {
        matches!(&self.link, Link::Talking { channel, .. } if channel.is_open())
    }

    fn is_controlled(&self) -> bool {
        matches!(
            self.limiter.mode(),
            Mode::Limited | Mode::UnlimitedControlled
        )
    }

    /// The limit and its state.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The state as a report tells it.
    pub fn state(&mut self, now: u64) -> command::State {
        command::State {
            watts: self.limiter.limit(),
            mode: self.limiter.mode(),
            relay: self.relay.unwrap_or_default(),
            pulses: self.board.meter.pulses(),
            uptime_ms: now.saturating_sub(self.started),
        }
    }

    fn follow(&mut self, link: Link, now: u64) -> Link {
        match link {
            Link::Waiting { until } if until <= now => self.call(now),
            Link::Waiting { until } => Link::Waiting { until },
            Link::Calling => match self.station.connection() {
                Connection::Calling => Link::Calling,
                Connection::None => {
                    warning!("the gateway does not answer");
                    self.wait(now)
                }
                Connection::Standing | Connection::PeerEnded => self.talk(now),
            },
            Link::Talking { channel, over } => self.converse(channel, over, now),
            Link::Ending { channel, until } => {
                let sent = channel.transmit().is_empty() && self.station.is_drained();
                let gone = self.station.connection() == Connection::None;
                if !gone && !sent && now < until {
                    return Link::Ending { channel, until };
                }
                if sent {
                    self.station.close();
                } else {
                    self.station.abort();
                }
                self.wait(now)
            }
        }
    }

    fn call(&mut self, now: u64) -> Link {
        let Some([high, low]) = self.random() else {
            return self.wait(now);
        };
        let port = u16::from_be_bytes([high, low]);
        match self.station.connect(self.settings.proxy, port) {
            true => Link::Calling,
            false => self.wait(now),
        }
    }

    fn talk(&mut self, now: u64) -> Link {
        // An address in place of a name: the proxy has none, and no SNI is sent.
        let server = ServerName::from(Ipv4Addr::from(self.settings.proxy.ip().octets()));
        let name = &self.settings.server_name;
        match Channel::open(self.tls.clone(), server, name, now) {
            Ok(channel) => Link::Talking {
                channel: channel.with_defects(self.defects),
                over: None,
            },
            Err(_error) => {
                warning!("no TLS: {}", Shown(&_error));
                self.station.abort();
                self.wait(now)
            }
        }
    }

    fn converse(&mut self, mut channel: Channel, mut over: Option<u64>, now: u64) -> Link {
        while channel.end().is_none() {
            let room = channel.room();
            if room == 0
                || self
                    .station
                    .receive(room, |octets| channel.receive(octets, now))
                    == 0
            {
                break;
            }
            self.welcome(&mut channel, &mut over, now);
            self.obey(&mut channel, now);
        }
        match self.station.connection() {
            Connection::Standing => {}
            _ => channel.receive_end(now),
        }
        channel.handle_timeout(now);
        // Room may have come back without anything new from the peer.
        self.obey(&mut channel, now);
        if over.is_some_and(|over| over <= now) {
            channel.close(now);
        }
        match channel.end() {
            None => Link::Talking { channel, over },
            Some(end) => {
                tell(end);
                if self.defects.has(Defect::NoReturn) && end != End::ByUs {
                    self.station.abort();
                    return Link::Waiting { until: u64::MAX };
                }
                let until = now.saturating_add(ENDING_MS);
                Link::Ending { channel, until }
            }
        }
    }

    /// The first words on a channel that just opened.
    fn welcome(&mut self, channel: &mut Channel, over: &mut Option<u64>, now: u64) {
        if channel.is_open() && over.is_none() {
            info!("channel open");
            *over = Some(now.saturating_add(self.session_limit.as_millis() as u64));
            channel.report(&self.hello(), now);
            let state = self.told(now);
            channel.report(&state, now);
        }
    }

    /// Carries out the commands that have come.
    fn obey(&mut self, channel: &mut Channel, now: u64) {
        while channel.transmit().len() < MOST_UNSENT
            && let Some(command) = channel.command(now)
        {
            match command {
                Command::Limit { .. } if self.defects.has(Defect::IgnoredLimit) => {
                    self.limiter.lift(now);
                }
                Command::Limit { watts, seconds } => self.limiter.limit_to(now, watts, seconds),
                Command::Unlimited => self.limiter.lift(now),
                Command::Heartbeat => {
                    self.limiter.heartbeat(now);
                    if self.defects.has(Defect::HeartbeatEnough) && !self.is_controlled() {
                        self.limiter.lift(now);
                    }
                }
                Command::Status => {}
                Command::Echo(mut octets) => {
                    if self.defects.has(Defect::ShortEcho) && octets.len() > 1_000 {
                        octets.pop();
                    }
                    channel.report(&Report::Echoed(octets), now);
                    continue;
                }
            }
            // The report tells what the relay does, so that comes first.
            self.switch_relay();
            let state = self.told(now);
            channel.report(&state, now);
        }
    }

    fn hello(&self) -> Report {
        Report::Hello {
            version: command::VERSION,
            name: NAME.into(),
            build_id: match self.defects.has(Defect::WrongBuildId) {
                true => vec![0; self.board.build_id.len()],
                false => self.board.build_id.into(),
            },
        }
    }

    /// The state as a report; changes after this one are news.
    fn told(&mut self, now: u64) -> Report {
        self.switch_relay();
        self.reported = Some(self.news());
        Report::State(self.state(now))
    }

    fn news(&self) -> (Mode, Option<u32>, bool) {
        let relay = self.relay.unwrap_or_default();
        (self.limiter.mode(), self.limiter.limit(), relay)
    }

    fn report_changes(&mut self, now: u64) {
        if !self.is_open() || self.reported == Some(self.news()) {
            return;
        }
        let state = self.told(now);
        if let Link::Talking { channel, .. } = &mut self.link {
            channel.report(&state, now);
        }
    }

    fn switch_relay(&mut self) {
        let relay = self.limiter.relay();
        if self.relay == Some(relay) {
            return;
        }
        let stuck = self.defects.has(Defect::StuckRelay) && self.limiter.mode() == Mode::Limited;
        match self.board.relay.set_state(PinState::from(relay || stuck)) {
            Ok(()) => {
                info!("relay {}", relay);
                self.relay = Some(relay);
            }
            // The next poll tries again.
            Err(_) => warning!("the relay does not switch"),
        }
    }

    fn look_at_button(&mut self, now: u64) {
        let pressed = self.board.button.is_high().unwrap_or_default();
        let before = core::mem::replace(&mut self.pressed, pressed);
        if pressed
            && !before
            && let Link::Talking { channel, .. } = &mut self.link
        {
            info!("button: a new channel is wanted");
            channel.close(now);
        }
    }

    fn send(&mut self) {
        if let Link::Talking { channel, .. } | Link::Ending { channel, .. } = &mut self.link {
            let sent = self.station.send(channel.transmit());
            channel.transmitted(sent);
        }
    }

    /// Waits a random time (SOCKSTLS.ConnectRequest.80).
    fn wait(&mut self, now: u64) -> Link {
        let least = u64::from(self.settings.back_off.least_s) * 1_000;
        let most = u64::from(self.settings.back_off.most_s) * 1_000;
        let dice = self.random().map_or(u64::MAX, u64::from_be_bytes);
        // The modulo of a number so much larger is even enough.
        let wait = match self.defects {
            defects if defects.has(Defect::NoBackOff) => 1_000,
            defects if defects.has(Defect::SameWait) => least,
            _ => least + dice % (most.saturating_sub(least) + 1),
        };
        info!("the next call comes in {} ms", wait);
        let until = now.saturating_add(wait);
        Link::Waiting { until }
    }

    fn random<const N: usize>(&self) -> Option<[u8; N]> {
        let mut octets = [0; N];
        self.module.random(&mut octets).ok().map(|()| octets)
    }

    fn wake(&mut self, now: u64) -> u64 {
        let link = match &self.link {
            Link::Waiting { until } => Some(*until),
            Link::Calling => None,
            Link::Talking { channel, over } => {
                [channel.deadline(), *over].into_iter().flatten().min()
            }
            Link::Ending { until, .. } => Some(*until),
        };
        let due = [link, self.limiter.poll_timeout(), self.station.poll_at(now)];
        let sleep = now.saturating_add(LONGEST_SLEEP_MS);
        due.into_iter().flatten().fold(sleep, u64::min).max(now)
    }
}

fn tell(_end: End) {
    match _end {
        End::ByUs | End::ByPeer => info!("channel over: {}", Shown(&_end)),
        _ => warning!("channel over: {}", Shown(&_end)),
    }
}

fn curve(curve: KeyCurve) -> Curve {
    match curve {
        KeyCurve::NistP256 => Curve::NistP256,
        KeyCurve::NistP384 => Curve::NistP384,
        KeyCurve::BrainpoolP256r1 => Curve::BrainpoolP256r1,
        KeyCurve::BrainpoolP384r1 => Curve::BrainpoolP384r1,
        KeyCurve::BrainpoolP512r1 => Curve::BrainpoolP512r1,
    }
}

/// The device knows no time of day, and needs none: the times of a pinned certificate are not looked at.
#[derive(Debug)]
struct NoTime;

impl TimeProvider for NoTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::ZERO))
    }
}

/// Our last octets may take so long; with the closing handshake this stays within REQ.SOCKS.Connect.80's 10 s.
const ENDING_MS: u64 = 4_000;

/// With so many octets unsent no further command is carried out.
const MOST_UNSENT: usize = 8 * 1_024;
