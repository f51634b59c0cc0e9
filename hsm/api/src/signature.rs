// SPDX-License-Identifier: MIT OR Apache-2.0
//! ECDSA signatures in their two forms: plain `r || s` (TR-03111 §5.2.1), which modules speak, and DER
//! `Ecdsa-Sig-Value` (RFC 3279 §2.2.3), which TLS and X.509 carry.

use alloc::vec::Vec;

use crate::Curve;
use crate::public_key::tlv;

/// DER of a plain signature; `None` when its length is odd, zero or beyond the largest curve.
pub fn der_from_plain(plain: &[u8]) -> Option<Vec<u8>> {
    if plain.is_empty() || !plain.len().is_multiple_of(2) || plain.len() > 2 * MAX_FIELD_LEN {
        return None;
    }
    let (r, s) = plain.split_at(plain.len() / 2);
    Some(tlv(0x30, &[integer(r), integer(s)].concat()))
}

/// Plain form of a DER signature for `curve`; `None` unless the encoding is strict DER of two
/// non-negative integers that fit the curve.
pub fn plain_from_der(curve: Curve, der: &[u8]) -> Option<Vec<u8>> {
    let (body, rest) = element(0x30, der)?;
    let (r, body) = element(0x02, body)?;
    let (s, end) = element(0x02, body)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let mut plain = Vec::with_capacity(2 * curve.field_len());
    for number in [r, s] {
        let magnitude = magnitude(number)?;
        let padding = curve.field_len().checked_sub(magnitude.len())?;
        plain.resize(plain.len() + padding, 0);
        plain.extend_from_slice(magnitude);
    }
    Some(plain)
}

/// Bytes of the longest coordinate of [`Curve::ALL`].
const MAX_FIELD_LEN: usize = 64;

/// A DER INTEGER from an unsigned big-endian number.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let magnitude = number.get(zeros..).unwrap_or_default();
    // A leading zero keeps the number positive, and is the whole content of zero itself.
    let positive = match magnitude.first() {
        Some(first) if *first < 0x80 => magnitude.to_vec(),
        _ => [&[0], magnitude].concat(),
    };
    tlv(0x02, &positive)
}

/// The unsigned number in the content of a DER INTEGER, without its sign byte.
fn magnitude(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] => None,
        [0] => Some(&[]),
        [0, rest @ ..] => rest
            .first()
            .is_some_and(|next| *next >= 0x80)
            .then_some(rest),
        [first, ..] => (*first < 0x80).then_some(content),
    }
}

/// Splits one element with a minimal length below 256 off the front: its content and what follows.
fn element(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match input {
        [found, 0x81, len, rest @ ..] if *found == tag && *len >= 0x80 => (*len, rest),
        [found, len, rest @ ..] if *found == tag && *len < 0x80 => (*len, rest),
        _ => return None,
    };
    rest.split_at_checked(usize::from(len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve() -> impl Strategy<Value = Curve> {
        prop::sample::select(Curve::ALL.to_vec())
    }

    /// Plain signatures whose halves often begin with zeros or a high bit.
    fn plain() -> impl Strategy<Value = (Curve, Vec<u8>)> {
        curve().prop_flat_map(|curve| {
            let len = curve.field_len();
            let half =
                (0..=len, prop::collection::vec(any::<u8>(), len)).prop_map(|(zeros, mut half)| {
                    half.iter_mut().take(zeros).for_each(|byte| *byte = 0);
                    half
                });
            (
                Just(curve),
                [half.clone(), half].prop_map(|halves| halves.concat()),
            )
        })
    }

    proptest! {
        #[test]
        fn plain_survives_der((curve, plain) in plain()) {
            let der = der_from_plain(&plain).unwrap();
            prop_assert_eq!(plain_from_der(curve, &der), Some(plain));
        }

        /// Whatever is accepted is the one DER encoding of its value: nothing malleable gets through.
        #[test]
        fn accepted_der_is_canonical((curve, plain) in plain(), at in any::<prop::sample::Index>(), bits in 1u8..) {
            let mut der = der_from_plain(&plain).unwrap();
            let at = at.index(der.len());
            der[at] ^= bits;
            if let Some(plain) = plain_from_der(curve, &der) {
                prop_assert_eq!(der_from_plain(&plain), Some(der));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(curve in curve(), bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            if let Some(plain) = plain_from_der(curve, &bytes) {
                prop_assert_eq!(der_from_plain(&plain), Some(bytes));
            }
        }
    }

    #[test]
    fn loose_encodings_are_refused() {
        let curve = Curve::BrainpoolP256r1;
        assert_eq!(
            plain_from_der(curve, &[0x30, 6, 2, 1, 1, 2, 1, 1])
                .unwrap()
                .len(),
            64
        );
        for (why, der) in [
            ("trailing byte", &[0x30, 6, 2, 1, 1, 2, 1, 1, 0][..]),
            (
                "long form of a short length",
                &[0x30, 0x81, 6, 2, 1, 1, 2, 1, 1],
            ),
            ("superfluous zero", &[0x30, 7, 2, 2, 0, 1, 2, 1, 1]),
            ("negative", &[0x30, 6, 2, 1, 0x80, 2, 1, 1]),
            ("empty integer", &[0x30, 5, 2, 0, 2, 1, 1]),
            ("one integer", &[0x30, 3, 2, 1, 1]),
            ("three integers", &[0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1]),
        ] {
            assert_eq!(plain_from_der(curve, der), None, "{why}");
        }
        let too_long = der_from_plain(&[0x7f; 96]).unwrap();
        assert_eq!(plain_from_der(curve, &too_long), None);
        assert_eq!(der_from_plain(&[]), None);
        assert_eq!(der_from_plain(&[1; 63]), None);
    }
}
