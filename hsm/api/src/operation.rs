// SPDX-License-Identifier: MIT OR Apache-2.0
//! The operations of a security module as words, for whoever limits, counts or records them.

use core::fmt;

macro_rules! operations {
    ($($variant:ident, $name:literal, $text:literal;)*) => {
        /// One operation of a [`crate::SecurityModule`] or of its ephemeral keys.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum Operation {
            $(#[doc = $text] $variant,)*
        }

        impl Operation {
            /// All operations.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The operation's name, as logs and tables spell it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    Random, "random", "Giving random bytes.";
    GenerateKey, "generate-key", "Making a persistent key pair.";
    RemoveKey, "remove-key", "Destroying a persistent key pair.";
    Keys, "keys", "Listing the key pairs.";
    PublicKey, "public-key", "Reading a public half.";
    Sign, "sign", "Signing a digest.";
    Verify, "verify", "Verifying a signature.";
    EphemeralKey, "ephemeral-key", "Making an ephemeral key pair.";
    Agree, "agree", "Agreeing with an ephemeral key (ECKA-DH).";
    AgreeStatic, "agree-static", "Agreeing with a persistent key (ECKA-EG).";
    Objects, "objects", "Listing certificates and data objects.";
    ReadObject, "read-object", "Reading an object.";
    WriteObject, "write-object", "Storing an object.";
    RemoveObject, "remove-object", "Removing an object.";
    LifeCycle, "life-cycle", "Reading the phase of life.";
    EnterPhase, "enter-phase", "Entering a later phase of life.";
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad` keeps the width that a table asks for.
        f.pad(self.name())
    }
}
