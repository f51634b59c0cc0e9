// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sorts PKCS#11 return values (PKCS#11 v2.40 §11.1) by who is at fault and why.

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use hsm_api::{Fault, ModuleError, Reason};

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
    /// The session turned out to be logged out, which a token may show only by hiding its private objects.
    pub(crate) const LOGGED_OUT: Self = Self::Token(Error::Pkcs11(
        RvError::UserNotLoggedIn,
        Function::GetSessionInfo,
    ));

    /// The return value, when the token gave one.
    pub(crate) fn rv(&self) -> Option<RvError> {
        match self {
            Self::Token(Error::Pkcs11(rv, _)) => Some(*rv),
            _ => None,
        }
    }

    /// Whether the session itself is gone and must not be used again.
    pub(crate) fn ends_session(&self) -> bool {
        self.rv().is_some_and(|rv| sort(rv).1 == Reason::Gone)
    }

    /// The error for the caller; `what` says in a few words what was attempted.
    pub(crate) fn explain(self, what: &str) -> ModuleError {
        match self {
            Self::Ours(error) => error,
            Self::Token(Error::Pkcs11(rv, function)) => {
                let (fault, reason) = sort(rv);
                let text = format!("{what}: {function} answered {rv:?}");
                match fault {
                    Fault::Caller => ModuleError::caller(text),
                    Fault::Transport => ModuleError::transport(text),
                    _ => ModuleError::module(text),
                }
                .because(reason)
            }
            Self::Token(other) => ModuleError::module(format!("{what}: {other}")),
        }
    }
}

/// What is not in the table is the module's failure, and a program can do nothing about it.
fn sort(rv: RvError) -> (Fault, Reason) {
    MEANINGS
        .iter()
        .find(|(known, ..)| *known == rv)
        .map_or((Fault::Module, Reason::Other), |(_, fault, reason)| {
            (*fault, *reason)
        })
}

const MEANINGS: &[(RvError, Fault, Reason)] = &[
    // The token, the login or the session is lost: nothing on this session can succeed any more.
    (
        RvError::CryptokiNotInitialized,
        Fault::Transport,
        Reason::Gone,
    ),
    (RvError::DeviceRemoved, Fault::Transport, Reason::Gone),
    (RvError::SessionClosed, Fault::Transport, Reason::Gone),
    (
        RvError::SessionHandleInvalid,
        Fault::Transport,
        Reason::Gone,
    ),
    (RvError::SlotIdInvalid, Fault::Transport, Reason::Gone),
    (RvError::TokenNotPresent, Fault::Transport, Reason::Gone),
    (RvError::TokenNotRecognized, Fault::Transport, Reason::Gone),
    (RvError::UserNotLoggedIn, Fault::Transport, Reason::Gone),
    // An operation that failed half-way is still open in the session, and there is no other way to end it.
    (RvError::OperationActive, Fault::Transport, Reason::Gone),
    // The PIN.
    (RvError::PinIncorrect, Fault::Module, Reason::PinRefused),
    (RvError::PinInvalid, Fault::Module, Reason::PinRefused),
    (RvError::PinLenRange, Fault::Module, Reason::PinRefused),
    (RvError::PinExpired, Fault::Module, Reason::PinRefused),
    (RvError::PinLocked, Fault::Module, Reason::PinLocked),
    // The request was wrong.
    (RvError::KeyHandleInvalid, Fault::Caller, Reason::NotFound),
    (
        RvError::ObjectHandleInvalid,
        Fault::Caller,
        Reason::NotFound,
    ),
    (RvError::DataInvalid, Fault::Caller, Reason::BadInput),
    (RvError::DataLenRange, Fault::Caller, Reason::BadInput),
    (
        RvError::MechanismParamInvalid,
        Fault::Caller,
        Reason::BadInput,
    ),
    (RvError::PublicKeyInvalid, Fault::Caller, Reason::BadInput),
    (
        RvError::KeyFunctionNotPermitted,
        Fault::Caller,
        Reason::NotAllowed,
    ),
    (
        RvError::KeyTypeInconsistent,
        Fault::Caller,
        Reason::NotAllowed,
    ),
    (
        RvError::AttributeSensitive,
        Fault::Caller,
        Reason::NotAllowed,
    ),
    // The token cannot or must not do it.
    (
        RvError::CurveNotSupported,
        Fault::Caller,
        Reason::Unsupported,
    ),
    (
        RvError::DomainParamsInvalid,
        Fault::Caller,
        Reason::Unsupported,
    ),
    (
        RvError::FunctionNotSupported,
        Fault::Caller,
        Reason::Unsupported,
    ),
    (
        RvError::MechanismInvalid,
        Fault::Caller,
        Reason::Unsupported,
    ),
    (RvError::ActionProhibited, Fault::Module, Reason::NotAllowed),
    (RvError::SessionReadOnly, Fault::Module, Reason::NotAllowed),
    (
        RvError::TokenWriteProtected,
        Fault::Module,
        Reason::NotAllowed,
    ),
    // Memory, of the token and of this machine.
    (RvError::DeviceMemory, Fault::Module, Reason::Memory),
    (RvError::HostMemory, Fault::Module, Reason::Memory),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn return_values_are_sorted() {
        for (rv, fault, reason) in [
            (RvError::DeviceRemoved, Fault::Transport, Reason::Gone),
            (RvError::PinIncorrect, Fault::Module, Reason::PinRefused),
            (RvError::DeviceMemory, Fault::Module, Reason::Memory),
            (
                RvError::CurveNotSupported,
                Fault::Caller,
                Reason::Unsupported,
            ),
            (RvError::GeneralError, Fault::Module, Reason::Other),
        ] {
            let failure = Failure::from(Error::Pkcs11(rv, Function::Sign));
            assert_eq!(failure.ends_session(), reason == Reason::Gone, "{rv:?}");
            let error = failure.explain("signing");
            assert_eq!((error.fault(), error.reason()), (fault, reason), "{error}");
            assert!(error.to_string().starts_with("signing: "), "{error}");
        }
    }

    #[test]
    fn each_return_value_has_one_meaning() {
        for (index, (rv, ..)) in MEANINGS.iter().enumerate() {
            let others = MEANINGS.iter().skip(index + 1);
            assert!(others.clone().all(|(other, ..)| other != rv), "{rv:?}");
        }
        assert!(Failure::LOGGED_OUT.ends_session());
    }
}
