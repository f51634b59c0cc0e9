// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any octets; run by the fuzz targets and, over their seeds, by the normal tests.
#![allow(dead_code, reason = "each fuzz target uses one of the functions")]

use smgw_socks::{
    ConnectName, FrameDecoder, FrameError, FrameState, Greeting, MethodChoice, Reply, Request,
};

/// A greeting that is accepted encodes to the octets it was read from.
pub fn greeting(octets: &[u8]) {
    if let Ok(Some((greeting, taken))) = Greeting::parse(octets) {
        assert_eq!(greeting.encode(), octets[..taken]);
        assert_eq!(Greeting::parse(&octets[..taken - 1]), Ok(None));
    }
    if let Ok(Some((choice, taken))) = MethodChoice::parse(octets) {
        assert_eq!(choice.encode(), octets[..taken]);
    }
}

/// A request or reply that is accepted encodes to the octets it was read from.
pub fn request(octets: &[u8]) {
    if let Ok(Some((request, taken))) = Request::parse(octets) {
        assert_eq!(request.encode(), octets[..taken]);
        assert_eq!(Request::parse(&octets[..taken - 1]), Ok(None));
    }
    if let Ok(Some((reply, taken))) = Reply::parse(octets) {
        assert_eq!(reply.encode(), octets[..taken]);
    }
    if let Ok(name) = ConnectName::parse(octets) {
        assert_eq!(name.as_str().as_bytes(), octets);
    }
}

/// The cutting of the octets into calls changes nothing; the first octet chooses the cutting.
pub fn frame(octets: &[u8]) {
    let Some((&cut, wire)) = octets.split_first() else {
        return;
    };
    let whole = decode(std::iter::once(wire));
    assert_eq!(decode(wire.chunks(usize::from(cut % 16) + 1)), whole);
}

/// All payload with its states, how often a frame ended, and the error.
fn decode<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Vec<(FrameState, u8)>, usize, Option<FrameError>) {
    let mut decoder = FrameDecoder::new();
    let (mut payloads, mut ends) = (Vec::new(), 0);
    for mut chunk in chunks {
        loop {
            match decoder.decode(&mut chunk) {
                Ok(None) => break,
                Ok(Some(fragment)) => {
                    payloads.extend(
                        fragment
                            .payload
                            .iter()
                            .map(|octet| (fragment.state, *octet)),
                    );
                    ends += usize::from(fragment.ends_frame);
                }
                Err(error) => return (payloads, ends, Some(error)),
            }
        }
    }
    (payloads, ends, None)
}
