// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real telegrams, replayed onto pseudo terminals, through the gateway, read at the HAN interface:
//! exactly the registers an independent decoder found in them. The captures are third-party data and not part of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bench_cases::gateway::{
    ClsConfig, Gateway, GatewayConfig, HanConfig, HanUser, Launch, MeterConfig, MeteringConfig,
    ModuleConfig, ModulePlace, StoreConfig, TokenConfig, write_private,
};
use bench_cases::host::{Host, Local};
use bench_cases::module_tool::{ModuleTool, TokenKey};
use bench_cases::values::{ValueList, ValueLists};
use bench_engine::Deadline;
use serde::Deserialize;
use serde_json::Value;
use smgw_peers::meters::{LineConfig, Recording, ReplayMeter};
use smgw_peers::net::{ClientTls, Deadline as NetDeadline, HanClient, NoTap, Party};
use smgw_tests::{program, quiet_machine, skip};
use smgw_units::{Decimal, DeviceId, Obis};
use test_material::corpora;

/// The window of ±1 % must be wider than the pause between two pushed telegrams.
const PERIOD: Duration = Duration::from_secs(60);
const WATT_HOUR: u64 = 30;

/// What one register may show: mantissa, power of ten, unit.
type Shown = (i128, i8, u64);

struct Replayed {
    id: String,
    what: String,
    meter: ReplayMeter,
    /// M-Bus meters have one, SML meters push.
    address: Option<u8>,
    expected: BTreeMap<Obis, BTreeSet<Shown>>,
}

#[test]
fn real_captures_arrive_at_the_consumer_exactly() {
    let Some(corpora) = corpora() else {
        return skip(
            "real captures arrive at the consumer",
            "no corpora on this machine",
        );
    };
    let _quiet = quiet_machine();
    let mut replayed = sml_captures(&corpora.join("sml-libsml-testing"));
    assert!(replayed.len() >= 5, "only {} SML captures", replayed.len());
    let before = replayed.len();
    replayed.extend(mbus_frames(&corpora.join("mbus-rscada")));
    assert!(
        replayed.len() >= before + 3,
        "only {} M-Bus frames",
        replayed.len() - before
    );

    let found = through_the_gateway(&replayed);
    for meter in &replayed {
        let lists = &found[&meter.id];
        let registers: BTreeSet<_> = lists
            .iter()
            .map(|list| list.obis.parse::<Obis>().expect("OBIS"))
            .collect();
        let expected: BTreeSet<_> = meter.expected.keys().copied().collect();
        assert_eq!(registers, expected, "{}", meter.what);
        for list in lists {
            let allowed = &meter.expected[&list.obis.parse().expect("OBIS")];
            let entry = list.entries.iter().find(|entry| entry.value.is_some());
            let entry = entry.unwrap_or_else(|| {
                panic!(
                    "{} {}: no value, only {:?}",
                    meter.what, list.obis, list.entries
                )
            });
            let value = entry.decimal().expect("a value");
            let shown = |(mantissa, scaler, unit): &Shown| {
                value.same_value(Decimal::new(*mantissa, *scaler))
                    && entry.unit.map(u64::from) == Some(*unit)
            };
            assert!(
                allowed.iter().any(shown),
                "{} {}: {value} {:?} is none of {allowed:?}",
                meter.what,
                list.obis,
                entry.unit
            );
            println!("{:<50} {:<16} {value}", meter.what, list.obis);
        }
    }
}

#[derive(Deserialize)]
struct NeutralFile {
    file: String,
    messages: Vec<Value>,
}

/// Captures whose meter tells its id and shows energy; the registers an independent decoder found.
fn sml_captures(folder: &Path) -> Vec<Replayed> {
    let neutral = fs::read_to_string(folder.join("neutral.jsonl")).expect("neutral.jsonl");
    let mut by_file: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in neutral.lines() {
        let file: NeutralFile = serde_json::from_str(line).expect("a neutral line");
        by_file.entry(file.file).or_default().extend(file.messages);
    }
    let mut replayed = Vec::new();
    for (file, messages) in by_file {
        let mut expected: BTreeMap<Obis, BTreeSet<Shown>> = BTreeMap::new();
        let mut servers = BTreeSet::new();
        for message in messages.iter().filter(|message| message["tag"] == "0701") {
            servers.extend(message["server"].as_str().map(str::to_owned));
            for entry in message["entries"].as_array().into_iter().flatten() {
                let energy = entry["unit"].as_u64() == Some(WATT_HOUR);
                let Some(mantissa) = entry["value"][1].as_i64().filter(|_| energy) else {
                    continue;
                };
                let obis = entry["obis"].as_str().expect("OBIS").parse().expect("OBIS");
                let scaler = entry["scaler"].as_i64().unwrap_or(0) as i8;
                expected
                    .entry(obis)
                    .or_default()
                    .insert((mantissa.into(), scaler, WATT_HOUR));
            }
        }
        let capture = folder.join("captures").join(&file);
        let [server] = &servers.into_iter().collect::<Vec<_>>()[..] else {
            continue;
        };
        let (Some(id), false, true) = (device_id(server), expected.is_empty(), capture.is_file())
        else {
            continue;
        };
        if replayed.iter().any(|other: &Replayed| other.id == id) || replayed.len() == 6 {
            continue;
        }
        // Pauses short enough that a whole telegram falls into every window, cut ends of captures between them.
        let pause = Duration::from_millis(150);
        let recording = Recording::Sml {
            capture: fs::read(&capture).expect("a capture"),
            pause,
        };
        let meter = ReplayMeter::start(recording, LineConfig::SML, true, None).expect("a pty");
        replayed.push(Replayed {
            id,
            what: file,
            meter,
            address: None,
            expected,
        });
    }
    replayed
}

/// The 14 characters of a binary server id `0A | sector | 3 ASCII | block | number`.
fn device_id(server: &str) -> Option<String> {
    let bytes: Vec<u8> = (0..server.len() / 2)
        .map(|at| u8::from_str_radix(&server[2 * at..2 * at + 2], 16).ok())
        .collect::<Option<_>>()?;
    let [0x0a, sector, a, b, c, block, number @ ..] = &bytes[..] else {
        return None;
    };
    let number = u32::from_be_bytes(number.try_into().ok()?);
    let maker = String::from_utf8(vec![*a, *b, *c]).ok()?.to_lowercase();
    (number < 100_000_000).then(|| format!("{sector:x}{maker}{block:02x}{number:08}"))
}

/// The register of a plain record by device type and unit, as the M-Bus codec documents it.
fn register(medium: u64, unit: &str) -> Option<(Obis, u64)> {
    const CUBIC_METRE: u64 = 13;
    let (code, dlms) = match (medium, unit) {
        (2, "Wh") => ("1-0:1.8.0*255", WATT_HOUR),
        (3, "m^3") => ("7-0:3.0.0*255", CUBIC_METRE),
        (4, "Wh") => ("6-0:1.0.0*255", WATT_HOUR),
        (4, "m^3") => ("6-0:2.0.0*255", CUBIC_METRE),
        (7, "m^3") => ("8-0:1.0.0*255", CUBIC_METRE),
        _ => return None,
    };
    code.parse().ok().map(|obis| (obis, dlms))
}

/// Frames of meters with plain total registers: no tariff, storage, subunit or extension.
fn mbus_frames(folder: &Path) -> Vec<Replayed> {
    let neutral = fs::read_to_string(folder.join("neutral.json")).expect("neutral.json");
    let neutral: BTreeMap<String, Value> = serde_json::from_str(&neutral).expect("JSON");
    let mut replayed: Vec<Replayed> = Vec::new();
    for (name, frame) in neutral {
        let mut expected: BTreeMap<Obis, BTreeSet<Shown>> = BTreeMap::new();
        let medium = frame["medium"].as_u64().unwrap_or(0);
        for record in frame["records"].as_array().into_iter().flatten() {
            let plain = ["function", "storage", "tariff", "subunit"]
                .iter()
                .all(|field| record[*field].as_u64() == Some(0))
                && record["vif"].as_str().map(str::len) == Some(2);
            let register = register(medium, record["unit"].as_str().unwrap_or_default());
            let (true, Some((obis, unit))) = (plain, register) else {
                continue;
            };
            let Some(mantissa) = record["value"][1].as_i64() else {
                continue;
            };
            let scale = record["scale"].as_i64().unwrap_or(0) as i8;
            expected
                .entry(obis)
                .or_default()
                .insert((mantissa.into(), scale, unit));
        }
        let file = folder.join("test-frames").join(format!("{name}.hex"));
        // The gateway compares manufacturer and number of the header with the meter it was told of.
        let maker = frame["manufacturer"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        let id = format!("1{maker}00{:0>8}", frame["id"].as_str().unwrap_or_default());
        let known = id.parse::<DeviceId>().is_err() || replayed.iter().any(|other| other.id == id);
        let unclear = expected.is_empty() || expected.values().any(|shown| shown.len() != 1);
        if known || unclear || !file.is_file() || replayed.len() == 6 {
            continue;
        }
        let address = frame["a"]
            .as_u64()
            .and_then(|address| u8::try_from(address).ok());
        let Some(address) = address.filter(|address| *address <= 250) else {
            continue;
        };
        let Ok(recording) = Recording::mbus_files(&[&file], address) else {
            continue;
        };
        let meter = ReplayMeter::start(recording, LineConfig::MBUS, true, None).expect("a pty");
        replayed.push(Replayed {
            id,
            what: name,
            meter,
            address: Some(address),
            expected,
        });
    }
    replayed
}

/// Runs one gateway with all these meters over one grid point; gives each meter's lists.
fn through_the_gateway(meters: &[Replayed]) -> BTreeMap<String, Vec<ValueList>> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name);
    let pin = "1234567890";
    let token = hsm_pkcs11::softhsm::SoftHsmToken::create(
        &path("token"),
        "smgw",
        &hsm_pkcs11::Pin::new(pin),
    )
    .expect("SoftHSM2 is installed by the set-up");
    let library = hsm_pkcs11::softhsm::installed().expect("SoftHSM2 is installed by the set-up");
    write_private(&path("pin"), pin.as_bytes()).expect("own folder");
    let environment = vec![("SOFTHSM2_CONF".to_owned(), token.conf().to_owned())];
    let at = TokenKey {
        module: library.clone(),
        token: "smgw".into(),
        pin_file: path("pin"),
        key: "gw-tls".into(),
        environment: environment.clone(),
    };
    let provisioned = ModuleTool::new(program("smgw-bench"), at)
        .provision("esmb0012345678.smgw")
        .expect("a key and a certificate");
    write_private(&path("gateway.pem"), provisioned.certificate.as_bytes()).expect("own folder");
    let consumer = Party::new("consumer").expect("a party");
    write_private(&path("consumer.pem"), consumer.certificate_pem().as_bytes())
        .expect("own folder");

    let config = configuration(dir.path(), library, meters);
    let launch = Launch {
        binary: program("smgw"),
        config: path("smgw.toml"),
        files: Vec::new(),
        defect: None,
        environment,
        log: path("gateway.log"),
    };
    write_private(&launch.config, config.to_toml().as_bytes()).expect("own folder");
    let process = Local::default()
        .process(&config, &launch)
        .expect("a program beside the bench");
    let gateway = Gateway::default();
    let patience = Deadline::after(Duration::from_secs(30));
    let listening = gateway
        .start(process, &launch.log, patience)
        .unwrap_or_else(|error| panic!("{error}"));
    let certificate = hsm_pki::from_pem(&provisioned.certificate).expect("own certificate");
    let profile = hsm_tls::TlsProfile::han_client();
    let tls = ClientTls::new(Some(&consumer), &profile, &certificate).expect("TLS");
    let client = HanClient::new(listening.han, tls, Arc::new(NoTap));

    // One grid point lies within the next period, a second one after it in case a cut telegram met the first.
    let deadline = Deadline::after(PERIOD * 2 + Duration::from_secs(10));
    loop {
        let lists: BTreeMap<_, _> = meters
            .iter()
            .map(|meter| (meter.id.clone(), lists(&client, &meter.id)))
            .collect();
        let valued = |list: &ValueList| list.entries.iter().any(|entry| entry.value.is_some());
        let complete = lists
            .values()
            .all(|lists| !lists.is_empty() && lists.iter().all(valued));
        if complete || deadline.expired() {
            return lists;
        }
        std::thread::sleep(Duration::from_millis(500).min(deadline.remaining()));
    }
}

fn lists(client: &HanClient, meter: &str) -> Vec<ValueList> {
    let path = format!("/smgw/con/v1/exp/originalValueLists/{meter}");
    let deadline = NetDeadline::within(Duration::from_secs(10));
    let response = client
        .request("GET", &path, &[], &[], deadline)
        .expect("an answer");
    assert_eq!(response.status, 200, "{path}");
    let lists: ValueLists = serde_json::from_slice(&response.body).expect("value lists");
    lists.lists
}

fn configuration(dir: &Path, library: PathBuf, meters: &[Replayed]) -> GatewayConfig {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    GatewayConfig {
        schema: "smgw.config/1",
        device_id: "esmb0012345678".into(),
        security_module: ModuleConfig {
            place: ModulePlace::Token(TokenConfig {
                module: library,
                token_label: "smgw".into(),
                pin_file: dir.join("pin"),
            }),
            key: "gw-tls".into(),
            certificate: dir.join("gateway.pem"),
        },
        store: StoreConfig {
            path: dir.join("values.sqlite"),
        },
        profiles: None,
        local: None,
        time: None,
        clock: None,
        metering: MeteringConfig {
            registration_period: format!("{}s", PERIOD.as_secs()),
        },
        meter: meters
            .iter()
            .map(|replayed| {
                let sml = replayed.address.is_none();
                MeterConfig {
                    id: replayed.id.clone(),
                    protocol: if sml { "sml" } else { "mbus" }.into(),
                    port: replayed.meter.path().to_owned(),
                    baud: if sml { 9600 } else { 2400 },
                    format: if sml { "8N1" } else { "8E1" }.into(),
                    registers: replayed.expected.keys().map(ToString::to_string).collect(),
                    address: replayed.address,
                    poll_lead: (!sml).then(|| "100ms".into()),
                }
            })
            .collect(),
        han: HanConfig {
            listen: anywhere,
            user: vec![HanUser {
                id: "consumer".into(),
                role: "con",
                certificate: dir.join("consumer.pem"),
                meters: meters.iter().map(|meter| meter.id.clone()).collect(),
            }],
        },
        cls: ClsConfig {
            listen: anywhere,
            handshake_timeout: "10s".into(),
            profile: Vec::new(),
        },
    }
}
