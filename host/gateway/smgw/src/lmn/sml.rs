// SPDX-License-Identifier: MIT OR Apache-2.0
//! A meter that pushes SML telegrams.

use std::io;

use serialport::SerialPort;
use smgw_core::{GapReason, Reading};
use smgw_sml::transport::{Event, Framer};
use smgw_sml::{File, Quirks};
use smgw_units::UtcNanos;
use tracing::debug;

use super::{Line, as_nanos, as_utc};
use crate::measuring::LineEventKind;

/// Listens until the gateway stops.
///
/// # Errors
/// When the port is lost.
pub fn listen(line: &Line, server_id: &[u8], port: &mut dyn SerialPort) -> io::Result<()> {
    let mut framer = Framer::new();
    let mut buffer = [0; 512];
    let mut last_byte = line.clock.now();
    // When the first byte came that has not led to anything yet.
    let mut unexplained: Option<UtcNanos> = None;
    while !line.stopping() {
        let silent = match super::read(&line.clock, port, &mut buffer)? {
            Some((len, stamp)) => {
                unexplained.get_or_insert(stamp);
                let mut received = buffer.get(..len).unwrap_or_default();
                while let Some(event) = framer.feed(&mut received, as_nanos(stamp)) {
                    unexplained = None;
                    report(line, server_id, event);
                }
                last_byte = stamp;
                false
            }
            None => line.clock.now().signed_since(last_byte) > SILENCE,
        };
        // A silent line ends a telegram, and endless noise is told of while it lasts.
        let noise = framer.pending_since().is_none()
            && unexplained.is_some_and(|since| last_byte.signed_since(since) > NOISE);
        if (silent || noise)
            && let Some(event) = framer.flush()
        {
            unexplained = None;
            report(line, server_id, event);
        }
    }
    Ok(())
}

fn report(line: &Line, server_id: &[u8], event: Event<'_>) {
    match event {
        Event::File { payload, first, .. } => {
            line.report_telegram(as_utc(first), judge(server_id, payload));
        }
        Event::Discarded {
            bytes,
            first,
            reason,
            ..
        } => {
            debug!(meter = %line.meter.id, bytes, %reason, "bytes discarded");
            let refused = LineEventKind::Refused {
                id: String::new(),
                reason: GapReason::BadTelegram,
            };
            line.report_telegram(as_utc(first), refused);
        }
    }
}

/// What a telegram with a good checksum amounts to.
fn judge(server_id: &[u8], payload: &[u8]) -> LineEventKind {
    let Ok(file) = File::parse(payload, Quirks::ALL) else {
        return LineEventKind::Refused {
            id: String::new(),
            reason: GapReason::BadTelegram,
        };
    };
    let id = file.transaction_id().map(super::hex).unwrap_or_default();
    if !file.is_intact() {
        return LineEventKind::Refused {
            id,
            reason: GapReason::BadTelegram,
        };
    }
    if file.server_id().is_some_and(|got| got != server_id) {
        return LineEventKind::Refused {
            id,
            reason: GapReason::WrongMeter,
        };
    }
    let readings = smgw_sml::readings(&file).map(|reading| Reading {
        obis: reading.obis,
        value: reading.value,
        unit: reading.unit,
        // The combined status word has room for 32 bits of the meter.
        meter_status: reading.status.unwrap_or(0) as u32,
    });
    LineEventKind::Telegram {
        id,
        readings: readings.collect(),
    }
}

/// How long a line is quiet before what is pending counts as ended, in nanoseconds.
const SILENCE: i64 = 250_000_000;
/// How long bytes may come without amounting to anything, in nanoseconds.
const NOISE: i64 = 1_500_000_000;
