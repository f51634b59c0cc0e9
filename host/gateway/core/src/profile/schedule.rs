// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which set of profiles counts when: numbered versions, one active, others waiting for their instant
//! (catalogue row ADM-03).

use std::collections::BTreeMap;
use std::sync::Arc;

use smgw_units::UtcNanos;

use super::refusal::Refused;
use super::set::ProfileSet;

/// A set with its number and the first grid point it counts for.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Rises by one with every set taken, from 1.
    pub number: u32,
    /// The first grid point.
    pub active_from: UtcNanos,
    /// The profiles.
    pub set: Arc<ProfileSet>,
}

/// The versions that count now or later.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    newest: u32,
    active: Option<Version>,
    waiting: BTreeMap<UtcNanos, Version>,
}

impl Schedule {
    /// The schedule that a gateway left behind: all versions it kept, in any order, and the newest number it gave,
    /// which may be of a version that can no longer be read.
    pub fn restore(
        versions: impl IntoIterator<Item = Version>,
        newest: u32,
        now: UtcNanos,
    ) -> Self {
        let mut schedule = Self {
            newest,
            ..Self::default()
        };
        let mut versions: Vec<_> = versions.into_iter().collect();
        versions.sort_by_key(|version| version.number);
        for version in versions {
            schedule.newest = schedule.newest.max(version.number);
            schedule.waiting.insert(version.active_from, version);
        }
        while schedule.handle_time(now).is_some() {}
        schedule
    }

    /// What a set would become if it were taken now.
    ///
    /// # Errors
    /// [`Refused`] for an instant that has passed: what was measured stays as it was measured.
    pub fn propose(&self, set: ProfileSet, now: UtcNanos) -> Result<Version, Refused> {
        if let Some(from) = set.active_from.filter(|from| *from < now) {
            return Err(Refused::new(format!("active-from {from} has passed")));
        }
        Ok(Version {
            number: self.newest + 1,
            active_from: set.active_from.unwrap_or(now),
            set: Arc::new(set),
        })
    }

    /// Takes a proposed version. One that was to begin at the same instant is replaced.
    pub fn take(&mut self, version: Version) {
        self.newest = self.newest.max(version.number);
        self.waiting.insert(version.active_from, version);
    }

    /// The next version whose time has come, oldest first; call until `None`.
    pub fn handle_time(&mut self, now: UtcNanos) -> Option<Version> {
        let due = self
            .waiting
            .first_entry()
            .filter(|next| *next.key() <= now)?;
        let version = due.remove();
        self.active = Some(version.clone());
        Some(version)
    }

    /// When the next version becomes active.
    pub fn next_deadline(&self) -> Option<UtcNanos> {
        self.waiting.keys().next().copied()
    }

    /// The version that counts.
    pub fn active(&self) -> Option<&Version> {
        self.active.as_ref()
    }

    /// The versions that wait, by their instants.
    pub fn waiting(&self) -> impl Iterator<Item = &Version> {
        self.waiting.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Result<ProfileSet, String> {
        let text = format!("schema = \"smgw.profiles/1\"\n{text}");
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_set_is_refused_as_a_whole_with_the_reason() {
        let meter = "[[meter]]\nmeter = \"1smb0000000001\"\nregisters = [\"1-0:1.8.0*255\"]\n";
        let user = |meter: &str| {
            format!(
                "[[user]]\nname = \"a\"\nrole = {{ consumer = {{ meters = [\"{meter}\"] }} }}\ncertificate = \"c\"\n"
            )
        };
        let whole = set(&format!("{meter}{}", user("1smb0000000001"))).unwrap();
        let written = toml::to_string(&whole).unwrap();
        assert_eq!(toml::from_str::<ProfileSet>(&written).unwrap(), whole);
        for (text, reason) in [
            (
                format!("{meter}{meter}"),
                "meter 1smb0000000001 stands twice",
            ),
            (
                format!("{meter}{}", user("1smb0000000002")),
                "user a: no meter 1smb0000000002 in this set",
            ),
            (
                meter.replace("1.8.0*255\"", "1.8.0*255\", \"1-0:1.8.0*255\""),
                "register 1-0:1.8.0*255 stands twice",
            ),
            (
                meter.replace("[\"1-0:1.8.0*255\"]", "[]"),
                "1 to 64 registers",
            ),
            (
                format!(
                    "{meter}validity = {{ from = \"2026-01-01T00:00:00Z\", to = \"2026-01-01T00:00:00Z\" }}"
                ),
                "ends before it begins",
            ),
            (
                format!("{meter}registration-period = \"32d\""),
                "from 1 second to 31 days",
            ),
            (
                "active-from = \"2026-01-01T00:00:00.5Z\"".into(),
                "whole seconds",
            ),
            ("surprise = 1".into(), "unknown field `surprise`"),
        ] {
            let told = set(&text).unwrap_err();
            assert!(told.contains(reason), "{told}\n{text}");
        }
        let other = "schema = \"smgw.profiles/2\"";
        let told = toml::from_str::<ProfileSet>(other).unwrap_err().to_string();
        assert!(told.contains("expected \"smgw.profiles/1\""), "{told}");
    }

    #[test]
    fn versions_take_effect_in_order_each_at_its_second() {
        let at = UtcNanos::from_seconds;
        let mut schedule = Schedule::default();
        let from = |text| set(&format!("active-from = \"1970-01-01T{text}Z\"")).unwrap();
        for text in ["00:30:00", "00:15:00", "00:15:00"] {
            let version = schedule.propose(from(text), at(10)).unwrap();
            schedule.take(version);
        }
        assert!(schedule.propose(from("00:00:09"), at(10)).is_err());
        assert_eq!(schedule.next_deadline(), Some(at(900)));
        assert_eq!(schedule.handle_time(UtcNanos(at(900).0 - 1)), None);
        // The third one replaced the second, which was to begin at the same instant.
        assert_eq!(
            schedule.handle_time(at(900)).map(|version| version.number),
            Some(3)
        );
        assert_eq!(schedule.handle_time(at(900)), None);

        let kept: Vec<_> = schedule
            .active()
            .into_iter()
            .chain(schedule.waiting())
            .cloned()
            .collect();
        let restored = Schedule::restore(kept.clone(), 3, at(1_000));
        assert_eq!(restored.active().map(|version| version.number), Some(3));
        assert_eq!(restored.next_deadline(), Some(at(1_800)));
        let later = Schedule::restore(kept, 5, at(1_800));
        assert_eq!(later.active().map(|version| version.number), Some(1));
        let next = later.propose(set("").unwrap(), at(1_801)).unwrap();
        // 4 and 5 were given to versions that cannot be read any more.
        assert_eq!((next.number, next.active_from), (6, at(1_801)));
    }
}
