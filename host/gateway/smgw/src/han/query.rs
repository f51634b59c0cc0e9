// SPDX-License-Identifier: MIT OR Apache-2.0
//! Query filters of value lists (detail specifications table 6.5): `q.obis`, `q.fromtime`
//! (inclusive), `q.totime` (exclusive), `q.count`; `q.period` is ours (seconds, for lists beside the usual grid).

use smgw_units::Obis;

use crate::clock;
use crate::store::Selection;

/// Filters as asked for; each at most once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Query {
    /// Only this register.
    pub obis: Option<Obis>,
    /// The registration period of the lists, in seconds.
    pub period: Option<u32>,
    /// Only these entries.
    pub selection: Selection,
}

/// Text that is no query this resource takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueryError;

impl Query {
    /// Reads the part of a URI behind the question mark. Names outside `allowed` are refused, so
    /// that a mistyped filter does not return more than was asked for.
    ///
    /// # Errors
    /// [`QueryError`], answered with 400.
    pub fn parse(text: Option<&str>, allowed: &[&str]) -> Result<Self, QueryError> {
        let mut query = Self::default();
        for pair in text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (name, value) = pair.split_once('=').ok_or(QueryError)?;
            let (name, value) = (percent_decode(name)?, percent_decode(value)?);
            if !allowed.contains(&name.as_str()) {
                return Err(QueryError);
            }
            let repeated = match name.as_str() {
                "q.obis" => query
                    .obis
                    .replace(value.parse().map_err(|_| QueryError)?)
                    .is_some(),
                "q.period" => query
                    .period
                    .replace(value.parse().map_err(|_| QueryError)?)
                    .is_some(),
                "q.fromtime" => query
                    .selection
                    .from
                    .replace(clock::instant(&value).ok_or(QueryError)?)
                    .is_some(),
                "q.totime" => query
                    .selection
                    .to
                    .replace(clock::instant(&value).ok_or(QueryError)?)
                    .is_some(),
                "q.count" => query
                    .selection
                    .count
                    .replace(value.parse().map_err(|_| QueryError)?)
                    .is_some(),
                _ => return Err(QueryError),
            };
            if repeated {
                return Err(QueryError);
            }
        }
        Ok(query)
    }
}

/// RFC 3986; a plus sign stays a plus sign, as time offsets need it.
fn percent_decode(text: &str) -> Result<String, QueryError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        let (high, low) = (digit().ok_or(QueryError)?, digit().ok_or(QueryError)?);
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map_err(|_| QueryError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[&str] = &["q.obis", "q.fromtime", "q.totime", "q.count"];

    #[test]
    fn reads_all_filters() {
        let text = "q.obis=1-0%3a1.8.0*255&q.fromtime=2026-11-21T20:00:00Z&q.totime=2026-11-21T21:15:00%2B01:00&q.count=7";
        let query = Query::parse(Some(text), ALL).unwrap();
        assert_eq!(query.obis, Some(Obis::IMPORT_TOTAL));
        let [from, to] = [query.selection.from, query.selection.to].map(Option::unwrap);
        assert_eq!(from.to_string(), "2026-11-21T20:00:00Z");
        assert_eq!(to.to_string(), "2026-11-21T20:15:00Z");
        assert_eq!(query.selection.count, Some(7));
        assert_eq!(Query::parse(None, ALL), Ok(Query::default()));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for text in [
            "q.obis=1.8.0",
            "q.count=-1",
            "q.count",
            "q.fromtime=yesterday",
            "q.fromtime=2026-11-21",
            "count=1",
            "q.count=1&q.count=2",
            "q.count=%3",
            "q.count=%zz",
            "q.count=%ff",
        ] {
            assert_eq!(Query::parse(Some(text), ALL), Err(QueryError), "{text}");
        }
        assert_eq!(
            Query::parse(Some("q.obis=1-0:1.8.0"), &["q.count"]),
            Err(QueryError)
        );
    }
}
