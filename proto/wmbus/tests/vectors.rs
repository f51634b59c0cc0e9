// SPDX-License-Identifier: MIT OR Apache-2.0
//! Security vectors, read and written byte for byte: published ones, and those of an independent
//! encoder (`fixtures/oms-synthetic/ORIGIN.md`).

mod corpora;

use corpora::{corpus, fixture, key};
use serde_json::Value as Json;
use smgw_lmn_keys::{KeyKind, Meter};
use smgw_mbus::{Device, Header, Manufacturer};
use smgw_wmbus::{
    Body, Carrier, CompactError, CrcFormat, Error, FormatCache, Frame, Keys, MacCheck, NewEll,
    NewTelegram, Protection, Telegram, Verdict, encode_link, persistent_iv,
};
use test_material::{hex, unhex};

fn text<'a>(vector: &'a Json, name: &str) -> &'a str {
    vector[name].as_str().unwrap_or_default()
}

fn format(vector: &Json) -> CrcFormat {
    match text(vector, "format") {
        "A" => CrcFormat::A,
        "B" => CrcFormat::B,
        _ => CrcFormat::Stripped,
    }
}

fn keys(vector: &Json) -> Keys {
    key(text(vector, "key")).map_or_else(Keys::new, Keys::all)
}

fn decode(vector: &Json) -> Result<Telegram, Error> {
    let frame = unhex(text(vector, "frame"));
    Telegram::decode(&frame, &keys(vector), &mut FormatCache::default())
}

#[test]
fn published_vectors() {
    let Some(vectors) = corpus("oms-vectors", "vectors.json") else {
        return;
    };
    let vectors: Json = serde_json::from_str(&vectors).unwrap();
    let mut formats = FormatCache::default();
    for vector in vectors.as_array().unwrap() {
        let name = text(vector, "name");
        let frame = unhex(text(vector, "frame"));
        let telegram = Telegram::decode(&frame, &keys(vector), &mut formats).unwrap();
        let Carrier::Radio {
            format: found,
            trailing,
            ..
        } = telegram.carrier
        else {
            panic!()
        };
        println!(
            "{name:42} {:?} {:?} {found:?}",
            telegram.verdict, telegram.mac
        );
        assert_eq!(found, format(vector), "{name}");
        assert_eq!(
            trailing as u64,
            vector["trailing_rssi_bytes"].as_u64().unwrap_or(0)
        );
        let key = key(text(vector, "key"));
        let counter = telegram.counter();
        let derive = |kind| {
            let meter = Meter::Radio(telegram.meter().unwrap().id);
            let derived = key.as_ref().unwrap().derive(kind, counter.unwrap(), &meter);
            hex(derived.expose())
        };
        if let Some(kenc) = vector["kenc"].as_str() {
            assert_eq!(derive(KeyKind::Kenc), kenc, "{name}");
        }
        if let Some(kmac) = vector["kmac"].as_str() {
            assert_eq!(derive(KeyKind::Kmac), kmac, "{name}");
        }
        if let Some(mcr) = vector["mcr"].as_str() {
            assert_eq!(hex(&counter.unwrap().to_le_bytes()), mcr, "{name}");
        }
        if let Some(mac) = vector["mac"].as_str() {
            assert_eq!(
                hex(telegram.afl.unwrap().mac.unwrap().of(&telegram.bytes)),
                mac
            );
        }
        if let (Some(iv), Some(5)) = (vector["iv"].as_str(), vector["mode"].as_u64()) {
            let access = telegram.tpl.unwrap().header.unwrap().access;
            let own = persistent_iv(&telegram.meter().unwrap(), access);
            assert_eq!(hex(&own), iv.to_lowercase(), "{name}");
        }
        if let (Some(iv), None) = (vector["iv"].as_str(), vector["mode"].as_u64()) {
            let ell = telegram.ell.unwrap();
            assert_eq!(
                hex(&ell.first_counter(&telegram.sender().unwrap()).unwrap()),
                iv
            );
        }
        if let Some(crc) = vector["payload_crc"].as_str() {
            let session = telegram.ell.unwrap().session.unwrap();
            assert_eq!(
                (hex(&session.crc.to_le_bytes()).as_str(), session.crc_ok),
                (crc, true)
            );
        }
        if let Some(plain) = vector["plain"].as_str() {
            assert_eq!(hex(telegram.payload.of(&telegram.bytes)), plain, "{name}");
        }
        let verdict = match (vector["mode"].as_u64(), vector["mac_ok"].as_bool()) {
            (Some(7), None | Some(true)) => Verdict::Authenticated,
            (Some(7), Some(false)) => Verdict::MacWrong,
            (Some(_), _) => Verdict::Decrypted,
            (None, _) if key.is_some() => Verdict::Decrypted,
            (None, _) if name.starts_with("compact") => Verdict::AlreadyPlain,
            (None, _) => Verdict::Plain,
        };
        assert_eq!(telegram.verdict, verdict, "{name}");
        if let Some(records) = vector["records"].as_u64() {
            assert_eq!(
                telegram.records().flatten().count() as u64,
                records,
                "{name}"
            );
        }
        if let Body::Compact(compact) = &telegram.body {
            assert_eq!(
                format!("{:04x}", compact.signature),
                text(vector, "format_signature")
            );
            assert_eq!(
                format!("{:04x}", compact.frame_crc),
                text(vector, "full_frame_crc")
            );
        }
    }
}

/// The vector as its encoder must have got it.
fn rebuild(vector: &Json) -> Vec<u8> {
    let frame = unhex(text(vector, "frame"));
    let number = |name: &str| vector[name].as_u64().unwrap();
    let field = |name: &str| unhex(text(vector, name));
    let (manufacturer, id) = (field("manufacturer"), field("ident"));
    let named = Device {
        id: [id[3], id[2], id[1], id[0]],
        manufacturer: Manufacturer(u16::from_le_bytes([manufacturer[0], manufacturer[1]])),
        version: number("version") as u8,
        medium: number("device_type") as u8,
    };
    let long = vector["long_tpl"] == true;
    // The radio module in front of a long header, and the receiver, are inputs seen only in the frame.
    let seen = decode(vector)
        .or_else(|_| {
            let frame = unhex(text(vector, "frame"));
            let stripped = Frame::decode(&frame, CrcFormat::Stripped)?;
            Telegram::of_frame(stripped, &Keys::new(), &mut FormatCache::default())
        })
        .unwrap();
    let sender = if long { seen.sender().unwrap() } else { named };
    let access = number("acc") as u8;
    let config = u16::from_str_radix(text(vector, "config"), 16).unwrap();
    let header = Header {
        device: long.then_some(named),
        access,
        status: number("status") as u8,
        config: config & !0x1ff0,
    };
    let plain = unhex(text(vector, "plain"));
    let blocks = 16 * usize::from(config >> 4 & 0x0f);
    let (application, clear) = match vector["mode"].as_u64() {
        Some(0) => (plain.as_slice(), [].as_slice()),
        _ => {
            let (sealed, clear) = plain.split_at(blocks);
            let end = sealed.iter().rposition(|byte| *byte != 0x2f).unwrap();
            (&sealed[2..=end], clear)
        }
    };
    let key = key(text(vector, "key")).unwrap();
    let mut telegram = NewTelegram::new(sender, header, application);
    telegram.clear = clear;
    telegram.ell = seen.ell.map(|ell| NewEll {
        communication: ell.communication,
        access,
        receiver: ell.receiver,
        session: None,
    });
    telegram.protection = match vector["mode"].as_u64() {
        Some(0) => Protection::None,
        Some(5) => Protection::A { key: &key },
        _ => Protection::B {
            key: &key,
            counter: u32::from_le_bytes(field("mcr").try_into().unwrap()),
            mac: number("at") as u8,
            length: vector["ml"] == true,
            key_information: None,
        },
    };
    let mut frame_now = telegram.encode(format(vector)).unwrap();
    if vector["mac_ok"] == false {
        // The MAC was spoilt on purpose: take it over, and nothing else.
        let mut stripped = telegram.encode(CrcFormat::Stripped).unwrap();
        let mac = seen.afl.unwrap().mac.unwrap();
        assert_eq!(hex(mac.of(&seen.bytes)), text(vector, "mac"));
        assert_ne!(mac.of(&stripped), mac.of(&seen.bytes));
        stripped[mac.at..mac.end()].copy_from_slice(mac.of(&seen.bytes));
        frame_now = encode_link(&stripped, format(vector)).unwrap();
    }
    if vector["link_crc_ok"] == false {
        let differing = (0..frame.len()).filter(|at| frame_now[*at] != frame[*at]);
        let differing: Vec<_> = differing.collect();
        assert_eq!(frame_now.len(), frame.len());
        let crc = [frame.len() - 2, frame.len() - 1];
        assert!(!differing.is_empty() && differing.iter().all(|at| crc.contains(at)));
        frame_now = frame;
    }
    frame_now
}

#[test]
fn synthetic_vectors_both_ways() {
    let vectors: Json = serde_json::from_str(&fixture("oms-synthetic/vectors.json")).unwrap();
    let mut count = 0;
    for vector in vectors.as_array().unwrap() {
        let name = text(vector, "name");
        assert_eq!(hex(&rebuild(vector)), text(vector, "frame"), "{name}");
        count += 1;
        let frame = unhex(text(vector, "frame"));
        if vector["link_crc_ok"] == false {
            let error = Frame::decode(&frame, format(vector)).unwrap_err();
            assert!(matches!(error, Error::Crc { .. }), "{name}: {error}");
            continue;
        }
        let telegram = decode(vector).unwrap();
        let Carrier::Radio { format: found, .. } = telegram.carrier else {
            panic!()
        };
        assert_eq!(found, format(vector), "{name}");
        let verdict = match (vector["mode"].as_u64(), vector["mac_ok"].as_bool()) {
            (Some(0), _) => Verdict::Plain,
            (Some(5), _) => Verdict::Decrypted,
            (_, Some(true)) => Verdict::Authenticated,
            _ => Verdict::MacWrong,
        };
        assert_eq!(telegram.verdict, verdict, "{name}");
        assert_eq!(
            hex(telegram.payload.of(&telegram.bytes)),
            text(vector, "plain"),
            "{name}"
        );
        assert!(telegram.records().all(|record| record.is_ok()), "{name}");
        let meter = telegram.meter().unwrap();
        let master = key(text(vector, "key")).unwrap();
        if let Some(iv) = vector["iv"].as_str() {
            let access = telegram.tpl.unwrap().header.unwrap().access;
            assert_eq!(hex(&persistent_iv(&meter, access)), iv, "{name}");
        }
        if let Some(kenc) = vector["kenc"].as_str() {
            let derive = |kind| {
                let counter = telegram.counter().unwrap();
                hex(master
                    .derive(kind, counter, &Meter::Radio(meter.id))
                    .expose())
            };
            assert_eq!(derive(KeyKind::Kenc), kenc, "{name}");
            assert_eq!(derive(KeyKind::Kmac), text(vector, "kmac"), "{name}");
        }
    }
    println!("{count} synthetic vectors written byte for byte and read back");
    assert!(count >= 28);
}

/// Cases of other parsers' tests: one frame each way a telegram can be refused.
#[test]
fn refusals_are_told_apart() {
    let Some(cases) = corpus("wmbus-lvogt", "cases.json") else {
        return;
    };
    let cases: Json = serde_json::from_str(&cases).unwrap();
    let hexes = |name: &str| -> Vec<String> {
        let case = cases
            .as_array()
            .unwrap()
            .iter()
            .find(|case| case["name"] == name);
        let hexes = case.unwrap_or_else(|| panic!("{name}"))["hex"]
            .as_array()
            .unwrap();
        hexes
            .iter()
            .map(|hex| hex.as_str().unwrap().to_owned())
            .collect()
    };
    let decode = |name: &str| {
        let hexes = hexes(name);
        let key = hexes.get(1).and_then(|text| key(text));
        let keys = key.map_or_else(Keys::new, Keys::all);
        Telegram::decode(&unhex(&hexes[0]), &keys, &mut FormatCache::default())
    };
    for (name, verdict) in [
        ("parser/ELL: Encrypted but no key", Verdict::NoKey),
        ("parser/ELL: Encrypted but wrong key", Verdict::WrongKey),
        ("parser/Mode5+7: Encrypted but no key", Verdict::NoKey),
        ("parser/Mode5: Encrypted but wrong key", Verdict::WrongKey),
        ("parser/Mode7: Encrypted but wrong key", Verdict::WrongKey),
        ("parser/All fields", Verdict::Authenticated),
        ("parser/Full result", Verdict::Plain),
        ("extendedLinkLayer/No enc flag", Verdict::PayloadCrc),
        ("extendedLinkLayer/Decrypt CI ELL_8", Verdict::Decrypted),
        ("extendedLinkLayer/Decrypt CI ELL_16", Verdict::Decrypted),
        (
            "extendedLinkLayer/Decryption with wrong key",
            Verdict::WrongKey,
        ),
        (
            "extendedLinkLayer/ELL Encryption - already decrypted",
            Verdict::AlreadyPlain,
        ),
        (
            "applicationLayer/Encryption Mode 5 / Security profile A",
            Verdict::Decrypted,
        ),
        (
            "applicationLayer/Long Header - Encrypted Mode 5",
            Verdict::Decrypted,
        ),
        (
            "applicationLayer/Encryption Mode 7 / Security profile B",
            Verdict::Authenticated,
        ),
        (
            "applicationLayer/Encryption Mode 7 - MAC does not match",
            Verdict::MacWrong,
        ),
        ("applicationLayer/Meter with radio", Verdict::Authenticated),
    ] {
        let telegram = decode(name).unwrap();
        println!("{name:58} {:?} {:?}", telegram.verdict, telegram.mac);
        assert_eq!(telegram.verdict, verdict, "{name}");
    }
    let wrong = decode("parser/Mode7: Encrypted but wrong key").unwrap();
    assert_eq!(wrong.mac, Some(MacCheck::Wrong));

    let frames = hexes("parser/Compact frame without cache, afterwards with");
    let mut formats = FormatCache::default();
    let mut read = |at: usize| {
        let telegram = Telegram::decode(&unhex(&frames[at]), &Keys::new(), &mut formats);
        let telegram = telegram.unwrap();
        let error = match &telegram.body {
            Body::Compact(compact) => compact.error(),
            _ => None,
        };
        (error, telegram.records().flatten().count())
    };
    assert_eq!(read(0), (Some(CompactError::UnknownFormat), 0));
    assert_eq!(read(1), (None, 13));
    assert_eq!(read(2), (None, 13));

    let stripped = |name: &str| {
        let hexes = hexes(name);
        let frame = Frame::detect(&unhex(&hexes[0]));
        (frame, unhex(hexes.last().unwrap()))
    };
    for (name, found, trailing) in [
        ("crcHandler/Frame Type A with CRC", CrcFormat::A, 0),
        (
            "crcHandler/Frame Type A with CRC and trailing data",
            CrcFormat::A,
            2,
        ),
        ("crcHandler/Frame Type B with CRC", CrcFormat::B, 0),
        (
            "crcHandler/Frame Type B with CRC and 3rd block",
            CrcFormat::B,
            0,
        ),
        (
            "crcHandler/Frame Type A/B without CRC",
            CrcFormat::Stripped,
            0,
        ),
        (
            "crcHandler/Frame Type A without CRC but trailing data",
            CrcFormat::Stripped,
            4,
        ),
    ] {
        let (frame, expected) = stripped(name);
        let frame = frame.unwrap();
        assert_eq!(
            (frame.format, frame.trailing, frame.missing),
            (found, trailing, 0),
            "{name}"
        );
        // The other parser keeps the L field that counts CRCs.
        assert_eq!(frame.bytes[1..], expected[1..], "{name}");
        assert_eq!(usize::from(frame.bytes[0]), frame.bytes.len() - 1, "{name}");
    }
    let error = |name: &str| stripped(name).0.unwrap_err();
    assert!(matches!(
        error("crcHandler/Frame Type A with wrong CRC"),
        Error::Crc {
            format: CrcFormat::A,
            block: 0,
            ..
        }
    ));
    assert!(matches!(
        error("crcHandler/Frame Type A with CRC but too short"),
        Error::Crc {
            format: CrcFormat::A,
            ..
        } | Error::Incomplete {
            format: CrcFormat::A
        }
    ));
    assert_eq!(
        stripped("crcHandler/Any frame type too short")
            .0
            .unwrap()
            .missing,
        1
    );
    let wrong = unhex(&hexes("crcHandler/Frame Type B with wrong CRC")[0]);
    assert!(matches!(
        Frame::decode(&wrong, CrcFormat::B),
        Err(Error::Crc {
            format: CrcFormat::B,
            block: 0,
            ..
        })
    ));
}
