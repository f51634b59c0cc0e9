// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a message says: every message type by its tag (SML 1.05 §5.1.3).

use alloc::vec::Vec;

use crate::coded::{Coded, Read, Reader};
use crate::{
    Attention, CloseRequest, CloseResponse, ListRequest, ListResponse, OpenRequest, OpenResponse,
    ParameterRequest, ParameterResponse, ProfileListResponse, ProfilePackResponse, ProfileRequest,
    SetParameterRequest, Value,
};

macro_rules! bodies {
    ($($tag:literal $name:literal $variant:ident($type:ident),)+) => {
        /// What a message says.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Body<'a> {
            $(#[doc = concat!($name, " (", stringify!($tag), ").")] $variant($type<'a>),)+
            /// Any other message as a plain tree: those of [`Body::name_of`] that have no variant here,
            /// because their layout is not published, and unknown ones.
            Other {
                /// Message tag.
                tag: u32,
                /// Its content.
                content: Value<'a>,
            },
        }

        impl<'a> Body<'a> {
            /// Message tag.
            pub const fn tag(&self) -> u32 {
                match self {
                    $(Self::$variant(_) => $tag,)+
                    Self::Other { tag, .. } => *tag,
                }
            }

            /// The name of the message type a tag stands for, as the specification writes it.
            pub const fn name_of(tag: u32) -> Option<&'static str> {
                match tag {
                    $($tag => Some($name),)+
                    0x0800 => Some("GetCosem.Req"),
                    0x0801 => Some("GetCosem.Res"),
                    0x0900 => Some("SetCosem.Req"),
                    0x0901 => Some("SetCosem.Res"),
                    0x0a00 => Some("ActionCosem.Req"),
                    0x0a01 => Some("ActionCosem.Res"),
                    _ => None,
                }
            }

            /// The content of a message with this tag.
            pub(crate) fn read(tag: u32, reader: &mut Reader<'a>) -> Read<'a, Self> {
                match tag {
                    $($tag => Coded::read(reader).map(Self::$variant),)+
                    _ => Coded::read(reader).map(|content| Self::Other { tag, content }),
                }
            }

            /// The content without the tag.
            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(content) => content.write(out),)+
                    Self::Other { content, .. } => content.write(out),
                }
            }
        }
    };
}

bodies! {
    0x0100 "PublicOpen.Req" OpenRequest(OpenRequest),
    0x0101 "PublicOpen.Res" OpenResponse(OpenResponse),
    0x0200 "PublicClose.Req" CloseRequest(CloseRequest),
    0x0201 "PublicClose.Res" CloseResponse(CloseResponse),
    0x0300 "GetProfilePack.Req" ProfilePackRequest(ProfileRequest),
    0x0301 "GetProfilePack.Res" ProfilePackResponse(ProfilePackResponse),
    0x0400 "GetProfileList.Req" ProfileListRequest(ProfileRequest),
    0x0401 "GetProfileList.Res" ProfileListResponse(ProfileListResponse),
    0x0500 "GetProcParameter.Req" ParameterRequest(ParameterRequest),
    0x0501 "GetProcParameter.Res" ParameterResponse(ParameterResponse),
    0x0600 "SetProcParameter.Req" SetParameterRequest(SetParameterRequest),
    0x0700 "GetList.Req" ListRequest(ListRequest),
    0x0701 "GetList.Res" ListResponse(ListResponse),
    0xff01 "Attention.Res" Attention(Attention),
}

impl<'a> Body<'a> {
    /// Whether a client asks for something with it, between opening and closing its file.
    pub const fn is_request(&self) -> bool {
        matches!(
            self,
            Self::ProfilePackRequest(_)
                | Self::ProfileListRequest(_)
                | Self::ParameterRequest(_)
                | Self::SetParameterRequest(_)
                | Self::ListRequest(_)
        ) || matches!(self.tag(), 0x0800 | 0x0900 | 0x0a00)
    }

    /// Whether this is the kind of message that answers a request with tag `request`. An Attention may
    /// answer any, and nothing else answers SetProcParameter.Req.
    pub const fn answers(&self, request: u32) -> bool {
        matches!(self, Self::Attention(_)) || request != SET_PARAMETER && self.tag() == request + 1
    }

    /// Whom a request is meant for, and user name and password, as far as it tells.
    pub const fn access(&self) -> Access<'a> {
        let (server_id, username, password) = match self {
            Self::OpenRequest(it) => (it.server_id, it.username, it.password),
            Self::ProfilePackRequest(it) | Self::ProfileListRequest(it) => {
                (it.server_id, it.username, it.password)
            }
            Self::ParameterRequest(it) => (it.server_id, it.username, it.password),
            Self::SetParameterRequest(it) => (it.server_id, it.username, it.password),
            Self::ListRequest(it) => (it.server_id, it.username, it.password),
            _ => (None, None, None),
        };
        Access {
            server_id,
            username,
            password,
        }
    }
}

/// What a request tells about whom it asks, and on whose behalf.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Access<'a> {
    /// The server meant.
    pub server_id: Option<&'a [u8]>,
    /// User name.
    pub username: Option<&'a [u8]>,
    /// Password.
    pub password: Option<&'a [u8]>,
}

const SET_PARAMETER: u32 = 0x0600;
