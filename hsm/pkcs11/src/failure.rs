// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sorts PKCS#11 return values (PKCS#11 v2.40 §11.1) by who is at fault.

use cryptoki::error::{Error, RvError};
use hsm_api::ModuleError;

/// Why work on a session failed: the token said so, or we found out ourselves.
pub(crate) enum Failure {
    Token(Error),
    Ours(ModuleError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Token(error)
    }
}

impl From<ModuleError> for Failure {
    fn from(error: ModuleError) -> Self {
        Self::Ours(error)
    }
}

impl Failure {
    /// The return value, when the token gave one.
    pub(crate) fn rv(&self) -> Option<RvError> {
        match self {
            Self::Token(Error::Pkcs11(rv, _)) => Some(*rv),
            _ => None,
        }
    }

    /// Whether the session itself is gone and must not be used again.
    pub(crate) fn ends_session(&self) -> bool {
        self.rv().is_some_and(|rv| SESSION_GONE.contains(&rv))
    }

    /// The error for the caller; `what` says in a few words what was attempted.
    pub(crate) fn explain(self, what: &str) -> ModuleError {
        match self {
            Self::Ours(error) => error,
            Self::Token(Error::Pkcs11(rv, function)) => {
                let text = format!("{what}: {function} answered {rv:?}");
                if SESSION_GONE.contains(&rv) {
                    ModuleError::transport(text)
                } else if CALLER.contains(&rv) {
                    ModuleError::caller(text)
                } else {
                    ModuleError::module(text)
                }
            }
            Self::Token(other) => ModuleError::module(format!("{what}: {other}")),
        }
    }
}

/// The token, the login or the session is lost; nothing on this session can succeed any more.
const SESSION_GONE: &[RvError] = &[
    RvError::CryptokiNotInitialized,
    RvError::DeviceRemoved,
    RvError::SessionClosed,
    RvError::SessionHandleInvalid,
    RvError::SlotIdInvalid,
    RvError::TokenNotPresent,
    RvError::TokenNotRecognized,
    RvError::UserNotLoggedIn,
];

/// The request itself was wrong.
const CALLER: &[RvError] = &[
    RvError::CurveNotSupported,
    RvError::DomainParamsInvalid,
    RvError::KeyFunctionNotPermitted,
    RvError::KeyTypeInconsistent,
    RvError::PublicKeyInvalid,
];
