// SPDX-License-Identifier: MIT OR Apache-2.0
//! A bundle is sealed, verified, and damaged in every way a file can be damaged.

mod sample;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use bench_evidence::{
    Bundle, BundleSigner, Direction, EvidenceError, Format, ProblemKind, Side, VerifyError,
    load_results, render, verify,
};
use bench_timing::BenchClock;
use hsm_api::{ModuleError, PublicKey};
use sample::{SoftSigner, meta};
use serde_json::json;

fn filled(dir: &Path) -> Bundle {
    let clock = BenchClock::start();
    let bundle = Bundle::create(dir, meta(), &clock).expect("a bundle");
    bundle
        .add_input("rig.toml", b"schema = \"smgw-bench.rig/1\"\n")
        .expect("an input");
    bundle
        .events()
        .record("case.started", &json!({"case": "MET-01"}))
        .expect("an event");
    let now = BenchClock::now();
    bundle.trace().mark(Some("case MET-01 step 1"));
    bundle
        .trace()
        .serial("lmn0")
        .rx(now, &[0x1b, 0x1b, 0x1b, 0x1b]);
    bundle
        .trace()
        .sml("lmn0")
        .frame(now, Direction::Inbound, &[1, 2, 3]);
    let tap = bundle.trace().tcp(
        "han",
        "127.0.0.1:50000".parse().expect("an address"),
        "127.0.0.1:443".parse().expect("an address"),
    );
    tap.client(now, b"hello");
    tap.fin(now, Side::Client);
    let mut log = bundle.log_file("gateway").expect("a log");
    writeln!(log, "listening").expect("a line");
    for d in sample::distributions() {
        bundle
            .add_histogram(&d.name, &d.distribution)
            .expect("a histogram");
    }
    bundle
}

fn sealed(dir: &Path) -> PathBuf {
    let results = sample::results();
    let bundle = filled(dir);
    bundle
        .finish(&results, &SoftSigner::new(7))
        .expect("sealed")
        .path
}

fn problems(path: &Path) -> Vec<(String, ProblemKind)> {
    match verify(path, None) {
        Err(VerifyError::Problems(all)) => all.into_iter().map(|p| (p.file, p.kind)).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root)
        .expect("a directory")
        .map(|e| e.expect("an entry").path())
    {
        if entry.is_dir() {
            all.extend(files(&entry));
        } else {
            all.push(entry);
        }
    }
    all
}

#[test]
fn a_sealed_bundle_verifies_and_renders_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sealed(dir.path());
    let name = path.file_name().and_then(|n| n.to_str()).expect("UTF-8");
    assert_eq!(name, format!("20261121T180400Z-virtual-{}", sample::RUN));
    let report = verify(&path, Some(&SoftSigner::new(7).public_key())).expect("sound");
    assert!(report.trusted);
    assert_eq!((report.events, report.reason.as_str()), (3, "finished"));
    assert_eq!(report.files, 10);
    assert!(!verify(&path, None).expect("sound").trusted);
    for file in [
        "events.jsonl",
        "junit.xml",
        "report.html",
        "results.csv",
        "trace/run.pcapng",
        "logs/gateway.log",
        "inputs/rig.toml",
        "hist/rig.pty-read.hlog",
    ] {
        assert!(path.join(file).is_file(), "{file}");
    }
    assert_eq!(load_results(&path).expect("results"), sample::results());
    for (name, format) in Format::NAMES {
        assert_eq!(name.parse::<Format>(), Ok(format));
        let text = render(&path, format).expect("rendered");
        let stored = match format {
            Format::Html => "report.html",
            Format::Junit => "junit.xml",
            Format::Csv => "results.csv",
            Format::Json => "results.json",
            Format::Markdown => continue,
        };
        assert_eq!(
            text,
            fs::read_to_string(path.join(stored)).expect("stored"),
            "{stored}"
        );
    }
}

#[test]
fn another_trusted_key_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sealed(dir.path());
    let error = verify(&path, Some(&SoftSigner::new(8).public_key())).expect_err("foreign key");
    assert!(
        error.to_string().contains("not sealed by the trusted key"),
        "{error}"
    );
}

#[test]
fn one_flipped_byte_anywhere_is_found_and_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sealed(dir.path());
    let mut flips = 0;
    for file in files(&path) {
        let name = file
            .strip_prefix(&path)
            .expect("inside")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let sound = fs::read(&file).expect("readable");
        // Every byte of what is parsed, a stride through what is only hashed.
        let small = name.starts_with("manifest") || sound.len() <= 256;
        let stride = if small { 1 } else { (sound.len() / 40).max(1) };
        for at in (0..sound.len()).step_by(stride).chain([sound.len() - 1]) {
            for flip in if name == "manifest.sig.json" {
                [0x01, 0x20]
            } else {
                [0x01, 0x80]
            } {
                let mut bytes = sound.clone();
                bytes[at] ^= flip;
                fs::write(&file, &bytes).expect("written");
                let found = problems(&path);
                assert!(!found.is_empty(), "{name} byte {at} ^ {flip:#x}");
                let named = found
                    .iter()
                    .any(|(file, _)| file == &name || file.starts_with("manifest"));
                assert!(named, "{name} byte {at}: {found:?}");
                flips += 1;
            }
        }
        fs::write(&file, &sound).expect("restored");
    }
    assert!(problems(&path).is_empty(), "restored");
    println!("{flips} flips found");
}

#[test]
fn truncation_growth_removal_and_addition_are_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sealed(dir.path());
    for file in files(&path) {
        let name = file
            .strip_prefix(&path)
            .expect("inside")
            .to_str()
            .expect("UTF-8")
            .to_owned();
        let sound = fs::read(&file).expect("readable");
        for bytes in [
            &sound[..sound.len() - 1],
            &sound[..0],
            &[&sound[..], b" "].concat(),
        ] {
            fs::write(&file, bytes).expect("written");
            assert!(
                !problems(&path).is_empty(),
                "{name} with {} bytes",
                bytes.len()
            );
        }
        fs::remove_file(&file).expect("removed");
        let found = problems(&path);
        assert!(
            found.iter().any(|(file, _)| file == &name),
            "{name} removed: {found:?}"
        );
        fs::write(&file, &sound).expect("restored");
    }
    let extra = |name: &str| {
        fs::write(path.join(name), b"").expect("written");
        let found = problems(&path);
        assert_eq!(found, [(name.to_owned(), ProblemKind::Extra)]);
        fs::remove_file(path.join(name)).expect("removed");
    };
    extra("note.txt");
    extra("logs/emt.log");
    extra(".hidden");
    fs::create_dir(path.join("more")).expect("made");
    assert_eq!(
        problems(&path),
        [("more/".to_owned(), ProblemKind::NotAFile)]
    );
    fs::remove_dir(path.join("more")).expect("removed");
    std::os::unix::fs::symlink("/dev/zero", path.join("hist/zero.hlog")).expect("linked");
    assert_eq!(
        problems(&path),
        [("hist/zero.hlog".to_owned(), ProblemKind::NotAFile)]
    );
}

#[test]
fn swapping_two_sealed_bundles_files_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, two) = (sealed(&dir.path().join("a")), sealed(&dir.path().join("b")));
    fs::copy(two.join("events.jsonl"), one.join("events.jsonl")).expect("copied");
    assert!(problems(&one).contains(&("events.jsonl".to_owned(), ProblemKind::Changed)));
    fs::copy(two.join("manifest.json"), one.join("manifest.json")).expect("copied");
    assert!(!problems(&one).is_empty());
}

#[test]
fn an_unfinished_run_is_reported_as_incomplete() {
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = filled(dir.path());
    let found = problems(bundle.path());
    let incomplete: Vec<&str> = found
        .iter()
        .filter(|(_, kind)| matches!(kind, ProblemKind::Incomplete(_)))
        .map(|(file, _)| file.as_str())
        .collect();
    assert_eq!(
        incomplete,
        ["events.jsonl", "manifest.sig.json", "manifest.json"]
    );
    assert!(matches!(
        verify(&dir.path().join("absent"), None),
        Err(VerifyError::Unreadable { .. })
    ));
}

#[test]
fn hostile_manifests_lead_nowhere() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = sealed(dir.path());
    let manifest = fs::read_to_string(path.join("manifest.json")).expect("readable");
    let deep = "[".repeat(200_000);
    for hostile in [
        manifest.replace("\"trace/run.pcapng\"", "\"../../../etc/passwd\""),
        manifest.replace("\"trace/run.pcapng\"", "\"/dev/zero\""),
        manifest.replace("\"size\": ", "\"size\": 9"),
        manifest.replace("brainpoolP256r1", "P-521"),
        manifest.replace("brainpoolP256r1", "P-384"),
        deep,
        String::new(),
        "null".to_owned(),
    ] {
        fs::write(path.join("manifest.json"), hostile).expect("written");
        assert!(!problems(&path).is_empty());
    }
    fs::write(path.join("manifest.json"), vec![b' '; 9 << 20]).expect("written");
    assert!(!problems(&path).is_empty());
}

#[test]
fn file_names_cannot_leave_the_bundle() {
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = filled(dir.path());
    for name in [
        "", ".", "..", "../x", "a/b", "a\\b", "a b", ".x", "ä", "a\0",
    ] {
        assert!(
            matches!(bundle.add_input(name, b""), Err(EvidenceError::BadName(_))),
            "{name:?}"
        );
        assert!(
            matches!(bundle.log_file(name), Err(EvidenceError::BadName(_))),
            "{name:?}"
        );
    }
    assert!(
        bundle.add_input("rig.toml", b"again").is_err(),
        "inputs are written once"
    );
}

struct Broken;

impl BundleSigner for Broken {
    fn public_key(&self) -> PublicKey {
        SoftSigner::new(7).public_key()
    }

    fn key_name(&self) -> String {
        "broken".to_owned()
    }

    fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, ModuleError> {
        SoftSigner::new(9).sign(digest)
    }
}

#[test]
fn a_module_that_signs_with_another_key_is_caught_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let bundle = filled(dir.path());
    let error = bundle
        .finish(&sample::results(), &Broken)
        .expect_err("wrong key");
    assert!(
        error.to_string().contains("the signature does not match"),
        "{error}"
    );
    assert!(!bundle.path().join("manifest.json").exists());
}
