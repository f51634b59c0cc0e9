// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows of the rehearsal catalogue, one module per area.

pub mod administration;
pub mod clock;
pub mod cls;
pub mod consumer;
pub mod far_dates;
pub mod load;
pub mod log_export;
pub mod logs;
pub mod metering;
pub mod proxy;
pub mod security_module;
pub mod tariffs;
pub mod time;
pub mod time_service;
pub mod tls;
pub mod virtual_time;
