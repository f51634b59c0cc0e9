// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds the protocol and the speed of a line: listens for meters that push, then asks those that wait to be asked.
//!
//! Without a line and without a clock: do each [`Action`], hand in every byte, call [`Detector::handle_timeout`] when
//! [`Detector::poll_timeout`] is reached, and take what was found out from [`Detector::poll_report`].

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use smgw_peers::meters::{Format, LineConfig};
use smgw_units::Nanos;

use super::ask::Asker;
use super::decode::Telegram;
use super::gateway::Gateway;
use super::listen::Listener;
use super::poll::Poller;
use super::pull::Puller;
use crate::profile::Protocol;

/// What is known beforehand.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only this speed.
    pub baud: Option<u32>,
    /// Only these primary addresses (M-Bus) or stations (wired LMN).
    pub addresses: Vec<u8>,
    /// Search by secondary address at once (M-Bus); otherwise only when the address for all brings a collision or
    /// nothing.
    pub secondary: bool,
    /// Key of meters that are heard by radio.
    pub key: Option<[u8; 16]>,
    /// Time between two polls of a meter that wants to be asked.
    pub interval: Duration,
    /// How long to listen at each speed.
    pub patience: Duration,
    /// What the adapter adds to each answer.
    pub adapter_latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            protocol: None,
            baud: None,
            addresses: Vec::new(),
            secondary: false,
            key: None,
            interval: Duration::from_secs(5),
            patience: Duration::from_millis(4_500),
            adapter_latency: Duration::from_millis(100),
        }
    }
}

/// What to do with the line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// Set speed and format; what came in before counts no more.
    Configure(LineConfig),
    /// Send these bytes.
    Send(Vec<u8>),
}

/// What was found out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Report {
    /// What is being tried now.
    Trying(String),
    /// Somebody speaks this.
    Found {
        /// What.
        protocol: Protocol,
        /// At which speed and format.
        line: LineConfig,
    },
    /// A meter was told apart from others, and this is how it names itself.
    Meter(String),
    /// A telegram.
    Telegram(Telegram),
    /// Everybody known has told everything.
    RoundEnded,
    /// Something is wrong, and what it is.
    Trouble(String),
    /// Nobody speaks; what to look at.
    NothingFound(Vec<String>),
}

/// How well the line works.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counters {
    /// Good telegrams.
    pub telegrams: u64,
    /// Telegrams with a wrong checksum.
    pub checksum_errors: u64,
    /// Telegrams that began and did not end.
    pub incomplete: u64,
    /// Bytes that belong to no telegram.
    pub noise_bytes: u64,
    /// All bytes.
    pub bytes: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Telegrams by radio whose code is wrong or whose counter did not rise.
    pub refused: u64,
    /// Requests several answered at once, or in a way nobody understands.
    pub collisions: u64,
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            telegrams,
            checksum_errors,
            incomplete,
            noise_bytes,
            bytes,
            unanswered,
            refused,
            collisions,
        } = self;
        write!(
            f,
            "{telegrams} telegrams, {checksum_errors} checksum errors, {incomplete} incomplete, {noise_bytes} of {bytes} \
             bytes noise, {unanswered} unanswered, {refused} refused, {collisions} garbled"
        )
    }
}

/// One thing to try.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Attempt {
    line: LineConfig,
    method: Method,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Method {
    Listen,
    PollMbus,
    AskD0,
    PullSml,
    PollLmn,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.method {
            Method::Listen => "listening",
            Method::PollMbus => "asking over M-Bus",
            Method::AskD0 => "asking over D0",
            Method::PullSml => "asking in SML",
            Method::PollLmn => "asking over HDLC",
        };
        write!(f, "{what} at {} Bd", self.line.baud)
    }
}

/// One way to find and read meters at one speed.
pub(super) trait Worker: Send {
    /// A byte was received at `at`.
    fn handle_input(&mut self, at: Nanos, byte: u8, counters: &mut Counters);

    /// When [`Worker::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Nanos>;

    /// It is `now`.
    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters);

    /// What to do with the line now.
    fn poll_action(&mut self, _now: Nanos) -> Option<Action> {
        None
    }

    /// What was found out: telegrams, meters, troubles, ends of rounds.
    fn poll_report(&mut self) -> Option<Report>;

    /// Whether everything was tried in vain.
    fn exhausted(&self) -> bool {
        false
    }
}

/// The detector, and after it found something the reader.
pub struct Detector {
    options: Options,
    attempts: Vec<Attempt>,
    index: usize,
    work: Option<Box<dyn Worker>>,
    /// The present attempt ends then, if nothing is found.
    until: Option<Nanos>,
    found: bool,
    counters: Counters,
    /// Bytes at each attempt so far: what the advice is made of.
    heard: Vec<u64>,
    actions: VecDeque<Action>,
    reports: VecDeque<Report>,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("index", &self.index)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl Detector {
    /// Begins at `now`.
    pub fn new(options: Options, now: Nanos) -> Self {
        let attempts = attempts(&options);
        let mut detector = Self {
            options,
            heard: vec![0; attempts.len()],
            attempts,
            index: 0,
            work: None,
            until: None,
            found: false,
            counters: Counters::default(),
            actions: VecDeque::new(),
            reports: VecDeque::new(),
        };
        detector.begin(now);
        detector
    }

    /// How well the line works; counted anew when something is found.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether somebody was found.
    pub fn found(&self) -> bool {
        self.found
    }

    /// Takes a byte received at `at`.
    pub fn handle_input(&mut self, at: Nanos, byte: u8) {
        self.counters.bytes += 1;
        if let Some(heard) = self.heard.get_mut(self.index) {
            *heard += 1;
        }
        if let Some(work) = &mut self.work {
            work.handle_input(at, byte, &mut self.counters);
        }
        self.collect(at);
    }

    /// When [`Detector::handle_timeout`] wants to be called; `None` when it waits for input only or is at its end.
    pub fn poll_timeout(&self) -> Option<Nanos> {
        let own = self.work.as_ref().and_then(|work| work.poll_timeout());
        [own, self.until].into_iter().flatten().min()
    }

    /// Tells that it is `now`.
    pub fn handle_timeout(&mut self, now: Nanos) {
        if let Some(work) = &mut self.work {
            work.handle_timeout(now, &mut self.counters);
        }
        self.collect(now);
        if self.until.is_some_and(|until| now >= until) {
            self.next(now);
        }
    }

    /// What to do now.
    pub fn poll_action(&mut self, now: Nanos) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        self.work.as_mut().and_then(|work| work.poll_action(now))
    }

    /// What was found out.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// Whether nothing is left to try.
    pub fn ended(&self) -> bool {
        self.work.is_none()
    }

    fn begin(&mut self, now: Nanos) {
        let Some(attempt) = self.attempts.get(self.index).copied() else {
            self.work = None;
            self.until = None;
            let advice = advice(&self.attempts, &self.heard);
            self.reports.push_back(Report::NothingFound(advice));
            return;
        };
        self.counters = Counters::default();
        self.reports.push_back(Report::Trying(attempt.to_string()));
        self.actions.push_back(Action::Configure(attempt.line));
        let (line, options) = (attempt.line, &self.options);
        let listens = attempt.method == Method::Listen;
        self.until = listens.then(|| now + options.patience);
        self.work = Some(match attempt.method {
            Method::Listen => Box::new(Listener::new(options.protocol, options.key)),
            Method::AskD0 => Box::new(Asker::new(line, options, now)),
            Method::PollMbus => Box::new(Poller::new(line, options)),
            Method::PullSml => Box::new(Puller::new(options, now)),
            Method::PollLmn => Box::new(Gateway::new(line, options, now)),
        });
    }

    fn next(&mut self, now: Nanos) {
        self.index += 1;
        self.begin(now);
    }

    /// Takes over what the work at hand found out.
    fn collect(&mut self, now: Nanos) {
        let Some(attempt) = self.attempts.get(self.index).copied() else {
            return;
        };
        let Some(work) = &mut self.work else { return };
        while let Some(report) = work.poll_report() {
            match &report {
                Report::Telegram(telegram) => {
                    if !self.found {
                        self.found = true;
                        self.until = None;
                        self.reports.push_back(Report::Found {
                            protocol: telegram.protocol,
                            line: attempt.line,
                        });
                    }
                    self.counters.telegrams += 1;
                }
                Report::RoundEnded if !self.found => continue,
                _ => {}
            }
            self.reports.push_back(report);
        }
        if work.exhausted() && !self.found {
            self.next(now);
        }
    }
}

/// What to try, in this order: what costs nothing and disturbs nobody comes first.
fn attempts(options: &Options) -> Vec<Attempt> {
    let line = |baud, format| LineConfig { baud, format };
    // 7E1 and 8N1 have the same length, so one listener hears both; see `listen`.
    let listen =
        [9_600, 115_200, 2_400, 57_600].map(|baud| (Method::Listen, line(baud, Format::N81)));
    let mbus = [2_400, 300, 9_600].map(|baud| (Method::PollMbus, line(baud, Format::E81)));
    let d0 = [300].map(|baud| (Method::AskD0, line(baud, Format::E71)));
    let pull = [9_600].map(|baud| (Method::PullSml, line(baud, Format::N81)));
    let lmn = [921_600].map(|baud| (Method::PollLmn, line(baud, Format::N81)));
    let all = listen.into_iter().chain(mbus).chain(d0);
    let all = all.chain(pull).chain(lmn);
    let wanted = |method: &Method| match options.protocol {
        None => true,
        Some(Protocol::Mbus) => *method == Method::PollMbus,
        Some(Protocol::SmlPull) => *method == Method::PullSml,
        Some(Protocol::HdlcLmn) => *method == Method::PollLmn,
        Some(Protocol::D0) => *method == Method::AskD0,
        Some(Protocol::SmlPush | Protocol::D0Push | Protocol::P1 | Protocol::Wmbus) => {
            *method == Method::Listen
        }
    };
    let mut attempts: Vec<Attempt> = Vec::new();
    for (method, mut line) in all.filter(|(method, _)| wanted(method)) {
        line.baud = options.baud.unwrap_or(line.baud);
        let attempt = Attempt { line, method };
        if !attempts.contains(&attempt) {
            attempts.push(attempt);
        }
    }
    attempts
}

/// Who is at fault, and what to look at.
fn advice(attempts: &[Attempt], heard: &[u64]) -> Vec<String> {
    let loud: Vec<_> = attempts
        .iter()
        .zip(heard)
        .filter(|(_, bytes)| **bytes > 0)
        .collect();
    let mut advice = Vec::new();
    if loud.is_empty() {
        advice.push(
            "not one byte came in at any speed: the meter, the wire or the adapter is silent"
                .to_owned(),
        );
        advice.push("optical head: on the right spot, the right way round (cable downwards)? does its light blink?".to_owned());
        advice.push("M-Bus: is the level converter powered, are 24 to 42 V on the bus?".to_owned());
        advice.push("a meter that pushes rarely: listen longer, --patience 15s".to_owned());
    } else {
        for (attempt, bytes) in loud {
            advice.push(format!(
                "{bytes} bytes came in while {attempt}, but none that make sense: framing"
            ));
        }
        advice.push("somebody talks, but not at these speeds and formats: give them with --baud and --protocol".to_owned());
        advice.push(
            "M-Bus meters under one address collide: --secondary tells them apart".to_owned(),
        );
        advice
            .push("bytes only while asking may be our own: some level converters echo".to_owned());
    }
    advice
}
