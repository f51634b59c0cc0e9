// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading the call log of OpenSC's `pkcs11-spy`, which sits between a gateway and its PKCS#11 library.
//!
//! Only counts and judgements leave this module: the log itself holds PINs and agreed secrets.

use std::collections::{BTreeMap, BTreeSet};

/// What the gateway asked of its module.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pkcs11Trace {
    /// Successful calls by function name.
    pub calls: BTreeMap<String, u64>,
    /// Private keys generated inside the module that are not sensitive or are extractable.
    pub weak_private_keys: u64,
    /// Calls that would let a private key leave or enter in the clear, in words.
    pub exposures: Vec<String>,
}

impl Pkcs11Trace {
    /// Successful calls of `function`.
    pub fn count(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    /// Reads a whole log. Lines it does not know are skipped: other versions of the spy print more.
    pub fn parse(log: &str) -> Self {
        let mut trace = Self::default();
        // Handles of agreed secrets: the module hands their value out by design (ECKA-DH).
        let mut agreed = BTreeSet::new();
        let mut call = Call::default();
        for line in log.lines() {
            if let Some(function) = function_of(line) {
                call = Call {
                    function,
                    ..Call::default()
                };
                continue;
            }
            if let Some(code) = line.strip_prefix("Returned:") {
                trace.account(&call, code.contains("CKR_OK"), &mut agreed);
                call = Call::default();
                continue;
            }
            call.lines.push(line);
        }
        trace
    }

    fn account(&mut self, call: &Call<'_>, succeeded: bool, agreed: &mut BTreeSet<String>) {
        if call.function.is_empty() || !succeeded {
            return;
        }
        *self.calls.entry(call.function.to_owned()).or_default() += 1;
        match call.function {
            "C_DeriveKey" => agreed.extend(call.handle("phKey").or_else(|| call.handle("hKey"))),
            "C_DestroyObject" => {
                // Handles are reused after destruction, so a stale permission must not linger.
                if let Some(handle) = call.handle("hObject") {
                    agreed.remove(&handle);
                }
            }
            "C_WrapKey" => self.exposures.push("C_WrapKey was called".to_owned()),
            "C_GetAttributeValue" => {
                let asks_value = call
                    .attributes("[in] pTemplate")
                    .any(|name| name == "CKA_VALUE");
                let handle = call.handle("hObject").unwrap_or_default();
                if asks_value && !agreed.contains(&handle) {
                    self.exposures.push(format!(
                        "CKA_VALUE of object {handle} was read, which no agreement made"
                    ));
                }
            }
            "C_CreateObject" if call.states("CKA_CLASS", "CKO_PRIVATE_KEY") => {
                self.exposures
                    .push("a private key was brought in from outside".to_owned());
            }
            "C_GenerateKeyPair" => {
                let sensitive = call.states("CKA_SENSITIVE", "True");
                let fixed = call.states("CKA_EXTRACTABLE", "False");
                self.weak_private_keys += u64::from(!(sensitive && fixed));
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Call<'a> {
    function: &'a str,
    lines: Vec<&'a str>,
}

impl<'a> Call<'a> {
    /// The last value printed for handle `name`: an output overwrites what went in.
    fn handle(&self, name: &str) -> Option<String> {
        self.lines.iter().rev().find_map(|line| {
            let (left, right) = line.split_once(" = ")?;
            left.ends_with(name).then(|| right.trim().to_owned())
        })
    }

    /// Attribute names inside the template that starts with `title`.
    fn attributes(&self, title: &'static str) -> impl Iterator<Item = &'a str> + '_ {
        self.lines
            .iter()
            .skip_while(move |line| !line.starts_with(title))
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_whitespace().next())
    }

    fn states(&self, attribute: &str, value: &str) -> bool {
        self.lines.iter().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(attribute) && words.next() == Some(value)
        })
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
    use proptest::prelude::*;

    use super::*;

    const AGREEMENT: &str = "\
5: C_GenerateKeyPair\n[in] pPrivateKeyTemplate[4]: \n    CKA_SENSITIVE         True\n    \
CKA_EXTRACTABLE       False\n[out] hPublicKey = 0x2\n[out] hPrivateKey = 0x3\nReturned:  0 CKR_OK\n\
6: C_DeriveKey\n[in] hBaseKey = 0x3\n[out] hKey = 0x4\nReturned:  0 CKR_OK\n\
7: C_GetAttributeValue\n[in] hObject = 0x4\n[in] pTemplate[1]: \n    CKA_VALUE             00 / 32\n\
[out] pTemplate[1]: \n    CKA_VALUE             00 / 32\nReturned:  0 CKR_OK\n";

    #[test]
    fn an_agreed_secret_may_be_read() {
        let trace = Pkcs11Trace::parse(AGREEMENT);
        assert_eq!(trace.count("C_DeriveKey"), 1);
        assert_eq!((trace.weak_private_keys, trace.exposures.len()), (0, 0));
    }

    #[test]
    fn any_other_value_is_an_exposure() {
        let log = format!(
            "{AGREEMENT}8: C_DestroyObject\n[in] hObject = 0x4\nReturned:  0 CKR_OK\n\
             9: C_GetAttributeValue\n[in] hObject = 0x4\n[in] pTemplate[1]: \n    CKA_VALUE  00 / 32\n\
             Returned:  0 CKR_OK\n"
        );
        assert_eq!(Pkcs11Trace::parse(&log).exposures.len(), 1);
    }

    #[test]
    fn refused_calls_do_not_count() {
        let log = "3: C_WrapKey\nReturned:  104 CKR_KEY_NOT_WRAPPABLE\n";
        assert_eq!(Pkcs11Trace::parse(log), Pkcs11Trace::default());
    }

    #[test]
    fn an_extractable_key_is_weak() {
        let log = "3: C_GenerateKeyPair\n    CKA_SENSITIVE         True\n\
                   [out] hPrivateKey = 0x3\nReturned:  0 CKR_OK\n";
        assert_eq!(Pkcs11Trace::parse(log).weak_private_keys, 1);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(([0-9]{0,3}: C_[A-Za-z]{0,12}|\\[(in|out)\\] [a-zA-Z]{1,9} = [x0-9]{0,4}|Returned: .{0,9}|.{0,20})\n){0,30}") {
            let trace = Pkcs11Trace::parse(&text);
            let returns = text.lines().filter(|line| line.starts_with("Returned:")).count() as u64;
            prop_assert!(trace.calls.values().sum::<u64>() <= returns);
        }
    }
}
