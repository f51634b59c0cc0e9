// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a case ends early, sorted by who is at fault.

use std::fmt::Display;

/// Why a case ends before its last step.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// Enough was seen; the findings say what.
    #[error("ended early")]
    Done,
    /// The rig broke.
    #[error("{0}")]
    Rig(String),
    /// The device under test broke by itself.
    #[error("{0}")]
    Device(String),
    /// The case or the bench broke.
    #[error("{0}")]
    Bench(String),
    /// The operator ended the run.
    #[error("ended by the operator")]
    Aborted,
}

/// Names who is at fault when a step cannot be done.
pub trait StopExt<T> {
    /// The rig is at fault.
    fn or_rig(self, doing: &str) -> Result<T, Stop>;
    /// The bench is at fault.
    fn or_bench(self, doing: &str) -> Result<T, Stop>;
}

impl<T, E: Display> StopExt<T> for Result<T, E> {
    fn or_rig(self, doing: &str) -> Result<T, Stop> {
        self.map_err(|error| Stop::Rig(format!("{doing}: {error}")))
    }

    fn or_bench(self, doing: &str) -> Result<T, Stop> {
        self.map_err(|error| Stop::Bench(format!("{doing}: {error}")))
    }
}
