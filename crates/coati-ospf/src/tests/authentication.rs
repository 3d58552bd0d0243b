//! RFC 2328 appendix D, RFC 5709, RFC 7474: who is let in, and what others can do.

use super::*;

fn key(id: u8, algorithm: KeyAlgorithm, secret: &str) -> Key {
    let (send, accept) = (Lifetime::default(), Lifetime::default());
    Key { id, algorithm, secret: Secret::new(secret.into()), send, accept }
}

fn password(text: &str) -> Authentication {
    Authentication::Simple(Secret::new(text.into()))
}

/// Two routers with these, one each.
fn pair(a: Authentication, b: Authentication) -> World {
    let mut world = World::apart(2, 1);
    let now = world.now;
    for router in &mut world.routers {
        router.set_clock(now, 1_700_000_000);
    }
    (0..2).for_each(|router| world.lan(router));
    let both = [a, b];
    world.lay(0, 1, |end, config| config.1.authentication = both[end].clone());
    world
}

const ALGORITHMS: [KeyAlgorithm; 5] = [
    KeyAlgorithm::Md5,
    KeyAlgorithm::HmacSha1,
    KeyAlgorithm::HmacSha256,
    KeyAlgorithm::HmacSha384,
    KeyAlgorithm::HmacSha512,
];

#[test]
fn every_kind() {
    let mut kinds = vec![password("12345678"), password("short")];
    for algorithm in ALGORITHMS {
        for secret in [
            "secret",
            "a key that is longer than every digest there is, and longer than a block of SHA-512 too, \
                                  which is 128 bytes long, as this text is as well",
        ] {
            kinds.push(Authentication::Cryptographic(vec![key(1, algorithm, secret)]));
            if algorithm != KeyAlgorithm::Md5 {
                kinds.push(Authentication::Extended(vec![key(1, algorithm, secret)]));
            }
        }
    }
    for kind in kinds {
        let mut world = pair(kind.clone(), kind.clone());
        assert!(world.run_until(Duration::from_secs(2), World::converged), "{kind:?} {}", world.story());
    }
}

#[test]
fn what_differs_is_explained_without_the_key() {
    let digest = |id, algorithm, secret| Authentication::Cryptographic(vec![key(id, algorithm, secret)]);
    let md5 = || digest(1, KeyAlgorithm::Md5, "geheim");
    let cases = [
        (md5(), Authentication::None, "uses no authentication, we use message-digest authentication"),
        (Authentication::None, md5(), "uses message-digest authentication, we use no authentication"),
        (password("geheim"), password("anders"), "has another password"),
        (md5(), digest(2, KeyAlgorithm::Md5, "geheim"), "uses key 2, which we do not have"),
        (md5(), digest(1, KeyAlgorithm::Md5, "anders"), "has another key 1"),
        (md5(), digest(1, KeyAlgorithm::HmacSha256, "geheim"), "has another key 1 or another algorithm"),
    ];
    let extended = Authentication::Extended(vec![key(1, KeyAlgorithm::HmacSha1, "geheim")]);
    let other = Authentication::Extended(vec![key(1, KeyAlgorithm::HmacSha1, "anders")]);
    let more = [
        (
            extended.clone(),
            md5(),
            "uses message-digest authentication, we use message-digest authentication with ext",
        ),
        (
            md5(),
            extended.clone(),
            "uses message-digest authentication with extended sequence numbers, we use message",
        ),
        (extended, other, "has another key 1"),
    ];
    for (a, b, words) in cases.into_iter().chain(more) {
        let mut world = pair(a, b);
        world.run(Duration::from_secs(60));
        assert_eq!(world.state(0, 10), State::Down);
        let problems = world.problems(0);
        assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}");
        assert!(!problems[0].contains("geheim"));
    }
}

/// Keys with times that overlap: nobody notices the change.
#[test]
fn rollover() {
    let span = |from, until| Lifetime { from, until };
    let start = 1_700_000_000;
    let old = Key {
        send: span(None, Some(start + 100)),
        accept: span(None, Some(start + 130)),
        ..key(1, KeyAlgorithm::Md5, "old")
    };
    let new = Key {
        send: span(Some(start + 100), None),
        accept: span(Some(start + 70), None),
        ..key(2, KeyAlgorithm::HmacSha256, "new")
    };
    let chain = Authentication::Cryptographic(vec![old, new]);
    let mut world = pair(chain.clone(), chain);
    assert!(world.run_until(Duration::from_secs(2), World::converged));
    world.run(Duration::from_secs(300));
    assert!(world.converged());
    let downs = |event: &&Event| {
        matches!(event, Event::NeighbourState { to: State::Down | State::Init, from: State::Full, .. })
    };
    assert_eq!(world.events[0].iter().filter(downs).count(), 0);
}

/// What was heard before is not taken again, and a restart does not fall behind (RFC 2328 section D.3).
#[test]
fn replays() {
    let chain = Authentication::Cryptographic(vec![key(1, KeyAlgorithm::HmacSha256, "secret")]);
    let mut world = pair(chain.clone(), chain);
    let mut recorded = Vec::new();
    let end = world.now + Duration::from_secs(20);
    while world.step(end) {
        let to_first = world.flying.iter().filter(|Reverse(flying)| flying.2 == 0);
        recorded.extend(to_first.map(|Reverse(flying)| flying.5.clone()));
    }
    assert!(world.converged());
    world.run(Duration::from_secs(100));
    let before = world.events[0].len();
    for bytes in recorded {
        let now = world.now;
        world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &bytes));
    }
    world.settle();
    assert_eq!(world.events[0].len(), before);
    assert!(world.routers[0].dropped().any(|(why, _)| why == "old cryptographic sequence number"));
}

/// Nothing without the right digest changes anything, however it is changed.
#[test]
fn an_outsider_changes_nothing() {
    changes_nothing(Authentication::Cryptographic(vec![key(1, KeyAlgorithm::Md5, "secret")]));
    changes_nothing(Authentication::Extended(vec![key(1, KeyAlgorithm::HmacSha256, "secret")]));
}

fn changes_nothing(chain: Authentication) {
    let mut world = pair(chain.clone(), chain);
    let end = world.now + Duration::from_secs(30);
    let mut count = 0u8;
    while world.step(end) {
        let flying: Vec<Flying> = world.flying.iter().map(|Reverse(flying)| flying.clone()).collect();
        for (_, _, to, index, (source, ..), mut bytes) in flying {
            count = count.wrapping_add(7);
            let at = usize::from(count) % bytes.len();
            // The upper half of the kind of authentication and the unused bytes are under the digest too.
            bytes[at] ^= 1 << (count % 8);
            let (now, before) = (world.now, world.routers[to].events.len());
            world.routers[to].handle_input(now, &Input::to_all(index, source, &bytes));
            let changes =
                |event: &Event| matches!(event, Event::NeighbourState { .. } | Event::RoutesChanged(_));
            assert!(!world.routers[to].events.iter().skip(before).any(changes));
        }
        world.settle();
    }
    assert!(world.converged());
}

fn extended() -> Authentication {
    Authentication::Extended(vec![key(1, KeyAlgorithm::HmacSha256, "secret")])
}

/// What the second router of a pair has said to the first one until both have the same database.
fn conversation(world: &mut World) -> Vec<Vec<u8>> {
    let mut recorded = Vec::new();
    let end = world.now + Duration::from_secs(20);
    while world.step(end) {
        let to_first = world.flying.iter().filter(|Reverse(flying)| flying.2 == 0);
        recorded.extend(to_first.map(|Reverse(flying)| flying.5.clone()));
    }
    assert!(world.converged());
    recorded
}

/// Nothing of it is taken again, neither beside the neighbour nor long after it has gone.
#[test]
fn replays_after_the_neighbour_has_gone() {
    let mut world = pair(extended(), extended());
    let recorded = conversation(&mut world);
    world.cables[0].cut = true;
    let replay = |world: &mut World| {
        let before = world.routers[0].events.len();
        for bytes in &recorded {
            let now = world.now;
            world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), bytes));
        }
        let changes = |event: &Event| matches!(event, Event::NeighbourState { .. } | Event::RoutesChanged(_));
        assert!(!world.routers[0].events.iter().skip(before).any(changes));
        world.settle();
    };
    replay(&mut world);
    world.run(Duration::from_secs(300));
    assert_eq!(world.state(0, 10), State::Down);
    replay(&mut world);
    assert_eq!(world.state(0, 10), State::Down);
    assert!(
        world.problems(0)[0].contains("somebody replays its packets, or it has lost its count of starts")
    );
    // With plain sequence numbers, a neighbour that is gone may be anybody who has listened.
    let chain = Authentication::Cryptographic(vec![key(1, KeyAlgorithm::HmacSha256, "secret")]);
    let mut world = pair(chain.clone(), chain);
    let recorded = conversation(&mut world);
    world.cables[0].cut = true;
    world.run(Duration::from_secs(300));
    for bytes in &recorded {
        let now = world.now;
        world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), bytes));
    }
    assert_ne!(world.state(0, 10), State::Down);
}

/// Nor after our interface has gone and was made again, with another index.
#[test]
fn replays_after_the_interface_has_gone() {
    let mut world = pair(extended(), extended());
    let recorded = conversation(&mut world);
    world.run(Duration::from_secs(1));
    world.cables[0].cut = true;
    let now = world.now;
    let (mut link, mut config) = (memory::cable_end(0), InterfaceConfig::default());
    config.authentication = extended();
    world.routers[0].interface_down(now, link.index);
    link.index += 100;
    let index = link.index;
    world.routers[0].interface_up(now, link, config);
    for bytes in &recorded {
        world.routers[0].handle_input(now, &Input::to_all(index, Ipv4Addr::new(203, 0, 0, 2), bytes));
    }
    assert_eq!(world.state(0, index), State::Down);
    assert!(world.routers[0].dropped().any(|(why, _)| why == "old cryptographic sequence number"));
}

/// A sender that has lost its count of starts and its clock comes back with a new key on both sides; what was sent with
/// the old one is still not taken again.
#[test]
fn a_new_key_begins_anew() {
    let mut world = pair(extended(), extended());
    let mut recorded = Vec::new();
    let end = world.now + Duration::from_secs(20);
    while world.step(end) {
        let to_second = world.flying.iter().filter(|Reverse(flying)| flying.2 == 1);
        recorded.extend(to_second.map(|Reverse(flying)| flying.5.clone()));
    }
    let old = key(1, KeyAlgorithm::HmacSha256, "secret");
    let both = Authentication::Extended(vec![old.clone(), key(2, KeyAlgorithm::HmacSha256, "new")]);
    let interface_up = |world: &mut World, router: usize, authentication: &Authentication| {
        let now = world.now;
        let config = InterfaceConfig { authentication: authentication.clone(), ..InterfaceConfig::default() };
        world.routers[router].interface_up(now, memory::cable_end(router), config);
    };
    world.routers[0] = engine(0, 5);
    let now = world.now;
    world.routers[0].set_clock(now, 1_600_000_000);
    world.lan(0);
    interface_up(&mut world, 0, &extended());
    world.settle();
    assert!(!world.run_until(Duration::from_secs(120), World::converged));
    interface_up(&mut world, 1, &both);
    let new = Authentication::Extended(vec![key(2, KeyAlgorithm::HmacSha256, "new"), old]);
    interface_up(&mut world, 0, &new);
    world.settle();
    assert!(world.run_until(Duration::from_secs(120), World::converged), "{}", world.story());
    // The old key is still taken, and what it was used for before is not.
    let (now, before) = (world.now, world.routers[1].events.len());
    for bytes in &recorded {
        world.routers[1].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 1), bytes));
    }
    let changes = |event: &Event| matches!(event, Event::NeighbourState { .. } | Event::RoutesChanged(_));
    assert!(!recorded.is_empty() && !world.routers[1].events.iter().skip(before).any(changes));
    assert!(world.converged());
}

/// A packet counts for the address only that has sent it.
#[test]
fn another_senders_packets() {
    let mut world = pair(extended(), extended());
    let now = world.now;
    let hello = world.flying.iter().find(|Reverse(flying)| flying.2 == 0).unwrap().0.5.clone();
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 1 + 1), &hello));
    assert_ne!(world.state(0, 10), State::Down);
    let mut world = pair(extended(), extended());
    let now = world.now;
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(198, 51, 100, 7), &hello));
    assert_eq!(world.state(0, 10), State::Down);
    assert!(world.routers[0].dropped().any(|(why, _)| why == "source is not on the network"));
    world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 3), &hello));
    assert_eq!(world.state(0, 10), State::Down);
    assert!(world.routers[0].dropped().any(|(why, _)| why == "wrong digest"));
}

/// What is on its way to the first router, which does not get it.
fn hold_back(world: &mut World, index: u32) -> Vec<Vec<u8>> {
    let to_it = |flying: &Flying| flying.2 == 0 && flying.3 == index;
    let flying: Vec<Reverse<Flying>> = std::mem::take(&mut world.flying).into_vec();
    let (held, rest): (Vec<_>, Vec<_>) = flying.into_iter().partition(|Reverse(flying)| to_it(flying));
    world.flying = rest.into();
    held.into_iter().map(|Reverse(flying)| flying.5).collect()
}

/// A packet that somebody has kept from us is not news any more when a later key is in use.
#[test]
fn packets_held_back_under_an_old_key() {
    let mut world = pair(extended(), extended());
    assert!(world.run_until(Duration::from_secs(20), World::converged));
    world.run(Duration::from_secs(5));
    let mut held = Vec::new();
    let end = world.now + Duration::from_secs(15);
    while held.is_empty() && world.step(end) {
        held = hold_back(&mut world, 10);
    }
    assert!(!held.is_empty());
    let keys = [key(1, KeyAlgorithm::HmacSha256, "secret"), key(2, KeyAlgorithm::HmacSha256, "new")];
    for router in 0..2 {
        let authentication = Authentication::Extended(keys.to_vec());
        let (now, config) = (world.now, InterfaceConfig { authentication, ..InterfaceConfig::default() });
        world.routers[router].interface_up(now, memory::cable_end(router), config);
    }
    world.settle();
    world.run(Duration::from_secs(25));
    let replays = |world: &World| {
        let mut dropped = world.routers[0].dropped();
        dropped.find(|(why, _)| *why == "old cryptographic sequence number").map_or(0, |(_, count)| count)
    };
    let (before, now) = (replays(&world), world.now);
    for bytes in &held {
        world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), bytes));
    }
    assert_eq!(replays(&world), before + held.len() as u64);
}

/// Two links with one key: what was sent on one of them is not taken on the other.
#[test]
fn packets_of_another_link_with_the_same_key() {
    let mut world = World::apart(2, 1);
    let now = world.now;
    world.routers.iter_mut().for_each(|router| router.set_clock(now, 1_700_000_000));
    (0..2).for_each(|router| world.lan(router));
    (0..2).for_each(|_| world.lay(0, 1, |_, config| config.1.authentication = extended()));
    assert!(world.run_until(Duration::from_secs(20), World::converged));
    world.run(Duration::from_secs(5));
    let mut held = Vec::new();
    let end = world.now + Duration::from_secs(15);
    while held.is_empty() && world.step(end) {
        held = hold_back(&mut world, 10);
    }
    let now = world.now;
    for bytes in &held {
        world.routers[0].handle_input(now, &Input::to_all(11, Ipv4Addr::new(203, 0, 0, 2), bytes));
    }
    let address = world.routers[0].interfaces[&11].neighbours.values().next().unwrap().address;
    assert!(!held.is_empty() && address == Ipv4Addr::new(203, 0, 1, 2));
    assert!(world.routers[0].dropped().any(|(why, _)| why == "source is not on the network"));
}

/// Unnumbered links with one key: RFC 7474 lets a sender count for each of them, so that the very same packets may come on
/// both, and both are its.
#[test]
fn a_sender_that_counts_for_each_unnumbered_link() {
    let mut world = World::apart(2, 1);
    let now = world.now;
    world.routers.iter_mut().for_each(|router| router.set_clock(now, 1_700_000_000));
    let address = |router: usize| Ipv4Addr::new(10, router as u8 + 1, 0, 1);
    world.lay(0, 1, |end, both| {
        (both.0.address, both.0.prefix_len, both.0.peer) = (address(end), 32, None);
        both.1.authentication = extended();
    });
    world.cables[0].ends.iter_mut().enumerate().for_each(|(end, cable)| cable.2 = address(end));
    let first = &world.routers[0].interfaces[&10];
    let (link, config) =
        (Link { index: 11, name: "gre1".into(), ..first.link.clone() }, first.config.clone());
    world.routers[0].interface_up(now, link, config);
    let end = now + Duration::from_secs(600);
    let mut played = std::collections::BTreeSet::new();
    while world.step(end) {
        let to_first: Vec<_> = world.flying.iter().filter(|Reverse(flying)| flying.2 == 0).collect();
        let new: Vec<Vec<u8>> = to_first
            .into_iter()
            .filter(|Reverse(flying)| flying.4.0 == address(1) && played.insert(flying.5.clone()))
            .map(|Reverse(flying)| flying.5.clone())
            .collect();
        for bytes in new {
            let now = world.now;
            world.routers[0].handle_input(now, &Input::to_all(11, address(1), &bytes));
        }
    }
    assert!(played.len() > 60, "{}", played.len());
    assert_eq!(world.state(0, 10), State::Full);
    assert!(world.state(0, 11) >= State::Init);
}

/// What was heard before a restart of the receiver is not taken after it, when it has kept its memory.
#[test]
fn replays_after_our_own_restart() {
    for keep in [true, false] {
        let mut world = pair(extended(), extended());
        let recorded = conversation(&mut world);
        world.run(Duration::from_secs(1));
        world.routers[0].remember_numbers();
        let text = serde_json::to_string(world.routers[0].memory()).unwrap();
        world.cables[0].cut = true;
        world.routers[0] = engine(0, 5);
        let now = world.now;
        world.routers[0].set_clock(now, 1_700_000_100);
        if keep {
            world.routers[0].recall(serde_json::from_str(&text).unwrap());
        }
        let (link, mut config) = (memory::cable_end(0), InterfaceConfig::default());
        config.authentication = extended();
        world.routers[0].interface_up(now, link, config);
        for bytes in &recorded {
            world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), bytes));
        }
        assert_eq!(world.state(0, 10) == State::Down, keep);
        assert!(!text.contains("secret"));
    }
}

/// Who has started again goes on with larger numbers, even when its clock has been set back.
#[test]
fn starts_are_counted() {
    let with_memory = |keep: bool, clock: u64| {
        let mut world = pair(extended(), extended());
        world.routers[0].recall(Memory::default());
        conversation(&mut world);
        let memory = world.routers[0].memory().clone();
        world.routers[0] = engine(0, 5);
        let now = world.now;
        world.routers[0].set_clock(now, clock);
        if keep {
            world.routers[0].recall(memory);
        }
        world.lan(0);
        let (link, mut config) = (memory::cable_end(0), InterfaceConfig::default());
        config.authentication = extended();
        world.routers[0].interface_up(now, link, config);
        world.settle();
        world.run_until(Duration::from_secs(120), World::converged)
    };
    assert!(with_memory(true, 1_700_000_100));
    assert!(with_memory(true, 1_600_000_000));
    assert!(with_memory(false, 1_700_000_100));
    // Neither a memory nor a clock.
    assert!(!with_memory(false, 1_600_000_000));
}
