// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agreement with the frames and device ids of `fixtures/lmn`, which another encoder made.

use std::time::Duration;

use serde_json::Value as Json;
use smgw_hdlc::{Address, Control, Event, Frame, Framer, Profile};
use smgw_units::{DeviceId, Nanos};

const GAP: Duration = Duration::from_millis(20);

fn vectors(kind: &str) -> Vec<Json> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/lmn/vectors.json"
    );
    let all: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let kept: Vec<_> = all
        .into_iter()
        .filter(|vector| vector["kind"] == kind)
        .collect();
    assert!(!kept.is_empty());
    kept
}

fn bytes(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn address(pair: &Json) -> Address {
    let part = |index: usize| u8::try_from(pair[index].as_u64().unwrap()).unwrap();
    Address::lmn(part(0), part(1))
}

/// The names of the vectors; all poll.
fn control(name: &str) -> Control {
    let poll = true;
    let digit = |at: usize| name.as_bytes()[at] - b'0';
    match name {
        "SNRM" => Control::Snrm { poll },
        "DISC" => Control::Disc { poll },
        "UA" => Control::Ua { poll },
        "DM" => Control::Dm { poll },
        "FRMR" => Control::Frmr { poll },
        "UI" => Control::Ui { poll },
        name if name.starts_with("RNR") => Control::ReceiveNotReady {
            receive: digit(3),
            poll,
        },
        name if name.starts_with("RR") => Control::ReceiveReady {
            receive: digit(2),
            poll,
        },
        _ => Control::Information {
            send: digit(1),
            receive: digit(2),
            poll,
        },
    }
}

/// What a framer makes of a line that then falls silent: frames, and reasons of discards.
fn framed(line: &[u8]) -> (Vec<Vec<u8>>, Vec<&'static str>) {
    let mut framer = Framer::new(Profile::LMN, GAP);
    let (mut frames, mut reasons) = (Vec::new(), Vec::new());
    let mut take = |framer: &mut Framer| {
        while let Some(event) = framer.poll() {
            match event {
                Event::Frame { bytes, .. } => frames.push(bytes.to_vec()),
                Event::Discarded { reason, .. } => reasons.push(reason.name()),
            }
        }
    };
    for (at, byte) in line.iter().enumerate() {
        framer.push(*byte, Nanos(at as u64));
        take(&mut framer);
    }
    framer.idle(Nanos(u64::MAX));
    take(&mut framer);
    (frames, reasons)
}

#[test]
fn good_frames_decode_and_encode() {
    for vector in vectors("hdlc")
        .iter()
        .filter(|vector| vector["valid"] == true)
    {
        let line = bytes(&vector["frame"]);
        let info = bytes(&vector["info"]);
        let expected = Frame {
            segmented: false,
            destination: address(&vector["dst"]),
            source: address(&vector["src"]),
            control: control(vector["control"].as_str().unwrap()),
            info: &info,
        };
        let name = &vector["name"];
        assert_eq!(Frame::decode(&Profile::LMN, &line), Ok(expected), "{name}");
        assert_eq!(expected.encode(&Profile::LMN).as_ref(), Ok(&line), "{name}");
        assert_eq!(framed(&line), (vec![line], vec![]), "{name}");
    }
}

#[test]
fn faulty_frames_are_refused_for_the_right_reason() {
    for vector in vectors("hdlc")
        .iter()
        .filter(|vector| vector["valid"] == false)
    {
        let line = bytes(&vector["frame"]);
        let why = vector["why"].as_str().unwrap();
        let name = &vector["name"];
        let fault = Frame::decode(&Profile::LMN, &line).map_err(|fault| fault.name());
        assert_eq!(fault.unwrap_err(), why, "{name}");
        assert_eq!(framed(&line), (vec![], vec![why]), "{name} as a stream");
    }
}

/// The faults the vectors do not have, made from a good frame in the ways a sender can make them.
#[test]
fn other_faults_are_told_apart() {
    let good = bytes(&"7ea00d0207020310c9921603040f7e".into());
    assert!(Frame::decode(&Profile::LMN, &good).is_ok());
    let refused = |line: &[u8], why: &str| {
        let fault = Frame::decode(&Profile::LMN, line).map_err(|fault| fault.name());
        assert_eq!(fault.unwrap_err(), why);
        assert_eq!(framed(line), (vec![], vec![why]), "{why} as a stream");
    };
    let changed = |at: usize, to: u8| {
        let mut line = good.clone();
        line[at] = to;
        line
    };
    refused(&changed(8, 0), "hcs");
    refused(&changed(10, 0), "fcs");
    refused(&changed(14, 0), "no_end_flag");
    refused(&good[..14], "no_end_flag");
    // Destination: SAP with the bit, station without.
    refused(&changed(3, 0x03), "addr_ext_bit");
    refused(&changed(4, 0x06), "addr_ext_bit");
    // The same with a header checksum that fits.
    let mut line = changed(4, 0x06);
    let hcs = smgw_hdlc::CrcKind::X25.of(&line[1..8]);
    line[8..10].copy_from_slice(&hcs);
    let fcs = smgw_hdlc::CrcKind::X25.of(&line[1..12]);
    line[12..14].copy_from_slice(&fcs);
    refused(&line, "addr_ext_bit");
    refused(&changed(2, 0x0c), "length_short");
    refused(&changed(2, 0x20), "length_long");
    refused(&changed(1, 0xb0), "format_type");
    refused(&changed(0, 0x7f), "no_start_flag");
}

#[test]
fn no_damaged_byte_passes() {
    let all = vectors("hdlc");
    for vector in all.iter().filter(|vector| vector["valid"] == true) {
        let line = bytes(&vector["frame"]);
        // Long frames are sampled: each position costs the checksum of the whole.
        let step = 1 + line.len() / 400;
        for at in (0..line.len()).step_by(step) {
            for bit in 0..8 {
                let mut damaged = line.clone();
                damaged[at] ^= 1 << bit;
                assert!(Frame::decode(&Profile::LMN, &damaged).is_err());
                assert_eq!(framed(&damaged).0, Vec::<Vec<u8>>::new());
            }
        }
        for end in 0..line.len() {
            assert!(Frame::decode(&Profile::LMN, &line[..end]).is_err());
        }
    }
}

#[test]
fn the_frame_behind_a_damaged_one_is_found() {
    let all = vectors("hdlc");
    let (good, bad): (Vec<_>, Vec<_>) = all.iter().partition(|vector| vector["valid"] == true);
    for bad in bad {
        for good in &good {
            let (bad, good) = (bytes(&bad["frame"]), bytes(&good["frame"]));
            let (frames, reasons) = framed(&[bad, good.clone()].concat());
            assert_eq!(frames, [good]);
            assert_eq!(reasons.len(), 1);
        }
    }
}

#[test]
fn frames_may_share_a_flag() {
    let all = vectors("hdlc");
    let good = all.iter().filter(|vector| vector["valid"] == true);
    let lines: Vec<_> = good.map(|vector| bytes(&vector["frame"])).collect();
    let mut stream = vec![0x7e, 0x7e];
    for line in &lines {
        stream.extend_from_slice(&line[1..]);
    }
    assert_eq!(framed(&stream), (lines, vec![]));
}

#[test]
fn stamps_are_those_of_first_and_last_byte() {
    let line = bytes(&"7ea0090207020393f6347e".into());
    let mut framer = Framer::new(Profile::LMN, GAP);
    let mut stamps = Vec::new();
    let stream = [&[0x55][..], &line, &line].concat();
    for (at, byte) in stream.iter().enumerate() {
        framer.push(*byte, Nanos(100 + at as u64));
        while let Some(event) = framer.poll() {
            stamps.push(match event {
                Event::Frame { first, last, .. } => (first.0, last.0),
                Event::Discarded { first, .. } => (first.0, 0),
            });
        }
    }
    assert_eq!(stamps, [(100, 0), (101, 111), (112, 122)]);
}

#[test]
fn device_ids_become_server_ids() {
    for vector in vectors("kdf_wired") {
        let id: DeviceId = vector["device_id"].as_str().unwrap().parse().unwrap();
        assert_eq!(id.server_id().to_vec(), bytes(&vector["server_id"]));
    }
}
