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

/// A kernel that opens ESP tells of the port at once.
#[test]
fn the_data_plane_sees_the_other_port_first() {
    let mut world = World::behind_nat(3, natted(B), responder());
    world.acquire(0);
    assert!(world.run_until(Duration::from_secs(5), World::is_up));
    let now = world.now;
    for (host, port) in [(0, 4500), (1, 34_500)] {
        let address = world.hosts[host].address;
        let sas = world.hosts[host].sas(now);
        let [inbound, outbound] =
            [false, true].map(|out| sas.iter().find(|sa| (sa.id.source == address) == out).unwrap().id);
        world.hosts[host].engine.handle_moved(&outbound, 1);
        world.hosts[host].engine.handle_moved(&inbound, 34_500);
        world.settle();
        // Nobody follows a peer that is behind no NAT.
        let back = world.hosts[host].sas(now).into_iter().find(|sa| sa.id == outbound).unwrap();
        assert_eq!(back.nat_t.unwrap().destination_port, port);
        assert_eq!(world.hosts[host].engine.isakmp_sas()[0].remote.port(), port);
    }
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

/// Lets only the vendor ids of one version of the drafts through, by its first bytes.
fn only(bytes: &mut [u8], wanted: &[[u8; 4]]) {
    // Main mode's first two messages are in clear: vendor ids that are not wanted become unknown ones.
    const NAT_T: [[u8; 4]; 6] = [
        [0x4a, 0x13, 0x1c, 0x81],
        [0x7d, 0x94, 0x19, 0xa6],
        [0x90, 0xcb, 0x80, 0x91],
        [0xcd, 0x60, 0x46, 0x43],
        [0x16, 0xf6, 0xca, 0x16],
        [0x44, 0x85, 0x15, 0x2d],
    ];
    for at in 28..bytes.len().saturating_sub(16) {
        let start: [u8; 4] = bytes[at..at + 4].try_into().unwrap();
        if NAT_T.contains(&start) && !wanted.contains(&start) {
            bytes[at] = 0xee;
        }
    }
}

/// Kinds of the payloads of main mode's third and fourth message.
fn kinds(bytes: &[u8]) -> Vec<u8> {
    let (header, body) = coati_wire::isakmp::Header::parse(bytes).unwrap();
    coati_wire::isakmp::payloads(header.next_payload, body).unwrap().iter().map(|p| p.kind).collect()
}

#[test]
fn the_first_drafts_stay_on_port_500() {
    for (wanted, touch) in [
        (
            [0x44, 0x85, 0x15, 0x2d],
            (|_, bytes| {
                only(bytes, &[[0x44, 0x85, 0x15, 0x2d]]);
                true
            }) as fn(usize, &mut [u8]) -> bool,
        ),
        ([0x16, 0xf6, 0xca, 0x16], |_, bytes| {
            only(bytes, &[[0x16, 0xf6, 0xca, 0x16]]);
            true
        }),
    ] {
        let mut world = World::behind_nat(1, natted(B), responder());
        world.touch = touch;
        world.acquire(0);
        assert!(world.run_until(Duration::from_secs(5), World::is_up), "{wanted:?} {}", world.story());
        assert!(kinds(&world.log[2].1).ends_with(&[130, 130]), "{:?}", kinds(&world.log[2].1));
        let now = world.now;
        for host in 0..2 {
            assert!(world.hosts[host].engine.isakmp_sas()[0].local.port() == 500);
            for sa in world.hosts[host].sas(now) {
                assert!(sa.nat_t.is_some_and(|nat_t| nat_t.non_ike_marker));
            }
        }
        let a = world.hosts[0].address;
        let out = world.hosts[0].sas(now).into_iter().find(|sa| sa.id.source == a).unwrap().nat_t.unwrap();
        assert_eq!((out.source_port, out.destination_port), (500, 500));
        let back = world.hosts[1]
            .sas(now)
            .into_iter()
            .find(|sa| sa.id.source != world.hosts[0].address && sa.id.destination != world.hosts[1].address);
        assert_eq!(back.unwrap().nat_t.unwrap().destination_port, 20_500);
        assert!(ports(&world, 0).iter().all(|first| *first != 0), "no marker of port 4500");
    }
}

/// A peer that announces one of the drafts 04 to 08 only: its vendor id stands where RFC 3947's did.
#[test]
fn the_late_drafts_have_other_payloads() {
    let mut world = World::behind_nat(1, natted(B), responder());
    world.touch = |from, bytes| {
        const RFC: [u8; 16] = *b"\x4a\x13\x1c\x81\x07\x03\x58\x45\x5c\x57\x28\xf2\x0e\x95\x45\x2f";
        const LATE: [u8; 16] = *b"\x8f\x8d\x83\x82\x6d\x24\x6b\x6f\xc7\xa8\xa6\xa4\x28\xc1\x1d\xe8";
        if let Some(at) = bytes.windows(16).position(|part| part == RFC) {
            if from == 0 {
                only(bytes, &[[0x4a, 0x13, 0x1c, 0x81]]);
            }
            bytes[at..at + 16].copy_from_slice(&LATE);
        }
        true
    };
    world.acquire(0);
    world.run(Duration::from_secs(1));
    // The responder has answered by the draft's rules; the initiator, which has not offered it, knows what is meant.
    assert!(world.run_until(Duration::from_secs(5), World::is_up), "{}", world.story());
    assert!(kinds(&world.log[2].1).ends_with(&[15, 15]), "{:?}", kinds(&world.log[2].1));
    assert!(kinds(&world.log[3].1).ends_with(&[15, 15]), "{:?}", kinds(&world.log[3].1));
    assert!(world.hosts[1].engine.isakmp_sas().iter().any(|sa| sa.nat && sa.local.port() == 4500));
}

/// Two hosts behind one NAT, and the server they both talk to. Nothing is lost, and everything takes a millisecond.
struct Crowd {
    now: Instant,
    server: Host,
    clients: Vec<Host>,
    /// What the NAT adds to the ports of each.
    shifts: Vec<u16>,
}

impl Crowd {
    fn new(clients: &[&str], b: Config) -> Self {
        let now = Instant::now();
        let host =
            |(index, address): (usize, &&str)| Host::new(3000 + index as u64, address, B, natted(B), now);
        Self {
            now,
            server: Host::new(2000, B, NAT, b, now),
            clients: clients.iter().enumerate().map(host).collect(),
            shifts: (2..).map(|index| index * 10_000).take(clients.len()).collect(),
        }
    }

    fn begin(&mut self, client: usize) {
        let this = &mut self.clients[client];
        let policy = this.sadb.policies().into_iter().find(|p| p.direction == Direction::Out).unwrap();
        this.engine.establish_pair(self.now, &policy.selector).unwrap();
    }

    /// The host that has forgotten everything, at its old place or behind a new port.
    fn restart(&mut self, client: usize, address: &str, shift: u16) {
        self.clients[client] = Host::new(5000 + u64::from(shift), address, B, natted(B), self.now);
        self.shifts[client] = shift;
        self.begin(client);
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(1);
            let nat: IpAddr = NAT.parse().unwrap();
            for host in self.clients.iter_mut().chain([&mut self.server]) {
                host.engine.handle_timeout(self.now);
                host.sadb.handle_timeout(self.now, 0);
            }
            let mut flying = Vec::new();
            for (index, host) in self.clients.iter_mut().enumerate() {
                for transmit in pump(host, self.now) {
                    let source = SocketAddr::new(nat, transmit.local.port() + self.shifts[index]);
                    flying.push((None, transmit.remote, source, transmit.payload));
                }
            }
            for transmit in pump(&mut self.server, self.now) {
                let port = transmit.remote.port();
                let to = self
                    .shifts
                    .iter()
                    .position(|shift| [Some(500), Some(4500)].contains(&port.checked_sub(*shift)));
                let Some(to) = to.filter(|_| transmit.remote.ip() == nat) else { continue };
                let local = SocketAddr::new(self.clients[to].address, port - self.shifts[to]);
                flying.push((Some(to), local, transmit.local, transmit.payload));
            }
            for (to, local, from, bytes) in flying {
                let host = to.map_or(&mut self.server, |to| &mut self.clients[to]);
                host.engine.handle_input(self.now, local, from, &bytes);
            }
        }
    }

    /// Where the server sends ESP to, by SA.
    fn ports(&mut self) -> Vec<u16> {
        let sas = self.server.sas(self.now);
        let out = sas.iter().filter(|sa| sa.id.source == self.server.address);
        let mut ports: Vec<u16> = out.map(|sa| sa.nat_t.unwrap().destination_port).collect();
        ports.sort_unstable();
        ports
    }

    /// Whether what a client sends with is what the server receives with, and the other way round.
    fn is_up(&mut self, client: usize) -> bool {
        let server = self.server.sas(self.now);
        let host = &mut self.clients[client];
        let sas = host.sas(self.now);
        let both = |outgoing: bool| {
            let mut own = sas.iter().filter(|sa| (sa.id.source == host.address) == outgoing);
            own.any(|sa| server.iter().any(|other| other.id.spi == sa.id.spi && other.enc_key == sa.enc_key))
        };
        both(true) && both(false)
    }
}

/// Carries out what an engine asks of its data plane and of its worker; what it sends.
fn pump(host: &mut Host, now: Instant) -> Vec<Transmit> {
    let mut sent = Vec::new();
    loop {
        if let Some((tag, request)) = host.engine.poll_request() {
            let reply = host.sadb.request(now, 0, request);
            host.engine.handle_reply(now, tag, &reply);
        } else if let Some(Notification::Expire(expire)) = host.sadb.poll_notification() {
            host.engine.handle_expire(now, &expire);
        } else if let Some(job) = host.engine.poll_job() {
            host.engine.handle_job(now, job.run());
        } else if let Some(event) = host.engine.poll_event() {
            host.events.push(event);
        } else if let Some(transmit) = host.engine.poll_transmit() {
            sent.push(transmit);
        } else {
            return sent;
        }
    }
}

#[test]
fn two_hosts_behind_one_nat() {
    let mut crowd = Crowd::new(&["10.0.0.5", "10.0.0.6"], responder());
    for client in 0..2 {
        crowd.begin(client);
        crowd.run(Duration::from_secs(2));
    }
    // Both say INITIAL-CONTACT: neither ends what the other has.
    assert_eq!(crowd.ports(), [24_500, 34_500]);
    assert!(crowd.is_up(0) && crowd.is_up(1));
    assert_eq!(crowd.server.engine.isakmp_sas().len(), 2);

    // One starts anew, behind another port: its old SAs go, the other's stay.
    crowd.restart(0, "10.0.0.5", 40_000);
    crowd.run(Duration::from_secs(2));
    assert_eq!(crowd.ports(), [34_500, 44_500]);
    assert!(crowd.is_up(0) && crowd.is_up(1));

    // One takes leave.
    crowd.clients[1].engine.shutdown();
    crowd.run(Duration::from_secs(1));
    assert_eq!(crowd.ports(), [44_500]);
    assert!(crowd.is_up(0));

    // One vanishes: dead peer detection finds that one dead, and no other.
    crowd.restart(1, "10.0.0.6", 30_000);
    crowd.run(Duration::from_secs(2));
    assert_eq!(crowd.ports(), [34_500, 44_500]);
    crowd.shifts[0] = 50_000;
    crowd.clients[0] = Host::new(9, "10.0.0.5", B, natted(B), crowd.now);
    crowd.run(Duration::from_secs(60));
    assert_eq!(crowd.ports(), [34_500]);
    assert!(crowd.is_up(1));
}

#[test]
fn names_that_several_have_are_told_apart_by_port() {
    let mut b = responder();
    b.peers[0].exchange_modes = vec![ExchangeMode::Main];
    let mut crowd = Crowd::new(&["10.0.0.5", "10.0.0.6"], b);
    for client in &mut crowd.clients {
        let mut config = natted(B);
        config.peers[0].my_identifier = Identifier::Fqdn("branch.example.org".into());
        let local = client.address.to_string();
        *client = Host::new(u64::from(local.as_bytes()[7]), &local, B, config, crowd.now);
    }
    for client in 0..2 {
        crowd.begin(client);
        crowd.run(Duration::from_secs(2));
    }
    assert_eq!(crowd.ports(), [24_500, 34_500]);
    assert!(crowd.is_up(0) && crowd.is_up(1));
}

#[test]
fn renewal_of_both_leaves_one_pair_each() {
    let mut b = responder();
    b.sainfos[0].lifetime = 60;
    let mut crowd = Crowd::new(&["10.0.0.5", "10.0.0.6"], b);
    for (index, client) in crowd.clients.iter_mut().enumerate() {
        let mut config = natted(B);
        config.sainfos[0].lifetime = 60;
        let local = client.address.to_string();
        *client = Host::new(70 + index as u64, &local, B, config, crowd.now);
    }
    for client in 0..2 {
        crowd.begin(client);
    }
    crowd.run(Duration::from_secs(2));
    for _ in 0..30 {
        crowd.run(Duration::from_secs(5));
        assert!(crowd.is_up(0) && crowd.is_up(1));
        let mut ports = crowd.ports();
        ports.dedup();
        assert_eq!(ports, [24_500, 34_500]);
        assert!(crowd.server.sas(crowd.now).len() <= 8);
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
