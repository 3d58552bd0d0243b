//! A flood of first messages with invented senders: what it costs, and that it keeps nobody out.

use super::*;

fn anybody() -> Config {
    let mut config = config(B);
    config.peers[0].address = None;
    config.keys[0].identity = "*".into();
    config
}

/// A first message of main mode, as host 1 sends it.
fn first_message() -> Vec<u8> {
    let mut world = World::new(1);
    world.acquire(1);
    world.log[0].1.clone()
}

#[test]
fn a_hundred_thousand_first_messages_cost_ten_megabytes_and_keep_nobody_out() {
    let first = first_message();
    let mut world = World::with(1, anybody(), config(A));
    let local = SocketAddr::new(world.hosts[0].address, 500);
    let (mut sent, mut answered) = (0usize, 0usize);
    let mut random = SeededRandom::new(5);
    let begun = Instant::now();
    // The real peer begins in the middle of it: 20 000 a second, so that some 200 arrive between its messages.
    for number in 0..100_000u32 {
        if number == 50_000 {
            world.acquire(1);
        }
        let mut bytes = first.clone();
        random.fill(&mut bytes[..8]);
        let remote = SocketAddr::new(IpAddr::from(random.number().to_be_bytes()), 500);
        sent += bytes.len();
        world.hosts[0].engine.handle_input(world.now, local, remote, &bytes);
        while let Some(transmit) = world.hosts[0].engine.poll_transmit() {
            if transmit.remote == remote {
                answered += transmit.payload.len();
            } else {
                world.transmit(0, transmit);
            }
        }
        world.now += Duration::from_micros(50);
        if number % 20 == 0 {
            let now = world.now;
            world.step(now);
            world.settle();
        }
    }
    let took = begun.elapsed();
    let (entries, bytes) = world.hosts[0].engine.greetings_held();
    println!(
        "{entries} greetings in {bytes} bytes; {sent} bytes came, {answered} went; {took:?} for both sides"
    );
    assert!(entries <= 16_384 + 64 && bytes < 12_000_000, "{entries} {bytes}");
    assert!(answered <= sent, "no amplification: {sent} bytes came, {answered} went");
    assert!(world.run_until(Duration::from_secs(10), World::is_up), "{}", world.story());
    assert!(world.hosts[0].engine.isakmp_sas().len() <= 1, "no state machine for who has not answered");
    assert!(
        world.hosts[0].events.len() < 200,
        "a flood does not fill the log: {}",
        world.hosts[0].events.len()
    );
}

#[test]
fn one_address_does_not_fill_the_table() {
    let first = first_message();
    let mut world = World::with(1, anybody(), config(A));
    let local = SocketAddr::new(world.hosts[0].address, 500);
    for number in 0..2000u16 {
        let mut bytes = first.clone();
        bytes[..2].copy_from_slice(&(number + 1).to_be_bytes());
        let remote = SocketAddr::new([10, 0, 0, 1].into(), 500);
        world.hosts[0].engine.handle_input(world.now, local, remote, &bytes);
    }
    assert_eq!(world.hosts[0].engine.greetings_held().0, 64);
}

#[test]
fn a_third_message_without_our_cookie_costs_no_exponentiation() {
    let mut world = World::with(1, anybody(), config(A));
    world.acquire(1);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let third = world.log.iter().filter(|(from, _)| *from == 1).nth(1).unwrap().1.clone();
    let mut victim = World::with(2, anybody(), config(A));
    let local = SocketAddr::new(victim.hosts[0].address, 500);
    for number in 0..1000u16 {
        let mut bytes = third.clone();
        bytes[8..10].copy_from_slice(&number.to_be_bytes());
        let remote = SocketAddr::new(victim.hosts[1].address, 500);
        victim.hosts[0].engine.handle_input(victim.now, local, remote, &bytes);
    }
    assert!(victim.hosts[0].engine.poll_job().is_none());
    assert!(victim.hosts[0].engine.poll_transmit().is_none());
}

#[test]
fn complaints_to_strangers_are_few_and_small() {
    let mut a = anybody();
    a.peers[0].proposals[0].group = Group::Modp2048;
    let first = first_message();
    let mut world = World::with(1, a, config(A));
    let local = SocketAddr::new(world.hosts[0].address, 500);
    let mut answers = Vec::new();
    for number in 0..5000u32 {
        let remote = SocketAddr::new(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 500);
        world.hosts[0].engine.handle_input(world.now, local, remote, &first);
        answers.extend(std::iter::from_fn(|| world.hosts[0].engine.poll_transmit()));
    }
    assert!((1..=20).contains(&answers.len()), "{}", answers.len());
    assert!(answers.iter().all(|answer| answer.payload.len() <= first.len()));
    assert!(world.hosts[0].engine.failures().count() <= 20);
}

/// The messages of so many initiators at one address, made of one real exchange: what binds them are the cookies.
#[test]
fn a_greeting_is_kept_while_its_address_has_too_many_half_open() {
    let mut world = World::with(1, anybody(), config(A));
    world.acquire(1);
    assert!(world.run_until(Duration::from_secs(2), World::is_up));
    let mut messages = world.log.iter().filter(|(from, _)| *from == 1).map(|(_, bytes)| bytes.clone());
    let [first, third] = [messages.next().unwrap(), messages.next().unwrap()];
    let mut world = World::with(2, anybody(), config(A));
    let local = SocketAddr::new(world.hosts[0].address, 500);
    let remote = SocketAddr::new([10, 0, 0, 1].into(), 500);
    let mut thirds = Vec::new();
    for number in 1..=65u8 {
        if number == 65 {
            world.now += Duration::from_secs(10);
        }
        let (mut first, mut third) = (first.clone(), third.clone());
        first[..8].copy_from_slice(&[number; 8]);
        world.hosts[0].engine.handle_input(world.now, local, remote, &first);
        let answer = world.hosts[0].engine.poll_transmit().unwrap().payload;
        third[..16].copy_from_slice(&answer[..16]);
        if number < 65 {
            world.hosts[0].engine.handle_input(world.now, local, remote, &third);
        }
        thirds.push(third);
    }
    let last = thirds.pop().unwrap();
    let half_open = |world: &World| world.hosts[0].engine.isakmp_sas().len();
    assert_eq!(half_open(&world), 64);
    world.hosts[0].engine.handle_input(world.now, local, remote, &last);
    assert_eq!(half_open(&world), 64, "one address has its share");
    // Some are over. The peer repeats its message, and is not too late.
    let greeting_ends = world.now + Duration::from_secs(31);
    while half_open(&world) == 64 {
        let next = world.hosts[0].engine.next_timeout().unwrap();
        assert!(next < greeting_ends, "they end too late for this");
        world.now = next;
        world.hosts[0].engine.handle_timeout(next);
    }
    let before = half_open(&world);
    world.hosts[0].engine.handle_input(world.now, local, remote, &last);
    assert_eq!(half_open(&world), before + 1, "the greeting is still there");
}

/// 10 000 peers are 10 000 of each: see docs/performance.md before a number here grows.
#[test]
fn what_an_established_peer_takes_is_bounded() {
    use crate::ikev1::{phase1::Phase1, quick_mode::Quick};
    let sizes = [size_of::<Phase1>(), size_of::<Quick>(), size_of::<crate::pair::Pair>()];
    assert!(sizes.iter().zip([1280, 832, 408]).all(|(size, limit)| *size <= limit), "{sizes:?}");
}
