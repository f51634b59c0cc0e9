// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the gateway's time comes from and who gets it: NTP inside TLS from the administrator's time server, and NTP for
//! systems in the home area network (TR-03109-1 detail specifications §9, §14; catalogue rows TIM-*).

mod client;
mod service;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use smgw_core::clock::{ClockEvent, ClockSettings, Discipline, TimeSample, Validity};
use smgw_core::log::{Event, EventKind};
use smgw_ntp::{Answer, ClientRules, Ignored, Leap, ServerState};
use tokio::net::UdpSocket;
use tracing::{error, info, warn};

use crate::clock::{Alarm, Clock};
use crate::config::{Config, Time};
use crate::defects::{Defect, Defects};
use crate::journal::Journal;
use crate::stop::Stopping;

/// What happens to the gateway's time, for the log books.
#[derive(Clone, Debug)]
pub enum TimeEvent {
    /// The clock itself.
    Clock(ClockEvent),
    /// An answer that was not believed.
    Ignored(Ignored),
    /// The time server could not be asked, or said nothing.
    Unreachable(Arc<io::Error>),
}

/// The clock that a configuration asks for.
pub fn clock(config: &Config, defects: Defects) -> Clock {
    let settings = config.time.as_ref();
    let settings = settings.map(|time| settings_of(time, config.registration_period, defects));
    let make = settings.map(|settings| move |start, utc| Discipline::new(settings, start, utc));
    Clock::new(config.driven_from, make)
}

fn settings_of(time: &Time, period: Duration, defects: Defects) -> ClockSettings {
    let usual = ClockSettings::for_period(period);
    let mut settings = ClockSettings {
        drift_ppm: time.drift_ppm.unwrap_or(usual.drift_ppm),
        longest_jump: time.longest_jump.unwrap_or(usual.longest_jump),
        poll_interval: time.poll_interval.unwrap_or(usual.poll_interval),
        shortest_poll: time.shortest_poll.unwrap_or(usual.shortest_poll),
        ..usual
    };
    if defects.has(Defect::HastyPolls) && time.poll_interval.is_none() {
        settings.poll_interval = Duration::from_secs(30);
        settings.shortest_poll = Duration::from_secs(30);
    }
    if defects.has(Defect::AnyJump) {
        settings.longest_jump = Duration::MAX;
    }
    if defects.has(Defect::WideTimeLimit) {
        settings.limit *= 10;
    }
    settings
}

/// Keeps the clock right, and tells the home area network.
pub struct TimeKeeper {
    /// The clock.
    pub clock: Clock,
    /// For the next question.
    pub asking: Alarm,
    /// For the next look at the clock.
    pub looking: Alarm,
    /// Where to ask.
    pub server: Time,
    /// TLS towards the time server; `None` only with the seeded defect that runs without a module.
    pub tls: Option<Arc<ClientConfig>>,
    /// Takes down what happens to the time.
    pub journal: Journal,
    /// What this gateway does wrong on purpose.
    pub defects: Defects,
}

impl TimeKeeper {
    /// Works until the gateway stops; `socket` is where the home area network asks.
    pub async fn run(self, socket: Option<UdpSocket>, mut stopping: Stopping) {
        let keeper = Shared {
            source: Mutex::default(),
            keeper: self,
        };
        let asking = async {
            match keeper.keeper.tls.clone() {
                Some(tls) => client::run(&keeper, tls).await,
                None => keeper.keeper.asking.sleep(Duration::MAX).await,
            }
        };
        let serving = async {
            match socket {
                Some(socket) => service::run(&keeper, &socket).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = asking => {},
            () = serving => {},
            () = keeper.tick() => {},
            () = stopping.wait() => {},
        }
    }
}

/// Between asking and serving.
struct Shared {
    keeper: TimeKeeper,
    /// The last believed answer.
    source: Mutex<Option<Answer>>,
}

impl Shared {
    /// Looks at the clock once a second, so that what it has to tell is told.
    async fn tick(&self) {
        loop {
            self.keeper.looking.sleep(TICK).await;
            let clock = &self.keeper.clock;
            if let Some(mut discipline) = clock.discipline() {
                discipline.handle_time(clock.monotonic());
            }
            self.tell();
        }
    }

    fn believe(&self, answer: Answer) {
        let sample = TimeSample {
            at: answer.at,
            utc: self.keeper.defects.told_time(answer.utc),
            uncertainty: answer.uncertainty(),
        };
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let first = source.replace(answer).is_none();
        drop(source);
        if first && self.keeper.defects.has(Defect::SecondAnswer) {
            return;
        }
        if let Some(mut discipline) = self.keeper.clock.discipline() {
            discipline.handle_sample(sample);
        }
        self.tell();
    }

    fn fail(&self, event: TimeEvent) {
        let clock = &self.keeper.clock;
        if let Some(mut discipline) = clock.discipline() {
            discipline.handle_failure(clock.monotonic());
        }
        self.note(&event);
        self.tell();
    }

    /// Passes on what the clock has to tell.
    fn tell(&self) {
        let next = || self.keeper.clock.discipline()?.poll_event();
        while let Some((_, event)) = next() {
            self.note(&TimeEvent::Clock(event));
        }
    }

    fn note(&self, event: &TimeEvent) {
        log(event);
        let corrected = matches!(event, TimeEvent::Clock(ClockEvent::Stepped { .. }));
        if corrected && self.keeper.defects.has(Defect::SilentStep) {
            return;
        }
        if let Some(event) = log_book_event(event) {
            self.keeper.journal.note(event);
        }
    }

    /// What the home area network is told of this clock.
    fn state(&self, server: SocketAddr) -> ServerState {
        let clock = &self.keeper.clock;
        let source = *self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let (valid, set_at, uncertainty) = match clock.discipline() {
            Some(discipline) => {
                let now = clock.monotonic();
                (
                    discipline.validity(now) == Validity::Valid,
                    discipline.set_at(),
                    discipline.uncertainty(now),
                )
            }
            None => (true, None, None),
        };
        let leap = match source {
            Some(source) if valid => source.leap,
            _ => Leap::Unsynchronised,
        };
        ServerState {
            leap,
            upstream: source.map_or(u8::MAX, |source| source.stratum),
            reference_id: match server.ip() {
                std::net::IpAddr::V4(address) => address.octets(),
                // RFC 5905 wants a hash here; all that matters is that it is no IPv4 address of somebody.
                std::net::IpAddr::V6(_) => *b"\xf0NTP",
            },
            set_at,
            root_delay: source.map_or(Duration::ZERO, |source| source.root_delay + source.delay),
            root_dispersion: uncertainty.unwrap_or(UNKNOWN_DISPERSION),
        }
    }
}

/// What the log books are told; nothing of what a clock that runs well does all the time.
fn log_book_event(event: &TimeEvent) -> Option<Event> {
    let seconds = |by: i64| format!("{:+.3} s", by as f64 / 1e9);
    Some(match event {
        TimeEvent::Clock(ClockEvent::Slewed { .. }) => return None,
        TimeEvent::Clock(ClockEvent::SetFirst { by } | ClockEvent::Stepped { by }) => {
            Event::new(EventKind::TimeSet).with(seconds(*by))
        }
        TimeEvent::Clock(ClockEvent::BecameValid) => Event::new(EventKind::TimeValid),
        TimeEvent::Clock(ClockEvent::BecameInvalid(reason)) => {
            Event::new(EventKind::TimeInvalid).with(reason)
        }
        TimeEvent::Clock(ClockEvent::JumpIgnored { by }) => {
            Event::new(EventKind::TimeAnswerRefused).with(format!("off by {}", seconds(*by)))
        }
        TimeEvent::Ignored(reason) => Event::new(EventKind::TimeAnswerRefused).with(reason),
        TimeEvent::Unreachable(error) => Event::new(EventKind::TimeServiceLost).with(error),
    })
}

/// Writes an event to the gateway's log.
fn log(event: &TimeEvent) {
    match event {
        TimeEvent::Clock(ClockEvent::Slewed { by }) => info!(by, "clock is being corrected"),
        TimeEvent::Clock(ClockEvent::SetFirst { by }) => {
            info!(calibration = true, by, "clock set for the first time");
        }
        TimeEvent::Clock(ClockEvent::Stepped { by }) => {
            warn!(calibration = true, by, "clock stepped");
        }
        TimeEvent::Clock(ClockEvent::BecameValid) => info!(calibration = true, "time is valid"),
        TimeEvent::Clock(ClockEvent::BecameInvalid(reason)) => {
            error!(calibration = true, %reason, "time is invalid");
        }
        TimeEvent::Clock(ClockEvent::JumpIgnored { by }) => {
            warn!(calibration = true, by, "answer ignored, it is too far off");
        }
        TimeEvent::Ignored(reason) => warn!(%reason, "answer of the time server ignored"),
        TimeEvent::Unreachable(error) => warn!(%error, "time server not reached"),
    }
}

/// The rules of answers, as configured.
fn rules(time: &Time, defects: Defects) -> ClientRules {
    let usual = ClientRules::default();
    ClientRules {
        longest_round_trip: match defects.has(Defect::SlowAnswer) {
            true => Duration::from_secs(60),
            false => usual.longest_round_trip,
        },
        latest: time.latest.unwrap_or(usual.latest),
        ..usual
    }
}

/// RFC 5905: what a clock that was never set is off by, 16 s.
const UNKNOWN_DISPERSION: Duration = Duration::from_secs(16);
const TICK: Duration = Duration::from_secs(1);
