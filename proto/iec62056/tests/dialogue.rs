// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reader and meter against each other in virtual time, over a line that only carries what is sent and
//! read at the same speed.

use std::time::Duration;

use smgw_iec62056::meter::{self, Faults};
use smgw_iec62056::reader::{self, Access, Event, Failure};
use smgw_iec62056::{
    Baud, Bcc, Block, Command, Identification, Message, Meter, Mode, Reader, Transmit,
};
use smgw_units::Nanos;

/// One end's view of the line.
struct End {
    baud: Baud,
    /// When its last byte has left.
    free: Nanos,
    /// Bytes on their way: when they arrive, and the speed they are sent at.
    out: Vec<(Nanos, u8, Baud)>,
}

impl End {
    const fn new() -> Self {
        Self {
            baud: Baud::INITIAL,
            free: Nanos(0),
            out: Vec::new(),
        }
    }

    fn act(&mut self, now: Nanos, action: Transmit) {
        match action {
            Transmit::Baud(baud) => {
                assert!(
                    now >= self.free,
                    "the speed changes under bytes on their way"
                );
                self.baud = baud;
            }
            Transmit::Bytes(bytes) => {
                self.free = self.free.max(now);
                for byte in bytes {
                    self.free = self.free + self.baud.characters(1);
                    self.out.push((self.free, byte, self.baud));
                }
            }
        }
    }

    /// Bytes that have arrived by `now`; at another speed they arrive as something else.
    fn arrived(&mut self, now: Nanos, speed: Baud) -> Vec<(Nanos, u8)> {
        let due = self.out.partition_point(|(at, ..)| *at <= now);
        let garbled = |sent: Baud, byte: u8| if sent == speed { byte } else { byte ^ 0x5a };
        self.out
            .drain(..due)
            .map(|(at, byte, sent)| (at, garbled(sent, byte)))
            .collect()
    }

    fn next(&self) -> Option<Nanos> {
        self.out.first().map(|(at, ..)| *at)
    }
}

struct Line {
    reader: Reader,
    meter: Meter,
    now: Nanos,
    at_reader: End,
    at_meter: End,
    /// What the reader sent.
    sent: Vec<Vec<u8>>,
}

fn registers() -> Vec<(String, String)> {
    let pairs = [
        ("F.F", "00"),
        ("1.8.0", "000285.40*kWh"),
        ("C.1", "12345678"),
    ];
    pairs
        .map(|(code, value)| (code.into(), value.into()))
        .into()
}

fn meter(identification: &str) -> meter::Config {
    let identification = Identification::parse(identification.as_bytes()).unwrap();
    meter::Config {
        registers: registers(),
        ..meter::Config::new(&identification)
    }
}

impl Line {
    fn new(reader: reader::Config, meter: meter::Config) -> Self {
        Self {
            reader: Reader::new(reader),
            meter: Meter::new(meter, Nanos(0)),
            now: Nanos(0),
            at_reader: End::new(),
            at_meter: End::new(),
            sent: Vec::new(),
        }
    }

    /// One dialogue, or what a listener hears in `limit`.
    fn run(&mut self, limit: Duration) -> Vec<Event> {
        let end = self.now + limit;
        self.reader.start(self.now);
        let mut events = Vec::new();
        loop {
            while let Some(action) = self.reader.poll_transmit(self.now) {
                if let Transmit::Bytes(bytes) = &action {
                    self.sent.push(bytes.clone());
                }
                self.at_reader.act(self.now, action);
            }
            while let Some(action) = self.meter.poll_transmit(self.now) {
                self.at_meter.act(self.now, action);
            }
            events.extend(std::iter::from_fn(|| self.reader.poll_event()));
            let next = [
                self.reader.poll_timeout(),
                self.meter.poll_timeout(),
                self.at_reader.next(),
                self.at_meter.next(),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else {
                return events;
            };
            self.now = next.max(self.now + Duration::from_nanos(1));
            for (at, byte) in self.at_reader.arrived(self.now, self.at_meter.baud) {
                self.meter.handle_input(at, byte);
            }
            for (at, byte) in self.at_meter.arrived(self.now, self.at_reader.baud) {
                self.reader.handle_input(at, byte);
            }
            self.reader.handle_timeout(self.now);
            self.meter.handle_timeout(self.now);
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// The one readout among the events.
fn readout(events: &[Event]) -> (Vec<u8>, Bcc, Baud, Duration) {
    let readouts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Readout {
                block,
                bcc,
                baud,
                first,
                last,
            } => Some((block.clone(), *bcc, *baud, last.saturating_since(*first))),
            _ => None,
        })
        .collect();
    assert_eq!(readouts.len(), 1, "{events:?}");
    readouts.into_iter().next().unwrap()
}

fn assert_registers(block: &[u8]) {
    let block = Block::parse(block);
    let sets: Vec<_> = block
        .sets()
        .map(|set| set.map(|set| (set.address.to_owned(), set.raw())).unwrap())
        .collect();
    assert_eq!(sets, registers());
}

#[test]
fn every_letter_is_read_out_at_its_speed() {
    let cases = [
        ("/ABC@x", Mode::A, Some(300)),
        ("/ABC x", Mode::A, Some(300)),
        ("/ABCAx", Mode::B, Some(600)),
        ("/ABCBx", Mode::B, Some(1200)),
        ("/ABCCx", Mode::B, Some(2400)),
        ("/ABCDx", Mode::B, Some(4800)),
        ("/ABCEx", Mode::B, Some(9600)),
        ("/ABCFx", Mode::B, Some(19_200)),
        ("/ABCGx", Mode::B, None),
        ("/ABC0x", Mode::C, Some(300)),
        ("/ABC1x", Mode::C, Some(600)),
        ("/ABC2x", Mode::C, Some(1200)),
        ("/ABC3x", Mode::C, Some(2400)),
        ("/ABC4x", Mode::C, Some(4800)),
        ("/ABC5x", Mode::C, Some(9600)),
        ("/AbC6x", Mode::C, Some(19_200)),
        ("/ABc6x", Mode::C, Some(19_200)),
        ("/ABC7x", Mode::C, None),
        ("/ABC5\\2x", Mode::E, Some(9600)),
        ("/ABC5\\2\\@x", Mode::E, Some(9600)),
    ];
    for (identification, mode, speed) in cases {
        let mut line = Line::new(reader::Config::default(), meter(identification));
        // Twice: the second request finds both at 300 Bd again.
        for _ in 0..2 {
            let events = line.run(DAY);
            let Event::Identified {
                line: said,
                mode: found,
            } = &events[0]
            else {
                panic!("{identification}: {events:?}");
            };
            assert_eq!(said.trim_ascii_end(), identification.as_bytes());
            assert_eq!(*found, mode, "{identification}");
            let Some(speed) = speed else {
                let z = identification.as_bytes()[4];
                assert_eq!(events[1..], [Event::Failed(Failure::UnknownSpeed(z))]);
                break;
            };
            let (block, bcc, baud, took) = readout(&events);
            assert_eq!((bcc, baud), (Bcc::Good, Baud(speed)), "{identification}");
            assert_registers(&block);
            assert_eq!(took, Baud(speed).characters(1) * (block.len() as u32 - 1));
            assert!(line.reader.is_idle());
        }
    }
}

#[test]
fn unasked_telegrams_are_heard() {
    let mut config = meter("/ABC3x");
    config.unasked = Some(Duration::from_secs(4));
    config.initial = Baud::MODE_D;
    let mode_d = reader::Config {
        mode: Some(Mode::D),
        initial: Baud::MODE_D,
        ..reader::Config::default()
    };
    let mut line = Line::new(mode_d, config);
    let events = line.run(Duration::from_secs(11));
    assert_eq!(events.len(), 6, "{events:?}");
    for pair in events.chunks(2) {
        let (block, bcc, baud, _) = readout(pair);
        assert_eq!((bcc, baud), (Bcc::Absent, Baud::MODE_D));
        assert_registers(&block);
    }
    assert_eq!(line.sent, Vec::<Vec<u8>>::new());
}

#[test]
fn hdlc_is_handed_over() {
    let config = reader::Config {
        access: Access::Hdlc,
        ..reader::Config::default()
    };
    let mut line = Line::new(config.clone(), meter("/ABC5\\2x"));
    let events = line.run(DAY);
    assert_eq!(events[1..], [Event::Handover { baud: Baud(9600) }]);
    assert_eq!(line.sent.last().unwrap(), b"\x06252\r\n");
    assert_eq!(
        line.meter.poll_event(),
        Some(meter::Event::Handover { baud: Baud(9600) })
    );
    assert_eq!(
        (line.at_reader.baud, line.at_meter.baud),
        (Baud(9600), Baud(9600))
    );
    // A meter without HDLC is read out.
    let mut line = Line::new(config, meter("/ABC5x"));
    assert_registers(&readout(&line.run(DAY)).0);
}

#[test]
fn sleeping_meters_are_woken_and_addressed_ones_named() {
    let config = reader::Config {
        wake_up: true,
        address: "Bla0".into(),
        ..reader::Config::default()
    };
    let mut addressed = meter("/ABC5x");
    addressed.address = "Bla0".into();
    let mut line = Line::new(config.clone(), addressed.clone());
    assert_registers(&readout(&line.run(DAY)).0);
    assert_eq!(line.sent[0], [0; 66]);
    assert_eq!(line.sent[1], b"/?Bla0!\r\n");
    // 2.2 s of NULs end before the request begins, 1.6 s later.
    addressed.address = "other".into();
    let mut line = Line::new(config, addressed);
    assert_eq!(line.run(DAY), [Event::Failed(Failure::NoIdentification)]);
    assert_eq!(line.sent.len(), 6);
}

#[test]
fn programming_reads_and_writes() {
    let access = Access::Programming {
        password: Some("4711".into()),
        commands: vec![
            (Command::READ, b"1.8.0()".to_vec()),
            (Command::WRITE, b"C.1(87654321)".to_vec()),
            (Command::READ, b"9.9()".to_vec()),
        ],
    };
    for echo in [false, true] {
        let config = reader::Config {
            access: access.clone(),
            ..reader::Config::default()
        };
        let mut secret = meter("/ABC4x");
        secret.password = Some("4711".into());
        secret.faults = Faults {
            echo,
            ..Faults::default()
        };
        let mut line = Line::new(config, secret);
        let events = line.run(DAY);
        let answers: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Answer { command, message } => {
                    Some((*command, Message::decode(message).unwrap().0))
                }
                _ => None,
            })
            .collect();
        let answer = |data| Message::Answer { data, more: false };
        assert_eq!(
            answers,
            [
                (Command::PASSWORD, Message::Ack),
                (Command::READ, answer(b"(000285.40*kWh)")),
                (Command::WRITE, Message::Ack),
                (Command::READ, answer(b"(ER01)")),
            ]
        );
        assert_eq!(events.last(), Some(&Event::Ended));
        assert_eq!(line.meter.registers()[2].1, "87654321");
        assert_eq!(line.sent.last().unwrap(), b"\x01B0\x03q");
        let events: Vec<_> = std::iter::from_fn(|| line.meter.poll_event()).collect();
        assert!(matches!(
            events[..],
            [meter::Event::Written { .. }, meter::Event::Ended]
        ));
    }
}

#[test]
fn a_wrong_password_ends_the_session() {
    let access = Access::Programming {
        password: Some("0815".into()),
        commands: vec![(Command::READ, b"1.8.0()".to_vec())],
    };
    let config = reader::Config {
        access,
        ..reader::Config::default()
    };
    let mut secret = meter("/ABC4x");
    secret.password = Some("4711".into());
    let mut line = Line::new(config, secret);
    let events = line.run(DAY);
    assert_eq!(
        events.last(),
        Some(&Event::Failed(Failure::NoAnswer(Command::PASSWORD)))
    );
    assert_eq!(line.meter.poll_event(), Some(meter::Event::WrongPassword));
}

/// A readout from a meter with a fault, and how many messages the reader sent for it.
fn with_fault(identification: &str, faults: Faults) -> (Vec<Event>, Vec<Vec<u8>>) {
    let mut faulty = meter(identification);
    faulty.faults = faults;
    let mut line = Line::new(reader::Config::default(), faulty);
    (line.run(DAY), line.sent)
}

#[test]
fn a_block_with_a_wrong_check_is_asked_for_again() {
    for identification in ["/ABC@x", "/ABCEx", "/ABC5x"] {
        for (wrong_bcc, good) in [(1, true), (2, true), (3, false)] {
            let faults = Faults {
                wrong_bcc,
                ..Faults::default()
            };
            let (events, sent) = with_fault(identification, faults);
            let (block, bcc, ..) = readout(&events);
            assert_eq!(
                bcc == Bcc::Good,
                good,
                "{identification} {wrong_bcc}: {bcc:?}"
            );
            assert_registers(&block);
            let naks = sent.iter().filter(|bytes| **bytes == [0x15]).count();
            assert_eq!(naks, usize::from(wrong_bcc.min(2)));
        }
    }
    let faults = Faults {
        wrong_bcc: 1,
        ..Faults::default()
    };
    let access = Access::Programming {
        password: None,
        commands: vec![(Command::READ, b"1.8.0()".to_vec())],
    };
    let mut faulty = meter("/ABC5x");
    faulty.faults = faults;
    let config = reader::Config {
        access,
        ..reader::Config::default()
    };
    let mut line = Line::new(config, faulty);
    let events = line.run(DAY);
    assert_eq!(events.last(), Some(&Event::Ended), "{events:?}");
}

#[test]
fn a_block_without_its_end_still_counts() {
    let faults = Faults {
        missing_etx: true,
        ..Faults::default()
    };
    let (events, _) = with_fault("/ABC5x", faults);
    let (block, bcc, ..) = readout(&events);
    assert_eq!(bcc, Bcc::Absent);
    assert_registers(&block);
}

#[test]
fn echoes_are_not_answers() {
    for identification in ["/ABC@x", "/ABCEx", "/ABC5x"] {
        let faults = Faults {
            echo: true,
            ..Faults::default()
        };
        let (events, _) = with_fault(identification, faults);
        assert_registers(&readout(&events).0);
    }
}

#[test]
fn late_answers_count_up_to_the_limit() {
    let late = |milliseconds| Faults {
        late: Duration::from_millis(milliseconds),
        ..Faults::default()
    };
    assert_registers(&readout(&with_fault("/ABC5x", late(1000)).0).0);
    let (events, sent) = with_fault("/ABC5x", late(20_000));
    assert_eq!(events, [Event::Failed(Failure::NoIdentification)]);
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_lost_request_is_repeated() {
    let (events, sent) = with_fault(
        "/ABC5x",
        Faults {
            deaf: 2,
            ..Faults::default()
        },
    );
    assert_registers(&readout(&events).0);
    assert_eq!(
        sent.iter().filter(|bytes| bytes.starts_with(b"/?")).count(),
        3
    );
    let (events, _) = with_fault(
        "/ABC5x",
        Faults {
            deaf: 3,
            ..Faults::default()
        },
    );
    assert_eq!(events, [Event::Failed(Failure::NoIdentification)]);
}

#[test]
fn a_meter_at_another_speed_is_not_understood() {
    for identification in ["/ABCEx", "/ABC5x"] {
        let faults = Faults {
            wrong_speed: Some(Baud(4800)),
            ..Faults::default()
        };
        let (events, _) = with_fault(identification, faults);
        assert_eq!(
            events.last(),
            Some(&Event::Failed(Failure::NoBlock)),
            "{events:?}"
        );
    }
}

#[test]
fn too_large_blocks_are_refused() {
    let config = reader::Config {
        limit: 30,
        ..reader::Config::default()
    };
    let mut line = Line::new(config, meter("/ABC5x"));
    assert_eq!(
        line.run(DAY).last(),
        Some(&Event::Failed(Failure::Oversize))
    );
}

#[test]
fn parity_bits_are_cleared_on_demand() {
    let even = |byte: u8| byte | ((byte.count_ones() as u8 & 1) << 7);
    for strip_parity in [true, false] {
        let config = reader::Config {
            strip_parity,
            ..reader::Config::default()
        };
        let mut reader = Reader::new(config);
        reader.start(Nanos(0));
        while reader.poll_transmit(Nanos(0)).is_some() {}
        for byte in b"/ABC@x\r\n" {
            reader.handle_input(Nanos(1), even(*byte));
        }
        let identified = matches!(reader.poll_event(), Some(Event::Identified { .. }));
        assert_eq!(identified, strip_parity);
    }
}

#[test]
fn a_readout_may_follow_a_readout_at_once() {
    let mut line = Line::new(reader::Config::default(), meter("/ABC@x"));
    assert_registers(&readout(&line.run(Duration::from_millis(3500))).0);
    // The meter still waits for a verdict on its block.
    assert!(line.meter.poll_timeout().is_some());
    assert_registers(&readout(&line.run(DAY)).0);
    assert_eq!(line.sent, [b"/?!\r\n", b"/?!\r\n"]);
}

#[test]
fn noise_before_an_identification_is_passed() {
    let mut reader = Reader::new(reader::Config {
        sign_on: b'#',
        ..reader::Config::default()
    });
    reader.start(Nanos(0));
    let sent: Vec<_> = std::iter::from_fn(|| reader.poll_transmit(Nanos(0))).collect();
    assert_eq!(sent[1], Transmit::Bytes(b"/#!\r\n".to_vec()));
    for byte in b"\x00m3/h)/AB/ABC@a/b\r\n" {
        reader.handle_input(Nanos(1), *byte);
    }
    let Some(Event::Identified { line, .. }) = reader.poll_event() else {
        panic!("the identification is lost");
    };
    assert_eq!(line, b"/ABC@a/b\r\n");
}
