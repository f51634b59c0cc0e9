// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters that speak IEC 62056-21, and meters heard by radio (catalogue rows LMR-02, LMR-04 to LMR-07), played by the
//! simulators of the bench, and captures of others.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;
use smgw_meters::{Player, Profile, Simulator, Transmission};
use smgw_peers::meters::{Format, Line, LineConfig};
use smgw_units::{Nanos, UtcNanos};
use smgw_wmbus::stick::{Heard, Packet};
use test_material::{corpus, unhex};

use super::rig::{Gateway, Rig, refusing_address, until};
use super::{entries, on_rig};

/// What is said at a full second of UTC.
type Speaker = Box<dyn FnMut(u64) -> Vec<u8> + Send>;

/// A line on which something is said at every full second, when somebody listens.
struct Wire {
    port: String,
    speaker: Arc<Mutex<Speaker>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Wire {
    fn start(speaker: impl FnMut(u64) -> Vec<u8> + Send + 'static) -> Self {
        let config = LineConfig {
            baud: 57_600,
            format: Format::N81,
        };
        let line = Line::open(config, None).unwrap();
        let port = line.path().to_str().unwrap().to_owned();
        let speaker: Arc<Mutex<Speaker>> = Arc::new(Mutex::new(Box::new(speaker)));
        let stop = Arc::new(AtomicBool::new(false));
        let (own, stopping) = (speaker.clone(), stop.clone());
        let thread = thread::spawn(move || {
            while !stopping.load(Ordering::Relaxed) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let second = now.as_secs() + 1;
                let bytes = own.lock().unwrap()(second);
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                thread::sleep(Duration::from_secs(second).saturating_sub(now));
                line.rush(&bytes, || false).unwrap();
            }
        });
        Self {
            port,
            speaker,
            stop,
            thread: Some(thread),
        }
    }

    /// Something else is said from now on.
    fn say(&self, speaker: impl FnMut(u64) -> Vec<u8> + Send + 'static) {
        *self.speaker.lock().unwrap() = Box::new(speaker);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn profile(text: &str) -> Profile {
    let text = format!("schema = \"smgw-bench.meter/1\"\n{text}");
    Profile::parse(Path::new("meter.toml"), &text).unwrap()
}

/// The telegrams of a pushing meter, one after the other, without waiting for their time.
fn telegrams(profile: Profile) -> impl FnMut() -> Transmission + Send {
    let mut simulator = Simulator::new(profile, Nanos(0), UtcNanos(0), 1);
    move || {
        loop {
            let due = simulator.poll_timeout().unwrap();
            if let Some(transmission) = simulator.poll_transmit(due) {
                return transmission;
            }
        }
    }
}

fn now() -> UtcNanos {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UtcNanos(i64::try_from(now.as_nanos()).unwrap())
}

fn register(entry: &Json) -> (String, i64, i64) {
    let number = |name: &str| entry[name].as_i64().unwrap();
    let value = entry["value"].as_str().unwrap().to_owned();
    (value, number("scaler"), number("unit"))
}

/// Target time of an entry, in seconds.
fn target(entry: &Json) -> u64 {
    let target: jiff::Timestamp = entry["targetTime"].as_str().unwrap().parse().unwrap();
    u64::try_from(target.as_second()).unwrap()
}

/// The first value of a meter.
fn value(rig: &Rig, gateway: &Gateway, id: &str) -> Json {
    until(&format!("a value of {id} is kept"), || {
        let entries = entries(rig, gateway, id);
        entries.into_iter().find(|entry| entry["gap"].is_null())
    })
}

/// Waits for a gap with this reason.
fn gap(rig: &Rig, gateway: &Gateway, id: &str, reason: &str) {
    until(&format!("{id} has a gap: {reason}"), || {
        let entries = entries(rig, gateway, id);
        entries.into_iter().find(|entry| entry["gap"] == reason)
    });
}

const ENERGY: &str = "[[device.register]]\nobis = \"1-0:1.8.0*255\"\nunit = \"kWh\"\nscaler = -4\ndigits = 6\n\
                      law = { constant = 1234567890 }\n";

#[test]
fn reads_text_meters_asked_and_unasked() {
    on_rig("meters::reads_text_meters_asked_and_unasked", |rig| {
        let of = |meter: &str, id: &str| {
            let text = format!(
                "[meter]\nsummary = \"test\"\n{meter}\n[[device]]\nidentification = \"{id}\"\n{ENERGY}"
            );
            Player::start(profile(&text), now(), 1, None).unwrap()
        };
        // Asked at 300 Bd, 9600 offered: found only by a reader that changes the speed with it.
        let asked = of("protocol = \"d0\"\nmode = \"C\"", "SMB5SMGW-TEST-01");
        let unasked = of(
            "protocol = \"d0-push\"\n[line]\nbaud = 9600\nformat = \"7E1\"",
            "SMB5UNASKED",
        );
        let p1 = of("protocol = \"p1\"", "ISK5P1");
        let meter = |id: &str, player: &Player, line: &str| {
            format!(
                "[[meter]]\nid = \"{id}\"\nprotocol = \"iec62056-21\"\nport = \"{}\"\n{line}\n\
                 registers = [\"1-0:1.8.0*255\"]\n",
                player.path().display()
            )
        };
        let meters = [
            meter("1smb0000000001", &asked, "baud = 300\nformat = \"7E1\""),
            meter(
                "1smb0000000002",
                &unasked,
                "baud = 9600\nformat = \"7E1\"\npush = true\nidentification = \"SMB5UNASKED\"",
            ),
            meter(
                "1smb0000000003",
                &p1,
                "baud = 115200\nformat = \"8N1\"\npush = true",
            ),
        ];
        // The window of a slow dialogue: 1 % of 30 s to both sides.
        let config = rig.configure(30, &meters.concat(), refusing_address());
        let gateway = Gateway::start(&config, None);
        for id in ["1smb0000000001", "1smb0000000002"] {
            let entry = value(&rig, &gateway, id);
            assert_eq!(register(&entry), ("1234567890".to_owned(), -1, 30), "{id}");
            assert_eq!(entry["status"], "a000000000000000");
        }
        // It is of another manufacturer than the device id says.
        gap(&rig, &gateway, "1smb0000000003", "wrong-meter");
    });
}

fn water(number: &str, key: Option<&str>, fault: &str) -> Profile {
    let key = key.map_or(String::new(), |key| format!("key = \"{key}\"\n"));
    profile(&format!(
        "[meter]\nsummary = \"water\"\nprotocol = \"wmbus\"\n[[device]]\nnumber = \"{number}\"\nmanufacturer = \"SMB\"\n\
         medium = 7\nstatus = 4\n{key}[[device.register]]\nobis = \"8-0:1.0.0*255\"\nunit = \"m3\"\nscaler = -3\n\
         digits = 8\nlaw = {{ constant = 123456 }}\n{fault}"
    ))
}

/// The configuration of meters behind one receiver, each with a key in a file.
fn radio_meters(rig: &Rig, port: &str, meters: &[(&str, &str, &str)]) -> String {
    let meter = |(id, register, key): &(&str, &str, &str)| {
        std::fs::write(rig.folder.join(format!("{id}.key")), key).unwrap();
        format!(
            "[[meter]]\nid = \"{id}\"\nprotocol = \"wmbus\"\nport = \"{port}\"\nbaud = 57600\nformat = \"8N1\"\n\
             registers = [\"{register}\"]\nkey-file = \"{id}.key\"\n"
        )
    };
    meters.iter().map(meter).collect()
}

const KEY: &str = "000102030405060708090a0b0c0d0e0f";
const OTHER_KEY: &str = "f0e0d0c0b0a090807060504030201000";
const WATER: &str = "8-0:1.0.0*255";

#[test]
fn hears_authentic_radio_meters_and_no_others() {
    on_rig(
        "meters::hears_authentic_radio_meters_and_no_others",
        |rig| {
            let fault = "[[fault]]\nname = \"wrong-mac\"\nevery = 1\n";
            let mut all: Vec<_> = [
                water("00000001", Some(KEY), ""),
                // Its own key is another than that of the first.
                water("00000002", Some(OTHER_KEY), ""),
                water("00000003", Some(KEY), fault),
                // Has not the key the gateway has.
                water("00000004", Some(OTHER_KEY), ""),
                water("00000005", None, ""),
                // Nobody knows it.
                water("00000009", Some(KEY), ""),
            ]
            .into_iter()
            .map(telegrams)
            .collect();
            let once = telegrams(water("00000006", Some(KEY), ""))().bytes();
            let wire = Wire::start(|_| Vec::new());
            let speaker = move |second: u64| {
                let mut bytes: Vec<u8> = all.iter_mut().flat_map(|next| next().bytes()).collect();
                if second.is_multiple_of(5) {
                    bytes.extend(&once);
                }
                bytes
            };
            let known = [
                ("8smb0000000001", WATER, KEY),
                ("8smb0000000002", WATER, OTHER_KEY),
                ("8smb0000000003", WATER, KEY),
                ("8smb0000000004", WATER, KEY),
                ("8smb0000000005", WATER, KEY),
                ("8smb0000000006", WATER, KEY),
            ];
            let meters = radio_meters(&rig, &wire.port, &known);
            let gateway = Gateway::start(&rig.configure(5, &meters, refusing_address()), None);
            wire.say(speaker);
            for id in ["8smb0000000001", "8smb0000000002"] {
                let entry = value(&rig, &gateway, id);
                assert_eq!(register(&entry), ("123456".to_owned(), -3, 13), "{id}");
                // Read by radio; the meter's battery is low.
                assert_eq!(entry["status"], "a000400000000004");
            }
            value(&rig, &gateway, "8smb0000000006");
            for (id, reason) in [
                ("8smb0000000003", "not-authentic"),
                ("8smb0000000004", "not-authentic"),
                ("8smb0000000005", "unprotected"),
                ("8smb0000000006", "replayed"),
            ] {
                gap(&rig, &gateway, id, reason);
            }
            for id in ["8smb0000000003", "8smb0000000004", "8smb0000000005"] {
                let entries = entries(&rig, &gateway, id);
                assert!(entries.iter().all(|entry| entry["value"].is_null()), "{id}");
            }
            let again = entries(&rig, &gateway, "8smb0000000006");
            let values = again.iter().filter(|entry| entry["gap"].is_null());
            assert_eq!(values.count(), 1, "{again:?}");
            let log = rig.get(gateway.han, "technician", "/smgw/srv/v1/exp/log");
            for reason in ["not-authentic", "unprotected", "replayed"] {
                assert!(log.contains(reason), "{reason} is not in the log: {log}");
            }
            let path = "/smgw/srv/v1/exp/receptions/8smb0000000003";
            let receptions = rig.get(gateway.han, "technician", path);
            assert!(
                receptions.contains(r#""outcome":"not-authentic""#)
                    && !receptions.contains(r#""ok""#),
                "{receptions}"
            );
        },
    );
}

#[test]
fn no_telegram_counts_again_after_a_loss_of_power() {
    on_rig(
        "meters::no_telegram_counts_again_after_a_loss_of_power",
        |rig| {
            let id = "8smb0055667788";
            let next = Arc::new(Mutex::new(telegrams(water("55667788", Some(KEY), ""))));
            let sent = Arc::new(Mutex::new(Vec::<(u64, Vec<u8>)>::new()));
            let live = {
                let (next, sent) = (next.clone(), sent.clone());
                move |second: u64| {
                    let bytes = next.lock().unwrap()().bytes();
                    sent.lock().unwrap().push((second, bytes.clone()));
                    bytes
                }
            };
            let wire = Wire::start(live.clone());
            let meters = radio_meters(&rig, &wire.port, &[(id, WATER, KEY)]);
            let config = rig.configure(5, &meters, refusing_address());
            let mut gateway = Gateway::start(&config, None);
            let kept = target(&value(&rig, &gateway, id));
            gateway.child.kill().unwrap();
            gateway.wait();

            // All that was sent up to the value that is kept, again and again.
            let heard = sent.lock().unwrap().clone();
            let heard = heard.into_iter().filter(|(second, _)| *second <= kept);
            let heard: Vec<u8> = heard.flat_map(|(_, bytes)| bytes).collect();
            assert!(!heard.is_empty());
            wire.say(move |_| heard.clone());
            let restarted = u64::try_from(now().seconds()).unwrap();
            let gateway = Gateway::start(&config, None);
            gap(&rig, &gateway, id, "replayed");
            for entry in entries(&rig, &gateway, id) {
                assert!(
                    entry["value"].is_null() || target(&entry) <= restarted,
                    "{entry}"
                );
            }

            wire.say(live);
            until("a new telegram counts", || {
                let entries = entries(&rig, &gateway, id);
                let last = entries.last()?;
                last["gap"].is_null().then_some(())
            });
        },
    );
}

#[test]
fn hears_the_published_telegram_once() {
    let Some(folder) = corpus("oms-vectors") else {
        return;
    };
    on_rig("meters::hears_the_published_telegram_once", |rig| {
        let text = std::fs::read_to_string(folder.join("vectors.json")).unwrap();
        let vectors: Json = serde_json::from_str(&text).unwrap();
        let packet = |name: &str| {
            let mut vectors = vectors.as_array().unwrap().iter();
            let vector = vectors.find(|vector| vector["name"] == name).unwrap();
            let frame = unhex(vector["frame"].as_str().unwrap());
            Packet::of(&Heard::stripped(frame))
                .unwrap()
                .encode()
                .unwrap()
        };
        let direct = packet("profile-b-gas-nocrc");
        let converted = packet("profile-b-radio-converter-ell3-long-tpl");
        let wire = Wire::start(|_| Vec::new());
        let id = "7els0012345678";
        let meters = radio_meters(&rig, &wire.port, &[(id, "7-0:3.0.0*255", KEY)]);
        let gateway = Gateway::start(&rig.configure(5, &meters, refusing_address()), None);
        // Once, at a grid point.
        wire.say(move |second| match second % 5 {
            0 => direct.clone(),
            _ => Vec::new(),
        });
        let entry = value(&rig, &gateway, id);
        assert_eq!(register(&entry), ("2850427".to_owned(), -2, 13));
        // The same message, as a radio converter passes it on.
        wire.say(move |_| converted.clone());
        gap(&rig, &gateway, id, "replayed");
        let path = format!("/smgw/srv/v1/exp/receptions/{id}");
        let receptions: Json =
            serde_json::from_str(&rig.get(gateway.han, "technician", &path)).unwrap();
        let outcomes = receptions["receptions"].as_array().unwrap().iter();
        let good = outcomes.filter(|reception| reception["outcome"] == "ok");
        let good: Vec<_> = good.map(|reception| &reception["telegram"]).collect();
        assert_eq!(good, ["00000ab3"]);
    });
}

#[test]
fn reads_captured_text_meters() {
    let (Some(p1), Some(d0)) = (corpus("p1-dsmr_parser"), corpus("d0-smartmeter-obis")) else {
        return;
    };
    on_rig("meters::reads_captured_text_meters", |rig| {
        let capture = std::fs::read(p1.join("TELEGRAM_V5.txt")).unwrap();
        let mut damaged = capture.clone();
        let digit = damaged
            .windows(10)
            .position(|part| part == b"1-0:1.8.1(")
            .unwrap()
            + 10;
        damaged[digit] ^= 1;
        let text = String::from_utf8(capture.clone()).unwrap();
        let (_, behind) = text.split_once("1-0:1.8.1(").unwrap();
        let (shown, _) = behind.split_once("*kWh)").unwrap();
        let json = std::fs::read_to_string(d0.join("testStdInD0ModeD.json")).unwrap();
        let json: Json = serde_json::from_str(&json).unwrap();
        let heat = json["meter_sends"].as_array().unwrap().iter();
        let heat: Vec<u8> = heat
            .flat_map(|part| unhex(part.as_str().unwrap()))
            .collect();
        let wires = [
            Wire::start(move |_| capture.clone()),
            Wire::start(move |_| damaged.clone()),
            Wire::start(move |_| heat.clone()),
        ];
        let meter = |id: &str, register: &str, wire: &Wire| {
            format!(
                "[[meter]]\nid = \"{id}\"\nprotocol = \"iec62056-21\"\npush = true\nport = \"{}\"\nbaud = 57600\n\
                 format = \"8N1\"\nregisters = [\"{register}\"]\n",
                wire.port
            )
        };
        let meters = [
            meter("1isk0000000001", "1-0:1.8.1*255", &wires[0]),
            meter("1isk0000000002", "1-0:1.8.1*255", &wires[1]),
            meter("6sie0000000003", "6-0:6.8.0*255", &wires[2]),
        ];
        let config = rig.configure(5, &meters.concat(), refusing_address());
        let gateway = Gateway::start(&config, None);
        let digits = shown.replace('.', "").trim_start_matches('0').to_owned();
        let entry = value(&rig, &gateway, "1isk0000000001");
        assert_eq!(register(&entry), (digits, 0, 30), "{shown} kWh");
        gap(&rig, &gateway, "1isk0000000002", "bad-telegram");
        // 0029.055 MWh.
        let entry = value(&rig, &gateway, "6sie0000000003");
        assert_eq!(register(&entry), ("29055".to_owned(), 3, 30));
    });
}
