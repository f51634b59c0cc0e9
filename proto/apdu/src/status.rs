// SPDX-License-Identifier: MIT OR Apache-2.0
//! Status words and what they mean (ISO/IEC 7816-4 §5.6; TR-03110-3 appendix B).

use core::fmt;

/// SW1 and SW2.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StatusWord(pub u16);

macro_rules! status_words {
    ($($name:ident = $value:literal, $meaning:literal;)*) => {
        impl StatusWord {
            $(
                #[doc = concat!("The card says: ", $meaning, ".")]
                pub const $name: Self = Self($value);
            )*

            /// What the word means, as a lower-case fragment.
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($value => $meaning,)*
                    0x6100..=0x61ff => "more of the answer is waiting",
                    0x63c0..=0x63cf => "verification failed, tries are left as the last digit says",
                    0x6c00..=0x6cff => "wrong expected length, the right one is in the second byte",
                    0x6200..=0x62ff => "warning, memory unchanged",
                    0x6300..=0x63ff => "warning, memory changed",
                    0x6400..=0x64ff => "execution error, memory unchanged",
                    0x6500..=0x65ff => "execution error, memory changed",
                    _ => "status word that ISO/IEC 7816-4 does not name",
                }
            }
        }
    };
}

status_words! {
    OK = 0x9000, "done";
    END_OF_FILE = 0x6282, "file ended before the expected length";
    DEACTIVATED = 0x6283, "file or password deactivated";
    NOT_AUTHENTICATED = 0x6300, "authentication failed";
    PIN_BLOCKED_LEFT = 0x63c0, "verification failed, no tries left";
    MEMORY_FAILURE = 0x6581, "memory failure";
    WRONG_LENGTH = 0x6700, "wrong length";
    NO_SECURE_MESSAGING = 0x6882, "secure messaging not supported";
    LAST_OF_CHAIN_EXPECTED = 0x6883, "last command of the chain expected";
    NO_CHAINING = 0x6884, "command chaining not supported";
    SECURITY_STATUS = 0x6982, "security status not satisfied";
    AUTHENTICATION_BLOCKED = 0x6983, "authentication method blocked";
    REFERENCE_DATA_UNUSABLE = 0x6984, "reference data not usable";
    CONDITIONS = 0x6985, "conditions of use not satisfied";
    NO_CURRENT_FILE = 0x6986, "command not allowed, no file is selected";
    MISSING_OBJECT = 0x6987, "expected secure messaging data object missing";
    WRONG_OBJECT = 0x6988, "secure messaging data object incorrect";
    WRONG_DATA = 0x6a80, "wrong parameters in the data field";
    FILE_NOT_FOUND = 0x6a82, "file or application not found";
    NO_SPACE = 0x6a84, "not enough memory space in the file";
    WRONG_PARAMETERS = 0x6a86, "wrong parameters P1 or P2";
    NOT_FOUND = 0x6a88, "referenced data not found";
    BEYOND_FILE = 0x6b00, "offset beyond the file";
    UNKNOWN_INSTRUCTION = 0x6d00, "instruction not supported";
    UNKNOWN_CLASS = 0x6e00, "class not supported";
    NO_DIAGNOSIS = 0x6f00, "error without precise diagnosis";
}

impl StatusWord {
    /// A failed verification after which so many tries are left (15 stands for all above).
    pub const fn tries(left: u8) -> Self {
        Self(0x63c0 | if left < 15 { left as u16 } else { 15 })
    }

    /// Whether the command was carried out without a remark.
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// The tries left for a PIN, in 63Cx.
    pub const fn tries_left(self) -> Option<u8> {
        match self.0 {
            0x63c0..=0x63cf => Some(self.0 as u8 & 0x0f),
            _ => None,
        }
    }

    /// The bytes of the answer that GET RESPONSE would bring, 1 to 256, in 61xx.
    pub const fn more(self) -> Option<u32> {
        self.second_of(0x61)
    }

    /// The length the card wants to be asked for, 1 to 256, in 6Cxx.
    pub const fn right_length(self) -> Option<u32> {
        self.second_of(0x6c)
    }

    const fn second_of(self, first: u8) -> Option<u32> {
        let [found, second] = self.0.to_be_bytes();
        match second {
            _ if found != first => None,
            0 => Some(256),
            length => Some(length as u32),
        }
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({})", self.0, self.meaning())
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn counts_and_lengths_are_read_from_the_word() {
        assert_eq!(StatusWord(0x63c2).tries_left(), Some(2));
        assert_eq!(StatusWord::tries(2), StatusWord(0x63c2));
        assert_eq!(StatusWord::tries(200), StatusWord(0x63cf));
        assert_eq!(StatusWord(0x6300).tries_left(), None);
        assert_eq!(StatusWord(0x6100).more(), Some(256));
        assert_eq!(StatusWord(0x6c10).right_length(), Some(16));
        assert_eq!(StatusWord(0x6c10).more(), None);
        assert_eq!(
            StatusWord(0x6982).to_string(),
            "6982 (security status not satisfied)"
        );
        for word in 0..=u16::MAX {
            assert!(!StatusWord(word).meaning().is_empty());
        }
    }
}
