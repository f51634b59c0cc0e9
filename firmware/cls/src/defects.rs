// SPDX-License-Identifier: MIT OR Apache-2.0
//! The seeded defect in force. Without the feature `defects` there is none, and every hook is a constant.

use smgw_cls::defect::Defect;

/// The defect in force, if any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defects {
    #[cfg(feature = "defects")]
    chosen: Option<Defect>,
}

impl Defects {
    /// Whether `defect` is in force.
    pub fn has(self, defect: Defect) -> bool {
        #[cfg(feature = "defects")]
        return self.chosen == Some(defect);
        #[cfg(not(feature = "defects"))]
        {
            let _ = defect;
            false
        }
    }

    /// The defect that the value of a settings partition chooses, and the settings: in an image with defects, its last
    /// octet is the defect's number.
    pub(crate) fn split(value: &[u8]) -> (Self, &[u8]) {
        #[cfg(feature = "defects")]
        if let Some((number, settings)) = value.split_last() {
            let chosen = Defect::numbered(*number);
            return (Self { chosen }, settings);
        }
        (Self::default(), value)
    }
}
