//! What the control tool asks for, and a new configuration for a running engine.

use super::*;

fn up(seed: u64) -> World {
    let mut world = World::new(seed);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(1));
    world
}

fn ends() -> [IpAddr; 2] {
    [A, B].map(|end| end.parse().unwrap())
}

#[test]
fn establish_and_delete() {
    let [a, b] = ends();
    let mut world = World::new(1);
    assert_eq!(world.hosts[0].engine.establish(world.now, a, b, None), Ok(()));
    world.settle();
    world.run(Duration::from_secs(1));
    assert_eq!(world.hosts[0].engine.isakmp_sas()[0].state, 9);
    assert_eq!(world.hosts[0].engine.establish(world.now, a, b, None), Err(NotDone::Exists));
    let selector = policies(A, B)[0].selector;
    assert_eq!(world.hosts[0].engine.establish_pair(world.now, &selector), Ok(()));
    world.settle();
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    assert_eq!(world.hosts[0].engine.pairs().len(), 1);
    let before = world.log.len();
    assert_eq!(world.hosts[0].engine.delete_peer(b), 2);
    world.settle();
    // Whoever acts upon the first deletion of a message only hears that of the ISAKMP SA again.
    let informational = |(from, bytes): &&(usize, Vec<u8>)| *from == 0 && bytes[18] == 5;
    assert_eq!(world.log[before..].iter().filter(informational).count(), 2);
    world.run(Duration::from_secs(1));
    let now = world.now;
    assert!(world.hosts.iter_mut().all(|host| host.sas(now).is_empty()), "the peer was told");
    assert_eq!(world.hosts[0].engine.delete_isakmp(b), 0);
}

#[test]
fn a_pair_brings_its_isakmp_sa_also_with_a_passive_peer() {
    let mut a = config(B);
    a.peers[0].passive = true;
    let mut world = World::with(1, a, config(A));
    let selector = policies(A, B)[0].selector;
    assert_eq!(world.hosts[0].engine.establish_pair(world.now, &selector), Ok(()));
    world.settle();
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
    assert_eq!(world.hosts[0].engine.establish_pair(world.now, &selector.reversed()), Err(NotDone::NoPolicy));
}

#[test]
fn what_cannot_begin_says_why() {
    let [a, b] = ends();
    let mut config = config(B);
    config.keys.clear();
    let mut world = World::with(1, config, super::config(A));
    let engine = &mut world.hosts[0].engine;
    let told = engine.establish(world.now, a, b, None).unwrap_err().to_string();
    assert!(told.contains("psk.txt has no key for 198.51.100.1"), "{told}");
    let unknown = engine.establish(world.now, a, b, Some("office"));
    assert_eq!(unknown, Err(NotDone::NoRemote("office".into())));
}

#[test]
fn a_configuration_that_says_the_same_changes_nothing() {
    let mut world = up(1);
    let sas = world.outbound_spis(0);
    let mut same = config(B);
    same.peers[0].origin = "racoon.conf:11:1".into();
    same.peers[0].proposals[0].origin = "racoon.conf:21:1".into();
    same.peers[0].dpd = None;
    same.peers.insert(0, Peer { address: Some("203.0.113.5".parse().unwrap()), ..same.peers[0].clone() });
    let before = world.log.len();
    world.hosts[0].engine.reconfigure(world.now, same);
    world.settle();
    assert_eq!((world.log.len(), world.outbound_spis(0)), (before, sas));
    // The section is found at its new place: renewal works.
    world.run(Duration::from_secs(15_000));
    assert!(world.is_up());
}

#[test]
fn another_key_ends_what_came_up_with_the_old_one() {
    let mut world = up(1);
    let mut other = config(B);
    other.keys[0].key = Secret::new(b"a new one".to_vec());
    world.hosts[0].engine.reconfigure(world.now, other);
    world.settle();
    world.run(Duration::from_secs(1));
    let now = world.now;
    assert!(world.hosts.iter_mut().all(|host| host.sas(now).is_empty()));
    assert!(world.hosts[1].engine.isakmp_sas().is_empty(), "the peer was told");
}

#[test]
fn another_sainfo_is_negotiated_without_a_gap() {
    let mut world = up(1);
    let mut other = config(B);
    other.sainfos[0].encryption = vec![(EncAlgorithm::TripleDesCbc, 192)];
    world.hosts[0].engine.reconfigure(world.now, other);
    world.settle();
    let end = world.now + Duration::from_secs(20);
    while world.step(end) {
        assert!(world.is_up());
    }
    let now = world.now;
    assert!(world.hosts[0].sas(now).iter().all(|sa| sa.enc == EncAlgorithm::TripleDesCbc));
}

#[test]
fn failures_have_their_facts() {
    let mut b = config(A);
    b.peers[0].proposals[0].group = Group::Modp2048;
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(60));
    let failure = world.hosts[1].engine.failures().next().unwrap();
    assert_eq!(
        (failure.stage, failure.cause, failure.side),
        (Stage::Phase1, Cause::NoProposal, Side::Either)
    );
    assert_eq!(failure.origin.as_deref(), Some("racoon.conf:10:1"));
    assert!(failure.ours.as_ref().unwrap().contains("modp2048"));
    assert!(failure.theirs.as_ref().unwrap().contains("modp1024"));
    assert!(failure.to_string().starts_with("192.0.2.1: nothing acceptable in phase 1"));
}

/// Who begins hears a bare NO-PROPOSAL-CHOSEN: what this side offered, and where that is written, is told all the same.
#[test]
fn who_begins_is_told_what_was_offered() {
    let mut phase1 = config(A);
    phase1.peers[0].proposals[0].group = Group::Modp2048;
    let mut phase2 = config(A);
    phase2.sainfos[0].encryption = vec![(EncAlgorithm::AesCbc, 256)];
    for (b, stage, offered) in [(phase1, Stage::Phase1, "modp1024"), (phase2, Stage::Phase2, "hmac_sha1")] {
        let mut a = config(B);
        a.sainfos[0].origin = "racoon.conf:20:1".into();
        let origin =
            if stage == Stage::Phase1 { a.peers[0].origin.clone() } else { a.sainfos[0].origin.clone() };
        let mut world = World::with(1, a, b);
        world.acquire(0);
        world.run(Duration::from_secs(5));
        let failure = world.hosts[0].engine.failures().next().unwrap_or_else(|| panic!("{}", world.story()));
        assert_eq!((failure.stage, failure.cause), (stage, Cause::NoProposal));
        assert_eq!(failure.origin, Some(origin));
        assert!(failure.ours.as_ref().unwrap().contains(offered), "{failure:?}");
    }
}

#[test]
fn a_key_is_exposed_only_when_asked_for() {
    let mut world = World::new(1);
    world.hosts[0].engine.expose_keys();
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    assert_eq!(world.hosts[1].engine.poll_exposed_key(), None, "nobody has asked there");
    let exposed = world.hosts[0].engine.poll_exposed_key().unwrap();
    let cookie: String = exposed.initiator_cookie.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(cookie, world.hosts[0].engine.isakmp_sas()[0].initiator_cookie);
    assert_eq!(exposed.key.len(), 16);
    assert_eq!(world.hosts[0].engine.poll_exposed_key(), None, "there is one ISAKMP SA");
    let secret: String = exposed.key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!format!("{exposed:?} {}", world.story()).contains(&secret));
}
