// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages of every kind from dice, for tests. What they borrow is never freed: tests are short.

use proptest::prelude::*;
use smgw_sml::{
    Attention, Body, CloseRequest, CloseResponse, CosemValue, CrcKind, Form, Int, List, ListEntry,
    ListRequest, ListResponse, ListValue, Message, MessageCrc, Offsets, OpenRequest, OpenResponse,
    Parameter, ParameterRequest, ParameterResponse, PeriodEntry, ProfileHeader,
    ProfileListResponse, ProfilePackResponse, ProfilePeriod, ProfileRequest, ProfileValue,
    ScalerUnit, SetParameterRequest, Time, TimeChoice, TimestampedValue, Tree, Tuple, Value,
};

/// Kinds of messages that [`Dice::message_of`] knows.
pub const KINDS: u64 = 15;

/// A message of any kind.
pub fn message() -> impl Strategy<Value = Message<'static>> {
    any::<u64>().prop_map(|dice| {
        let mut dice = Dice::new(dice);
        let kind = dice.below(KINDS);
        dice.message_of(kind)
    })
}

/// A list of what never goes away.
pub fn given<T>(elements: Vec<T>) -> List<'static, T> {
    let elements: &'static [T] = elements.leak();
    elements.into()
}

/// The same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn number(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0.rotate_left(31)
    }

    pub fn below(&mut self, sides: u64) -> u64 {
        (self.number() >> 16) % sides
    }

    fn octets(&mut self) -> &'static [u8] {
        let length = 1 + self.below(20);
        (0..length)
            .map(|_| self.number() as u8)
            .collect::<Vec<_>>()
            .leak()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 1).then(|| make(self))
    }

    fn many<T>(&mut self, make: impl Fn(&mut Self) -> T) -> List<'static, T> {
        let count = self.below(4);
        given((0..count).map(|_| make(self)).collect())
    }

    fn some_octets(&mut self) -> Option<&'static [u8]> {
        self.maybe(Self::octets)
    }

    fn path(&mut self) -> List<'static, &'static [u8]> {
        self.many(Self::octets)
    }

    /// Any width, and any number that fits.
    fn unsigned(&mut self) -> Int<u64> {
        let width = 1 + self.below(8) as u8;
        Int::new(self.number() >> (64 - 8 * width), width)
    }

    fn signed(&mut self) -> Int<i64> {
        let width = 1 + self.below(8) as u8;
        Int::new(self.number() as i64 >> (64 - 8 * width), width)
    }

    fn seconds(&mut self) -> Int<u32> {
        let width = 1 + self.below(8) as u8;
        let number = self.number() as u32;
        Int::new(number >> (32 - 8 * width.min(4)), width)
    }

    fn minutes(&mut self) -> Int<i16> {
        Int::from(self.number() as i16)
    }

    fn time(&mut self) -> Time {
        let choice = [
            TimeChoice::Bare,
            TimeChoice::SecIndex,
            TimeChoice::Timestamp,
            TimeChoice::Local,
        ][self.below(4) as usize];
        let listed = match choice {
            TimeChoice::Bare => false,
            TimeChoice::Local => true,
            TimeChoice::SecIndex | TimeChoice::Timestamp => self.below(4) == 0,
        };
        Time {
            choice,
            seconds: self.seconds(),
            offsets: listed.then(|| Offsets {
                zone: self.minutes(),
                season: self.minutes(),
            }),
        }
    }

    fn value(&mut self, depth: u64) -> Value<'static> {
        match self.below(4 + depth.min(1)) {
            0 => Value::Octets(self.octets()),
            1 => Value::Bool(self.below(2) == 1),
            2 => {
                let Int { value, width } = self.signed();
                Value::Signed { value, width }
            }
            3 => {
                let Int { value, width } = self.unsigned();
                Value::Unsigned { value, width }
            }
            _ => Value::List(self.many(|dice| dice.value(depth - 1))),
        }
    }

    pub fn list_value(&mut self) -> ListValue<'static> {
        match self.below(3) {
            0 => ListValue::Time(self.time()),
            1 => ListValue::Timestamped(TimestampedValue {
                time: self.time(),
                status: self.value(0),
                value: self.value(1),
            }),
            _ => ListValue::Cosem(CosemValue::ScalerUnit(ScalerUnit {
                scaler: Value::signed(self.number() as i8 as i64),
                unit: Value::unsigned(self.number() & 0xff),
            })),
        }
    }

    fn entry(&mut self) -> ListEntry<'static> {
        ListEntry {
            name: self.octets(),
            status: self.maybe(Self::unsigned),
            time: self.maybe(Self::time),
            unit: self.maybe(|dice| dice.number() as u8),
            scaler: self.maybe(|dice| dice.number() as i8),
            value: self.maybe(|dice| dice.value(2)),
            signature: self.some_octets(),
        }
    }

    fn period_entry(&mut self) -> PeriodEntry<'static> {
        PeriodEntry {
            name: self.octets(),
            unit: self.number() as u8,
            scaler: self.number() as i8,
            value: self.value(2),
            signature: self.some_octets(),
        }
    }

    fn tuple(&mut self) -> Tuple<'static> {
        Tuple {
            server_id: self.octets(),
            time: self.time(),
            status: self.unsigned(),
            unit_plus_a: self.number() as u8,
            scaler_plus_a: self.number() as i8,
            value_plus_a: self.signed(),
            unit_r1: self.number() as u8,
            scaler_r1: self.number() as i8,
            value_r1: self.signed(),
            unit_r4: self.number() as u8,
            scaler_r4: self.number() as i8,
            value_r4: self.signed(),
            signature_plus_a: self.octets(),
            unit_minus_a: self.number() as u8,
            scaler_minus_a: self.number() as i8,
            value_minus_a: self.signed(),
            unit_r2: self.number() as u8,
            scaler_r2: self.number() as i8,
            value_r2: self.signed(),
            unit_r3: self.number() as u8,
            scaler_r3: self.number() as i8,
            value_r3: self.signed(),
            signature_minus_a: self.octets(),
        }
    }

    fn parameter(&mut self) -> Parameter<'static> {
        match self.below(5) {
            0 => Parameter::Value(self.value(2)),
            1 => Parameter::Period(self.period_entry()),
            2 => Parameter::Tuple(self.tuple()),
            3 => Parameter::Time(self.time()),
            _ => Parameter::Entry(self.entry()),
        }
    }

    pub fn tree(&mut self, depth: u64) -> Tree<'static> {
        Tree {
            name: self.octets(),
            value: self.maybe(Self::parameter),
            children: (depth > 0)
                .then(|| self.maybe(|dice| dice.many(|dice| dice.tree(depth - 1))))
                .flatten(),
        }
    }

    fn profile_request(&mut self) -> ProfileRequest<'static> {
        ProfileRequest {
            server_id: self.some_octets(),
            username: self.some_octets(),
            password: self.some_octets(),
            with_raw_data: self.maybe(|dice| dice.below(2) == 1),
            begin: self.maybe(Self::time),
            end: self.maybe(Self::time),
            path: self.path(),
            objects: self.maybe(Self::path),
            details: self.maybe(|dice| dice.tree(1)),
        }
    }

    fn profile_period(&mut self) -> ProfilePeriod<'static> {
        ProfilePeriod {
            time: self.time(),
            status: self.unsigned(),
            values: self.many(|dice| ProfileValue {
                value: dice.value(1),
                signature: dice.some_octets(),
            }),
            signature: self.some_octets(),
        }
    }

    fn body(&mut self, kind: u64) -> Body<'static> {
        match kind {
            0 => Body::OpenRequest(OpenRequest {
                codepage: self.some_octets(),
                client_id: self.octets(),
                request_file_id: self.octets(),
                server_id: self.some_octets(),
                username: self.some_octets(),
                password: self.some_octets(),
                version: self.maybe(|dice| dice.number() as u8),
            }),
            1 => Body::OpenResponse(OpenResponse {
                codepage: self.some_octets(),
                client_id: self.some_octets(),
                request_file_id: self.octets(),
                server_id: self.octets(),
                reference_time: self.maybe(Self::time),
                version: self.maybe(|dice| dice.number() as u8),
            }),
            2 => Body::CloseRequest(CloseRequest {
                signature: self.some_octets(),
            }),
            3 => Body::CloseResponse(CloseResponse {
                signature: self.some_octets(),
            }),
            4 => Body::ProfilePackRequest(self.profile_request()),
            5 => Body::ProfilePackResponse(ProfilePackResponse {
                server_id: self.octets(),
                actual_time: self.time(),
                period: self.seconds(),
                path: self.path(),
                header: self.many(|dice| ProfileHeader {
                    name: dice.octets(),
                    unit: dice.number() as u8,
                    scaler: dice.number() as i8,
                }),
                periods: self.many(Self::profile_period),
                raw_data: self.some_octets(),
                signature: self.some_octets(),
            }),
            6 => Body::ProfileListRequest(self.profile_request()),
            7 => Body::ProfileListResponse(ProfileListResponse {
                server_id: self.octets(),
                actual_time: self.time(),
                period: self.seconds(),
                path: self.path(),
                time: self.time(),
                status: self.unsigned(),
                entries: self.many(Self::period_entry),
                raw_data: self.some_octets(),
                signature: self.some_octets(),
            }),
            8 => Body::ParameterRequest(ParameterRequest {
                server_id: self.some_octets(),
                username: self.some_octets(),
                password: self.some_octets(),
                path: self.path(),
                attribute: self.some_octets(),
            }),
            9 => Body::ParameterResponse(ParameterResponse {
                server_id: self.octets(),
                path: self.path(),
                tree: self.tree(3),
            }),
            10 => Body::SetParameterRequest(SetParameterRequest {
                server_id: self.some_octets(),
                username: self.some_octets(),
                password: self.some_octets(),
                path: self.path(),
                tree: self.tree(2),
            }),
            11 => Body::ListRequest(ListRequest {
                client_id: self.octets(),
                server_id: self.some_octets(),
                username: self.some_octets(),
                password: self.some_octets(),
                list_name: self.some_octets(),
            }),
            12 => Body::ListResponse(ListResponse {
                client_id: self.some_octets(),
                server_id: self.octets(),
                list_name: self.some_octets(),
                sensor_time: self.maybe(Self::time),
                entries: self.many(Self::entry),
                signature: self.some_octets(),
                gateway_time: self.maybe(Self::time),
            }),
            13 => Body::Attention(Attention {
                server_id: self.octets(),
                number: self.octets(),
                message: self.some_octets(),
                details: self.maybe(|dice| dice.tree(1)),
            }),
            _ => Body::Other {
                tag: [0x0800, 0x0901, 0x0a00, 0x0601][self.below(4) as usize],
                content: self.value(3),
            },
        }
    }

    pub fn message_of(&mut self, kind: u64) -> Message<'static> {
        let body = self.body(kind);
        Message {
            transaction_id: self.octets(),
            group: self.number() as u8,
            abort_on_error: self.number() as u8,
            body,
            crc: MessageCrc::Good(match self.below(2) {
                0 => CrcKind::X25,
                _ => CrcKind::Kermit,
            }),
            form: Form {
                tag_width: 2 + self.below(3) as u8,
                crc_width: 2,
                fill: self.below(3) as usize,
            },
        }
    }
}
