//! An election that is remembered: nobody waits for the dead interval when a network comes back.

use super::broadcast::{count, full_with, role};
use super::*;

const IDLE: Duration = Duration::from_secs(33);

/// Routers on a LAN whose election is over, a little after a hello. Those in `foreign` are as FRR and BIRD: they remember nothing and
/// answer with their periodic hellos only.
fn settled(priorities: &[u8], foreign: &[usize], seed: u64) -> World {
    let mut world = World::apart(priorities.len(), seed);
    for router in foreign {
        world.routers[*router].config.deviations = none();
    }
    (0..priorities.len()).for_each(|router| world.lan(router));
    let all: Vec<usize> = (0..priorities.len()).collect();
    world.shared(&all, |router, config| config.priority = priorities[router]);
    assert!(world.run_until(Duration::from_secs(90), World::converged), "{}", world.story());
    world.run(IDLE);
    world
}

fn none() -> Deviations {
    Deviations {
        hello_at_once: false,
        early_retransmission: false,
        remembered_neighbour: false,
        remembered_election: false,
        ..Deviations::default()
    }
}

fn link_of(world: &World, router: usize) -> (Link, InterfaceConfig) {
    let interface = &world.routers[router].interfaces[&100];
    (interface.link.clone(), interface.config.clone())
}

/// The program of one router ends without a word and begins again, with what it has kept.
fn restart(world: &mut World, router: usize) {
    let (link, config) = link_of(world, router);
    let memory = world.routers[router].memory().clone();
    let deviations = world.routers[router].config.deviations;
    world.routers[router] = engine(router, 77);
    world.routers[router].config.deviations = deviations;
    world.routers[router].recall(memory);
    world.lan(router);
    let now = world.now;
    world.routers[router].interface_up(now, link, config);
    world.settle();
}

/// The carrier of these goes, and comes again after a minute in this order.
fn flap(world: &mut World, routers: &[usize]) {
    let links: Vec<_> = routers.iter().map(|router| (*router, link_of(world, *router))).collect();
    for router in routers {
        let now = world.now;
        world.routers[*router].interface_down(now, 100);
    }
    world.settle();
    world.run(Duration::from_secs(60));
    for (router, (link, config)) in links {
        let now = world.now;
        world.routers[router].interface_up(now, link, config);
        world.settle();
        world.run(Duration::from_millis(7));
    }
}

/// How long until these are Full with designated router and backup, and there are one of each.
fn takes(world: &mut World, routers: &[usize]) -> Duration {
    let began = world.now;
    let done = |world: &World| {
        let elects: Vec<usize> = routers
            .iter()
            .copied()
            .filter(|router| role_of(world, *router) > Some(InterfaceState::Waiting))
            .collect();
        let wanted = (routers.len() - 1).min(2);
        elects.len() == routers.len() && routers.iter().all(|router| full_with(world, *router, 0) >= wanted)
    };
    assert!(world.run_until(Duration::from_secs(100), done), "{}", stands(world));
    world.now - began
}

fn role_of(world: &World, router: usize) -> Option<InterfaceState> {
    world.routers[router].interfaces.get(&100).map(|interface| interface.state)
}

/// Nothing moves any more, and everybody agrees.
fn stays(world: &mut World) {
    world.run(Duration::from_secs(60));
    let changes = |world: &World| -> usize {
        world
            .events
            .iter()
            .map(|events| events.iter().filter(|event| matches!(event, Event::NeighbourState { .. })).count())
            .sum()
    };
    let before = changes(world);
    world.run(Duration::from_secs(120));
    assert_eq!(changes(world), before, "{}", stands(world));
    let designated: Vec<Ipv4Addr> =
        world.lans[0].ends.iter().map(|end| world.routers[end.0].interfaces[&100].designated).collect();
    assert!(designated.iter().all(|one| *one == designated[0]), "{designated:?}");
    assert_eq!(count(world, 0, InterfaceState::Dr), 1);
    assert!(world.converged(), "{}", stands(world));
}

/// For the message of a failed assertion.
fn stands(world: &World) -> String {
    let views = world.routers.iter().map(|router| {
        let of = |words: &[&str]| router.show(world.now, words).unwrap_or_default();
        format!("{}\n{}", of(&["ip", "ospf", "neighbor"]), of(&["ip", "ospf", "route"]))
    });
    views.collect::<Vec<String>>().join("\n")
}

#[test]
fn a_lan_that_comes_back() {
    let mut quick = 0;
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        for seed in 0..10 {
            let mut world = settled(&[1, 1, 1], &[], seed);
            flap(&mut world, &order);
            let took = takes(&mut world, &order);
            quick += usize::from(took < Duration::from_millis(350));
            // A hello that another one has overtaken is made good by the one after it.
            assert!(took < Duration::from_secs(2), "{order:?} {seed}: {took:?}");
            assert_eq!(role(&world, 2, 0), InterfaceState::Dr);
            stays(&mut world);
        }
    }
    assert!(quick >= 26, "{quick} of 30");
}

/// One that remembers nothing hears at once that there is a designated router.
#[test]
fn beside_others() {
    for (foreign, order) in [(0, [0, 1]), (0, [1, 0]), (1, [0, 1]), (1, [1, 0])] {
        let mut world = settled(&[1, 1], &[foreign], 3);
        flap(&mut world, &order);
        let took = takes(&mut world, &order);
        assert!(took < Duration::from_millis(600), "{foreign} {order:?}: {took:?}");
        stays(&mut world);
    }
    let mut world = settled(&[1, 1], &[0, 1], 3);
    flap(&mut world, &[0, 1]);
    assert!(takes(&mut world, &[0, 1]) > Duration::from_secs(35));
}

/// Killed and started beside others that notice it by our first hello only: we are Full before they say hello.
#[test]
fn who_starts_again() {
    for priorities in [&[1, 1][..], &[1, 1, 1], &[1, 1, 0], &[0, 1, 1]] {
        for router in 0..priorities.len() {
            let foreign: Vec<usize> = (0..priorities.len()).filter(|other| *other != router).collect();
            for seed in 0..10 {
                let mut world = settled(priorities, &foreign, seed);
                world.run(Duration::from_millis(2100));
                restart(&mut world, router);
                let began = world.now;
                let full = |world: &World| full_with(world, router, 0) >= 1;
                assert!(world.run_until(Duration::from_secs(60), full), "{}", world.story());
                let took = world.now - began;
                // Packets overtake each other here, which costs repetitions.
                assert!(took < Duration::from_millis(500), "{router} of {priorities:?}, {seed}: {took:?}");
                stays(&mut world);
            }
        }
    }
}

/// A LAN without its designated router: the backup takes over at once, and the other one comes back as backup.
#[test]
fn a_designated_router_that_does_not_come_back() {
    let mut world = settled(&[1, 1, 1], &[], 4);
    let late = world.lans[0].ends.pop().unwrap();
    flap(&mut world, &[0, 1]);
    let took = takes(&mut world, &[0, 1]);
    assert!(took < Duration::from_millis(700), "{took:?}");
    assert_eq!(role(&world, 1, 0), InterfaceState::Dr);
    // It comes back with a memory that is not true any more.
    world.lans[0].ends.push(late);
    world.run(Duration::from_secs(5));
    restart(&mut world, 2);
    assert!(takes(&mut world, &[0, 1, 2]) < Duration::from_secs(11));
    assert_eq!(role(&world, 1, 0), InterfaceState::Dr);
    stays(&mut world);
}

/// Neither comes back: whoever had no office waits, as RFC 2328 says.
#[test]
fn who_had_no_office_waits() {
    let mut world = settled(&[1, 1, 1], &[], 4);
    world.lans[0].ends.truncate(1);
    restart(&mut world, 0);
    world.run(Duration::from_secs(39));
    assert_eq!(role(&world, 0, 0), InterfaceState::Waiting);
    world.run(Duration::from_secs(2));
    assert_eq!(role(&world, 0, 0), InterfaceState::Dr);
}

/// Somebody whom we do not know has the office meanwhile, and says hello only when it is its time: one of both wins by RFC 2328
/// section 9.4, and there is no more moving than that.
#[test]
fn two_who_have_the_same_office() {
    for priority in [1, 200] {
        let mut world = settled(&[1, 1], &[], 6);
        let memory = world.lans[0].ends.pop().unwrap();
        world.leave(0, 0);
        let newcomer = world.add(engine(2, 6));
        world.routers[newcomer].config.deviations = none();
        world.lan(newcomer);
        world.join(0, newcomer, InterfaceConfig { priority, ..InterfaceConfig::default() });
        world.run(Duration::from_secs(63));
        assert_eq!(role(&world, newcomer, 0), InterfaceState::Dr);
        world.lans[0].ends.push(memory);
        restart(&mut world, 1);
        assert!(takes(&mut world, &[1, newcomer]) < Duration::from_secs(21));
        assert_eq!(role(&world, newcomer, 0), InterfaceState::Dr);
        world.lans[0].ends.push((0, 100, Ipv4Addr::new(172, 16, 0, 1)));
        stays(&mut world);
    }
}

/// Through loss, in any order, with any memory.
#[test]
fn whatever_happens() {
    for seed in 0..30 {
        let mut world = settled(&[1, 1, 2, 0], &[seed as usize % 4], seed);
        world.loss = 15;
        for round in 0..4 {
            match (seed + round) % 3 {
                0 => flap(&mut world, &[3, 2, 1, 0]),
                1 => flap(&mut world, &[1, 0]),
                _ => restart(&mut world, (seed + round) as usize % 4),
            }
            world.run(Duration::from_millis(seed * 900));
        }
        world.loss = 0;
        world.run(Duration::from_secs(60));
        stays(&mut world);
    }
}

#[test]
fn it_can_be_switched_off() {
    let mut world = settled(&[1, 1], &[], 2);
    world.routers.iter_mut().for_each(|router| router.config.deviations.remembered_election = false);
    flap(&mut world, &[0, 1]);
    assert!(takes(&mut world, &[0, 1]) > Duration::from_secs(35));
}

/// A hub and spokes that may not be elected: they do not wait, and name at once whom they hear.
#[test]
fn spokes_without_a_vote() {
    let (mut quick, mut tries) = (0, 0);
    for priorities in [&[1, 0][..], &[1, 1, 0], &[1, 1, 0, 0]] {
        let all: Vec<usize> = (0..priorities.len()).collect();
        for seed in 0..5 {
            let mut world = settled(priorities, &[], seed);
            let mut judge = |world: &mut World| {
                let took = takes(world, &all);
                assert!(took < Duration::from_secs(2), "{priorities:?}, {seed}: {took:?}\n{}", stands(world));
                quick += usize::from(took < Duration::from_millis(700));
                tries += 1;
                stays(world);
            };
            for away in [&all[..], &all[..1], &all[1..]] {
                flap(&mut world, away);
                judge(&mut world);
            }
            for router in &all {
                restart(&mut world, *router);
                judge(&mut world);
            }
        }
    }
    assert!(quick * 100 >= tries * 98, "{quick} of {tries}");
}

/// Who was backup may not be elected any more, and all begin again. It is over with the next hellos at the latest.
#[test]
fn a_backup_that_has_lost_its_vote() {
    for seed in 0..5 {
        let mut world = settled(&[1, 1, 1], &[], seed);
        let is_backup = |router: &usize| role_of(&world, *router) == Some(InterfaceState::Backup);
        let backup = (0..3).find(is_backup).unwrap();
        world.routers[backup].interfaces.get_mut(&100).unwrap().config.priority = 0;
        (0..3).for_each(|router| restart(&mut world, router));
        let took = takes(&mut world, &[0, 1, 2]);
        assert!(took < Duration::from_secs(11), "seed {seed}: {took:?}\n{}", stands(&world));
        stays(&mut world);
        assert!(role_of(&world, backup) == Some(InterfaceState::DrOther), "{}", stands(&world));
    }
}
