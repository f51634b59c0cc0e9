// SPDX-License-Identifier: MIT OR Apache-2.0
//! How tokens write the points of public keys (PKCS#11 v2.40 mechanisms §2.3).

use hsm_api::{Curve, ModuleError, PublicKey};

/// A DER OCTET STRING; points stay below 256 bytes.
pub(crate) fn octet_string(point: &[u8]) -> Vec<u8> {
    let len = point.len() as u8;
    let header: &[u8] = if len < 0x80 {
        &[4, len]
    } else {
        &[4, 0x81, len]
    };
    [header, point].concat()
}

/// Reads `CKA_EC_POINT`: DER as the standard says, or raw as some tokens do. The lengths tell them apart.
pub(crate) fn public_key(curve: Curve, attribute: &[u8]) -> Result<PublicKey, ModuleError> {
    let len = 1 + 2 * curve.field_len();
    let start = attribute.len().saturating_sub(len);
    let (header, point) = attribute.split_at(start);
    if (header.is_empty() || octet_string(point) == attribute)
        && let Ok(key) = PublicKey::new(curve, point.to_vec())
    {
        return Ok(key);
    }
    Err(ModuleError::module(format!(
        "the token's CKA_EC_POINT is not a point of {curve}"
    )))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quirks::PointEncoding;

    #[test]
    fn both_forms_of_every_curve_are_read() {
        for curve in Curve::ALL {
            let point = [vec![4], vec![0x7f; 2 * curve.field_len()]].concat();
            let key = PublicKey::new(curve, point.clone()).unwrap();
            assert_eq!(
                public_key(curve, &PointEncoding::Raw.encode(&key)).unwrap(),
                key
            );
            assert_eq!(
                public_key(curve, &PointEncoding::Der.encode(&key)).unwrap(),
                key
            );
            assert!(public_key(curve, &point[1..]).is_err());
            assert!(public_key(curve, &[&[5, 65], point.as_slice()].concat()).is_err());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_attributes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for curve in Curve::ALL {
                if let Ok(key) = public_key(curve, &bytes) {
                    prop_assert!(bytes.ends_with(&key.point));
                }
            }
        }
    }
}
