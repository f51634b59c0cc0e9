// SPDX-License-Identifier: MIT OR Apache-2.0
//! Asks M-Bus slaves for their data: the address for all, then their secondary addresses, then the primary ones one
//! by one, then those found in turn.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_mbus::master::{Config, Event};
use smgw_mbus::search::{self, Hex, Outcome, Search};
use smgw_mbus::{Command, Device, Mask, Master, Timing};
use smgw_peers::meters::LineConfig;
use smgw_units::Nanos;

use super::decode;
use super::detect::{Action, Counters, Options, Report, Worker};

/// The master of one line.
pub(super) struct Poller {
    timing: Timing,
    interval: Duration,
    /// Who is still to be tried.
    untried: VecDeque<Target>,
    /// Who answered.
    known: Vec<Target>,
    /// Who is still to be asked in the present round.
    round: VecDeque<Target>,
    task: Option<Task>,
    /// Several answered at once, so there are more than one.
    collided: bool,
    /// When the next round begins.
    next_round: Option<Nanos>,
    reports: VecDeque<Report>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Target {
    Primary(u8),
    Secondary(Device),
    /// Not one slave: the search for all of them.
    Search,
}

enum Task {
    Ask(Target, Master),
    Search(Search),
}

impl Poller {
    pub(super) fn new(line: LineConfig, options: &Options) -> Self {
        let untried = match &options.addresses[..] {
            _ if options.secondary => VecDeque::from([Target::Search]),
            [] => VecDeque::from([Target::Primary(FOR_ALL)]),
            named => named.iter().copied().map(Target::Primary).collect(),
        };
        let mut poller = Self {
            timing: Timing {
                baud: line.baud,
                adapter_latency: options.adapter_latency,
            },
            interval: options.interval,
            untried,
            known: Vec::new(),
            round: VecDeque::new(),
            task: None,
            collided: false,
            next_round: None,
            reports: VecDeque::new(),
        };
        poller.turn(None);
        poller
    }

    fn judge(&mut self, now: Nanos, counters: Option<&mut Counters>) {
        match &self.task {
            Some(Task::Ask(..)) => self.judge_answer(now, counters),
            Some(Task::Search(_)) => self.judge_search(now),
            None => {}
        }
    }

    /// What the exchange with one slave came to.
    fn judge_answer(&mut self, now: Nanos, counters: Option<&mut Counters>) {
        let Some(Task::Ask(target, master)) = &mut self.task else {
            return;
        };
        let target = *target;
        let Some(event) = master.poll_event() else {
            return;
        };
        match event {
            Event::Reset => master.read(),
            // The selection; nothing else is commanded.
            Event::Acknowledged { .. } => {
                master.turn_to(SELECTED);
                master.read();
            }
            Event::Response { frame, more, .. } => {
                if !self.known.contains(&target) {
                    self.known.push(target);
                }
                self.reports
                    .extend(decode::mbus(&frame).map(Report::Telegram));
                if !more {
                    self.turn(Some(now));
                }
            }
            Event::Rate(_) => {}
            Event::NoAnswer => {
                if let Some(counters) = counters {
                    counters.unanswered += 1;
                }
                if self.known.contains(&target) {
                    self.trouble(format!("{target} does not answer any more"));
                }
                if target == Target::Primary(FOR_ALL) && self.known.is_empty() {
                    self.untried.push_back(Target::Search);
                }
                self.turn(Some(now));
            }
            Event::BadAnswer { bytes, .. } => {
                if let Some(counters) = counters {
                    counters.collisions += 1;
                }
                if target == Target::Primary(FOR_ALL) && self.known.is_empty() {
                    self.collided = true;
                    self.trouble(format!(
                        "{bytes} garbled bytes: several meters answer at once (collision); searching by secondary address"
                    ));
                    self.untried.push_back(Target::Search);
                } else {
                    self.trouble(format!(
                        "{target}: {bytes} bytes, but no good answer (framing, checksum, or two under one address: try --secondary)"
                    ));
                }
                self.turn(Some(now));
            }
        }
    }

    /// What the search came to.
    fn judge_search(&mut self, now: Nanos) {
        while let Some(Task::Search(search)) = &mut self.task {
            let Some(event) = search.poll_event() else {
                return;
            };
            match event {
                search::Event::Found { device, frame } => {
                    self.reports
                        .push_back(Report::Meter(decode::device(&device)));
                    let target = Target::Secondary(device);
                    match decode::mbus(&frame) {
                        Some(telegram) if !telegram.more_follows => {
                            self.known.push(target);
                            self.reports.push_back(Report::Telegram(telegram));
                        }
                        // Asked for again, with all its telegrams.
                        _ => self.round.push_back(target),
                    }
                }
                search::Event::Unexplained(mask) => {
                    let id = u32::from_le_bytes(mask.id);
                    self.trouble(format!(
                        "somebody answers to secondary address {id:08x}, but no meter can be told apart there"
                    ));
                }
                search::Event::Progress { outcome, .. } => {
                    self.collided |= outcome == Outcome::Collision;
                }
                search::Event::Done => {
                    if self.collided && self.known.len() + self.round.len() < 2 {
                        self.trouble(
                            "not all can be told apart by secondary address; asking one by one"
                                .to_owned(),
                        );
                        self.untried = (1..=HIGHEST).map(Target::Primary).collect();
                    }
                    self.turn(Some(now));
                }
            }
        }
    }

    fn trouble(&mut self, what: String) {
        self.reports.push_back(Report::Trouble(what));
    }

    /// On to the next slave, or to the pause before the next round.
    fn turn(&mut self, now: Option<Nanos>) {
        let searching = !self.untried.is_empty();
        let target = self.untried.pop_front().or_else(|| self.round.pop_front());
        self.task = target.map(|target| {
            let mut config = Config::new(FOR_ALL, self.timing);
            if searching && target != Target::Primary(FOR_ALL) {
                config.repeats = 1;
            }
            match target {
                Target::Search => Task::Search(Search::new(config, Mask::ANY, Hex::default())),
                Target::Primary(address) => {
                    let mut master = Master::new(Config { address, ..config });
                    master.reset();
                    Task::Ask(target, master)
                }
                Target::Secondary(device) => {
                    let mut master = Master::new(config);
                    let select = Command::Select {
                        mask: Mask::of(&device),
                        fabrication: None,
                    };
                    // A selection always fits its frame.
                    let _ = master.command(&select);
                    Task::Ask(target, master)
                }
            }
        });
        if self.task.is_none() {
            let now = now.filter(|_| !self.known.is_empty());
            self.next_round = now.map(|now| now + self.interval);
            self.reports
                .extend(self.next_round.map(|_| Report::RoundEnded));
        }
    }
}

impl Worker for Poller {
    /// Whether everybody was tried in vain.
    fn exhausted(&self) -> bool {
        self.task.is_none() && self.next_round.is_none()
    }

    fn handle_input(&mut self, at: Nanos, byte: u8, _: &mut Counters) {
        match &mut self.task {
            Some(Task::Ask(_, master)) => master.handle_input(at, byte),
            Some(Task::Search(search)) => search.handle_input(at, byte),
            None => {}
        }
        self.judge(at, None);
    }

    fn poll_timeout(&self) -> Option<Nanos> {
        match &self.task {
            Some(Task::Ask(_, master)) => master.poll_timeout(),
            Some(Task::Search(search)) => search.poll_timeout(),
            None => self.next_round,
        }
    }

    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters) {
        match &mut self.task {
            Some(Task::Ask(_, master)) => master.handle_timeout(now),
            Some(Task::Search(search)) => search.handle_timeout(now),
            None => {}
        }
        self.judge(now, Some(counters));
        if self.next_round.is_some_and(|due| now >= due) {
            self.next_round = None;
            self.round = self.known.iter().copied().collect();
            self.turn(Some(now));
        }
    }

    fn poll_action(&mut self, now: Nanos) -> Option<Action> {
        let line = match self.task.as_mut()? {
            Task::Ask(_, master) => master.poll_transmit(now),
            Task::Search(search) => search.poll_transmit(now),
        };
        line.map(Action::Send)
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Primary(address) => write!(f, "address {address}"),
            Self::Secondary(device) => write!(f, "secondary address {}", device.id_text()),
            Self::Search => f.write_str("search"),
        }
    }
}

/// Test address: every slave answers.
const FOR_ALL: u8 = 254;
/// The slave selected by its secondary address.
const SELECTED: u8 = 253;
/// Of the primary addresses a slave may have.
const HIGHEST: u8 = 250;
