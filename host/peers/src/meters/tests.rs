// SPDX-License-Identifier: MIT OR Apache-2.0
//! Played meters, read over their lines the way a gateway reads them.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serialport::{DataBits, Parity, StopBits, TTYPort};
use smgw_mbus::{Master, Telegram, Timing, Value, master};
use smgw_sml::transport::{Discard, Event, Framer};
use smgw_sml::{File, Quirks, readings};
use smgw_units::{DeviceId, Nanos, Obis, UtcNanos};

use super::*;

fn device() -> DeviceId {
    "1smb0000000001".parse().unwrap()
}

/// Bench time and UTC by an arbitrary but fixed difference.
fn grid() -> Grid {
    Grid {
        bench: Nanos(0),
        utc: UtcNanos::from_seconds(1_700_000_000),
    }
}

fn open(path: &std::path::Path, baud: u32, parity: Parity) -> TTYPort {
    serialport::new(path.to_string_lossy(), baud)
        .data_bits(DataBits::Eight)
        .parity(parity)
        .stop_bits(StopBits::One)
        .timeout(Duration::from_millis(20))
        .open_native()
        .unwrap()
}

/// What a gateway's end of the line saw.
#[derive(Debug)]
enum Heard {
    File {
        payload: Vec<u8>,
        first: Nanos,
        last: Nanos,
        bytes: usize,
    },
    Lost(usize, Discard),
}

/// Listens until `enough` files or losses were heard, or `deadline`; or the line hangs up.
fn listen(port: &mut TTYPort, enough: usize, deadline: Nanos) -> Vec<Heard> {
    let mut framer = Framer::new();
    let mut heard = Vec::new();
    let mut buffer = [0; 256];
    while heard.len() < enough && Clock::now() < deadline {
        let count = match port.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => continue,
            Err(_) => break,
        };
        let at = Clock::now();
        for byte in &buffer[..count] {
            match framer.push(*byte, at) {
                Some(Event::File {
                    payload,
                    first,
                    last,
                    bytes,
                    ..
                }) => heard.push(Heard::File {
                    payload: payload.to_vec(),
                    first,
                    last,
                    bytes,
                }),
                Some(Event::Discarded { bytes, reason, .. }) => {
                    heard.push(Heard::Lost(bytes, reason));
                }
                None => {}
            }
        }
    }
    heard
}

fn soon(seconds: u64) -> Nanos {
    Clock::now() + Duration::from_secs(seconds)
}

/// Hex transaction id, server id, and the import register of a file.
fn content(payload: &[u8]) -> (String, Vec<u8>, Option<i64>) {
    let file = File::parse(payload, Quirks::ALL).unwrap();
    assert!(file.is_intact());
    let id = file.transaction_id().unwrap();
    let import = readings(&file)
        .find(|reading| reading.obis == Obis::IMPORT_TOTAL)
        .map(|reading| reading.value.mantissa as i64);
    (
        id.iter().map(|byte| format!("{byte:02x}")).collect(),
        file.server_id().unwrap().to_vec(),
        import,
    )
}

#[derive(Default)]
struct Recorder {
    bytes: Mutex<Vec<(Direction, Nanos, Vec<u8>)>>,
    telegrams: Mutex<Vec<FrameStamp>>,
}

impl Tap for Recorder {
    fn bytes(&self, direction: Direction, at: Nanos, bytes: &[u8]) {
        let mut seen = self.bytes.lock().unwrap();
        seen.push((direction, at, bytes.to_vec()));
    }

    fn telegram(&self, stamp: &FrameStamp) {
        self.telegrams.lock().unwrap().push(stamp.clone());
    }
}

#[test]
fn scheduled_pushes_come_on_time_at_the_pace_of_the_line() {
    let recorder = Arc::new(Recorder::default());
    let mut config = SmlConfig::new(device(), grid());
    config.line.baud = 19_200;
    let meter = SmlPushMeter::start(config, Some(recorder.clone())).unwrap();
    meter.schedule(Vec::new());
    let mut port = open(meter.path(), 19_200, Parity::None);
    let start = Clock::now() + Duration::from_millis(100);
    let instants = [start, start + Duration::from_millis(400)];
    meter.schedule(instants.to_vec());
    let heard = listen(&mut port, 2, soon(5));
    let stamps = meter.wait_for_telegrams(2, soon(5));
    assert_eq!((heard.len(), stamps.len()), (2, 2));

    let mut previous = None;
    for ((heard, stamp), instant) in heard.iter().zip(&stamps).zip(instants) {
        let Heard::File {
            payload,
            first,
            last,
            bytes,
        } = heard
        else {
            panic!("{heard:?}");
        };
        let (id, server, import) = content(payload);
        assert_eq!(id, stamp.telegram);
        assert_eq!(server, device().server_id());
        assert_eq!((stamp.scheduled, stamp.sampled_at), (instant, instant));
        assert_eq!(*bytes, stamp.bytes);
        assert!(stamp.delivered && !stamp.faulty);

        // Never ahead of a real line: the first character needs its time, and so does the whole.
        let character = config.line.characters(1);
        assert!(stamp.first >= instant + character);
        assert!(stamp.last >= instant + config.line.characters(*bytes));
        assert!(*first >= stamp.first && *last >= stamp.last);
        // And not far behind; generous, since the machine may be loaded.
        assert!(stamp.first.saturating_since(instant) < Duration::from_millis(200));

        let import = import.unwrap();
        assert_eq!(i128::from(import), stamp.registers[0].value.mantissa);
        let shown = config.import.instants(import).unwrap();
        assert!(shown.contains(&stamp.sampled_at), "{import} {shown:?}");
        assert!(previous < Some(id.clone()), "transaction ids rise");
        previous = Some(id);
    }

    let seen = recorder.bytes.lock().unwrap();
    let tapped: usize = seen.iter().map(|(.., bytes)| bytes.len()).sum();
    assert_eq!(tapped, stamps[0].bytes + stamps[1].bytes);
    assert_eq!(
        (seen[0].0, seen[0].1),
        (Direction::FromMeter, stamps[0].first)
    );
    assert_eq!(*recorder.telegrams.lock().unwrap(), stamps);
}

#[test]
fn periodic_pushes_keep_to_the_utc_grid() {
    let mut config = SmlConfig::new(device(), grid());
    config.line.baud = 115_200;
    config.period = Duration::from_millis(100);
    config.phase = 30_000_000;
    let meter = SmlPushMeter::start(config, None).unwrap();
    let stamps = meter.wait_for_telegrams(3, soon(5));
    assert!(stamps.len() >= 3);
    for stamp in &stamps {
        // Bench zero is a UTC second here.
        assert_eq!(stamp.scheduled.0 % 100_000_000, 30_000_000);
        assert!(!stamp.delivered, "nobody listens");
    }
    // The empty schedule lets the telegram under way end before pausing is put to the test.
    meter.schedule(Vec::new());
    let quiet = meter.telegrams().len();
    let before = meter
        .wait_for_telegrams(quiet + 2, Clock::now() + Duration::from_millis(200))
        .len();
    assert!(before <= quiet + 1);
    meter.pause();
    let instant = Clock::now();
    meter.schedule(vec![instant]);
    let paused = meter.wait_for_telegrams(before + 1, instant + Duration::from_millis(100));
    assert_eq!(paused.len(), before);
    meter.resume();
    let after = meter.wait_for_telegrams(before + 1, soon(5));
    assert_eq!(after.len(), before + 1);
    assert_eq!(after[before].scheduled, instant);

    meter.only_at_grid(Duration::from_millis(500), -20_000_000);
    let before = meter.telegrams().len();
    let after = meter.wait_for_telegrams(before + 1, soon(5));
    assert_eq!(after[before].scheduled.0 % 500_000_000, 480_000_000);
}

#[test]
fn faults_hit_one_telegram_each() {
    let mut config = SmlConfig::new(device(), grid());
    config.line.baud = 115_200;
    let meter = SmlPushMeter::start(config, None).unwrap();
    meter.schedule(Vec::new());
    let other: DeviceId = "1abc0000000007".parse().unwrap();
    for fault in [
        SmlFault::GarbageBefore(vec![0xff; 9]),
        SmlFault::BadCrc,
        SmlFault::WrongServerId(other),
        SmlFault::MissingRegister(Obis::IMPORT_TOTAL),
        SmlFault::Duplicate,
        SmlFault::HalfFrame,
    ] {
        meter.inject(fault);
    }
    let mut port = open(meter.path(), 115_200, Parity::None);
    let start = Clock::now() + Duration::from_millis(50);
    meter.schedule(
        (0..7)
            .map(|n| start + Duration::from_millis(60 * n))
            .collect(),
    );
    // Noise, good, bad checksum, wrong id, missing, duplicate, half then restart, good.
    let heard = listen(&mut port, 8, soon(5));
    let stamps = meter.wait_for_telegrams(7, soon(5));
    let faulty: Vec<_> = stamps.iter().map(|stamp| stamp.faulty).collect();
    assert_eq!(faulty, [true, true, true, true, true, true, false]);

    let file = |at: usize| match &heard[at] {
        Heard::File { payload, .. } => content(payload),
        other => panic!("{at}: {other:?}"),
    };
    assert!(
        matches!(heard[0], Heard::Lost(9, Discard::Noise)),
        "{:?}",
        heard[0]
    );
    assert_eq!(file(1).0, stamps[0].telegram);
    assert!(
        matches!(heard[2], Heard::Lost(_, Discard::BadCrc)),
        "{:?}",
        heard[2]
    );
    assert_eq!(file(3).1, other.server_id());
    assert_eq!(file(4).2, None);
    assert_eq!(file(5), file(4));
    assert_eq!(stamps[4].telegram, stamps[3].telegram);
    assert!(
        matches!(heard[6], Heard::Lost(_, Discard::Restart)),
        "{:?}",
        heard[6]
    );
    assert_eq!(file(7).0, stamps[6].telegram);
}

#[test]
fn another_speed_hears_garbage() {
    let mut config = SmlConfig::new(device(), grid());
    config.line.baud = 115_200;
    let meter = SmlPushMeter::start(config, None).unwrap();
    meter.schedule(Vec::new());
    let mut port = open(meter.path(), 57_600, Parity::None);
    meter.schedule(vec![Clock::now() + Duration::from_millis(20)]);
    let stamps = meter.wait_for_telegrams(1, soon(5));
    assert!(!stamps[0].delivered);
    // Listen long enough for what was sent to be read; no file may come of it.
    let heard = listen(&mut port, 1, Clock::now() + Duration::from_millis(100));
    assert!(
        !heard
            .iter()
            .any(|heard| matches!(heard, Heard::File { .. })),
        "{heard:?}"
    );
}

#[test]
fn unplugging_hangs_up_and_reopening_works() {
    let mut config = SmlConfig::new(device(), grid());
    config.line.baud = 115_200;
    config.period = Duration::from_millis(100);
    let meter = SmlPushMeter::start(config, None).unwrap();
    for _ in 0..2 {
        let mut port = open(meter.path(), 115_200, Parity::None);
        let heard = listen(&mut port, 2, soon(5));
        assert!(
            heard
                .iter()
                .any(|heard| matches!(heard, Heard::File { .. })),
            "{heard:?}"
        );
    }
    let mut port = open(meter.path(), 115_200, Parity::None);
    meter.unplug();
    let deadline = soon(5);
    let mut buffer = [0; 64];
    let ended = loop {
        match port.read(&mut buffer) {
            Ok(0) => break true,
            Err(error) if error.kind() != std::io::ErrorKind::TimedOut => break true,
            _ if Clock::now() > deadline => break false,
            _ => {}
        }
    };
    assert!(ended, "the gateway's end saw nothing");
}

#[test]
fn meters_end_within_a_second() {
    let mut config = SmlConfig::new(device(), grid());
    // A telegram takes ten seconds at this speed.
    config.line.baud = 300;
    let meter = SmlPushMeter::start(config, None).unwrap();
    meter.schedule(vec![Clock::now()]);
    let bus = MbusSlaveMeter::start(MbusConfig::new(device(), 1), None).unwrap();
    let before = Clock::now();
    drop((meter, bus));
    assert!(Clock::now().saturating_since(before) < Duration::from_secs(1));
}

/// A master over a real port, in real time.
struct Bus {
    port: TTYPort,
    master: Master,
}

impl Bus {
    fn open(meter: &std::path::Path) -> Self {
        let timing = Timing {
            // The machine may be loaded.
            adapter_latency: Duration::from_millis(500),
            ..Timing::at(2400)
        };
        let mut config = master::Config::new(1, timing);
        config.gap = Duration::from_millis(200);
        Self {
            port: open(meter, 2400, Parity::Even),
            master: Master::new(config),
        }
    }

    fn request(&mut self) -> master::Event {
        self.master.request();
        let deadline = soon(20);
        let mut byte = [0];
        loop {
            assert!(Clock::now() < deadline, "the exchange never ends");
            if let Some(line) = self.master.poll_transmit(Clock::now()) {
                std::io::Write::write_all(&mut self.port, &line).unwrap();
            }
            match self.port.read(&mut byte) {
                Ok(1) => self.master.handle_input(Clock::now(), byte[0]),
                Ok(_) => panic!("hung up"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::TimedOut),
            }
            self.master.handle_timeout(Clock::now());
            if let Some(event) = self.master.poll_event() {
                return event;
            }
        }
    }
}

#[test]
fn bus_meter_answers_with_its_law() {
    let config = MbusConfig::new(device(), 1);
    let meter = MbusSlaveMeter::start(config, None).unwrap();
    let mut bus = Bus::open(meter.path());
    for access in 0..2u8 {
        let asked = Clock::now();
        let master::Event::Response {
            frame, first, last, ..
        } = bus.request()
        else {
            panic!("no answer");
        };
        let stamps = meter.wait_for_telegrams(usize::from(access) + 1, soon(5));
        let stamp = &stamps[usize::from(access)];
        let telegram = Telegram::parse(&frame).unwrap();
        assert_eq!(telegram.access(), Some(access));
        assert_eq!(stamp.telegram, format!("{access:02x}"));
        let header = telegram.header().unwrap().device.unwrap();
        assert_eq!(header.id_text().to_string(), "00000001");
        assert_eq!(header.manufacturer.to_string(), "SMB");
        let record = telegram.records().next().unwrap().unwrap();
        let Value::Integer(energy) = record.value else {
            panic!("{record:?}");
        };
        assert_eq!(record.decimal(), Some(stamp.registers[0].value));
        assert!(
            config
                .import
                .instants(energy)
                .unwrap()
                .contains(&stamp.sampled_at)
        );

        // The request's five characters, the delay, then one character after the other.
        assert!(stamp.sampled_at >= asked + config.line.characters(5));
        assert_eq!(stamp.scheduled, stamp.sampled_at + config.delay);
        assert!(first >= stamp.first && last >= stamp.last);
        assert!(stamp.last >= stamp.scheduled + config.line.characters(frame.len()));
    }
}

#[test]
fn bus_faults() {
    let meter = MbusSlaveMeter::start(MbusConfig::new(device(), 1), None).unwrap();
    let mut bus = Bus::open(meter.path());
    meter.inject(MbusFaults {
        bad_checksum: true,
        garbage: vec![0xff, 0x10],
        ..MbusFaults::default()
    });
    let master::Event::Response { frame, repeats, .. } = bus.request() else {
        panic!("no answer");
    };
    assert_eq!(repeats, 1);
    let stamps = meter.wait_for_telegrams(2, soon(5));
    assert_eq!(stamps.len(), 2);
    assert_eq!(
        stamps[0].telegram, stamps[1].telegram,
        "a repeat is the same telegram"
    );
    assert_eq!(Telegram::parse(&frame).unwrap().access(), Some(0));

    meter.set_faults(MbusFaults {
        silent: true,
        ..MbusFaults::default()
    });
    assert_eq!(bus.request(), master::Event::NoAnswer);
}

#[test]
fn replays_transmissions_and_frames() {
    let golden = include_bytes!("../../../../fixtures/sml/push.sml");
    let whole = smgw_sml::transport::encode(golden);
    // Begins inside a transmission, as captures do.
    let capture = [&whole[40..], &whole, &whole].concat();
    let recording = Recording::Sml {
        capture,
        pause: Duration::from_millis(50),
    };
    let line = LineConfig {
        baud: 115_200,
        format: Format::N81,
    };
    let meter = ReplayMeter::start(recording, line, false, None).unwrap();
    let mut port = open(meter.path(), 115_200, Parity::None);
    let heard = listen(&mut port, 3, soon(5));
    assert_eq!(heard.len(), 3);
    assert!(matches!(heard[0], Heard::Lost(bytes, Discard::Noise) if bytes == whole.len() - 40));
    assert_eq!(
        heard
            .iter()
            .filter(|heard| matches!(heard, Heard::File { payload, .. } if payload == golden))
            .count(),
        2
    );
    let stamps = meter.wait_for_telegrams(3, soon(5));
    assert_eq!(stamps[0].telegram, "");
    assert_eq!(stamps[1].telegram, "f12cad07");
    assert!(stamps[2].scheduled >= stamps[1].last + Duration::from_millis(50));

    let frame = include_bytes!("../../../../fixtures/mbus/rsp-ud.bin").to_vec();
    let recording = Recording::Mbus {
        frames: vec![frame.clone()],
        address: 1,
    };
    let meter = ReplayMeter::start(recording, LineConfig::MBUS, true, None).unwrap();
    let mut bus = Bus::open(meter.path());
    let master::Event::Response { frame: got, .. } = bus.request() else {
        panic!("no answer");
    };
    assert_eq!(got, frame);
    assert_eq!(meter.wait_for_telegrams(1, soon(5))[0].telegram, "2a");
}
