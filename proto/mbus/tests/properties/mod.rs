// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any bytes: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use std::time::Duration;

use smgw_mbus::{
    Bus, Command, Device, Event, Frame, Framer, Manufacturer, Mask, Master, Profile, Readout,
    Records, Search, Slave, Telegram, Timing, master, obis, search, slave,
};
use smgw_units::Nanos;

/// Every byte of a line is accounted for, and every frame is written as it was read.
pub fn frame(line: &[u8]) {
    let mut framer = Framer::new(Duration::from_secs(1));
    let mut counted = 0;
    for (at, byte) in line.iter().enumerate() {
        match framer.push(*byte, Nanos(at as u64)) {
            Some(Event::Frame { bytes, noise, .. }) => {
                counted += bytes.len() + noise;
                let frame = Frame::parse(bytes).expect("the framer checks frames");
                assert_eq!(frame.encode().as_deref(), Ok(bytes));
                if let Ok(telegram) = Telegram::parse(bytes) {
                    assert!(telegram.records().count() <= bytes.len());
                }
            }
            Some(Event::Discarded { bytes, .. }) => counted += bytes,
            None => {}
        }
    }
    if let Some(Event::Discarded { bytes, .. }) = framer.idle(Nanos(u64::MAX)) {
        counted += bytes;
    }
    assert_eq!(counted, line.len());
}

/// Records end, stay inside their bytes, and map without a panic.
pub fn records(data: &[u8]) {
    let mut records = Records::new(data);
    let mut taken = 0;
    while let Some(Ok(record)) = records.next() {
        taken += record.data.len() + 2;
        let read = data.get(..records.offset()).unwrap_or_default();
        let written = record.encode().expect("what was read can be written");
        assert!(read.ends_with(&written), "{written:02x?} of {read:02x?}");
        if let Some(profile) = Profile::of(&record) {
            assert!(profile.values(Some(0)).count() <= record.data.len());
        }
        let _ = (
            record.decimal(),
            record.bits(),
            record.is_valid(),
            record.vib.counted_in(),
        );
        for medium in [2, 3, 4, 6, 7, 10] {
            let _ = obis::reading(medium, &record);
        }
        let _ = record.vib.combinable().count();
    }
    if let Some(failure) = records.failure() {
        assert!(failure.record <= failure.offset && failure.offset <= data.len());
    }
    taken += records
        .trailer()
        .map_or(0, |trailer| trailer.data.len() + 1);
    assert!(taken <= data.len());
}

/// Commands lose nothing, a slave and a bus answer within the window, and a readout stays bounded.
pub fn slave(line: &[u8]) {
    if let Some((&ci, data)) = line.split_first() {
        let written = Command::parse(ci, data).encode();
        assert_eq!(written, Ok((ci, data.to_vec())));
    }
    let mut readout = Readout::new();
    let _ = (readout.push(line), readout.records().count());
    let timing = Timing::at(2400);
    let device = Device {
        id: [0x78, 0x56, 0x34, 0x12],
        manufacturer: Manufacturer(0x4c42),
        version: 1,
        medium: 2,
    };
    let mut slave = Slave::new(slave::Config {
        address: 1,
        device,
        timing,
        delay: Duration::from_millis(20),
    });
    slave.alarm = line.first().copied();
    let mut bus = Bus::new(vec![slave.clone(), slave]);
    let mut now = Nanos(0);
    for byte in line {
        now = now + timing.characters(1);
        let events = bus.handle_input(now, timing.baud, *byte);
        for (index, event) in events {
            if let slave::Event::DataRequested { telegram } = event {
                bus.slaves_mut()[index].respond_part(0, &[line, &[]], telegram);
            }
        }
        if let Some(due) = bus.poll_timeout() {
            assert!(due <= now + timing.latest_answer());
            let heard = bus.poll_receive(due, timing.baud);
            assert!(heard.len() <= 2 * Frame::MAX_LEN + 2);
        }
    }
}

/// Whatever a line brings, master and search come to an end and send good frames only.
pub fn master(line: &[u8]) {
    let timing = Timing::at(9600);
    let config = master::Config {
        echo: line.first().is_some_and(|byte| byte & 1 == 1),
        ..master::Config::new(1, timing)
    };
    let mut master = Master::new(config);
    let mut search = Search::new(config, Mask::ANY, search::Hex::Never);
    for (task, part) in line.chunks(40).enumerate() {
        match task % 4 {
            0 => master.request(),
            1 => master.reset(),
            2 => master.read(),
            _ => master
                .command(&Command::SetBaud(2400))
                .expect("a rate of the standard"),
        }
        let mut now = Nanos(task as u64 * 1_000_000_000_000);
        let mut bytes = part.iter();
        for _ in 0..100 {
            for sent in [master.poll_transmit(now), search.poll_transmit(now)] {
                assert!(sent.is_none_or(|sent| Frame::parse(&sent).is_ok()));
            }
            for byte in bytes.by_ref().take(8) {
                now = now + timing.characters(1);
                if *byte == 0xff {
                    master.handle_damaged(now);
                    search.handle_damaged(now);
                } else {
                    master.handle_input(now, *byte);
                    search.handle_input(now, *byte);
                }
            }
            let due = [master.poll_timeout(), search.poll_timeout()];
            now = due.into_iter().flatten().min().unwrap_or(now).max(now);
            master.handle_timeout(now);
            search.handle_timeout(now);
            let _ = (master.poll_event(), search.poll_event());
        }
        assert!(master.is_idle());
    }
}
