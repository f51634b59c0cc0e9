// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files in `rigs/` are what the documentation says they are.

use std::path::PathBuf;

use bench_rig::assumptions::Confidence;
use bench_rig::plan::{Disposition, PLAN_SCHEMA, PlanInput, PlannedCase};
use bench_rig::schema::File;
use bench_rig::{Answer, Assumptions, Capability, Ics, Plan, Rig};

fn rigs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../rigs")
}

#[test]
fn the_virtual_rig_can_do_everything_but_replay_profiles_and_boards() {
    let rig = Rig::load(&rigs().join("virtual.toml"))
        .unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e)));
    let lacking: Vec<_> = Capability::ALL
        .iter()
        .filter(|c| !rig.capabilities().contains(c))
        .collect();
    assert_eq!(
        lacking,
        [
            &Capability::MeterReplay,
            &Capability::MeterProfile,
            &Capability::ClsDevice,
            &Capability::ClsWire,
            &Capability::ClsRedirect
        ]
    );
    assert_eq!(rig.undrivable(), []);
    assert!(rig.is_virtual());
    assert_eq!(rig.metering.registration_period.0.as_secs(), 15);
}

/// The rig with the gateway on a board differs in that alone, so every case of the default rig runs on it that needs no
/// more than a board has.
#[test]
fn the_rig_with_a_board_can_do_the_same() {
    let load = |name: &str| {
        Rig::load(&rigs().join(name)).unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e)))
    };
    let (default, board) = (load("virtual.toml"), load("virtual-arm64.toml"));
    // A board has no room for a second gateway beside its own, and this one nothing but RAM; the gateway's process and its
    // socket are out of reach.
    let mut expected = default.capabilities();
    expected.remove(&Capability::TimeServer);
    expected.remove(&Capability::GatewayStore);
    expected.remove(&Capability::GatewayKill);
    expected.remove(&Capability::GatewayOrders);
    expected.remove(&Capability::GatewaySecond);
    assert_eq!(board.capabilities(), expected);
    assert_eq!(board.undrivable(), []);
    let text = |name: &str| std::fs::read_to_string(rigs().join(name)).unwrap();
    let below_head = |text: &str| {
        let start = text.find("[clock]").unwrap();
        let role = text.find("# The device under test").unwrap();
        let after = text.find("device-id = \"esmb").unwrap();
        [&text[start..role], &text[after..]].concat()
    };
    assert_eq!(
        below_head(&text("virtual-arm64.toml")),
        below_head(&text("virtual.toml"))
    );
}

#[test]
fn the_reference_statement_answers() {
    let ics = Ics::load(&rigs().join("ics/reference.toml"))
        .unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e)));
    assert_eq!(ics.answer("tls.cipher-suite.C02B"), Answer::Yes);
    assert_eq!(
        ics.answer("metering.registration-period"),
        Answer::Value("15min".to_owned())
    );
    let Answer::No { reason } = ics.answer("tls.cipher-suite.C023") else {
        panic!("declared")
    };
    assert!(reason.contains("CBC"), "{reason}");
    assert!(!ics.answer("never.heard.of").applies());
}

#[test]
fn every_key_of_the_documentation_stands_in_the_assumptions() {
    let path = rigs().join("assumptions.toml");
    let assumptions =
        Assumptions::load(&path).unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e)));
    let keys = [
        "socks-tls-frame",
        "status-word-text",
        "han-receptions",
        "han-json",
        "receive-stamp-event",
    ];
    assert_eq!(assumptions.missing(keys), []);
    assert_eq!(
        assumptions.missing(["socks-tls-frames"]),
        [("socks-tls-frames", Some("socks-tls-frame"))]
    );
    let frame = assumptions
        .get("socks-tls-frame")
        .map(|assumption| assumption.confidence);
    assert_eq!(frame, Some(Confidence::RememberedMedium));
}

#[test]
fn committed_schemas_are_current() {
    for file in File::ALL {
        let path = rigs().join("schema").join(file.file_name());
        let current = file.json_schema();
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            std::fs::write(&path, &current).expect("rigs/schema can be written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == current,
            "{} is stale: run UPDATE=1 cargo test -p bench-rig",
            path.display()
        );
    }
}

#[test]
fn the_real_example_is_read_and_tells_what_is_not_drivable_yet() {
    let rig = Rig::load(&rigs().join("example-real.toml"))
        .unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e)));
    let parts: Vec<String> = rig
        .undrivable()
        .into_iter()
        .map(|undrivable| undrivable.part)
        .collect();
    assert_eq!(
        parts,
        ["resource.socket", "role.gateway", "clock.reference"]
    );
    let capabilities = rig.capabilities();
    assert!(capabilities.contains(&Capability::MeterSml));
    assert!(!capabilities.contains(&Capability::GatewayRestart));
    assert!(!capabilities.contains(&Capability::SecurityModuleTrace));
    // Paths start from the file's directory.
    let identity = rig.consumers["a"].identity.as_ref().expect("given");
    assert!(
        identity.certificate.ends_with("rigs/lab-1/consumer-a.pem"),
        "{identity:?}"
    );
    assert!(
        rig.notes()
            .iter()
            .all(|note| !note.contains("virtual") && !note.contains("power"))
    );
}

#[test]
fn plans_are_written_and_read_back() {
    let input = |file: &str| PlanInput {
        file: file.to_owned(),
        sha256: "00".repeat(32),
    };
    let case = PlannedCase {
        id: "MET-01".to_owned(),
        version: 2,
        disposition: Disposition::NotApplicable,
        reason: "the ICS says: \"no\"\n".to_owned(),
        deadline: "90s".parse().expect("a duration"),
        seed: u64::MAX,
        requirements: vec!["DS §10.1".to_owned()],
        assumptions: vec!["registration-tolerance".to_owned()],
    };
    let plan = Plan {
        schema: PLAN_SCHEMA.to_owned(),
        tool: "smgw-bench 0.1.0".to_owned(),
        seed: 7,
        decision_rule: "guarded acceptance, w = U".to_owned(),
        filter: String::new(),
        rig: input("rigs/virtual.toml"),
        ics: input("rigs/ics/reference.toml"),
        assumptions: input("rigs/assumptions.toml"),
        case: vec![case],
    };
    let text = plan.to_toml();
    insta::assert_snapshot!(text);
    let read = Plan::parse(std::path::Path::new("plan.lock.toml"), &text);
    assert_eq!(
        read.unwrap_or_else(|e| panic!("{:?}", miette::Report::new(e))),
        plan
    );
}
