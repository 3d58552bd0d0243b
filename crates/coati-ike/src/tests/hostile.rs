//! What strangers send does no harm.

use proptest::prelude::*;

use super::*;

fn stranger() -> SocketAddr {
    "203.0.113.9:500".parse().unwrap()
}

fn here(world: &World, host: usize) -> SocketAddr {
    SocketAddr::new(world.hosts[host].address, 500)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// For ten seconds somebody on the way puts a changed copy in front of every datagram. That may spoil main mode,
    /// whose first messages nothing protects, but it comes up soon after.
    #[test]
    fn changed_copies(seed in 0u64..1000, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut world = World::new(seed);
        let end = world.now + Duration::from_secs(10);
        world.acquire(0);
        let mut copied = 0;
        while world.now < end {
            while copied < world.log.len() {
                let (from, mut bytes) = world.log[copied].clone();
                copied += 1;
                for (index, value) in &changes {
                    let at = index.index(bytes.len());
                    bytes[at] = *value;
                }
                let (to, source) = (1 - from, here(&world, from));
                let local = here(&world, to);
                world.hosts[to].engine.handle_input(world.now, local, source, &bytes);
                let cut = bytes.len() / 2;
                world.hosts[to].engine.handle_input(world.now, local, source, &bytes[..cut]);
            }
            world.step(end);
        }
        for _ in 0..40 {
            if !world.is_up() {
                world.acquire(0);
                world.run(Duration::from_secs(1));
            }
        }
        prop_assert!(world.is_up(), "{}", world.story());
    }

    #[test]
    fn noise(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..40)) {
        let mut world = World::new(1);
        for bytes in list {
            let local = here(&world, 0);
            world.hosts[0].engine.handle_input(world.now, local, stranger(), &bytes);
            let peer = here(&world, 1);
            world.hosts[0].engine.handle_input(world.now, local, peer, &bytes);
        }
        world.settle();
        world.acquire(0);
        prop_assert!(world.run_until(Duration::from_secs(5), World::is_up));
    }
}

#[test]
fn strangers_get_no_answer() {
    let mut world = World::new(1);
    world.acquire(1);
    let (_, first) = world.log[0].clone();
    let before = world.log.len();
    let local = here(&world, 0);
    world.hosts[0].engine.handle_input(world.now, local, stranger(), &first);
    world.settle();
    assert_eq!(world.log.len(), before);
    let dropped: Vec<_> = world.hosts[0].engine.dropped().collect();
    assert_eq!(dropped, [("no remote section for the sender", 1)]);
}

#[test]
fn repeated_messages_are_answered_from_memory() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    world.run(Duration::from_secs(1));
    let log = world.log.clone();
    let (before, spis) = (world.log.len(), world.outbound_spis(1));
    for (from, bytes) in log {
        let (to, source) = (1 - from, here(&world, from));
        let local = here(&world, to);
        world.hosts[to].engine.handle_input(world.now, local, source, &bytes);
        world.settle();
    }
    assert!(world.log.len() - before <= 3, "{}", world.log.len() - before);
    world.run(Duration::from_secs(10));
    assert_eq!(world.outbound_spis(1), spis);
    assert!(world.is_up());
}
