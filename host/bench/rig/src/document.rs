// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a TOML file section by section, so that one mistake does not hide the next.
//!
//! Serde stops at the first mistake. Here each section is read alone; a wrong entry is reported, taken out,
//! and the section read again, until nothing new turns up.

use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Range;
use std::str::FromStr;

use serde::de::{DeserializeOwned, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::diagnostic::{Problem, did_you_mean};
use crate::duration::Span;

/// A value and where it stands.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// Collects problems while a file is read.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
    /// Where the schema stands: the place of everything that is missing in the whole file.
    pub(crate) head: Range<usize>,
}

/// More problems than this in one file help nobody.
const MAX_PROBLEMS: usize = 100;

/// What has been taken out of a section so far.
#[derive(Default)]
struct Damage {
    /// Where it stood.
    places: Vec<Range<usize>>,
    /// Keys whose values were wrong.
    keys: Vec<String>,
    /// What was suggested instead of unknown keys.
    meant: Vec<String>,
}

impl Damage {
    fn explains_missing(&self, field: &str) -> bool {
        let suggested = did_you_mean(field, &[field]);
        self.keys.iter().any(|key| key == field) || self.meant.contains(&suggested)
    }

    fn within(&self, span: &Range<usize>) -> bool {
        self.places
            .iter()
            .any(|place| span.start <= place.start && place.end <= span.end)
    }
}

/// A named sub-table, as `[resource.lmn0]`.
pub(crate) struct Named<'a> {
    pub(crate) name: Spanned<String>,
    pub(crate) value: Value<'a>,
}

impl Reader {
    /// The tables of a file of the given schema. With syntax errors or another schema nothing else is
    /// worth reading: `None`, and the problems say why.
    pub(crate) fn open<'a>(&mut self, text: &'a str, schema: &str) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            self.problem(span, format!("not TOML: {}", error.message()), "here");
        }
        if !errors.is_empty() {
            return None;
        }
        let mut table = table.into_inner();
        let Some(found) = table.remove("schema") else {
            let start = 0..text.find('\n').unwrap_or(text.len());
            let problem = Problem::new(
                start,
                "the file does not say its schema",
                "missing above this",
            )
            .with_help(format!("begin it with schema = \"{schema}\""));
            self.problems.push(problem);
            return None;
        };
        if found.get_ref().as_str() != Some(schema) {
            let problem = Problem::new(
                found.span(),
                "this build does not read that schema",
                "other schema",
            )
            .with_help(format!("it reads schema = \"{schema}\""));
            self.problems.push(problem);
            return None;
        }
        self.head = found.span();
        Some(table)
    }

    /// A file that one type describes entirely.
    pub(crate) fn whole<T: DeserializeOwned>(&mut self, text: &str, schema: &str) -> Option<T> {
        self.open(text, schema)?;
        let value = DeTable::parse(text).ok()?;
        let span = value.span();
        self.read(
            Spanned::new(span, DeValue::Table(value.into_inner())),
            "the file",
        )
    }

    /// Reports a problem.
    pub(crate) fn problem(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) {
        self.problems.push(Problem::new(span, message, label));
    }

    /// Reports a problem together with its remedy.
    pub(crate) fn problem_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems
            .push(Problem::new(span, message, label).with_help(help));
    }

    /// Reports every key of `table` that is not in `known`.
    pub(crate) fn only(&mut self, table: &DeTable<'_>, known: &[&str], where_: &str) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let message = format!("unknown key `{name}` in {where_}");
                self.problem_help(
                    key.span(),
                    message,
                    "not known here",
                    did_you_mean(name, known),
                );
            }
        }
    }

    /// One section as a typed value; `None` when something in it is wrong (and reported).
    pub(crate) fn read<T: DeserializeOwned>(
        &mut self,
        value: Value<'_>,
        where_: &str,
    ) -> Option<T> {
        let mut value = value;
        let mut damage = Damage::default();
        while self.problems.len() < MAX_PROBLEMS {
            let error = match T::deserialize(value.clone().into_deserializer()) {
                Ok(read) if damage.keys.is_empty() => return Some(read),
                Ok(_) => return None,
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| value.span());
            if let Some(field) = quoted_after(error.message(), "missing field ") {
                if !damage.explains_missing(field) {
                    let message = format!("{where_} lacks `{field}`");
                    self.problem(span, message, format!("`{field}` missing"));
                }
                return None;
            }
            // What surrounds something taken out may be wrong only because of that.
            if !damage.within(&span) {
                self.shape_problem(&error, span.clone(), where_);
            }
            let unknown = quoted_after(error.message(), "unknown field ");
            let taken = take_out(value.get_mut(), &span)?;
            damage.places.push(span);
            match unknown {
                Some(word) => damage
                    .meant
                    .push(did_you_mean(word, &expected_words(error.message()))),
                None => damage.keys.push(taken),
            }
        }
        None
    }

    fn shape_problem(&mut self, error: &toml::de::Error, span: Range<usize>, where_: &str) {
        let message = error.message();
        if let Some(word) = quoted_after(message, "unknown field ") {
            let help = did_you_mean(word, &expected_words(message));
            self.problem_help(
                span,
                format!("unknown key `{word}` in {where_}"),
                "not known here",
                help,
            );
        } else if let Some(word) = quoted_after(message, "unknown variant ") {
            let help = did_you_mean(word, &expected_words(message));
            self.problem_help(
                span,
                format!("`{word}` is not known here"),
                "not known",
                help,
            );
        } else {
            self.problem(
                span,
                format!("wrong value in {where_}: {message}"),
                "this value",
            );
        }
    }

    /// The named sub-tables of `[outer.NAME]`; entries that are not tables or badly named are reported.
    pub(crate) fn named<'a>(&mut self, value: Value<'a>, outer: &str) -> Vec<Named<'a>> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.problem(
                span,
                format!("`{outer}` must be a table"),
                format!("write [{outer}.NAME]"),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in table {
            let name = Spanned::new(key.span(), key.get_ref().to_string());
            if !value.get_ref().is_table() {
                let message = format!(
                    "[{outer}] holds named tables, and `{}` is none",
                    name.get_ref()
                );
                let help = format!("give it a name: [{outer}.NAME]");
                self.problem_help(name.span(), message, "not a table", help);
            } else if !is_name(name.get_ref()) {
                let message = format!("`{}` is not a usable name", name.get_ref());
                let help = "names are 1 to 32 characters of a-z, 0-9 and -";
                self.problem_help(name.span(), message, "not usable", help);
            } else {
                found.push(Named { name, value });
            }
        }
        found
    }

    /// The problems sorted into a result.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The word in backticks after `lead`, as serde writes it.
fn quoted_after<'m>(message: &'m str, lead: &str) -> Option<&'m str> {
    message
        .strip_prefix(lead)?
        .strip_prefix('`')?
        .split('`')
        .next()
}

/// The alternatives serde lists after `expected`.
fn expected_words(message: &str) -> Vec<&str> {
    let Some((_, list)) = message.split_once("expected") else {
        return Vec::new();
    };
    list.split('`').skip(1).step_by(2).collect()
}

/// Removes the entry whose key or value stands at `span`; tells its key.
fn take_out(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => {
            let hit =
                |key: &Spanned<_>, value: &Value<'_>| key.span() == *span || value.span() == *span;
            let key = table.iter().find(|(key, value)| hit(key, value));
            if let Some(key) = key.map(|(key, _)| key.get_ref().to_string()) {
                table.remove(key.as_str());
                return Some(key);
            }
            table.iter_mut().find_map(|(key, value)| {
                take_out(value.get_mut(), span).map(|_| key.get_ref().to_string())
            })
        }
        DeValue::Array(array) => {
            // Elements cannot be taken out singly: the rest of the list goes unread this time.
            if array.iter().any(|value| value.span() == *span) {
                *array = DeArray::new();
                return Some(String::new());
            }
            array
                .iter_mut()
                .find_map(|value| take_out(value.get_mut(), span))
        }
        _ => None,
    }
}

/// Serde adaptor for everything that is written as a string and parsed by [`FromStr`].
pub(crate) fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    struct Text<T>(PhantomData<T>);

    impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(PhantomData))
}

/// A string parsed by [`FromStr`], for lists and optional fields.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Text<T>(pub(crate) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}
