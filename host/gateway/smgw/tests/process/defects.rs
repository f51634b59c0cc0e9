// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every seeded defect that shows at once really misbehaves, and only in its own way.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use smgw_socks::ReplyCode;

use crate::rig::{Gateway, PATIENCE, Rig, refusing_address};
use crate::{connect, on_rig};

fn han(rig: &Rig, defect: &str, user: &str, request: &str, more: &[&str]) -> (String, String) {
    let gateway = Gateway::start(&rig.configure(900, "", refusing_address()), Some(defect));
    let output = rig.openssl(gateway.han, user, request, more);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn defects_of_the_han_show() {
    on_rig("defects::defects_of_the_han_show", |rig| {
        let get = "GET /smgw/ HTTP/1.1\r\nConnection: close\r\n\r\n";
        let (answer, _) = han(&rig, "con-05-any-certificate", "stranger", get, &[]);
        assert!(answer.ends_with(r#"{"roles":["con/v1"]}"#), "{answer}");
        let put = "PUT /smgw/ HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        let (answer, _) = han(&rig, "con-07-put-accepted", "consumer", put, &[]);
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        let (answer, _) = han(&rig, "htt-06-xml-default", "consumer", get, &[]);
        assert!(answer.contains("content-type: application/xml"), "{answer}");
        let suite = |name| ["-tls1_2", "-cipher", name];
        let weak = suite("ECDHE-ECDSA-AES128-GCM-SHA256");
        let (answer, error) = han(&rig, "tls-01-no-gcm128", "consumer", get, &weak);
        assert!(
            answer.is_empty() && error.contains("handshake failure"),
            "{error}"
        );
        let strong = suite("ECDHE-ECDSA-AES256-GCM-SHA384");
        let (answer, _) = han(&rig, "tls-01-no-gcm128", "consumer", get, &strong);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, said) = han(&rig, "tls-01-no-gcm128", "stranger", get, &strong);
        assert!(said.contains("alert"), "still pinned: {said}");
        let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
        let (_, error) = han(&rig, "tls-03-silent-close", "consumer", "", &old);
        assert!(!error.contains("alert"), "{error}");
        let (answer, _) = han(&rig, "sec-01-soft-ecdhe", "consumer", get, &[]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

#[test]
fn without_a_module_the_defect_speaks_plainly() {
    on_rig(
        "defects::without_a_module_the_defect_speaks_plainly",
        |rig| {
            let config = rig.configure(900, "", refusing_address());
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, text.replace("gw-tls", "no-such-key")).unwrap();
            let gateway = Gateway::start(&config, Some("sec-03-plaintext-fallback"));
            let mut plain = TcpStream::connect(gateway.han).unwrap();
            plain.set_read_timeout(Some(PATIENCE)).unwrap();
            plain
                .write_all(b"GET /smgw/ HTTP/1.1\r\nConnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            plain.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        },
    );
}

#[test]
fn defects_of_the_proxy_show() {
    on_rig("defects::defects_of_the_proxy_show", |rig| {
        let (emt, served) = rig.echo_emt();
        let config = rig.configure(900, "", emt);

        let gateway = Gateway::start(&config, Some("prx-01-no-auth"));
        let mut plain = TcpStream::connect(gateway.cls).unwrap();
        plain.write_all(&[5, 2, 0, 6]).unwrap();
        let mut choice = [0; 2];
        plain.read_exact(&mut choice).unwrap();
        assert_eq!(choice, [5, 0]);

        let gateway = Gateway::start(&config, Some("prx-03-any-certificate"));
        let (code, _) = connect(&rig, gateway.cls, &rig.stranger("cls-c"), b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::Succeeded);

        // Profiles of two CLS: the second may not use the first one's, unless the defect lets it.
        let second = rig.stranger("cls-b");
        std::fs::write(
            rig.folder.join("cls-b.pem"),
            hsm_pki::to_pem(&second.chain[0]),
        )
        .unwrap();
        let text = std::fs::read_to_string(&config).unwrap();
        let (_, profile) = text.split_once("[[cls.profile]]").unwrap();
        let profile =
            profile
                .replace("cls-a.pem", "cls-b.pem")
                .replacen("emt.example", "b.example", 1);
        let both = rig.folder.join("both.toml");
        std::fs::write(&both, format!("{text}[[cls.profile]]{profile}")).unwrap();
        for (defect, expected) in [
            ("prx-05-foreign-profile", ReplyCode::Succeeded),
            ("prx-11-bit-flip", ReplyCode::NoSuchProfile),
        ] {
            let gateway = Gateway::start(&both, Some(defect));
            let (code, _) = connect(&rig, gateway.cls, &second, b"b.example").unwrap();
            assert_eq!(code, ReplyCode::Succeeded);
            let (code, _) = connect(&rig, gateway.cls, &second, b"emt.example").unwrap();
            assert_eq!(code, expected, "{defect}");
        }

        let gateway = Gateway::start(&config, Some("prx-06-upper-case"));
        let (code, _) = connect(&rig, gateway.cls, &rig.cls_a, b"EMT.example").unwrap();
        assert_eq!(code, ReplyCode::Succeeded);

        while served.try_recv().is_ok() {}
        let gateway = Gateway::start(&config, Some("prx-04-wrong-sni"));
        let (code, mut channel) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::Succeeded);
        channel.write_all(b"mark").unwrap();
        channel.flush().unwrap();
        drop(channel);
        let marked = || served.recv_timeout(PATIENCE).unwrap();
        let name = std::iter::repeat_with(marked)
            .find(|served| served.total == 4)
            .unwrap()
            .name;
        assert_eq!(name.as_deref(), Some("wrong.example"));

        let gateway = Gateway::start(&config, Some("prx-11-bit-flip"));
        let (_, mut channel) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        let mut changed = Vec::new();
        for at in (0..5_100_000).step_by(10_000) {
            channel.write_all(&[0; 10_000]).unwrap();
            let mut back = [0; 10_000];
            channel.read_exact(&mut back).unwrap();
            changed.extend((0..10_000).filter(|n| back[*n] != 0).map(|n| at + n));
        }
        assert_eq!(changed, [5_000_000]);

        let gateway = Gateway::start(
            &rig.configure(900, "", refusing_address()),
            Some("prx-07-one-code"),
        );
        let (code, _) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        assert_eq!(code, ReplyCode::PeerTimeout);
    });
}

#[test]
fn one_channel_leaks_into_another() {
    on_rig("defects::one_channel_leaks_into_another", |rig| {
        let (emt, _served) = rig.echo_emt();
        let gateway = Gateway::start(&rig.configure(900, "", emt), Some("prx-12-cross-talk"));
        let (_, mut first) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        let (_, mut second) = connect(&rig, gateway.cls, &rig.cls_a, b"emt.example").unwrap();
        second.write_all(b"secret").unwrap();
        second.flush().unwrap();
        first
            .sock
            .inner_mut()
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut leaked = [0; 6];
        first.read_exact(&mut leaked).unwrap();
        assert_eq!(&leaked, b"secret");
    });
}

#[test]
fn the_list_tells_all_defects() {
    let output = Command::new(env!("CARGO_BIN_EXE_smgw"))
        .arg("--list-defects")
        .output()
        .unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.len(), smgw::defects::TABLE.len());
    assert_eq!(rows[0]["id"], "met-01-wide-window");
    assert_eq!(rows[0]["case"], "MET-01");
}
