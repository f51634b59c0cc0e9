// SPDX-License-Identifier: MIT OR Apache-2.0
//! IP, UDP and TCP headers around recorded payload, so that packet analysers see an ordinary conversation.
//! RFC 791, RFC 8200, RFC 768, RFC 9293; checksums are right.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

/// IP protocol number for experiments (RFC 3692): carries the trace's own remarks.
const PROTOCOL_REMARK: u8 = 253;

/// One TCP segment without options.
pub(crate) fn tcp(
    from: SocketAddr,
    to: SocketAddr,
    seq: u32,
    ack: u32,
    flags: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20 + payload.len());
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.push(5 << 4);
    segment.push(flags);
    segment.extend(WINDOW.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(payload);
    ip(from.ip(), to.ip(), 6, segment, Some(16))
}

/// One UDP datagram; `payload` must fit (65 507 bytes).
pub(crate) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::with_capacity(8 + payload.len());
    datagram.extend(from.port().to_be_bytes());
    datagram.extend(to.port().to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0; 2]);
    datagram.extend(payload);
    ip(from.ip(), to.ip(), 17, datagram, Some(6))
}

/// A remark of the trace itself, as text in an experimental protocol.
pub(crate) fn remark(from: SocketAddr, to: SocketAddr, text: &str) -> Vec<u8> {
    ip(
        from.ip(),
        to.ip(),
        PROTOCOL_REMARK,
        text.as_bytes().to_vec(),
        None,
    )
}

/// Puts both addresses into one family: IPv4 becomes IPv4-mapped when the other side is IPv6.
pub(crate) fn same_family(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if a.is_ipv4() == b.is_ipv4() {
        (a, b)
    } else {
        (mapped(a), mapped(b))
    }
}

/// Wraps `payload` and fills the transport checksum at `checksum_at`.
fn ip(
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    mut payload: Vec<u8>,
    checksum_at: Option<usize>,
) -> Vec<u8> {
    let length = payload.len();
    let mut pseudo = Vec::with_capacity(40);
    let mut header = match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            pseudo.extend(from.octets());
            pseudo.extend(to.octets());
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((length as u16).to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(&pseudo);
            header
        }
        (from, to) => {
            let v4 = |ip| match ip {
                IpAddr::V4(v4) => v4,
                IpAddr::V6(v6) => v6.to_ipv4().unwrap_or(Ipv4Addr::UNSPECIFIED),
            };
            pseudo.extend(v4(from).octets());
            pseudo.extend(v4(to).octets());
            let mut header = vec![0x45, 0];
            header.extend((20 + length as u16).to_be_bytes());
            // Don't fragment, so the identification may stay zero (RFC 6864).
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(&pseudo);
            let sum = checksum(&header, 0).to_be_bytes();
            header.splice(10..12, sum);
            header
        }
    };
    if let Some(at) = checksum_at {
        let start = sum_words(&pseudo, u64::from(protocol) + length as u64);
        let sum = match checksum(&payload, start) {
            // Zero means "none" in UDP; both spellings are equal in ones' complement.
            0 => 0xffff,
            sum => sum,
        };
        payload.splice(at..at + 2, sum.to_be_bytes());
    }
    header.extend(payload);
    header
}

fn checksum(bytes: &[u8], start: u64) -> u16 {
    let mut sum = sum_words(bytes, start);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn sum_words(bytes: &[u8], start: u64) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let odd = rest.first().map_or(0, |&byte| u64::from(byte) << 8);
    pairs.iter().fold(start + odd, |sum, pair| {
        sum + u64::from(u16::from_be_bytes(*pair))
    })
}

const WINDOW: u16 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_checksum_of_a_textbook_example() {
        // 4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7 with its checksum zeroed.
        let header = [
            0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0,
            0xc7,
        ];
        assert_eq!(checksum(&header, 0), 0xb861);
    }

    #[test]
    fn families_are_made_equal() {
        let v4: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        let v6: SocketAddr = "[::1]:2".parse().expect("an address");
        assert_eq!(same_family(v4, v4), (v4, v4));
        let (a, b) = same_family(v4, v6);
        assert!(a.is_ipv6() && b == v6);
        assert_eq!(tcp(a, b, 0, 0, SYN, b"")[0], 0x60);
    }
}
