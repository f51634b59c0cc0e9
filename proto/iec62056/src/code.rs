// SPDX-License-Identifier: MIT OR Apache-2.0
//! Codes in front of values: OBIS in its long and its short forms (IEC 62056-61; IEC 62056-21 §6.5).

use core::fmt;
use core::str::FromStr;

use nom::branch::alt;
use nom::bytes::complete::take_while_m_n;
use nom::character::complete::{char, one_of};
use nom::combinator::{all_consuming, map_opt, opt, value};
use nom::sequence::{preceded, separated_pair, terminated};
use nom::{IResult, Parser as _};
use smgw_units::Obis;

/// `A-B:C.D.E*F` or a part of it from C on, such as `1.8.0`, `6.8*01`, `F.F`, `C.1`, `F`.
///
/// `Display` writes the parts that are there, letters as the numbers they stand for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Code {
    /// Medium and channel.
    pub ab: Option<(u8, u8)>,
    /// Quantity; C, F, L and P stand for 96, 97, 98 and 99.
    pub c: u8,
    /// Kind of value; letters as for C.
    pub d: Option<u8>,
    /// Tariff.
    pub e: Option<u8>,
    /// Earlier billing period, behind `*` or `&`; 255 for the present one.
    pub f: Option<u8>,
}

/// Text that is no code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CodeError;

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a code; expected A-B:C.D.E*F or a part of it such as 1.8.0 or F.F")
    }
}

impl core::error::Error for CodeError {}

impl Code {
    /// The same code with medium and channel 0, where it names none: short codes leave it to the kind
    /// of meter.
    pub fn with_medium(self, medium: u8) -> Self {
        Self {
            ab: self.ab.or(Some((medium, 0))),
            ..self
        }
    }

    /// All six groups: 0 for D and E, 255 for F where they are left out.
    pub fn obis(&self, medium: u8) -> Obis {
        let (a, b) = self.ab.unwrap_or((medium, 0));
        let [d, e] = [self.d, self.e].map(Option::unwrap_or_default);
        Obis([a, b, self.c, d, e, self.f.unwrap_or(255)])
    }
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let ab = opt(terminated(
            separated_pair(number, char('-'), number),
            char(':'),
        ));
        let part = |input| opt(preceded(char('.'), group)).parse(input);
        let f = opt(preceded(one_of("*&"), number));
        let parsed: IResult<_, _> =
            all_consuming((ab, group, part, opt(preceded(char('.'), number)), f)).parse(text);
        let (_, (ab, c, d, e, f)) = parsed.map_err(|_| CodeError)?;
        Ok(Self { ab, c, d, e, f })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((a, b)) = self.ab {
            write!(f, "{a}-{b}:")?;
        }
        write!(f, "{}", self.c)?;
        for part in [self.d, self.e].into_iter().flatten() {
            write!(f, ".{part}")?;
        }
        self.f.map_or(Ok(()), |period| write!(f, "*{period}"))
    }
}

/// One to three digits up to 255.
fn number(input: &str) -> IResult<&str, u8> {
    let digits = take_while_m_n(1, 3, |letter: char| letter.is_ascii_digit());
    map_opt(digits, |digits: &str| digits.parse().ok()).parse(input)
}

/// A number or a letter that stands for one.
fn group(input: &str) -> IResult<&str, u8> {
    let letter = alt((
        value(96, char('C')),
        value(97, char('F')),
        value(98, char('L')),
        value(99, char('P')),
    ));
    alt((letter, number)).parse(input)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn long_and_short_codes_print_the_same_way() {
        let cases = [
            ("1-0:1.8.0*255", "1-0:1.8.0*255"),
            ("1-0:1.8.1*07", "1-0:1.8.1*7"),
            ("1-0:1.8.1&07", "1-0:1.8.1*7"),
            ("0-0:C.51.2*01", "0-0:96.51.2*1"),
            ("6.8*01", "6.8*1"),
            ("F.F", "97.97"),
            ("C.1", "96.1"),
            ("L.1", "98.1"),
            ("F", "97"),
            ("36.7.0", "36.7.0"),
        ];
        for (text, printed) in cases {
            assert_eq!(text.parse::<Code>().unwrap().to_string(), printed);
        }
        let code: Code = "F.F".parse().unwrap();
        assert_eq!(code.with_medium(1).to_string(), "1-0:97.97");
        assert_eq!(code.obis(1).to_string(), "1-0:97.97.0*255");
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "1.",
            "1-0:",
            "0:96.7.19",
            "256.1",
            "1.8.0*",
            "A.1",
            "1.8.0 ",
            "1.8.F",
        ] {
            assert_eq!(text.parse::<Code>(), Err(CodeError), "{text}");
        }
    }
}
