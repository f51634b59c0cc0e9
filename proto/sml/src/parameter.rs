// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetProcParameter and SetProcParameter: the tree of parameters of a server
//! (SML 1.05 §5.1.12-5.1.13).

use crate::coded::{List, choices, records};
use crate::{Int, ListEntry, PeriodEntry, Time, Value};

records! {
    /// GetProcParameter.Req: asks for a part of the tree.
    pub struct ParameterRequest<'a> {
        /// Whom.
        server_id: Option<&'a [u8]>,
        /// User name.
        username: Option<&'a [u8]>,
        /// Password.
        password: Option<&'a [u8]>,
        /// Path to the part, OBIS codes from the root.
        path: List<'a, &'a [u8]>,
        /// One attribute only; absent for the whole part.
        attribute: Option<&'a [u8]>,
    }

    /// GetProcParameter.Res: a part of the tree.
    pub struct ParameterResponse<'a> {
        /// The server.
        server_id: &'a [u8],
        /// Path to the part.
        path: List<'a, &'a [u8]>,
        /// The part.
        tree: Tree<'a>,
    }

    /// SetProcParameter.Req: replaces a part of the tree; an [`crate::Attention`] answers it.
    pub struct SetParameterRequest<'a> {
        /// Whom.
        server_id: Option<&'a [u8]>,
        /// User name.
        username: Option<&'a [u8]>,
        /// Password.
        password: Option<&'a [u8]>,
        /// Path to the part.
        path: List<'a, &'a [u8]>,
        /// What stands there from now on.
        tree: Tree<'a>,
    }

    /// A node of the tree and all below it (SML_Tree).
    pub struct Tree<'a> {
        /// Its name, mostly an OBIS code.
        name: &'a [u8],
        /// Its value.
        value: Option<Parameter<'a>>,
        /// What is below it.
        children: Option<List<'a, Tree<'a>>>,
    }

    /// Energies of all six kinds at one time, signed (SML_TupelEntry).
    pub struct Tuple<'a> {
        /// The meter.
        server_id: &'a [u8],
        /// When the values were valid.
        time: Time,
        /// Status at that time.
        status: Int<u64>,
        /// Unit of +A.
        unit_plus_a: u8,
        /// Power of ten of +A.
        scaler_plus_a: i8,
        /// Imported active energy.
        value_plus_a: Int<i64>,
        /// Unit of R1.
        unit_r1: u8,
        /// Power of ten of R1.
        scaler_r1: i8,
        /// Reactive energy of quadrant 1.
        value_r1: Int<i64>,
        /// Unit of R4.
        unit_r4: u8,
        /// Power of ten of R4.
        scaler_r4: i8,
        /// Reactive energy of quadrant 4.
        value_r4: Int<i64>,
        /// Signature over +A, R1 and R4.
        signature_plus_a: &'a [u8],
        /// Unit of -A.
        unit_minus_a: u8,
        /// Power of ten of -A.
        scaler_minus_a: i8,
        /// Exported active energy.
        value_minus_a: Int<i64>,
        /// Unit of R2.
        unit_r2: u8,
        /// Power of ten of R2.
        scaler_r2: i8,
        /// Reactive energy of quadrant 2.
        value_r2: Int<i64>,
        /// Unit of R3.
        unit_r3: u8,
        /// Power of ten of R3.
        scaler_r3: i8,
        /// Reactive energy of quadrant 3.
        value_r3: Int<i64>,
        /// Signature over -A, R2 and R3.
        signature_minus_a: &'a [u8],
    }
}

choices! {
    /// Value of a node of the tree (SML_ProcParValue).
    pub enum Parameter<'a> {
        /// A plain value.
        1 => Value(Value<'a>),
        /// A register of a period.
        2 => Period(PeriodEntry<'a>),
        /// Energies at one time.
        3 => Tuple(Tuple<'a>),
        /// A time.
        4 => Time(Time),
        /// A register of a list, since SML 1.04.
        5 => Entry(ListEntry<'a>),
    }
}
