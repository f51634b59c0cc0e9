// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the call log of OpenSC's `pkcs11-spy`, which stands between a program and its PKCS#11 library and writes down
//! every call: what was asked of the token, and whether a private key could have left it (TR-03116-3 §2.4).
//!
//! Only counts and judgements leave this module: the log itself holds PINs and agreed secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// The environment variable that names the library behind the spy.
pub const LIBRARY_VARIABLE: &str = "PKCS11SPY";

/// The environment variable that names the spy's log.
pub const LOG_VARIABLE: &str = "PKCS11SPY_OUTPUT";

/// The spy's library, where it is installed (Debian: `opensc-pkcs11`).
pub fn installed() -> Option<PathBuf> {
    const PLACES: [&str; 3] = [
        "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so",
        "/usr/lib/aarch64-linux-gnu/pkcs11-spy.so",
        "/usr/lib64/pkcs11/pkcs11-spy.so",
    ];
    let place = PLACES.iter().map(Path::new).find(|spy| spy.is_file());
    place.map(Path::to_owned)
}

/// What was asked of a token. Displays itself as a table of the operations that ran inside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trace {
    /// Successful calls by function name.
    pub calls: BTreeMap<String, u64>,
    /// Key pairs made inside the token.
    pub key_pairs: u64,
    /// Those of them whose private half is not sensitive or is extractable.
    pub weak_private_keys: u64,
    /// Reads of what a token keeps inside that it refused with `CKR_ATTRIBUTE_SENSITIVE`.
    pub refused_reads: u64,
    /// Calls that would let a private key leave or enter in the clear, in words.
    pub exposures: Vec<String>,
}

impl Trace {
    /// Successful calls of `function`.
    pub fn count(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    /// Reads a whole log of calls that came one after the other. Lines it does not know are skipped: other versions of
    /// the spy print more.
    pub fn parse(log: &str) -> Self {
        let mut reader = Reader::default();
        let mut call = Call::default();
        for line in log.lines() {
            if let Some(function) = function_of(line) {
                call = Call {
                    function,
                    lines: Vec::new(),
                };
            } else if let Some(code) = line.strip_prefix("Returned:") {
                reader.account(&call, code.split_whitespace().nth(1).unwrap_or_default());
                call = Call::default();
            } else {
                call.lines.push(line);
            }
        }
        reader.trace
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (function, what) in OPERATIONS {
            writeln!(f, "{:>6}  {what} ({function})", self.count(function))?;
        }
        Ok(())
    }
}

const OPERATIONS: [(&str, &str); 6] = [
    ("C_GenerateKeyPair", "key pairs made"),
    ("C_SignInit", "signatures made"),
    ("C_VerifyInit", "signatures verified"),
    ("C_DeriveKey", "secrets agreed"),
    ("C_GenerateRandom", "random strings given"),
    ("C_Login", "logins"),
];

/// Objects that hold nothing to keep inside.
const PUBLIC_CLASSES: [&str; 3] = ["CKO_CERTIFICATE", "CKO_DATA", "CKO_PUBLIC_KEY"];

/// Attributes that are a key (PKCS#11 v2.40 mechanisms §2.1, §2.3).
const KEY_VALUES: [&str; 2] = ["CKA_VALUE", "CKA_PRIVATE_EXPONENT"];

/// Attributes that keep a key inside.
const GUARDS: [&str; 2] = ["CKA_SENSITIVE", "CKA_EXTRACTABLE"];

#[derive(Default)]
struct Reader<'a> {
    trace: Trace,
    /// Handles whose value may be read: agreed secrets, which the token hands out by design (ECKA-DH), certificates
    /// and data.
    readable: BTreeSet<&'a str>,
    /// Sessions that search for objects of a public class.
    searching: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    fn account(&mut self, call: &Call<'a>, code: &str) {
        let handle = call.value("hObject").unwrap_or_default();
        let reads_key = call.function == "C_GetAttributeValue"
            && call
                .template("[in] pTemplate")
                .any(|(attribute, _)| KEY_VALUES.contains(&attribute));
        if code == "CKR_ATTRIBUTE_SENSITIVE" && reads_key {
            self.trace.refused_reads += 1;
        }
        if call.function.is_empty() || code != "CKR_OK" {
            return;
        }
        *self
            .trace
            .calls
            .entry(call.function.to_owned())
            .or_default() += 1;
        let session = call.value("hSession").unwrap_or_default();
        match call.function {
            "C_DeriveKey" => self.readable.extend(call.value("hKey")),
            // Handles are reused after destruction, so a stale permission must not linger.
            "C_DestroyObject" => {
                self.readable.remove(handle);
            }
            "C_FindObjectsInit" => {
                self.searching.remove(session);
                if call.is_public("[in] pTemplate") {
                    self.searching.insert(session);
                }
            }
            "C_FindObjects" => {
                for found in call.found() {
                    if self.searching.contains(session) {
                        self.readable.insert(found);
                    } else {
                        self.readable.remove(found);
                    }
                }
            }
            "C_CreateObject" if call.is_public("[in] pTemplate") => {
                self.readable.insert(handle);
            }
            "C_CreateObject" if call.states("[in] pTemplate", "CKA_CLASS", "CKO_PRIVATE_KEY") => {
                self.expose("a private key was brought in from outside".to_owned());
            }
            "C_GetAttributeValue" if reads_key && !self.readable.contains(handle) => {
                self.expose(format!(
                    "the value of object {handle} was read, which no agreement made and which is no public object"
                ));
            }
            "C_SetAttributeValue"
                if call
                    .template("[in] pTemplate")
                    .any(|(attribute, _)| GUARDS.contains(&attribute)) =>
            {
                self.expose(format!("the protection of object {handle} was changed"));
            }
            "C_WrapKey" => self.expose("C_WrapKey was called".to_owned()),
            "C_GenerateKeyPair" => {
                const PRIVATE: &str = "[in] pPrivateKeyTemplate";
                let kept = call.states(PRIVATE, "CKA_SENSITIVE", "True")
                    && call.states(PRIVATE, "CKA_EXTRACTABLE", "False");
                self.trace.key_pairs += 1;
                self.trace.weak_private_keys += u64::from(!kept);
                for half in ["hPublicKey", "hPrivateKey"] {
                    self.readable.remove(call.value(half).unwrap_or_default());
                }
            }
            _ => {}
        }
    }

    fn expose(&mut self, what: String) {
        self.trace.exposures.push(what);
    }
}

#[derive(Default)]
struct Call<'a> {
    function: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Call<'a> {
    /// The last value printed under a name: an output overwrites what went in.
    fn value(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().rev().find_map(|line| {
            let (left, right) = line.split_once(" = ")?;
            left.ends_with(name).then(|| right.trim())
        })
    }

    /// Attributes and values inside the template that starts with `title`.
    fn template(&self, title: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.lines
            .iter()
            .skip_while(move |line| !line.starts_with(title))
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.next().unwrap_or_default()))
            })
    }

    fn states(&self, title: &'static str, attribute: &str, value: &str) -> bool {
        self.template(title)
            .any(|stated| stated == (attribute, value))
    }

    fn is_public(&self, title: &'static str) -> bool {
        PUBLIC_CLASSES
            .iter()
            .any(|class| self.states(title, "CKA_CLASS", class))
    }

    /// What a search found.
    fn found(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.lines
            .iter()
            .filter_map(|line| line.strip_prefix("Object ")?.strip_suffix(" matches"))
    }
}

/// `12: C_Sign` starts a call.
fn function_of(line: &str) -> Option<&str> {
    let (number, name) = line.split_once(": ")?;
    let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (counted && name.starts_with("C_")).then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from `pkcs11-spy` of OpenSC 0.23 before SoftHSM2 2.6.1, shortened.
    const RECORDED: &str = include_str!("../../../fixtures/fuzz/pkcs11_trace/recorded.log");

    /// A key pair, and an agreed secret that is read.
    const AGREEMENT: &str = "\
5: C_GenerateKeyPair\n[in] hSession = 0x1\n[in] pPrivateKeyTemplate[2]: \n    CKA_SENSITIVE         True\n    \
CKA_EXTRACTABLE       False\n[out] hPublicKey = 0x2\n[out] hPrivateKey = 0x3\nReturned:  0 CKR_OK\n\
6: C_DeriveKey\n[in] hBaseKey = 0x3\n[out] hKey = 0x4\nReturned:  0 CKR_OK\n\
7: C_GetAttributeValue\n[in] hObject = 0x4\n[in] pTemplate[1]: \n    CKA_VALUE             00 / 32\n\
[out] pTemplate[1]: \n    CKA_VALUE             00 / 32\nReturned:  0 CKR_OK\n";

    fn read_value(handle: &str, code: &str) -> String {
        format!(
            "9: C_GetAttributeValue\n[in] hObject = {handle}\n[in] pTemplate[1]: \n    CKA_VALUE  00 / 32\n\
             Returned:  {code}\n"
        )
    }

    fn search(class: &str, found: &str) -> String {
        format!(
            "7: C_FindObjectsInit\n[in] hSession = 0x1\n[in] pTemplate[1]: \n    CKA_CLASS  {class}\n\
             Returned:  0 CKR_OK\n8: C_FindObjects\n[in] hSession = 0x1\n[out] ulObjectCount = 0x1\n\
             Object {found} matches\nReturned:  0 CKR_OK\n"
        )
    }

    #[test]
    fn a_recorded_log_is_read() {
        let trace = Trace::parse(RECORDED);
        assert_eq!(trace.count("C_GenerateKeyPair"), 2);
        assert_eq!((trace.key_pairs, trace.weak_private_keys), (2, 0));
        assert_eq!(trace.count("C_DeriveKey"), 1);
        assert_eq!(trace.refused_reads, 1);
        assert_eq!(trace.exposures, Vec::<String>::new());
        let table = trace.to_string();
        assert!(
            table.contains("     1  signatures made (C_SignInit)"),
            "{table}"
        );
    }

    #[test]
    fn an_agreed_secret_may_be_read_and_nothing_else() {
        assert_eq!(Trace::parse(AGREEMENT).exposures.len(), 0);
        let ok = "0 CKR_OK";
        let destroyed = "8: C_DestroyObject\n[in] hObject = 0x4\nReturned:  0 CKR_OK\n";
        for (exposures, then) in [
            (1, read_value("0x3", ok)),
            (1, destroyed.to_owned() + &read_value("0x4", ok)),
            (0, search("CKO_DATA", "0x5") + &read_value("0x5", ok)),
            (1, search("CKO_PRIVATE_KEY", "0x5") + &read_value("0x5", ok)),
            (1, search("CKO_PRIVATE_KEY", "0x4") + &read_value("0x4", ok)),
        ] {
            let trace = Trace::parse(&(AGREEMENT.to_owned() + &then));
            assert_eq!(trace.exposures.len(), exposures, "{then}");
        }
    }

    #[test]
    fn refused_calls_expose_nothing() {
        let trace = Trace::parse("3: C_WrapKey\nReturned:  104 CKR_KEY_NOT_WRAPPABLE\n");
        assert_eq!(trace, Trace::default());
        let trace = Trace::parse(&read_value("0x3", "17 CKR_ATTRIBUTE_SENSITIVE"));
        assert_eq!((trace.refused_reads, trace.exposures.len()), (1, 0));
    }

    #[test]
    fn wrapping_bringing_in_and_unlocking_are_exposures() {
        for call in [
            "3: C_WrapKey\nReturned:  0 CKR_OK\n",
            "3: C_CreateObject\n[in] pTemplate[1]: \n    CKA_CLASS CKO_PRIVATE_KEY\nReturned:  0 CKR_OK\n",
            "3: C_SetAttributeValue\n[in] pTemplate[1]: \n    CKA_EXTRACTABLE True\nReturned:  0 CKR_OK\n",
        ] {
            assert_eq!(Trace::parse(call).exposures.len(), 1, "{call}");
        }
    }

    #[test]
    fn an_extractable_key_is_weak() {
        let log = "3: C_GenerateKeyPair\n[in] pPublicKeyTemplate[1]: \n    CKA_EXTRACTABLE  False\n\
                   [in] pPrivateKeyTemplate[1]: \n    CKA_SENSITIVE         True\n\
                   [out] hPrivateKey = 0x3\nReturned:  0 CKR_OK\n";
        assert_eq!(Trace::parse(log).weak_private_keys, 1);
    }
}
