// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetProfilePack and GetProfileList: recorded periods, packed or one per message
//! (SML 1.05 §5.1.8-5.1.11).

use crate::coded::{List, records};
use crate::{Int, Time, Tree, Value};

records! {
    /// GetProfilePack.Req and GetProfileList.Req: ask for periods.
    pub struct ProfileRequest<'a> {
        /// Whom.
        server_id: Option<&'a [u8]>,
        /// User name.
        username: Option<&'a [u8]>,
        /// Password.
        password: Option<&'a [u8]>,
        /// Whether to send the data as recorded, too.
        with_raw_data: Option<bool>,
        /// Where the range begins.
        begin: Option<Time>,
        /// Where the range ends.
        end: Option<Time>,
        /// Path to the profile in the tree of parameters, OBIS codes.
        path: List<'a, &'a [u8]>,
        /// The registers asked for, OBIS codes; absent for all.
        objects: Option<List<'a, &'a [u8]>>,
        /// Details for the data concentrator.
        details: Option<Tree<'a>>,
    }

    /// GetProfilePack.Res: all periods, each with a value per register of the header.
    pub struct ProfilePackResponse<'a> {
        /// The meter.
        server_id: &'a [u8],
        /// The meter's time.
        actual_time: Time,
        /// Length of a period in seconds.
        period: Int<u32>,
        /// Path to the profile.
        path: List<'a, &'a [u8]>,
        /// The registers.
        header: List<'a, ProfileHeader<'a>>,
        /// The periods.
        periods: List<'a, ProfilePeriod<'a>>,
        /// The data as recorded.
        raw_data: Option<&'a [u8]>,
        /// Signature over the profile.
        signature: Option<&'a [u8]>,
    }

    /// What the values of one column of a packed profile are.
    pub struct ProfileHeader<'a> {
        /// The register, an OBIS code.
        name: &'a [u8],
        /// DLMS unit code.
        unit: u8,
        /// Power of ten to multiply the values with.
        scaler: i8,
    }

    /// One period of a packed profile.
    pub struct ProfilePeriod<'a> {
        /// When the values were valid.
        time: Time,
        /// Status of the period.
        status: Int<u64>,
        /// A value per register, in the order of the header.
        values: List<'a, ProfileValue<'a>>,
        /// Signature over the period.
        signature: Option<&'a [u8]>,
    }

    /// One value of a packed profile.
    pub struct ProfileValue<'a> {
        /// The value.
        value: Value<'a>,
        /// Signature over the value.
        signature: Option<&'a [u8]>,
    }

    /// GetProfileList.Res: one period; a request is answered with as many messages as there are periods.
    pub struct ProfileListResponse<'a> {
        /// The meter.
        server_id: &'a [u8],
        /// The meter's time.
        actual_time: Time,
        /// Length of a period in seconds.
        period: Int<u32>,
        /// Path to the profile.
        path: List<'a, &'a [u8]>,
        /// When the values were valid.
        time: Time,
        /// Status of the period.
        status: Int<u64>,
        /// The registers with their values.
        entries: List<'a, PeriodEntry<'a>>,
        /// The data as recorded.
        raw_data: Option<&'a [u8]>,
        /// Signature over the period.
        signature: Option<&'a [u8]>,
    }

    /// One register of one period.
    pub struct PeriodEntry<'a> {
        /// The register, an OBIS code.
        name: &'a [u8],
        /// DLMS unit code.
        unit: u8,
        /// Power of ten to multiply the value with.
        scaler: i8,
        /// The value.
        value: Value<'a>,
        /// Signature over the value.
        signature: Option<&'a [u8]>,
    }
}
