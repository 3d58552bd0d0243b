use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use coati_kernel::{KernelHome, Leftovers};
use coati_sadb::{
    Action, AuthAlgorithm, Direction, EncAlgorithm, Home, Level, Lifetime, Mode, NatT, Notification, Offload,
    Policy, PolicyId, Port, Prefix, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto,
    SaState, Secret, Selector, Spi, Upper, Usage,
};
use coati_wire::xfrm::{self, Attribute, Body, Message, PolicyInfo, SaInfo};
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::suite::{self, WALL, add, esp, home, one, rule, with_all};
use crate::{OWN_INDEXES, OWN_SEQUENCE, Sockets, Xfrm, policy, refusal_of, sa};

/// As much of a kernel as a home can tell from the real one.
#[derive(Default)]
struct Tables {
    /// Each as the message that it came with.
    sas: Vec<(SaInfo, Vec<u8>)>,
    policies: Vec<(PolicyInfo, Vec<u8>)>,
    unasked: VecDeque<Vec<u8>>,
    /// What it says to new SAs.
    refuses: Option<i32>,
    /// The next time it is listened to, something is lost.
    overflows: bool,
    /// After each request: whether there was an outbound policy.
    protected: Vec<bool>,
    /// How often a policy was made or replaced.
    policy_puts: usize,
}

#[derive(Clone, Default)]
struct Fake(Rc<RefCell<Tables>>);

fn emit(body: Body<'_>) -> Vec<u8> {
    Message { flags: 0, sequence: 0, body, attributes: Vec::new() }.emit()
}

impl Tables {
    fn answer(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, i32> {
        let (message, _) = Message::parse(bytes).unwrap();
        match message.body {
            Body::NewSa(info) | Body::UpdateSa(info) => {
                if let Some(errno) = self.refuses {
                    return Err(errno);
                }
                // One that takes the place of a larval one without an SPI.
                self.sas.retain(|(old, _)| {
                    old.id.spi != 0 || (old.reqid, old.id.destination) != (info.reqid, info.id.destination)
                });
                let there = self.sas.iter().position(|(old, _)| old.id == info.id);
                match (message.body, there) {
                    (Body::NewSa(_), Some(_)) => return Err(17),
                    (Body::UpdateSa(_), None) => return Err(3),
                    (_, Some(place)) => drop(self.sas.remove(place)),
                    _ => {}
                }
                self.sas.push((info, bytes.to_vec()));
                self.unasked.push_back(bytes.to_vec());
            }
            Body::AllocateSpi(mut range) => {
                range.info.id.spi = 0xabcd;
                let larval = emit(Body::NewSa(range.info));
                self.sas.push((range.info, larval.clone()));
                return Ok(vec![larval]);
            }
            Body::DeleteSa(id) => {
                let before = self.sas.len();
                self.sas.retain(|(info, _)| (info.id.destination, info.id.spi) != (id.destination, id.spi));
                if self.sas.len() == before {
                    return Err(3);
                }
                self.unasked.push_back(bytes.to_vec());
            }
            Body::GetSa(id) => {
                let found = self.sas.iter().find(|(info, _)| info.id.spi == id.spi).ok_or(3)?;
                return Ok(vec![shown(&found.1)]);
            }
            Body::DumpSas => return Ok(self.sas.iter().map(|(_, bytes)| shown(bytes)).collect()),
            Body::FlushSas(_) => {
                self.sas.clear();
                self.unasked.push_back(bytes.to_vec());
            }
            Body::NewPolicy(mut info) | Body::UpdatePolicy(mut info) => {
                self.policy_puts += 1;
                let same = |(old, _): &(PolicyInfo, Vec<u8>)| {
                    (old.selector, old.direction) == (info.selector, info.direction)
                };
                let mut place = self.policies.len();
                if let Some(found) = self.policies.iter().position(same) {
                    if matches!(message.body, Body::NewPolicy(_)) {
                        return Err(17);
                    }
                    let old = self.policies.remove(found).0;
                    info.index = old.index;
                    // Among equals it stays where it is.
                    place = if old.priority == info.priority { found } else { place - 1 };
                }
                let body = Body::NewPolicy(info);
                self.policies.insert(place, (info, Message { body, ..message }.emit()));
                self.unasked.push_back(bytes.to_vec());
            }
            Body::DeletePolicy(id) => {
                let before = self.policies.len();
                let is_it = |info: &PolicyInfo| {
                    info.direction == id.direction
                        && if id.index == 0 { info.selector == id.selector } else { info.index == id.index }
                };
                self.policies.retain(|(info, _)| !is_it(info));
                if self.policies.len() == before {
                    return Err(2);
                }
                self.unasked.push_back(bytes.to_vec());
            }
            // The newest first.
            Body::DumpPolicies => {
                return Ok(self.policies.iter().rev().map(|(_, bytes)| bytes.clone()).collect());
            }
            _ => return Err(22),
        }
        Ok(Vec::new())
    }
}

/// As a dump has it.
fn shown(bytes: &[u8]) -> Vec<u8> {
    let (message, _) = Message::parse(bytes).unwrap();
    let body = match message.body {
        Body::UpdateSa(info) => Body::NewSa(info),
        other => other,
    };
    Message { body, ..message }.emit()
}

impl Sockets for Fake {
    fn ask(&mut self, request: &[u8]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
        let mut tables = self.0.borrow_mut();
        let (mut datagrams, errno) = match tables.answer(request) {
            Ok(datagrams) => (datagrams, 0),
            Err(errno) => (Vec::new(), errno),
        };
        let has_out = tables.policies.iter().any(|(info, _)| info.direction == 1);
        tables.protected.push(has_out);
        datagrams.push(emit(Body::Error { errno, text: None }));
        Ok(datagrams.into_iter().map(Zeroizing::new).collect())
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut tables = self.0.borrow_mut();
        if std::mem::take(&mut tables.overflows) {
            tables.unasked.clear();
            return Err(io::Error::from_raw_os_error(105));
        }
        Ok(tables.unasked.pop_front().map(Zeroizing::new))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }

    fn interface(&self, name: &str) -> Option<u32> {
        (name == "eth7").then_some(7)
    }

    fn interface_name(&self, number: u32) -> Option<String> {
        (number == 7).then(|| "eth7".to_owned())
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        address == IpAddr::from([192, 0, 2, 1])
    }
}

impl Fake {
    fn says(&self, message: &Message<'_>) {
        self.0.borrow_mut().unasked.push_back(message.emit());
    }
}

impl suite::Fake for Fake {
    type Kernel = Xfrm<Self>;

    fn home(&self, guarded: Vec<Selector>) -> Result<(KernelHome<Xfrm<Self>>, Leftovers), Refusal> {
        crate::home(self.clone(), guarded)
    }

    fn add_policy(&self, policy: &Policy) {
        let (mut info, attributes) = policy::message(policy).unwrap();
        info.index = 9;
        let bytes = Message::request(Body::NewPolicy(info), attributes).emit();
        self.0.borrow_mut().policies.push((info, bytes));
    }

    fn add_sa(&self, sa: &Sa) {
        let (info, attributes) = sa::message(sa).unwrap();
        let bytes = Message::request(Body::NewSa(info), attributes).emit();
        self.0.borrow_mut().sas.push((info, bytes));
    }

    fn flush_policies(&self) {
        self.0.borrow_mut().policies.clear();
        self.0.borrow_mut().unasked.push_back(emit(Body::FlushPolicies));
    }

    fn says_expired(&self, sa: &Sa, hard: bool) {
        let info = sa::larval(&sa.id, sa.mode, sa.reqid);
        self.0.borrow_mut().unasked.push_back(emit(Body::Expire(xfrm::Expire { info, hard: hard.into() })));
    }

    fn says_wanted(&self, (source, destination): (IpAddr, IpAddr), policy: &Policy) {
        let (mut info, attributes) = policy::message(policy).unwrap();
        info.index = policy.id.0;
        let acquire = xfrm::Acquire {
            id: xfrm::Id { destination: destination.into(), spi: 0, proto: 50 },
            source: source.into(),
            packet: policy::selector(&policy.selector),
            policy: info,
            ..xfrm::Acquire::default()
        };
        self.says(&Message { flags: 0, sequence: 0, body: Body::Acquire(acquire), attributes });
    }

    fn awaits(&self, sa: &Sa) {
        let larval = sa::larval(&SaId { spi: Spi(0), ..sa.id }, sa.mode, sa.reqid);
        self.0.borrow_mut().sas.push((larval, emit(Body::NewSa(larval))));
    }

    fn says_moved(&self, sa: &SaId, source: IpAddr, port: u16) {
        let id = sa::name(sa);
        let mapping =
            xfrm::Mapping { id, new_source: source.into(), new_port: port, ..xfrm::Mapping::default() };
        self.0.borrow_mut().unasked.push_back(emit(Body::Mapping(mapping)));
    }

    fn overflow(&self) {
        self.0.borrow_mut().overflows = true;
    }

    fn sas(&self) -> usize {
        self.0.borrow().sas.len()
    }

    fn policies(&self) -> usize {
        self.0.borrow().policies.len()
    }

    fn policy_puts(&self) -> usize {
        self.0.borrow().policy_puts
    }

    fn was_protected(&self) -> bool {
        std::mem::take(&mut self.0.borrow_mut().protected).into_iter().all(|protected| protected)
    }
}

with_all! {
    [Fake::default()];
    a_file_that_flushes_leaves_no_gap
    a_tunnel_is_never_bare
    a_policy_is_there_once
    an_in_policy_has_a_twin
    an_sa_from_its_spi_to_its_end
    policies_and_keys_replaced_at_once
    the_first_sa_lets_packets_go
    keys_are_wanted
    transport_mode_outside_of_a_tunnel_and_of_networks
    a_crash_leaves_nothing_behind
    another_port_of_a_nat_is_said
    the_end_removes_what_was_made_here_alone
}

#[test]
fn what_the_kernel_lacks_has_a_name() {
    let kernel = Fake::default();
    kernel.0.borrow_mut().refuses = Some(93);
    let refusal = crate::home(kernel.clone(), Vec::new()).err().unwrap();
    assert_eq!(refusal.to_string(), "the kernel has no esp: load its module esp4");
    kernel.0.borrow_mut().refuses = Some(2);
    let refusal = crate::home(kernel.clone(), Vec::new()).err().unwrap().to_string();
    assert!(refusal.contains("aes-cbc with hmac-sha1") && refusal.contains("echainiv"), "{refusal}");
    kernel.0.borrow_mut().refuses = Some(1);
    let refusal = crate::home(kernel, Vec::new()).err().unwrap().to_string();
    assert!(refusal.contains("CAP_NET_ADMIN"), "{refusal}");
}

/// Of policies of one priority the first in the file is looked at first, also where the file before had them in another order.
#[test]
fn a_policy_that_stays_comes_in_the_files_order() {
    let kernel = Fake::default();
    let mut home = home(&kernel);
    let other = Policy { selector: suite::gre(3, 4), ..suite::seeds(Direction::Out) };
    let files =
        [vec![add(Direction::Out)], vec![Request::SpdAdd(Box::new(other.clone())), add(Direction::Out)]];
    for file in files {
        home.requests(WALL, [vec![Request::SpdFlush], file].concat());
    }
    let order: Vec<_> = kernel.0.borrow().policies.iter().map(|(info, _)| info.selector).collect();
    let wanted =
        [other.selector, suite::seeds(Direction::Out).selector].map(|wanted| policy::selector(&wanted));
    assert_eq!(order, wanted);
}

#[test]
fn what_makes_no_sense_is_refused_before_the_kernel_is_asked() {
    let refused = |sa: Sa| refusal_of(&Request::Add(Box::new(sa))).map(|refusal| refusal.to_string());
    let text = refused(Sa { enc_key: Secret::new(vec![1; 15]), ..esp(0x1001, ReqId(0)) });
    assert_eq!(text.as_deref(), Some("aes-cbc takes a key of 128 or 192 or 256 bits, this one has 120"));
    let text = refused(Sa { replay_window: 5000, ..esp(0x1001, ReqId(0)) });
    assert_eq!(text.as_deref(), Some("a replay window of 5000 packets: 4096 are the most"));
    let text = refused(esp(255, ReqId(0)));
    assert_eq!(text.as_deref(), Some("SPI 255 is reserved: 256 is the first to use"));
    assert_eq!(refused(esp(256, ReqId(0))), None);
}

fn any_address() -> impl Strategy<Value = (bool, [u8; 16], [u8; 16])> {
    (any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>())
}

/// Two addresses of one family.
fn ends((v6, a, b): (bool, [u8; 16], [u8; 16])) -> (IpAddr, IpAddr) {
    let one = |bytes: [u8; 16]| match v6 {
        true => IpAddr::from(bytes),
        false => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
    };
    (one(a), one(b))
}

prop_compose! {
    fn any_sa()(
        addresses in any_address(),
        spi in 256u32..,
        reqid in any::<u32>(),
        tunnel in any::<bool>(),
        is_ah in any::<bool>(),
        esn in any::<bool>(),
        algorithms in (0..EncAlgorithm::ALL.len(), 0..AuthAlgorithm::ALL.len() - 1),
        key in any::<[u8; 64]>(),
        replay_window in 0u32..=4096,
        ports in proptest::option::of(any::<(u16, u16, bool)>()),
        limits in any::<[u32; 8]>(),
    ) -> Sa {
        let (source, destination) = ends(addresses);
        let proto = if is_ah { SaProto::Ah } else { SaProto::Esp };
        let enc = if is_ah { EncAlgorithm::Null } else { EncAlgorithm::ALL[algorithms.0] };
        let auth = if enc.is_aead() { AuthAlgorithm::None } else { AuthAlgorithm::ALL[algorithms.1] };
        let lifetime = |l: &[u32]| Lifetime {
            packets: l[0].into(),
            bytes: l[1].into(),
            add_seconds: l[2].into(),
            use_seconds: l[3].into(),
        };
        Sa {
            id: SaId { source, destination, proto, spi: Spi(spi) },
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            reqid: ReqId(reqid),
            enc,
            enc_key: Secret::new(key[..*enc.key_lengths().last().unwrap()].to_vec()),
            auth,
            auth_key: Secret::new(key[..auth.key_len()].to_vec()),
            replay_window,
            esn: esn && replay_window > 0,
            nat_t: ports.filter(|_| !is_ah).map(|(source_port, destination_port, non_ike_marker)| NatT {
                source_port,
                destination_port,
                original: None,
                non_ike_marker,
            }),
            soft: lifetime(&limits[..4]),
            hard: lifetime(&limits[4..]),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
            offload: None,
        }
    }
}

prop_compose! {
    fn any_policy()(
        addresses in any_address(),
        lengths in (0u8..=32, 0u8..=32),
        ports in any::<(Option<u16>, Option<u16>)>(),
        upper in any::<u8>(),
        direction in 0usize..3,
        priority in any::<u32>(),
        what in 0usize..3,
        tunnels in proptest::collection::vec((any_address(), any::<bool>(), 0u32..3, 0usize..3), 1..6),
    ) -> Policy {
        let (source, destination) = ends(addresses);
        let port = |port: Option<u16>| port.map_or(Port::Any, Port::Is);
        let protos = [SaProto::Esp, SaProto::Ah, SaProto::Ipcomp];
        let rules = tunnels.into_iter().map(|(addresses, tunnel, level, proto)| Rule {
            proto: protos[proto],
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            endpoints: tunnel.then(|| ends(addresses)),
            level: [Level::Use, Level::Require, Level::Unique(ReqId(7))][level as usize],
        });
        Policy {
            id: PolicyId(0),
            selector: Selector {
                source: Prefix::new(source, lengths.0).unwrap(),
                source_port: port(ports.0),
                destination: Prefix::new(destination, lengths.1).unwrap(),
                destination_port: port(ports.1),
                upper: if upper == 0 { Upper::Any } else { Upper::Proto(upper) },
            },
            direction: [Direction::In, Direction::Out, Direction::Fwd][direction],
            priority: Priority(priority),
            action: [Action::Discard, Action::None, Action::Ipsec(rules.collect())][what].clone(),
            usage: Usage::default(),
        }
    }
}

proptest! {
    #[test]
    fn sas_come_back_as_they_went(given in any_sa()) {
        let Ok((info, attributes)) = sa::message(&given) else {
            // What no home takes, and nothing else: no algorithm, or no host's address.
            prop_assert!(given.check().is_err(), "{given:?}");
            return Ok(());
        };
        let bytes = Message::request(Body::NewSa(info), attributes).emit();
        let (message, _) = Message::parse(&bytes).unwrap();
        let Body::NewSa(info) = message.body else { panic!() };
        prop_assert_eq!(sa::sa_of(&info, &message.attributes, 0), Some(given));
    }

    #[test]
    fn policies_come_back_as_they_went(given in any_policy()) {
        let Ok((info, attributes)) = policy::message(&given) else {
            // Transport mode outside of a tunnel of another family: Linux does not send by it.
            let Action::Ipsec(rules) = &given.action else { panic!("{given:?}") };
            let of_source = given.selector.source.address.is_ipv4();
            let is_other = |rule: &Rule| rule.tunnel_ends().is_some_and(|(near, _)| near.is_ipv4() != of_source);
            prop_assert!(given.direction == Direction::Out && rules.iter().any(is_other), "{given:?}");
            return Ok(());
        };
        let bytes = Message::request(Body::NewPolicy(info), attributes).emit();
        let (message, _) = Message::parse(&bytes).unwrap();
        let Body::NewPolicy(info) = message.body else { panic!() };
        // The kernel insists on it (`validate_tmpl`): only a tunnel changes the family.
        let mut family = info.selector.family;
        for attribute in &message.attributes {
            let Attribute::Templates(templates) = attribute else { continue };
            for template in templates {
                prop_assert!(template.mode == xfrm::mode::TUNNEL || template.family == family);
                family = template.family;
            }
        }
        prop_assert_eq!(policy::policy_of(&info, &message.attributes), Some(given));
    }

    #[test]
    fn whatever_the_kernel_says_is_no_danger(datagrams in proptest::collection::vec(any_datagram(), 0..8)) {
        let kernel = Fake::default();
        let mut home = home(&kernel);
        home.requests(WALL, vec![add(Direction::Out)]);
        kernel.0.borrow_mut().unasked.extend(datagrams);
        home.hear(WALL);
        while home.poll_notification().is_some() {}
    }
}

/// What is well-formed as a message, and otherwise any bytes.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    (0x10u16..0x20, any::<[u8; 280]>(), 0usize..=280).prop_map(|(kind, body, length)| {
        let mut bytes = u32::try_from(16 + length).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(&body[..length]);
        bytes
    })
}

#[test]
fn a_peer_behind_a_nat_that_moves_is_followed() {
    let kernel = Fake::default();
    let mut home = home(&kernel);
    let nat_t = NatT { source_port: 4500, destination_port: 4500, ..NatT::default() };
    let mut moving = Sa { nat_t: Some(nat_t), ..esp(0x1001, ReqId(1)) };
    one(&mut home, Request::Add(Box::new(moving.clone())));
    moving.nat_t = Some(NatT { destination_port: 1027, ..nat_t });
    assert_eq!(one(&mut home, Request::Update(Box::new(moving.clone()))), Reply::Done);
    assert_eq!(one(&mut home, Request::Get(moving.id)), Reply::Sas { sas: vec![moving] });
    let bytes = kernel.0.borrow().sas[0].1.clone();
    let (message, _) = Message::parse(&bytes).unwrap();
    assert!(message.attributes.iter().any(|attribute| matches!(
        attribute,
        Attribute::Encap(encap) if (encap.kind, encap.destination_port) == (2, 1027)
    )));
}

/// What a kernel 6.1 has said while the seed's router ran on it with strongSwan at the other end: a dump of its SAs, one of
/// its policies, and what it has told unasked.
fn recorded(text: &str) -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn all_messages(datagrams: &[Vec<u8>]) -> Vec<Message<'_>> {
    datagrams.iter().flat_map(|datagram| xfrm::messages(datagram)).map(Result::unwrap).collect()
}

#[test]
fn a_recorded_dump_of_sas() {
    let datagrams = recorded(include_str!("recorded/sas.hex"));
    let messages = all_messages(&datagrams);
    let [outbound, inbound] = [0, 1].map(|index: usize| {
        let Body::NewSa(info) = messages[index].body else { panic!("{:?}", messages[index]) };
        assert_eq!(
            (info.sequence, messages[index].flags & xfrm::flag::MULTI),
            (OWN_SEQUENCE, xfrm::flag::MULTI)
        );
        sa::sa_of(&info, &messages[index].attributes, info.used.added).unwrap()
    });
    assert!(matches!(messages[2].body, Body::Done(0)), "{:?}", messages[2]);
    let (ours, theirs): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    for (sa, source, destination, reqid) in
        [(&outbound, ours, theirs, 16384), (&inbound, theirs, ours, 16385)]
    {
        assert_eq!((sa.id.source, sa.id.destination, sa.reqid), (source, destination, ReqId(reqid)));
        assert_eq!((sa.enc, sa.enc_key.len()), (EncAlgorithm::AesCbc, 16));
        assert_eq!((sa.auth, sa.auth_key.len()), (AuthAlgorithm::HmacSha1, 20));
        assert_eq!((sa.mode, sa.state, sa.replay_window), (Mode::Transport, SaState::Mature, 64));
        assert_eq!((sa.hard.add_seconds, sa.hard.bytes), (6, 0));
        assert!(sa.sequence == sa.usage.packets && sa.usage.packets > 0, "{sa:?}");
    }
    assert_eq!([outbound.id.spi, inbound.id.spi], [Spi(0xca64_4f5f), Spi(0x7856_47ef)]);
    assert_eq!([outbound.sequence, inbound.sequence], [15, 10]);
}

#[test]
fn a_recorded_dump_of_policies() {
    let datagrams = recorded(include_str!("recorded/policies.hex"));
    let messages = all_messages(&datagrams);
    let policies: Vec<Policy> = messages
        .iter()
        .filter_map(|message| match message.body {
            Body::NewPolicy(info) => policy::policy_of(&info, &message.attributes),
            _ => None,
        })
        .collect();
    // Four more are those of IKE's sockets.
    assert_eq!((messages.len(), policies.len()), (8, 3));
    for found in &policies {
        let reqid = if found.direction == Direction::Out { 16384 } else { 16385 };
        assert_eq!(found.action, Action::Ipsec(vec![rule(Level::Unique(ReqId(reqid)))]));
        assert_eq!((found.selector.upper, found.priority), (Upper::GRE, Priority::default()));
        assert!(OWN_INDEXES.contains(&found.id.0));
    }
}

/// All of it, told to a home in the order in which it was said.
#[test]
fn a_recorded_life_of_a_tunnel() {
    let kernel = Fake::default();
    let mut home = home(&kernel);
    home.requests(WALL, Vec::new());
    let (mut acquired, mut soft, mut hard, mut opened) = (0, 0, 0, 0);
    let datagrams = recorded(include_str!("recorded/events.hex"));
    for datagram in datagrams {
        // Its policies are those of the fake, which is asked for them.
        if let Ok((message, _)) = Message::parse(&datagram)
            && matches!(message.body, Body::NewPolicy(_) | Body::UpdatePolicy(_))
        {
            kernel.0.borrow_mut().answer(&datagram).unwrap();
            kernel.0.borrow_mut().unasked.clear();
        }
        kernel.0.borrow_mut().unasked.push_back(datagram);
        home.hear(WALL);
        let is_open =
            home.policies().iter().any(|p| p.direction == Direction::Out && home.is_open(&p.selector));
        opened += usize::from(is_open);
        while let Some(notification) = home.poll_notification() {
            match notification {
                Notification::Acquire(acquire) => {
                    assert_eq!((acquire.reqid, acquire.mode), (ReqId(16384), Mode::Transport));
                    assert_eq!(acquire.selector.upper, Upper::GRE);
                    acquired += 1;
                }
                Notification::Expire(expire) if expire.hard => hard += 1,
                Notification::Expire(_) => soft += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    // Open from the first SA on, but for the time between an end and a renewal that came late.
    assert_eq!((acquired, soft, hard, opened), (1, 3, 3, 11));
}

/// `-hwif`: as a card's, with its direction, to the kernel (`xfrm_user_offload`) and back; with a sentence when it will not.
#[test]
#[cfg(target_endian = "little")]
fn what_hardware_is_to_do() {
    let kernel = Fake::default();
    let mut home = home(&kernel);
    let card = |interface: &str, inbound| Some(Offload { interface: interface.to_owned(), inbound });
    let (ours, theirs): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    let (v6, other): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    for (spi, source, destination, flags) in
        [(0x1001, theirs, ours, 2), (0x1002, ours, theirs, 0), (0x1003, v6, other, 1)]
    {
        let plain = esp(spi, ReqId(1));
        let id = SaId { source, destination, ..plain.id };
        let new = Sa { id, offload: card("eth7", None), ..plain };
        assert_eq!(one(&mut home, Request::Add(Box::new(new.clone()))), Reply::Done);
        let bytes = kernel.0.borrow().sas.last().unwrap().1.clone();
        let attribute = [12, 0, 28, 0, 7, 0, 0, 0, flags, 0, 0, 0];
        assert!(bytes.windows(12).any(|window| window == attribute), "{bytes:?}");
        let Reply::Sas { sas } = one(&mut home, Request::Get(id)) else { panic!() };
        assert_eq!(sas[0].offload, card("eth7", Some(flags & 2 != 0)));
    }
    let new = Sa { offload: card("eth8", None), ..esp(0x1004, ReqId(1)) };
    let Reply::Refused { refusal } = one(&mut home, Request::Add(Box::new(new.clone()))) else { panic!() };
    assert_eq!(refusal.to_string(), "there is no interface eth8 whose hardware could do it");
    for errno in [22, 95] {
        kernel.0.borrow_mut().refuses = Some(errno);
        let new = Sa { offload: card("eth7", None), ..new.clone() };
        let Reply::Refused { refusal } = one(&mut home, Request::Add(Box::new(new))) else { panic!() };
        assert!(matches!(refusal, Refusal::Unsupported(_)), "{refusal:?}");
        assert!(refusal.to_string().starts_with("not with the hardware of eth7: the kernel "), "{refusal}");
    }
}
