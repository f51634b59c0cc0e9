// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters heard by radio (wireless M-Bus, OMS profile B; TR-03109-1 detail specifications §10): a receiver on a serial
//! line hands over what it hears, and only authentic telegrams whose counter rises count (catalogue rows LMR-02 to LMR-07).
//!
//! Nothing of a telegram is decrypted before its MAC is verified. Telegrams of meters nobody knows are the neighbours'
//! and leave no trace.

use std::io;
use std::path::Path;

use serialport::SerialPort;
use smgw_core::GapReason;
use smgw_lmn_keys::{CounterGuard, StoreWithin};
use smgw_units::{DeviceId, Nanos, UtcNanos};
use smgw_wmbus::stick::{Framer, Heard, Im871a};
use smgw_wmbus::{Body, FormatCache, Frame, Keys, MacCheck, Telegram, Verdict, control};
use tracing::{debug, error};

use super::{Line, mbus};
use crate::config::{MasterKey, Meter, Protocol};
use crate::measuring::LineEventKind;

/// A meter that a receiver hears.
#[derive(Clone, Debug)]
pub struct Radio {
    /// Number of the meter in the configuration.
    pub number: usize,
    meter: DeviceId,
    key: MasterKey,
    counter: CounterGuard,
    /// Where the store keeps its counter.
    fact: String,
}

/// The meters whose receiver is at `port`, with the counters that `stored` tells.
///
/// # Errors
/// Those of `stored`.
pub fn radios<E>(
    meters: &[Meter],
    port: &Path,
    mut stored: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<Radio>, E> {
    let mut radios = Vec::new();
    for (number, meter) in meters.iter().enumerate() {
        let Protocol::Wmbus { key } = &meter.protocol else {
            continue;
        };
        if meter.port != port {
            continue;
        }
        // A new master key begins a new count; the old one's stays, for the day it comes back.
        let fact = format!("wmbus-counter {} {}", meter.id, key.fingerprint());
        let last = stored(&fact)?.map(|bytes| match bytes.try_into() {
            Ok(bytes) => u32::from_be_bytes(bytes),
            Err(_) => {
                error!(meter = %meter.id, "the stored message counter is damaged: nothing of this meter counts");
                u32::MAX
            }
        });
        radios.push(Radio {
            number,
            meter: meter.id,
            key: key.clone(),
            counter: CounterGuard::new(last, StoreWithin::AT_ONCE),
            fact,
        });
    }
    Ok(radios)
}

/// Listens until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn listen(line: &Line, radios: &mut [Radio], port: &mut dyn SerialPort) -> io::Result<()> {
    let mut framer = Framer::new(Im871a);
    let mut buffer = [0; 512];
    let mut packets = Vec::new();
    let mut last_byte = line.clock.now();
    // When the packet under way began, and when the first byte came that belongs to none.
    let mut first = last_byte;
    let mut noise: Option<UtcNanos> = None;
    let mut told = 0;
    while !line.stopping() {
        let received = super::read(&line.clock, port, &mut buffer)?;
        if let Some((len, stamp)) = received {
            last_byte = stamp;
            for byte in buffer.iter().take(len) {
                if framer.pending() == 0 {
                    first = stamp;
                }
                framer.feed(&[*byte], |packet| packets.push(packet));
                for heard in packets.drain(..).filter_map(|packet| packet.heard()) {
                    handle(line, radios, &heard, first);
                }
                if framer.noise() > told {
                    noise.get_or_insert(first);
                }
            }
        }
        let silent = received.is_none() && line.clock.now().signed_since(last_byte) > SILENCE;
        if silent {
            if framer.pending() > 0 {
                noise.get_or_insert(first);
            }
            framer.idle();
        }
        // Endless noise is told of while it lasts.
        if let Some(since) = noise
            && (silent || last_byte.signed_since(since) > NOISE)
        {
            debug!(port = %line.meter.port.display(), bytes = framer.noise() - told, "bytes discarded");
            told = framer.noise();
            noise = None;
            line.report_to_all(since, || LineEventKind::Refused {
                id: String::new(),
                reason: GapReason::BadTelegram,
            });
        }
    }
    Ok(())
}

fn handle(line: &Line, radios: &mut [Radio], heard: &Heard, first: UtcNanos) {
    let Some((radio, telegram)) = sort(radios, heard) else {
        return;
    };
    let counter = telegram.counter();
    let judged = judge(radio, &telegram, line.clock.monotonic());
    if let (Some(counter), true) = (counter, judged.counts) {
        // Before the telegram: no value is ever in the store without the counter that keeps it from coming again.
        let event = LineEventKind::Counter {
            fact: radio.fact.clone(),
            counter,
        };
        line.report_of(radio.number, first, event);
    }
    let Some(outcome) = judged.outcome else {
        return;
    };
    let id = counter.map_or_else(String::new, |counter| format!("{counter:08x}"));
    let kind = match outcome {
        Ok(readings) => LineEventKind::Telegram { id, readings },
        Err(reason) => {
            debug!(meter = %radio.meter, %reason, verdict = %telegram.verdict, "telegram refused");
            LineEventKind::Refused { id, reason }
        }
    };
    let stamp = line.defects.receive_stamp(line.grid, first);
    line.report_of(radio.number, stamp, kind);
}

/// The meter a telegram is about, and the telegram opened by that meter's key if it is authentic; `None` for strangers.
fn sort<'a>(radios: &'a mut [Radio], heard: &Heard) -> Option<(&'a mut Radio, Telegram)> {
    let frame = Frame::decode(&heard.frame, heard.format).ok()?;
    // Formats of compact frames are not learnt: nobody has authenticated who taught them.
    let open = |keys: Keys| {
        let keys = keys.authentic_only();
        Telegram::of_frame(frame.clone(), &keys, &mut FormatCache::default()).ok()
    };
    let meter = open(Keys::new())?.meter()?;
    let radio = radios
        .iter_mut()
        .find(|radio| mbus::is_of(&meter, radio.meter))?;
    let telegram = open(Keys::all(radio.key.key().clone()))?;
    Some((radio, telegram))
}

struct Judged {
    /// Whether its counter was taken.
    counts: bool,
    /// `None` for what carries no data.
    outcome: Option<Result<Vec<smgw_core::Reading>, GapReason>>,
}

/// What a telegram of a known meter amounts to.
fn judge(radio: &mut Radio, telegram: &Telegram, now: Nanos) -> Judged {
    let refused = |counts, reason| Judged {
        counts,
        outcome: Some(Err(reason)),
    };
    if !control::from_meter(telegram.control()) || telegram.body == Body::Empty {
        return Judged {
            counts: false,
            outcome: None,
        };
    }
    // Messages in pieces are not put together.
    if telegram.verdict == Verdict::Fragment {
        return refused(false, GapReason::BadTelegram);
    }
    let allowed = telegram
        .tpl
        .is_some_and(|tpl| tpl.mode() == 7 && tpl.key_derivation() == 1 && tpl.blocks() > 0);
    let (Some(check), true) = (telegram.mac, allowed) else {
        return refused(false, GapReason::Unprotected);
    };
    let mac = telegram.afl.and_then(|afl| afl.mac);
    let long = mac.is_some_and(|mac| mac.len >= SHORTEST_MAC);
    let (MacCheck::Good, true, Some(counter)) = (check, long, telegram.counter()) else {
        return refused(false, GapReason::NotAuthentic);
    };
    if radio.counter.accept(counter, now).is_err() {
        return refused(false, GapReason::Replayed);
    }
    let medium = telegram.meter().map(|meter| meter.medium);
    let (Verdict::Authenticated, Some(medium)) = (telegram.verdict, medium) else {
        return refused(true, GapReason::BadTelegram);
    };
    let header = telegram.tpl.and_then(|tpl| tpl.header);
    let records = telegram.records().map(|record| record.map(|(_, it)| it));
    let status = header.map_or(0, |header| status_word(header.status));
    match mbus::readings(medium, status, records) {
        Some(readings) => Judged {
            counts: true,
            outcome: Some(Ok(readings)),
        },
        None => refused(true, GapReason::BadTelegram),
    }
}

/// The status byte of the transport layer in the meter's word: bits 24 to 31, counted from the other side (detail
/// specifications table 15.1). Error flags in records (EF1 to EF3) are not looked at.
const fn status_word(status: u8) -> u32 {
    (status.reverse_bits() as u32) << 24
}

/// In bytes: 64 bits are the least TR-03116-3 §7 allows.
const SHORTEST_MAC: usize = 8;
/// How long a line is quiet before what is pending counts as ended, in nanoseconds.
const SILENCE: i64 = 250_000_000;
/// How long bytes may come without amounting to anything, in nanoseconds.
const NOISE: i64 = 1_500_000_000;

#[cfg(test)]
mod tests {
    use smgw_mbus::{Data, Header, Manufacturer, NewRecord};
    use smgw_units::{Decimal, Obis};
    use smgw_wmbus::{CrcFormat, NewTelegram, Protection};

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";

    fn radio_with(stored: Option<Vec<u8>>) -> Radio {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), KEY).unwrap();
        let meter = Meter {
            id: "8smb0012345678".parse().unwrap(),
            protocol: Protocol::Wmbus {
                key: MasterKey::read(&folder.path().join("key")).unwrap(),
            },
            port: "/dev/null".into(),
            baud: 57_600,
            format: "8N1".parse().unwrap(),
            registers: Vec::new(),
        };
        let stored = |fact: &str| {
            assert!(fact.starts_with("wmbus-counter 8smb0012345678 "), "{fact}");
            Ok::<_, ()>(stored.clone())
        };
        let radios = radios(&[meter], Path::new("/dev/null"), stored).unwrap();
        radios.into_iter().next().unwrap()
    }

    fn radio(last: Option<u32>) -> Radio {
        radio_with(last.map(|last| last.to_be_bytes().to_vec()))
    }

    /// 12345 l of cold water under a counter, with a MAC of this kind (AT bits).
    fn frame(counter: u32, mac: u8) -> Heard {
        let sender = smgw_mbus::Device {
            id: [0x78, 0x56, 0x34, 0x12],
            manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
            version: 1,
            medium: 7,
        };
        let value = Data::Integer {
            value: 12_345,
            bytes: 4,
        };
        let records = NewRecord::new(&[0x13], value).encode().unwrap();
        let header = Header {
            device: None,
            access: 0,
            status: 0,
            config: 0,
        };
        let radio = radio(None);
        let mut telegram = NewTelegram::new(sender, header, &records);
        telegram.protection = Protection::B {
            key: radio.key.key(),
            counter,
            mac,
            length: false,
            key_information: None,
        };
        Heard::stripped(telegram.encode(CrcFormat::Stripped).unwrap())
    }

    /// `None` for strangers and for what carries no data, else the volume or the reason.
    fn volume(radio: Radio, heard: &Heard) -> Option<Result<Option<Decimal>, GapReason>> {
        let mut radios = [radio];
        let (radio, telegram) = sort(&mut radios, heard)?;
        let outcome = judge(radio, &telegram, Nanos(0)).outcome?;
        Some(outcome.map(|readings| {
            let volume = Obis([8, 0, 1, 0, 0, 255]);
            let found = readings.iter().find(|reading| reading.obis == volume);
            found.map(|reading| reading.value)
        }))
    }

    #[test]
    fn a_telegram_counts_when_its_counter_rises() {
        let value = Some(Ok(Some(Decimal::new(12_345, -3))));
        assert_eq!(volume(radio(None), &frame(0, 5)), value);
        assert_eq!(volume(radio(Some(6)), &frame(7, 5)), value);
        for counter in [5, 6] {
            let refused = volume(radio(Some(6)), &frame(counter, 5));
            assert_eq!(refused, Some(Err(GapReason::Replayed)));
        }
        let short = volume(radio(None), &frame(7, 4));
        assert_eq!(short, Some(Err(GapReason::NotAuthentic)));
    }

    #[test]
    fn no_changed_bit_changes_the_value() {
        let genuine = frame(7, 5);
        let value = Decimal::new(12_345, -3);
        let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
        for bit in 0..8 * genuine.frame.len() {
            let mut heard = genuine.clone();
            heard.frame[bit / 8] ^= 1 << (bit % 8);
            let outcome = volume(radio(Some(6)), &heard);
            if let Some(Ok(Some(found))) = outcome {
                // Length, version and the like are not what the meter authenticates.
                assert_eq!(found, value, "bit {bit}");
            }
            *outcomes.entry(format!("{outcome:?}")).or_default() += 1;
        }
        let refused = outcomes.get("Some(Err(NotAuthentic))").copied();
        assert!(refused.is_some_and(|count| count > 200), "{outcomes:?}");
    }

    #[test]
    fn a_damaged_counter_lets_nothing_in() {
        let refused = volume(radio_with(Some(vec![1])), &frame(u32::MAX, 5));
        assert_eq!(refused, Some(Err(GapReason::Replayed)));
    }

    #[test]
    fn a_permanent_error_is_bit_28_of_the_meters_word() {
        assert_eq!(status_word(1 << 3), 1 << 28);
        assert_eq!(status_word(1 << 4), 1 << 27);
        assert_eq!(status_word(1 << 2), 1 << 29);
        assert_eq!(status_word(1), 1 << 31);
    }
}
