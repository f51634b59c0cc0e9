// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the inner signature of an original value covers: logical name, status, capture time, value, scaler and unit,
//! in this order (VDE §7.1 after the FNN specification; the encoding of each part is assumed:
//! `inner-signature-encoding` in rigs/assumptions.toml).

use smgw_units::DeviceId;

use crate::list::{Content, Entry, LogicalName};

/// The bytes to be hashed and signed; `None` for a gap, which has no value to vouch for.
///
/// Logical name as ASCII; gateway status, meter status: 4 bytes each; capture time: seconds since 1970, 8 bytes; value:
/// 16 bytes two's complement; scaler: 1 byte two's complement; unit: 1 byte. Numbers are big endian.
pub fn inner_signature_input(meter: DeviceId, entry: &Entry) -> Option<Vec<u8>> {
    let Content::Value {
        capture,
        value,
        unit,
    } = entry.content
    else {
        return None;
    };
    let obis = entry.obis;
    let mut input = LogicalName { obis, meter }.to_string().into_bytes();
    input.extend(entry.status.gateway.to_be_bytes());
    input.extend(entry.status.meter.to_be_bytes());
    input.extend(capture.seconds().to_be_bytes());
    input.extend(value.mantissa.to_be_bytes());
    input.extend(value.exponent.to_be_bytes());
    input.push(unit.0);
    Some(input)
}

#[cfg(test)]
mod tests {
    use smgw_units::{Decimal, Obis, Unit, UtcNanos};

    use super::*;
    use crate::status::CombinedStatus;

    #[test]
    fn every_part_stands_at_its_place() {
        let entry = Entry {
            obis: Obis::IMPORT_TOTAL,
            target: UtcNanos::from_seconds(900),
            status: CombinedStatus::of_value(4),
            content: Content::Value {
                capture: UtcNanos::from_seconds(901),
                value: Decimal::new(-2, -4),
                unit: Unit::WATT_HOUR,
            },
        };
        let meter = "1smb0000000001".parse().unwrap();
        let input = inner_signature_input(meter, &entry).unwrap();
        let (name, numbers) = input.split_at(input.len() - 34);
        assert_eq!(name, b"0100010800ff.1smb0000000001.sm");
        let expected = "00000005 00000004 0000000000000385 fffffffffffffffffffffffffffffffe fc 1e";
        let hex: String = numbers.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
        let gap = Entry {
            content: Content::Gap(crate::GapReason::NoAnswer),
            ..entry
        };
        assert_eq!(inner_signature_input(meter, &gap), None);
    }
}
