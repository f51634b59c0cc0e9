// SPDX-License-Identifier: MIT OR Apache-2.0
//! Evaluation profiles as administrators write them: the examples of all tariff use cases, and what is refused why.

use std::fs;
use std::path::PathBuf;

use smgw_core::profile::EvaluationProfile;

fn example(taf: u8) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../fixtures/profiles");
    let path = root.join(format!("taf-{taf:02}.toml"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(text: &str) -> Result<EvaluationProfile, String> {
    toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
}

#[test]
fn every_use_case_has_an_example_that_survives_toml_and_json() {
    for taf in 1..=14 {
        let profile = read(&example(taf)).unwrap_or_else(|error| panic!("TAF {taf}: {error}"));
        assert_eq!(profile.use_case().number(), taf);
        let again = toml::to_string(&profile).unwrap();
        assert_eq!(read(&again), Ok(profile.clone()), "{again}");
        let json = serde_json::to_string(&profile).unwrap();
        assert_eq!(
            serde_json::from_str::<EvaluationProfile>(&json).unwrap(),
            profile
        );
    }
}

/// One change to an example, and the beginning of the reason for refusing it.
const REFUSALS: &[(u8, &str, &str, &str)] = &[
    (
        1,
        "household.taf1",
        "Household",
        "a name has 1 to 64 characters",
    ),
    (
        1,
        "months = 1",
        "days = 30",
        "billing: TAF 1 bills at least one calendar month",
    ),
    (
        1,
        "months = 1",
        "seconds = 900",
        "billing: seconds are for rehearsals",
    ),
    (
        1,
        "months = 1",
        "months = 0",
        "billing: expected 1 to 120 months",
    ),
    (
        1,
        "[billing]",
        "[send]\nevery = \"day\"\n[billing]",
        "send.every: TAF 1 must not send so often",
    ),
    (
        1,
        "recipients",
        "registration-period = 60\nrecipients",
        "registration-period: billing needs a multiple of 900 s",
    ),
    (
        1,
        "recipients",
        "registration-period = 0\nrecipients",
        "registration-period: expected 1 second to 31 days",
    ),
    (
        1,
        "recipients",
        "time-zone = \"Europe/Atlantis\"\nrecipients",
        "time-zone: no such time zone",
    ),
    (
        1,
        "\"supplier\"",
        "\"supplier\", \"supplier\"",
        "recipients: supplier is there twice",
    ),
    (1, "1smb0000000001", "1smb000000000x", "not a device id"),
    (1, "1-0:1.8.0*255", "1-0:1.8", "not an OBIS code"),
    (
        1,
        "[use-case.taf-1]",
        "[use-case.taf-15]",
        "unknown variant `taf-15`",
    ),
    (
        1,
        "[use-case.taf-1]",
        "[use-case.taf-1]\nn = 1",
        "unexpected keys in table: n",
    ),
    (
        1,
        "recipients",
        "colour = 1\nrecipients",
        "unknown field `colour`",
    ),
    (
        2,
        "digits = 9",
        "digits = 19",
        "input[0].digits: expected 1 to 18 digits",
    ),
    (
        2,
        "to = \"2026",
        "to = \"2024",
        "validity: `to` must be later than `from`",
    ),
    (
        2,
        "2025-12-31T23:00:00Z",
        "2025-12-31T23:00:00.5Z",
        "not an instant",
    ),
    (
        2,
        "1-0:1.8.2*255",
        "1-0:1.8.63*255",
        "use-case.taf-2.steps: 1-0:1.8.63*255 is no tariff register",
    ),
    (
        2,
        "1-0:1.8.2*255",
        "1-0:2.8.2*255",
        "use-case.taf-2.steps: 1-0:2.8.2*255 is a register of another quantity",
    ),
    (
        2,
        "default-step = 2",
        "default-step = 3",
        "use-case.taf-2.default-step: there are the steps 1 to 2, not 3",
    ),
    (
        2,
        "\"06:00\", 1], [\"22",
        "\"06:10\", 1], [\"22",
        "use-case.taf-2.day-profile[0].switches: 06:10 is not on the grid of 900 s",
    ),
    (
        2,
        "\"22:00\"",
        "\"05:00\"",
        "use-case.taf-2.day-profile[0].switches: 05:00 does not follow",
    ),
    (
        2,
        "\"22:00\"",
        "\"24:00\"",
        "use-case.taf-2.day-profile[0].switches: `24:00` is no time of day",
    ),
    (
        2,
        "day = \"weekend\"",
        "day = \"sunday\"",
        "use-case.taf-2.special-day[0].day: there is no day profile sunday",
    ),
    (
        2,
        "start = \"10-01\"",
        "start = \"03-01\"",
        "use-case.taf-2.season[1].start: 03-01 does not follow",
    ),
    (
        2,
        "date = \"12-25\"",
        "date = \"02-30\"",
        "use-case.taf-2.special-day[0].date: `02-30` is no day",
    ),
    (
        2,
        "period = 900",
        "period = 86400",
        "registration-period: switch times of this legal time are not on the grid",
    ),
    (
        2,
        "default-step",
        "colour = 1\ndefault-step",
        "unknown field `colour`",
    ),
    (
        3,
        "\"11000\"",
        "\"4200.0\"",
        "use-case.taf-3.bounds: expected ascending numbers",
    ),
    (
        3,
        ", \"11000\"",
        "",
        "use-case.taf-3.bounds: expected one bound between each two steps",
    ),
    (3, "\"11000\"", "\"1e4\"", "not a decimal number"),
    (
        5,
        "step = 2",
        "step = 3",
        "use-case.taf-5.events: expected a step from 1 to 2",
    ),
    (
        6,
        "06:00",
        "06:10",
        "use-case.taf-6.day-start: expected a time of day",
    ),
    (
        7,
        "1smb0000000002",
        "1smb0000000001",
        "input[1]: this register is there twice",
    ),
    (
        8,
        "maxima = 3",
        "maxima = 33",
        "use-case.taf-8.maxima: expected 0 to 32, found 33",
    ),
    (
        10,
        "pseudonymous = true",
        "pseudonymous = false",
        "pseudonymous: the state of the grid",
    ),
    (
        10,
        "1-0:32.7.0*255\"\nabove",
        "1-0:52.7.0*255\"\nabove",
        "use-case.taf-10.thresholds: 1-0:52.7.0*255 is no input",
    ),
    (
        12,
        "\"20000\"",
        "\"-1\"",
        "use-case.taf-12.credit: expected no negative number",
    ),
];

#[test]
fn a_profile_is_refused_as_a_whole_with_the_field_that_is_wrong() {
    for (taf, from, to, reason) in REFUSALS {
        let good = example(*taf);
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{from} is not in the example of TAF {taf}");
        let refusal = read(&bad).expect_err(reason);
        assert!(refusal.starts_with(reason), "{to}: {refusal}");
    }
}

#[test]
fn a_rehearsal_may_be_short() {
    let hasty = example(2)
        .replace(
            "registration-period = 900",
            "registration-period = 15\nrehearsal = true",
        )
        .replace("months = 1", "seconds = 60");
    let switches: Vec<String> = (0..2_880)
        .map(|index| {
            let at = index * 30;
            let (hour, minute, second) = (at / 3_600, at / 60 % 60, at % 60);
            format!("[\"{hour:02}:{minute:02}:{second:02}\", {}]", index % 2 + 1)
        })
        .collect();
    let often = hasty.replace("[\"06:00\", 1], [\"22:00\", 2]", &switches.join(", "));
    assert_eq!(
        read(&often).map(|profile| profile.registration_period()),
        Ok(15)
    );
    let too_many = often.replace(
        "[[\"00:00:00\"",
        &format!("[{}[\"00:00:00\"", "[\"00:00:00\", 1], ".repeat(200)),
    );
    assert!(
        read(&too_many)
            .unwrap_err()
            .contains("expected 1 to 3000, found 3080")
    );
}
