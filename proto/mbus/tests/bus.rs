// SPDX-License-Identifier: MIT OR Apache-2.0
//! Searches on lines with many slaves, whose answers overlap, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use smgw_mbus::search::{Event, Hex, Outcome};
use smgw_mbus::{
    Bus, Command, Data, Device, Frame, Manufacturer, Mask, NewRecord, Search, Slave, Timing, bus,
    master, slave,
};
use smgw_units::Nanos;

const BAUD: Timing = Timing::at(2400);

fn device(id: u32, manufacturer: [u8; 3], version: u8, medium: u8) -> Device {
    Device {
        id: id.to_le_bytes(),
        manufacturer: Manufacturer::from_letters(manufacturer).unwrap(),
        version,
        medium,
    }
}

fn slave(device: Device, delay: u64) -> Slave {
    Slave::new(slave::Config {
        address: 0,
        device,
        timing: BAUD,
        delay: Duration::from_millis(delay),
    })
}

/// Runs a search to its end; what it told, and how many frames it took.
fn run(bus: &mut Bus, mut search: Search) -> (Vec<Event>, usize) {
    let mut now = Nanos(1_000_000);
    let mut events = Vec::new();
    let mut frames = 0;
    for _ in 0..1_000_000 {
        events.extend(std::iter::from_fn(|| search.poll_event()));
        if events.last() == Some(&Event::Done) {
            return (events, frames);
        }
        if let Some(line) = search.poll_transmit(now) {
            frames += 1;
            for byte in line {
                now = now + BAUD.characters(1);
                for (index, event) in bus.handle_input(now, BAUD.baud, byte) {
                    if let slave::Event::DataRequested { .. } = event {
                        let value = index as i64 + 1;
                        let record = NewRecord::new(&[0x13], Data::Integer { value, bytes: 2 });
                        bus.slaves_mut()[index].respond(0, &record.encode().unwrap());
                    }
                }
            }
            continue;
        }
        let due = [bus.poll_timeout(), search.poll_timeout()];
        now = due.into_iter().flatten().min().expect("someone waits");
        for bus::Heard { at, byte, damaged } in bus.poll_receive(now, BAUD.baud) {
            now = at;
            if damaged {
                search.handle_damaged(at);
            } else {
                search.handle_input(at, byte);
            }
        }
        search.handle_timeout(now);
    }
    panic!("the search never ends");
}

fn config() -> master::Config {
    master::Config {
        repeats: 1,
        ..master::Config::new(0, BAUD)
    }
}

fn found(events: &[Event]) -> BTreeSet<[u8; 8]> {
    let devices: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Found { device, .. } => Some(Mask::of(device).to_bytes()),
            _ => None,
        })
        .collect();
    let set: BTreeSet<_> = devices.iter().copied().collect();
    assert_eq!(set.len(), devices.len(), "nobody is found twice");
    set
}

fn search_all(slaves: Vec<Slave>, hex: Hex) -> (BTreeSet<[u8; 8]>, Vec<Event>, usize) {
    let mut bus = Bus::new(slaves);
    let (events, frames) = run(&mut bus, Search::new(config(), Mask::ANY, hex));
    (found(&events), events, frames)
}

/// Addresses that often share their digits, with hex digits in some.
fn devices() -> impl Strategy<Value = Vec<Device>> {
    let id = prop_oneof![
        any::<u32>(),
        (0u32..16).prop_map(|low| 0x1234_5670 | low),
        (0u32..16).prop_map(|high| high << 28 | 0x0000_0042),
    ]
    .prop_map(|id| {
        // A digit F cannot be asked for.
        (0..8).fold(id, |id, place| {
            let digit = id >> (4 * place) & 15;
            if digit == 15 {
                id ^ 1 << (4 * place)
            } else {
                id
            }
        })
    });
    let manufacturer = prop::sample::select(vec![*b"SMB", *b"SMC", *b"ABB"]);
    let device = (id, manufacturer, 0u8..3, 2u8..4)
        .prop_map(|(id, letters, version, medium)| device(id, letters, version, medium));
    prop::collection::vec(device, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The search finds exactly who is there, whoever answers at once and when.
    #[test]
    fn finds_exactly_who_is_there(devices in devices(), delays in prop::collection::vec(5u64..120, 12)) {
        let there: BTreeSet<_> = devices.iter().map(|device| Mask::of(device).to_bytes()).collect();
        let mut unique = there.iter();
        let slaves = std::iter::from_fn(|| unique.next())
            .zip(&delays)
            .map(|(bytes, delay)| slave(Mask::from_bytes(*bytes).device().unwrap(), *delay))
            .collect();
        let (found, events, _) = search_all(slaves, Hex::Always);
        prop_assert_eq!(found, there);
        let unexplained = events.iter().any(|event| matches!(event, Event::Unexplained(_)));
        prop_assert!(!unexplained);
    }
}

#[test]
fn nobody_costs_one_selection() {
    let (found, events, frames) = search_all(Vec::new(), Hex::WhenUnexplained);
    assert!(found.is_empty());
    assert_eq!(frames, 2, "one try and one repeat");
    let silence = Event::Progress {
        mask: Mask::ANY,
        outcome: Outcome::Silence,
    };
    assert_eq!(events, [silence, Event::Done]);
}

/// Two meters whose numbers differ in one digit, a hex one: the decimal digits do not explain the
/// collision, the others do.
#[test]
fn hex_digits_are_tried_when_needed() {
    let pair = || {
        let of = |id| slave(device(id, *b"SMB", 1, 7), 20);
        vec![of(0x1234_567a), of(0x1234_567b)]
    };
    assert_eq!(search_all(pair(), Hex::WhenUnexplained).0.len(), 2);
    let (found, events, _) = search_all(pair(), Hex::Never);
    assert!(found.is_empty());
    assert!(matches!(events[events.len() - 2], Event::Unexplained(_)));

    // Decimal neighbours are found without trying others.
    let of = |id| slave(device(id, *b"SMB", 1, 7), 20);
    let (found, events, _) = search_all(vec![of(1), of(2)], Hex::WhenUnexplained);
    assert_eq!(found.len(), 2);
    let last_digits = |event: &Event| match event {
        Event::Progress { mask, .. } => mask.id[0],
        _ => 0,
    };
    assert!(!events.iter().map(last_digits).any(|digits| digits == 0x0a));
}

#[test]
fn equal_numbers_are_told_apart_by_the_rest() {
    let slaves = vec![
        slave(device(0x77, *b"SMB", 1, 7), 20),
        slave(device(0x77, *b"SMB", 2, 7), 20),
        slave(device(0x77, *b"SMB", 2, 6), 20),
        slave(device(0x77, *b"ABB", 2, 6), 20),
    ];
    assert_eq!(search_all(slaves, Hex::WhenUnexplained).0.len(), 4);
}

/// Two slaves with one and the same address answer with the same bytes but for the value: nothing can
/// tell them apart, and the search says so.
#[test]
fn doubles_are_unexplained() {
    let twin = || slave(device(0x1234_5678, *b"SMB", 1, 7), 20);
    let (found, events, _) = search_all(vec![twin(), twin()], Hex::Never);
    assert!(found.is_empty());
    let last = events.iter().rev().nth(1);
    assert!(matches!(last, Some(Event::Unexplained(_))));
}

/// A byte of garbage before E5 does not hide a slave.
#[test]
fn garbage_around_an_acknowledgement_is_no_collision_yet() {
    for garbage in [vec![0xff], vec![0x00, 0x68]] {
        let mut noisy = slave(device(0x1234_5678, *b"SMB", 1, 7), 20);
        noisy.faults.garbage = garbage;
        let mut bus = Bus::new(vec![noisy]);
        let mut search = Search::new(config(), Mask::ANY, Hex::Never);
        // The selection is noisy; the answer is clean.
        let line = search.poll_transmit(Nanos(0)).unwrap();
        let mut now = Nanos(0);
        for byte in line {
            now = now + BAUD.characters(1);
            bus.handle_input(now, BAUD.baud, byte);
        }
        now = bus.poll_timeout().unwrap();
        for heard in bus.poll_receive(now, BAUD.baud) {
            now = heard.at;
            search.handle_input(now, heard.byte);
        }
        bus.slaves_mut()[0].faults = slave::Faults::default();
        now = search.poll_timeout().unwrap();
        search.handle_timeout(now);
        let (events, _) = run(&mut bus, search);
        assert_eq!(found(&events).len(), 1);
    }
}

#[test]
fn a_search_can_be_given_up() {
    let mut search = Search::new(config(), Mask::ANY, Hex::Always);
    assert!(search.poll_transmit(Nanos(0)).is_some());
    search.abort();
    assert!(search.is_over());
    assert_eq!(search.poll_timeout(), None);
    assert_eq!(search.poll_transmit(Nanos(1)), None);
}

fn send(bus: &mut Bus, now: &mut Nanos, rate: u32, line: &[u8]) -> Vec<(usize, slave::Event)> {
    let timing = Timing::at(rate);
    let mut events = Vec::new();
    for byte in line {
        *now = *now + timing.characters(1);
        events.extend(bus.handle_input(*now, rate, *byte));
    }
    events
}

/// Equal acknowledgements at the same time are one; later ones, and other bytes, are garbage.
#[test]
fn overlaps_merge_as_on_a_wire() {
    let reset = Frame::Short {
        control: 0x40,
        address: 0xfe,
    }
    .encode()
    .unwrap();
    let heard = |delays: [u64; 2]| {
        let slaves = delays.map(|delay| slave(device(1, *b"SMB", 1, 7), delay));
        let mut bus = Bus::new(slaves.into());
        let mut now = Nanos(0);
        send(&mut bus, &mut now, BAUD.baud, &reset);
        let due = bus.poll_timeout().unwrap();
        bus.poll_receive(due, BAUD.baud)
    };
    let clean: Vec<_> = heard([20, 20]);
    assert_eq!(clean.len(), 1);
    assert_eq!((clean[0].byte, clean[0].damaged), (0xe5, false));
    let apart = heard([20, 22]);
    assert!(apart.len() != 1 || apart[0].byte != 0xe5 || apart[0].damaged);
    // One after the other both are whole, in two pieces.
    assert_eq!(heard([20, 60]).len(), 1);

    // Two different characters at once: the marks both have remain.
    let mut both = Vec::new();
    for (bytes, parity) in [([0x0f, 0x3f], false), ([0x01, 0x02], true)] {
        let mut bus = Bus::new(bytes.map(|_| slave(device(1, *b"SMB", 1, 7), 20)).into());
        let mut now = Nanos(0);
        let request = b"\x10\x5b\xfe\x59\x16";
        assert_eq!(send(&mut bus, &mut now, BAUD.baud, request).len(), 2);
        for (slave, byte) in bus.slaves_mut().iter_mut().zip(bytes) {
            slave.respond_raw(vec![byte]);
        }
        let due = bus.poll_timeout().unwrap();
        let heard = bus.poll_receive(due, BAUD.baud);
        assert_eq!(heard[0].byte, bytes[0] & bytes[1]);
        assert_eq!(heard[0].damaged, parity, "{bytes:02x?}");
        both.push(heard);
    }
}

/// A slave takes its new rate behind the acknowledgement, and the old one when nobody follows.
#[test]
fn rates_change_and_fall_back() {
    let mut bus = Bus::new(vec![slave(device(1, *b"SMB", 1, 7), 20)]);
    let mut now = Nanos(0);
    let faster = Command::SetBaud(9600).frame(0, false).unwrap();
    assert_eq!(send(&mut bus, &mut now, 2400, &faster).len(), 1);
    now = bus.poll_timeout().unwrap();
    assert_eq!(bus.slaves_mut()[0].rate(now), 2400);
    let heard = bus.poll_receive(now, 2400);
    assert_eq!(heard.len(), 1);
    now = heard[0].at;
    assert_eq!(bus.slaves_mut()[0].rate(now), 9600);

    let reset = b"\x10\x40\x00\x40\x16";
    assert!(send(&mut bus, &mut now, 2400, reset).is_empty());
    let mut kept = bus.clone();
    assert_eq!(send(&mut kept, &mut now, 9600, reset).len(), 1);
    let later = now + Slave::RATE_TRIAL;
    assert_eq!(kept.slaves_mut()[0].rate(later), 9600);
    assert_eq!(bus.slaves_mut()[0].rate(later), 2400);
}

/// What a search says of a device is what a selection of it is answered by.
#[test]
fn masks_name_devices() {
    let device = device(0x1234_5678, *b"SMB", 1, 7);
    let mask = Mask::of(&device);
    assert_eq!(mask.device(), Some(device));
    assert!(mask.matches(&device) && Mask::ANY.matches(&device));
    assert_eq!(Mask::ANY.device(), None);
    let other = Mask { version: 2, ..mask };
    assert!(!other.matches(&device));
    assert_eq!(Mask::from_bytes(mask.to_bytes()), mask);
}
