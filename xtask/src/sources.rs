// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules about source files: heads, names, lengths, and what sans-IO code must not touch.

use crate::workspace::RustFile;

const SPDX: &str = "// SPDX-License-Identifier: MIT OR Apache-2.0";

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

/// Longest file, counted without its tests.
const MAX_LINES: usize = 800;

/// Rooms without clocks, sockets and threads.
const SANS_IO: [&str; 2] = ["proto/", "host/gateway/core/"];

const NO_IO: [&str; 7] = [
    "Instant::now",
    "SystemTime",
    "std::net",
    "std::thread",
    "std::fs",
    "tokio::",
    "rustls::",
];

/// The gateway's program, where each back-end of the security module is named in one file only.
const GATEWAY: &str = "host/gateway/smgw/src/";

const BACK_ENDS: [&str; 3] = ["hsm_pkcs11", "hsm_soft", "hsm_card"];

/// The one place where TLS is put together; all others take a `TlsProfile` of it.
const TLS: &str = "hsm/tls/";

/// What only that place names: suites, groups and providers of rustls.
const TLS_PARTS: [&str; 5] = [
    "cipher_suite::",
    "CipherSuite::TLS",
    "CryptoProvider",
    "NamedGroup::",
    "crypto::ring",
];

/// All breaches of the rules about source files.
pub(crate) fn breaches(files: &[RustFile]) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut wiring = Vec::new();
    for file in files {
        let path = &file.path;
        head(file, &mut breaches);
        if path
            .split(['/', '.'])
            .any(|part| EMPTY_NAMES.contains(&part))
        {
            breaches.push(format!("{path}: name it after what it does"));
        }
        let code = without_tests(&file.text);
        let lines = code.lines().count();
        let tests = path.contains("/tests/") || path.ends_with("/tests.rs");
        if lines > MAX_LINES && !tests {
            breaches.push(format!(
                "{path}: {lines} lines without tests, more than {MAX_LINES}"
            ));
        }
        if SANS_IO.iter().any(|room| path.starts_with(room)) && path.contains("/src/") && !tests {
            sans_io(path, code, &mut breaches);
        }
        if !path.starts_with(TLS) && !path.starts_with("xtask/") {
            let named =
                |(_, line): &(usize, &str)| TLS_PARTS.iter().any(|part| line.contains(part));
            breaches.extend(code_lines(&file.text).filter(named).map(|(number, _)| {
                format!("{path}:{number}: what TLS negotiates is named in {TLS} only")
            }));
        }
        if path.starts_with(GATEWAY) && code_lines(code).any(|(_, line)| names_back_end(line)) {
            wiring.push(path.as_str());
        }
    }
    if wiring.len() > 1 {
        let files = wiring.join(", ");
        breaches.push(format!(
            "back-ends of the security module are named in several files: {files}"
        ));
    }
    breaches
}

fn head(file: &RustFile, breaches: &mut Vec<String>) {
    let mut lines = file.text.lines();
    if lines.next() != Some(SPDX) {
        breaches.push(format!("{}: the first line must be `{SPDX}`", file.path));
    } else if !lines.next().is_some_and(|line| line.starts_with("//! ")) {
        breaches.push(format!(
            "{}: the second line must say the purpose, as `//! …`",
            file.path
        ));
    }
}

/// The file up to its unit tests.
fn without_tests(text: &str) -> &str {
    let end = if text.starts_with("#[cfg(test)]") {
        Some(0)
    } else {
        text.find("\n#[cfg(test)]\nmod ")
    };
    end.map_or(text, |end| &text[..end])
}

/// Lines that are not comments, numbered from one.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn sans_io(path: &str, code: &str, breaches: &mut Vec<String>) {
    for (number, line) in code_lines(code) {
        for word in NO_IO {
            if line.contains(word) {
                breaches.push(format!("{path}:{number}: sans-IO code must not use {word}"));
            }
        }
    }
}

fn names_back_end(line: &str) -> bool {
    BACK_ENDS.iter().any(|name| line.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, body: &str) -> RustFile {
        RustFile {
            path: path.to_owned(),
            text: format!("{SPDX}\n//! Purpose.\n{body}"),
        }
    }

    #[test]
    fn tls_is_put_together_in_one_place() {
        let body = "// CryptoProvider\nuse rustls::crypto::CryptoProvider;\n";
        assert!(breaches(&[file("hsm/tls/src/lib.rs", body)]).is_empty());
        let elsewhere = breaches(&[file("host/peers/src/lib.rs", body)]);
        assert_eq!(
            elsewhere,
            ["host/peers/src/lib.rs:4: what TLS negotiates is named in hsm/tls/ only"]
        );
    }

    #[test]
    fn tidy_files_pass() {
        let files = [
            file(
                "proto/sml/src/lib.rs",
                "// std::net is not used\n#[cfg(test)]\nmod tests { use std::thread; }\n",
            ),
            file("proto/sml/tests/golden.rs", "use std::fs;\n"),
            file("proto/sml/src/tests.rs", "use std::fs;\n"),
            file(
                "host/gateway/smgw/src/main.rs",
                "use hsm_pkcs11::Module;\nuse hsm_soft::Soft;\n",
            ),
            file(
                "host/gateway/smgw/src/han.rs",
                "use std::net::SocketAddr;\n",
            ),
        ];
        assert_eq!(breaches(&files), Vec::<String>::new());
    }

    #[test]
    fn each_breach_is_named_with_its_place() {
        let long = "fn f() {}\n".repeat(MAX_LINES);
        for (files, expected) in [
            (
                vec![RustFile {
                    path: "a.rs".into(),
                    text: "//! Purpose.\n".into(),
                }],
                "a.rs: the first line",
            ),
            (
                vec![RustFile {
                    path: "a.rs".into(),
                    text: format!("{SPDX}\nfn f() {{}}\n"),
                }],
                "a.rs: the second line",
            ),
            (
                vec![file("hsm/api/src/utils.rs", "")],
                "hsm/api/src/utils.rs: name it",
            ),
            (
                vec![file("tests/common/mod.rs", "")],
                "tests/common/mod.rs: name it",
            ),
            (vec![file("hsm/api/src/lib.rs", &long)], "802 lines"),
            (
                vec![file("proto/sml/src/lib.rs", "let t = Instant::now();\n")],
                "proto/sml/src/lib.rs:3: sans-IO",
            ),
            (
                vec![file(
                    "host/gateway/core/src/lib.rs",
                    "use std::net::TcpStream;\n",
                )],
                "must not use std::net",
            ),
            (
                vec![
                    file("host/gateway/smgw/src/main.rs", "use hsm_pkcs11::Module;\n"),
                    file("host/gateway/smgw/src/tls.rs", "use hsm_soft::Soft;\n"),
                ],
                "host/gateway/smgw/src/main.rs, host/gateway/smgw/src/tls.rs",
            ),
        ] {
            let found = breaches(&files);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
