// SPDX-License-Identifier: MIT OR Apache-2.0
//! Meters on the wired LMN: HDLC, TLS, SML; good ones, wrong ones, and OpenSSL as a meter's end of TLS.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hsm_tls::TlsProfile;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use smgw_hdlc::{Event, Framer, Profile};
use smgw_peers::meters::{
    Clock, Direction, LmnConfig, LmnFault, LmnMeter, LmnServer, LmnTls, Register, Tap,
};
use smgw_peers::net::{Party, ServerTls};
use smgw_units::Nanos;

use super::rig::{Gateway, Rig, refusing_address, until};
use super::{entries, on_rig};

const LMN: &str = "[lmn]\nkey = \"gw-lmn\"\ncertificate = \"gw-lmn.pem\"\n";
const BAUD: u32 = 921_600;

fn config(id: &str) -> LmnConfig {
    LmnConfig::new(id.parse().unwrap(), 3)
}

/// The table of a meter whose certificate is the one in this file.
fn table(id: &str, meter: &LmnMeter, certificate: &str) -> String {
    format!(
        "[[meter]]\nid = \"{id}\"\nprotocol = \"hdlc-lmn\"\naddress = 3\ncertificate = \"{certificate}\"\n\
         port = \"{}\"\nbaud = {BAUD}\nformat = \"8N1\"\nregisters = [\"1-0:1.8.0\"]\n\
         poll-lead = \"30ms\"\n",
        meter.path().display()
    )
}

/// A meter with a certificate of its own, for a gateway with this one; and its table.
fn meter(rig: &Rig, id: &str, gateway: &CertificateDer<'static>) -> (LmnMeter, String) {
    let party = Party::new(&format!("{id}.sm")).unwrap();
    let file = format!("{id}.pem");
    std::fs::write(rig.folder.join(&file), party.certificate_pem()).unwrap();
    let clients = std::slice::from_ref(gateway);
    let tls = ServerTls::new(&party, &TlsProfile::meter_server(), clients).unwrap();
    let meter = LmnMeter::start(config(id), LmnTls::Own(tls), None).unwrap();
    let table = table(id, &meter, &file);
    (meter, table)
}

fn own(rig: &Rig) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(rig.folder.join("gw-lmn.pem")).unwrap()
}

/// Waits for an entry that says this: a reason, or a value.
fn wait_for(rig: &Rig, gateway: &Gateway, id: &str, gap: Option<&str>) -> serde_json::Value {
    until(&format!("{id}: {gap:?}"), || {
        let entries = entries(rig, gateway, id);
        entries
            .into_iter()
            .rfind(|entry| entry["gap"].as_str() == gap)
    })
}

/// Whether an entry is what the meter told.
fn told(registers: &[Register], entry: &serde_json::Value) -> bool {
    let value: i128 = entry["value"].as_str().unwrap().parse().unwrap();
    registers
        .iter()
        .any(|register| register.value.mantissa == value)
}

#[test]
fn reads_a_meter_through_tls_and_no_other() {
    on_rig("hdlc::reads_a_meter_through_tls_and_no_other", |rig| {
        let own = own(&rig);
        let id = |number| format!("1smb000000000{number}");
        let ids: Vec<String> = (0..8).map(id).collect();
        let mut tables = vec![LMN.to_owned()];
        let (good, text) = meter(&rig, &ids[0], &own);
        tables.push(text);
        // Pinned is the certificate of another meter.
        let (_stranger, text) = meter(&rig, &ids[1], &own);
        tables.push(text.replace(&format!("{}.pem", ids[1]), &format!("{}.pem", ids[0])));
        // The meter knows another gateway.
        let (_mistrusting, text) = meter(&rig, &ids[2], &rig.gateway);
        tables.push(text);
        let plain = LmnMeter::start(config(&ids[3]), LmnTls::Missing, None).unwrap();
        tables.push(table(&ids[3], &plain, &format!("{}.pem", ids[0])));
        let faults = [
            (LmnFault::BadFrames, "bad-telegram"),
            (LmnFault::Silent, "no-answer"),
            (LmnFault::Babble, "bad-telegram"),
            (
                LmnFault::WrongServerId(ids[0].parse().unwrap()),
                "wrong-meter",
            ),
        ];
        let mut faulty = Vec::new();
        for ((fault, reason), id) in faults.into_iter().zip(&ids[4..]) {
            let (meter, text) = meter(&rig, id, &own);
            meter.set_fault(Some(fault));
            tables.push(text);
            faulty.push((meter, id, reason));
        }
        let config = rig.configure(5, &tables.concat(), refusing_address());
        let mut gateway = Gateway::start(&config, None);

        let value = wait_for(&rig, &gateway, &ids[0], None);
        let stamps = good.telegrams();
        let registers = stamps.iter().flat_map(|stamp| &stamp.registers).copied();
        assert!(told(&registers.collect::<Vec<_>>(), &value), "{value}");
        assert_eq!(value["scaler"], -4);
        assert_eq!(value["unit"], 30);
        // Status word 001c0104 of the meter, least significant bit first.
        assert_eq!(value["status"], "a000000020803800");
        let path = format!("/smgw/srv/v1/exp/receptions/{}", ids[0]);
        let receptions = rig.get(gateway.han, "technician", &path);
        let known = |telegram: &str| receptions.contains(&format!("\"telegram\":\"{telegram}\""));
        assert!(
            stamps.iter().any(|stamp| known(&stamp.telegram)),
            "{receptions}"
        );

        for (id, reason) in [
            (&ids[1], "wrong-meter"),
            (&ids[2], "no-answer"),
            (&ids[3], "bad-telegram"),
        ] {
            wait_for(&rig, &gateway, id, Some(reason));
        }
        for (_, id, reason) in &faulty {
            wait_for(&rig, &gateway, id, Some(reason));
        }
        let log = rig.get(gateway.han, "technician", "/smgw/srv/v1/exp/log");
        let log: serde_json::Value = serde_json::from_str(&log).unwrap();
        let said = |id: &str, what: &str| {
            log["entries"].as_array().unwrap().iter().any(|entry| {
                let message = entry["message"].as_str().unwrap();
                entry["subjectIdentity"] == id && message.contains(what)
            })
        };
        for (id, what) in [
            (&ids[0], "secured connection to the meter opened"),
            (&ids[1], "refused or broken: TLS: "),
            (&ids[2], "refused or broken: TLS: received fatal alert"),
            (&ids[3], "refused or broken: TLS: "),
            (&ids[4], "refused or broken: the meter's frames are damaged"),
            (&ids[5], "refused or broken: the meter does not answer"),
            (&ids[6], "refused or broken: the meter's frames are damaged"),
        ] {
            assert!(said(id, what), "{id} {what}: {log}");
        }
        for (meter, id, _) in &faulty {
            meter.set_fault(None);
            wait_for(&rig, &gateway, id, None);
        }
        // A register that went, and a line full of noise, do not hold up the end.
        good.set_fault(Some(LmnFault::NoRegister));
        wait_for(&rig, &gateway, &ids[0], Some("register-missing"));
        faulty[2].0.set_fault(Some(LmnFault::Babble));
        drop(gateway.child.stdin.take());
        assert_eq!(gateway.wait().code(), Some(0));
    });
}

/// `openssl s_server` with what it receives answered as a meter answers; ended when dropped.
struct OpenSsl {
    child: Child,
    registers: Arc<Mutex<Vec<Register>>>,
}

impl OpenSsl {
    fn start(rig: &Rig, id: &str, address: &str) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", address, "-tls1_2"])
            .args(["-cert", "openssl-meter.pem", "-key", "openssl-meter.key"])
            .args(["-named_curve", "brainpoolP256r1", "-max_send_frag", "1900"])
            .args([
                "-Verify",
                "1",
                "-verify_return_error",
                "-CAfile",
                "gw-lmn.pem",
            ])
            .current_dir(&rig.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let registers = Arc::new(Mutex::new(Vec::new()));
        let (told, mut server) = (registers.clone(), LmnServer::new(config(id)));
        std::thread::spawn(move || {
            let mut plain = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut plain) {
                if let Some(answer) = server.serve(Clock::now(), &plain[..length], None) {
                    told.lock().unwrap().extend(answer.registers);
                    let _ = input.write_all(&answer.payload);
                }
            }
        });
        Self { child, registers }
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the gateway sent.
#[derive(Default)]
struct Sent(Mutex<Vec<u8>>);

impl Tap for Sent {
    fn bytes(&self, direction: Direction, _: Nanos, bytes: &[u8]) {
        if direction == Direction::ToMeter {
            self.0.lock().unwrap().extend(bytes);
        }
    }
}

impl Sent {
    /// Each frame with information carries one TLS record.
    fn check(&self) {
        let mut framer = Framer::new(Profile::LMN, Duration::from_secs(1));
        let mut records = 0;
        for byte in self.0.lock().unwrap().iter() {
            framer.push(*byte, Nanos(0));
            while let Some(event) = framer.poll() {
                let Event::Frame { frame, .. } = event else {
                    panic!("the gateway sent {event:?}")
                };
                if let [_, _, _, high, low, ..] = *frame.info {
                    let content = u16::from_be_bytes([high, low]);
                    assert_eq!(frame.info.len(), 5 + usize::from(content));
                    assert!(!frame.segmented);
                    records += 1;
                }
            }
        }
        // Hello, certificate, key, signature, cipher change, end of the handshake, request.
        assert!(records >= 7, "{records}");
    }
}

#[test]
fn openssl_ends_the_tls_of_a_meter() {
    on_rig("hdlc::openssl_ends_the_tls_of_a_meter", |rig| {
        let id = "1smb0000000009";
        rig.openssl_identity("openssl-meter");
        let address = refusing_address();
        let sent = Arc::new(Sent::default());
        let meter =
            LmnMeter::start(config(id), LmnTls::Elsewhere(address), Some(sent.clone())).unwrap();
        let table = table(id, &meter, "openssl-meter.pem");
        let openssl = OpenSsl::start(&rig, id, &address.to_string());
        let config = rig.configure(5, &format!("{LMN}{table}"), refusing_address());
        let gateway = Gateway::start(&config, None);
        let value = wait_for(&rig, &gateway, id, None);
        assert!(told(&openssl.registers.lock().unwrap(), &value), "{value}");
        sent.check();
        drop(openssl);
        wait_for(&rig, &gateway, id, Some("no-answer"));
        let openssl = OpenSsl::start(&rig, id, &address.to_string());
        let gap = entries(&rig, &gateway, id).len();
        let back = until("a value after the gap", || {
            let later = entries(&rig, &gateway, id).into_iter().skip(gap);
            later.into_iter().find(|entry| entry["gap"].is_null())
        });
        assert!(told(&openssl.registers.lock().unwrap(), &back), "{back}");
    });
}
