// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control information field: what stands behind it and behind which header (EN 13757-7 table 2).
//!
//! | CI | service | header |
//! |---|---|---|
//! | 00-1F | segment of DLMS | none |
//! | 50, 53 | application reset or selection | none, long |
//! | 51, 5A, 5B | command with records (55 before 2018: most significant byte first) | none, short, long |
//! | 52, 56 | selection of a slave | none |
//! | 54, 55 | synchronise (before 2018) or request of the selected application | none, long |
//! | 5C | synchronise | none |
//! | 5F, 9E, 9F | specific use | long, short, long |
//! | 60, 61, 7C, 7D | DLMS with OBIS | long, short, long, short |
//! | 64, 65, 7E, 7F | OBIS or SML (the sources disagree) | long, short, long, short |
//! | 66-68 | selected application | none, short, long |
//! | 69-6B | format frame | none, short, long |
//! | 6C, 6D | clock | long |
//! | 6E, 6F, 70 | application error | short, long, none |
//! | 71, 74, 75 | alarm | none, short, long |
//! | 72, 78, 7A (76 most significant byte first) | response with records | long, none, short |
//! | 73, 79, 7B | compact frame; 73 on a wire is the fixed structure of 1997 | long, none, short |
//! | 80, 8A, 8B | transport layer only | long, short, long |
//! | 81 | network layer | unknown here |
//! | 82, 83, 87-89 | network management | long, none, long, short, none |
//! | 84, 85 | request of a compact or format frame | long |
//! | 86, 8C-8F | extended link layer | its own |
//! | 90 | authentication and fragmentation | its own |
//! | A0-B7 | manufacturer | none |
//! | B8-BF | baud rate 300 to 38400 | none |
//! | C0-C5 | image transfer, security information | long, short, long, twice |
//!
//! Entries without a capture behind them (all but 00-1F, 50-52, 5A, 5B, 6E-7A, 8A-90, A0-BF) are assumed.

/// Which header follows a CI field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HeaderKind {
    /// No header.
    None,
    /// Access number, status and configuration.
    Short,
    /// A short header behind a full address.
    Long,
}

/// What a CI field announces.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // The table above says what they are.
pub enum Service {
    DlmsSegment,
    ApplicationReset,
    Command,
    CommandMsbFirst,
    Select,
    Synchronise,
    Dlms,
    Obis,
    SelectedApplication,
    FormatFrame,
    Clock,
    ApplicationError,
    Alarm,
    Response,
    ResponseMsbFirst,
    Fixed,
    CompactFrame,
    Transport,
    Network,
    NetworkManagement,
    FrameRequest,
    ExtendedLink,
    Authentication,
    Manufacturer,
    Baud,
    ImageTransfer,
    SecurityInformation,
    Specific,
    Unknown,
}

/// What `ci` announces on a wire, and its header.
pub const fn classify(ci: u8) -> (Service, HeaderKind) {
    use HeaderKind::{Long, None, Short};
    match ci {
        0x00..=0x1f => (Service::DlmsSegment, None),
        0x50 => (Service::ApplicationReset, None),
        0x53 => (Service::ApplicationReset, Long),
        0x51 => (Service::Command, None),
        0x5a => (Service::Command, Short),
        0x5b => (Service::Command, Long),
        0x55 => (Service::CommandMsbFirst, None),
        0x52 | 0x56 => (Service::Select, None),
        0x54 | 0x5c => (Service::Synchronise, None),
        0x5f | 0x9f => (Service::Specific, Long),
        0x9e => (Service::Specific, Short),
        0x60 | 0x7c => (Service::Dlms, Long),
        0x61 | 0x7d => (Service::Dlms, Short),
        0x64 | 0x7e => (Service::Obis, Long),
        0x65 | 0x7f => (Service::Obis, Short),
        0x66 => (Service::SelectedApplication, None),
        0x67 => (Service::SelectedApplication, Short),
        0x68 => (Service::SelectedApplication, Long),
        0x69 => (Service::FormatFrame, None),
        0x6a => (Service::FormatFrame, Short),
        0x6b => (Service::FormatFrame, Long),
        0x6c | 0x6d => (Service::Clock, Long),
        0x6e => (Service::ApplicationError, Short),
        0x6f => (Service::ApplicationError, Long),
        0x70 => (Service::ApplicationError, None),
        0x71 => (Service::Alarm, None),
        0x74 => (Service::Alarm, Short),
        0x75 => (Service::Alarm, Long),
        0x72 => (Service::Response, Long),
        0x76 => (Service::ResponseMsbFirst, Long),
        0x78 => (Service::Response, None),
        0x7a => (Service::Response, Short),
        0x73 => (Service::Fixed, None),
        0x79 => (Service::CompactFrame, None),
        0x7b => (Service::CompactFrame, Short),
        0x80 | 0x8b => (Service::Transport, Long),
        0x8a => (Service::Transport, Short),
        0x81 => (Service::Network, None),
        0x82 | 0x87 => (Service::NetworkManagement, Long),
        0x88 => (Service::NetworkManagement, Short),
        0x83 | 0x89 => (Service::NetworkManagement, None),
        0x84 | 0x85 => (Service::FrameRequest, Long),
        0x86 | 0x8c..=0x8f => (Service::ExtendedLink, None),
        0x90 => (Service::Authentication, None),
        0xa0..=0xb7 => (Service::Manufacturer, None),
        0xb8..=0xbf => (Service::Baud, None),
        0xc0 | 0xc2 => (Service::ImageTransfer, Long),
        0xc1 => (Service::ImageTransfer, Short),
        0xc3 | 0xc5 => (Service::SecurityInformation, Long),
        0xc4 => (Service::SecurityInformation, Short),
        _ => (Service::Unknown, None),
    }
}

/// The rate a CI field B8 to BF asks for, in Bd.
pub const fn baud(ci: u8) -> Option<u32> {
    match ci {
        0xb8 => Some(300),
        0xb9 => Some(600),
        0xba => Some(1200),
        0xbb => Some(2400),
        0xbc => Some(4800),
        0xbd => Some(9600),
        0xbe => Some(19_200),
        0xbf => Some(38_400),
        _ => None,
    }
}

/// The CI field that asks for a rate in Bd.
pub const fn of_baud(rate: u32) -> Option<u8> {
    let mut ci = 0xb8;
    while ci <= 0xbf {
        if let Some(known) = baud(ci)
            && known == rate
        {
            return Some(ci);
        }
        ci += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_their_ci() {
        for rate in [300, 600, 1200, 2400, 4800, 9600, 19_200, 38_400] {
            assert_eq!(of_baud(rate).and_then(baud), Some(rate));
        }
        assert_eq!(of_baud(2401), None);
    }
}
