//! Aggressive mode: identities choose keys, and are compared with what the configuration wants.

use super::*;

fn aggressive(peer: &str) -> Config {
    let mut config = config(peer);
    config.peers[0].exchange_modes = vec![ExchangeMode::Aggressive];
    config
}

#[test]
fn three_messages_and_three() {
    for seed in 0..10 {
        let mut world = World::with(seed, aggressive(B), aggressive(A));
        world.acquire(usize::from(seed % 2 == 1));
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        let begun = |exchange: u8| world.log.iter().filter(|(_, bytes)| bytes[18] == exchange).count();
        assert!(begun(4) <= 9 && begun(2) == 0 && begun(32) <= 4, "{} {}", begun(4), begun(32));
        assert_eq!(world.hosts[0].failures() + &world.hosts[1].failures(), "");
    }
}

#[test]
fn through_loss_and_copies() {
    for seed in 0..100 {
        let mut world = World::with(seed, aggressive(B), aggressive(A));
        (world.loss, world.copies) = (20, 20);
        world.acquire(0);
        if seed % 2 == 0 {
            world.acquire(1);
        }
        let up = |world: &mut World| {
            let now = world.now;
            if !world.is_up() && now.duration_since(world.start).as_millis() % 1000 < 20 {
                world.acquire(0);
            }
            world.is_up()
        };
        assert!(world.run_until(Duration::from_secs(60), up), "seed {seed} {}", world.story());
    }
}

#[test]
fn begun_from_both_sides_at_once() {
    for seed in 0..60 {
        let mut world = World::with(seed, aggressive(B), aggressive(A));
        world.copies = 10;
        world.acquire(0);
        world.run(Duration::from_millis(seed % 40));
        world.acquire(1);
        assert!(world.run_until(Duration::from_secs(10), World::is_up), "seed {seed} {}", world.story());
        world.run(Duration::from_secs(45));
        assert!(world.is_up(), "seed {seed} {}", world.story());
        for host in 0..2 {
            assert_eq!(world.outbound_spis(host).len(), 1, "seed {seed}");
            assert!(world.hosts[host].engine.isakmp_sas().len() <= 2, "seed {seed}");
        }
    }
}

/// Nobody knows the initiator's address before: its name chooses the key.
#[test]
fn a_name_chooses_the_key() {
    let names = [
        (Identifier::Fqdn("branch.example.org".into()), "branch.example.org"),
        (Identifier::UserFqdn("me@example.org".into()), "me@example.org"),
        (Identifier::KeyId(b"the group".to_vec()), "the group"),
    ];
    for (identifier, name) in names {
        let (mut a, mut b) = (aggressive(B), aggressive(A));
        a.peers[0].my_identifier = identifier.clone();
        b.peers[0].address = None;
        b.peers[0].peers_identifiers = vec![Identifier::Fqdn("x".into()), identifier];
        b.peers[0].verify_identifier = true;
        b.keys[0].identity = name.into();
        let other = PreSharedKey {
            identity: "*".into(),
            key: Secret::new(b"no".to_vec()),
            origin: "psk.txt:2".into(),
        };
        b.keys.push(other);
        let mut world = World::with(3, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{name} {}", world.story());
        let shown = world.hosts[1].engine.isakmp_sas()[0].identity.clone().unwrap();
        assert!(shown.contains(name), "{shown}");
    }
}

#[test]
fn a_wrong_key_is_explained_where_it_shows_first() {
    let mut b = aggressive(A);
    b.keys[0].key = Secret::new(b"something else".to_vec());
    let mut world = World::with(1, aggressive(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(5));
    let told = world.hosts[0].failures();
    assert!(told.contains("(psk.txt:1) probably differ"), "{told}");
    assert!(!world.is_up());
}

#[test]
fn a_mode_that_is_not_configured_is_named() {
    let mut b = config(A);
    b.peers[0].exchange_modes = vec![ExchangeMode::Main];
    let mut world = World::with(1, aggressive(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(5));
    let told = world.hosts[1].failures();
    assert!(
        told.contains("aggressive mode, which exchange_mode of the remote section at racoon.conf:10:1"),
        "{told}"
    );
}

#[test]
fn somebody_else_is_refused_when_it_is_to_be_verified() {
    for (mode, verify) in [
        (ExchangeMode::Main, true),
        (ExchangeMode::Main, false),
        (ExchangeMode::Aggressive, true),
        (ExchangeMode::Aggressive, false),
    ] {
        let (mut a, mut b) = (config(B), config(A));
        (a.peers[0].exchange_modes, b.peers[0].exchange_modes) = (vec![mode], vec![mode]);
        a.peers[0].peers_identifiers = vec![Identifier::Fqdn("b.example.org".into())];
        a.peers[0].verify_identifier = verify;
        let mut world = World::with(1, a, b);
        world.acquire(0);
        assert_eq!(world.run_until(Duration::from_secs(3), World::is_up), !verify, "{mode:?}");
        if verify {
            let told = world.hosts[0].failures();
            assert!(told.contains("wants fqdn b.example.org") && told.contains("racoon.conf:10:1"), "{told}");
        }
    }
}

/// What fits of several sections for anybody: by mode, then by proposal.
#[test]
fn the_section_that_fits_is_taken() {
    let mut b = config(A);
    b.peers[0].address = None;
    let mut strong = b.peers[0].clone();
    strong.proposals[0].group = Group::Modp1536;
    strong.origin = "racoon.conf:60:1".into();
    b.peers.insert(0, strong);
    b.peers.insert(0, Peer { exchange_modes: vec![ExchangeMode::Aggressive], ..b.peers[1].clone() });
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
}

/// Main mode learns late who the peer is: then the section for it takes over.
#[test]
fn the_identity_chooses_among_sections_for_anybody() {
    let mut a = config(B);
    a.peers[0].my_identifier = Identifier::Fqdn("a.example.org".into());
    let mut b = config(A);
    b.peers[0] = Peer { address: None, verify_identifier: true, ..b.peers[0].clone() };
    let section = |name: &str, ph1id| Peer {
        peers_identifiers: vec![Identifier::Fqdn(name.into())],
        ph1id,
        ..b.peers[0].clone()
    };
    b.peers = vec![section("x.example.org", 1), section("a.example.org", 2)];
    b.sainfos[0].remoteid = 2;
    let refused =
        SaInfo { remoteid: 1, encryption: vec![(EncAlgorithm::AesCbc, 256)], ..b.sainfos[0].clone() };
    b.sainfos.insert(0, refused);
    let mut world = World::with(1, a, b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
}

#[test]
fn missing_payloads_of_aggressive_mode() {
    // CVE-2005-3732: each payload of each message left out in turn.
    let mut world = World::with(1, aggressive(B), aggressive(A));
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let (_, first) = world.log.iter().find(|(_, bytes)| bytes[18] == 4).unwrap().clone();
    let (header, body) = coati_wire::isakmp::Header::parse(&first).unwrap();
    let list: Vec<(u8, Vec<u8>)> = coati_wire::isakmp::payloads(header.next_payload, body)
        .unwrap()
        .iter()
        .map(|payload| (payload.kind, payload.body.to_vec()))
        .collect();
    for left_out in 0..4 {
        let mut victim = World::with(2, aggressive(B), aggressive(A));
        let mut list = list.clone();
        list.remove(left_out);
        let (next_payload, chain) = coati_wire::isakmp::chain(&list);
        let header = coati_wire::isakmp::Header { next_payload, ..header };
        let bytes = [&header.emit(chain.len())[..], &chain].concat();
        let ends = ["198.51.100.1:500", "192.0.2.1:500"].map(|end| end.parse().unwrap());
        victim.hosts[1].engine.handle_input(victim.now, ends[0], ends[1], &bytes);
        assert!(victim.hosts[1].engine.poll_job().is_none(), "{left_out}");
        assert!(victim.hosts[1].engine.isakmp_sas().is_empty());
    }
}
