// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::time::Duration;

use smgw_hdlc::{
    Address, Discovery as _, DiscoveryConfig, Event, Frame, Framer, Llc, Negotiation,
    PlaceholderLayout, Primary, Profile, Secondary, Sender, SlotDiscovery, SlotParticipant,
    SymCodec as _, SymMaster, primary, secondary,
};
use smgw_lmn_keys::Key;
use smgw_units::Nanos;

/// Every byte of a line is in a frame, in a discard, or a flag; every frame is written as it was read.
pub fn frame(line: &[u8]) {
    for profile in [Profile::LMN, Profile::DLMS, Profile::SLOTTED] {
        let mut framer = Framer::new(profile, Duration::from_secs(1));
        let mut counted = 0;
        let mut take = |framer: &mut Framer| {
            while let Some(event) = framer.poll() {
                counted += match event {
                    Event::Frame {
                        frame,
                        bytes,
                        first,
                        last,
                    } => {
                        assert!(first < last);
                        assert_eq!(frame.encode(&profile).as_deref(), Ok(bytes));
                        assert_eq!(Frame::decode(&profile, bytes), Ok(frame));
                        let _ = (Llc::split(frame.info), Negotiation::decode(frame.info));
                        // The opening flag may be the closing one of the frame before.
                        bytes.len() - 1
                    }
                    Event::Discarded { bytes, .. } => bytes,
                };
            }
        };
        for (at, byte) in line.iter().enumerate() {
            framer.push(*byte, Nanos(at as u64));
            take(&mut framer);
        }
        framer.idle(Nanos(u64::MAX));
        take(&mut framer);
        assert_eq!(framer.deadline(), None);
        let flags = line.iter().filter(|byte| **byte == 0x7e).count();
        assert!(
            counted <= line.len() && line.len() <= counted + flags,
            "{counted}"
        );
    }
}

/// Both machines and the discovery take any bytes: they never answer more often than they are spoken to.
pub fn link(line: &[u8]) {
    let (gateway, meter) = (Address::lmn(1, 1), Address::lmn(1, 3));
    let mut first = Primary::new(primary::Config::new(Profile::LMN, gateway));
    let mut second = Secondary::new(secondary::Config::new(Profile::LMN, meter));
    let mut discovery = SlotDiscovery::new(DiscoveryConfig::default(), Nanos(0));
    let entry = smgw_hdlc::Entry::decode(&[7; 32]);
    let mut participant = SlotParticipant::new(DiscoveryConfig::default(), entry);
    first.connect(meter);
    let (mut sent, mut answers) = (0, 0);
    for (at, byte) in line.iter().enumerate() {
        let now = Nanos(at as u64 * 1_000_000);
        if first.poll_transmit(now).is_some() {
            sent += 1;
        }
        first.handle_timeout(now);
        first.handle_input(now, *byte);
        second.handle_input(now, *byte);
        let _ = discovery.poll_transmit(now);
        discovery.handle_timeout(now);
        while let Some(event) = first.poll_event() {
            if matches!(event, primary::Event::Connected { .. }) {
                let _ = first.send(meter, vec![7; 3000]);
            }
        }
        while second.poll_transmit().is_some() {
            answers += 1;
        }
        while second.poll_event().is_some() {}
        while discovery.poll_event().is_some() {}
    }
    assert!(sent <= line.len() + 1);
    // The shortest frame has eleven bytes, ten with a shared flag.
    assert!(answers <= line.len() / 10 + 1);
    let master = SymMaster::new(Key::new([7; 16]), b"meter");
    for short_mac in [false, true] {
        let layout = PlaceholderLayout { short_mac };
        if let Ok(message) = layout.open(&master, Sender::Meter, line) {
            assert_eq!(
                layout.seal(&master, Sender::Meter, &message).as_deref(),
                Ok(line)
            );
        }
    }
    if let Ok(frame) = Frame::decode(&Profile::SLOTTED, line) {
        discovery.handle_frame(Nanos(1_000_000), Nanos(2_000_000), &frame);
        participant.handle_frame(Nanos(1_000_000), &frame, line.len() as u32);
        while participant.poll_transmit(Nanos(u64::MAX)).is_some() {}
        discovery.handle_timeout(Nanos(u64::MAX));
        while discovery.poll_event().is_some() {}
    }
}
