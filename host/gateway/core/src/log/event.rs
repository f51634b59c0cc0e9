// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can happen, as one table: event id, level, books, message template (VDE 2.83 to 2.101).
//!
//! The ids are ours: the high byte names the part of the gateway, the low byte counts.

use crate::profile::ProfileName;

/// How grave an event is (VDE 2.82).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Level {
    /// As it should be.
    Info = 1,
    /// Worth a look.
    Warning = 2,
    /// Something does not work.
    Error = 3,
    /// The gateway cannot do its work.
    Fatal = 4,
    /// Vendor's own level.
    Extension = 5,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Warning,
        Self::Error,
        Self::Fatal,
        Self::Extension,
    ];

    /// The word exports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Extension => "EXTENSION",
        }
    }
}

/// How it ended (VDE 2.96).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Outcome {
    /// It worked.
    Success = 0,
    /// It did not.
    Failure = 1,
}

impl Outcome {
    /// The word exports use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }
}

const SYSTEM: u8 = 1;
const CALIBRATION: u8 = 2;
const CONSUMER: u8 = 4;

macro_rules! events {
    ($($variant:ident = $id:literal, $level:ident, $outcome:ident, $books:expr, $template:literal;)*) => {
        /// Kinds of events.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum EventKind {
            $(#[doc = $template] $variant,)*
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            const fn row(self) -> (u16, Level, Outcome, u8, &'static str) {
                match self {
                    $(Self::$variant => ($id, Level::$level, Outcome::$outcome, $books, $template),)*
                }
            }
        }
    };
}

events! {
    GatewayStarted = 0x0101, Info, Success, SYSTEM, "gateway started, version {0}";
    GatewayStopped = 0x0102, Info, Success, SYSTEM, "gateway stopped";
    SelfTestPassed = 0x0103, Info, Success, SYSTEM, "self test passed";
    SelfTestFailed = 0x0104, Fatal, Failure, SYSTEM | CALIBRATION, "self test failed: {0}";
    FirmwareChanged = 0x0105, Info, Success, SYSTEM | CALIBRATION, "firmware changed from {0} to {1}";
    ParametersChanged = 0x0106, Info, Success, SYSTEM | CALIBRATION, "configuration changed, SHA-256 {0}";
    ModuleFault = 0x0201, Error, Failure, SYSTEM, "security module: {0}";
    ModuleReady = 0x0202, Info, Success, SYSTEM, "security module works";
    TimeSet = 0x0301, Info, Success, SYSTEM | CALIBRATION, "time set by {0}";
    TimeValid = 0x0302, Info, Success, SYSTEM | CALIBRATION, "time is valid";
    TimeInvalid = 0x0303, Error, Failure, SYSTEM | CALIBRATION, "time is not valid: {0}";
    TimeAnswerRefused = 0x0304, Warning, Failure, SYSTEM, "answer of the time service refused: {0}";
    TimeServiceLost = 0x0305, Warning, Failure, SYSTEM, "time service not reached: {0}";
    TimeServiceBack = 0x0306, Info, Success, SYSTEM, "time service reached";
    GapKept = 0x0401, Warning, Failure, SYSTEM, "no value of {0}: {1}";
    PortLost = 0x0402, Error, Failure, SYSTEM, "port lost: {0}";
    PortBack = 0x0403, Info, Success, SYSTEM, "port is back";
    MeterFault = 0x0404, Error, Failure, SYSTEM | CALIBRATION, "meter reports a fault, status {0}";
    MeterChanged = 0x0405, Info, Success, SYSTEM | CALIBRATION, "meter changed: {0}";
    MeasuringStopped = 0x0406, Error, Failure, SYSTEM | CALIBRATION, "measuring stopped: {0}";
    MeasuringContinues = 0x0407, Info, Success, SYSTEM | CALIBRATION, "measuring continues";
    TelegramRefused = 0x0408, Warning, Failure, SYSTEM, "telegram refused: {0}";
    MeterConnected = 0x0409, Info, Success, SYSTEM, "secured connection to the meter opened";
    MeterRefused = 0x040a, Warning, Failure, SYSTEM, "connection to the meter refused or broken: {0}";
    StoreTrouble = 0x0501, Error, Failure, SYSTEM, "store: {0}";
    StoreBack = 0x0502, Info, Success, SYSTEM, "store works";
    ValuesPruned = 0x0503, Info, Success, SYSTEM, "{0} values older than {1} removed";
    StoreMigrated = 0x0504, Info, Success, SYSTEM, "store brought from schema {0} to {1}";
    HanConnected = 0x0601, Info, Success, SYSTEM, "HAN connection";
    HanRefused = 0x0602, Warning, Failure, SYSTEM, "HAN connection refused or broken: {0}";
    HanRequestRefused = 0x0603, Warning, Failure, SYSTEM, "HAN request {0} refused with {1}";
    ConsumerDataRead = 0x0604, Info, Success, CONSUMER, "data read: {0}";
    StatusRead = 0x0605, Info, Success, SYSTEM, "{0} read";
    ClsConnected = 0x0701, Info, Success, SYSTEM, "CLS channel opened";
    ClsEnded = 0x0702, Info, Success, SYSTEM, "CLS channel ended";
    ClsRefused = 0x0703, Warning, Failure, SYSTEM, "CLS connection refused or broken: {0}";
    EmtRefused = 0x0801, Warning, Failure, SYSTEM, "EMT not reached or refused: {0}";
    Delivered = 0x0802, Info, Success, SYSTEM | CONSUMER, "data sent: {0}";
    DeliveryFailed = 0x0803, Warning, Failure, SYSTEM, "data not sent: {0}";
    ProfileActivated = 0x0901, Info, Success, SYSTEM | CALIBRATION | CONSUMER, "profile {0} version {1} active";
    ProfileRefused = 0x0902, Warning, Failure, SYSTEM, "profile {0} refused: {1}";
    ProfileEnded = 0x0903, Info, Success, SYSTEM | CALIBRATION | CONSUMER, "profile {0} version {1} ended";
    TariffError = 0x0904, Warning, Failure, SYSTEM | CONSUMER, "evaluation {0}: {1}";
    LogExported = 0x0a01, Info, Success, SYSTEM, "log exported: {0}";
    CalibrationLogFull = 0x0a02, Fatal, Failure, SYSTEM | CALIBRATION, "the calibration log is full; values are not for billing";
    EventsNotKept = 0x0a03, Error, Failure, SYSTEM, "{0} events were not kept while the store refused";
    LogPruned = 0x0a04, Info, Success, SYSTEM, "log {0} removed up to number {1}";
}

impl EventKind {
    /// Event id: high byte the part of the gateway, low byte its count.
    pub const fn id(self) -> u16 {
        self.row().0
    }

    /// Level.
    pub const fn level(self) -> Level {
        self.row().1
    }

    /// Outcome.
    pub const fn outcome(self) -> Outcome {
        self.row().2
    }

    /// Message with `{0}`, `{1}` for the extensions of an event.
    pub const fn template(self) -> &'static str {
        self.row().4
    }

    /// Whether it belongs into the system log.
    pub const fn is_system(self) -> bool {
        self.row().3 & SYSTEM != 0
    }

    /// Whether it matters to calibration law.
    pub const fn is_calibration(self) -> bool {
        self.row().3 & CALIBRATION != 0
    }

    /// Whether it concerns consumers.
    pub const fn is_consumer(self) -> bool {
        self.row().3 & CONSUMER != 0
    }
}

/// One thing that happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    pub(super) kind: EventKind,
    pub(super) outcome: Outcome,
    pub(super) subject: Option<String>,
    pub(super) user: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) extensions: Vec<String>,
    pub(super) consumers: Vec<ProfileName>,
}

impl Event {
    /// An event of this kind with the outcome of its row, without details.
    pub fn new(kind: EventKind) -> Self {
        Self {
            kind,
            outcome: kind.outcome(),
            subject: None,
            user: None,
            destination: None,
            extensions: Vec::new(),
            consumers: Vec::new(),
        }
    }

    /// What it is about: a meter, a profile, a peer (VDE 2.90).
    #[must_use]
    pub fn subject(mut self, subject: impl ToString) -> Self {
        self.subject = Some(short(subject.to_string()));
        self
    }

    /// Who did it (VDE 2.91).
    #[must_use]
    pub fn user(mut self, user: impl ToString) -> Self {
        self.user = Some(short(user.to_string()));
        self
    }

    /// Where it went or was asked for (VDE 2.93).
    #[must_use]
    pub fn destination(mut self, destination: impl ToString) -> Self {
        self.destination = Some(short(destination.to_string()));
        self
    }

    /// The next value for the template; longer ones are cut to 256 bytes.
    #[must_use]
    pub fn with(mut self, extension: impl ToString) -> Self {
        self.extensions.push(short(extension.to_string()));
        self
    }

    /// It ended otherwise than its kind usually does.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Also an entry of this consumer's log, if the kind concerns consumers.
    #[must_use]
    pub fn of_consumer(mut self, consumer: ProfileName) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> EventKind {
        self.kind
    }
}

/// Text from outside is cut, so that nobody fills the log with one entry.
fn short(mut text: String) -> String {
    let end = (0..=LONGEST_TEXT.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
    text
}

const LONGEST_TEXT: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_templates_count_their_extensions_from_nought() {
        let ids: BTreeSet<_> = EventKind::ALL.iter().map(|kind| kind.id()).collect();
        assert_eq!(ids.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            let template = kind.template();
            assert!(
                !template.contains("{1}") || template.contains("{0}"),
                "{template}"
            );
            assert!(kind.is_system() || kind.is_calibration() || kind.is_consumer());
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let event = Event::new(EventKind::ModuleFault)
            .with("ä".repeat(200))
            .subject("x".repeat(300));
        assert_eq!(event.extensions[0].len(), 256);
        assert_eq!(event.subject.unwrap().len(), 256);
        let odd = Event::new(EventKind::ModuleFault).with(format!("x{}", "ä".repeat(200)));
        assert_eq!(odd.extensions[0].len(), 255);
    }
}
