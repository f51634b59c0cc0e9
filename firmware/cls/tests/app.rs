// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device against a gateway in memory, in virtual time: channel, commands, limit, relay, back-off, endings.

#[path = "world/proxy.rs"]
mod proxy;
mod world;

use std::sync::Arc;

use embedded_hal_mock::eh1::digital::{Mock, State as Level, Transaction};
use hsm_api::Curve;
use hsm_tls::TlsProfile;
use proxy::{Connection, Gateway};
use rustls::ServerConfig;
use smgw_cls::command::{Command, Refusal, Report, State};
use smgw_cls::limiter::Mode;
use smgw_cls::settings::{BackOff, KeyCurve, Settings};
use world::{Host, Parts, Relay, TestDevice};

/// Device, cable and gateway.
struct World<R> {
    now: u64,
    step: u64,
    parts: Parts,
    device: TestDevice<R>,
    host: Host,
    config: Arc<ServerConfig>,
    code: u8,
    connection: Option<Connection>,
    /// When connections came.
    calls: Vec<u64>,
    /// Whether the gateway takes and gives nothing.
    silent: bool,
    /// Whether TCP ends behind the device.
    ended: bool,
}

fn gateway_and_settings() -> (Gateway, Settings) {
    let gateway = Gateway::new(Curve::BrainpoolP256r1);
    let settings = world::settings(gateway.certificate(), KeyCurve::BrainpoolP256r1);
    (gateway, settings)
}

impl World<Relay> {
    fn new() -> Self {
        let (gateway, settings) = gateway_and_settings();
        Self::of(&gateway, &settings, Relay::default())
    }
}

impl<R: embedded_hal::digital::OutputPin> World<R> {
    fn of(gateway: &Gateway, settings: &Settings, relay: R) -> Self {
        let profile = TlsProfile::smgw_cls_server();
        let config = gateway.config(&settings.certificate, &profile);
        let (near, far) = world::cable();
        let parts = Parts::default();
        Self {
            now: 0,
            step: 10,
            device: parts.device(relay, near, settings),
            parts,
            host: Host::new(far),
            config,
            code: 0,
            connection: None,
            calls: Vec::new(),
            silent: false,
            ended: false,
        }
    }

    /// One step of time, in which everybody gets to say something a few times.
    fn tick(&mut self) {
        self.now += self.step;
        let rounds = if self.step > 1_000 { 2 } else { 4 };
        for _ in 0..rounds {
            let wake = self.device.poll(self.now);
            assert!(wake >= self.now && wake <= self.now + 100);
            self.host.poll(self.now);
            if self.host.is_connected() && self.connection.is_none() {
                self.connection = Some(Connection::new(&self.config, self.code));
                self.calls.push(self.now);
                self.ended = false;
            }
            if let Some(connection) = self.connection.as_mut().filter(|_| !self.silent) {
                let octets = self.host.receive();
                connection.receive(&octets);
                self.host.send(connection.out());
                if self.host.has_ended() && !self.ended {
                    self.ended = true;
                    self.host.close();
                }
            }
            self.host.poll(self.now);
        }
    }

    fn until(&mut self, limit: u64, reached: impl Fn(&mut Self) -> bool) {
        let end = self.now + limit;
        while !reached(self) {
            assert!(self.now < end, "not within {limit} ms");
            self.tick();
        }
    }

    fn wait(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
        }
    }

    fn open(&mut self) {
        self.until(5_000, |world| {
            world.device.is_open() && world.reports() >= 2
        });
    }

    /// The gateway forgets the connection, so that the next one is new.
    fn forget(&mut self) -> Connection {
        self.connection.take().unwrap()
    }

    fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("a connection")
    }

    fn reports(&self) -> usize {
        self.connection
            .as_ref()
            .map_or(0, |connection| connection.reports.len())
    }

    /// Sends a command and waits for a report.
    fn ask(&mut self, command: Command) -> Report {
        let before = self.reports();
        self.connection().say(&command.encode());
        self.until(1_000, |world| world.reports() > before);
        self.last()
    }

    fn last(&mut self) -> Report {
        self.connection().reports.last().unwrap().clone()
    }

    fn shown(&mut self) -> (Mode, Option<u32>, bool) {
        match self.last() {
            Report::State(State {
                mode, watts, relay, ..
            }) => (mode, watts, relay),
            other => panic!("{other:?}"),
        }
    }
}

const LIMIT: Command = Command::Limit {
    watts: 6_000,
    seconds: None,
};

#[test]
fn a_participant_takes_control_and_loses_it() {
    let (gateway, settings) = gateway_and_settings();
    let levels = [Level::Low, Level::High, Level::Low, Level::High];
    let relay = Mock::new(&levels.map(Transaction::set));
    let mut observer = relay.clone();
    let mut world = World::of(&gateway, &settings, relay);
    world.parts.pulses.set(77);
    world.open();
    assert_eq!(
        world.connection().name.as_deref(),
        Some(world::NAME.as_bytes())
    );
    let Report::Hello {
        version,
        name,
        build_id,
    } = world.connection().reports[0].clone()
    else {
        panic!("no hello");
    };
    assert_eq!((version, build_id.as_slice()), (1, &[0xb1; 20][..]));
    assert!(name.starts_with("smgw-bench cls "));
    assert_eq!(world.shown(), (Mode::Init, Some(4_200), false));

    world.ask(Command::Heartbeat);
    assert_eq!(world.shown(), (Mode::Init, Some(4_200), false));
    world.ask(Command::Unlimited);
    assert_eq!(world.shown(), (Mode::UnlimitedControlled, None, true));
    world.ask(LIMIT);
    assert_eq!(world.shown(), (Mode::Limited, Some(6_000), false));
    let echo = vec![0xa5; smgw_cls::command::MAX_ECHO];
    assert_eq!(world.ask(Command::Echo(echo.clone())), Report::Echoed(echo));
    let Report::State(state) = world.ask(Command::Status) else {
        panic!("no state");
    };
    assert_eq!(state.pulses, 77);
    assert!(state.uptime_ms > 0 && state.uptime_ms <= world.now);

    // The heartbeat stays away: the device says by itself what it does then.
    let before = world.reports();
    world.until(121_000, |world| world.reports() > before);
    assert_eq!(world.shown(), (Mode::Failsafe, Some(4_200), false));
    world.ask(Command::Heartbeat);
    assert_eq!(world.shown().0, Mode::Failsafe);
    world.ask(Command::Limit {
        watts: 11_000,
        seconds: Some(5),
    });
    assert_eq!(world.shown(), (Mode::Limited, Some(11_000), true));
    let before = world.reports();
    world.until(6_000, |world| world.reports() > before);
    assert_eq!(world.shown(), (Mode::UnlimitedControlled, None, true));
    drop(world);
    observer.done();
}

#[test]
fn the_peers_closing_is_answered_and_a_new_call_comes() {
    let mut world = World::new();
    world.open();
    assert!(world.calls[0] < 1_000, "the first call comes at once");
    // A command right before the end counts.
    let last_words = [Command::Heartbeat.encode(), LIMIT.encode()].concat();
    world.connection().say(&last_words);
    world.connection().close();
    let closed_at = world.now;
    world.until(1_000, |world| world.connection().closed && world.ended);
    assert_eq!(world.device.limiter().mode(), Mode::Limited);
    world.forget();
    world.until(62_000, |world| world.calls.len() == 2);
    let pause = world.now - closed_at;
    assert!((5_000..=61_000).contains(&pause), "{pause}");
    world.open();
    assert_eq!(world.shown().0, Mode::Limited, "control outlives a channel");
}

#[test]
fn a_refusal_ends_tls_within_ten_seconds_and_waits_at_random() {
    let mut world = World::new();
    let mut pauses = Vec::new();
    for code in [2, 4, 5, 1, 9] {
        world.code = code;
        let calls = world.calls.len();
        world.until(62_000, |world| world.calls.len() > calls);
        let called = world.now;
        if let Some(ended) = pauses.last_mut() {
            *ended = called - *ended;
        }
        world.until(10_000, |world| world.connection().closed && world.ended);
        assert!(!world.device.is_open());
        assert_eq!(world.reports(), 0);
        pauses.push(world.now);
        world.forget();
    }
    pauses.pop();
    assert!(
        pauses.iter().all(|pause| (4_900..=61_000).contains(pause)),
        "{pauses:?}"
    );
    // Four times the same out of 55 s is no chance.
    assert!(
        pauses.iter().any(|pause| pause.abs_diff(pauses[0]) > 20),
        "{pauses:?}"
    );
}

#[test]
fn a_gateway_with_another_certificate_hears_no_request() {
    let (gateway, mut settings) = gateway_and_settings();
    let stranger = Gateway::new(Curve::BrainpoolP256r1);
    settings.gateway_certificate = stranger.certificate().to_vec();
    let mut world = World::of(&gateway, &settings, Relay::default());
    world.until(5_000, |world| {
        world
            .connection
            .as_ref()
            .is_some_and(|connection| connection.error.is_some())
    });
    let connection = world.connection();
    let alert = rustls::AlertDescription::CertificateUnknown;
    assert_eq!(connection.error, Some(rustls::Error::AlertReceived(alert)));
    assert_eq!(connection.name, None);
    world.until(10_000, |world| world.ended);
}

#[test]
fn a_gateway_that_does_not_listen_or_is_not_there_is_called_again() {
    let (gateway, mut settings) = gateway_and_settings();
    settings.back_off = BackOff {
        least_s: 7,
        most_s: 7,
    };
    let mut world = World::of(&gateway, &settings, Relay::default());
    world.host.listening = false;
    world.wait(10_000);
    assert!(world.calls.is_empty());
    world.host.listening = true;
    world.until(8_000, |world| world.calls.len() == 1);
    // TCP breaks without a word.
    world.open();
    world.host.abort();
    world.until(1_000, |world| !world.device.is_open());
    world.forget();
    let broken = world.now;
    world.until(9_000, |world| world.calls.len() == 2);
    assert!(world.now - broken >= 6_900);
}

#[test]
fn a_silent_gateway_is_given_up() {
    let mut world = World::new();
    world.silent = true;
    world.until(1_000, |world| world.calls.len() == 1);
    world.until(12_000, |world| world.host.has_closed());
    assert!(world.now >= 10_000);
}

#[test]
fn what_is_no_command_ends_the_channel() {
    for (octets, reason) in [
        (&[0, 3, 0xa1, 0, 9][..], Refusal::Malformed),
        (&[0xff, 0xff], Refusal::TooLong),
    ] {
        let mut world = World::new();
        world.open();
        world.connection().say(octets);
        world.until(1_000, |world| world.connection().closed);
        assert_eq!(world.last(), Report::Refused { reason });
        // Our half of the closing handshake is due within 5 s; without it TCP ends all the same.
        world.until(10_000, |world| world.ended);
    }
}

#[test]
fn a_press_asks_for_a_new_channel() {
    let mut world = World::new();
    world.open();
    world.parts.button.set(true);
    world.until(1_000, |world| world.connection().closed);
    world.connection().close();
    world.until(1_000, |world| world.ended);
    world.forget();
    let calls = world.calls.len();
    world.until(62_000, |world| world.calls.len() > calls);
    // The button is still pressed, and that is no new press.
    world.open();
    world.wait(2_000);
    assert!(world.device.is_open());
}

/// TR-03116-3 §5: no session lives longer than 48 hours.
#[test]
fn a_session_ends_after_48_hours() {
    let mut world = World::new();
    world.open();
    world.step = 10_000;
    world.wait(48 * 3_600_000 - 60_000);
    assert!(world.device.is_open());
    world.until(61_000, |world| world.connection().closed);
}

#[test]
fn the_watchdog_starves_when_the_clock_stands_still() {
    let mut world = World::new();
    world.wait(100);
    let fed = world.parts.fed.get();
    assert!(fed >= 10);
    for _ in 0..1_000 {
        world.device.poll(world.now);
    }
    assert_eq!(world.parts.fed.get(), fed);
    world.wait(10);
    assert!(world.parts.fed.get() > fed);
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let (_, settings) = gateway_and_settings();
    let (_, other) = gateway_and_settings();
    let mixed = Settings {
        certificate: other.certificate,
        ..settings
    };
    let (nic, _) = world::cable();
    let refused = Parts::default().try_device(Relay::default(), nic, &mixed);
    assert!(matches!(
        refused.map(|_| ()),
        Err(cls_app::StartError::Tls(
            hsm_tls::TlsConfigError::KeyMismatch(_)
        ))
    ));
}
