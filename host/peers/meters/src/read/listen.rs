// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listens to a line for every protocol that pushes, all at once.

use std::collections::VecDeque;
use std::time::Duration;

use smgw_iec62056::p1::Crc;
use smgw_iec62056::{Bcc, Discard as TextDiscard, Event as TextEvent, Framer as TextFramer};
use smgw_lmn_keys::{Key, StoreWithin};
use smgw_sml::transport::{Discard, Event, Framer};
use smgw_sml::{CrcKind, File, Quirks};
use smgw_units::Nanos;
use smgw_wmbus::stick::{Framer as StickFramer, Im871a};
use smgw_wmbus::{FormatCache, Frame, Keys, ReplayGuard, Telegram as Wireless, Verdict};

use super::decode::{self, Telegram};
use super::detect::{Counters, Report, Worker};
use crate::profile::Protocol;

/// One listener at one speed.
pub(super) struct Listener {
    sml: Option<Framer>,
    text: Option<TextFramer>,
    stick: Option<StickFramer<Im871a>>,
    keys: Keys,
    formats: FormatCache,
    replays: ReplayGuard,
    protocol: Option<Protocol>,
    /// A checksum was seen: telegrams without one are damaged from now on.
    checked: bool,
    last: Nanos,
    silence: Duration,
    telegrams: VecDeque<Telegram>,
    round_ended: bool,
}

impl Listener {
    /// Hears everything, or one protocol; `key` opens what comes by radio.
    pub(super) fn new(protocol: Option<Protocol>, key: Option<[u8; 16]>) -> Self {
        let wanted = |own| protocol.is_none_or(|protocol| protocol == own);
        Self {
            sml: wanted(Protocol::SmlPush).then(Framer::new),
            text: (wanted(Protocol::D0Push) || wanted(Protocol::P1))
                .then(|| TextFramer::new(SILENCE, MOST_TEXT)),
            stick: wanted(Protocol::Wmbus).then(|| StickFramer::new(Im871a)),
            keys: key.map(|key| Keys::all(Key::new(key))).unwrap_or_default(),
            formats: FormatCache::default(),
            replays: ReplayGuard::new(StoreWithin::AT_ONCE),
            protocol,
            checked: false,
            last: Nanos(0),
            silence: SILENCE,
            telegrams: VecDeque::new(),
            round_ended: false,
        }
    }

    /// A byte for the receiver stick's framer.
    fn hear(&mut self, at: Nanos, byte: u8, counters: &mut Counters) {
        let Some(stick) = &mut self.stick else { return };
        let mut heard = Vec::new();
        stick.feed(&[byte], |packet| heard.extend(packet.heard()));
        for heard in heard {
            let frame = Frame::decode(&heard.frame, heard.format).ok();
            let telegram = frame
                .and_then(|frame| Wireless::of_frame(frame, &self.keys, &mut self.formats).ok());
            let Some(telegram) = telegram else {
                counters.checksum_errors += 1;
                continue;
            };
            if self.refuses(&telegram, at) {
                counters.refused += 1;
            } else {
                self.telegrams.extend(decode::wireless(&telegram));
            }
        }
    }

    /// Whether a telegram says it is authentic and is not, or was there before.
    fn refuses(&mut self, telegram: &Wireless, at: Nanos) -> bool {
        match (telegram.verdict, telegram.meter()) {
            (Verdict::MacWrong | Verdict::TagWrong, _) => true,
            (Verdict::Authenticated, Some(meter)) => {
                if self.replays.counter(&meter).is_none() {
                    self.replays.admit(&meter, None);
                }
                self.replays.accept(telegram, at).is_err()
            }
            _ => false,
        }
    }
}

impl Worker for Listener {
    fn handle_input(&mut self, at: Nanos, byte: u8, counters: &mut Counters) {
        self.last = at;
        if let Some(event) = self.sml.as_mut().and_then(|framer| framer.push(byte, at)) {
            self.telegrams.extend(sml(event, counters));
        }
        self.hear(at, byte, counters);
        // Seven bits and parity are as long as eight bits without: the highest bit says nothing.
        if let Some(event) = self
            .text
            .as_mut()
            .and_then(|framer| framer.push(byte & 0x7f, at))
        {
            let telegram = text(event, self.protocol, &mut self.checked, counters);
            self.telegrams.extend(telegram);
        }
    }

    /// After a silence what was begun is given up.
    fn poll_timeout(&self) -> Option<Nanos> {
        let sml = self.sml.as_ref().and_then(Framer::pending_since);
        let sml = sml.map(|_| self.last + self.silence);
        let text = self.text.as_ref().and_then(TextFramer::deadline);
        [sml, text].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: Nanos, counters: &mut Counters) {
        if now.saturating_since(self.last) >= self.silence
            && let Some(sml) = &mut self.sml
            && sml.pending_since().is_some()
            && let Some(event) = sml.flush()
        {
            self.telegrams.extend(self::sml(event, counters));
        }
        if let Some(event) = self.text.as_mut().and_then(|framer| framer.idle(now)) {
            let telegram = text(event, self.protocol, &mut self.checked, counters);
            self.telegrams.extend(telegram);
        }
    }

    /// What is pushed is a round of its own.
    fn poll_report(&mut self) -> Option<Report> {
        if std::mem::take(&mut self.round_ended) {
            return Some(Report::RoundEnded);
        }
        let telegram = self.telegrams.pop_front()?;
        self.round_ended = true;
        Some(Report::Telegram(telegram))
    }
}

fn sml(event: Event<'_>, counters: &mut Counters) -> Option<Telegram> {
    match event {
        Event::File { payload, crc, .. } => {
            let Ok(file) = File::parse(payload, Quirks::ALL) else {
                counters.incomplete += 1;
                return None;
            };
            if !file.is_intact() {
                counters.checksum_errors += 1;
                return None;
            }
            let mut telegram = decode::sml(&file)?;
            if crc == CrcKind::Kermit {
                telegram
                    .remarks
                    .push("checksums are CRC-16/KERMIT, not CRC-16/X-25".to_owned());
            }
            Some(telegram)
        }
        Event::Discarded { bytes, reason, .. } => {
            match reason {
                Discard::Noise => counters.noise_bytes += bytes as u64,
                Discard::BadCrc => counters.checksum_errors += 1,
                _ => counters.incomplete += 1,
            }
            None
        }
    }
}

/// What a telegram in lines of text says; noise is counted by the framer for SML, which hears everything.
fn text(
    event: TextEvent<'_>,
    protocol: Option<Protocol>,
    checked: &mut bool,
    counters: &mut Counters,
) -> Option<Telegram> {
    let TextEvent::Telegram { telegram, .. } = event else {
        if let TextEvent::Discarded {
            reason: TextDiscard::Truncated | TextDiscard::Oversize,
            ..
        } = event
        {
            counters.incomplete += 1;
        }
        return None;
    };
    let crc = telegram.crc();
    let spoken = match (crc, telegram.block.bcc) {
        (Crc::Good | Crc::GoodUnpadded, _) => {
            *checked = true;
            Protocol::P1
        }
        (Crc::Wrong { .. }, _) | (_, Bcc::Wrong { .. }) => {
            counters.checksum_errors += 1;
            return None;
        }
        (Crc::Absent, _) if *checked => {
            counters.incomplete += 1;
            return None;
        }
        (Crc::Absent, _) => Protocol::D0Push,
    };
    if protocol.is_some_and(|protocol| protocol != spoken) {
        return None;
    }
    let line = telegram.identification.encode();
    let mut read = decode::readout(&line, &telegram.block);
    read.protocol = spoken;
    if crc == Crc::GoodUnpadded {
        read.remarks
            .push("the checksum lacks its leading zeros".to_owned());
    }
    if spoken == Protocol::D0Push && telegram.block.bcc == Bcc::Absent {
        read.remarks
            .push("no checksum protects these values".to_owned());
    }
    Some(read)
}

/// More than ten times what meters send.
const MOST_TEXT: usize = 16_384;
/// Inside a telegram no meter pauses for so long.
const SILENCE: Duration = Duration::from_millis(500);
