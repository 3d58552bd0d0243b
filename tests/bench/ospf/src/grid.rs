//! A grid of routers with four point-to-point links and one stub network each, for the speaker to tell of. Its first
//! router is the speaker itself; the one that is measured is behind it.

use std::net::Ipv4Addr;

use coati_wire::ospf::{INITIAL_SEQUENCE, Lsa, LsaBody, LsaKey, OPTION_E, RouterLink, RouterLsa, lsa_kind};

/// The router that is measured, and both ends of its link to the grid.
pub const MEASURED: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
pub const MEASURED_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const SPEAKER_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

/// What is not as usual with a router: metric of its first link beyond the usual, and whether its network is there.
#[derive(Clone, Copy)]
pub struct Change {
    pub metric: u16,
    pub network: bool,
}

pub const USUAL: Change = Change { metric: 0, network: true };

/// So many rows and columns.
#[derive(Clone, Copy)]
pub struct Grid(pub usize);

impl Grid {
    pub fn len(self) -> usize {
        self.0 * self.0
    }

    pub fn id(router: usize) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0001 + router as u32)
    }

    /// The stub network, a /24.
    pub fn network(router: usize) -> Ipv4Addr {
        Ipv4Addr::from(0x1400_0000 + ((router as u32) << 8))
    }

    /// Joined at the edges, so that each has four.
    fn neighbours(self, router: usize) -> [usize; 4] {
        let (x, y) = (router % self.0, router / self.0);
        let at = |x: usize, y: usize| y % self.0 * self.0 + x % self.0;
        [at(x + 1, y), at(x + self.0 - 1, y), at(x, y + 1), at(x, y + self.0 - 1)]
    }

    /// The router that is farthest away.
    pub fn far(self) -> usize {
        self.0 / 2 * self.0 + self.0 / 2
    }

    /// The instance of this number, from 0.
    pub fn lsa(self, router: usize, instance: i32, change: Change) -> Lsa {
        let link = |(port, to): (usize, usize)| RouterLink {
            id: Self::id(to),
            data: Ipv4Addr::from(0xc000_0000 + (router * 4 + port) as u32),
            kind: RouterLink::POINT_TO_POINT,
            metric: 10 + (router * 7 + to * 7) as u16 % 5,
        };
        let mut links: Vec<RouterLink> = self.neighbours(router).into_iter().enumerate().map(link).collect();
        if let Some(first) = links.first_mut() {
            first.metric += change.metric;
        }
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        if change.network {
            links.push(RouterLink {
                id: Self::network(router),
                data: mask,
                kind: RouterLink::STUB,
                metric: 10,
            });
        }
        if router == 0 {
            let (id, data) = (MEASURED, SPEAKER_ADDRESS);
            links.push(RouterLink { id, data, kind: RouterLink::POINT_TO_POINT, metric: 10 });
        }
        router_lsa(Self::id(router), instance, links)
    }

    pub fn lsas(self) -> Vec<Lsa> {
        (0..self.len()).map(|router| self.lsa(router, 0, USUAL)).collect()
    }
}

/// A router LSA of age 0.
pub fn router_lsa(id: Ipv4Addr, instance: i32, links: Vec<RouterLink>) -> Lsa {
    let key = LsaKey { kind: lsa_kind::ROUTER, id, advertising_router: id };
    let body = LsaBody::Router(RouterLsa { flags: 0, links });
    Lsa::new(key, OPTION_E, INITIAL_SEQUENCE + instance, body)
}
