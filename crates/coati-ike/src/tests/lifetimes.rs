//! Renewal of both phases, dead peers, restarts, shutdown.

use std::collections::HashMap;

use super::*;

#[test]
fn renewal_of_both_phases_leaves_no_gap() {
    for seed in 0..8 {
        let [a, b] = [B, A].map(|peer| {
            let mut config = config(peer);
            config.peers[0].proposals[0].lifetime = 300;
            config.sainfos[0].lifetime = 60;
            config
        });
        let mut world = World::with(seed, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        let end = world.now + Duration::from_secs(3600);
        while world.step(end) {
            assert!(world.is_up(), "seed {seed} {}", world.story());
        }
        let renewals = |host: &Host| {
            let renewal = |event: &&Event| matches!(event, Event::PairEstablished { renewal: true, .. });
            host.events.iter().filter(renewal).count()
        };
        assert!((70..100).contains(&renewals(&world.hosts[0])), "{}", renewals(&world.hosts[0]));
        let established = |event: &&Event| matches!(event, Event::IsakmpEstablished { .. });
        assert!(world.hosts[1].events.iter().filter(established).count() >= 12);
        // Between two renewals there is one pair and nothing else.
        let one_pair = |world: &mut World| {
            let now = world.now;
            world.outbound_spis(0).len() == 1 && world.hosts[0].sas(now).len() == 2
        };
        assert!(world.run_until(Duration::from_secs(60), one_pair), "seed {seed} {}", world.story());
    }
}

/// strongSwan ends the SA pairs that were negotiated under an ISAKMP SA together with it.
#[test]
fn no_isakmp_sa_is_deleted_under_a_living_pair() {
    let [a, b] = [B, A].map(|peer| {
        let mut config = config(peer);
        config.peers[0].proposals[0].lifetime = 300;
        config.sainfos[0].lifetime = 200;
        config
    });
    let mut world = World::with(1, a, b);
    world.acquire(0);
    let end = world.now + Duration::from_secs(3600);
    let mut under: [HashMap<String, usize>; 2] = Default::default();
    let mut superfluous = 0;
    while world.step(end) {
        for (host, under) in world.hosts.iter_mut().zip(&mut under) {
            for event in host.events.drain(..) {
                if let Event::IsakmpDeleted { spi, why: EndReason::Replaced, .. } = event {
                    assert_eq!(under.get(&spi), Some(&0), "after {:?}", world.now - world.start);
                    superfluous += 1;
                }
            }
            // As it was before the step that ends one.
            let all = host.engine.isakmp_sas().into_iter();
            *under = all
                .map(|sa| (format!("{}:{}", sa.initiator_cookie, sa.responder_cookie), sa.phase2))
                .collect();
        }
    }
    assert!(superfluous > 3, "{superfluous}");
}

/// The last message of quick mode meets a peer that is about to take leave: it names the pairs that it has, and this one
/// is none of them.
#[test]
fn a_pair_that_the_peer_ended_before_it_was_made_is_made_again() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        world.run(Duration::from_secs(5));
        let pairs = |world: &World| {
            let made = |event: &&Event| matches!(event, Event::PairEstablished { .. });
            world.hosts[0].events.iter().filter(made).count()
        };
        let mut changed = config(B);
        changed.sainfos[0].lifetime = 14_000;
        world.hosts[0].engine.reconfigure(world.now, changed);
        world.settle();
        assert!(world.run_until(Duration::from_secs(2), |world| pairs(world) == 2));
        world.flying.clear();
        world.hosts[1].engine.delete_peer(A.parse().unwrap());
        world.settle();
        world.run(Duration::from_secs(3));
        assert!(world.is_up(), "seed {seed} {}", world.story());
        assert_eq!(world.outbound_spis(0).len(), 1);
    }
}

/// A responder installs its inbound SA when the third message comes: packets that overtake it, or that it gets without
/// ever seeing that message, would be lost.
#[test]
fn the_old_pair_is_used_until_the_peer_uses_the_new_one() {
    let [a, b] = [B, A].map(|peer| {
        let mut config = config(peer);
        config.sainfos[0].lifetime = 60;
        config
    });
    let mut world = World::with(1, a, b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let first = world.outbound_spis(0);
    let renewed = |world: &mut World| {
        world.hosts[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::PairEstablished { renewal: true, .. }))
    };
    assert!(world.run_until(Duration::from_secs(60), renewed));
    assert_eq!(world.outbound_spis(0), first, "the peer has not shown that it has the new one");
    world.run(Duration::from_millis(30));
    world.packet_from_b();
    assert!(world.run_until(Duration::from_millis(300), |world| world.outbound_spis(0) != first));
    assert!(world.is_up() && world.outbound_spis(0).len() == 1);
    // Without such a sign it takes its time, not for ever; and a packet that finds no SA is sign enough.
    world.run(Duration::from_secs(20));
    let second = world.outbound_spis(0);
    assert!(world.run_until(Duration::from_secs(60), |world| world.outbound_spis(0) != second));
    assert!(world.is_up());
}

#[test]
fn renewal_through_loss() {
    for seed in 0..20 {
        let [a, b] = [B, A].map(|peer| {
            let mut config = config(peer);
            config.peers[0].proposals[0].lifetime = 600;
            config.sainfos[0].lifetime = 120;
            // Its questions get lost too; what a death by mistake costs is another subject.
            config.peers[0].dpd = None;
            config
        });
        let mut world = World::with(seed, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        world.loss = 10;
        let end = world.now + Duration::from_secs(1800);
        let mut down = Duration::ZERO;
        let mut last = world.now;
        while world.step(end) {
            if !world.is_up() {
                down += world.now - last;
                world.acquire(0);
            }
            last = world.now;
        }
        assert!(down < Duration::from_secs(5), "seed {seed}: down for {down:?}");
    }
}

#[test]
fn a_silent_peer_is_dead_after_thirty_seconds() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(100));
    assert!(world.is_up(), "answered questions keep it alive");
    world.cut = true;
    let cut = world.now;
    let dead = |world: &mut World| world.hosts[0].events.iter().any(|e| matches!(e, Event::PeerDead { .. }));
    assert!(world.run_until(Duration::from_secs(60), dead));
    let after = (world.now - cut).as_secs();
    assert!((10..=31).contains(&after), "{after} s");
    let now = world.now;
    assert!(world.hosts[0].sas(now).is_empty() && world.hosts[0].engine.isakmp_sas().is_empty());
    world.run(Duration::from_secs(30));
    world.cut = false;
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
}

#[test]
fn a_restarted_peer_clears_what_it_left_behind() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(100));
    let old = world.outbound_spis(0);
    world.hosts[1] = Host::new(77, B, A, config(A), world.now);
    world.acquire(1);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let contact = |event: &Event| matches!(event, Event::InitialContact { .. });
    assert!(world.run_until(Duration::from_secs(1), |world| world.hosts[0].events.iter().any(contact)));
    let new = world.outbound_spis(0);
    assert!(!new.contains(&old[0]), "{old:?} {new:?}");
    assert_eq!(world.hosts[0].engine.isakmp_sas().len(), 1);
}

#[test]
fn an_unknown_spi_brings_a_restarted_host_back() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let spi = world.outbound_spis(0)[0];
    world.hosts[1] = Host::new(77, B, A, config(A), world.now);
    world.run(Duration::from_secs(10));
    let (a, b): (IpAddr, IpAddr) = (A.parse().unwrap(), B.parse().unwrap());
    world.hosts[1].engine.handle_unknown_spi(world.now, a, b, spi);
    world.settle();
    world.run(Duration::from_secs(1));
    assert!(!world.outbound_spis(0).contains(&spi), "INITIAL-CONTACT has cleared it");
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    // With an ISAKMP SA the peer is simply told.
    let unknown = Spi(0x0102_0304);
    let before = world.log.len();
    for _ in 0..5 {
        world.hosts[1].engine.handle_unknown_spi(world.now + Duration::from_secs(5), a, b, unknown);
        world.settle();
    }
    assert_eq!(world.log.len(), before + 1);
}

#[test]
fn shutdown_takes_leave() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.hosts[0].engine.shutdown();
    world.settle();
    world.run(Duration::from_secs(1));
    let now = world.now;
    for host in &mut world.hosts {
        assert!(host.sas(now).is_empty());
        assert!(host.engine.isakmp_sas().is_empty());
    }
}

#[test]
fn flushed_sas_are_negotiated_again() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(5));
    world.hosts[0].sadb.request(world.now, 0, Request::Flush(None));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    assert_eq!(world.hosts[0].engine.isakmp_sas().len(), 1);
}

#[test]
fn an_unreachable_peer_is_named() {
    let mut world = World::new(1);
    world.cut = true;
    world.acquire(0);
    world.run(Duration::from_secs(40));
    assert!(world.hosts[0].failures().contains("no answer in main mode to our proposals"));
    assert!(world.hosts[0].engine.isakmp_sas().is_empty());
    assert_eq!(world.log.len(), 10);
}

#[test]
fn phase_1_is_renewed_unless_rekey_is_off() {
    for rekey in [true, false] {
        let (mut a, mut b) = (config(B), config(A));
        for config in [&mut a, &mut b] {
            config.peers[0].rekey = rekey;
            config.peers[0].dpd = None;
            config.peers[0].proposals[0].lifetime = 600;
        }
        let mut world = World::with(1, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        world.run(Duration::from_secs(700));
        let established = |event: &&Event| matches!(event, Event::IsakmpEstablished { .. });
        let count = world.hosts[0].events.iter().filter(established).count();
        assert_eq!(count, if rekey { 2 } else { 1 }, "{}", world.story());
    }
}

#[test]
fn dpd_that_is_off_is_not_announced() {
    let (a, mut b) = (config(B), config(A));
    b.peers[0].announces_dpd = false;
    b.peers[0].dpd = None;
    let mut world = World::with(1, a, b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    // Who cannot be asked is not taken for dead.
    world.cut = true;
    world.run(Duration::from_secs(120));
    assert!(!world.hosts[0].events.iter().any(|event| matches!(event, Event::PeerDead { .. })));
}

/// A packet asks for an SA while the peer is deleting everything: the quick mode that began does not end with the ISAKMP
/// SA, to be begun again by another packet a second later.
#[test]
fn what_has_begun_under_a_deleted_isakmp_sa_begins_again() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(30));
    world.acquire(0);
    world.flying.clear();
    world.hosts[1].engine.shutdown();
    world.settle();
    assert!(world.run_until(Duration::from_millis(500), |world| world.outbound_spis(0).is_empty()));
    assert!(world.run_until(Duration::from_millis(500), World::is_up), "{}", world.story());
}
