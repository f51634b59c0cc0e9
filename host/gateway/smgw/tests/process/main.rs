// SPDX-License-Identifier: MIT OR Apache-2.0
//! The gateway as a process, seen only through its public interfaces (`docs/gateway.md`), with
//! SoftHSM2 as its module and OpenSSL as an independent HAN client.

#[cfg(feature = "defects")]
mod defects;
mod hdlc;
mod local;
mod meters;
mod rig;
mod slow_module;
mod time;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hsm_pkcs11::softhsm::in_child;
use hsm_tls::Identity;
use rig::{Gateway, LABEL, PATIENCE, PIN, Rig, Served, SmlMeter, refusing_address, until, wait};
use rustls::{ClientConnection, StreamOwned};
use smgw_mbus::{Data, Device, Manufacturer, NewRecord, Slave, Timing, slave};
use smgw_socks::stream::SocksTlsStream;
use smgw_socks::{FrameState, Reply, ReplyCode, Request};
use smgw_units::Nanos;

/// Runs `body` on a rig with a fresh token, or says why not.
fn on_rig(test: &str, body: impl FnOnce(Rig)) {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("SKIPPED: openssl is not installed");
        return;
    }
    in_child(test, &[LABEL], PIN, |library: PathBuf| {
        body(Rig::new(library))
    });
}

#[test]
fn openssl_reads_the_han() {
    on_rig("openssl_reads_the_han", |rig| {
        let gateway = Gateway::start(&rig.configure(900, "", refusing_address()), None);
        assert_eq!(
            rig.get(gateway.han, "consumer", "/smgw/"),
            r#"{"roles":["con/v1"]}"#
        );
        assert_eq!(
            rig.get(gateway.han, "technician", "/smgw/"),
            r#"{"roles":["srv/v1"]}"#
        );
        for suite in [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ] {
            let request = "PUT /smgw/con/v1/ HTTP/1.1\r\nHost: smgw\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let output = rig.openssl(
                gateway.han,
                "consumer",
                request,
                &["-tls1_2", "-cipher", suite],
            );
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.starts_with("HTTP/1.1 405"), "{suite}: {text}");
        }
        for (request, code) in [
            (
                format!(
                    "GET /smgw/ HTTP/1.1\r\nx: {}\r\nConnection: close\r\n\r\n",
                    "v".repeat(248)
                ),
                "431",
            ),
            (
                format!("GET /smgw/ HTTP/1.1\r\n{}\r\n", "x-a: v\r\n".repeat(2_000)),
                "431",
            ),
            ("GET  /smgw/ HTTP/1.1\r\n\r\n".into(), "400"),
            (
                "GET /smgw/con/v1/exp/originalValueLists/x HTTP/1.1\r\nConnection: close\r\n\r\n"
                    .into(),
                "404",
            ),
        ] {
            let output = rig.openssl(gateway.han, "consumer", &request, &[]);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {code}")),
                "{code}: {text}"
            );
        }
        let output = rig.openssl(gateway.han, "stranger", "GET /smgw/ HTTP/1.1\r\n\r\n", &[]);
        assert!(output.stdout.is_empty(), "a stranger got an answer");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("alert"), "{said}");
        let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
        let output = rig.openssl(gateway.han, "consumer", "", &old);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("alert protocol version"), "{said}");
    });
}

#[test]
fn ends_as_told_and_refuses_to_start_as_promised() {
    on_rig("ends_as_told_and_refuses_to_start_as_promised", |rig| {
        let config = rig.configure(900, "", refusing_address());
        let mut gateway = Gateway::start(&config, None);
        drop(gateway.child.stdin.take());
        assert_eq!(gateway.wait().code(), Some(0), "end of standard input");

        let mut gateway = Gateway::start(&config, None);
        let pid = gateway.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(gateway.wait().code(), Some(0), "SIGTERM");

        let text = std::fs::read_to_string(&config).unwrap();
        let meter = "[[meter]]\nid = \"1smb0000000001\"\nprotocol = \"sml\"\nport = \"/dev/no-such-port\"\n\
                     baud = 9600\nformat = \"8N1\"\nregisters = [\"1-0:1.8.0\"]\n[han]\n";
        for (changed, code, why) in [
            (text.replace("device-id", "devise-id"), 96, "unknown key"),
            (text.replace("\"900s\"", "\"900\""), 96, "no unit"),
            (
                text.replace(LABEL, "another")
                    .replace("another.config", "smgw.config"),
                108,
                "no such token",
            ),
            (text.replace("gw-tls", "gw-other"), 108, "no such key"),
            (
                text.replace("\"gateway.pem\"", "\"consumer.pem\""),
                108,
                "certificate of another key",
            ),
            (text.replace("\"pin\"", "\"no-pin\""), 108, "no PIN"),
            (text.replacen("[han]\n", meter, 1), 107, "no such port"),
        ] {
            std::fs::write(&config, changed).unwrap();
            let mut child = Gateway::spawn(&config, None);
            assert_eq!(wait(&mut child).code(), Some(code), "{why}");
            let mut output = String::new();
            child
                .stdout
                .take()
                .unwrap()
                .read_to_string(&mut output)
                .unwrap();
            assert_eq!(output, "", "{why}: nothing is announced");
        }
    });
}

/// The entries of the only list of a meter.
fn entries(rig: &Rig, gateway: &Gateway, meter: &str) -> Vec<serde_json::Value> {
    let path = format!("/smgw/con/v1/exp/originalValueLists/{meter}");
    let body: serde_json::Value =
        serde_json::from_str(&rig.get(gateway.han, "consumer", &path)).unwrap();
    body["lists"][0]["entries"].as_array().unwrap().clone()
}

fn sml_meter(id: &str, port: &str) -> String {
    format!(
        "[[meter]]\nid = \"{id}\"\nprotocol = \"sml\"\nport = \"{port}\"\nbaud = 9600\nformat = \"8N1\"\n\
         registers = [\"1-0:1.8.0*255\"]\n"
    )
}

#[test]
fn keeps_values_of_a_pushing_meter_and_reasons_for_gaps() {
    on_rig(
        "keeps_values_of_a_pushing_meter_and_reasons_for_gaps",
        |rig| {
            let id = "1smb0000000001";
            let mut meter = SmlMeter::start(id.parse().unwrap());
            let gateway = Gateway::start(
                &rig.configure(5, &sml_meter(id, &meter.port), refusing_address()),
                None,
            );

            let value = until("a value is kept", || {
                entries(&rig, &gateway, id)
                    .into_iter()
                    .find(|entry| entry["gap"].is_null())
            });
            let target: jiff::Timestamp = value["targetTime"].as_str().unwrap().parse().unwrap();
            assert_eq!(target.as_second() % 5, 0);
            // The meter counts seconds: the value tells when it was taken.
            assert_eq!(value["value"], target.as_second().to_string());
            assert_eq!(value["captureTime"], value["targetTime"]);
            assert_eq!(
                (&value["scaler"], &value["unit"]),
                (&(-1).into(), &30.into())
            );
            assert_eq!(value["status"], "a000000020000000");

            let receptions = rig.get(
                gateway.han,
                "technician",
                &format!("/smgw/srv/v1/exp/receptions/{id}?q.count=1"),
            );
            assert!(receptions.contains(r#""outcome":"ok""#), "{receptions}");

            let gap = |reason: &str| {
                until(reason, || {
                    entries(&rig, &gateway, id)
                        .into_iter()
                        .find(|entry| entry["gap"] == reason)
                })
            };
            meter.garbage.store(true, Ordering::Relaxed);
            let damaged = gap("bad-telegram");
            assert!(damaged["value"].is_null() && damaged["captureTime"].is_null());
            assert_eq!(damaged["status"], "a004000000000000");

            meter.vanish();
            gap("link-lost");
            let status = rig.get(gateway.han, "technician", "/smgw/srv/v1/rts/status");
            assert!(
                status.contains(r#""link":"lost","reason":"link-lost""#),
                "{status}"
            );
        },
    );
}

#[test]
fn polls_an_mbus_meter() {
    on_rig("polls_an_mbus_meter", |rig| {
        use serialport::{SerialPort, TTYPort};
        let (mut wire, meter_end) = TTYPort::pair().unwrap();
        let port = meter_end.name().unwrap();
        std::thread::spawn(move || {
            let _meter_end = meter_end;
            let origin = std::time::Instant::now();
            let now = || Nanos(origin.elapsed().as_nanos() as u64);
            let device = Device {
                id: [0x78, 0x56, 0x34, 0x12],
                manufacturer: Manufacturer::from_letters(*b"SMB").unwrap(),
                version: 1,
                medium: 2,
            };
            let timing = Timing::at(2_400);
            let delay = Duration::from_millis(5);
            let mut slave = Slave::new(slave::Config {
                address: 5,
                device,
                timing,
                delay,
            });
            let mut byte = [0];
            wire.set_timeout(Duration::from_millis(5)).unwrap();
            loop {
                if wire.read(&mut byte).is_ok_and(|len| len == 1)
                    && let Some(slave::Event::DataRequested { .. }) =
                        slave.handle_input(now(), byte[0])
                {
                    let energy = NewRecord::new(
                        &[0x03],
                        Data::Integer {
                            value: 98_765,
                            bytes: 4,
                        },
                    );
                    slave.respond(0, &energy.encode().unwrap());
                }
                if let Some(answer) = slave.poll_transmit(now()) {
                    let _ = wire.write_all(&answer);
                }
            }
        });
        let id = "1smb0012345678";
        let meter = format!(
            "[[meter]]\nid = \"{id}\"\nprotocol = \"mbus\"\naddress = 5\nport = \"{port}\"\nbaud = 2400\nformat = \"8E1\"\n\
             registers = [\"1-0:1.8.0\"]\npoll-lead = \"20ms\"\n"
        );
        let gateway = Gateway::start(&rig.configure(5, &meter, refusing_address()), None);
        let value = until("a value is kept", || {
            entries(&rig, &gateway, id)
                .into_iter()
                .find(|entry| entry["gap"].is_null())
        });
        assert_eq!(
            (&value["value"], &value["unit"]),
            (&"98765".into(), &30.into())
        );
        assert_eq!(value["status"], "a000000000000000");
        let receptions = rig.get(
            gateway.han,
            "technician",
            &format!("/smgw/srv/v1/exp/receptions/{id}"),
        );
        assert!(receptions.contains(r#""outcome":"ok""#), "{receptions}");
    });
}

type Channel = StreamOwned<ClientConnection, SocksTlsStream<TcpStream>>;

/// Greeting, TLS and CONNECT; the reply code and the open channel.
fn connect(
    rig: &Rig,
    cls: SocketAddr,
    who: &Identity,
    name: &[u8],
) -> std::io::Result<(ReplyCode, Channel)> {
    let framed = SocksTlsStream::new(rig::greeted(cls));
    let handle = framed.state_handle();
    let server_name = "smgw".try_into().unwrap();
    let mut connection = ClientConnection::new(rig.cls_client(who), server_name).unwrap();
    let mut framed = framed;
    while connection.is_handshaking() {
        connection.complete_io(&mut framed)?;
    }
    handle.set(FrameState::Data);
    let mut channel = StreamOwned::new(connection, framed);
    channel.write_all(&Request::connect(name, 4433).unwrap().encode())?;
    channel.flush()?;
    let mut reply = [0; 10];
    channel.read_exact(&mut reply)?;
    let (reply, _) = Reply::parse(&reply).unwrap().unwrap();
    Ok((reply.code, channel))
}

#[test]
fn relays_a_cls_to_its_emt_and_nobody_else() {
    on_rig("relays_a_cls_to_its_emt_and_nobody_else", |rig| {
        let (emt, served) = rig.echo_emt();
        let gateway = Gateway::start(&rig.configure(900, "", emt), None);
        let (code, mut channel) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::Succeeded);
        let mut sent: Vec<u8> = (0..3_000_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        for chunk in sent.chunks(50_000) {
            channel.write_all(chunk).unwrap();
            let mut back = vec![0; chunk.len()];
            channel.read_exact(&mut back).unwrap();
            assert!(back == chunk);
        }
        // Half close: the end of our direction reaches the EMT, its last bytes still reach us.
        channel.write_all(b"the end").unwrap();
        sent.extend(b"the end");
        channel.sock.state_handle().set(FrameState::Closing);
        channel.conn.send_close_notify();
        channel.flush().unwrap();
        let mut rest = Vec::new();
        channel.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"the end");
        let asked = Some("emt.example".to_owned());
        let expected = Served {
            total: sent.len(),
            name: asked,
        };
        assert_eq!(served.recv_timeout(PATIENCE).unwrap(), expected);

        for (name, expected) in [
            (b"emt.exampl".as_slice(), ReplyCode::NoSuchProfile),
            (b"EMT.example", ReplyCode::NoSuchProfile),
            (b"", ReplyCode::NoSuchProfile),
        ] {
            let (code, mut channel) = connect(&rig, gateway.cls, &rig.cls_a, name).unwrap();
            assert_eq!(code, expected);
            assert_eq!(channel.read(&mut [0; 8]).unwrap(), 0, "TLS ends in order");
        }
        assert!(
            connect(
                &rig,
                gateway.cls,
                &rig.stranger("cls-stranger"),
                b"emt.example"
            )
            .is_err()
        );
        assert!(served.try_recv().is_err(), "nothing else reached the EMT");

        let mut connection = TcpStream::connect(gateway.cls).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(&[5, 1, 0]).unwrap();
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [5, 0xff]);
    });
}

#[test]
fn tells_a_silent_emt_from_one_that_refuses() {
    on_rig("tells_a_silent_emt_from_one_that_refuses", |rig| {
        let gateway = Gateway::start(&rig.configure(900, "", refusing_address()), None);
        let (code, _channel) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::PeerRefused);
        drop(gateway);

        // Takes the connection and never says a word.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let gateway = Gateway::start(&rig.configure(900, "", silent.local_addr().unwrap()), None);
        let (code, _channel) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::PeerTimeout);
    });
}
