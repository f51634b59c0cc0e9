// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said of a wrong configuration, and what a right one resolves to.

use std::path::PathBuf;
use std::time::Duration;

use hsm_api::{Curve, KeyId, KeyUsage, SecurityModule};
use hsm_pki::{CertificateRequest, self_signed, to_pem};
use smgw::config::{Config, Protocol, Role};

const GOOD: &str = r#"schema    = "smgw.config/1"
device-id = "esmb0012345678"

[security-module]
module      = "/usr/lib/softhsm/libsofthsm2.so"
token-label = "smgw"
pin-file    = "pin"
key         = "gw-tls"
certificate = "gateway.pem"

[store]
path = "values.sqlite"

[metering]
registration-period = "900s"

[[meter]]
id        = "1smb0000000001"
protocol  = "sml"
port      = "/dev/pts/3"
baud      = 9600
format    = "8N1"
registers = ["1-0:1.8.0*255"]

[[meter]]
id        = "1smb0000000002"
protocol  = "mbus"
port      = "/dev/pts/4"
baud      = 2400
format    = "8E1"
registers = ["1-0:1.8.0", "1-0:2.8.0"]
address   = 5

[han]
listen = "127.0.0.1:0"
[[han.user]]
id = "consumer-a"
role = "con"
certificate = "consumer-a.pem"
meters = ["1smb0000000001"]
[[han.user]]
id = "technician"
role = "srv"
certificate = "technician.pem"

[cls]
listen = "127.0.0.1:0"
handshake-timeout = "10s"
[[cls.profile]]
local-server-name = "emt.example"
cls-certificate   = "cls-a.pem"
wan-peer-address  = "127.0.0.1:4433"
wan-tls-sni       = "emt.example"
emt-certificate   = "emt.pem"
"#;

/// A folder with the certificates, which the configuration is loaded from.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let module = hsm_soft::SoftModule::new();
        for name in ["gateway", "consumer-a", "technician", "cls-a", "emt"] {
            let key = KeyId::from(name);
            module
                .generate_key(&key, Curve::BrainpoolP256r1, KeyUsage::Sign)
                .unwrap();
            let leaf = self_signed(&module, &key, &CertificateRequest::new(name)).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), to_pem(&leaf)).unwrap();
        }
        Self(folder)
    }

    fn load(&self, text: &str) -> Result<Config, String> {
        let path = self.0.path().join("smgw.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path).map_err(|error| error.to_string())
    }
}

#[test]
fn a_good_file_resolves() {
    let folder = Folder::new();
    let config = folder.load(GOOD).unwrap();
    assert_eq!(config.registration_period, Duration::from_secs(900));
    assert_eq!(config.store, folder.0.path().join("values.sqlite"));
    let [sml, mbus] = config.meters.as_slice() else {
        panic!("{:?}", config.meters)
    };
    assert_eq!(
        sml.protocol,
        Protocol::Sml {
            server_id: sml.id.server_id().to_vec()
        }
    );
    assert_eq!(sml.port, PathBuf::from("/dev/pts/3"));
    let poll_lead = Duration::from_millis(100);
    assert_eq!(
        mbus.protocol,
        Protocol::Mbus {
            address: 5,
            poll_lead
        }
    );
    assert_eq!(
        config.han.users[0].role,
        Role::Consumer {
            meters: vec![sml.id]
        }
    );
    assert_eq!(config.han.users[1].role, Role::Technician);
    assert_eq!(
        config.cls.profiles[0].local_server_name.as_str(),
        "emt.example"
    );
    assert_eq!(
        config.cls.profiles[0].connect_timeout,
        Duration::from_secs(3)
    );

    let other_id = GOOD.replacen(
        "format    = \"8N1\"",
        "format = \"8N1\"\nserver-id = \"06454d48\"",
        1,
    );
    let config = folder.load(&other_id).unwrap();
    let server_id = vec![0x06, 0x45, 0x4d, 0x48];
    assert_eq!(config.meters[0].protocol, Protocol::Sml { server_id });
}

#[test]
fn errors_name_the_line_and_the_way_out() {
    let folder = Folder::new();
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "device-id = ",
            "devise-id = ",
            &[
                "line 2",
                "unknown field `devise-id`",
                "did you mean `device-id`?",
            ],
        ),
        (
            "address   = 5",
            "adress   = 5",
            &["line 32", "did you mean `address`?"],
        ),
        ("\"900s\"", "\"900\"", &["line 15", "time span"]),
        ("\"900s\"", "\"500ms\"", &["line 15", "whole seconds"]),
        (
            "esmb0012345678",
            "esmb001234567",
            &["line 2", "not a device id"],
        ),
        (
            "\"1-0:1.8.0*255\"",
            "\"1.8.0\"",
            &["line 23", "not an OBIS code"],
        ),
        ("[\"1-0:1.8.0*255\"]", "[]", &["line 23", "at least one"]),
        (
            "1smb0000000002",
            "1smb0000000001",
            &["line 26", "appears twice"],
        ),
        ("/dev/pts/4", "/dev/pts/3", &["line 28", "another meter"]),
        ("address   = 5", "", &["line 26", "needs address"]),
        ("\"8N1\"", "\"8X1\"", &["line 22", "character format"]),
        (
            "meters = [\"1smb0000000001\"]",
            "meters = [\"1smb0000000009\"]",
            &["line 40", "no meter 1smb0000000009"],
        ),
        (
            "meters = [\"1smb0000000001\"]",
            "",
            &["line 39", "needs meters"],
        ),
        (
            "\"technician.pem\"",
            "\"consumer-a.pem\"",
            &["line 44", "same certificate"],
        ),
        (
            "\"emt.pem\"",
            "\"nowhere.pem\"",
            &["line 54", "nowhere.pem"],
        ),
        (
            "local-server-name = \"emt.example\"",
            "local-server-name = \"EMT\"",
            &["line 50", "octet"],
        ),
        (
            "pin-file    = \"pin\"",
            "",
            &["line 8", "pin-file, pin-env and pin-prompt"],
        ),
        (
            "token-label = \"smgw\"",
            "token-label = \"smgw\"\ntoken-serial = \"7\"",
            &["line 9", "token-label and token-serial"],
        ),
        (
            "[security-module]",
            "[security-module]\nkind = \"card\"",
            &["line 9", "a card needs reader"],
        ),
        (
            "[security-module]",
            "[security-module]\nreader = \"Virtual\"",
            &["line 9", "reader is not for it"],
        ),
        (
            "[security-module]",
            "[security-module]\nkind = \"link\"",
            &[
                "line 9",
                "a link needs address and secret-file",
                "module is not for it",
            ],
        ),
        (
            "smgw.config/1",
            "smgw.config/2",
            &["line 1", "expected \"smgw.config/1\""],
        ),
        (
            "\"srv\"",
            "\"admin\"",
            &["line 43", "unknown variant `admin`"],
        ),
    ];
    for (from, to, said) in cases {
        let text = GOOD.replacen(*from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let error = folder.load(&text).unwrap_err();
        for part in *said {
            assert!(
                error.contains(part),
                "{from} -> {to}: {part} is missing in:\n{error}"
            );
        }
    }
}

#[test]
fn a_link_needs_no_pin() {
    let folder = Folder::new();
    let at = GOOD.find("module      =").unwrap();
    let end = GOOD.find("key         =").unwrap();
    let link = "kind = \"link\"\naddress = \"10.0.1.2:40123\"\nsecret-file = \"link.secret\"\n";
    let text = [&GOOD[..at], link, &GOOD[end..]].concat();
    let config = folder.load(&text).unwrap();
    assert_eq!(
        config.security_module.place,
        hsm_open::Place::Link {
            address: "10.0.1.2:40123".parse().unwrap(),
            secret: folder.0.path().join("link.secret"),
        }
    );
    let without = text.replace("secret-file = \"link.secret\"\n", "");
    let error = folder.load(&without).unwrap_err();
    assert!(
        error.contains("a link needs address and secret-file"),
        "{error}"
    );
}

const HDLC: &str = r#"
[lmn]
key         = "gw-lmn"
certificate = "cls-a.pem"

[[meter]]
id          = "1smb0000000003"
protocol    = "hdlc-lmn"
port        = "/dev/pts/5"
baud        = 921600
format      = "8N1"
registers   = ["1-0:1.8.0"]
address     = 3
certificate = "emt.pem"
"#;

#[test]
fn a_meter_behind_tls_has_its_certificate_and_the_gateway_a_key_for_it() {
    let folder = Folder::new();
    let config = folder.load(&[GOOD, HDLC].concat()).unwrap();
    let Protocol::HdlcLmn(meter) = &config.meters[2].protocol else {
        panic!("{:?}", config.meters)
    };
    assert_eq!(meter.station, 3);
    assert_eq!(meter.server_id, config.meters[2].id.server_id());
    assert_eq!(meter.poll_lead, Duration::from_millis(100));
    assert_eq!(config.lmn.unwrap().key, KeyId::from("gw-lmn"));
    for (from, to, said) in [
        ("address     = 3", "address = 1", "address = 2 to 126"),
        ("address     = 3", "address = 127", "address = 2 to 126"),
        (
            "certificate = \"emt.pem\"",
            "",
            "needs certificate, and the section [lmn]",
        ),
        (
            "\"cls-a.pem\"",
            "\"gateway.pem\"",
            "another than that of the WAN",
        ),
        (
            "\"hdlc-lmn\"",
            "\"mbus\"",
            "certificate is not for an mbus meter",
        ),
    ] {
        let text = [GOOD, &HDLC.replacen(from, to, 1)].concat();
        let error = folder.load(&text).unwrap_err();
        assert!(error.contains(said), "{from} -> {to}: {error}");
    }
    let (_, meter) = HDLC.split_once("\n\n").unwrap();
    let error = folder.load(&[GOOD, meter].concat()).unwrap_err();
    assert!(error.contains("the section [lmn]"), "{error}");
}

const TIME: &str = r#"
[time]
server      = "127.0.0.1:4460"
tls-name    = "time.example"
certificate = "emt.pem"
"#;

#[test]
fn time_is_optional_and_its_limits_are_kept() {
    let folder = Folder::new();
    assert!(folder.load(GOOD).unwrap().time.is_none());
    let with = |more: &str| folder.load(&[GOOD, TIME, more].concat());
    let time = with("").unwrap().time.unwrap();
    assert_eq!((time.poll_interval, time.serve), (None, None));
    let hour = with("poll-interval = \"1h\"\nlatest = \"2106-12-31T23:59:59Z\"\n").unwrap();
    let hour = hour.time.unwrap();
    assert_eq!(hour.poll_interval, Some(Duration::from_secs(3_600)));
    assert_eq!(hour.latest.unwrap().to_string(), "2106-12-31T23:59:59Z");
    for (more, complaint) in [
        ("poll-interval = \"59s\"\n", "a minute at least"),
        ("drift-ppm = 100001\n", "100000 at most"),
        ("latest = \"some day\"\n", "expected a date"),
        ("pool-interval = \"1h\"\n", "did you mean `poll-interval`?"),
    ] {
        let error = with(more).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
    let quick = with("poll-interval = \"1s\"\nrehearsal = true\n").unwrap();
    let second = Some(Duration::from_secs(1));
    let time = quick.time.unwrap();
    assert_eq!((time.poll_interval, time.shortest_poll), (second, second));
}

#[test]
fn a_clock_is_driven_only_where_that_is_meant() {
    let folder = Folder::new();
    let local = "\n[local]\nsocket = \"smgw.sock\"\n";
    let clock = "\n[clock]\ndriven-from = \"2027-03-28T00:00:00Z\"\nrehearsal = true\n";
    assert_eq!(folder.load(GOOD).unwrap().driven_from, None);
    let driven = folder.load(&[GOOD, local, clock].concat()).unwrap();
    let from = driven.driven_from.unwrap().to_string();
    assert_eq!(from, "2027-03-28T00:00:00Z");
    for (local, clock, complaint) in [
        ("", clock.to_owned(), "needs a [local] socket"),
        (
            local,
            clock.replace("true", "false"),
            "rehearsal = true only",
        ),
        (
            local,
            clock.replace("T00:00:00Z", ""),
            "expected an instant",
        ),
    ] {
        let error = folder.load(&[GOOD, local, &clock].concat()).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
}

const ELECTRICITY: &str = r#"
[[meter]]
id        = "1smb0000000003"
protocol  = "iec62056-21"
port      = "/dev/pts/5"
baud      = 300
format    = "7E1"
registers = ["1-0:1.8.0"]
"#;

const WATER: &str = r#"
[[meter]]
id        = "8smb0000000004"
protocol  = "wmbus"
port      = "/dev/pts/6"
baud      = 57600
format    = "8N1"
registers = ["8-0:1.0.0"]
key-file  = "water.key"
"#;

#[test]
fn text_meters_and_radio_meters_take_their_own_keys() {
    let folder = Folder::new();
    let key = "000102030405060708090A0b0c0d0e0f\n";
    std::fs::write(folder.0.path().join("water.key"), key).unwrap();
    std::fs::write(folder.0.path().join("short.key"), &key[..20]).unwrap();
    let with = |more: &[&str]| folder.load(&[&[GOOD], more].concat().concat());
    let config = with(&[ELECTRICITY, WATER, &WATER.replace("0004", "0005")]).unwrap();
    let [.., electricity, water, _] = config.meters.as_slice() else {
        panic!("{:?}", config.meters)
    };
    let Protocol::Iec62056(readout) = &electricity.protocol else {
        panic!("{:?}", electricity.protocol)
    };
    // At 300 Bd the dialogue takes a second longer than its reaction times.
    assert_eq!(readout.poll_lead.as_millis(), 1633);
    let shown = format!("{:?}", water.protocol);
    assert!(
        !shown.contains("0001") && !shown.contains("0, 1, 2"),
        "{shown}"
    );
    let push = with(&[ELECTRICITY, "push = true\nidentification = \"SMB5X\"\n"]).unwrap();
    let identification = Some("SMB5X".to_owned());
    assert_eq!(
        push.meters[2].protocol,
        Protocol::Iec62056Push { identification }
    );

    let cases = [
        (
            with(&[ELECTRICITY, "address = 5\n"]),
            "line 57: address is not for an iec62056-21 meter, which takes push",
        ),
        (
            with(&[ELECTRICITY, "push = true\npoll-lead = \"1s\"\n"]),
            "line 57: poll-lead is for meters that are asked",
        ),
        (
            with(&[&ELECTRICITY.replace("/5", "/4")]),
            "line 59: this port already belongs to another meter",
        ),
        (
            with(&[&WATER.replace("key-file ", "# ")]),
            "line 57: a wmbus meter needs key-file",
        ),
        (
            with(&[&WATER.replace("water.key", "none.key")]),
            "none.key: No such file",
        ),
        (
            with(&[&WATER.replace("water.key", "short.key")]),
            "short.key: expected 32 hex digits",
        ),
        (
            with(&[
                WATER,
                &WATER.replace("0004", "0005").replace("57600", "9600"),
            ]),
            "only wmbus meters share a receiver",
        ),
        (
            with(&[WATER, &WATER.replace("8smb00", "8smb01")]),
            "line 66: another meter of this receiver has the same manufacturer and number",
        ),
    ];
    for (outcome, said) in cases {
        let error = outcome.unwrap_err();
        assert!(error.contains(said), "{said} is missing in:\n{error}");
        assert!(!error.contains("00010203"), "{error}");
    }
}
