// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a consumer reads from the HAN interface, parsed independently of the gateway that wrote it.
//!
//! Layouts: `docs/gateway.md`; the published specification leaves them open (assumption `han-json`).

use jiff::Timestamp;
use serde::Deserialize;
use smgw_units::{Decimal, UtcNanos};

/// Value lists of one meter.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueLists {
    /// 14 characters.
    pub meter_id: String,
    /// Seconds.
    pub registration_period: u64,
    /// One per OBIS code.
    pub lists: Vec<ValueList>,
}

/// One original value list.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValueList {
    /// `<obis hex>.<meter>.sm`.
    pub logical_name: String,
    /// `A-B:C.D.E*F`.
    pub obis: String,
    /// Oldest first.
    pub entries: Vec<Entry>,
}

/// One grid point: a value or a gap.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// The grid point, ISO 8601.
    pub target_time: Timestamp,
    /// When the value was received; none for a gap.
    pub capture_time: Option<Timestamp>,
    /// Integer mantissa; none for a gap.
    pub value: Option<String>,
    /// Power of ten; none for a gap.
    pub scaler: Option<i8>,
    /// DLMS unit code; none for a gap.
    pub unit: Option<u8>,
    /// 16 hex digits, each 32-bit word least significant bit first.
    pub status: String,
    /// Reason of a gap.
    pub gap: Option<String>,
    /// Inner signature, plain `r || s` in hex; none for a gap.
    pub signature: Option<String>,
}

/// What one evaluation derived.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DerivedLists {
    /// Name of the evaluation.
    pub evaluation: String,
    /// Seconds.
    pub registration_period: u64,
    /// One per register.
    pub lists: Vec<ValueList>,
}

/// Bit 13 of the gateway's status word: no value in the window.
pub const STATUS_NO_VALUE: u32 = 1 << 13;
/// Bits 0 and 2 of the gateway's status word are always set.
pub const STATUS_IDENTIFICATION: u32 = 0b101;

impl Entry {
    /// The grid point.
    pub fn target(&self) -> UtcNanos {
        utc(self.target_time)
    }

    /// The exact register value, if the entry is no gap and its mantissa is an integer.
    pub fn decimal(&self) -> Option<Decimal> {
        let mantissa = self.value.as_deref()?.parse().ok()?;
        Some(Decimal::new(mantissa, self.scaler?))
    }

    /// What the inner signature must cover if the value were greater by `more` units of its last digit
    /// (assumption `inner-signature-encoding`); none for a gap.
    pub fn signed_bytes(&self, logical_name: &str, more: i128) -> Option<Vec<u8>> {
        let (gateway, meter) = self.status_words()?;
        let mantissa: i128 = self.value.as_deref()?.parse().ok()?;
        let mut bytes = logical_name.as_bytes().to_vec();
        bytes.extend_from_slice(&gateway.to_be_bytes());
        bytes.extend_from_slice(&meter.to_be_bytes());
        bytes.extend_from_slice(&self.capture_time?.as_second().to_be_bytes());
        bytes.extend_from_slice(&mantissa.checked_add(more)?.to_be_bytes());
        bytes.extend_from_slice(&self.scaler?.to_be_bytes());
        bytes.push(self.unit?);
        Some(bytes)
    }

    /// The inner signature.
    pub fn signature_bytes(&self) -> Option<Vec<u8>> {
        let text = self.signature.as_deref()?;
        let digit = |at| {
            text.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        (0..text.len()).step_by(2).map(digit).collect()
    }

    /// The gateway's and the meter's status word; none when the text is malformed.
    pub fn status_words(&self) -> Option<(u32, u32)> {
        if self.status.len() != 16 || !self.status.is_ascii() {
            return None;
        }
        let (gateway, meter) = self.status.split_at(8);
        let word = |text| u32::from_str_radix(text, 16).ok().map(u32::reverse_bits);
        Some((word(gateway)?, word(meter)?))
    }

    /// Whether the entry says "no value" in every respect, or contradicts itself (the reason).
    pub fn gap(&self) -> Result<bool, String> {
        let (gateway, _) = self
            .status_words()
            .ok_or_else(|| format!("status {:?} is not 16 hex digits", self.status))?;
        if gateway & STATUS_IDENTIFICATION != STATUS_IDENTIFICATION {
            return Err(format!(
                "status {} lacks the identification bits 0 and 2",
                self.status
            ));
        }
        match (gateway & STATUS_NO_VALUE != 0, self.value.is_some()) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            (true, true) => Err("a value although status bit 13 says none".to_owned()),
            (false, false) => Err("no value although status bit 13 is clear".to_owned()),
        }
    }
}

/// Receptions of one meter, as the service technician reads them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receptions {
    /// 14 characters.
    pub meter_id: String,
    /// Oldest first.
    pub receptions: Vec<Reception>,
}

/// One received telegram: when, never what.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reception {
    /// Transaction id or access number in hex.
    pub telegram: String,
    /// ISO 8601 with fraction.
    pub received_at: Timestamp,
    /// `ok` or a gap reason.
    pub outcome: String,
}

/// A time stamp on our own scale.
pub fn utc(stamp: Timestamp) -> UtcNanos {
    UtcNanos(i64::try_from(stamp.as_nanosecond()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: Option<&str>, status: &str) -> Entry {
        Entry {
            target_time: "2026-11-21T20:00:00Z".parse().unwrap(),
            capture_time: None,
            value: value.map(str::to_owned),
            scaler: value.map(|_| -4),
            unit: value.map(|_| 30),
            status: status.to_owned(),
            gap: None,
            signature: None,
        }
    }

    #[test]
    fn status_text_is_least_significant_bit_first() {
        // VDE 1.43: bits 0 and 2 of the gateway word, bit 2 of the meter word.
        let words = entry(None, "a000000020000000").status_words();
        assert_eq!(words, Some((0b101, 0b100)));
    }

    #[test]
    fn an_entry_may_not_contradict_itself() {
        assert_eq!(entry(Some("5"), "a000000000000000").gap(), Ok(false));
        assert_eq!(entry(None, "a004000000000000").gap(), Ok(true));
        assert!(entry(None, "a000000000000000").gap().is_err());
        assert!(entry(Some("5"), "a004000000000000").gap().is_err());
        assert!(entry(Some("5"), "0000000000000000").gap().is_err());
        assert!(entry(Some("5"), "a0").gap().is_err());
    }

    #[test]
    fn values_keep_every_digit() {
        let value = entry(Some("9223372036854775808"), "a000000000000000").decimal();
        assert_eq!(value, Some(Decimal::new(9_223_372_036_854_775_808, -4)));
    }
}
