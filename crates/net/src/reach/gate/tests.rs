//! Hostile peers at the gate: their statements, and that nothing comes of them.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn all(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn gate() -> Gate {
    Gate::new(Scope::of)
}

const LAN: &str = "/ip4/192.168.1.7/tcp/1";
const NEAR: &str = "/ip4/192.168.1.8/tcp/1";
const HERE: &str = "/ip4/127.0.0.1/tcp/1";
const FAR: &str = "/ip4/8.8.8.8/tcp/1";
const NAME: &str = "/dns4/example.org/tcp/1";

#[test]
fn a_caller_from_afar_sends_nobody_into_nearer_networks() {
    let id = PeerId::random();
    let other = PeerId::random();
    let said = all(&[
        LAN,
        HERE,
        FAR,
        NAME,
        "/ip6/::ffff:10.0.0.1/tcp/1",
        "/ip6/fe80::1/tcp/1",
    ]);
    let learn = |informant| gate().learn(id, said.clone(), informant);
    let far = [ip("8.8.8.8")];
    let lan = [ip("192.168.1.7")];
    let here = [ip("127.0.0.1")];
    let both = [here[0], far[0]];
    assert_eq!(learn(Informant::Itself(&far)), all(&[FAR, NAME]));
    assert_eq!(
        learn(Informant::Itself(&[])),
        all(&[FAR, NAME]),
        "nobody knows whence"
    );
    assert_eq!(learn(Informant::Another(other, &far)), all(&[FAR, NAME]));
    // Over two connections it reaches as far as the farther one.
    assert_eq!(learn(Informant::Another(other, &both)), all(&[FAR, NAME]));
    assert_eq!(learn(Informant::Another(other, &lan)).len(), 4);
    // A neighbour hands on what anybody may have said.
    assert_eq!(learn(Informant::Forwarded(other, &here)), all(&[FAR, NAME]));
    assert!(!learn(Informant::Lan).contains(&all(&[HERE])[0]));
    assert!(learn(Informant::Itself(&here)).contains(&all(&[HERE])[0]));
}

/// It was started again at its machine, with another port, and its connection of before is not
/// known to be dead yet.
#[test]
fn where_a_peer_was_met_it_may_say_so_through_others() {
    let (id, other) = (PeerId::random(), PeerId::random());
    let here = [ip("192.168.1.9")];
    let mut gate = gate();
    assert!(
        gate.learn(id, all(&[LAN]), Informant::Forwarded(other, &here))
            .is_empty()
    );
    gate.connected(id, ip("192.168.1.7"));
    assert_eq!(
        gate.learn(id, all(&[LAN, NEAR]), Informant::Forwarded(other, &here)),
        all(&[LAN])
    );
    assert!(
        gate.learn(other, all(&[LAN]), Informant::Forwarded(id, &here))
            .is_empty(),
        "of another peer"
    );
}

#[test]
fn a_peer_is_where_it_calls_from() {
    let id = PeerId::random();
    let learn = |said: &[&str], from: &[&str]| {
        let from: Vec<IpAddr> = from.iter().map(|from| ip(from)).collect();
        gate().learn(id, all(said), Informant::Itself(&from)).len()
    };
    assert_eq!(learn(&[LAN], &["192.168.1.7"]), 1);
    assert_eq!(learn(&[NEAR], &["192.168.1.7"]), 0, "somebody else");
    assert_eq!(learn(&[NEAR], &["192.168.1.7", "192.168.1.8"]), 1);
    assert_eq!(learn(&["/ip4/9.9.9.9/tcp/1"], &["8.8.8.8"]), 0);
    assert_eq!(
        learn(&["/ip4/9.9.9.9/tcp/1"], &["192.168.1.7"]),
        1,
        "its router, perhaps"
    );
    let v6 = "/ip6/2606:4700:1:2::3/tcp/1";
    assert_eq!(
        learn(&[v6], &["8.8.8.8"]),
        1,
        "of the other family nothing is known"
    );
    assert_eq!(
        learn(&[v6], &["2606:4700:1:2:a:b:c:d"]),
        1,
        "it has many addresses there"
    );
    assert_eq!(learn(&[v6], &["2606:4700:1:3::3"]), 0);
}

#[test]
fn only_what_is_dialled_is_kept_and_of_each_kind_some() {
    let id = PeerId::random();
    let other = PeerId::random();
    let of_other = format!("{FAR}/p2p/{other}");
    let own = format!("{FAR}/p2p/{id}");
    let circuit = format!("{FAR}/p2p/{other}/p2p-circuit");
    let long = format!("/dns4/{}/tcp/1", "a".repeat(160));
    let said = [
        &own,
        &of_other,
        &circuit,
        &long,
        "/ip4/8.8.8.8/tcp/0",
        "/ip4/0.0.0.0/tcp/1",
    ];
    let learnt = gate().learn(id, all(&said), Informant::Lan);
    assert_eq!(learnt, all(&[&own]));

    let mut many: Vec<String> = (0..50).map(|n| format!("/ip6/2606:4700::{n}/tcp/1")).collect();
    many.extend([LAN.to_owned(), FAR.to_owned(), FAR.to_owned()]);
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let chosen = gate().learn(id, all(&many), Informant::Lan);
    assert_eq!(chosen.len(), ADDRESSES_MAX);
    for kept in [LAN, FAR] {
        let kept: Multiaddr = kept.parse().unwrap();
        assert_eq!(chosen.iter().filter(|&other| *other == kept).count(), 1, "{kept}");
    }
    assert_eq!(chosen.last(), Some(&all(&[LAN])[0]), "the far-reaching first");
}

/// A message of the hash table has room for thousands, all with the address that its sender calls
/// from.
#[test]
fn addresses_of_a_peer_take_time_by_their_number_and_not_by_its_square() {
    let address = |n: u32| -> Multiaddr {
        format!("/ip4/8.8.{}.{}/tcp/{}", n >> 8 & 0xff, n & 0xff, 1 + (n >> 16))
            .parse()
            .unwrap()
    };
    let many: Vec<Multiaddr> = (0..1 << 17).map(address).collect();
    let start = Instant::now();
    assert_eq!(best(many, Scope::of).len(), ADDRESSES_MAX);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn only_the_first_addresses_of_a_peer_are_read() {
    let nowhere = "/ip4/0.0.0.0/tcp/1";
    for (before, learnt) in [(SAID_MAX - 1, 1), (SAID_MAX, 0)] {
        let said = [vec![nowhere; before], vec![FAR]].concat();
        let chosen = gate().learn(PeerId::random(), all(&said), Informant::Lan);
        assert_eq!(chosen.len(), learnt, "{before}");
    }
}

#[test]
fn one_name_of_a_stranger_is_kept_and_no_chain_of_them() {
    let id = PeerId::random();
    let said = all(&[
        "/dnsaddr/example.org",
        NAME,
        "/dns6/example.net/tcp/1",
        "/dns/example.com/udp/1/quic-v1",
        FAR,
    ]);
    for informant in [Informant::Lan, Informant::Itself(&[])] {
        assert_eq!(gate().learn(id, said.clone(), informant), all(&[NAME, FAR]));
    }
    assert_eq!(gate().learn(id, said.clone(), Informant::Owner), said);
}

#[test]
fn no_flood_of_names_makes_a_node_look_up_more_than_so_many() {
    let mut gate = gate();
    let name = &all(&[NAME])[0];
    let owners = PeerId::random();
    gate.learn(owners, Vec::new(), Informant::Owner);
    let start = Instant::now();
    let mut lookups = 0;
    for turn in 0..36_000 {
        let now = start + Duration::from_millis(turn * 100);
        lookups += usize::from(gate.admit_name(Some(PeerId::random()), name, now).is_ok());
        assert_eq!(gate.admit_name(Some(owners), name, now), Ok(()));
        assert_eq!(gate.admit_name(None, name, now), Ok(()));
    }
    let most = NAMES_AT_ONCE as usize + 3600 / NAMES_EVERY.as_secs() as usize;
    assert!(lookups.abs_diff(most) <= 1, "{lookups}");
}

#[test]
fn a_name_leads_nowhere_that_its_peer_is_not_known_to_be() {
    let mut gate = gate();
    let now = Instant::now();
    let id = PeerId::random();
    gate.connected(PeerId::random(), ip("8.8.4.4"));
    assert_eq!(
        gate.learn(id, all(&[NAME]), Informant::Itself(&[ip("8.8.8.8")]))
            .len(),
        1
    );
    for inward in [
        "127.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:c0a8:101::1",
    ] {
        let refused = gate.admit(Some(id), ip(inward), now);
        assert!(
            matches!(refused, Err(Refusal::OutOfScope { .. })),
            "{inward}: {refused:?}"
        );
    }
    for nowhere in [
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "203.0.113.1",
        "::",
        "ff02::1",
        "2001:db8::1",
    ] {
        let refused = gate.admit(Some(id), ip(nowhere), now);
        assert!(
            matches!(refused, Err(Refusal::Nowhere(_))),
            "{nowhere}: {refused:?}"
        );
    }
    assert!(gate.admit(Some(id), ip("8.8.8.8"), now).is_ok());
    // Another peer of the local network is there, and not this one.
    gate.learn(PeerId::random(), all(&[LAN]), Informant::Lan);
    assert!(gate.admit(Some(id), ip("192.168.1.7"), now).is_err());
    gate.learn(id, all(&[LAN]), Informant::Lan);
    assert!(gate.admit(Some(id), ip("192.168.1.7"), now).is_ok());
}

#[test]
fn the_owner_sends_this_node_wherever_he_likes() {
    let mut gate = gate();
    let now = Instant::now();
    let id = PeerId::random();
    let said = all(&[
        "/dns4/bootstrap.home.arpa/udp/4001/quic-v1",
        "/ip4/192.0.2.1/tcp/1",
    ]);
    assert_eq!(gate.learn(id, said.clone(), Informant::Owner), said);
    for _ in 0..100 {
        assert!(gate.admit(Some(id), ip("192.168.1.1"), now).is_ok());
        assert!(gate.admit(None, ip("127.0.0.1"), now).is_ok());
    }
}

#[test]
fn the_hash_table_is_believed_as_far_as_this_node_has_connections() {
    let mut gate = gate();
    let now = Instant::now();
    let id = PeerId::random();
    assert!(
        gate.admit(Some(id), ip("10.9.1.1"), now).is_err(),
        "there is no table"
    );
    gate.connected(PeerId::random(), ip("10.9.2.254"));
    assert!(
        gate.admit(Some(id), ip("10.9.1.1"), now).is_ok(),
        "all is private"
    );
    assert!(gate.admit(Some(id), ip("127.0.0.1"), now).is_err());
    gate.connected(PeerId::random(), ip("8.8.8.8"));
    assert!(gate.admit(Some(id), ip("10.9.1.1"), now).is_err());
}

/// Names without end: how often they are dialled in an hour.
fn dials(at: impl Fn(u64) -> String) -> usize {
    let mut gate = gate();
    let start = Instant::now();
    let mut dials = 0;
    for turn in 0..36_000 {
        let now = start + Duration::from_millis(turn * 100);
        let admitted = gate.admit(Some(PeerId::random()), ip(&at(turn)), now);
        dials += usize::from(admitted.is_ok());
    }
    assert!(gate.hosts.len() <= BUDGETS_MAX && gate.subnets.len() <= BUDGETS_MAX);
    dials
}

#[test]
fn nobody_becomes_a_victim_of_what_many_say() {
    assert!(dials(|_| "8.8.8.8".into()) <= 10);
    assert!(dials(|turn| format!("8.8.8.{}", turn % 250)) <= 30);
    assert!(dials(|turn| format!("2606:4700:1:{:x}::{turn:x}", turn % 0xffff)) <= 30);
    // All spellings are one machine.
    let spelt =
        |turn| ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"][turn as usize % 4].into();
    assert!(dials(spelt) <= 10);
}

/// The most attempts in an hour, of peers that were chosen and of others.
const CHOSEN_IN_AN_HOUR: usize = CHOSEN_AT_ONCE as usize + 3_600_000 / CHOSEN_EVERY.as_millis() as usize;
const OTHERS_IN_AN_HOUR: usize = OTHERS_AT_ONCE as usize + 3600 / OTHERS_EVERY.as_secs() as usize;

#[test]
fn no_flood_of_names_makes_a_node_dial_more_than_so_often() {
    let everywhere = |turn: u64| format!("8.{}.{}.{}", turn / 256 % 256, turn % 256, turn / 65536 + 1);
    let count = dials(everywhere);
    assert!(count.abs_diff(OTHERS_IN_AN_HOUR) <= 1, "{count}");
    // Peers that libp2p dials by itself take nothing from those that were chosen.
    let mut gate = gate();
    let start = Instant::now();
    let mut count = 0;
    for turn in 0..36_000 {
        let now = start + Duration::from_millis(turn * 100);
        let _ = gate.admit(Some(PeerId::random()), ip(&everywhere(turn)), now);
        let id = PeerId::random();
        gate.choose(id);
        assert_eq!(
            gate.room(now) > 0,
            gate.for_chosen.room(now) >= ADDRESSES_MAX as u32
        );
        let at = everywhere(turn).replacen('8', "9", 1);
        count += usize::from(gate.admit(Some(id), ip(&at), now).is_ok());
    }
    assert!(count.abs_diff(CHOSEN_IN_AN_HOUR) <= 1, "{count}");
}

/// The ways to have a place dialled more often than it may be: by other machines in between, as
/// many as are remembered and more.
#[test]
fn a_resting_peer_rests_whichever_other_is_named() {
    let mut gate = gate();
    let mut now = Instant::now();
    let victim = ip("8.8.8.8");
    let mut dials = 0;
    for turn in 0..10 * BUDGETS_MAX as u32 {
        now += Duration::from_millis(10);
        let other = IpAddr::from((9 << 24 | turn << 8 | 1).to_be_bytes());
        let id = PeerId::random();
        gate.choose(id);
        let _ = gate.admit(Some(id), other, now);
        if turn % 10 == 0 {
            dials += usize::from(gate.admit(Some(PeerId::random()), victim, now).is_ok());
        }
    }
    assert!(gate.hosts.len() <= BUDGETS_MAX);
    assert!(dials <= 10, "{dials} within {} s", BUDGETS_MAX / 10);
}

#[test]
fn a_present_peer_is_not_kept_out_by_what_is_said_of_its_machine() {
    let mut gate = gate();
    let now = Instant::now();
    let [met, honest, liar] = [(); 3].map(|()| PeerId::random());
    gate.connected(met, ip("8.8.8.8"));
    while gate.admit(Some(PeerId::random()), ip("8.8.8.8"), now).is_ok() {}
    assert!(matches!(
        gate.admit(Some(liar), ip("8.8.8.8"), now),
        Err(Refusal::Resting { .. })
    ));
    for _ in 0..100 {
        assert!(
            gate.admit(Some(met), ip("8.8.8.8"), now).is_ok(),
            "it was met there"
        );
    }
    // The next one that is there makes up for those that were not.
    let later = now + Duration::from_secs(90);
    let attempt = gate.admit(Some(honest), ip("8.8.8.8"), later).unwrap();
    assert!(gate.admit(Some(liar), ip("8.8.8.8"), later).is_err());
    gate.reached(attempt, honest);
    assert!(gate.admit(Some(liar), ip("8.8.8.8"), later).is_ok());
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut gate = gate();
    for n in 0..3 * PLACES_MAX {
        let id = PeerId::random();
        gate.learn(id, all(&[LAN]), Informant::Lan);
        gate.learn(id, all(&[FAR]), Informant::Owner);
        gate.connected(id, IpAddr::from((n as u32 | 1 << 24).to_be_bytes()));
    }
    assert!(gate.of_owner.len() <= PLACES_MAX);
    assert!(gate.narrow.len() <= ADDRESSES_MAX * PLACES_MAX);
    assert!(gate.met.len() <= 2 * PLACES_MAX);
}
