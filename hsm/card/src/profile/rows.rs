// SPDX-License-Identifier: MIT OR Apache-2.0
//! A card profile printed line by line, each with its source and how sure it is.

use super::{CardProfile, Confidence};

/// One line of the printed table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProfileRow {
    /// What the line is about.
    pub what: String,
    /// Its bytes or numbers.
    pub value: String,
    /// Where this is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
}

impl CardProfile {
    /// The table line by line, for people.
    pub fn rows(&self) -> Vec<ProfileRow> {
        let row = |what: &str, value: String, source: &str, confidence| ProfileRow {
            what: what.to_owned(),
            value,
            source: source.to_owned(),
            confidence,
        };
        let mut rows = vec![
            row(
                "application",
                hex_of(&self.application.id),
                &self.application.source,
                self.application.confidence,
            ),
            row(
                "limits",
                format!(
                    "{} bytes at once, extended lengths: {}",
                    self.limits.chunk,
                    if self.limits.extended { "yes" } else { "no" }
                ),
                &self.limits.source,
                self.limits.confidence,
            ),
            row(
                "password of PACE",
                format!(
                    "reference {:02X}, {} tries",
                    self.password.reference, self.password.tries
                ),
                &self.password.source,
                self.password.confidence,
            ),
        ];
        rows.extend(self.commands.iter().map(|spec| {
            let value = format!("{}: {}", hex_of(&spec.header), spec.objects);
            row(&spec.name, value, &spec.source, spec.confidence)
        }));
        let keys = self.keys.named.iter();
        let keys: Vec<_> = keys
            .map(|key| format!("{} {:02X}", key.name, key.reference))
            .collect();
        let objects = self.objects.named.iter();
        let objects: Vec<_> = objects
            .map(|one| format!("{} {:04X}", one.object, one.file))
            .collect();
        let [first, second] = self.files.directory;
        rows.extend([
            row(
                "key usages",
                format!(
                    "sign {:02X}, agree {:02X}",
                    self.algorithms.sign, self.algorithms.agree
                ),
                &self.algorithms.source,
                self.algorithms.confidence,
            ),
            row(
                "files",
                format!(
                    "EF.CardAccess {:04X}, life cycle {:04X}, directory {first:04X} and {second:04X}",
                    self.files.card_access, self.files.life_cycle
                ),
                &self.files.source,
                self.files.confidence,
            ),
            row(
                "keys",
                format!(
                    "{}; {} free from {:02X}, {} ephemeral from {:02X}",
                    keys.join(", "),
                    self.keys.free.count,
                    self.keys.free.first,
                    self.keys.ephemeral.count,
                    self.keys.ephemeral.first
                ),
                &self.keys.source,
                self.keys.confidence,
            ),
            row(
                "objects",
                format!(
                    "{}; {} free from {:04X}, {} bytes each",
                    objects.join(", "),
                    self.objects.free.count,
                    self.objects.free.first,
                    self.files.object_size
                ),
                &self.objects.source,
                self.objects.confidence,
            ),
            row(
                "administrator",
                format!(
                    "reference {:02X}, key in {}",
                    self.administrator.reference, self.administrator.object
                ),
                &self.administrator.source,
                self.administrator.confidence,
            ),
        ]);
        rows.extend(self.access.iter().map(|rule| {
            let commands: Vec<_> = rule
                .commands
                .iter()
                .map(|id| self.spec(*id).name.as_str())
                .collect();
            let phases: Vec<_> = rule.phases.iter().map(|phase| phase.name()).collect();
            let files = match rule.files.is_empty() {
                true => String::new(),
                false => format!(" of {}", rule.files.join(", ")),
            };
            let value = format!(
                "{}{files} in {}: {}",
                commands.join(", "),
                phases.join(", "),
                rule.needs
            );
            row("access", value, &rule.source, rule.confidence)
        }));
        rows
    }
}

fn hex_of(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    digits.join(" ")
}
