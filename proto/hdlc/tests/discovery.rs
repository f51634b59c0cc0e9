// SPDX-License-Identifier: MIT OR Apache-2.0
//! The slot scheme, both sides, in virtual time.

use std::time::Duration;

use smgw_hdlc::{
    Addressing, CrcKind, Discovery as _, DiscoveryConfig, DiscoveryEvent, Entry, Frame, Profile,
    SlotDiscovery, SlotParticipant,
};
use smgw_units::Nanos;

fn config() -> DiscoveryConfig {
    DiscoveryConfig::default()
}

fn entry(number: u8, address: u8) -> Entry {
    let text = format!("1EMH00123456{number:02}");
    Entry {
        address,
        slot: 0,
        device: text.as_bytes().try_into().unwrap(),
        second_device: [0; 14],
        status: [0; 2],
    }
}

/// A line on which everybody hears everybody; dice are given by number.
struct Line {
    gateway: SlotDiscovery,
    meters: Vec<(SlotParticipant, u32)>,
    now: Nanos,
}

impl Line {
    fn new(meters: Vec<(SlotParticipant, u32)>) -> Self {
        Self {
            gateway: SlotDiscovery::new(config(), Nanos(0)),
            meters,
            now: Nanos(0),
        }
    }

    /// Goes on until `until`, and tells what the gateway found.
    fn run(&mut self, until: Nanos) -> Vec<DiscoveryEvent> {
        let mut events = Vec::new();
        loop {
            self.gateway.handle_timeout(self.now);
            if let Some(line) = self.gateway.poll_transmit(self.now) {
                let last = self.now + config().character * line.len() as u32;
                let frame = Frame::decode(&config().profile, &line).unwrap();
                for (meter, dice) in &mut self.meters {
                    // Each round throws anew, the same way in each run of the test.
                    *dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    meter.handle_frame(last, &frame, dice.rotate_left(16));
                }
            }
            for (meter, _) in &mut self.meters {
                if let Some(line) = meter.poll_transmit(self.now) {
                    let last = self.now + config().character * line.len() as u32;
                    let frame = Frame::decode(&config().profile, &line).unwrap();
                    assert!(self.gateway.handle_frame(self.now, last, &frame));
                }
            }
            while let Some(event) = self.gateway.poll_event() {
                events.push(event);
            }
            let meters = self
                .meters
                .iter()
                .filter_map(|(meter, _)| meter.poll_timeout());
            let next = meters.chain(self.gateway.poll_timeout()).min().unwrap();
            if next > until {
                return events;
            }
            self.now = next.max(self.now);
        }
    }
}

fn seconds(seconds: u64) -> Nanos {
    Nanos(seconds * 1_000_000_000)
}

#[test]
fn the_broadcast_is_the_one_seen() {
    let line = SlotDiscovery::new(config(), Nanos(0))
        .poll_transmit(Nanos(0))
        .unwrap();
    assert_eq!(line, *b"\x7e\xa0\x08\xff\x81\x01\x13\xbb\xbf\x7e");
    let profile = Profile {
        crc: CrcKind::X25,
        ..Profile::SLOTTED
    };
    let x25 = DiscoveryConfig {
        profile,
        ..config()
    };
    let line = SlotDiscovery::new(x25, Nanos(0))
        .poll_transmit(Nanos(0))
        .unwrap();
    assert_eq!(line, *b"\x7e\xa0\x08\xff\x81\x01\x13\x4d\x85\x7e");
}

#[test]
fn entries_survive() {
    let entry = Entry {
        slot: 7,
        status: [1, 2],
        second_device: *b"1ESY1160384920",
        ..entry(1, 9)
    };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert_eq!(Entry::decode(&bytes.try_into().unwrap()), entry);
}

#[test]
fn twenty_meters_appear_once_each() {
    let meters = (1..=20).map(|number| {
        (
            SlotParticipant::new(config(), entry(number, 0)),
            u32::from(number) * 7919,
        )
    });
    let mut line = Line::new(meters.collect());
    let events = line.run(seconds(200));
    let mut devices: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            DiscoveryEvent::Appeared(entry) => Some(entry.device),
            _ => None,
        })
        .collect();
    let collided = events
        .iter()
        .any(|event| matches!(event, DiscoveryEvent::Collision { .. }));
    assert!(
        collided,
        "twenty answers in 32 slots without a collision: the dice are loaded"
    );
    assert_eq!(devices.len(), 20, "{events:?}");
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), 20);
    let mut addresses: Vec<_> = line
        .gateway
        .known()
        .iter()
        .map(|entry| entry.address)
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    for (meter, _) in &line.meters {
        assert!(addresses.contains(&meter.address()));
    }
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, DiscoveryEvent::Vanished(_)))
    );
}

#[test]
fn two_answers_in_a_slot_count_for_nothing() {
    let meters =
        [1, 2].map(|number| (SlotParticipant::new(config(), entry(number, number + 1)), 1));
    let mut line = Line::new(meters.into());
    let events = line.run(seconds(5));
    assert!(
        matches!(events[..], [DiscoveryEvent::Collision { .. }]),
        "{events:?}"
    );
    // Other dice, other slots.
    line.meters[0].1 = 77;
    let events = line.run(seconds(15));
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(line.gateway.known().len(), 2);
}

#[test]
fn an_answer_in_the_guard_time_counts_for_nothing() {
    let mut meter = SlotParticipant::new(config(), entry(1, 2));
    meter.set_delay(config().slot);
    let mut line = Line::new(vec![(meter, 1)]);
    let events = line.run(seconds(5));
    assert!(
        matches!(events[..], [DiscoveryEvent::Collision { .. }]),
        "{events:?}"
    );
    line.meters[0].0.set_delay(Duration::ZERO);
    assert!(matches!(
        line.run(seconds(15))[..],
        [DiscoveryEvent::Appeared(_)]
    ));
}

#[test]
fn a_taken_address_is_not_given_twice() {
    let meters = [1, 2].map(|number: u8| {
        (
            SlotParticipant::new(config(), entry(number, 50)),
            u32::from(number) * 3,
        )
    });
    let mut line = Line::new(meters.into());
    let events = line.run(seconds(5));
    assert!(
        matches!(
            events[..],
            [DiscoveryEvent::Appeared(first), DiscoveryEvent::AddressTaken(second)]
                if first.address == 50 && second.address == 50 && first.device != second.device
        ),
        "{events:?}"
    );
    let events = line.run(seconds(15));
    assert!(
        matches!(events[..], [DiscoveryEvent::Appeared(other)] if other.address != 50),
        "{events:?}"
    );
}

#[test]
fn a_silent_meter_vanishes() {
    let meters = [1, 2].map(|number: u8| {
        (
            SlotParticipant::new(config(), entry(number, 0)),
            u32::from(number) * 3,
        )
    });
    let mut line = Line::new(meters.into());
    assert_eq!(line.run(seconds(15)).len(), 2);
    let (gone, _) = line.meters.remove(0);
    let events = line.run(seconds(25));
    assert!(
        matches!(events[..], [DiscoveryEvent::Vanished(entry)] if entry.address == gone.address()),
        "{events:?}"
    );
    // Back again, it appears again.
    line.meters.push((gone, 5));
    assert!(matches!(
        line.run(seconds(35))[..],
        [DiscoveryEvent::Appeared(_)]
    ));
}

#[test]
fn sources_may_have_two_bytes() {
    let profile = Profile {
        crc: CrcKind::X25,
        addressing: Addressing::Slotted { source: 2 },
        ..Profile::SLOTTED
    };
    let config = DiscoveryConfig {
        profile,
        ..config()
    };
    let mut gateway = SlotDiscovery::new(config, Nanos(0));
    let mut meter = SlotParticipant::new(config, entry(1, 7));
    let line = gateway.poll_transmit(Nanos(0)).unwrap();
    assert_eq!(line[..8], *b"\x7e\xa0\x09\xff\x81\x01\x00\x13");
    let heard = Frame::decode(&profile, &line).unwrap();
    let end = config.character * line.len() as u32;
    assert!(meter.handle_frame(Nanos(0) + end, &heard, 3));
    let at = meter.poll_timeout().unwrap();
    assert_eq!(meter.poll_transmit(at - Duration::from_nanos(1)), None);
    let line = meter.poll_transmit(at).unwrap();
    let answer = Frame::decode(&profile, &line).unwrap();
    let last = at + config.character * line.len() as u32;
    assert!(gateway.handle_frame(at, last, &answer));
    gateway.handle_timeout(gateway.poll_timeout().unwrap());
    assert!(matches!(
        gateway.poll_event(),
        Some(DiscoveryEvent::Appeared(entry)) if entry.address == 7
    ));
}
