// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rehearsal catalogue: cases as data, and the live rig they work on.
//!
//! Cases judge through public interfaces only (serial lines, HAN, CLS proxy, EMT side, security module
//! trace), so that a real gateway can stand in the place of the reference gateway.

pub mod bench;
pub mod boards;
pub mod bringup;
pub mod gateway;
pub mod host;
pub mod meters;
pub mod module_link;
pub mod module_tool;
pub mod profiles;
mod rows;
pub mod runtime_dir;
mod selection;
mod tap;
mod tokens;
mod trouble;
pub mod values;

use bench_engine::Case;

use crate::bench::Bench;
pub use crate::selection::select;
pub use crate::trouble::BringUpError;

/// The catalogue in order of execution: what is quick first, what restarts the gateway last.
static CATALOGUE: &[Case<Bench>] = &[
    rows::tls::TLS_01,
    rows::tls::TLS_03,
    rows::consumer::CON_05,
    rows::consumer::CON_07,
    rows::consumer::HTT_06,
    rows::proxy::PRX_01,
    rows::proxy::PRX_03,
    rows::proxy::PRX_04,
    rows::proxy::PRX_05,
    rows::proxy::PRX_06,
    rows::proxy::PRX_07,
    rows::proxy::PRX_11,
    rows::proxy::PRX_12,
    rows::proxy::PRX_19,
    rows::cls::CLS_01,
    rows::cls::CLS_02,
    rows::cls::CLS_03,
    rows::cls::CLS_04,
    rows::cls::CLS_05,
    rows::cls::CLS_06,
    rows::cls::PRX_20,
    rows::cls::PRX_21,
    rows::metering::MET_01,
    rows::metering::MET_02,
    rows::metering::MET_03,
    rows::load::MET_22,
    rows::tariffs::MET_08,
    rows::tariffs::MET_06,
    rows::tariffs::MET_07,
    rows::tariffs::MET_17,
    rows::tariffs::MET_18,
    rows::tariffs::MET_20,
    rows::virtual_time::MET_04,
    rows::virtual_time::MET_09,
    rows::virtual_time::MET_11,
    rows::virtual_time::MET_21,
    rows::time::TIM_15,
    rows::clock::TIM_01,
    rows::clock::TIM_02,
    rows::clock::TIM_03,
    rows::clock::TIM_04,
    rows::clock::TIM_05,
    rows::clock::TIM_06,
    rows::clock::TIM_07,
    rows::time_service::TIM_13,
    rows::time_service::TIM_14,
    rows::clock::TIM_10,
    rows::clock::TIM_11,
    rows::far_dates::TIM_08,
    rows::far_dates::TIM_09,
    rows::far_dates::TIM_12,
    rows::logs::LOG_01,
    rows::logs::LOG_02,
    rows::logs::LOG_05,
    rows::logs::LOG_06,
    rows::administration::ADM_02,
    rows::administration::ADM_03,
    rows::log_export::LOG_04,
    rows::log_export::LOG_07,
    rows::log_export::LOG_08,
    rows::tariffs::MET_19,
    rows::logs::LOG_03,
    rows::security_module::SEC_01,
    rows::security_module::SEC_03,
];

/// All cases.
pub fn catalogue() -> &'static [Case<Bench>] {
    CATALOGUE
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_are_complete_and_unique() {
        let mut ids = BTreeSet::new();
        for case in catalogue() {
            assert!(ids.insert(case.id), "{} stands twice", case.id);
            assert!(case.version > 0 && !case.budget.is_zero(), "{}", case.id);
            assert!(!case.requirements.is_empty(), "{} has no source", case.id);
            assert!(
                !case.steps.is_empty() && !case.needs.is_empty(),
                "{}",
                case.id
            );
            assert!(!case.title.ends_with('.'), "{}", case.id);
        }
    }
}
