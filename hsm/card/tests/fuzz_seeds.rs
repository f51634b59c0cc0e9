// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fuzzed properties over their seeds and many mutations of them.

mod properties;

use test_material::hold;

#[test]
fn card_profile() {
    hold("card_profile", b"\"11\"", 300, properties::profile);
}

#[test]
fn card_directory() {
    hold(
        "card_directory",
        &[0x81, 1, 0x41],
        3000,
        properties::directory,
    );
}

/// Each run has a PACE of its own, hence fewer of them.
#[test]
fn card_answers() {
    hold("card_answers", &[2, 0x90, 0], 100, properties::answers);
}

/// The seeds lead to where the parsers are.
#[test]
fn seeds_of_answers_are_taken_for_results() {
    let seeds = test_material::seeds("card_answers");
    let taken = |name: &str| {
        let seed = seeds.iter().find(|(seed, _)| seed == name).unwrap();
        properties::taken(&seed.1)
    };
    let personalised = taken("personalised");
    for (what, count) in [
        ("phase", 1),
        ("random bytes", 1),
        ("secret", 1),
        ("public key", 3),
        ("signature", 2),
        ("object", 2),
        ("new object", 1),
    ] {
        let found = personalised.iter().filter(|one| **one == what).count();
        assert_eq!(found, count, "{what} in {personalised:?}");
    }
    assert!(taken("refusing").is_empty());
}
