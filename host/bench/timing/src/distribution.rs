// SPDX-License-Identifier: MIT OR Apache-2.0
//! Distributions of durations with exact counts, and what a quantile of them may claim.
//!
//! HdrHistogram at three significant digits from 1 ns to one hour. On disk a distribution is an
//! HdrHistogram interval log (`.hlog`, version 1.3) with V2 compressed payload, so that any
//! HdrHistogram viewer opens it. Quantiles of several runs are never averaged; histograms are merged.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use smgw_units::UtcNanos;

/// Durations in nanoseconds, kept to three significant digits. Longer than an hour counts as an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution {
    /// An empty distribution, about 250 KiB in memory whatever is recorded.
    pub fn new() -> Self {
        Self {
            histogram: Histogram::new_with_bounds(LOWEST, HIGHEST, DIGITS)
                .expect("the bounds are constants that satisfy the constructor"),
        }
    }

    /// Records one duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Records one duration given in nanoseconds.
    pub fn record_ns(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos.min(HIGHEST));
    }

    /// Adds all samples of another distribution.
    pub fn merge(&mut self, other: &Self) {
        self.histogram
            .add(&other.histogram)
            .expect("both histograms have the same constant bounds");
    }

    /// Number of samples.
    pub fn n(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Smallest sample in nanoseconds, 0 when empty.
    pub fn min(&self) -> u64 {
        self.histogram.min()
    }

    /// Median in nanoseconds.
    pub fn p50(&self) -> u64 {
        self.quantile(0.5)
    }

    /// 90th percentile in nanoseconds.
    pub fn p90(&self) -> u64 {
        self.quantile(0.9)
    }

    /// 99th percentile in nanoseconds.
    pub fn p99(&self) -> u64 {
        self.quantile(0.99)
    }

    /// 99.95th percentile in nanoseconds, the quantile meter makers state for the LMN.
    pub fn p99_95(&self) -> u64 {
        self.quantile(0.9995)
    }

    /// Largest sample in nanoseconds, 0 when empty.
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The smallest recorded value with at least the part `q` (0 to 1) of the samples at or below it.
    pub fn quantile(&self, q: f64) -> u64 {
        self.histogram
            .value_at_quantile(q.clamp(0.0, 1.0))
            .min(self.max())
    }

    /// Samples above `limit` nanoseconds. A sample that shares its bucket with the limit counts as
    /// above, so the number is never too small.
    pub fn exceedances(&self, limit: u64) -> u64 {
        if limit >= self.max() {
            return 0;
        }
        self.histogram
            .count_between(limit.saturating_add(1), HIGHEST)
    }

    /// What these samples allow to say about "the quantile `q` is at most `limit` nanoseconds".
    pub fn quantile_statement(&self, q: f64, limit: u64) -> QuantileStatement {
        let exceedances = self.exceedances(limit);
        QuantileStatement {
            q,
            n: self.n(),
            exceedances,
            confidence: quantile_confidence(self.n(), exceedances, q),
        }
    }

    /// Occupied buckets in ascending order: lowest and highest value in nanoseconds, and count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| {
            let value = step.value_iterated_to();
            (
                self.histogram.lowest_equivalent(value),
                self.histogram.highest_equivalent(value),
                step.count_at_value(),
            )
        })
    }

    /// An interval log with this one entry. `tag` names it (`,`, blanks and line breaks become `_`); values are
    /// nanoseconds and the log's maximum column is in milliseconds.
    pub fn to_hlog(&self, tag: &str, start: UtcNanos, length: Duration) -> String {
        let mut payload = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.histogram, &mut payload)
            .expect("writing to a vector does not fail");
        let tag: String = tag
            .chars()
            .map(|c| {
                if c == ',' || c.is_whitespace() || c.is_control() {
                    '_'
                } else {
                    c
                }
            })
            .collect();
        let start_s = start.0 as f64 / 1e9;
        format!(
            "#[Histogram log format version 1.3]\n\
             #[StartTime: {start_s:.3} (seconds since epoch), {start}]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n\
             Tag={tag},{start_s:.3},{:.3},{:.6},{}\n",
            length.as_secs_f64(),
            self.max() as f64 / 1e6,
            STANDARD.encode(payload)
        )
    }

    /// Reads the entries of an interval log written by [`Self::to_hlog`]. Anything else, hostile input
    /// included, is refused with bounded effort.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn from_hlog(text: &str) -> Result<Vec<HlogEntry>, HlogError> {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') || line.starts_with('"') {
                continue;
            }
            let bad = |what| HlogError {
                line: number + 1,
                what,
            };
            if entries.len() == MAX_ENTRIES {
                return Err(bad("too many entries"));
            }
            let mut fields = line.split(',');
            let mut field = fields.next().unwrap_or_default();
            let tag = match field.strip_prefix("Tag=") {
                Some(tag) => {
                    field = fields.next().unwrap_or_default();
                    tag.to_owned()
                }
                None => String::new(),
            };
            let numbers = [Some(field), fields.next(), fields.next()];
            if !numbers
                .iter()
                .all(|n| n.is_some_and(|n| n.parse::<f64>().is_ok()))
            {
                return Err(bad("expected start, length and maximum as numbers"));
            }
            let payload = match (fields.next(), fields.next()) {
                (Some(payload), None) => payload,
                _ => return Err(bad("expected exactly one histogram")),
            };
            let payload = STANDARD
                .decode(payload)
                .map_err(|_| bad("histogram is not base64"))?;
            let distribution = decode_v2(&payload).map_err(bad)?;
            entries.push(HlogEntry { tag, distribution });
        }
        Ok(entries)
    }
}

/// One entry of an interval log.
#[derive(Clone, Debug)]
pub struct HlogEntry {
    /// Its tag, empty when it has none.
    pub tag: String,
    /// The samples.
    pub distribution: Distribution,
}

/// An interval log that is not ours or is damaged.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct HlogError {
    /// Line number from 1.
    pub line: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// "The quantile q is at most the limit": how sure n samples make us.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileStatement {
    /// The quantile, 0 to 1.
    pub q: f64,
    /// Samples.
    pub n: u64,
    /// Samples above the limit.
    pub exceedances: u64,
    /// One-sided confidence, 0 to 1.
    pub confidence: f64,
}

impl QuantileStatement {
    /// Whether the claim holds with the usual 95 %.
    pub fn holds(&self) -> bool {
        self.confidence >= REQUIRED_CONFIDENCE
    }
}

impl fmt::Display for QuantileStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = format!("{:.3}", self.q * 100.0);
        let percent = percent.trim_end_matches('0').trim_end_matches('.');
        let (n, exceedances) = (self.n, self.exceedances);
        let confidence = self.confidence * 100.0;
        if self.holds() {
            write!(
                f,
                "p{percent} keeps the limit with {confidence:.1} % confidence ({exceedances} of {n} above it)"
            )
        } else {
            let needed = samples_needed(exceedances, self.q, REQUIRED_CONFIDENCE);
            write!(
                f,
                "p{percent} is characterised only: {confidence:.1} % confidence ({exceedances} of {n} above the limit; \
                 95 % needs {needed} samples)"
            )
        }
    }
}

/// Confidence that the quantile `q` lies at or below a limit that `exceedances` of `n` independent samples
/// exceeded: the probability of seeing more exceedances if the quantile lay above it (one-sided binomial).
pub fn quantile_confidence(n: u64, exceedances: u64, q: f64) -> f64 {
    if n == 0 || exceedances >= n || !(q > 0.0 && q < 1.0) {
        return 0.0;
    }
    let (n_f, p) = (n as f64, 1.0 - q);
    // Far above the expected count the answer is zero, and the sum below stays short.
    if exceedances as f64 > n_f * p + 10.0 * (n_f * p * q).sqrt() + 10.0 {
        return 0.0;
    }
    // Sum of binomial terms 0..=exceedances, each from the one before, in logarithms against underflow.
    let mut log_term = n_f * q.ln();
    let mut below = log_term.exp();
    for k in 1..=exceedances {
        log_term += ((n_f - (k - 1) as f64) / k as f64).ln() + (p / q).ln();
        below += log_term.exp();
    }
    (1.0 - below).clamp(0.0, 1.0)
}

/// The smallest number of samples with which `exceedances` of them above the limit still give `confidence` in
/// the quantile `q`; `u64::MAX` when no reasonable number does.
pub fn samples_needed(exceedances: u64, q: f64, confidence: f64) -> u64 {
    let enough = |n| quantile_confidence(n, exceedances, q) >= confidence;
    let mut high = exceedances.saturating_add(1);
    while !enough(high) {
        if high > MAX_SAMPLES {
            return u64::MAX;
        }
        high *= 2;
    }
    let mut low = high / 2;
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if enough(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Decodes a V2 compressed histogram with exactly our bounds.
fn decode_v2(payload: &[u8]) -> Result<Distribution, &'static str> {
    let (header, body) = payload
        .split_at_checked(8)
        .ok_or("histogram is too short")?;
    if header[..4] != COMPRESSED_COOKIE || header[4..] != (body.len() as u32).to_be_bytes() {
        return Err("not a V2 compressed histogram");
    }
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(body)
        .take(MAX_INFLATED + 1)
        .read_to_end(&mut raw)
        .map_err(|_| "histogram does not inflate")?;
    if raw.len() as u64 > MAX_INFLATED {
        return Err("histogram is too large");
    }
    let (header, mut counts) = raw.split_at_checked(40).ok_or("histogram is too short")?;
    let mut ours = Vec::with_capacity(40);
    ours.extend(COOKIE);
    ours.extend((counts.len() as u32).to_be_bytes());
    ours.extend(0_u32.to_be_bytes());
    ours.extend(u32::from(DIGITS).to_be_bytes());
    ours.extend(LOWEST.to_be_bytes());
    ours.extend(HIGHEST.to_be_bytes());
    ours.extend(1.0_f64.to_be_bytes());
    if header != ours {
        return Err("histogram has other bounds than the bench writes");
    }
    let mut distribution = Distribution::new();
    let (mut index, mut total) = (0_u64, 0_u64);
    while !counts.is_empty() {
        let count = zig_zag(&mut counts).ok_or("histogram counts are cut short")?;
        if count < 0 {
            index = index.saturating_add(count.unsigned_abs());
        } else {
            let value = value_at(index).ok_or("histogram has counts beyond its range")?;
            total = total
                .checked_add(count.unsigned_abs())
                .ok_or("histogram overflows")?;
            if count > 0 {
                distribution
                    .histogram
                    .record_n(value, count.unsigned_abs())
                    .map_err(|_| "histogram has counts beyond its range")?;
            }
            index += 1;
        }
    }
    Ok(distribution)
}

/// The lowest value of a bucket (1024 linear steps per power of two, the first 2048 exact).
fn value_at(index: u64) -> Option<u64> {
    let power = (index / 1024).saturating_sub(1);
    let value = (index - power * 1024).checked_shl(u32::try_from(power).ok()?)?;
    (power < 40 && value <= HIGHEST).then_some(value)
}

/// One ZigZag LEB128-64b9B number.
fn zig_zag(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for position in 0..9 {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        if position == 8 {
            value |= u64::from(byte) << 56;
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

const LOWEST: u64 = 1;
/// One hour in nanoseconds.
const HIGHEST: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;
const COOKIE: [u8; 4] = 0x1c84_9313_u32.to_be_bytes();
const COMPRESSED_COOKIE: [u8; 4] = 0x1c84_9314_u32.to_be_bytes();
/// A full histogram with these bounds stays far below.
const MAX_INFLATED: u64 = 1 << 20;
const MAX_ENTRIES: usize = 1_000;
const MAX_SAMPLES: u64 = 1 << 40;
const REQUIRED_CONFIDENCE: f64 = 0.95;

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_of_a_known_series() {
        let mut d = Distribution::new();
        assert_eq!((d.n(), d.min(), d.p50(), d.max()), (0, 0, 0, 0));
        (1..=1_000).for_each(|n| d.record(Duration::from_nanos(n)));
        assert_eq!((d.n(), d.min(), d.max()), (1_000, 1, 1_000));
        assert_eq!(
            (d.p50(), d.p90(), d.p99(), d.p99_95()),
            (500, 900, 990, 1_000)
        );
        assert_eq!(d.exceedances(990), 10);
        assert_eq!(d.exceedances(1_000), 0);
        d.record(Duration::MAX);
        assert_eq!(
            d.exceedances(HIGHEST - 1),
            1,
            "beyond an hour counts as an hour"
        );
    }

    #[test]
    fn the_sample_sizes_of_the_regulatory_quantile() {
        // Exact binomial; the chi-square approximation gives 9 488 and 12 592 for one and two.
        for (exceedances, n) in [(0, 5_990), (1, 9_486), (2, 12_590)] {
            assert_eq!(samples_needed(exceedances, 0.9995, 0.95), n);
            assert!(quantile_confidence(n, exceedances, 0.9995) >= 0.95);
            assert!(quantile_confidence(n - 1, exceedances, 0.9995) < 0.95);
        }
        assert_eq!(samples_needed(0, 1.0, 0.95), u64::MAX);
    }

    #[test]
    fn a_statement_says_what_it_rests_on() {
        let mut d = Distribution::new();
        (0..5_990).for_each(|_| d.record_ns(1_000));
        assert_eq!(
            d.quantile_statement(0.9995, 500_000).to_string(),
            "p99.95 keeps the limit with 95.0 % confidence (0 of 5990 above it)"
        );
        d.record_ns(600_000);
        let statement = d.quantile_statement(0.9995, 500_000);
        assert!(!statement.holds());
        assert_eq!(
            statement.to_string(),
            "p99.95 is characterised only: 80.0 % confidence (1 of 5991 above the limit; 95 % needs 9486 samples)"
        );
    }

    #[test]
    fn confidence_survives_extreme_counts() {
        assert_eq!(quantile_confidence(0, 0, 0.5), 0.0);
        assert_eq!(quantile_confidence(10, 10, 0.5), 0.0);
        assert_eq!(quantile_confidence(10, 0, 1.5), 0.0);
        assert_eq!(quantile_confidence(u64::MAX, u64::MAX / 2, 0.9995), 0.0);
        assert_eq!(quantile_confidence(u64::MAX, 5, 0.9995), 1.0);
        assert!((quantile_confidence(10, 4, 0.5) - 0.623_046_875).abs() < 1e-12);
    }

    fn sample() -> Distribution {
        let mut d = Distribution::new();
        for n in 0..2_000_u64 {
            d.record_ns(n * n * 977);
        }
        d.record_ns(0);
        d.record_ns(u64::MAX);
        d
    }

    #[test]
    fn the_reference_reader_opens_our_logs() {
        let d = sample();
        let log = d.to_hlog(
            "PRX-19 rtt,a",
            UtcNanos::from_seconds(1_800_000_000),
            Duration::from_secs(2),
        );
        let mut seen = 0;
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            if let LogEntry::Interval(interval) = entry.expect("well-formed") {
                assert_eq!(interval.tag().map(|t| t.as_str()), Some("PRX-19_rtt_a"));
                let payload = STANDARD
                    .decode(interval.encoded_histogram())
                    .expect("base64");
                let theirs: Histogram<u64> = Deserializer::new()
                    .deserialize(&mut payload.as_slice())
                    .expect("V2");
                assert_eq!(theirs, d.histogram);
                seen += 1;
            }
        }
        assert_eq!(seen, 1);
    }

    #[test]
    fn logs_read_back_bucket_for_bucket() {
        let d = sample();
        let log = d.to_hlog("x", UtcNanos(0), Duration::ZERO);
        let entries = Distribution::from_hlog(&log).expect("our own log");
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].tag, "x");
        assert!(entries[0].distribution.buckets().eq(d.buckets()));
    }

    #[test]
    fn damaged_logs_are_refused_and_never_panic() {
        let mut d = Distribution::new();
        d.record_ns(12_345);
        let log = d.to_hlog("x", UtcNanos(0), Duration::ZERO);
        for at in 0..log.len() {
            for byte in [b'A', b',', b'\n', 0x7f] {
                let mut bytes = log.clone().into_bytes();
                bytes[at] = byte;
                let _ = Distribution::from_hlog(std::str::from_utf8(&bytes).expect("ASCII"));
            }
            let _ = Distribution::from_hlog(&log[..at]);
        }
        // A negative run of the most negative number, and a count far beyond the range.
        for tail in [
            [0xff_u8; 9].as_slice(),
            &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0x02],
        ] {
            let mut raw = Vec::new();
            raw.extend(COOKIE);
            raw.extend((tail.len() as u32).to_be_bytes());
            raw.extend(0_u32.to_be_bytes());
            raw.extend(3_u32.to_be_bytes());
            raw.extend(LOWEST.to_be_bytes());
            raw.extend(HIGHEST.to_be_bytes());
            raw.extend(1.0_f64.to_be_bytes());
            raw.extend(tail);
            let mut zip =
                flate2::read::ZlibEncoder::new(raw.as_slice(), flate2::Compression::fast());
            let mut body = Vec::new();
            zip.read_to_end(&mut body).expect("in memory");
            let mut payload = COMPRESSED_COOKIE.to_vec();
            payload.extend((body.len() as u32).to_be_bytes());
            payload.extend(body);
            let _ = decode_v2(&payload);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Distribution::from_hlog(&text);
        }

        #[test]
        fn exceedances_are_never_understated(values in prop::collection::vec(0_u64..10_000_000, 1..200), limit in 0_u64..10_000_000) {
            let mut d = Distribution::new();
            values.iter().for_each(|&v| d.record_ns(v));
            let truth = values.iter().filter(|&&v| v > limit).count() as u64;
            // Only when the limit reaches the highest bucket may a sample within its 0.1 % be missed.
            prop_assert!(d.exceedances(limit) >= truth || limit >= d.max());
        }
    }
}
