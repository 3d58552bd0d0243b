//! A line that comes and goes.

use super::*;

/// A row of three; the line between the first two is cut and mended so many times.
fn flapping(times: usize, damped: bool) -> World {
    let mut world = World::row(3, 6);
    world.routers.iter_mut().for_each(|router| router.config.deviations.flap_damping = damped);
    assert!(world.run_until(Duration::from_secs(5), World::converged));
    world.run(Duration::from_secs(20));
    for _ in 0..times {
        flap(&mut world);
    }
    world
}

fn flap(world: &mut World) {
    let now = world.now;
    world.cables[0].cut = true;
    (0..2).for_each(|router| world.routers[router].link_dead(now, 10));
    world.settle();
    world.run(Duration::from_secs(1));
    world.cables[0].cut = false;
    let now = world.now;
    (0..2).for_each(|router| world.routers[router].link_alive(now, 10));
    world.settle();
    world.run(Duration::from_secs(2));
}

/// Computations of the router behind.
fn runs(world: &World) -> u64 {
    world.routers[2].areas[&BACKBONE].runs
}

#[test]
fn one_bad_line_does_not_keep_the_network_computing() {
    let count = |damped| {
        let mut world = flapping(4, damped);
        let before = runs(&world);
        (0..20).for_each(|_| flap(&mut world));
        runs(&world) - before
    };
    let (damped, undamped) = (count(true), count(false));
    assert!(damped <= 2, "{damped}");
    assert!(undamped >= 20, "{undamped}");
}

#[test]
fn it_is_told_of_when_it_stays() {
    let mut world = flapping(3, true);
    assert!(world.run_until(Duration::from_secs(2), World::converged), "three losses do no harm");
    flap(&mut world);
    assert_eq!(world.state(0, 10), State::Full);
    assert!(!world.converged());
    let said: Vec<String> = world.routers[0].problems().collect();
    assert!(said[0].contains("gre0: 10.255.0.2(203.0.0.2) was lost 4 times"), "{said:?}");
    assert!(world.run_until(Duration::from_secs(6), World::converged));
    assert_eq!(world.routers[0].problems().count(), 0);
    // Nothing is said of a neighbour that is not there any more.
    flap(&mut world);
    assert_eq!(world.routers[0].problems().count(), 1);
    let now = world.now;
    world.routers[0].link_dead(now, 10);
    assert_eq!(world.routers[0].problems().count(), 0);
    // Never longer than a minute, however often it was lost.
    (0..20).for_each(|_| flap(&mut world));
    assert!(world.run_until(Duration::from_secs(61), World::converged));
    // What is long ago is forgotten.
    world.run(Duration::from_secs(130));
    flap(&mut world);
    assert!(world.run_until(Duration::from_secs(1), World::converged));
}

#[test]
fn what_an_operator_does_is_no_loss() {
    let mut world = flapping(0, true);
    for _ in 0..8 {
        let now = world.now;
        let far = Ipv4Addr::new(203, 0, 0, 2);
        world.routers[0].neighbour_dead(now, 10, far, "cleared");
        world.routers[0].link_alive(now, 10);
        world.settle();
        world.run(Duration::from_secs(2));
    }
    // The other side has seen a hello without itself eight times: that is a loss for it.
    assert_eq!(world.routers[0].problems().count(), 0);
    assert!(world.run_until(Duration::from_secs(61), World::converged));
}
