// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the state of an evaluation is written to bytes and read back, whatever the bytes are (TAF 1 to 14 of TR-03109-1).

use smgw_units::{Decimal, Obis, Unit, UtcNanos};

use crate::list::{Content, Entry, GapReason};
use crate::status::CombinedStatus;

/// A value that survives a restart. Reading damaged bytes gives `None`, and allocates no more than there are bytes.
pub(crate) trait State: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut &[u8]) -> Option<Self>;
}

/// Implements [`State`] for a structure, field by field in the order given.
macro_rules! state {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::taf::state::State for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::taf::state::State::put(&self.$field, out);)+
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::taf::state::State::take(from)?),+ })
            }
        }
    };
}
pub(crate) use state;

macro_rules! integers {
    ($($integer:ty),+) => {
        $(impl State for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }

            fn take(from: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = from.split_first_chunk()?;
                *from = rest;
                Some(Self::from_le_bytes(*bytes))
            }
        })+
    };
}
integers!(u8, i8, u32, i64, i128);

impl State for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        match u8::take(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: State> State for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(match bool::take(from)? {
            true => Some(T::take(from)?),
            false => None,
        })
    }
}

impl<T: State> State for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|value| value.put(out));
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let count = u32::take(from)? as usize;
        // Every value takes at least one byte.
        (count <= from.len()).then_some(())?;
        (0..count).map(|_| T::take(from)).collect()
    }
}

impl<A: State, B: State> State for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some((A::take(from)?, B::take(from)?))
    }
}

impl State for UtcNanos {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        i64::take(from).map(Self)
    }
}

impl State for Unit {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        u8::take(from).map(Self)
    }
}

impl State for Obis {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        let (groups, rest) = from.split_first_chunk()?;
        *from = rest;
        Some(Self(*groups))
    }
}

state!(Decimal { mantissa, exponent });
state!(CombinedStatus { gateway, meter });
state!(Entry {
    obis,
    target,
    status,
    content
});

impl State for Content {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value {
                capture,
                value,
                unit,
            } => {
                u8::MAX.put(out);
                capture.put(out);
                value.put(out);
                unit.put(out);
            }
            Self::Gap(reason) => {
                let known = GapReason::ALL.iter().position(|known| known == reason);
                (known.unwrap_or(0) as u8).put(out);
            }
        }
    }

    fn take(from: &mut &[u8]) -> Option<Self> {
        Some(match u8::take(from)? {
            u8::MAX => Self::Value {
                capture: State::take(from)?,
                value: State::take(from)?,
                unit: State::take(from)?,
            },
            known => Self::Gap(*GapReason::ALL.get(usize::from(known))?),
        })
    }
}
