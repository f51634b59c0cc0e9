// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a rig does not come up, and who has to act.

use std::fmt::Display;

use thiserror::Error;

/// Who has to act when a rig does not come up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BringUpError {
    /// A tool or library is not installed.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: String,
        /// What to install or type.
        help: String,
    },
    /// The rig file asks for something this build cannot drive.
    #[error("{part}: {reason}")]
    NotDrivable {
        /// Part of the rig file.
        part: String,
        /// Why not.
        reason: String,
    },
    /// The command line asks for something that is not there.
    #[error("{what}")]
    Usage {
        /// What.
        what: String,
        /// What to type instead.
        help: String,
    },
    /// The operator ended the run meanwhile.
    #[error("ended by the operator")]
    Interrupted,
    /// A stage failed.
    #[error("{stage}: {cause}")]
    Stage {
        /// Which stage.
        stage: &'static str,
        /// Why.
        cause: String,
    },
}

/// Names the stage in which something failed.
pub(crate) trait During<T> {
    fn during(self, stage: &'static str) -> Result<T, BringUpError>;
}

impl<T, E: Display> During<T> for Result<T, E> {
    fn during(self, stage: &'static str) -> Result<T, BringUpError> {
        self.map_err(|error| BringUpError::Stage {
            stage,
            cause: error.to_string(),
        })
    }
}
