// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framer, master and slave against each other in virtual time, with faults on the line.

use std::time::Duration;

use proptest::prelude::*;
use smgw_mbus::master::Violation;
use smgw_mbus::slave::Faults;
use smgw_mbus::{
    Body, Command, Data, Device, Discard, Error, Event, Frame, Framer, Manufacturer, Mask, Master,
    NewRecord, Readout, Slave, Telegram, Timing, Value, master, slave,
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

/// Runs a master against a slave until it tells something.
fn exchange(master: &mut Master, slave: &mut Slave, now: &mut Nanos) -> master::Event {
    let record = NewRecord::new(&[0x03], Data::Integer { value: 7, bytes: 4 });
    let record = record.encode().unwrap();
    let parts = [&record[..], &record[..], &record[..]];
    for _ in 0..1000 {
        if let Some(event) = master.poll_event() {
            return event;
        }
        let timing = master.config().timing;
        if let Some(line) = master.poll_transmit(*now) {
            for byte in line {
                *now = *now + timing.characters(1);
                if slave.rate(*now) != timing.baud {
                    continue;
                }
                if let Some(slave::Event::DataRequested { telegram }) =
                    slave.handle_input(*now, byte)
                {
                    slave.respond_part(0, &parts, telegram);
                }
            }
            continue;
        }
        let due = [slave.poll_timeout(), master.poll_timeout()];
        let due = due.into_iter().flatten().min().unwrap_or(*now);
        *now = due.max(*now);
        let timing = slave.config().timing;
        if let Some(line) = slave.poll_transmit(*now) {
            for byte in line {
                *now = *now + timing.characters(1);
                master.handle_input(*now, byte);
            }
        }
        master.handle_timeout(*now);
    }
    panic!("the exchange never ends");
}

fn plain() -> master::Config {
    master::Config::new(1, BAUD)
}

#[test]
fn an_answer_of_several_telegrams_is_read_to_its_end() {
    let (mut master, mut slave, mut now) = (Master::new(plain()), slave(), Nanos(0));
    master.read();
    let mut readout = Readout::new();
    for expected in [true, true, false] {
        let master::Event::Response { frame, more, .. } =
            exchange(&mut master, &mut slave, &mut now)
        else {
            panic!("no answer");
        };
        assert_eq!(more, expected);
        assert_eq!(readout.push(&frame), Ok(expected));
        // A repeat counts once.
        assert_eq!(readout.push(&frame), Ok(expected));
    }
    assert!(master.is_idle() && readout.is_complete());
    assert_eq!(readout.records().count(), 3);
    // Behind the last telegram the first follows again.
    master.request();
    let master::Event::Response { frame, .. } = exchange(&mut master, &mut slave, &mut now) else {
        panic!("no answer");
    };
    assert_eq!(frame[frame.len() - 3], 0x1f);
    let other = [b"\x68\x03\x03\x68\x08\x01\x78\x81\x16".as_slice()];
    assert_eq!(readout.push(other[0]), Err(Error::OtherDevice));
}

/// The same bytes with the same frame count bit are a repeat, with the other one they are not.
#[test]
fn commands_are_obeyed_once() {
    let (mut master, mut slave, mut now) = (Master::new(plain()), slave(), Nanos(0));
    let mut events = Vec::new();
    for fcb in [true, true, false] {
        for byte in Command::Synchronise.frame(1, fcb).unwrap() {
            now = now + BAUD.characters(1);
            events.extend(slave.handle_input(now, byte));
        }
        assert!(slave.poll_transmit(slave.poll_timeout().unwrap()).is_some());
    }
    assert_eq!(events.len(), 2);

    let id = [0x11, 0x22, 0x33, 0x44];
    for command in [Command::SetId(id), Command::SetAddress(9)] {
        master.command(&command).unwrap();
        let event = exchange(&mut master, &mut slave, &mut now);
        assert_eq!(event, master::Event::Acknowledged { noise: 0 });
    }
    assert_eq!((slave.config().device.id, slave.config().address), (id, 9));
}

#[test]
fn alarms_are_told_and_flagged() {
    let (mut master, mut slave, mut now) = (Master::new(plain()), slave(), Nanos(0));
    master.request_alarm();
    let event = exchange(&mut master, &mut slave, &mut now);
    assert_eq!(event, master::Event::Acknowledged { noise: 0 });
    slave.alarm = Some(0x08);
    master.request_alarm();
    let master::Event::Response { frame, .. } = exchange(&mut master, &mut slave, &mut now) else {
        panic!("no answer");
    };
    let telegram = Telegram::parse(&frame).unwrap();
    assert_eq!(telegram.body(), &Body::Alarm(0x08));
    assert_eq!(telegram.control & 0x20, 0x20);
}

/// The line changes behind the acknowledgement; a slave that does not follow is met at the old rate.
#[test]
fn rates_are_changed_and_confirmed() {
    let (mut master, mut slave, mut now) = (Master::new(plain()), slave(), Nanos(0));
    master.command(&Command::SetBaud(9600)).unwrap();
    let mut events = Vec::new();
    while !master.is_idle() {
        events.push(exchange(&mut master, &mut slave, &mut now));
    }
    let confirmed = master::Event::Acknowledged { noise: 0 };
    assert_eq!(events, [master::Event::Rate(9600), confirmed]);
    assert_eq!((master.config().timing.baud, slave.rate(now)), (9600, 9600));

    master.command(&Command::SetBaud(300)).unwrap();
    assert_eq!(
        exchange(&mut master, &mut slave, &mut now),
        master::Event::Rate(300)
    );
    slave.faults.silent = true;
    let back = exchange(&mut master, &mut slave, &mut now);
    assert_eq!(back, master::Event::Rate(9600));
    assert_eq!(
        exchange(&mut master, &mut slave, &mut now),
        master::Event::NoAnswer
    );
    assert_eq!(master.config().timing.baud, 9600);
}

#[test]
fn an_echo_is_left_out() {
    for echo in [true, false] {
        let mut master = Master::new(master::Config {
            echo,
            listen_on: true,
            ..plain()
        });
        let (mut slave, mut now) = (slave(), Nanos(0));
        slave.faults.echo = true;
        master.command(&Command::Synchronise).unwrap();
        let event = exchange(&mut master, &mut slave, &mut now);
        let noise = if echo { 0 } else { 9 };
        assert_eq!(event, master::Event::Acknowledged { noise });
    }
}

/// Times are judged without what the adapter may have added.
#[test]
fn broken_times_are_told() {
    let latency = Duration::from_millis(30);
    let config = master::Config {
        patience: Duration::from_secs(1),
        ..plain()
    };
    let told = |config, faults| {
        let (mut master, mut slave, mut now) = (Master::new(config), slave(), Nanos(0));
        slave.faults = faults;
        master.request();
        match exchange(&mut master, &mut slave, &mut now) {
            master::Event::Response { violation, .. } => violation,
            other => panic!("{other:?}"),
        }
    };
    let delay = |millis| Faults {
        delay: Some(Duration::from_millis(millis)),
        ..Faults::default()
    };
    let gap = Faults {
        gap: Some(Duration::from_millis(40)),
        ..Faults::default()
    };
    assert_eq!(told(config, Faults::default()), None);
    assert!(matches!(told(config, delay(1)), Some(Violation::Early(_))));
    assert!(matches!(told(config, delay(200)), Some(Violation::Late(_))));
    assert!(matches!(
        told(config, gap.clone()),
        Some(Violation::Gaps(_))
    ));
    let mut slow = config;
    slow.timing.adapter_latency = latency;
    assert_eq!(told(slow, delay(200)), None);
    assert!(matches!(told(slow, delay(230)), Some(Violation::Late(_))));
    assert!(matches!(told(slow, gap), Some(Violation::Gaps(_))));
}

#[test]
fn further_faults_are_noticed() {
    for faults in [
        Faults {
            bad_stop: true,
            ..Faults::default()
        },
        Faults {
            length_off_by: 1,
            ..Faults::default()
        },
        Faults {
            length_off_by: 0xff,
            ..Faults::default()
        },
    ] {
        let mut pair = Pair::new();
        pair.slave.faults = faults;
        let event = pair.request();
        assert!(
            matches!(event, master::Event::BadAnswer { .. }),
            "{event:?}"
        );
    }
    let (mut slave, mut now) = (slave(), Nanos(0));
    let mut master = Master::new(master::Config {
        listen_on: true,
        ..plain()
    });
    slave.faults.twice = true;
    master.command(&Command::Synchronise).unwrap();
    let event = exchange(&mut master, &mut slave, &mut now);
    assert_eq!(event, master::Event::Acknowledged { noise: 1 });
}

/// Each address has a frame count bit of its own, on both sides.
#[test]
fn frame_count_bits_belong_to_addresses() {
    let (mut master, mut slave, mut now) = (Master::new(plain()), slave(), Nanos(0));
    let select = Command::Select {
        mask: Mask::of(&device()),
        fabrication: Some(device().id),
    };
    let mut controls = Vec::new();
    let mut ask = |master: &mut Master, slave: &mut Slave, address| {
        master.turn_to(address);
        master.request();
        let line = master.poll_transmit(Nanos(0)).unwrap();
        controls.push(line[1]);
        master.request();
        let event = exchange(master, slave, &mut now);
        assert!(matches!(event, master::Event::Response { .. }));
    };
    ask(&mut master, &mut slave, 1);
    master.command(&select).unwrap();
    let mut later = Nanos(1 << 40);
    let event = exchange(&mut master, &mut slave, &mut later);
    assert_eq!(event, master::Event::Acknowledged { noise: 0 });
    for address in [0xfd, 1, 0xfd] {
        ask(&mut master, &mut slave, address);
    }
    assert_eq!(controls, [0x7b, 0x7b, 0x5b, 0x5b]);
}

/// A slave that sends the same telegram for ever is not read for ever.
#[test]
fn an_answer_without_an_end_is_given_up() {
    let (mut master, mut now) = (Master::new(plain()), Nanos(0));
    master.read();
    let mut answers = 0;
    let endless = b"\x68\x04\x04\x68\x08\x01\x78\x1f\xa0\x16";
    while !master.is_idle() {
        if let Some(line) = master.poll_transmit(now) {
            now = now + BAUD.characters(line.len()) + BAUD.earliest_answer();
            for byte in endless {
                now = now + BAUD.characters(1);
                master.handle_input(now, *byte);
            }
        }
        if let Some(event) = master.poll_event() {
            assert!(matches!(event, master::Event::Response { .. }));
            answers += 1;
        }
    }
    assert_eq!(answers, 2);
}
