// SPDX-License-Identifier: MIT OR Apache-2.0
//! What people see when a file is wrong: every problem, its place, and what to write instead.
//!
//! Each file in `tests/wrong/` has its snapshot; `INSTA_UPDATE=always` writes new ones, to be read before they are kept.

use std::path::Path;

use bench_rig::{Assumptions, Ics, Plan, Rig};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;

fn shown(problems: &dyn Diagnostic) -> String {
    let mut text = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(120)
        .render_report(&mut text, problems)
        .expect("rendered");
    text
}

macro_rules! wrong_rigs {
    ($($name:ident = $file:literal,)*) => {
        $(
            #[test]
            fn $name() {
                let text = include_str!(concat!("wrong/", $file, ".toml")).to_owned();
                let problems = Rig::parse(Path::new(concat!($file, ".toml")), text).expect_err("it is wrong");
                insta::assert_snapshot!(shown(&problems));
            }
        )*
    };
}

wrong_rigs! {
    misspelt_keys = "typo-keys",
    unknown_words = "unknown-words",
    values_of_the_wrong_form = "bad-values",
    names_that_lead_nowhere = "dangling-references",
    a_resource_used_twice = "resource-used-twice",
    a_secret_in_the_file = "secret-in-file",
    a_pin_with_two_sources = "pin-two-sources",
    our_gateway_without_security_module = "missing-roles",
    users_without_a_gateway = "missing-gateway",
    ports_that_cannot_be_found_again = "unstable-port",
    things_that_do_not_go_together = "actor-mismatch",
    a_real_gateway_half_described = "real-gateway-incomplete",
    boards_that_hang_in_the_air = "boards",
    another_schema = "wrong-schema",
    no_toml_at_all = "not-toml",
    no_schema = "unnamed-meter",
    roles_and_resources_without_names = "unnamed-role",
}

#[test]
fn a_statement_with_wrong_shapes() {
    let text = include_str!("wrong/ics/statement.toml").to_owned();
    let problems = Ics::parse(Path::new("statement.toml"), text).expect_err("it is wrong");
    insta::assert_snapshot!(shown(&problems));
}

#[test]
fn a_statement_that_breaks_or_ignores_the_guideline() {
    let text = include_str!("wrong/ics/demands.toml").to_owned();
    let problems = Ics::parse(Path::new("demands.toml"), text).expect_err("it is wrong");
    insta::assert_snapshot!(shown(&problems));
}

#[test]
fn an_inline_pin_is_accepted_in_a_virtual_rig_and_never_printed() {
    let text =
        include_str!("wrong/secret-in-file.toml").replace("class = \"lab\"", "class = \"virtual\"");
    let rig =
        Rig::parse(Path::new("lab.toml"), text).expect("secrets of virtual rigs are worth nothing");
    assert!(!format!("{:?}", rig.resources).contains("648219"));
}

#[test]
fn a_file_without_end_is_refused() {
    let error = Rig::load(Path::new("/dev/zero")).expect_err("too large");
    assert!(
        error
            .help()
            .is_some_and(|help| help.to_string().contains("the file you mean")),
        "{error}"
    );
}

#[test]
fn a_flood_of_mistakes_ends() {
    let flood: String = (0..20_000).map(|i| format!("k{i} = 1\n")).collect();
    let text =
        format!("schema = \"smgw-bench.rig/1\"\n[rig]\nname = \"lab\"\nsummary = \"\"\n{flood}");
    let problems = Rig::parse(Path::new("flood.toml"), text).expect_err("it is wrong");
    assert!((100..200).contains(&problems.iter().count()));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Rig::load(Path::new("no/such.toml")).expect_err("absent");
    insta::assert_snapshot!(shown(&error));
}

const VIRTUAL: &str = include_str!("../../../../rigs/virtual.toml");
const REFERENCE: &str = include_str!("../../../../rigs/ics/reference.toml");

proptest! {
    /// Whatever happens to a file, it is read or refused with places inside it, and the refusal can be printed.
    #[test]
    fn damaged_files_are_refused_in_good_order(
        rig in any::<bool>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, "[a-z\\[\\]\"={}.,\\-0-9 \n]{0,8}"), 1..6),
    ) {
        let mut text = if rig { VIRTUAL.to_owned() } else { REFERENCE.to_owned() };
        for (at, length, insert) in cuts {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &insert);
        }
        let path = Path::new("damaged.toml");
        let problems = match rig {
            true => Rig::parse(path, text.clone()).err(),
            false => Ics::parse(path, text.clone()).err(),
        };
        if let Some(problems) = problems {
            prop_assert!(problems.iter().count() > 0);
            for problem in problems.iter() {
                prop_assert!(text.get(problem.span()).is_some(), "{problem} at {:?}", problem.span());
            }
            shown(&problems);
        }
    }

    #[test]
    fn arbitrary_text_is_refused_in_good_order(text in "\\PC{0,200}") {
        let path = Path::new("arbitrary.toml");
        for schema in ["", "schema = \"smgw-bench.assumptions/1\"\n", "schema = \"smgw-bench.plan/1\"\n"] {
            let text = format!("{schema}{text}");
            let _ = Plan::parse(path, &text);
            let _ = Assumptions::parse(path, text);
        }
    }
}
