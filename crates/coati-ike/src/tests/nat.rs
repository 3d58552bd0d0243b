//! NAT traversal: found, not found, forced, rebound; transport mode through a NAT.

use super::*;

fn natted(peer: &str) -> Config {
    let mut config = config(peer);
    config.peers[0].nat_traversal = NatTraversal::On;
    config
}

/// The responder knows the initiator by any address.
fn responder() -> Config {
    let mut config = natted(A);
    config.peers[0].address = None;
    config.keys[0].identity = "*".into();
    config
}

fn ports(world: &World, from: usize) -> Vec<u8> {
    world.log.iter().filter(|(sender, _)| *sender == from).map(|(_, bytes)| bytes[0]).collect()
}

#[test]
fn without_a_nat_nothing_changes() {
    let mut world = World::with(1, natted(B), natted(A));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
    let now = world.now;
    assert!(world.hosts[0].sas(now).iter().all(|sa| sa.nat_t.is_none()));
    assert_eq!(world.hosts[0].engine.isakmp_sas()[0].remote.port(), 500);
}

#[test]
fn a_nat_is_found_and_passed() {
    for seed in 0..20 {
        let mut world = World::behind_nat(seed, natted(B), responder());
        (world.loss, world.copies) = (10, 10);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
        let now = world.now;
        let out =
            world.hosts[0].sas(now).into_iter().find(|sa| sa.id.source == world.hosts[0].address).unwrap();
        let nat_t = out.nat_t.unwrap();
        assert_eq!((nat_t.source_port, nat_t.destination_port), (4500, 4500));
        let b = world.hosts[1].address;
        let back = world.hosts[1].sas(now).into_iter().find(|sa| sa.id.source == b).unwrap();
        let nat_t = back.nat_t.unwrap();
        assert_eq!((nat_t.source_port, nat_t.destination_port), (4500, 24_500));
        assert_eq!(nat_t.original, Some(A.parse().unwrap()));
        assert!(world.hosts[1].engine.isakmp_sas().iter().any(|sa| sa.nat && sa.remote.port() == 24_500));
    }
}

#[test]
fn a_peer_without_nat_traversal_stays_on_port_500() {
    let mut b = responder();
    b.peers[0].nat_traversal = NatTraversal::Off;
    let mut world = World::behind_nat(1, natted(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(1));
    let sas = world.hosts[1].engine.isakmp_sas();
    assert!(sas.iter().any(|sa| sa.state == 9 && !sa.nat && sa.local.port() == 500), "{}", world.story());
}

#[test]
fn force_makes_both_sides_believe_in_a_nat() {
    for forced in 0..2 {
        let mut configs = [natted(B), natted(A)];
        configs[forced].peers[0].nat_traversal = NatTraversal::Force;
        let [a, b] = configs;
        let mut world = World::with(1, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        let now = world.now;
        for host in 0..2 {
            assert!(world.hosts[host].sas(now).iter().all(|sa| sa.nat_t.is_some()), "{forced} {host}");
        }
        assert!(ports(&world, 0).contains(&0), "messages on port 4500 begin with the marker");
    }
}

#[test]
fn the_nat_takes_another_port() {
    let mut world = World::behind_nat(3, natted(B), responder());
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    world.nat.as_mut().unwrap().shift = 30_000;
    // Dead peer detection of the host behind it is the first authenticated message from the new port.
    world.run(Duration::from_secs(60));
    assert!(world.is_up(), "{}", world.story());
    let now = world.now;
    let b = world.hosts[1].address;
    let back = world.hosts[1].sas(now).into_iter().find(|sa| sa.id.source == b).unwrap();
    assert_eq!(back.nat_t.unwrap().destination_port, 34_500);
    assert!(world.hosts[1].events.iter().all(|event| !matches!(event, Event::PeerDead { .. })));
}

#[test]
fn nobody_else_moves_the_peer() {
    let mut world = World::behind_nat(3, natted(B), responder());
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    world.run(Duration::from_secs(45));
    let before = world.hosts[1].engine.isakmp_sas()[0].remote;
    // Everything the host has sent, once more, from elsewhere.
    let local = SocketAddr::new(world.hosts[1].address, 4500);
    let recorded: Vec<Vec<u8>> =
        world.log.iter().filter(|(from, _)| *from == 0).map(|(_, bytes)| bytes.clone()).collect();
    for bytes in recorded {
        world.hosts[1].engine.handle_input(world.now, local, "203.0.113.99:4500".parse().unwrap(), &bytes);
    }
    assert_eq!(world.hosts[1].engine.isakmp_sas()[0].remote, before);
}

#[test]
fn keepalives_come_from_behind_the_nat() {
    let mut a = natted(B);
    a.natt_keepalive = Duration::from_secs(20);
    let mut world = World::behind_nat(1, a, responder());
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    world.run(Duration::from_secs(205));
    let of = |host: usize| world.log.iter().filter(|(from, bytes)| *from == host && bytes == &[0xff]).count();
    assert_eq!((of(0), of(1)), (10, 0));
}

#[test]
fn policies_are_made_for_a_peer_behind_a_nat() {
    for unique in [false, true] {
        let mut b = responder();
        b.peers[0].generate_policy = if unique { GeneratePolicy::Unique } else { GeneratePolicy::Require };
        let mut world = World::behind_nat(1, natted(B), b);
        world.hosts[1].sadb.request(world.start, 0, Request::SpdFlush);
        world.hosts[1].engine.handle_policies(&[]);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(5), World::is_up), "{}", world.story());
        let policies = world.hosts[1].sadb.policies();
        assert_eq!(policies.len(), 2);
        assert!(
            policies
                .iter()
                .any(|policy| policy.selector.destination.address == NAT.parse::<IpAddr>().unwrap())
        );
        world.hosts[0].engine.shutdown();
        world.settle();
        world.run(Duration::from_secs(2));
        assert!(world.hosts[1].sadb.policies().is_empty(), "they go with the SAs");
    }
}

#[test]
fn renewal_through_a_nat_leaves_no_gap() {
    for seed in 0..4 {
        let [mut a, mut b] = [natted(B), responder()];
        for config in [&mut a, &mut b] {
            config.peers[0].proposals[0].lifetime = 300;
            config.sainfos[0].lifetime = 60;
        }
        let mut world = World::behind_nat(seed, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up));
        let end = world.now + Duration::from_secs(1800);
        while world.step(end) {
            assert!(world.is_up(), "seed {seed} {}", world.story());
        }
        assert_eq!(world.outbound_spis(0).len(), 1);
    }
}

#[test]
fn aggressive_mode_passes_a_nat_too() {
    for seed in 0..20 {
        let mode = vec![ExchangeMode::Aggressive];
        let (mut a, mut b) = (natted(B), responder());
        (a.peers[0].exchange_modes, b.peers[0].exchange_modes) = (mode.clone(), mode);
        let mut world = World::behind_nat(seed, a, b);
        (world.loss, world.copies) = (10, 10);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
        let b = world.hosts[1].engine.isakmp_sas();
        assert!(b.iter().any(|sa| sa.nat && sa.remote.port() == 24_500), "{}", world.story());
    }
}

#[test]
fn a_renewal_is_answered_where_it_comes_from() {
    let mut world = World::behind_nat(3, natted(B), responder());
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    world.run(Duration::from_secs(1));
    world.nat.as_mut().unwrap().shift = 30_000;
    let pair = world.hosts[0].engine.pairs()[0].clone();
    let expire =
        Expire { id: pair.outbound, reqid: ReqId(16_385), hard: false, current: Lifetime::default() };
    world.hosts[0].engine.handle_expire(world.now, &expire);
    world.settle();
    // Long before dead peer detection asks.
    world.run(Duration::from_secs(3));
    assert_eq!(world.hosts[1].engine.pairs().len(), 2, "{}", world.story());
    assert_eq!(world.hosts[1].engine.isakmp_sas()[0].remote.port(), 34_500);
}
