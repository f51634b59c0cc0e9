// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module seen through another: a layer changes single operations and passes all others on.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::{
    Capabilities, Curve, EphemeralKey, KeyId, KeyInfo, KeyUsage, LifeCycle, ModuleError, ObjectId,
    PublicKey, SecurityModule, SharedSecret,
};

macro_rules! layer {
    ($($name:ident(&self $(, $argument:ident: $type:ty)*) -> $result:ty;)*) => {
        /// A module in front of another one. Every operation is passed on unless the layer says otherwise, so a
        /// layer can never forget one.
        pub trait Layer: Send + Sync + fmt::Debug {
            /// The module below.
            fn below(&self) -> &dyn SecurityModule;
            $(
                #[doc = concat!("As [`SecurityModule::", stringify!($name), "`].")]
                #[allow(clippy::missing_errors_doc)]
                fn $name(&self $(, $argument: $type)*) -> $result {
                    self.below().$name($($argument),*)
                }
            )*
        }

        impl<T: Layer> SecurityModule for T {
            $(
                fn $name(&self $(, $argument: $type)*) -> $result {
                    Layer::$name(self $(, $argument)*)
                }
            )*
        }
    };
}

layer! {
    capabilities(&self) -> Capabilities;
    random(&self, out: &mut [u8]) -> Result<(), ModuleError>;
    generate_key(&self, key: &KeyId, curve: Curve, usage: KeyUsage) -> Result<PublicKey, ModuleError>;
    remove_key(&self, key: &KeyId) -> Result<(), ModuleError>;
    keys(&self) -> Result<Vec<KeyInfo>, ModuleError>;
    public_key(&self, key: &KeyId) -> Result<PublicKey, ModuleError>;
    sign_digest(&self, key: &KeyId, digest: &[u8]) -> Result<Vec<u8>, ModuleError>;
    verify_digest(&self, key: &PublicKey, digest: &[u8], signature: &[u8]) -> Result<bool, ModuleError>;
    ephemeral_key(&self, curve: Curve) -> Result<Box<dyn EphemeralKey>, ModuleError>;
    agree_static(&self, key: &KeyId, peer_point: &[u8]) -> Result<SharedSecret, ModuleError>;
    objects(&self) -> Result<Vec<ObjectId>, ModuleError>;
    read_object(&self, object: &ObjectId) -> Result<Vec<u8>, ModuleError>;
    write_object(&self, object: &ObjectId, content: &[u8]) -> Result<(), ModuleError>;
    remove_object(&self, object: &ObjectId) -> Result<(), ModuleError>;
    life_cycle(&self) -> Result<LifeCycle, ModuleError>;
    enter_phase(&self, phase: LifeCycle) -> Result<(), ModuleError>;
}
