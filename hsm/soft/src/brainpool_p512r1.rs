// SPDX-License-Identifier: MIT OR Apache-2.0
//! The curve brainpoolP512r1 (RFC 5639 §3.7) on the constant-time prime-field and point arithmetic that the crates of
//! the smaller curves share; no crate offers it ready-made.

use ecdsa::{DigestAlgorithm, EcdsaCurve};
use elliptic_curve::array::typenum::U64;
use elliptic_curve::bigint::{Odd, U512};
use elliptic_curve::ff::PrimeField;
use elliptic_curve::hazmat::FieldArithmetic;
use elliptic_curve::ops::BatchInvert;
use elliptic_curve::point::PointCompression;
use elliptic_curve::scalar::{FromUintUnchecked, IsHigh};
use elliptic_curve::subtle::{Choice, ConstantTimeEq, ConstantTimeGreater, CtOption};
use elliptic_curve::{Curve, CurveArithmetic, PrimeCurve, PrimeCurveArithmetic};
use primeorder::point_arithmetic::EquationAIsGeneric;
use primeorder::{AffinePoint, PrimeCurveParams, ProjectivePoint, wnaf};
use sha2::Sha512;

/// The field's prime.
const P: &str = concat!(
    "aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330871",
    "7d4d9b009bc66842aecda12ae6a380e62881ff2f2d82c68528aa6056583a48f3",
);
/// The order of the generator, a prime; the cofactor is one.
const Q: &str = concat!(
    "aadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330870",
    "553e5c414ca92619418661197fac10471db1d381085ddaddb58796829ca90069",
);
const A: &str = concat!(
    "7830a3318b603b89e2327145ac234cc594cbdd8d3df91610a83441caea9863bc",
    "2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a72bf2c7b9e7c1ac4d77fc94ca",
);
const B: &str = concat!(
    "3df91610a83441caea9863bc2ded5d5aa8253aa10a2ef1c98b9ac8b57f1117a7",
    "2bf2c7b9e7c1ac4d77fc94cadc083e67984050b75ebae5dd2809bd638016f723",
);
const GENERATOR_X: &str = concat!(
    "81aee4bdd82ed9645a21322e9c4c6a9385ed9f70b5d916c1b43b62eef4d0098e",
    "ff3b1f78e2d0d48d50d1687b93b97d5f7c6d5047406a5e688b352209bcb9f822",
);
const GENERATOR_Y: &str = concat!(
    "7dde385d566332ecc0eabfa9cf7822fdf209f70024a57b1aa000c55b881f8111",
    "b2dcde494a5f485e5bca4bd88a2763aed1ca2b2fa8f0540678cd1e0f3ad80892",
);

/// The curve as a type.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct BrainpoolP512r1;

mod field {
    use super::{Choice, ConstantTimeEq, CtOption, P, PrimeField, U512};

    // Of the "generator" the arithmetic needs only that it is no square; 2 is the smallest such number.
    primefield::monty_field_params! {
        name: FieldParams,
        modulus: P,
        uint: U512,
        byte_order: primefield::ByteOrder::BigEndian,
        multiplicative_generator: 2,
        doc: "The field of coordinates."
    }

    primefield::monty_field_element! {
        name: FieldElement,
        params: FieldParams,
        uint: U512,
        doc: "A coordinate."
    }

    primefield::monty_field_arithmetic! {
        name: FieldElement,
        params: FieldParams,
        uint: U512
    }
}

mod scalar {
    use super::{Choice, ConstantTimeEq, CtOption, PrimeField, Q, U512};

    // As above: 7 is the smallest number that is no square.
    primefield::monty_field_params! {
        name: ScalarParams,
        modulus: Q,
        uint: U512,
        byte_order: primefield::ByteOrder::BigEndian,
        multiplicative_generator: 7,
        doc: "The field of scalars."
    }

    primefield::monty_field_element! {
        name: Scalar,
        params: ScalarParams,
        uint: U512,
        doc: "A scalar."
    }

    primefield::monty_field_arithmetic! {
        name: Scalar,
        params: ScalarParams,
        uint: U512
    }

    primefield::monty_field_reduce! {
        name: Scalar,
        params: ScalarParams,
        uint: U512,
    }
}

use field::FieldElement;
use scalar::Scalar;

impl Curve for BrainpoolP512r1 {
    type FieldBytesSize = U64;
    type Uint = U512;
    const ORDER: Odd<U512> = Odd::<U512>::from_be_hex(Q);
}

impl PrimeCurve for BrainpoolP512r1 {}

impl PointCompression for BrainpoolP512r1 {
    const COMPRESS_POINTS: bool = false;
}

impl CurveArithmetic for BrainpoolP512r1 {
    type AffinePoint = AffinePoint<Self>;
    type ProjectivePoint = ProjectivePoint<Self>;
    type Scalar = Scalar;
}

impl FieldArithmetic for BrainpoolP512r1 {
    type FieldElement = FieldElement;
}

impl PrimeCurveArithmetic for BrainpoolP512r1 {
    type CurveGroup = ProjectivePoint<Self>;
}

impl PrimeCurveParams for BrainpoolP512r1 {
    type PointArithmetic = EquationAIsGeneric;
    #[cfg(feature = "std")]
    type Backend = primeorder::mul_backend::PrecomputedTables<{ table::TABLES }>;
    #[cfg(not(feature = "std"))]
    type Backend = primeorder::mul_backend::VariableOnly;
    const EQUATION_A: FieldElement = FieldElement::from_hex_vartime(A);
    const EQUATION_B: FieldElement = FieldElement::from_hex_vartime(B);
    const GENERATOR: (FieldElement, FieldElement) = (
        FieldElement::from_hex_vartime(GENERATOR_X),
        FieldElement::from_hex_vartime(GENERATOR_Y),
    );
}

#[cfg(feature = "std")]
mod table {
    use primeorder::{BasepointTable, PrimeCurveWithBasepointTable};

    use super::{BrainpoolP512r1, ProjectivePoint};

    /// One table of multiples of the generator per byte of a scalar, and one for the carry.
    pub(super) const TABLES: usize = 65;

    impl PrimeCurveWithBasepointTable<TABLES> for BrainpoolP512r1 {
        const BASEPOINT_TABLE: &'static BasepointTable<ProjectivePoint<Self>, TABLES> = {
            static TABLE: BasepointTable<ProjectivePoint<BrainpoolP512r1>, TABLES> =
                BasepointTable::new();
            &TABLE
        };
    }
}

impl EcdsaCurve for BrainpoolP512r1 {
    const NORMALIZE_S: bool = false;
}

impl DigestAlgorithm for BrainpoolP512r1 {
    type Digest = Sha512;
}

impl BatchInvert for FieldElement {}

elliptic_curve::scalar_impls!(BrainpoolP512r1, Scalar);

wnaf::impl_wnaf_size_for_scalar!(Scalar);

impl AsRef<Scalar> for Scalar {
    fn as_ref(&self) -> &Scalar {
        self
    }
}

impl FromUintUnchecked for Scalar {
    type Uint = U512;

    fn from_uint_unchecked(uint: U512) -> Self {
        Self::from_uint_unchecked(uint)
    }
}

impl IsHigh for Scalar {
    fn is_high(&self) -> Choice {
        const HALF: U512 = BrainpoolP512r1::ORDER.as_ref().shr_vartime(1);
        self.to_canonical().ct_gt(&HALF)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use elliptic_curve::group::Group;

    use super::*;

    #[test]
    fn the_generator_has_the_order() {
        let generator = ProjectivePoint::<BrainpoolP512r1>::GENERATOR;
        assert_eq!(generator * -Scalar::ONE, -generator);
        assert!(!bool::from(generator.is_identity()));
        // On the curve: y² = x³ + ax + b.
        let (x, y) = BrainpoolP512r1::GENERATOR;
        let right = x * x * x + BrainpoolP512r1::EQUATION_A * x + BrainpoolP512r1::EQUATION_B;
        assert_eq!(y * y, right);
    }

    #[test]
    fn openssl_knows_the_same_curve() {
        let shown = Command::new("openssl")
            .args(["ecparam", "-name", "brainpoolP512r1"])
            .args(["-param_enc", "explicit", "-text", "-noout"])
            .output();
        let Ok(shown) = shown else {
            println!("SKIPPED: openssl is not installed");
            return;
        };
        let digits: String = String::from_utf8(shown.stdout)
            .unwrap()
            .chars()
            .filter(|one| !one.is_whitespace() && *one != ':')
            .collect();
        for (name, value) in [
            ("Prime00", P),
            ("A", A),
            ("B", B),
            (
                "Generator(uncompressed)04",
                &[GENERATOR_X, GENERATOR_Y].concat(),
            ),
            ("Order00", Q),
        ] {
            assert!(
                digits.contains(&format!("{name}{value}")),
                "{name}: {digits}"
            );
        }
    }
}
