//! IPComp before ESP: negotiated when both policies want it, and never otherwise.

use coati_wire::isakmp::Notification as Notify;

use super::*;

/// Gives both policies of a host a rule for compression of this level.
fn compress(world: &mut World, host: usize, level: Level) {
    let this = &mut world.hosts[host];
    for mut policy in this.sadb.policies() {
        let Action::Ipsec(rules) = &mut policy.action else { panic!() };
        let ipcomp = Rule { proto: SaProto::Ipcomp, mode: Mode::Transport, endpoints: None, level };
        rules.insert(0, ipcomp);
        let reply = this.sadb.request(world.now, 0, Request::SpdUpdate(Box::new(policy)));
        assert_eq!(reply, Reply::Done);
    }
    this.engine.handle_policies(&this.sadb.policies());
}

fn compressing(seed: u64, a: Config, b: Config) -> World {
    let mut world = World::with(seed, a, b);
    for host in 0..2 {
        compress(&mut world, host, Level::Use);
    }
    world
}

/// How many SAs of ESP and of IPComp a host has.
fn count(world: &mut World, host: usize) -> (usize, usize) {
    let now = world.now;
    let sas = world.hosts[host].sas(now);
    let of = |proto| sas.iter().filter(|sa| sa.id.proto == proto).count();
    (of(SaProto::Esp), of(SaProto::Ipcomp))
}

/// A packet with much redundancy, from host a to host b; whether it was compressed on the way.
fn packet_from_a(world: &mut World) -> bool {
    world.packet(0, 1000) < 500
}

#[test]
fn both_want_it() {
    for initiator in 0..2 {
        let mut world = compressing(1, config(B), config(A));
        world.acquire(initiator);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        assert_eq!((count(&mut world, 0), count(&mut world, 1)), ((2, 2), (2, 2)));
        let now = world.now;
        let of = |world: &mut World, host: usize| -> Vec<(SaId, SaState)> {
            let sas = world.hosts[host].sas(now);
            let mut list: Vec<_> = sas.into_iter().map(|sa| (sa.id, sa.state)).collect();
            list.sort_by_key(|(id, _)| *id);
            list
        };
        assert_eq!(of(&mut world, 0), of(&mut world, 1), "the same SAs at both ends, all of them in use");
        assert!(packet_from_a(&mut world));
        world.hosts[0].engine.shutdown();
        world.settle();
        world.run(Duration::from_secs(1));
        assert_eq!((count(&mut world, 0), count(&mut world, 1)), ((0, 0), (0, 0)));
    }
}

#[test]
fn one_does_without() {
    for (compresses, initiator) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new(1);
        compress(&mut world, compresses, Level::Use);
        world.acquire(initiator);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        assert_eq!(
            (count(&mut world, 0), count(&mut world, 1)),
            ((2, 0), (2, 0)),
            "{compresses} {initiator}"
        );
        assert!(!packet_from_a(&mut world));
    }
}

#[test]
fn who_requires_it_gets_it_or_says_so() {
    for (requires, initiator) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = World::new(1);
        compress(&mut world, requires, Level::Require);
        world.acquire(initiator);
        world.run(Duration::from_secs(3));
        assert!(!world.is_up());
        let (said, told) = (world.hosts[1 - initiator].failures(), world.hosts[initiator].failures());
        assert!(said.contains("compression"), "{said}");
        assert!(told.contains(&Notify::name(Notify::NO_PROPOSAL_CHOSEN)), "{told}");
    }
    let mut world = World::new(1);
    compress(&mut world, 0, Level::Require);
    compress(&mut world, 1, Level::Use);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
    assert!(packet_from_a(&mut world));
}

#[test]
fn through_loss_copies_and_from_both_sides() {
    for seed in 0..40 {
        let mut world = compressing(seed, config(B), config(A));
        (world.loss, world.copies) = (15, 15);
        world.acquire(0);
        if seed % 2 == 0 {
            world.acquire(1);
        }
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
        (world.loss, world.copies) = (0, 0);
        world.run(Duration::from_secs(45));
        assert!(packet_from_a(&mut world), "seed {seed}");
        for host in 0..2 {
            assert_eq!(count(&mut world, host), (2, 2), "seed {seed} {}", world.story());
        }
    }
}

#[test]
fn renewal_leaves_no_gap_and_nothing_behind() {
    for seed in 0..4 {
        let [mut a, mut b] = [config(B), config(A)];
        for config in [&mut a, &mut b] {
            config.peers[0].proposals[0].lifetime = 300;
            config.sainfos[0].lifetime = 60;
        }
        let mut world = compressing(seed, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        let end = world.now + Duration::from_secs(1200);
        while world.step(end) {
            assert!(world.is_up(), "seed {seed} {}", world.story());
            assert!(packet_from_a(&mut world), "seed {seed}");
        }
        for host in 0..2 {
            let (esp, ipcomp) = count(&mut world, host);
            assert!(esp <= 4 && ipcomp <= 4, "seed {seed}: {esp} {ipcomp}");
        }
    }
}

#[test]
fn a_policy_is_made_of_an_offer_with_it() {
    let mut b = config(A);
    b.peers[0].generate_policy = GeneratePolicy::Unique;
    let mut world = World::with(1, config(B), b);
    compress(&mut world, 0, Level::Use);
    world.hosts[1].sadb.request(world.start, 0, Request::SpdFlush);
    world.hosts[1].engine.handle_policies(&[]);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
    assert!(packet_from_a(&mut world));
    for policy in world.hosts[1].sadb.policies() {
        let Action::Ipsec(rules) = &policy.action else { panic!() };
        assert!(Bundle::of(rules).unwrap().ipcomp.is_some());
    }
}
