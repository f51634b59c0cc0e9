// SPDX-License-Identifier: MIT OR Apache-2.0
//! DLMS over HDLC: a published exchange, and the byte strings of another implementation's tests where
//! they are present (see `SMGW_BENCH_CORPORA`).

use serde_json::Value as Json;
use smgw_hdlc::{Address, Control, Frame, Llc, Negotiation, Profile};
use test_material::corpus;

fn hex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn a_link_is_set_up() {
    // IEC 62056-46: client 16 sets up a link with server 1/17.
    let snrm = hex("7E A0 08 02 23 21 93 BD 64 7E");
    let frame = Frame::decode(&Profile::DLMS, &snrm).unwrap();
    assert_eq!(frame.destination, Address::lmn(1, 17));
    assert_eq!(frame.source, Address::short(16));
    assert_eq!(frame.control, Control::Snrm { poll: true });
    assert_eq!(frame.encode(&Profile::DLMS), Ok(snrm));
    let ua = hex("7ea01f21022373e6c7818012050180060180070400000001080400000001533b7e");
    let frame = Frame::decode(&Profile::DLMS, &ua).unwrap();
    assert_eq!(frame.control, Control::Ua { poll: true });
    assert_eq!(frame.encode(&Profile::DLMS), Ok(ua.clone()));
    let agreed = Negotiation::decode(frame.info).unwrap();
    assert_eq!(agreed.max_info_sent, 128);
    assert_eq!(agreed.max_info_received, 128);
    assert_eq!((agreed.window_sent, agreed.window_received), (1, 1));
    assert_eq!(agreed.encode(), frame.info);
    let large = Negotiation {
        max_info_sent: 2030,
        window_received: 7,
        ..agreed
    };
    assert_eq!(Negotiation::decode(&large.encode()), Some(large));
    assert_eq!(Negotiation::decode(&[]), Some(Negotiation::default()));
    assert_eq!(Negotiation::decode(&frame.info[1..]), None);
}

#[test]
fn addresses_of_all_lengths_survive() {
    let addresses = [
        Address::short(0x7f),
        Address::lmn(1, 17),
        Address::long(0x3fff, 0x1234),
    ];
    for destination in addresses {
        for source in addresses {
            let frame = Frame {
                segmented: true,
                destination,
                source,
                control: Control::Ui { poll: false },
                info: b"\x7e",
            };
            let line = frame.encode(&Profile::DLMS).unwrap();
            assert_eq!(Frame::decode(&Profile::DLMS, &line), Ok(frame));
        }
    }
    assert_eq!(Address::long(0x3fff, 0x1234).sap(), 0x3fff);
    assert_eq!(Address::long(0x3fff, 0x1234).station(), 0x1234);
}

#[test]
fn llc_headers_split() {
    let request = hex("e6e600601da109060760857405080101be10040e01000000065f1f0400001e1dffff");
    let (llc, apdu) = Llc::split(&request).unwrap();
    assert_eq!((llc, apdu[0]), (Llc::Command, 0x60));
    let response = hex("e6e7006129");
    assert_eq!(
        Llc::split(&response),
        Some((Llc::Response, &b"\x61\x29"[..]))
    );
    assert_eq!(Llc::split(b"\xe6\xe6"), None);
    assert_eq!(Llc::split(b"\x7e\xa0\x08\x02"), None);
}

fn vectors() -> Option<Vec<Json>> {
    let path = corpus("dlms-hdlc-pwitab")?.join("vectors.json");
    Some(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
}

#[test]
fn foreign_byte_strings_agree() {
    let Some(vectors) = vectors() else { return };
    let (mut frames, mut headers) = (0, 0);
    for vector in &vectors {
        let line = hex(vector["hex"].as_str().unwrap());
        if line.first() == Some(&0x7e) {
            let frame = Frame::decode(&Profile::DLMS, &line).unwrap();
            assert_eq!(frame.encode(&Profile::DLMS).as_ref(), Ok(&line));
            frames += 1;
            for at in 0..line.len() {
                for bit in 0..8 {
                    let mut damaged = line.clone();
                    damaged[at] ^= 1 << bit;
                    assert!(Frame::decode(&Profile::DLMS, &damaged).is_err());
                }
            }
        }
        headers += usize::from(Llc::split(&line).is_some());
    }
    println!(
        "{} byte strings, {frames} frames, {headers} with an LLC header",
        vectors.len()
    );
    assert!(frames > 0 && headers > 0);
}
