// SPDX-License-Identifier: MIT OR Apache-2.0
//! Filter expressions of `-E`: which cases of the catalogue are meant.
//!
//! ```text
//! expression = all-of { "|" all-of }
//! all-of     = term { "&" term }
//! term       = "!" term | "(" expression ")" | "all()" | "none()" | field "(" pattern ")"
//! field      = "id" | "iface" | "level" | "needs"
//! pattern    = characters, with * for any number and ? for one; letter case does not matter
//! ```
//!
//! `id(MET-*) & iface(lmn) | level(must) & !needs(meter.mbus)`

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use miette::{Diagnostic, LabeledSpan, SourceCode};

use crate::diagnostic::did_you_mean;

/// Longest expression, bytes.
const MAX_LENGTH: usize = 4096;

/// Deepest nesting of parentheses and negations.
const MAX_DEPTH: usize = 64;

const FIELDS: [&str; 6] = ["id", "iface", "level", "needs", "all", "none"];

/// What a filter sees of a case.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Catalogue id, e.g. `MET-01`.
    pub id: &'a str,
    /// Interface, e.g. `HAN`.
    pub interface: &'a str,
    /// `must`, `should`, `must-not`, `ics`, `characterise`.
    pub level: &'a str,
    /// Names of the capabilities it needs.
    pub needs: &'a [&'a str],
}

/// A parsed expression.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter(Node);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Node {
    All,
    Any(Vec<Node>),
    Every(Vec<Node>),
    Not(Box<Node>),
    Field(Field, String),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    Id,
    Interface,
    Level,
    Needs,
}

impl Filter {
    /// The filter that every case passes.
    pub fn all() -> Self {
        Self(Node::All)
    }

    /// Whether the case is meant.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        self.0.matches(subject)
    }
}

impl Node {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All => true,
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(subject)),
            Self::Every(nodes) => nodes.iter().all(|node| node.matches(subject)),
            Self::Not(node) => !node.matches(subject),
            Self::Field(field, pattern) => match field {
                Field::Id => fits(pattern, subject.id),
                Field::Interface => fits(pattern, subject.interface),
                Field::Level => fits(pattern, subject.level),
                Field::Needs => subject.needs.iter().any(|need| fits(pattern, need)),
            },
        }
    }
}

/// Glob matching without backtracking into more than the last star: linear in practice, quadratic at worst.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// An expression that is none. Exit code 2 of the bench.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FilterError {
    expression: String,
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl FilterError {
    /// The bytes of the expression that are wrong; empty at the end of it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the filter expression is wrong: {}", self.message)
    }
}

impl std::error::Error for FilterError {}

impl Diagnostic for FilterError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_deref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.expression)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), self.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(expression: &str) -> Result<Self, FilterError> {
        let mut parser = Parser {
            text: expression,
            at: 0,
        };
        if expression.len() > MAX_LENGTH {
            parser.at = expression.floor_char_boundary(MAX_LENGTH);
            return Err(parser.error(0, format!("it is longer than {MAX_LENGTH} bytes"), None));
        }
        let node = parser.expression(0)?;
        match parser.peek() {
            None => Ok(Self(node)),
            Some(found) => {
                let help = "combine with & (and) or | (or)".to_owned();
                Err(parser.error(
                    found.len_utf8(),
                    format!("`{found}` after the end"),
                    Some(help),
                ))
            }
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn expression(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.every(depth)?];
        while self.take('|') {
            nodes.push(self.every(depth)?);
        }
        Ok(single(nodes, Node::Any))
    }

    fn every(&mut self, depth: usize) -> Result<Node, FilterError> {
        let mut nodes = vec![self.term(depth)?];
        while self.take('&') {
            nodes.push(self.term(depth)?);
        }
        Ok(single(nodes, Node::Every))
    }

    fn term(&mut self, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_DEPTH {
            return Err(self.error(0, "nested too deeply".to_owned(), None));
        }
        if self.take('!') {
            return Ok(Node::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.take('(') {
            let inner = self.expression(depth + 1)?;
            self.close()?;
            return Ok(inner);
        }
        self.field()
    }

    fn field(&mut self) -> Result<Node, FilterError> {
        let fields = format!("write one of {}, as in id(MET-*)", FIELDS.join(", "));
        let Some(first) = self.peek() else {
            return Err(self.error(
                0,
                "a condition is missing at the end".to_owned(),
                Some(fields),
            ));
        };
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let field = match word {
            "id" => Some(Field::Id),
            "iface" => Some(Field::Interface),
            "level" => Some(Field::Level),
            "needs" => Some(Field::Needs),
            "all" | "none" => None,
            "" => {
                let message = format!("a condition is missing before `{first}`");
                return Err(self.error(first.len_utf8(), message, Some(fields)));
            }
            _ => {
                let help = did_you_mean(word, &FIELDS);
                return Err(self.error(end, format!("there is no field `{word}`"), Some(help)));
            }
        };
        let word_len = end;
        self.at += end;
        if !self.take('(') {
            let help = format!("write {word}(…)");
            return Err(self.error(0, format!("`{word}` needs parentheses"), Some(help)));
        }
        let rest = &self.text[self.at..];
        let end = rest.find([')', '(', '&', '|']).unwrap_or(rest.len());
        let pattern = rest[..end].trim();
        let Some(field) = field else {
            if !pattern.is_empty() {
                return Err(self.error(end, format!("`{word}()` takes no pattern"), None));
            }
            self.at += end;
            self.close()?;
            return Ok(if word == "all" {
                Node::All
            } else {
                Node::Not(Box::new(Node::All))
            });
        };
        if pattern.is_empty() {
            self.at -= word_len + 1;
            let help = format!("{word}(*) means any");
            return Err(self.error(
                word_len + 2,
                format!("`{word}` without a pattern"),
                Some(help),
            ));
        }
        self.at += end;
        let node = Node::Field(field, pattern.to_owned());
        self.close()?;
        Ok(node)
    }

    fn close(&mut self) -> Result<(), FilterError> {
        if self.take(')') {
            return Ok(());
        }
        let found = self.peek();
        let width = found.map_or(0, char::len_utf8);
        Err(self.error(width, "a closing parenthesis is missing".to_owned(), None))
    }

    /// The next character that is not space, without taking it.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn error(&self, width: usize, message: String, help: Option<String>) -> FilterError {
        let end = (self.at + width).min(self.text.len());
        FilterError {
            expression: self.text.to_owned(),
            span: self.at..end,
            message,
            help,
        }
    }
}

fn single(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            many(nodes)
        }
        None => many(nodes),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CASES: [Subject<'static>; 4] = [
        Subject {
            id: "MET-01",
            interface: "LMN",
            level: "must",
            needs: &["meter.sml", "gateway"],
        },
        Subject {
            id: "MET-02",
            interface: "LMN",
            level: "must",
            needs: &["meter.mbus"],
        },
        Subject {
            id: "PRX-19",
            interface: "CLS",
            level: "characterise",
            needs: &["cls", "emt"],
        },
        Subject {
            id: "CON-05",
            interface: "HAN",
            level: "must-not",
            needs: &["consumer"],
        },
    ];

    fn selected(expression: &str) -> Vec<&'static str> {
        let filter: Filter = expression
            .parse()
            .unwrap_or_else(|e| panic!("{expression}: {e}"));
        CASES
            .iter()
            .filter(|case| filter.matches(case))
            .map(|case| case.id)
            .collect()
    }

    #[test]
    fn expressions_select() {
        for (expression, expected) in [
            ("all()", vec!["MET-01", "MET-02", "PRX-19", "CON-05"]),
            ("none()", vec![]),
            ("id(met-*)", vec!["MET-01", "MET-02"]),
            ("id(MET-0?) & !needs(meter.mbus)", vec!["MET-01"]),
            ("id(*9)|iface(han)", vec!["PRX-19", "CON-05"]),
            ("level(must)", vec!["MET-01", "MET-02"]),
            ("!(level(must*) | iface(cls))", vec![]),
            (" ! ! id(PRX-19) ", vec!["PRX-19"]),
            (
                "id(MET-*) & iface(han) | level(must) & !needs(meter.mbus)",
                vec!["MET-01"],
            ),
        ] {
            assert_eq!(selected(expression), expected, "{expression}");
        }
    }

    #[test]
    fn mistakes_are_placed() {
        for (expression, span, part) in [
            ("", 0..0, "missing at the end"),
            ("id(MET-01) &", 12..12, "missing at the end"),
            ("id(MET-01) iface(han)", 11..12, "after the end"),
            ("ifac(han)", 0..4, "no field `ifac`"),
            ("id", 2..2, "needs parentheses"),
            ("id()", 0..4, "without a pattern"),
            ("id(MET-01", 9..9, "closing parenthesis"),
            ("(id(MET-01)", 11..11, "closing parenthesis"),
            ("all(x)", 4..5, "takes no pattern"),
            ("& id(a)", 0..1, "missing before `&`"),
            ("id(ä) ü", 7..9, "after the end"),
        ] {
            let error = expression.parse::<Filter>().expect_err(expression);
            assert_eq!(error.span(), span, "{expression}: {error}");
            assert!(error.to_string().contains(part), "{expression}: {error}");
        }
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        for expression in ["!".repeat(4000), "(".repeat(4000), "é".repeat(4000)] {
            assert!(expression.parse::<Filter>().is_err());
        }
        assert!(format!("{}all()", "!".repeat(60)).parse::<Filter>().is_ok());
    }

    #[test]
    fn a_mistake_is_shown_with_a_caret() {
        let error = "id(MET-*) & ifac(han)"
            .parse::<Filter>()
            .expect_err("no such field");
        let mut shown = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .render_report(&mut shown, &error)
            .expect("rendered");
        insta::assert_snapshot!(shown);
    }

    /// A random expression together with what it must say about each case.
    fn expressions() -> impl Strategy<Value = (String, [bool; 4])> {
        let leaf = (0..4_usize).prop_map(|i| {
            let mut truth = [false; 4];
            truth[i] = true;
            (format!("id({})", CASES[i].id), truth)
        });
        leaf.prop_recursive(5, 32, 3, |inner| {
            prop_oneof![
                inner
                    .clone()
                    .prop_map(|(e, t)| (format!("!({e})"), t.map(|b| !b))),
                (inner.clone(), inner.clone()).prop_map(|((a, s), (b, t))| {
                    (
                        format!("({a}) & ({b})"),
                        std::array::from_fn(|i| s[i] && t[i]),
                    )
                }),
                (inner.clone(), inner).prop_map(|((a, s), (b, t))| {
                    (format!("({a}|{b})"), std::array::from_fn(|i| s[i] || t[i]))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn expressions_mean_what_they_say((expression, truth) in expressions()) {
            let filter: Filter = expression.parse().map_err(|e: FilterError| TestCaseError::fail(e.to_string()))?;
            for (case, expected) in CASES.iter().zip(truth) {
                prop_assert_eq!(filter.matches(case), expected, "{} on {}", &expression, case.id);
            }
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[a-z()!&|* ?é-]{0,80}") {
            if let Err(error) = text.parse::<Filter>() {
                prop_assert!(text.get(error.span()).is_some());
            }
        }
    }
}
