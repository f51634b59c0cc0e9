// SPDX-License-Identifier: MIT OR Apache-2.0
//! COSEM registers as parts of an SML tree, as the wired LMN asks for them (BSI TR-03109-1 detail specifications
//! v2.0 ch. 9): class 32770 for electrical energy, 3 otherwise; attributes 2 (value), 3 (scaler_unit), 4 (status), 5
//! (capture_time).
//!
//! Assumption: DIN VDE V 0418-63-9, which says how the tree is laid out, is not public. Here the path is the OBIS code
//! and then the class in two bytes, and the node has one child for each attribute, named by its number in one byte.

use alloc::vec::Vec;

use smgw_units::Obis;

use crate::{
    CosemValue, Int, List, ListEntry, ListValue, Parameter, ParameterResponse, ScalerUnit, Tree,
    Value,
};

/// Class of the register: the extended one of electrical energy (C of 1, 2, 5 to 8 and D 8), or the common one.
const fn class(obis: &Obis) -> [u8; 2] {
    let [medium, _, quantity, kind, ..] = obis.0;
    let energy = medium == 1 && matches!(quantity, 1 | 2 | 5..=8) && kind == 8;
    let class: u16 = if energy { 32_770 } else { 3 };
    class.to_be_bytes()
}

/// The path to a register.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Path(Obis, [u8; 2]);

impl Path {
    /// The path to this register.
    pub const fn to(obis: Obis) -> Self {
        Self(obis, class(&obis))
    }

    /// What stands in a request: OBIS code and class.
    pub const fn parts(&self) -> [&[u8]; 2] {
        [&self.0.0, &self.1]
    }

    /// The register a path leads to, if its class is that of the register.
    pub fn read(path: &List<'_, &[u8]>) -> Option<Obis> {
        let mut parts = path.iter();
        let obis = Obis(parts.next()?.try_into().ok()?);
        let of_class = parts.next()? == class(&obis) && parts.next().is_none();
        of_class.then_some(obis)
    }
}

/// Hands the tree of a register to `take`.
pub fn tree<T>(entry: &ListEntry<'_>, take: impl FnOnce(Tree<'_>) -> T) -> T {
    let mut children = Vec::new();
    let node = |name, value| Tree {
        name,
        value: Some(value),
        children: None,
    };
    children.extend(
        entry
            .value
            .map(|value| node(VALUE, Parameter::Value(value))),
    );
    let number = |value: i64, width| Value::Signed { value, width };
    let scaler_unit = entry.unit.map(|unit| {
        let pair = ScalerUnit {
            scaler: number(entry.scaler.unwrap_or(0).into(), 1),
            unit: Value::Unsigned {
                value: unit.into(),
                width: 1,
            },
        };
        ListValue::Cosem(CosemValue::ScalerUnit(pair)).encode()
    });
    let scaler_unit = scaler_unit
        .as_deref()
        .and_then(|bytes| Value::parse(bytes).ok())
        .map(|(value, _)| value);
    children.extend(scaler_unit.map(|value| node(SCALER_UNIT, Parameter::Value(value))));
    let status = entry.status.map(|status| Value::unsigned(status.value));
    children.extend(status.map(|status| node(STATUS, Parameter::Value(status))));
    children.extend(
        entry
            .time
            .map(|time| node(CAPTURE_TIME, Parameter::Time(time))),
    );
    take(Tree {
        name: entry.name,
        value: None,
        children: Some(List::from(&children)),
    })
}

/// The register of an answer; attributes of other kinds or numbers are passed over.
pub fn entry<'a>(response: &ParameterResponse<'a>) -> ListEntry<'a> {
    let mut entry = ListEntry {
        name: response.tree.name,
        ..ListEntry::default()
    };
    for node in response.tree.children.iter().flat_map(List::iter) {
        match (node.name, node.value) {
            (VALUE, Some(Parameter::Value(value))) => entry.value = Some(value),
            (SCALER_UNIT, Some(Parameter::Value(value))) => {
                if let Some(ListValue::Cosem(CosemValue::ScalerUnit(pair))) = ListValue::of(&value)
                {
                    let scaler = pair.scaler.integer();
                    entry.scaler = scaler.and_then(|scaler| scaler.try_into().ok());
                    entry.unit = pair.unit.integer().and_then(|unit| unit.try_into().ok());
                }
            }
            (STATUS, Some(Parameter::Value(Value::Unsigned { value, width }))) => {
                entry.status = Some(Int { value, width });
            }
            (CAPTURE_TIME, Some(Parameter::Time(time))) => entry.time = Some(time),
            _ => {}
        }
    }
    entry
}

const VALUE: &[u8] = &[2];
const SCALER_UNIT: &[u8] = &[3];
const STATUS: &[u8] = &[4];
const CAPTURE_TIME: &[u8] = &[5];
