//! The scenario files that are read, and the refusals of others.

use super::*;

const SMALL: &str = r#"
    [[requesters]]
    name = "rollup"
    gas = 1e6

    [[machines]]
    name = "home"
    count = 10
"#;

fn error(text: &str) -> String {
    ScenarioFile::parse(text).unwrap_err().to_string()
}

#[test]
fn what_is_not_said_is_as_documented() {
    let file = ScenarioFile::parse(SMALL).unwrap();
    assert_eq!(file.redundancy, Copies::Adaptive);
    assert_eq!(file.machines[0].up_mbit, Spread::One(20.0));
    assert_eq!(file.requesters[0].work(), 5.2e6);
    assert_eq!(file.requesters[0].blocks(0.0), 1);
    // It is the same when it is written down and read again.
    let written = toml::to_string(&file).unwrap();
    assert_eq!(ScenarioFile::parse(&written).unwrap(), file);
}

#[test]
fn numbers_and_ranges_are_both_read() {
    let text = format!("redundancy = 5\n{SMALL}\nspeed = [0.5, 2]\nwasters = [\"silent\", \"garbage\"]");
    let file = ScenarioFile::parse(&text).unwrap();
    assert_eq!(file.redundancy, Copies::Fixed(5));
    assert_eq!(file.machines[0].speed, Spread::Between([0.5, 2.0]));
    assert_eq!(file.machines[0].speed.most(), 2.0);
    let slower = [Spread::One(1.0), file.machines[0].speed].map(|speed| speed.times(0.5));
    assert_eq!(slower, [Spread::One(0.5), Spread::Between([0.25, 1.0])]);
    assert_eq!(file.machines[0].wasters, [Habit::Silent, Habit::Garbage]);
}

#[cfg(unix)]
#[test]
fn a_file_without_end_is_not_read_to_it() {
    let endless = ScenarioFile::load(Path::new("/dev/zero"));
    assert!(matches!(endless, Err(ScenarioError::Long)), "{endless:?}");
}

#[test]
fn errors_name_the_place_and_what_is_allowed() {
    for (text, parts) in [
        (format!("{SMALL}\nspeeed = 1"), ["speeed", "speed"]),
        (
            format!("{SMALL}\nhonest = 1.5"),
            ["honest of machines \"home\" is 1.5", "from 0 to 1"],
        ),
        (
            format!("{SMALL}\nspeed = [2, 1]"),
            ["speed of machines \"home\" is 1", "from 2"],
        ),
        (format!("{SMALL}\nwasters = [\"idle\"]"), ["idle", "pretends"]),
        (
            format!("{SMALL}\nhonest = 0.5\nwasters = []"),
            ["wasters", "empty"],
        ),
        (format!("seeds = 0\n{SMALL}"), ["seeds is 0", "10000"]),
        (
            SMALL
                .replace("count = 10", "count = 200000")
                .replace("gas", "count = 26\n        gas"),
            ["summed over requesters, is 5200000", "to 5000000"],
        ),
        (
            format!(
                "seeds = 10000\n{}",
                SMALL.replace("gas", "count = 101\n        gas")
            ),
            ["blocks of all worlds is 1010000", "to 1000000"],
        ),
        (format!("redundancy = \"much\"\n{SMALL}"), ["redundancy", ""]),
        (
            SMALL.replace("gas = 1e6", ""),
            ["not said", "`gas` or `instructions`"],
        ),
        (
            SMALL.replace("gas = 1e6", "gas = 1e6\ninstructions = 5"),
            ["said twice", "either"],
        ),
        (
            SMALL.replace("count = 10", "count = 0"),
            ["the number of machines is 0", "200000"],
        ),
        (SMALL.replace("count = 10", "count = -1"), ["-1", "u64"]),
        (
            "[[machines]]\nname = \"a\"\ncount = 1".into(),
            ["the number of requesters is 0", "1000"],
        ),
        (
            format!(
                "hours = 8000\n{}",
                SMALL.replace("gas = 1e6", "gas = 1e6\nevery_s = 0.01")
            ),
            ["the number of blocks", "1000000"],
        ),
        (format!("hours = nan\n{SMALL}"), ["hours is NaN", "from 0"]),
        ("requesters = 7".into(), ["requesters", "sequence"]),
    ] {
        let error = error(&text);
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}
