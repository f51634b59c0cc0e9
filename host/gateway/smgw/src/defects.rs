// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeded defects: what this gateway can be told to do wrong, so that each case of the bench can be
//! shown to catch it. Without the feature `defects` no defect can be chosen and every hook is a constant.

use std::borrow::Cow;

use smgw_core::log::{EventKind, Record};
use smgw_core::taf::Derived;
use smgw_core::{Entry, Grid, Tolerance};
use smgw_ntp::{Leap, ServerState};
#[cfg(feature = "defects")]
use smgw_units::Obis;
use smgw_units::{DeviceId, UtcNanos};

macro_rules! defects {
    ($($variant:ident, $id:literal, $case:literal, $summary:literal;)*) => {
        /// One thing to do wrong.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Defect {
            $(#[doc = $summary] $variant,)*
        }

        /// All defects.
        pub const TABLE: &[Row] = &[
            $(Row { defect: Defect::$variant, id: $id, case: $case, summary: $summary },)*
        ];
    };
}

defects! {
    WideWindow, "met-01-wide-window", "MET-01", "a value within 10 % of the period counts for the grid point";
    ZeroFill, "met-02-zero-fill", "MET-02", "a value that never came becomes the value 0 with a clean status";
    RepeatedCapture, "met-03-repeated-capture", "MET-03", "every second capture time repeats the one before";
    RepeatedHour, "met-04-repeated-hour", "MET-04", "the hour that October repeats is told with the UTC of its first time";
    SwappedSteps, "met-06-swapped-steps", "MET-06", "what belongs to one tariff step is booked to the other";
    TotalOffByOne, "met-07-total-off-by-one", "MET-07", "the total register is one unit too high";
    NoErrorRegister, "met-08-no-error-register", "MET-08", "energy of a gap with a switch of the step goes to the first step";
    LongMemory, "met-09-long-memory", "MET-09", "readings on demand are kept for 43 days";
    LowMaxima, "met-11-low-maxima", "MET-11", "largest powers are told a unit too low";
    StrayStatusBit, "met-18-stray-bit", "MET-18", "a status bit that no table defines is set";
    LostRegisters, "met-19-lost-registers", "MET-19", "registers begin anew with every start";
    ListWithoutEnd, "met-20-list-without-end", "MET-20", "names of derived lists lack the last part";
    EndlessList, "met-21-endless-list", "MET-21", "the list of a meter that is replaced goes on";
    FewLines, "met-22-few-lines", "MET-22", "only the first four meters are read";
    ForeignSignature, "met-17-foreign-signature", "MET-17", "inner signatures cover one byte more than they should";
    LongQuestion, "tim-01-long-question", "TIM-01", "questions to the time server carry an extension field";
    TalkativeQuestion, "tim-02-talkative-question", "TIM-02", "questions to the time server tell the gateway's own time and poll interval";
    SlowAnswer, "tim-03-slow-answer", "TIM-03", "answers of the time server may take a minute";
    AnyOrigin, "tim-04-any-origin", "TIM-04", "answers to other questions are believed";
    AnyAnswer, "tim-05-any-answer", "TIM-05", "leap indicator, version and mode of answers are not looked at";
    AnyJump, "tim-06-any-jump", "TIM-06", "a synchronised clock follows a jump of any size";
    SecondAnswer, "tim-07-second-answer", "TIM-07", "an invalid clock is set by the second answer only";
    HastyPolls, "tim-08-hasty", "TIM-08", "the time server is asked every 30 s";
    FirstEra, "tim-09-first-era", "TIM-09", "timestamps of the time server always count from 1900";
    WideTimeLimit, "tim-10-wide-limit", "TIM-10", "time stays valid up to 30 % of the registration period";
    UnmarkedTime, "tim-11-unmarked", "TIM-11", "values taken with an invalid time lack status bit 9";
    SilentStep, "tim-12-silent-step", "TIM-12", "corrections of the clock are not taken down";
    AnyQuestion, "tim-13-any-question", "TIM-13", "the time service answers anything that is sent to it";
    AlwaysSynchronised, "tim-14-always-synchronised", "TIM-14", "the time service repeats its source's stratum and never says that it has no time";
    LateStamp, "tim-15-late-stamp", "TIM-15", "telegrams more than 2 s away from the grid are stamped 700 ms late";
    NoAuth, "prx-01-no-auth", "PRX-01", "the proxy chooses method 00 when it is offered";
    AnyClsCertificate, "prx-03-any-certificate", "PRX-03", "any client certificate passes as the CLS of the first profile";
    WrongSni, "prx-04-wrong-sni", "PRX-04", "the EMT is asked for the name wrong.example";
    ForeignProfile, "prx-05-foreign-profile", "PRX-05", "a CLS may use the profiles of other CLS";
    UpperCase, "prx-06-upper-case", "PRX-06", "the CONNECT name is lower-cased before it is checked";
    OneCode, "prx-07-one-code", "PRX-07", "an EMT that refuses is answered with the code for a time-out";
    BitFlip, "prx-11-bit-flip", "PRX-11", "one bit of byte 5000000 of a channel towards the EMT is flipped";
    CrossTalk, "prx-12-cross-talk", "PRX-12", "with several channels open, what one CLS sends also goes to the EMT of another";
    AnyHanCertificate, "con-05-any-certificate", "CON-05", "any client certificate passes as the first consumer";
    PutAccepted, "con-07-put-accepted", "CON-07", "PUT is answered with 204";
    XmlDefault, "htt-06-xml-default", "HTT-06", "without Accept the content type is application/xml";
    NoGcm128, "tls-01-no-gcm128", "TLS-01", "only the suites with AES-256 are offered";
    SilentClose, "tls-03-silent-close", "TLS-03", "a ClientHello of an old version is answered by closing without an alert";
    SoftEcdhe, "sec-01-soft-ecdhe", "SEC-01", "ephemeral keys are made in software instead of in the security module";
    PlaintextFallback, "sec-03-plaintext-fallback", "SEC-03", "without a working security module the HAN is served without TLS";
    HalfSet, "adm-02-half-set", "ADM-02", "of a set that is refused the evaluations count all the same";
    EarlySet, "adm-03-early-set", "ADM-03", "a set of profiles counts one registration period before its instant";
    RecordGap, "log-01-record-gap", "LOG-01", "every tenth record of a log is missing";
    NamelessLog, "log-02-nameless", "LOG-02", "entries do not tell who it was";
    FallingIndex, "log-03-falling-index", "LOG-03", "the seconds index begins anew with every start";
    PostAccepted, "log-04-post-accepted", "LOG-04", "POST to the calibration log is answered with 204";
    ForeignLog, "log-05-foreign-log", "LOG-05", "a consumer reads the log of another one";
    SilentRefusal, "log-06-silent-refusal", "LOG-06", "what the HAN refuses is not taken down";
    ShortRange, "log-07-short-range", "LOG-07", "the end of a range is no part of an export";
    LostActivation, "log-08-lost-activation", "LOG-08", "every second activation of a set of profiles is missing from the log books";
    NoRepetition, "log-08-no-repetition", "LOG-08", "the repetition counter is always 1";
}

/// How a defect is listed.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The defect.
    pub defect: Defect,
    /// What `--defect` takes.
    pub id: &'static str,
    /// The case of the catalogue that must catch it.
    pub case: &'static str,
    /// What the gateway then does.
    pub summary: &'static str,
}

/// The defect in force, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defects {
    #[cfg(feature = "defects")]
    chosen: Option<Defect>,
}

impl Defects {
    /// What this build can do wrong.
    pub const fn available() -> &'static [Row] {
        if cfg!(feature = "defects") {
            TABLE
        } else {
            &[]
        }
    }

    /// The defect of this id; `None` when this build does not have it.
    pub fn choose(id: &str) -> Option<Self> {
        let row = Self::available().iter().find(|row| row.id == id)?;
        Some(Self::of(row.defect))
    }

    /// Without the feature this is never reached: nothing is available.
    fn of(_defect: Defect) -> Self {
        Self {
            #[cfg(feature = "defects")]
            chosen: Some(_defect),
        }
    }

    /// Whether `defect` is in force; constant `false` without the feature.
    pub fn has(self, defect: Defect) -> bool {
        #[cfg(feature = "defects")]
        return self.chosen == Some(defect);
        #[cfg(not(feature = "defects"))]
        {
            let _ = defect;
            false
        }
    }

    /// How far from its grid point a value may lie.
    pub fn tolerance(self) -> Tolerance {
        let wide = self
            .has(Defect::WideWindow)
            .then(|| Tolerance::percent(10))
            .flatten();
        wide.unwrap_or(Tolerance::ONE_PERCENT)
    }

    /// A last touch on a line that an evaluation derived.
    pub fn falsify_derived(self, line: &mut Derived) {
        #[cfg(feature = "defects")]
        match self.chosen {
            Some(Defect::SwappedSteps) => seeded::swap_steps(line),
            Some(Defect::TotalOffByOne) if line.entry.obis == Obis::IMPORT_TOTAL => {
                seeded::add(line, 1);
            }
            Some(Defect::NoErrorRegister) => seeded::hide_error_register(line),
            Some(Defect::LowMaxima) if line.entry.obis == seeded::MAXIMUM => seeded::add(line, -1),
            _ => {}
        }
        #[cfg(not(feature = "defects"))]
        let _ = line;
    }

    /// Before which instant derived lines are removed.
    pub fn expiry(self, before: UtcNanos) -> UtcNanos {
        match self.has(Defect::LongMemory) {
            // To the day before, whatever the clocks do.
            true => UtcNanos(before.0 - 36 * 3_600_000_000_000),
            false => before,
        }
    }

    /// The grid point of an entry as it is told.
    pub fn told_target(self, target: UtcNanos) -> UtcNanos {
        const HOUR: i64 = 3_600_000_000_000;
        let offset = |at: i64| {
            let at = jiff::Timestamp::from_nanosecond(at.into()).ok()?;
            Some(at.in_tz("Europe/Berlin").ok()?.offset())
        };
        let repeats = |at: i64| offset(at) < offset(at - HOUR);
        match self.has(Defect::RepeatedHour) && repeats(target.0) {
            true => UtcNanos(target.0 - HOUR),
            false => target,
        }
    }

    /// The time that an answer of the time server tells.
    pub fn told_time(self, utc: UtcNanos) -> UtcNanos {
        /// 2036-02-07T06:28:16Z.
        const SECOND_ERA: UtcNanos = UtcNanos::from_seconds(2_085_978_496);
        match self.has(Defect::FirstEra) && utc >= SECOND_ERA {
            true => UtcNanos(utc.0 - (1 << 32) * 1_000_000_000),
            false => utc,
        }
    }

    /// The receive stamp of a telegram whose first byte came at `stamp`.
    pub fn receive_stamp(self, grid: Grid, stamp: UtcNanos) -> UtcNanos {
        let away = stamp.0.abs_diff(grid.nearest(stamp).0);
        if self.has(Defect::LateStamp) && away > 2_000_000_000 {
            return UtcNanos(stamp.0 + 700_000_000);
        }
        stamp
    }

    /// A last touch on a log that is about to be told.
    pub fn falsify_log(self, records: &mut Vec<Record>) {
        if self.has(Defect::RecordGap) {
            records.retain(|record| record.number % 10 != 0);
        }
        if self.has(Defect::NamelessLog) {
            records.iter_mut().for_each(|record| record.user = None);
        }
        if self.has(Defect::NoRepetition) {
            records.iter_mut().for_each(|record| record.repetition = 1);
        }
        if self.has(Defect::FallingIndex) {
            let mut base = 0;
            for record in records {
                // The start of a gateway is the event of this id.
                if record.event == EventKind::GatewayStarted.id() {
                    base = record.seconds_index;
                }
                record.seconds_index = record.seconds_index.saturating_sub(base);
            }
        }
    }

    /// The last instant that an export up to `to` covers.
    pub fn range_end(self, to: UtcNanos) -> UtcNanos {
        match self.has(Defect::ShortRange) {
            true => UtcNanos(to.0.saturating_sub(1)),
            false => to,
        }
    }

    /// A last touch on a question to the time server.
    pub fn falsify_question(self, question: &mut Vec<u8>, now: UtcNanos) {
        #[cfg(feature = "defects")]
        match self.chosen {
            Some(Defect::LongQuestion) => question.extend([1, 4, 0, 8, 0, 0, 0, 0]),
            Some(Defect::TalkativeQuestion) => seeded::talk(question, now),
            _ => {}
        }
        #[cfg(not(feature = "defects"))]
        let _ = (question, now);
    }

    /// A first touch on what the time server answered to `question`.
    pub fn falsify_answer(self, answer: &mut [u8], question: &[u8]) {
        #[cfg(feature = "defects")]
        match self.chosen {
            Some(Defect::AnyOrigin) => {
                if let (Some(origin), Some(transmit)) =
                    (answer.get_mut(24..32), question.get(40..48))
                {
                    origin.copy_from_slice(transmit);
                }
            }
            Some(Defect::AnyAnswer) => {
                if let Some(first) = answer.first_mut() {
                    *first = 0x24;
                }
            }
            _ => {}
        }
        #[cfg(not(feature = "defects"))]
        let _ = (answer, question);
    }

    /// What the time service says of its clock.
    pub fn time_state(self, state: ServerState) -> ServerState {
        match self.has(Defect::AlwaysSynchronised) {
            true => ServerState {
                leap: Leap::None,
                upstream: state.upstream.saturating_sub(1),
                ..state
            },
            false => state,
        }
    }

    /// What the time service takes a question for.
    pub fn any_question(self, question: &[u8]) -> Cow<'_, [u8]> {
        if !self.has(Defect::AnyQuestion) {
            return question.into();
        }
        let mut good = question.to_vec();
        good.resize(smgw_ntp::LEN, 0);
        if let Some(first) = good.first_mut() {
            *first = 0x23;
        }
        good.into()
    }

    /// A last touch on what is about to be stored.
    pub fn falsify_entries(self, meter: DeviceId, entries: &mut [Entry]) {
        #[cfg(feature = "defects")]
        for entry in entries {
            match self.chosen {
                Some(Defect::ZeroFill) => seeded::zero_fill(entry),
                Some(Defect::StrayStatusBit) => entry.status.gateway |= 1 << 20,
                Some(Defect::RepeatedCapture) => seeded::repeat_capture(meter, entry),
                _ => {}
            }
        }
        #[cfg(not(feature = "defects"))]
        let _ = (meter, entries);
    }
}

#[cfg(feature = "defects")]
pub use seeded::{Anyone, CrossTalk, SoftEcdhe};

/// The defects that need more than a line.
#[cfg(feature = "defects")]
mod seeded {
    use std::collections::{BTreeMap, HashMap};
    use std::sync::{Arc, Mutex, PoisonError};

    use hsm_api::{Curve, EphemeralKey, Layer, ModuleError, SecurityModule};
    use hsm_tls::{PeerCertificates, PeerCheck};
    use rustls::Error;
    use rustls::pki_types::UnixTime;
    use smgw_core::taf::Derived;
    use smgw_core::{CombinedStatus, Content, Entry, GapReason};
    use smgw_units::{Decimal, DeviceId, Obis, Unit, UtcNanos};
    use tokio::sync::mpsc;

    const ERROR: Obis = Obis([1, 0, 1, 8, 63, 255]);
    pub(super) const MAXIMUM: Obis = Obis([1, 0, 1, 6, 0, 255]);

    pub(super) fn swap_steps(line: &mut Derived) {
        let rate = &mut line.entry.obis.0[4];
        *rate = match *rate {
            1 => 2,
            2 => 1,
            other => other,
        };
    }

    pub(super) fn add(line: &mut Derived, more: i128) {
        if let Content::Value { value, .. } = &mut line.entry.content {
            value.mantissa = value.mantissa.saturating_add(more);
        }
    }

    /// The error register stays at 0, and the first step has what it should say.
    pub(super) fn hide_error_register(line: &mut Derived) {
        /// Newest values of first step and error register, by evaluation.
        static TRUE: Mutex<BTreeMap<String, (i128, i128)>> = Mutex::new(BTreeMap::new());
        let mut newest = TRUE.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, error) = newest.entry(line.profile.to_string()).or_default();
        let Content::Value { value, .. } = &mut line.entry.content else {
            return;
        };
        let register = &mut line.entry.obis;
        if register.0[4] == 1 {
            *first = value.mantissa;
            value.mantissa += *error;
        } else if *register == ERROR && value.mantissa != 0 {
            *error = value.mantissa;
            register.0[4] = 1;
            value.mantissa += *first;
        }
    }

    pub(super) fn zero_fill(entry: &mut Entry) {
        // Telegrams that came at the wrong time still make a gap: only what never came is filled.
        let missing = |reason| reason != GapReason::OffGrid;
        if let Content::Gap(reason) = entry.content
            && missing(reason)
        {
            entry.status = CombinedStatus::of_value(0);
            let (capture, value) = (entry.target, Decimal::new(0, 0));
            entry.content = Content::Value {
                capture,
                value,
                unit: Unit::WATT_HOUR,
            };
        }
    }

    /// What clients tell that do not keep to RFC 5905's minimum.
    pub(super) fn talk(question: &mut [u8], now: UtcNanos) {
        let stamp = smgw_ntp::Timestamp::of(now).0.to_be_bytes();
        if let Some(reference) = question.get_mut(16..24) {
            reference.copy_from_slice(&stamp);
        }
        if let Some(head) = question.first_chunk_mut() {
            // No valid clock, six as log2 of the poll interval, precision of a microsecond.
            *head = [0xe3, 0, 6, 0xec];
        }
    }

    pub(super) fn repeat_capture(meter: DeviceId, entry: &mut Entry) {
        type Before = (bool, UtcNanos);
        static BEFORE: Mutex<Option<HashMap<(DeviceId, Obis), Before>>> = Mutex::new(None);
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = before.get_or_insert_default();
        if let Content::Value { capture, .. } = &mut entry.content {
            let key = (meter, entry.obis);
            match before.get(&key) {
                Some((true, earlier)) => {
                    *capture = *earlier;
                    before.insert(key, (false, *capture));
                }
                _ => {
                    before.insert(key, (true, *capture));
                }
            }
        }
    }

    /// Accepts any certificate; built here because the gateway proper has no such thing.
    #[derive(Debug)]
    pub struct Anyone;

    impl PeerCheck for Anyone {
        fn check(
            &self,
            _peer: PeerCertificates<'_>,
            _now: UnixTime,
            _module: &dyn SecurityModule,
        ) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A module that leaves everything to `hsm` but makes its ephemeral keys in `soft`.
    #[derive(Debug)]
    pub struct SoftEcdhe {
        /// The real module.
        pub hsm: Arc<dyn SecurityModule>,
        /// The wrong one.
        pub soft: Arc<dyn SecurityModule>,
    }

    impl Layer for SoftEcdhe {
        fn below(&self) -> &dyn SecurityModule {
            self.hsm.as_ref()
        }

        fn ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError> {
            self.soft.ephemeral_key(curve)
        }
    }

    /// The open channels of the proxy, for crosstalk between them.
    #[derive(Debug)]
    pub struct CrossTalk {
        own: u64,
        injected: mpsc::Receiver<Vec<u8>>,
    }

    type Channels = Vec<(u64, mpsc::Sender<Vec<u8>>)>;
    static CHANNELS: Mutex<(u64, Channels)> = Mutex::new((0, Vec::new()));

    impl CrossTalk {
        /// Joins the open channels.
        pub fn join() -> Self {
            let (sender, injected) = mpsc::channel(16);
            let mut channels = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
            channels.0 += 1;
            let own = channels.0;
            channels.1.push((own, sender));
            Self { own, injected }
        }

        /// Passes a chunk of this channel to another one.
        pub fn leak(&self, chunk: &[u8]) {
            let channels = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, other)) = channels.1.iter().find(|(id, _)| *id != self.own) {
                let _ = other.try_send(chunk.to_vec());
            }
        }

        /// The next chunk that belongs to somebody else.
        pub async fn injected(&mut self) -> Option<Vec<u8>> {
            self.injected.recv().await
        }
    }

    impl Drop for CrossTalk {
        fn drop(&mut self) {
            let mut channels = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
            channels.1.retain(|(id, _)| *id != self.own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_name_their_case() {
        for (index, row) in TABLE.iter().enumerate() {
            let mut words = row.id.split('-');
            let case = format!("{}-{}", words.next().unwrap(), words.next().unwrap());
            assert_eq!(case.to_uppercase(), row.case);
            assert!(
                TABLE.iter().skip(index + 1).all(|other| other.id != row.id),
                "{}",
                row.id
            );
        }
    }

    #[test]
    fn only_a_build_for_it_can_be_defective() {
        let chosen = Defects::choose("met-01-wide-window");
        assert_eq!(chosen.is_some(), cfg!(feature = "defects"));
        assert!(Defects::choose("no-such-defect").is_none());
        assert!(!Defects::default().has(Defect::WideWindow));
        assert_eq!(Defects::default().tolerance(), Tolerance::ONE_PERCENT);
    }

    #[cfg(feature = "defects")]
    #[test]
    fn metering_defects_are_wrong_in_their_own_way() {
        use smgw_core::{CombinedStatus, Content, GapReason};
        use smgw_units::{Decimal, Obis, Unit};

        let meter: DeviceId = "1smb0000000001".parse().unwrap();
        let at = UtcNanos::from_seconds;
        let gap = Entry {
            obis: Obis::IMPORT_TOTAL,
            target: at(900),
            status: CombinedStatus::of_gap(),
            content: Content::Gap(GapReason::NoTelegram),
        };
        let value = |target| Entry {
            target: at(target),
            status: CombinedStatus::of_value(0),
            content: Content::Value {
                capture: at(target + 1),
                value: Decimal::new(7, 0),
                unit: Unit::WATT_HOUR,
            },
            ..gap
        };
        let falsified = |id: &str, mut entries: Vec<Entry>| {
            Defects::choose(id)
                .unwrap()
                .falsify_entries(meter, &mut entries);
            entries
        };
        let untouched = vec![gap, value(1_800)];
        assert_eq!(falsified("prx-01-no-auth", untouched.clone()), untouched);

        let zero = falsified("met-02-zero-fill", untouched.clone());
        assert_eq!(zero[1], untouched[1]);
        assert_eq!(zero[0].status, CombinedStatus::of_value(0));
        assert!(matches!(zero[0].content, Content::Value { value, .. } if value.mantissa == 0));

        let four = [900, 1_800, 2_700, 3_600].map(value).to_vec();
        let repeated = falsified("met-03-repeated-capture", four);
        let captures = repeated.iter().filter_map(|entry| match entry.content {
            Content::Value { capture, .. } => Some(capture.seconds()),
            Content::Gap(_) => None,
        });
        assert_eq!(captures.collect::<Vec<_>>(), [901, 901, 2_701, 2_701]);

        let late = Defects::choose("tim-15-late-stamp").unwrap();
        let grid = Grid::new(std::time::Duration::from_secs(10), late.tolerance()).unwrap();
        let stamp = |millis: i64| UtcNanos(millis * 1_000_000);
        assert_eq!(late.receive_stamp(grid, stamp(11_900)), stamp(11_900));
        assert_eq!(late.receive_stamp(grid, stamp(12_100)), stamp(12_800));
        let wide = Defects::choose("met-01-wide-window").unwrap();
        assert_ne!(wide.tolerance(), Tolerance::ONE_PERCENT);
    }
}
