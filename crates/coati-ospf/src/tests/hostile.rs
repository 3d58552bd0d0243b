//! What comes from the network does no harm; paths are the shortest ones.

use std::collections::HashMap;

use coati_wire::ospf::*;
use proptest::prelude::*;

use super::*;
use crate::graph::{Graph, Node};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every packet comes a second time with some bytes changed.
    #[test]
    fn changed_copies(seed in 0u64..1000, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), digest: bool) {
        let mut world = World::row(2, seed);
        let end = world.now + Duration::from_secs(20);
        while world.step(end) {
            let flying: Vec<Flying> = world.flying.iter().map(|Reverse(flying)| flying.clone()).collect();
            for (_, _, to, index, (source, ..), mut bytes) in flying {
                for (at, value) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *value;
                }
                if digest {
                    // So that the checksum does not save us.
                    bytes[12..14].fill(0);
                    let sum = coati_wire::checksum::internet(&[&bytes[..16], &bytes[24..]]);
                    bytes[12..14].copy_from_slice(&sum.to_be_bytes());
                }
                let now = world.now;
                world.routers[to].handle_input(now, &Input::to_all(index, source, &bytes));
                world.routers[to].handle_input(now, &Input::to_all(index, source, &bytes[..bytes.len() / 2]));
            }
            world.settle();
        }
        // As soon as that ends, all is well.
        prop_assert!(world.run_until(Duration::from_secs(3700), World::converged));
    }

    /// Random graphs: the same costs as by relaxing every edge again and again.
    #[test]
    fn shortest_paths(edges in prop::collection::vec((0u8..12, 0u8..12, 1u16..50), 1..40)) {
        let id = |router: u8| Ipv4Addr::new(1, 1, 1, router);
        let mut links: HashMap<u8, Vec<RouterLink>> = HashMap::new();
        let mut costs: HashMap<(u8, u8), u32> = HashMap::new();
        for (a, b, metric) in edges.iter().filter(|(a, b, _)| a != b) {
            for (from, to) in [(a, b), (b, a)] {
                let kind = RouterLink::POINT_TO_POINT;
                let link = RouterLink { id: id(*to), data: id(*from), kind, metric: *metric };
                links.entry(*from).or_default().push(link);
                let cost = costs.entry((*from, *to)).or_insert(u32::MAX);
                *cost = (*cost).min(u32::from(*metric));
            }
        }
        let lsas: Vec<Lsa> = (0..12).map(|router| {
            let mut links = links.remove(&router).unwrap_or_default();
            let stub = RouterLink { id: Ipv4Addr::new(10, 0, 0, router), data: Ipv4Addr::BROADCAST, kind: RouterLink::STUB, metric: 1 };
            links.push(stub);
            let key = LsaKey { kind: 1, id: id(router), advertising_router: id(router) };
            Lsa::new(key, 2, 1, LsaBody::Router(RouterLsa { flags: 0, links }))
        }).collect();
        let own: Vec<spf::OwnLink> = edges.iter().filter(|(a, b, _)| a != b && (*a == 0 || *b == 0)).map(|(a, b, metric)| {
            let router = a.max(b);
            let hops = vec![NextHop { interface: u32::from(*router), via: Some(id(*router)) }];
            spf::OwnLink { to: Node::Router(id(*router)), metric: *metric, hops }
        }).collect();
        let mut graph = Graph::default();
        for lsa in &lsas {
            let LsaBody::Router(router) = &lsa.body else { unreachable!() };
            graph.set_router(lsa.header.key.id, router);
        }
        let paths = spf::compute(&graph, id(0), &own, 16);
        let mut distance = [u32::MAX; 12];
        distance[0] = 0;
        for _ in 0..12 {
            for ((from, to), cost) in &costs {
                let through = distance[usize::from(*from)].saturating_add(*cost);
                distance[usize::from(*to)] = distance[usize::from(*to)].min(through);
            }
        }
        for router in 1..12u8 {
            let found = graph.number(Node::Router(id(router))).and_then(|number| paths.get(number));
            let found = found.map(|(cost, _)| cost);
            let expected = (distance[usize::from(router)] != u32::MAX).then(|| distance[usize::from(router)]);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn noise(list in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20)) {
        let mut world = World::row(2, 1);
        for bytes in list {
            let now = world.now;
            world.routers[0].handle_input(now, &Input::to_all(10, Ipv4Addr::new(203, 0, 0, 2), &bytes));
            world.routers[0].handle_input(now, &Input::to_all(1, Ipv4Addr::new(10, 1, 0, 9), &bytes));
            world.routers[0].handle_input(now, &Input::to_all(99, Ipv4Addr::new(10, 1, 0, 9), &bytes));
        }
        world.settle();
        prop_assert!(world.run_until(Duration::from_secs(2), World::converged));
    }
}
