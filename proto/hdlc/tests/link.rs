// SPDX-License-Identifier: MIT OR Apache-2.0
//! Primary and secondaries against each other, in virtual time, over good lines and bad ones.

use std::time::Duration;

use proptest::prelude::*;
use smgw_hdlc::primary::{self, Event, Failure};
use smgw_hdlc::{Address, Control, Frame, Primary, Profile, Secondary, secondary};
use smgw_units::Nanos;

const GATEWAY: Address = Address::lmn(1, 1);

fn meter(station: u8) -> Address {
    Address::lmn(1, station)
}

/// What the line does to a frame.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    IsLost,
    ComesTwice,
    /// One bit is turned.
    IsDamaged(usize),
    /// The end is missing.
    IsCut(usize),
}

struct Line {
    primary: Primary,
    secondaries: Vec<Secondary>,
    now: Nanos,
    fates: Box<dyn Iterator<Item = Fate>>,
    /// What each secondary received, and sends back to each message.
    received: Vec<Vec<Vec<u8>>>,
    reply: fn(&[u8]) -> Option<Vec<u8>>,
    /// Every frame that was sent, for looking at.
    sent: Vec<Vec<u8>>,
}

impl Line {
    fn new(stations: &[u8], profile: Profile) -> Self {
        let secondary =
            |station: &u8| Secondary::new(secondary::Config::new(profile, meter(*station)));
        Self {
            primary: Primary::new(primary::Config::new(profile, GATEWAY)),
            secondaries: stations.iter().map(secondary).collect(),
            now: Nanos(0),
            fates: Box::new(std::iter::repeat(Fate::Arrives)),
            received: vec![Vec::new(); stations.len()],
            reply: |_| None,
            sent: Vec::new(),
        }
    }

    /// What arrives of a frame.
    fn carry(&mut self, line: Vec<u8>) -> Vec<u8> {
        self.sent.push(line.clone());
        match self.fates.next().unwrap_or(Fate::Arrives) {
            Fate::Arrives => line,
            Fate::IsLost => Vec::new(),
            Fate::ComesTwice => [line.clone(), line].concat(),
            Fate::IsDamaged(at) => {
                let mut line = line;
                let length = line.len();
                line[at % length] ^= 1 << (at % 8);
                line
            }
            Fate::IsCut(at) => line[..at % line.len()].to_vec(),
        }
    }

    /// Goes on until nothing but polls is left to do for `quiet`, or an hour is over.
    fn run(&mut self, quiet: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let mut calm_since = self.now;
        while self.now < calm_since + quiet && self.now < Nanos(3_600_000_000_000) {
            self.primary.handle_timeout(self.now);
            if let Some(line) = self.primary.poll_transmit(self.now) {
                let line = self.carry(line);
                self.hear(&line);
                // Another command may be due at once.
                continue;
            }
            while let Some(event) = self.primary.poll_event() {
                calm_since = self.now;
                events.push(event);
            }
            let secondaries = self.secondaries.iter().filter_map(Secondary::poll_timeout);
            let due = secondaries.chain(self.primary.poll_timeout()).min();
            let Some(due) = due else { break };
            self.now = due.max(self.now + Duration::from_micros(1));
            for secondary in &mut self.secondaries {
                secondary.handle_timeout(self.now);
            }
        }
        events
    }

    fn hear(&mut self, line: &[u8]) {
        let mut answers = Vec::new();
        for byte in line {
            self.now = self.now + Duration::from_micros(11);
            for (index, secondary) in self.secondaries.iter_mut().enumerate() {
                secondary.handle_input(self.now, *byte);
                while let Some(event) = secondary.poll_event() {
                    if let secondary::Event::Message { message, .. } = event {
                        if let Some(reply) = (self.reply)(&message) {
                            secondary.send(reply).unwrap();
                        }
                        self.received[index].push(message);
                    }
                }
                answers.extend(std::iter::from_fn(|| secondary.poll_transmit()));
            }
        }
        for answer in answers {
            for byte in self.carry(answer) {
                self.now = self.now + Duration::from_micros(11);
                self.primary.handle_input(self.now, byte);
            }
        }
    }

    fn connect(&mut self, station: u8) {
        self.primary.connect(meter(station));
        let events = self.run(Duration::from_millis(250));
        assert!(
            matches!(events[..], [Event::Connected { .. }]),
            "{events:?}"
        );
    }

    fn controls(&self) -> Vec<Control> {
        let control = |line: &Vec<u8>| Frame::decode(&Profile::LMN, line).unwrap().control;
        self.sent.iter().map(control).collect()
    }
}

#[test]
fn a_link_is_set_up_used_and_ended() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.reply = |message| Some([b"re: ", message].concat());
    line.connect(3);
    line.primary.send(meter(3), b"hello".to_vec()).unwrap();
    let events = line.run(Duration::from_millis(250));
    assert_eq!(events[0], Event::Delivered { peer: meter(3) });
    assert!(
        matches!(&events[1..], [Event::Message { message, first, last, .. }]
            if message == b"re: hello" && first < last)
    );
    line.primary.disconnect(meter(3));
    let events = line.run(Duration::from_millis(250));
    assert_eq!(events, [Event::Disconnected { peer: meter(3) }]);
    assert!(!line.secondaries[0].is_connected());
    let mut numbered = line.controls();
    numbered.retain(|control| !matches!(control, Control::ReceiveReady { .. }));
    assert_eq!(
        numbered,
        [
            Control::Snrm { poll: true },
            Control::Ua { poll: true },
            Control::Information {
                send: 0,
                receive: 0,
                poll: true
            },
            Control::Information {
                send: 0,
                receive: 1,
                poll: true
            },
            Control::Disc { poll: true },
            Control::Ua { poll: true },
        ]
    );
}

#[test]
fn large_messages_go_in_segments() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.reply = |message| Some(message.iter().rev().copied().collect());
    line.connect(3);
    let message: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
    line.primary.send(meter(3), message.clone()).unwrap();
    let events = line.run(Duration::from_millis(250));
    assert_eq!(line.received[0], std::slice::from_ref(&message));
    let reversed: Vec<u8> = message.iter().rev().copied().collect();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Message { message, .. }
            if *message == reversed))
    );
    let mut sizes = Vec::new();
    for sent in &line.sent {
        let frame = Frame::decode(&Profile::LMN, sent).unwrap();
        if frame.destination == meter(3) && !frame.info.is_empty() {
            sizes.push((frame.info.len(), frame.segmented));
        }
    }
    assert_eq!(sizes, [(2034, true), (2034, true), (932, false)]);
}

#[test]
fn too_large_messages_break_the_link() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.connect(3);
    line.primary.send(meter(3), vec![0; 0x1_0001]).unwrap();
    let events = line.run(Duration::from_secs(2));
    let [
        Event::Failed {
            why: Failure::FrameRejected(info),
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}");
    };
    // The 33rd segment, N(S) 0, made it too long: Y.
    assert_eq!(info[2], 0x04);
    // And the link can be set up again.
    line.connect(3);
    line.primary.send(meter(3), b"small".to_vec()).unwrap();
    line.run(Duration::from_millis(250));
    assert_eq!(line.received[0], [b"small".to_vec()]);
}

#[test]
fn several_secondaries_take_turns() {
    let mut line = Line::new(&[3, 4, 126], Profile::LMN);
    for station in [3, 4, 126] {
        line.connect(station);
    }
    for round in 0..10 {
        for station in [3, 4, 126] {
            line.primary
                .send(meter(station), vec![station, round])
                .unwrap();
        }
    }
    line.run(Duration::from_millis(500));
    for (index, station) in [3, 4, 126].into_iter().enumerate() {
        let expected: Vec<_> = (0..10).map(|round| vec![station, round]).collect();
        assert_eq!(line.received[index], expected);
    }
}

#[test]
fn a_missing_secondary_is_reported_after_all_tries() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.primary.connect(meter(9));
    let events = line.run(Duration::from_secs(1));
    assert_eq!(
        events,
        [Event::Failed {
            peer: meter(9),
            why: Failure::NoAnswer
        }]
    );
    assert_eq!(line.sent.len(), 3);
    assert!(line.primary.send(meter(9), vec![1]).is_err());
}

#[test]
fn a_restarted_secondary_refuses() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.connect(3);
    line.secondaries[0].restart();
    line.primary.send(meter(3), b"lost".to_vec()).unwrap();
    let events = line.run(Duration::from_millis(250));
    assert_eq!(
        events,
        [Event::Failed {
            peer: meter(3),
            why: Failure::Refused
        }]
    );
    assert!(line.received[0].is_empty());
}

#[test]
fn a_busy_secondary_gets_its_message_later() {
    let mut line = Line::new(&[3], Profile::LMN);
    line.connect(3);
    line.secondaries[0].set_busy(true);
    line.primary.send(meter(3), b"patience".to_vec()).unwrap();
    assert_eq!(line.run(Duration::from_secs(1)), []);
    assert!(line.received[0].is_empty());
    line.secondaries[0].set_busy(false);
    let events = line.run(Duration::from_millis(250));
    assert_eq!(events, [Event::Delivered { peer: meter(3) }]);
    assert_eq!(line.received[0], [b"patience".to_vec()]);
}

#[test]
fn unknown_commands_are_rejected() {
    let mut secondary = Secondary::new(secondary::Config::new(Profile::LMN, meter(3)));
    let mut say = |control: Control| {
        let frame = Frame {
            segmented: false,
            destination: meter(3),
            source: GATEWAY,
            control,
            info: &[],
        };
        for byte in frame.encode(&Profile::LMN).unwrap() {
            secondary.handle_input(Nanos(0), byte);
        }
        let line = secondary.poll_transmit()?;
        let answer = Frame::decode(&Profile::LMN, &line).unwrap();
        Some((answer.control, answer.info.to_vec()))
    };
    let ready = Control::ReceiveReady {
        receive: 0,
        poll: true,
    };
    assert_eq!(say(ready), Some((Control::Dm { poll: true }, vec![])));
    assert_eq!(
        say(Control::Snrm { poll: true }),
        Some((Control::Ua { poll: true }, vec![]))
    );
    assert_eq!(say(ready), Some((ready, vec![])));
    let frmr = Control::Frmr { poll: true };
    // REJ is not used with a window of 1.
    assert_eq!(
        say(Control::from_byte(0x19)),
        Some((frmr, vec![0x19, 0, 1]))
    );
    assert_eq!(say(ready), Some((frmr, vec![0x19, 0, 1])));
    assert_eq!(
        say(Control::Snrm { poll: true }),
        Some((Control::Ua { poll: true }, vec![]))
    );
    // An acknowledgement of what was never sent.
    let wrong = Control::ReceiveReady {
        receive: 3,
        poll: true,
    };
    assert_eq!(say(wrong), Some((frmr, vec![wrong.byte(), 0, 8])));
}

#[test]
fn datagrams_reach_all_and_nobody_answers() {
    let mut line = Line::new(&[3, 4], Profile::LMN);
    line.primary.send_datagram(meter(127), b"all").unwrap();
    let sent = line.primary.poll_transmit(Nanos(0)).unwrap();
    for secondary in &mut line.secondaries {
        sent.iter()
            .for_each(|byte| secondary.handle_input(Nanos(5), *byte));
        assert!(matches!(
            secondary.poll_event(),
            Some(secondary::Event::Datagram { source: GATEWAY, info, .. }) if info == b"all"
        ));
        assert_eq!(secondary.poll_transmit(), None);
    }
    assert!(line.primary.send_datagram(meter(127), &[0; 2035]).is_err());
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Arrives),
        1 => Just(Fate::IsLost),
        1 => Just(Fate::ComesTwice),
        1 => any::<usize>().prop_map(Fate::IsDamaged),
        1 => any::<usize>().prop_map(Fate::IsCut),
    ]
}

fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a line does to single frames: both sides get each message once and in order, or the
    /// primary reports a broken link and both have a beginning of it.
    #[test]
    fn messages_arrive_once_or_the_link_breaks(
        messages in messages(),
        fates in prop::collection::vec(fate(), 0..200),
        max_info in 1_u16..80,
    ) {
        let profile = Profile { max_info, ..Profile::LMN };
        let mut line = Line::new(&[3], profile);
        line.reply = |message| Some([b"re ", message].concat());
        line.fates = Box::new(fates.into_iter());
        line.primary.connect(meter(3));
        let mut events = line.run(Duration::from_secs(1));
        // The line may break it before anything is sent.
        if line.primary.is_connected(meter(3)) {
            for message in &messages {
                line.primary.send(meter(3), message.clone()).unwrap();
            }
            events.extend(line.run(Duration::from_secs(2)));
        }
        let failed = events.iter().any(|event| matches!(event, Event::Failed { .. }));
        prop_assert_ne!(line.primary.is_connected(meter(3)), failed, "{:?}", events);
        let delivered = events.iter().filter(|event| matches!(event, Event::Delivered { .. }));
        let delivered = delivered.count();
        let replies: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Message { message, .. } => Some(message[3..].to_vec()),
                _ => None,
            })
            .collect();
        let received = &line.received[0];
        prop_assert!(messages.starts_with(received));
        prop_assert!(messages.starts_with(&replies));
        prop_assert!(delivered <= received.len());
        if !failed {
            prop_assert_eq!(received, &messages);
            prop_assert_eq!(&replies, &messages);
            prop_assert_eq!(delivered, messages.len());
        }
    }

    #[test]
    fn every_frame_survives(
        sap in 0_u8..128, station in 0_u8..128, control: u8, segmented: bool,
        info in prop::collection::vec(any::<u8>(), 0..2035),
    ) {
        let frame = Frame {
            segmented,
            destination: Address::lmn(sap, station),
            source: GATEWAY,
            control: Control::from_byte(control),
            info: &info,
        };
        let line = frame.encode(&Profile::LMN).unwrap();
        prop_assert_eq!(Frame::decode(&Profile::LMN, &line), Ok(frame));
    }
}
