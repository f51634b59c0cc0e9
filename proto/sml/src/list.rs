// SPDX-License-Identifier: MIT OR Apache-2.0
//! GetList: named lists of registers (SML 1.05 §5.1.14-5.1.15), the message pushing meters send.

use alloc::vec::Vec;

use crate::coded::{Coded, List, Read, Reader, records};
use crate::tl::{self, Kind};
use crate::{Int, Quirk, Time, Value};

records! {
    /// GetList.Req: asks for a list of registers.
    pub struct ListRequest<'a> {
        /// Who asks.
        client_id: &'a [u8],
        /// Whom.
        server_id: Option<&'a [u8]>,
        /// User name.
        username: Option<&'a [u8]>,
        /// Password.
        password: Option<&'a [u8]>,
        /// Which list; absent for the default one.
        list_name: Option<&'a [u8]>,
    }

    /// GetList.Res: registers with their values.
    pub struct ListResponse<'a> {
        /// Whom the list is meant for.
        client_id: Option<&'a [u8]>,
        /// The meter.
        server_id: &'a [u8],
        /// Name of the list, mostly an OBIS code.
        list_name: Option<&'a [u8]>,
        /// The meter's time when it sensed the values.
        sensor_time: Option<Time>,
        /// The registers.
        entries: List<'a, ListEntry<'a>>,
        /// Signature over the list.
        signature: Option<&'a [u8]>,
        /// Time the gateway received the values.
        gateway_time: Option<Time>,
    }
}

/// One register.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ListEntry<'a> {
    /// Its name, an OBIS code of six bytes.
    pub name: &'a [u8],
    /// Status word.
    pub status: Option<Int<u64>>,
    /// When the value was valid.
    pub time: Option<Time>,
    /// DLMS unit code.
    pub unit: Option<u8>,
    /// Power of ten to multiply the value with.
    pub scaler: Option<i8>,
    /// The value; absent on meters that have none at the moment.
    pub value: Option<Value<'a>>,
    /// Signature over the value.
    pub signature: Option<&'a [u8]>,
}

impl<'a> Coded<'a> for ListEntry<'a> {
    /// Like any record, but for the deviations meters show here.
    #[inline]
    fn read(reader: &mut Reader<'a>) -> Read<'a, Self> {
        reader.record(7, |reader| {
            let name = Coded::read(reader)?;
            let at = *reader;
            let status: Option<Int<u64>> = Coded::read(reader)?;
            if status.is_some_and(|status| !matches!(status.width, 1 | 2 | 4 | 8)) {
                at.deviates(Quirk::OddStatusWidth)?;
            }
            let time = Coded::read(reader)?;
            let at = *reader;
            let unit = Coded::read(reader)?;
            if unit == Some(0) {
                at.deviates(Quirk::ZeroUnit)?;
            }
            let scaler = Coded::read(reader)?;
            let at = *reader;
            let value: Option<Value<'a>> = Coded::read(reader)?;
            if value.is_none() {
                at.deviates(Quirk::AbsentValue)?;
            }
            Ok(Self {
                name,
                status,
                time,
                unit,
                scaler,
                value,
                signature: Coded::read(reader)?,
            })
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        tl::write_header(out, Kind::List, 7);
        self.name.write(out);
        self.status.write(out);
        self.time.write(out);
        self.unit.write(out);
        self.scaler.write(out);
        self.value.write(out);
        self.signature.write(out);
    }
}
