// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seeded defects: what a controllable system can be told to do wrong, so that each case of the bench can be shown to
//! catch it. Only firmware built for it does any of this; there the octet behind the settings chooses.

macro_rules! defects {
    ($($variant:ident, $id:literal, $case:literal, $summary:literal;)*) => {
        /// One thing to do wrong.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u8)]
        pub enum Defect {
            $(#[doc = $summary] $variant,)*
        }

        /// All defects, in the order of their numbers.
        pub const TABLE: &[Row] = &[
            $(Row { defect: Defect::$variant, id: $id, case: $case, summary: $summary },)*
        ];
    };
}

defects! {
    WrongBuildId, "cls-01-wrong-build-id", "CLS-01", "the board's greeting names another image's build id";
    StuckRelay, "cls-02-stuck-relay", "CLS-02", "the board reports a limit and its open relay, and leaves the relay closed";
    IgnoredLimit, "cls-02-ignored-limit", "CLS-02", "the board takes a limit for none";
    NoFailsafe, "cls-03-no-failsafe", "CLS-03", "the board needs no heartbeats";
    HeartbeatEnough, "cls-03-heartbeat-enough", "CLS-03", "a heartbeat alone ends the board's fail-safe state";
    ForgottenSettings, "cls-04-forgotten-settings", "CLS-04", "the board's first start overwrites its fail-safe limit with the nominal power";
    ShortEcho, "cls-05-short-echo", "CLS-05", "the board leaves out the last octet of long echoes";
    NoReturn, "cls-06-no-return", "CLS-06", "the board calls no more once a channel was not ended by itself";
    NoBackOff, "prx-20-no-back-off", "PRX-20", "the board calls again after one second";
    SameWait, "prx-20-same-wait", "PRX-20", "the board always waits the shortest time";
    AnyReply, "prx-21-any-reply", "PRX-21", "the board takes every reply to CONNECT for success";
    ReadBound, "prx-21-read-bound", "PRX-21", "the board wants zeros in BND.ADDR and BND.PORT";
    LingeringRefusal, "prx-21-lingering-refusal", "PRX-21", "the board leaves TLS open after a refusal";
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
    /// What the board then does.
    pub summary: &'static str,
}

impl Defect {
    /// The defect that `--defect` calls so.
    pub fn named(id: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.id == id).map(|row| row.defect)
    }

    /// The defect with this number.
    pub fn numbered(number: u8) -> Option<Self> {
        TABLE.get(usize::from(number)).map(|row| row.defect)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_find_their_defect() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(usize::from(row.defect.number()), index);
            assert_eq!(Defect::numbered(row.defect.number()), Some(row.defect));
            assert_eq!(Defect::named(row.id), Some(row.defect), "{}", row.id);
            let case = row.case.to_ascii_lowercase();
            assert!(row.id.starts_with(&case), "{}", row.id);
        }
        assert_eq!(Defect::numbered(TABLE.len() as u8), None);
        assert_eq!(Defect::named("cls-00-none"), None);
    }
}
