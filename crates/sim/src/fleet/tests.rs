//! Worlds whose outcome is known beforehand.

use std::{fs, path::Path};

use myriad_cost::lawful::timeless;

use super::*;

/// Links on which nothing takes time, and a profile whose tasks follow a simple law.
fn setup(text: &str) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let profile = timeless();
    let text = format!("{text}\n").replace("$LAW", &format!("costs_of = {:?}", profile.programs[0].name));
    fs::write(dir.path().join("law.json"), serde_json::to_vec(&profile).unwrap()).unwrap();
    Setup::new(ScenarioFile::parse(&text).unwrap(), dir.path()).unwrap()
}

const ONE_BLOCK: &str = "
    [[requesters]]
    name = \"r\"
    instructions = 3e6
    $LAW
    program_mb = 0
    input_mb = 0
    up_mbit = 1e6
    down_mbit = 1e6
    latency_ms = 0
";
/// Two that have a block every ten minutes.
fn stream() -> String {
    ONE_BLOCK.replace("name = \"r\"", "name = \"r\"\n    count = 2\n    every_s = 600")
}

fn home(count: u32, more: &str) -> String {
    format!(
        "
    [[machines]]
    name = \"m\"
    count = {count}
    profile = \"law.json\"
    threads = 2
    memory_gib = 16
    up_mbit = 1e6
    down_mbit = 1e6
    latency_ms = 0
    {more}"
    )
}

fn play(text: &str) -> Outcome {
    simulate(&setup(text), |_| ())
}

fn near(actual: f64, expected: f64, by: f64) {
    assert!(
        (actual / expected - 1.0).abs() < by,
        "{actual} where {expected} is expected"
    );
}

#[test]
fn one_machine_takes_the_sum_of_all_tasks() {
    let setup = setup(&[ONE_BLOCK, &home(1, "")].concat());
    let plan = setup.plans().next().unwrap().1.clone();
    let outcome = simulate(&setup, |_| ());
    // A few milliseconds a task to make proofs durable.
    near(outcome.makespan_s.unwrap().mean, plan.machine_s, 1e-2);
    near(outcome.worlds[0].counts.accepted_s, plan.machine_s, 1e-3);
    near(outcome.utilisation, 1.0, 1e-2);
    assert!(
        outcome.all_proven && outcome.wasted.abs() < 1e-6,
        "{}",
        outcome.wasted
    );
    // A machine at half the speed takes twice as long.
    let slow = play(&[ONE_BLOCK, &home(1, "speed = 0.5")].concat());
    near(slow.makespan_s.unwrap().mean, 2.0 * plan.machine_s, 1e-2);
}

#[test]
fn a_stream_takes_the_part_of_the_fleet_that_its_work_is() {
    let text = ["hours = 10", &stream(), &home(4, "known = true")].concat();
    let setup = setup(&text);
    let machine_s = setup.plans().next().unwrap().1.machine_s;
    let outcome = simulate(&setup, |_| ());
    assert!(outcome.all_proven && !outcome.lag_grows);
    let world = &outcome.worlds[0];
    assert_eq!((world.blocks, world.requesters.len()), (120, 2));
    assert_eq!(world.requesters[1].name, "r 2");
    near(world.counts.accepted_s, 120.0 * machine_s, 1e-2);
    let expected = 2.0 * machine_s / (4.0 * 600.0);
    let actual = world.counts.accepted_s / (4.0 * world.end_s);
    near(actual, expected, 0.05);
    let working: f64 = world.timeline.iter().map(|moment| moment.working).sum();
    near(
        working / world.timeline.len() as f64,
        4.0 * world.utilisation,
        0.05,
    );
}

/// Machines that wait for nothing but a wake cost nothing, however many there are.
#[test]
fn parked_machines_cause_no_events() {
    let known = |count| {
        let text = ["hours = 2", &stream(), &home(count, "known = true")].concat();
        let outcome = play(&text);
        assert!(outcome.all_proven);
        outcome.worlds[0].counts.inputs
    };
    let (few, many) = (known(200), known(4200));
    // Each of the others is refused once by each of the two, before it is parked there. Others get
    // the tasks, and a few more or fewer are copied. At every block and every half minute it would
    // be hundreds for each.
    let once = 2 * 4000;
    assert!(
        many <= few + few / 10 + once,
        "{few} inputs with 200 machines, {many} with 4200"
    );
}

/// The first block finds no machine parked and is announced; the second one finds all machines
/// parked.
#[test]
fn a_woken_machine_starts_as_soon_as_one_that_asks() {
    let block = ONE_BLOCK
        .replace("latency_ms = 0", "latency_ms = 80")
        .replace("name = \"r\"", "name = \"r\"\n    every_s = 600");
    let fleet = home(40, "known = true").replace("latency_ms = 0", "latency_ms = 120");
    let outcome = play(&["hours = 0.35", &block, &fleet].concat());
    let history = &outcome.worlds[0].requesters[0].history;
    let lag_s = |block: usize| history[block].lag_s().unwrap();
    assert_eq!(history.len(), 2);
    assert!(lag_s(1) <= lag_s(0) + 1e-3, "{} {}", lag_s(0), lag_s(1));
}

#[test]
fn a_requester_with_room_for_some_has_these_at_work() {
    let room = |connections: &str| {
        let stream = stream().replace("count = 2", &format!("count = 3\n    {connections}"));
        play(&["hours = 1", &stream, &home(30, "known = true")].concat())
    };
    let (some, all) = (room("connections = 10"), room(""));
    assert!(some.all_proven && all.all_proven);
    // Each machine is refused by no more than the one requester that it is connected to, and by all
    // three.
    let inputs = |outcome: &Outcome| outcome.worlds[0].counts.inputs;
    assert!(inputs(&some) < inputs(&all), "{} {}", inputs(&some), inputs(&all));
}

/// The switches for questions in reports: each must at least do what it says.
#[test]
fn what_is_not_built_changes_what_it_says() {
    let slow = ONE_BLOCK
        .replace("latency_ms = 0", "latency_ms = 100")
        .replace("input_mb = 0", "input_mb = 1");
    let played = |what_if: &str| {
        let text = [&format!("[what_if]\n{what_if}\n"), &slow, &home(40, "")[..]].concat();
        let outcome = play(&text);
        assert!(outcome.all_proven, "{what_if}");
        outcome
    };
    let usual = played("");
    let makespan_s = |outcome: &Outcome| outcome.makespan_s.unwrap().mean;
    for faster in ["ahead = true", "early = true", "pushed = true", "at_hand = true"] {
        let (with, without) = (makespan_s(&played(faster)), makespan_s(&usual));
        assert!(with < without, "{faster}: {with} {without}");
    }
    // One machine does all tasks. Nodes of a level follow each other, but for the last one.
    let reference = |what_if: &str| {
        let block = ONE_BLOCK.replace("$LAW", "");
        let alone = home(1, "").replace("profile = \"law.json\"", "");
        makespan_s(&play(
            &[&format!("[what_if]\n{what_if}\n"), &block, &alone[..]].concat(),
        ))
    };
    let (warm, cold) = (reference("warm = true"), reference(""));
    assert!(warm < cold, "{warm} {cold}");
    let received = |outcome: &Outcome| outcome.worlds[0].requesters[0].down_bytes;
    assert!(received(&played("delegated = true")) < received(&usual));
    let copies = |outcome: &Outcome| outcome.worlds[0].counts.input_copies;
    // There is work for more machines than a swarm is sent inputs for.
    let slow = slow.replace("instructions = 3e6", "instructions = 3e7");
    let played = |what_if: &str| {
        play(
            &[
                &format!("[what_if]\nannounced = false\n{what_if}\n"),
                &slow,
                &home(40, "")[..],
            ]
            .concat(),
        )
    };
    let (with, without) = (copies(&played("swarm = true")), copies(&played("")));
    assert!(with <= 8 && without > 8, "{with} {without}");
    let arities = setup(&["[what_if]\narities = [1, 1, 2]\n", ONE_BLOCK, &home(4, "")].concat());
    let plan = arities.plans().next().unwrap().1;
    assert_eq!(
        (
            plan.arities.leaf,
            plan.arities.internal_for_leaf,
            plan.arities.internal_recursive
        ),
        (1, 1, 2)
    );
}

/// A block over a link of so many Mbit/s, announced before it is executed and after.
fn announced_over(up_mbit: u32) -> [Outcome; 2] {
    ["true", "false"].map(|announced| {
        let outcome = play(&format!(
            "
            [what_if]
            announced = {announced}
            [[requesters]]
            name = \"r\"
            gas = 30e6
            program_mb = 0
            up_mbit = {up_mbit}
            [[machines]]
            name = \"m\"
            count = 100
            known = true
            "
        ));
        assert!(outcome.all_proven);
        outcome
    })
}

#[test]
fn files_that_are_fetched_during_the_execution_save_time_over_every_link() {
    for up_mbit in [20, 100, 1000, 10_000] {
        let [with, without] = announced_over(up_mbit).map(|outcome| outcome.makespan_s.unwrap().mean);
        assert!(with < without, "{up_mbit} Mbit/s: {with} {without}");
    }
}

#[test]
fn the_faster_a_requesters_link_the_more_copies_go_over_it_and_over_a_homes_eight() {
    let copies = [20, 100, 1000].map(|up_mbit| {
        let [with, without] = announced_over(up_mbit).map(|outcome| outcome.worlds[0].counts.input_copies);
        assert!(without > 50, "{up_mbit} Mbit/s: {without}");
        with
    });
    assert!(
        copies[0] <= 8 && copies.is_sorted() && copies[2] > 8,
        "{copies:?}"
    );
}

/// Machines that fetch beforehand are the ones that begin: in a stream they are woken first.
#[test]
fn announcing_slows_no_stream_down() {
    let [with, without] = ["true", "false"].map(|announced| {
        let outcome = play(&format!(
            "
            hours = 0.05
            patience_hours = 0.2
            [what_if]
            announced = {announced}
            [[requesters]]
            name = \"r\"
            count = 2
            every_s = 30
            gas = 10e6
            up_mbit = 10_000
            [[machines]]
            name = \"m\"
            count = 1000
            known = true
            "
        ));
        assert!(outcome.all_proven);
        outcome.lag_s.unwrap().median
    });
    assert!(with < without, "{with} {without}");
}

#[test]
fn segments_that_are_given_out_as_they_are_cut_save_a_part_of_the_execution() {
    let played = |gas: &str, what_if: &str| {
        let outcome = play(&format!(
            "
            [what_if]
            announced = true
            {what_if}
            [[requesters]]
            name = \"r\"
            gas = {gas}
            program_mb = 0
            [[machines]]
            name = \"m\"
            count = 500
            known = true
            "
        ));
        assert!(outcome.all_proven, "{gas} {what_if}");
        outcome
    };
    let makespan_s = |outcome: &Outcome| outcome.makespan_s.unwrap().mean;
    let opened_s = |outcome: &Outcome| outcome.worlds[0].requesters[0].history[0].opened_s.unwrap();
    let (with, without) = (played("30e6", "streamed = true"), played("30e6", ""));
    let sooner_s = opened_s(&without) - opened_s(&with);
    assert!(sooner_s > 1.0, "{sooner_s}");
    let saved_s = makespan_s(&without) - makespan_s(&with);
    assert!(saved_s > sooner_s / 4.0, "{saved_s} of {sooner_s}");
    // A small block is executed before it is opened.
    let (with, without) = (played("1e6", "streamed = true"), played("1e6", ""));
    assert_eq!(
        (makespan_s(&with), opened_s(&with)),
        (makespan_s(&without), opened_s(&without))
    );
}

#[test]
fn a_stream_that_is_too_much_lags_more_and_more() {
    let text = ["hours = 6\npatience_hours = 0", &stream(), &home(1, "")].concat();
    let outcome = play(&text.replace("every_s = 600", "every_s = 60"));
    assert!(outcome.lag_grows && !outcome.all_proven);
    assert!(outcome.utilisation > 0.99, "{}", outcome.utilisation);
    assert!(outcome.makespan_s.is_none());
}

#[test]
fn the_same_seed_has_the_same_outcome_and_another_one_another() {
    let fleet = home(
        20,
        "speed = [0.5, 2]\nbusy = 0.1\nhonest = 0.6\nwasters = [\"silent\", \"garbage\", \"fails\"]\nonline_h = 0.05\noffline_h = 0.02\nvanishes = 0.5",
    );
    let text = ["seeds = 3", ONE_BLOCK, &fleet].concat();
    let (first, second) = (play(&text), play(&text));
    assert_eq!(first, second);
    assert!(first.all_proven);
    assert_eq!(first.makespan_s.unwrap().count, 3);
    let makespans: Vec<Option<f64>> = first.worlds.iter().map(|world| world.makespan_s).collect();
    assert!(makespans[0] != makespans[1] && makespans[1] != makespans[2]);
    let counts = |of: fn(&Counts) -> u64| first.worlds.iter().map(|world| of(&world.counts)).sum::<u64>();
    let (banned, leavings) = (counts(|counts| counts.banned), counts(|counts| counts.leavings));
    assert!(banned > 0 && leavings > 0, "{banned} banned, {leavings} left");
    assert!(first.wasted > 0.0);
    assert_eq!(first.blocks_csv().lines().count(), 1 + 3);
    assert!(first.timeline_csv().lines().count() > 3);
    assert!(charts(&first).iter().any(|(name, _)| *name == "makespan"));
    for (name, chart) in charts(&first) {
        assert!(chart.svg().is_ok(), "{name}");
    }
}

#[test]
fn every_way_to_waste_time_is_survived() {
    for waster in [
        "silent",
        "pretends",
        "garbage",
        "replays",
        "withholds",
        "hands-back",
        "fails",
        "boasts",
    ] {
        let fleet = home(20, &format!("honest = 0.4\nwasters = [{waster:?}]"));
        let outcome = play(&["patience_hours = 1", ONE_BLOCK, &fleet].concat());
        assert!(outcome.all_proven, "{waster}");
    }
}

#[test]
fn a_machine_that_threw_a_block_away_does_not_fetch_it_from_itself() {
    let stream = stream()
        .replace("count = 2", "count = 20")
        .replace("input_mb = 0", "input_mb = 1");
    let outcome = play(&["hours = 0.5", &stream, &home(8, "known = true")].concat());
    assert!(outcome.all_proven);
}

#[test]
fn unreachable_machines_have_the_requester_serve_all() {
    let text = [
        &ONE_BLOCK.replace("input_mb = 0", "input_mb = 1"),
        &home(8, "nat = 1.0")[..],
    ]
    .concat();
    let behind = play(&text);
    let open = play(&text.replace("nat = 1.0", "nat = 0.0"));
    let up = |outcome: &Outcome| outcome.worlds[0].requesters[0].up_bytes;
    assert_eq!(behind.worlds[0].counts.between_bytes, 0);
    assert!(open.worlds[0].counts.between_bytes > 0);
    assert!(up(&behind) > up(&open), "{} {}", up(&behind), up(&open));
    assert!(up(&behind) >= 8_000_000);
}

#[test]
fn a_narrow_uplink_is_waited_for() {
    // Nobody can pass it on: 8 copies of a megabyte at a megabyte a second.
    let text = [
        &ONE_BLOCK
            .replace("input_mb = 0", "input_mb = 10")
            .replace("up_mbit = 1e6", "up_mbit = 8"),
        &home(8, "nat = 1.0")[..],
    ]
    .concat();
    let wide = play(&text.replace("up_mbit = 8\n", "up_mbit = 8e5\n"));
    let narrow = play(&text);
    // The k-th copy is there after k times 10 s, and nothing gets through faster than the link is.
    let fetching_s = narrow.worlds[0].counts.fetching_s;
    assert!(
        fetching_s >= (1..=8).map(|k| 10.0 * f64::from(k)).sum(),
        "{fetching_s}"
    );
    let up_s = narrow.worlds[0].requesters[0].up_bytes as f64 / 1e6;
    let [narrow, wide] = [narrow, wide].map(|outcome| outcome.makespan_s.unwrap().mean);
    assert!(
        up_s >= 80.0 && narrow >= up_s && narrow >= wide + 80.0,
        "{narrow} {wide} {up_s}"
    );
}

#[test]
fn impossible_fleets_are_refused() {
    let parse = |text: &str| ScenarioFile::parse(text).unwrap();
    let refused = |text: &str| {
        Setup::new(parse(text), Path::new("."))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let block = "[[requesters]]\nname = \"r\"\ngas = 1e6\n[[machines]]\nname = \"m\"\ncount = 3\n";
    for (more, parts) in [
        (
            "memory_gib = 0.45",
            ["cannot be proven by this fleet", "bytes of memory"],
        ),
        ("honest = 0.0", ["cannot be proven by this fleet", "no machine"]),
        ("profile = \"none.json\"", ["machines \"m\"", "cannot be read"]),
    ] {
        let error = refused(&[block, more].concat());
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
    let other = block.replace("gas = 1e6", "gas = 1e6\ncosts_of = \"doom\"");
    assert!(refused(&other).contains("there are those of fibonacci, evm-block"));
}

/// The report's scenarios, which `myriad simulate` takes as they are.
#[test]
fn the_scenarios_of_the_report_are_possible() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/report/scenarios");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let file = ScenarioFile::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Machines that are all alike end at the same moment, and then wait for each other.
        let fleets = file.machines.iter().filter(|table| table.count > 1);
        for table in fleets {
            assert_eq!(table.speed, Spread::Between([0.9, 1.1]), "{}", path.display());
        }
        Setup::new(file, &folder).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
