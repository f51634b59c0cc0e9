// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framer, master and slave against each other in virtual time, with faults on the line.

use std::time::Duration;

use proptest::prelude::*;
use smgw_mbus::slave::Faults;
use smgw_mbus::{
    Data, Device, Discard, Event, Frame, Framer, Manufacturer, Master, NewRecord, Slave, Telegram,
    Timing, Value, master, slave,
};
use smgw_units::Nanos;

const BAUD: Timing = Timing::at(2400);

fn device() -> Device {
    Device {
        id: [0x78, 0x56, 0x34, 0x12],
        manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
        version: 1,
        medium: 2,
    }
}

fn slave() -> Slave {
    Slave::new(slave::Config {
        address: 1,
        device: device(),
        timing: BAUD,
        delay: Duration::from_millis(20),
    })
}

/// A master and a slave on one line.
struct Pair {
    now: Nanos,
    master: Master,
    slave: Slave,
    /// Energy the next new answer tells; counted up by every new answer.
    energy: i64,
    /// Frames the master sent.
    sent: Vec<Vec<u8>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            now: Nanos(1_000_000),
            master: Master::new(master::Config::new(1, BAUD)),
            slave: slave(),
            energy: 100,
            sent: Vec::new(),
        }
    }

    /// Runs until the exchange under way has ended.
    fn run(&mut self) -> master::Event {
        for _ in 0..1000 {
            if let Some(event) = self.master.poll_event() {
                return event;
            }
            if let Some(line) = self.master.poll_transmit(self.now) {
                for byte in &line {
                    self.now = self.now + BAUD.characters(1);
                    if let Some(slave::Event::DataRequested { .. }) =
                        self.slave.handle_input(self.now, *byte)
                    {
                        let value = self.energy;
                        self.energy += 1;
                        let record = NewRecord::new(&[0x03], Data::Integer { value, bytes: 4 });
                        self.slave.respond(0, &record.encode().unwrap());
                    }
                }
                self.sent.push(line);
                continue;
            }
            let due = [self.slave.poll_timeout(), self.master.poll_timeout()];
            self.now = due
                .into_iter()
                .flatten()
                .min()
                .expect("someone waits")
                .max(self.now);
            if let Some(line) = self.slave.poll_transmit(self.now) {
                for byte in line {
                    self.now = self.now + BAUD.characters(1);
                    self.master.handle_input(self.now, byte);
                }
            }
            self.master.handle_timeout(self.now);
        }
        panic!("the exchange never ends");
    }

    fn request(&mut self) -> master::Event {
        self.master.request();
        self.run()
    }
}

/// Energy and repeats of a good answer.
fn energy(event: &master::Event) -> (i64, u8) {
    let master::Event::Response { frame, repeats, .. } = event else {
        panic!("no answer: {event:?}");
    };
    let telegram = Telegram::parse(frame).unwrap();
    let record = telegram.records().next().unwrap().unwrap();
    let Value::Integer(value) = record.value else {
        panic!("no number: {record:?}");
    };
    (value, *repeats)
}

#[test]
fn resets_and_reads_with_toggling_fcb() {
    let mut pair = Pair::new();
    pair.master.reset();
    assert_eq!(pair.run(), master::Event::Reset);
    for expected in 100..104 {
        assert_eq!(energy(&pair.request()), (expected, 0));
    }
    let controls: Vec<_> = pair.sent.iter().map(|line| line[1]).collect();
    assert_eq!(controls, [0x40, 0x7b, 0x5b, 0x7b, 0x5b]);
}

#[test]
fn access_numbers_rise_with_every_new_answer() {
    let mut pair = Pair::new();
    for expected in 0..3 {
        let master::Event::Response { frame, .. } = pair.request() else {
            panic!("no answer");
        };
        assert_eq!(Telegram::parse(&frame).unwrap().access(), Some(expected));
    }
}

#[test]
fn a_lost_answer_is_repeated_not_renewed() {
    let mut pair = Pair::new();
    assert_eq!(energy(&pair.request()), (100, 0));
    pair.slave.faults.bad_checksum = true;
    pair.master.request();
    // Let the first try go wrong, then heal the line.
    let line = pair.master.poll_transmit(pair.now).unwrap();
    for byte in line {
        pair.now = pair.now + BAUD.characters(1);
        if pair.slave.handle_input(pair.now, byte).is_some() {
            let record = NewRecord::new(
                &[0x03],
                Data::Integer {
                    value: 777,
                    bytes: 4,
                },
            );
            pair.slave.respond(0, &record.encode().unwrap());
        }
    }
    pair.now = pair.slave.poll_timeout().unwrap();
    for byte in pair.slave.poll_transmit(pair.now).unwrap() {
        pair.now = pair.now + BAUD.characters(1);
        pair.master.handle_input(pair.now, byte);
    }
    pair.slave.faults = Faults::default();
    assert_eq!(energy(&pair.run()), (777, 1));
}

#[test]
fn faults_end_as_they_should() {
    let mut pair = Pair::new();
    pair.slave.faults.silent = true;
    assert_eq!(pair.request(), master::Event::NoAnswer);
    assert_eq!(pair.sent.len(), 3, "one try and two repeats");
    // The repeats carry the same frame count bit.
    assert_eq!(pair.sent[0], pair.sent[2]);

    for faults in [
        Faults {
            bad_checksum: true,
            ..Faults::default()
        },
        Faults {
            half: true,
            ..Faults::default()
        },
        Faults {
            length_mismatch: true,
            ..Faults::default()
        },
        Faults {
            delay: Some(Duration::from_millis(400)),
            ..Faults::default()
        },
    ] {
        let mut pair = Pair::new();
        let late = faults.delay.is_some();
        pair.slave.faults = faults;
        let event = pair.request();
        assert!(
            matches!(event, master::Event::BadAnswer { .. })
                || late && event == master::Event::NoAnswer,
            "{event:?}"
        );
    }

    for faults in [
        Faults {
            garbage: vec![0xff, 0x68, 0x00],
            ..Faults::default()
        },
        Faults {
            echo: true,
            ..Faults::default()
        },
        Faults {
            busy: true,
            ..Faults::default()
        },
        Faults {
            trailing: vec![0x00],
            ..Faults::default()
        },
    ] {
        let mut pair = Pair::new();
        pair.slave.faults = faults;
        assert_eq!(energy(&pair.request()), (100, 0));
    }
}

#[test]
fn answers_begin_inside_the_window() {
    for delay in [0, 20, 1000].map(Duration::from_millis) {
        let mut slave = Slave::new(slave::Config {
            delay,
            ..*slave().config()
        });
        let mut now = Nanos(0);
        for byte in [0x10, 0x40, 0x01, 0x41, 0x16] {
            now = now + BAUD.characters(1);
            slave.handle_input(now, byte);
        }
        let waited = slave.poll_timeout().unwrap().saturating_since(now);
        assert!(waited >= BAUD.earliest_answer() && waited <= BAUD.latest_answer());
        assert_eq!(slave.poll_transmit(now), None);
    }
}

#[test]
fn secondary_selection_with_wildcards() {
    let select = |mask: &[u8]| {
        let mut slave = slave();
        let frame = Frame::Long {
            control: 0x53,
            address: 0xfd,
            ci: 0x52,
            data: mask,
        };
        let mut events = Vec::new();
        for (at, byte) in frame.encode().unwrap().into_iter().enumerate() {
            events.extend(slave.handle_input(Nanos(at as u64), byte));
        }
        (events, slave.poll_timeout().is_some())
    };
    let selected = (vec![slave::Event::Selected(true)], true);
    assert_eq!(select(b"\x78\x56\x34\x12\xff\xff\xff\xff"), selected);
    assert_eq!(select(b"\xff\xff\xff\x1f\xff\xff\x01\x02"), selected);
    assert_eq!(select(b"\xff\xff\xff\x2f\xff\xff\xff\xff"), (vec![], false));
    assert_eq!(select(b"\x78\x56"), (vec![], false));
}

fn collect(framer: &mut Framer, line: &[u8], from: u64) -> Vec<(usize, u64, bool)> {
    let mut seen = Vec::new();
    for (at, byte) in line.iter().enumerate() {
        match framer.push(*byte, Nanos(from + at as u64)) {
            Some(Event::Frame { bytes, first, .. }) => seen.push((bytes.len(), first.0, true)),
            Some(Event::Discarded { bytes, first, .. }) => seen.push((bytes, first.0, false)),
            None => {}
        }
    }
    seen
}

#[test]
fn silence_ends_a_frame() {
    let mut framer = Framer::new(Duration::from_nanos(100));
    assert!(collect(&mut framer, &[0x68, 5, 5, 0x68, 8], 0).is_empty());
    assert_eq!(framer.idle(Nanos(50)), None);
    let lost = Event::Discarded {
        bytes: 5,
        first: Nanos(0),
        reason: Discard::Truncated,
    };
    assert_eq!(framer.idle(Nanos(104)), Some(lost));
    assert_eq!(framer.idle(Nanos(1000)), None);
    assert_eq!(
        collect(&mut framer, &[0x10, 0x40, 1, 0x41, 0x16], 200),
        [(5, 200, true)]
    );
}

proptest! {
    /// After any noise and a silence, the next frame is found.
    #[test]
    fn finds_its_way_back(noise in prop::collection::vec(any::<u8>(), 0..300), data in prop::collection::vec(any::<u8>(), 0..=252)) {
        let mut framer = Framer::new(Duration::from_nanos(10));
        collect(&mut framer, &noise, 0);
        let frame = Frame::Long { control: 8, address: 1, ci: 0x72, data: &data };
        let line = frame.encode().unwrap();
        prop_assert_eq!(Frame::parse(&line), Ok(frame));
        prop_assert_eq!(collect(&mut framer, &line, 10_000), [(line.len(), 10_000, true)]);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut framer = Framer::new(Duration::from_nanos(10));
        collect(&mut framer, &bytes, 0);
        let mut slave = slave();
        let mut master = Master::new(master::Config::new(1, BAUD));
        master.request();
        let _ = master.poll_transmit(Nanos(0));
        for (at, byte) in bytes.iter().enumerate() {
            slave.handle_input(Nanos(at as u64), *byte);
            master.handle_input(Nanos(at as u64), *byte);
        }
    }
}
