//! Both phases come up: plainly, from both sides at once, through loss, and with every algorithm.

use super::*;

#[test]
fn six_messages_and_three() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    assert_eq!(world.hosts[0].engine.isakmp_sas().len(), 1);
    assert_eq!(world.hosts[1].engine.isakmp_sas()[0].state, 9);
    // Main mode, quick mode, and one INITIAL-CONTACT from each.
    assert_eq!(world.log.len(), 6 + 3 + 2);
    assert_eq!(world.hosts[0].failures() + &world.hosts[1].failures(), "");
    let now = world.now;
    let sa = world.hosts[0].sas(now).remove(0);
    assert_eq!((sa.enc, sa.enc_key.len(), sa.auth), (EncAlgorithm::AesCbc, 16, AuthAlgorithm::HmacSha1));
    assert_eq!((sa.mode, sa.hard.add_seconds), (Mode::Transport, 14_400));
}

#[test]
fn begun_from_both_sides_at_once() {
    for seed in 0..60 {
        let mut world = World::new(seed);
        world.acquire(0);
        world.run(Duration::from_millis(seed % 40));
        world.acquire(1);
        assert!(world.run_until(Duration::from_secs(5), World::is_up), "seed {seed} {}", world.story());
        world.run(Duration::from_secs(45));
        assert!(world.is_up(), "seed {seed} {}", world.story());
        for host in 0..2 {
            assert_eq!(world.outbound_spis(host).len(), 1, "seed {seed}");
            assert!(world.hosts[host].engine.isakmp_sas().len() <= 2, "seed {seed}");
        }
    }
}

/// Of two ISAKMP SAs strongSwan goes on with the one that was established last, whoever began it, and deletes the other
/// one after ten seconds: that may be the one that we have chosen.
#[test]
fn the_peer_chooses_another_isakmp_sa() {
    for seed in 0..8 {
        let [a, b] = [B, A].map(|peer| {
            let mut config = config(peer);
            config.peers[0].proposals[0].lifetime = 300;
            config
        });
        let mut world = World::with(seed, a, b);
        world.acquire(0);
        let two = |world: &mut World| {
            let sas = world.hosts[0].engine.isakmp_sas();
            sas.len() == 2 && sas.iter().any(|sa| sa.state == 10)
        };
        assert!(world.run_until(Duration::from_secs(300), two), "{}", world.story());
        world.run(Duration::from_secs(10));
        let sas = world.hosts[0].engine.isakmp_sas();
        let chosen = sas.iter().find(|sa| sa.state == 9).unwrap().initiator_cookie.clone();
        world.hosts[1].engine.delete_one(&chosen);
        world.settle();
        let end = world.now + Duration::from_secs(25);
        while world.step(end) {
            assert!(world.is_up(), "seed {seed} {}", world.story());
        }
        for host in &world.hosts {
            let sas = host.engine.isakmp_sas();
            assert!(sas.iter().any(|sa| sa.state == 9), "seed {seed} {}", world.story());
            assert!(sas.iter().all(|sa| sa.initiator_cookie != chosen));
        }
    }
}

#[test]
fn through_loss() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.loss = 20;
        world.acquire(0);
        if seed % 2 == 0 {
            world.acquire(1);
        }
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
    }
}

/// A capture of racoon's for the how-to's configuration has frames of 170, 170, 222 and 222 bytes; 42 of them are headers
/// of Ethernet, IP and UDP.
#[test]
fn messages_are_as_long_as_racoons() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let lengths: Vec<usize> = world.log.iter().map(|(_, bytes)| bytes.len()).take(4).collect();
    assert_eq!(lengths, [170 - 42, 170 - 42, 222 - 42, 222 - 42]);
}

#[test]
fn through_loss_and_copies() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        (world.loss, world.copies) = (15, 30);
        world.acquire(0);
        if seed % 2 == 0 {
            world.acquire(1);
        }
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
        world.loss = 0;
        world.run(Duration::from_secs(45));
        assert!(world.is_up() && world.outbound_spis(0).len() == 1, "seed {seed} {}", world.story());
    }
}

#[test]
fn every_algorithm() {
    let hashes = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    let ciphers = [IkeCipher::Aes(128), IkeCipher::Aes(192), IkeCipher::Aes(256), IkeCipher::TripleDes];
    let esp = [
        (EncAlgorithm::AesCbc, 192),
        (EncAlgorithm::AesCbc, 256),
        (EncAlgorithm::TripleDesCbc, 192),
        (EncAlgorithm::AesGcm16, 256),
    ];
    let auths = [
        AuthAlgorithm::HmacSha256,
        AuthAlgorithm::HmacSha256Cut96,
        AuthAlgorithm::HmacSha512,
        AuthAlgorithm::HmacSha1,
    ];
    let groups = [Group::Modp1024, Group::Modp1536, Group::Modp2048];
    for (index, cipher) in ciphers.into_iter().enumerate() {
        for (shift, hash) in hashes.into_iter().enumerate() {
            let [a, b] = [B, A].map(|peer| {
                let mut config = config(peer);
                let proposal = &mut config.peers[0].proposals[0];
                (proposal.cipher, proposal.hash) = (cipher, hash);
                proposal.group = if shift == 0 { groups[index % 3] } else { Group::Modp1024 };
                config.sainfos[0].encryption = vec![esp[index]];
                config.sainfos[0].authentication = vec![auths[shift]];
                config.sainfos[0].pfs_group = (shift != 3).then_some(Group::Modp1024);
                config
            });
            let mut world = World::with(index as u64, a, b);
            world.acquire(index % 2);
            assert!(world.run_until(Duration::from_secs(2), World::is_up), "{cipher:?} {hash:?}");
        }
    }
}

#[test]
fn large_groups() {
    for group in [Group::Modp3072, Group::Modp4096] {
        let [a, b] = [B, A].map(|peer| {
            let mut config = config(peer);
            config.peers[0].proposals[0].group = group;
            config.sainfos[0].pfs_group = None;
            config
        });
        let mut world = World::with(7, a, b);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{group}");
    }
}

#[test]
fn first_common_proposal_of_several() {
    let (mut a, mut b) = (config(B), config(A));
    let ours = a.peers[0].proposals[0].clone();
    a.peers[0].proposals.insert(0, IkeProposal { hash: HashAlgorithm::Sha512, ..ours.clone() });
    b.peers[0].proposals.insert(0, IkeProposal { cipher: IkeCipher::TripleDes, ..ours });
    a.sainfos[0].encryption = vec![(EncAlgorithm::AesGcm16, 128), (EncAlgorithm::TripleDesCbc, 192)];
    let mut world = World::with(3, a, b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let now = world.now;
    assert_eq!(world.hosts[1].sas(now)[0].enc, EncAlgorithm::TripleDesCbc);
}

#[test]
fn fragments() {
    let [a, b] = [B, A].map(|peer| {
        let mut config = config(peer);
        config.peers[0].fragmentation = Fragmentation::Force;
        let ours = config.peers[0].proposals[0].clone();
        for lifetime in 0..40 {
            config.peers[0].proposals.insert(0, IkeProposal { lifetime: 3600 + lifetime, ..ours.clone() });
        }
        config
    });
    for seed in 0..20 {
        let mut world = World::with(seed, a.clone(), b.clone());
        world.loss = 10;
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed}");
        assert!(world.log.iter().all(|(_, bytes)| bytes.len() <= 552));
        assert!(world.log.iter().any(|(_, bytes)| bytes[16] == 132));
    }
}

#[test]
fn passive_only_answers() {
    let mut b = config(A);
    b.peers[0].passive = true;
    let mut world = World::with(1, config(B), b);
    world.acquire(1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.log.len(), 0);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
}

#[test]
fn anonymous_peer() {
    let mut b = config(A);
    b.peers[0].address = None;
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
}

#[test]
fn wrong_key_is_explained_at_both_ends() {
    let mut b = config(A);
    b.keys[0].key = Secret::new(b"something else".to_vec());
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(60));
    assert!(
        world.hosts[1].failures().contains("(psk.txt:1) probably differ"),
        "{}",
        world.hosts[1].failures()
    );
    let told = world.hosts[0].failures();
    assert!(told.contains("AUTHENTICATION-FAILED") && told.contains("(psk.txt:1) probably differ"), "{told}");
    assert!(world.hosts.iter().all(|host| host.engine.isakmp_sas().is_empty()));
    assert!(!told.contains("horse"), "no secrets in explanations");
}

#[test]
fn no_key_at_all() {
    let mut a = config(B);
    a.keys.clear();
    let mut world = World::with(1, a, config(A));
    world.acquire(0);
    assert!(world.hosts[0].failures().contains("psk.txt has no key for 198.51.100.1"));
}

#[test]
fn no_remote_section() {
    let mut a = config(B);
    a.peers.clear();
    let mut world = World::with(1, a, config(A));
    world.acquire(0);
    assert!(world.hosts[0].failures().contains("no remote section"));
}

#[test]
fn a_wrong_key_is_suspected_when_the_peer_is_silent_or_cannot_be_read() {
    for speaks in [false, true] {
        let mut world = World::new(1);
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), |world| world.log.len() == 5));
        world.cut = true;
        world.flying.clear();
        if speaks {
            // As strongSwan does: a complaint in cipher, by keys of its own.
            let message =
                [&world.log[4].1[..16], &[8, 0x10, 5, 1, 1, 2, 3, 4, 0, 0, 0, 44], &[9; 16]].concat();
            let [a, b] = [A, B].map(|address| SocketAddr::new(address.parse().unwrap(), 500));
            world.hosts[0].engine.handle_input(world.now, a, b, &message);
            world.settle();
        } else {
            world.run(Duration::from_secs(60));
        }
        let told = world.hosts[0].failures();
        assert!(told.contains(if speaks {
            "cannot be read"
        } else {
            "no answer in main mode to our identity"
        }));
        assert!(told.contains("(psk.txt:1) probably differ"), "{told}");
    }
}

#[test]
fn nothing_acceptable_in_phase_1() {
    let mut b = config(A);
    b.peers[0].proposals[0].group = Group::Modp2048;
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(60));
    let told = world.hosts[1].failures();
    assert!(
        told.contains("the peer offers aes 128, sha1, pre_shared_key, dh_group modp1024, 28800 s"),
        "{told}"
    );
    assert!(
        told.contains("we want aes 128, sha1, pre_shared_key, dh_group modp2048, 28800 s (racoon.conf:20:3)")
    );
    let told = world.hosts[0].failures();
    assert!(told.contains("NO-PROPOSAL-CHOSEN"), "{told}");
}

#[test]
fn nothing_acceptable_in_phase_2() {
    let mut b = config(A);
    b.sainfos[0].encryption = vec![(EncAlgorithm::AesCbc, 256)];
    let mut world = World::with(1, config(B), b);
    world.acquire(0);
    world.run(Duration::from_secs(60));
    let told = world.hosts[1].failures();
    assert!(
        told.contains("the peer offers aes 128, hmac_sha1, pfs_group modp1024, 14400 s or 3des"),
        "{told}"
    );
    assert!(told.contains("we want aes 256") && told.contains("sainfo at racoon.conf:40:1"), "{told}");
    assert!(world.hosts[0].failures().contains("NO-PROPOSAL-CHOSEN"), "{}", world.hosts[0].failures());
    let now = world.now;
    assert!(world.hosts[0].sas(now).is_empty(), "the reserved SPI is given back");
}

#[test]
fn no_policy_for_the_peers_identities() {
    let mut world = World::new(1);
    world.hosts[1].sadb.request(world.start, 0, Request::SpdFlush);
    world.hosts[1].engine.handle_policies(&[]);
    world.acquire(0);
    world.run(Duration::from_secs(5));
    assert!(
        world.hosts[1].failures().contains("no policy for 198.51.100.1/32[gre] to 192.0.2.1/32[gre]"),
        "{}",
        world.hosts[1].failures()
    );
    assert!(world.hosts[0].failures().contains("INVALID-ID-INFORMATION"));
}

#[test]
fn proposal_check_of_lifetimes() {
    use ProposalCheck::*;
    // Check at the responder, the initiator's lifetime, the responder's, what comes out.
    let cases = [
        (Obey, 20_000, 10_000, Some((20_000, 20_000))),
        (Strict, 20_000, 10_000, None),
        (Strict, 9_000, 10_000, Some((9_000, 9_000))),
        (Claim, 20_000, 10_000, Some((10_000, 10_000))),
        (Exact, 9_000, 10_000, None),
        (Exact, 10_000, 10_000, Some((10_000, 10_000))),
    ];
    for (check, initiator, responder, expected) in cases {
        let (mut a, mut b) = (config(B), config(A));
        b.peers[0].proposal_check = check;
        a.sainfos[0].lifetime = initiator;
        b.sainfos[0].lifetime = responder;
        let mut world = World::with(1, a, b);
        world.acquire(0);
        let up = world.run_until(Duration::from_secs(3), World::is_up);
        assert_eq!(up, expected.is_some(), "{check:?} {initiator} {responder}");
        let now = world.now;
        match expected {
            Some((at_a, at_b)) => {
                assert_eq!(world.hosts[0].sas(now)[0].hard.add_seconds, at_a, "{check:?}");
                assert_eq!(world.hosts[1].sas(now)[0].hard.add_seconds, at_b, "{check:?}");
            }
            None => {
                let told = world.hosts[1].failures();
                assert!(told.contains("racoon.conf:12:3") && told.contains("10000 s"), "{told}");
            }
        }
    }
}

#[test]
fn proposal_check_of_pfs() {
    let cases = [
        (ProposalCheck::Obey, None, Some(Group::Modp1024), true),
        (ProposalCheck::Strict, None, Some(Group::Modp1024), false),
        (ProposalCheck::Strict, Some(Group::Modp1024), None, true),
        (ProposalCheck::Exact, Some(Group::Modp1024), None, false),
    ];
    for (check, initiator, responder, works) in cases {
        let (mut a, mut b) = (config(B), config(A));
        b.peers[0].proposal_check = check;
        (a.sainfos[0].pfs_group, b.sainfos[0].pfs_group) = (initiator, responder);
        let mut world = World::with(1, a, b);
        world.acquire(0);
        assert_eq!(world.run_until(Duration::from_secs(3), World::is_up), works, "{check:?}");
        assert_eq!(world.hosts[1].failures().contains("PFS group"), !works);
    }
}
