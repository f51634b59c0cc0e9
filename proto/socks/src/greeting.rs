// SPDX-License-Identifier: MIT OR Apache-2.0
//! Greeting and method choice (RFC 1928 §3; REQ.SOCKS.NegotiateAuth.10/20: only method 06, TLS).

use alloc::vec::Vec;

use crate::{SOCKS_VERSION, SocksError};

/// An authentication method as the IANA registry "SOCKS Methods" numbers it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Method(pub u8);

impl Method {
    /// No authentication.
    pub const NO_AUTH: Self = Self(0x00);
    /// User name and password (RFC 1929).
    pub const USER_PASS: Self = Self(0x02);
    /// TLS, registered as "Secure Sockets Layer"; the only one a gateway accepts.
    pub const TLS: Self = Self(0x06);
    /// The server's answer when it accepts none of the offered methods.
    pub const NONE: Self = Self(0xff);
}

/// The client's first message: `05 n method…`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Greeting {
    methods: Vec<Method>,
}

impl Greeting {
    /// A greeting that offers `methods`; `None` unless there are 1 to 255 of them.
    pub fn new(methods: Vec<Method>) -> Option<Self> {
        (1..=255)
            .contains(&methods.len())
            .then_some(Self { methods })
    }

    /// Reads a greeting from the front of `input`; returns it and the octets it took, or `None` while octets are missing.
    ///
    /// # Errors
    /// [`SocksError::Version`] or [`SocksError::NoMethods`], each as soon as the octet at fault is seen.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, SocksError> {
        let Some((&version, rest)) = input.split_first() else {
            return Ok(None);
        };
        if version != SOCKS_VERSION {
            return Err(SocksError::Version(version));
        }
        let Some((&count, rest)) = rest.split_first() else {
            return Ok(None);
        };
        if count == 0 {
            return Err(SocksError::NoMethods);
        }
        let Some(methods) = rest.get(..usize::from(count)) else {
            return Ok(None);
        };
        let methods = methods.iter().copied().map(Method).collect();
        Ok(Some((Self { methods }, 2 + usize::from(count))))
    }

    /// The methods in the order offered; never empty.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Whether `method` was offered.
    pub fn offers(&self, method: Method) -> bool {
        self.methods.contains(&method)
    }

    /// The octets on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.methods.len());
        // `new` and `parse` bound the count by 255.
        out.extend([SOCKS_VERSION, self.methods.len() as u8]);
        out.extend(self.methods.iter().map(|method| method.0));
        out
    }
}

/// The server's answer `05 method`; [`Method::NONE`] means that it will close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MethodChoice(pub Method);

impl MethodChoice {
    /// Reads the choice from the front of `input`; returns it and the octets it took, or `None` while octets are missing.
    ///
    /// # Errors
    /// [`SocksError::Version`].
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, SocksError> {
        match *input {
            [] => Ok(None),
            [SOCKS_VERSION] => Ok(None),
            [SOCKS_VERSION, method, ..] => Ok(Some((Self(Method(method)), 2))),
            [version, ..] => Err(SocksError::Version(version)),
        }
    }

    /// The octets on the wire.
    pub fn encode(self) -> [u8; 2] {
        [SOCKS_VERSION, self.0.0]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn greetings_of_the_catalogue() {
        let (tls, taken) = Greeting::parse(&[5, 1, 6, 0xaa]).unwrap().unwrap();
        assert_eq!((tls.methods(), taken), (&[Method::TLS][..], 3));
        let (plain, _) = Greeting::parse(&[5, 2, 0, 2]).unwrap().unwrap();
        assert!(!plain.offers(Method::TLS));
        assert!(plain.offers(Method::USER_PASS));
        assert_eq!(Greeting::parse(&[4, 1, 0, 80]), Err(SocksError::Version(4)));
        assert_eq!(Greeting::parse(&[5, 0]), Err(SocksError::NoMethods));
        assert_eq!(Greeting::parse(&[5, 2, 6]), Ok(None));
    }

    #[test]
    fn choice_is_two_octets() {
        assert_eq!(MethodChoice(Method::TLS).encode(), [5, 6]);
        assert_eq!(MethodChoice(Method::NONE).encode(), [5, 0xff]);
        assert_eq!(MethodChoice::parse(&[5]), Ok(None));
        assert_eq!(
            MethodChoice::parse(&[5, 6]),
            Ok(Some((MethodChoice(Method::TLS), 2)))
        );
        assert_eq!(MethodChoice::parse(&[1]), Err(SocksError::Version(1)));
    }

    #[test]
    fn a_greeting_has_one_to_255_methods() {
        assert!(Greeting::new(vec![]).is_none());
        assert!(Greeting::new(vec![Method::TLS; 256]).is_none());
        let full = Greeting::new(vec![Method::TLS; 255]).unwrap();
        assert_eq!(Greeting::parse(&full.encode()), Ok(Some((full, 257))));
    }

    proptest! {
        #[test]
        fn round_trip_and_every_prefix_waits(methods in prop::collection::vec(any::<u8>(), 1..=255)) {
            let greeting = Greeting::new(methods.into_iter().map(Method).collect()).unwrap();
            let wire = greeting.encode();
            prop_assert_eq!(Greeting::parse(&wire), Ok(Some((greeting, wire.len()))));
            for end in 0..wire.len() {
                prop_assert_eq!(Greeting::parse(&wire[..end]), Ok(None));
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some((greeting, taken))) = Greeting::parse(&bytes) {
                prop_assert_eq!(greeting.encode(), &bytes[..taken]);
            }
            let _ = MethodChoice::parse(&bytes);
        }
    }
}
