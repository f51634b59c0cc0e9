// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of SML's messages and their elements (SML 1.05 §5), for annotating bytes.

/// An element by its place in a message.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) of: Of,
}

/// What an element consists of.
pub(crate) enum Of {
    /// A scalar, or anything.
    Any,
    /// These, in order.
    All(&'static [Field]),
    /// Any number of this.
    Each(&'static Field),
}

/// Name of a message and its elements; unknown ones have none.
pub(crate) fn message(tag: u32) -> (&'static str, &'static [Field]) {
    MESSAGES
        .iter()
        .find(|(known, ..)| *known == tag)
        .map_or(("unknown message", &[]), |(_, name, fields)| (name, fields))
}

const fn any(name: &'static str) -> Field {
    Field { name, of: Of::Any }
}

const fn all(name: &'static str, fields: &'static [Field]) -> Field {
    Field {
        name,
        of: Of::All(fields),
    }
}

const fn each(name: &'static str, field: &'static Field) -> Field {
    Field {
        name,
        of: Of::Each(field),
    }
}

/// What every message begins with.
pub(crate) const ENVELOPE: [&str; 6] = [
    "transactionId",
    "groupNo",
    "abortOnError",
    "messageBody",
    "crc16",
    "end of message",
];

const TIME: &[Field] = &[any("choice of time"), any("seconds")];
const PATH: Field = any("path element");
const ATTRIBUTE: Field = any("element");

const PROFILE_REQUEST: &[Field] = &[
    any("serverId"),
    any("username"),
    any("password"),
    any("withRawdata"),
    all("beginTime", TIME),
    all("endTime", TIME),
    each("parameterTreePath", &PATH),
    each("object_List", &ATTRIBUTE),
    any("dasDetails"),
];

const ENTRY: Field = all(
    "valListEntry",
    &[
        any("objName"),
        any("status"),
        all("valTime", TIME),
        any("unit"),
        any("scaler"),
        any("value"),
        any("valueSignature"),
    ],
);

const PERIOD_ENTRY: Field = all(
    "periodEntry",
    &[
        any("objName"),
        any("unit"),
        any("scaler"),
        any("value"),
        any("valueSignature"),
    ],
);

const PACK_HEADER: Field = all("headerEntry", &[any("objName"), any("unit"), any("scaler")]);

const PACK_VALUE: Field = all("valueEntry", &[any("value"), any("valueSignature")]);

const PACK_PERIOD: Field = all(
    "period",
    &[
        all("valTime", TIME),
        any("status"),
        each("value_List", &PACK_VALUE),
        any("periodSignature"),
    ],
);

const TREE: &[Field] = &[
    any("parameterName"),
    any("parameterValue"),
    each("child_List", &ATTRIBUTE),
];

type Known = (u32, &'static str, &'static [Field]);

const MESSAGES: [Known; 13] = [
    (
        0x0100,
        "PublicOpen.Req",
        &[
            any("codepage"),
            any("clientId"),
            any("reqFileId"),
            any("serverId"),
            any("username"),
            any("password"),
            any("smlVersion"),
        ],
    ),
    (
        0x0101,
        "PublicOpen.Res",
        &[
            any("codepage"),
            any("clientId"),
            any("reqFileId"),
            any("serverId"),
            all("refTime", TIME),
            any("smlVersion"),
        ],
    ),
    (0x0200, "PublicClose.Req", &[any("globalSignature")]),
    (0x0201, "PublicClose.Res", &[any("globalSignature")]),
    (0x0300, "GetProfilePack.Req", PROFILE_REQUEST),
    (
        0x0301,
        "GetProfilePack.Res",
        &[
            any("serverId"),
            all("actTime", TIME),
            any("regPeriod"),
            each("parameterTreePath", &PATH),
            each("header_List", &PACK_HEADER),
            each("period_List", &PACK_PERIOD),
            any("rawdata"),
            any("profileSignature"),
        ],
    ),
    (0x0400, "GetProfileList.Req", PROFILE_REQUEST),
    (
        0x0401,
        "GetProfileList.Res",
        &[
            any("serverId"),
            all("actTime", TIME),
            any("regPeriod"),
            each("parameterTreePath", &PATH),
            all("valTime", TIME),
            any("status"),
            each("period_List", &PERIOD_ENTRY),
            any("rawdata"),
            any("periodSignature"),
        ],
    ),
    (
        0x0500,
        "GetProcParameter.Req",
        &[
            any("serverId"),
            any("username"),
            any("password"),
            each("parameterTreePath", &PATH),
            any("attribute"),
        ],
    ),
    (
        0x0501,
        "GetProcParameter.Res",
        &[
            any("serverId"),
            each("parameterTreePath", &PATH),
            all("parameterTree", TREE),
        ],
    ),
    (
        0x0600,
        "SetProcParameter.Req",
        &[
            any("serverId"),
            any("username"),
            any("password"),
            each("parameterTreePath", &PATH),
            all("parameterTree", TREE),
        ],
    ),
    (
        0x0701,
        "GetList.Res",
        &[
            any("clientId"),
            any("serverId"),
            any("listName"),
            all("actSensorTime", TIME),
            each("valList", &ENTRY),
            any("listSignature"),
            all("actGatewayTime", TIME),
        ],
    ),
    (
        0xff01,
        "Attention.Res",
        &[
            any("serverId"),
            any("attentionNo"),
            any("attentionMsg"),
            all("attentionDetails", TREE),
        ],
    ),
];
