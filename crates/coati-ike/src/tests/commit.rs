//! The commit bit: nobody sends before the peer that sets it has said CONNECTED.

use coati_wire::isakmp::{Notification, exchange, flag};

use super::*;

const EXCHANGE: usize = 18;
const FLAGS: usize = 19;

/// The exchange and the number of encrypted messages in it with the commit bit.
fn quick_messages(world: &World) -> Vec<(usize, bool)> {
    let quick = world.log.iter().filter(|(_, bytes)| bytes[EXCHANGE] == exchange::QUICK);
    quick.map(|(from, bytes)| (*from, bytes[FLAGS] & flag::COMMIT != 0)).collect()
}

/// The header is not hashed: a bit that is set on the way is as good as the peer's.
fn set_commit(from: usize, wanted: usize, bytes: &mut [u8]) {
    if from == wanted && bytes[EXCHANGE] == exchange::QUICK {
        bytes[FLAGS] |= flag::COMMIT;
    }
}

#[test]
fn we_never_set_it() {
    let mut world = World::new(1);
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    assert_eq!(quick_messages(&world), [(0, false), (1, false), (0, false)]);
}

#[test]
fn a_fourth_message_ends_the_exchange() {
    for (by, messages) in [
        // Set by the responder in its answer, repeated by the initiator; as one that set it of its own would, the
        // responder then says CONNECTED.
        (1, [(0, false), (1, true), (0, true), (1, true)]),
        (0, [(0, true), (1, true), (0, true), (1, true)]),
    ] {
        let mut world = World::new(1);
        world.touch = if by == 1 {
            |from, bytes| {
                set_commit(from, 1, bytes);
                true
            }
        } else {
            |from, bytes| {
                set_commit(from, 0, bytes);
                true
            }
        };
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(2), World::is_up), "{}", world.story());
        assert_eq!(quick_messages(&world), messages);
        world.packet_from_b();
        world.run(Duration::from_secs(60));
        assert!(world.is_up());
        assert_eq!(quick_messages(&world), messages, "nothing is repeated");
    }
}

#[test]
fn through_loss_and_copies() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        (world.loss, world.copies) = (20, 20);
        world.touch = |from, bytes| {
            set_commit(from, 1, bytes);
            true
        };
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(30), World::is_up), "seed {seed} {}", world.story());
    }
}

/// Loses what the responder says after its answer.
fn no_fourth(from: usize, bytes: &mut [u8]) -> bool {
    let fourth = from == 1 && bytes[EXCHANGE] == exchange::QUICK && bytes[FLAGS] & flag::COMMIT != 0;
    set_commit(from, 1, bytes);
    !fourth
}

#[test]
fn nothing_leaves_before_connected() {
    let mut world = World::new(1);
    world.touch = |from, bytes| no_fourth(from, bytes);
    world.acquire(0);
    world.run(Duration::from_secs(3));
    assert_eq!(world.outbound_spis(0), []);
    assert_eq!(world.outbound_spis(1).len(), 1, "the responder has all it needs");
    let repeated = quick_messages(&world).iter().filter(|message| **message == (0, true)).count();
    assert!(repeated >= 3, "{repeated}");
    // Nobody says it: the exchange is given up, and its inbound SA with it.
    assert!(world.run_until(Duration::from_secs(60), |world| {
        let now = world.now;
        world.hosts[0].sas(now).is_empty()
    }));
    assert!(world.hosts[0].failures().contains("CONNECTED"), "{}", world.hosts[0].failures());
}

#[test]
fn connected_may_come_in_an_informational_message() {
    let mut world = World::new(1);
    world.touch = |from, bytes| no_fourth(from, bytes);
    world.acquire(0);
    world.run(Duration::from_secs(1));
    let third = world.log.iter().rfind(|(from, bytes)| *from == 0 && bytes[EXCHANGE] == exchange::QUICK);
    let message_id = u32::from_be_bytes(third.unwrap().1[20..24].try_into().unwrap());
    // That of another exchange means nothing.
    world.hosts[1].engine.notify_in(message_id ^ 1, Notification::CONNECTED);
    world.settle();
    world.run(Duration::from_secs(1));
    assert_eq!(world.outbound_spis(0), []);
    world.hosts[1].engine.notify_in(message_id, Notification::CONNECTED);
    world.settle();
    assert!(world.run_until(Duration::from_secs(1), World::is_up), "{}", world.story());
}

#[test]
fn renewal_with_it_leaves_no_gap() {
    let [mut a, mut b] = [config(B), config(A)];
    for config in [&mut a, &mut b] {
        config.sainfos[0].lifetime = 60;
    }
    let mut world = World::with(1, a, b);
    world.touch = |from, bytes| {
        set_commit(from, 1, bytes);
        true
    };
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let end = world.now + Duration::from_secs(600);
    while world.step(end) {
        assert!(world.is_up(), "{}", world.story());
    }
    assert_eq!((world.outbound_spis(0).len(), world.outbound_spis(1).len()), (1, 1));
}

#[test]
fn phase_1_has_none_and_unknown_flags_are_dropped() {
    let mut world = World::new(1);
    world.touch = |from, bytes| {
        if from == 0 && bytes[EXCHANGE] == exchange::IDENTITY_PROTECTION {
            bytes[FLAGS] |= flag::COMMIT;
        }
        true
    };
    world.acquire(0);
    world.run(Duration::from_secs(1));
    let dropped = |world: &World, why: &str| world.hosts[1].engine.dropped().any(|(found, _)| found == why);
    assert!(dropped(&world, "commit bit in phase 1"));
    assert!(world.hosts[1].engine.isakmp_sas().is_empty());
    assert!(world.hosts[0].failures().contains("INVALID-FLAGS"), "{}", world.hosts[0].failures());

    let mut bytes = world.log[0].1.clone();
    let (local, remote) =
        (SocketAddr::new(B.parse().unwrap(), 500), SocketAddr::new(A.parse().unwrap(), 500));
    // Whom no remote section covers gets no answer to anything.
    bytes[FLAGS] = flag::COMMIT;
    let nobody = SocketAddr::new([203, 0, 113, 9].into(), 500);
    world.now += Duration::from_secs(60);
    world.hosts[1].engine.handle_input(world.now, local, nobody, &bytes);
    assert!(world.hosts[1].engine.poll_transmit().is_none(), "a stranger is answered");
    bytes[FLAGS] = 0x80;
    world.hosts[1].engine.handle_input(world.now, local, remote, &bytes);
    assert!(dropped(&world, "unknown flags"));
}
