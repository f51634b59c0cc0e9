// SPDX-License-Identifier: MIT OR Apache-2.0
//! The way to give a module a private key; known answers need it, and no gateway may use it.

use crate::{Curve, KeyId, KeyUsage, ModuleError, PublicKey};

/// A module, or its personalisation, that takes given private keys. It is no part of [`crate::SecurityModule`]: keys
/// of a gateway are made inside its module and never outside (TR-03109-2).
pub trait Import: Send + Sync {
    /// Stores a private key under a new name: a scalar of `curve.field_len()` bytes, big-endian.
    ///
    /// # Errors
    /// [`crate::Reason::Exists`] when the name is taken, [`crate::Reason::BadInput`] when the scalar has another
    /// length, is zero or not below the group order.
    fn import_key(
        &self,
        key: &KeyId,
        curve: Curve,
        usage: KeyUsage,
        scalar: &[u8],
    ) -> Result<PublicKey, ModuleError>;
}
