//! What every kernel's home is tried with, whichever the kernel is and however it is spoken to: the tests of `coati-xfrm`
//! and `coati-pfkey` include this file and bring fakes that speak the kernel's own bytes.

use std::net::IpAddr;

use coati_kernel::{Kernel, KernelHome, Leftovers};
use coati_sadb::{
    Action, AuthAlgorithm, Changes, Direction, EncAlgorithm, Home, Level, Lifetime, Mode, NatT, Notification,
    Policy, PolicyId, Port, Prefix, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto,
    SaState, Secret, Selector, Spi, Upper, Usage,
};

pub(crate) const WALL: u64 = 1_700_000_000;

/// As much of a kernel as a home can tell from the real one.
pub(crate) trait Fake: Clone {
    type Kernel: Kernel;

    fn home(&self, guarded: Vec<Selector>) -> Result<(KernelHome<Self::Kernel>, Leftovers), Refusal>;

    /// Somebody else's.
    fn add_policy(&self, policy: &Policy);
    fn add_sa(&self, sa: &Sa);
    /// Somebody else removes all policies.
    fn flush_policies(&self);

    fn says_expired(&self, sa: &Sa, hard: bool);
    fn says_wanted(&self, ends: (IpAddr, IpAddr), policy: &Policy);
    /// A packet waits for this SA, which has no SPI yet.
    fn awaits(&self, sa: &Sa);
    /// The kernel has had an authentic packet for the SA `sa` from this address and port.
    fn says_moved(&self, sa: &SaId, source: IpAddr, port: u16);
    /// The next time it is listened to, something is lost.
    fn overflow(&self);

    fn sas(&self) -> usize;
    fn policies(&self) -> usize;
    /// How often a policy was made or replaced.
    fn policy_puts(&self) -> usize;
    /// Whether there was an outbound policy after each request since this was asked last.
    fn was_protected(&self) -> bool;
}

/// Each of these, as a test, with all the fakes.
macro_rules! with_all {
    ($fakes:expr; $($test:ident)*) => {$(
        #[test]
        fn $test() {
            $fakes.into_iter().for_each($crate::suite::$test);
        }
    )*};
}
pub(crate) use with_all;

pub(crate) fn address(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

pub(crate) fn gre(from: u8, to: u8) -> Selector {
    Selector {
        source: Prefix::host(address(from)),
        source_port: Port::Any,
        destination: Prefix::host(address(to)),
        destination_port: Port::Any,
        upper: Upper::GRE,
    }
}

pub(crate) fn rule(level: Level) -> Rule {
    Rule { proto: SaProto::Esp, mode: Mode::Transport, endpoints: None, level }
}

/// The seed's, of one direction.
pub(crate) fn seeds(direction: Direction) -> Policy {
    Policy {
        id: PolicyId(0),
        selector: if direction == Direction::Out { gre(1, 2) } else { gre(2, 1) },
        direction,
        priority: Priority::default(),
        action: Action::Ipsec(vec![rule(Level::Unique(ReqId(0)))]),
        usage: Usage::default(),
    }
}

pub(crate) fn add(direction: Direction) -> Request {
    Request::SpdAdd(Box::new(seeds(direction)))
}

pub(crate) fn esp(spi: u32, reqid: ReqId) -> Sa {
    let id = SaId { source: address(1), destination: address(2), proto: SaProto::Esp, spi: Spi(spi) };
    let keys = (Secret::new(vec![1; 16]), Secret::new(vec![2; 20]));
    Sa {
        reqid,
        replay_window: 32,
        soft: Lifetime { add_seconds: 80, ..Lifetime::default() },
        hard: Lifetime { add_seconds: 100, bytes: 1 << 40, ..Lifetime::default() },
        ..Sa::with_keys(id, EncAlgorithm::AesCbc, keys.0, AuthAlgorithm::HmacSha1, keys.1)
    }
}

pub(crate) fn home<F: Fake>(kernel: &F) -> KernelHome<F::Kernel> {
    with_guarded(kernel, Vec::new()).0
}

fn with_guarded<F: Fake>(kernel: &F, guarded: Vec<Selector>) -> (KernelHome<F::Kernel>, Leftovers) {
    kernel.home(guarded).unwrap_or_else(|refusal| panic!("{refusal}"))
}

pub(crate) fn one(home: &mut impl Home, request: Request) -> Reply {
    home.requests(WALL, vec![request]).remove(0)
}

pub(crate) fn reqid_out(home: &impl Home) -> ReqId {
    let out = home.policies().iter().find(|policy| policy.selector == gre(1, 2)).unwrap();
    let Action::Ipsec(rules) = &out.action else { panic!("{out:?}") };
    let Level::Unique(reqid) = rules[0].level else { panic!("{rules:?}") };
    reqid
}

fn has_forward<F: Fake>(kernel: &F) -> bool {
    let mut home = home(kernel);
    home.requests(WALL, vec![add(Direction::In)]);
    home.policies().len() == 2
}

pub(crate) fn a_file_that_flushes_leaves_no_gap<F: Fake>(kernel: F) {
    // Only Linux has policies for what is forwarded.
    let wanted = [Direction::Out, Direction::In, Direction::Fwd];
    let wanted = &wanted[..if has_forward(&kernel) { 3 } else { 2 }];
    let mut home = home(&kernel);
    let file = || vec![Request::Flush(None), Request::SpdFlush, add(Direction::Out), add(Direction::In)];
    assert_eq!(home.requests(WALL, file()), [Reply::Done, Reply::Done, Reply::Done, Reply::Done]);
    // One of somebody else, which the flush ends.
    kernel.add_policy(&Policy { selector: gre(7, 8), action: Action::None, ..seeds(Direction::Out) });
    kernel.was_protected();
    assert_eq!(home.requests(WALL, file()), [Reply::Done, Reply::Done, Reply::Done, Reply::Done]);
    assert!(kernel.was_protected());
    let directions: Vec<Direction> = home.policies().iter().map(|policy| policy.direction).collect();
    assert_eq!(directions, wanted);
    assert!(home.take_changes().policies);
    // Without anything behind it, it ends all of them.
    assert_eq!(one(&mut home, Request::SpdFlush), Reply::Done);
    assert_eq!(home.policies(), []);
}

/// What a tunnel sends without a policy is dropped, as in the embedded data plane.
pub(crate) fn a_tunnel_is_never_bare<F: Fake>(kernel: F) {
    let (mut home, _) = with_guarded(&kernel, vec![gre(1, 2)]);
    let action = |home: &KernelHome<F::Kernel>| {
        home.policies().iter().find(|p| p.selector == gre(1, 2)).unwrap().action.clone()
    };
    home.requests(WALL, Vec::new());
    assert_eq!(action(&home), Action::Discard);
    kernel.was_protected();
    let nobody = Reply::Refused { refusal: Refusal::NoPolicy };
    let delete = || Request::SpdDelete(Box::new(gre(1, 2)), Direction::Out);
    assert_eq!(one(&mut home, delete()), nobody);
    for _ in 0..2 {
        assert_eq!(one(&mut home, add(Direction::Out)), Reply::Done);
        assert!(matches!(action(&home), Action::Ipsec(_)));
        assert_eq!(one(&mut home, delete()), Reply::Done);
        assert_eq!(action(&home), Action::Discard);
    }
    assert_eq!(one(&mut home, add(Direction::Out)), Reply::Done);
    assert_eq!(one(&mut home, Request::SpdFlush), Reply::Done);
    assert_eq!(action(&home), Action::Discard);
    let anew = home.requests(WALL, vec![Request::SpdFlush, add(Direction::Out)]);
    assert_eq!(anew, [Reply::Done, Reply::Done]);
    assert!(kernel.was_protected());
    kernel.flush_policies();
    home.hear(WALL);
    assert_eq!(action(&home), Action::Discard);
    drop(home);
    assert_eq!(kernel.policies(), 0);
}

pub(crate) fn a_policy_is_there_once<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    assert_eq!(one(&mut home, add(Direction::Out)), Reply::Done);
    let again = Reply::Refused { refusal: Refusal::Exists };
    assert_eq!(one(&mut home, add(Direction::Out)), again);
    let flushed = vec![Request::SpdFlush, Request::SpdDelete(Box::new(gre(1, 2)), Direction::Out)];
    assert_eq!(home.requests(WALL, flushed)[1], Reply::Refused { refusal: Refusal::NoPolicy });
}

pub(crate) fn an_in_policy_has_a_twin<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    one(&mut home, add(Direction::In));
    let actions: Vec<&Action> = home.policies().iter().map(|policy| &policy.action).collect();
    assert!(actions.windows(2).all(|pair| pair[0] == pair[1]) && !actions.is_empty(), "{actions:?}");
    let delete = Request::SpdDelete(Box::new(gre(2, 1)), Direction::In);
    assert_eq!(one(&mut home, delete), Reply::Done);
    assert_eq!(home.policies(), []);
}

pub(crate) fn an_sa_from_its_spi_to_its_end<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    home.requests(WALL, vec![add(Direction::Out)]);
    let reqid = reqid_out(&home);
    assert!(!home.is_open(&gre(1, 2)));
    let whole = esp(0xabcd, reqid);
    let SaId { source, destination, proto, .. } = whole.id;
    let get = Request::GetSpi { source, destination, proto, mode: Mode::Transport, reqid, spi: Spi(0) };
    assert_eq!(one(&mut home, get), Reply::Spi { spi: Spi(0xabcd) });
    let Reply::Sas { sas } = one(&mut home, Request::Dump(None)) else { panic!() };
    assert_eq!((sas[0].id.spi, sas[0].state, sas[0].reqid), (Spi(0xabcd), SaState::Larval, reqid));
    assert!(!home.is_open(&gre(1, 2)));
    assert_eq!(one(&mut home, Request::Update(Box::new(whole.clone()))), Reply::Done);
    assert!(home.is_open(&gre(1, 2)));
    assert!(!home.is_open(&gre(2, 1)));
    assert_eq!(one(&mut home, Request::Get(whole.id)), Reply::Sas { sas: vec![whole.clone()] });
    // The kernel says that it has come to its soft, then to its hard limit.
    for hard in [false, true] {
        kernel.says_expired(&whole, hard);
        home.hear(WALL);
        let Some(Notification::Expire(expire)) = home.poll_notification() else { panic!() };
        assert_eq!((expire.id, expire.reqid, expire.hard), (whole.id, reqid, hard));
        assert_eq!(home.is_open(&gre(1, 2)), !hard);
    }
    // What it says of larval ones is nobody's business.
    kernel.says_expired(&esp(0, reqid), true);
    home.hear(WALL);
    assert_eq!(home.poll_notification(), None);
}

/// A file with keys by hand is loaded, and then another one: letting go what waits for the new keys does not bring the old
/// policy back.
pub(crate) fn policies_and_keys_replaced_at_once<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    for levels in [vec![Level::Unique(ReqId(1))], vec![Level::Unique(ReqId(1)), Level::Unique(ReqId(2))]] {
        let rules: Vec<Rule> = levels.into_iter().map(rule).collect();
        let policy = Policy { action: Action::Ipsec(rules.clone()), ..seeds(Direction::Out) };
        let keys = [(0x1001, ReqId(1)), (0x1002, ReqId(2))];
        let keys = keys.map(|(spi, reqid)| Request::Add(Box::new(esp(spi, reqid))));
        let file = [Request::Flush(None), Request::SpdFlush].into_iter().chain(keys);
        home.requests(WALL, file.chain([Request::SpdAdd(Box::new(policy))]).collect());
        let Reply::Policies { policies } = one(&mut home, Request::SpdDump) else { panic!() };
        assert_eq!(policies.iter().map(|found| &found.action).collect::<Vec<_>>(), [&Action::Ipsec(rules)]);
    }
}

/// Packets that wait in the kernel's queue, and ways into it, end with the policy that made it.
pub(crate) fn the_first_sa_lets_packets_go<F: Fake>(kernel: F) {
    let keeps_packets = has_forward(&kernel);
    let mut home = home(&kernel);
    home.requests(WALL, vec![add(Direction::Out)]);
    let reqid = reqid_out(&home);
    home.take_changes();
    let mut puts = |spi, reqid| {
        let before = kernel.policy_puts();
        one(&mut home, Request::Add(Box::new(esp(spi, reqid))));
        kernel.policy_puts() - before
    };
    assert_eq!(puts(0x1001, ReqId(1)), 0);
    assert_eq!(puts(0x1002, reqid), usize::from(keeps_packets));
    // A renewal is nothing that anybody waits for.
    assert_eq!(puts(0x1003, reqid), 0);
    assert_eq!(reqid_out(&home), reqid);
    // The kernel has told of the policy, and it is the same.
    assert_eq!(home.take_changes(), Changes { sas: true, policies: false });
}

pub(crate) fn keys_are_wanted<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    home.requests(WALL, vec![add(Direction::Out)]);
    let reqid = reqid_out(&home);
    let policy = home.policies()[0].clone();
    kernel.says_wanted((address(1), address(2)), &policy);
    home.hear(WALL);
    let Some(Notification::Acquire(heard)) = home.poll_notification() else { panic!() };
    assert_eq!((heard.source, heard.destination, heard.reqid), (address(1), address(2), reqid));
    assert_eq!((heard.selector, heard.policy, heard.mode), (gre(1, 2), policy.id, Mode::Transport));
    // Between hosts that no policy is about.
    kernel.says_wanted((address(1), address(3)), &policy);
    home.hear(WALL);
    assert_eq!(home.poll_notification(), None);
    // When the kernel's word got lost, the larval SA that it waits for is found, and ends with whoever would have made it.
    kernel.awaits(&esp(0, reqid));
    kernel.overflow();
    home.hear(WALL);
    assert_eq!(home.poll_notification(), Some(Notification::Acquire(heard)));
    assert_eq!(home.poll_notification(), None);
    drop(home);
    assert_eq!(kernel.sas(), 0);
}

/// A rule in transport mode behind one in tunnel mode is about the tunnel's ends, and one of networks about whoever sends.
pub(crate) fn transport_mode_outside_of_a_tunnel_and_of_networks<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    let ends = (address(1), address(2));
    let tunnel = Rule { mode: Mode::Tunnel, endpoints: Some(ends), ..rule(Level::Unique(ReqId(7))) };
    let outside = Rule { proto: SaProto::Ah, ..rule(Level::Unique(ReqId(8))) };
    let network = |text: &str| text.parse::<Prefix>().unwrap();
    let selector =
        Selector { source: network("10.1.0.0/16"), destination: network("10.2.0.0/16"), ..gre(1, 2) };
    let bundle = Policy { selector, action: Action::Ipsec(vec![tunnel, outside]), ..seeds(Direction::Out) };
    let hosts =
        Selector { source: network("192.0.2.0/24"), destination: network("192.0.2.0/24"), ..gre(1, 2) };
    let whoever = Policy {
        selector: hosts,
        action: Action::Ipsec(vec![rule(Level::Unique(ReqId(9)))]),
        ..seeds(Direction::Out)
    };
    let all = [bundle, whoever].map(|policy| Request::SpdAdd(Box::new(policy)));
    assert_eq!(home.requests(WALL, all.to_vec()), [Reply::Done, Reply::Done]);
    let packet = Selector {
        source: Prefix::host([10, 1, 0, 1].into()),
        destination: Prefix::host([10, 2, 0, 1].into()),
        ..gre(1, 2)
    };
    for (reqid, proto, selector) in
        [(7, SaProto::Esp, selector), (8, SaProto::Ah, selector), (9, SaProto::Esp, hosts)]
    {
        assert!(!home.is_open(&packet) || reqid == 9);
        // Asked for, or found when that was lost.
        let mode = if reqid == 7 { Mode::Tunnel } else { Mode::Transport };
        let waited = esp(0, ReqId(reqid));
        kernel.awaits(&Sa { id: SaId { proto, ..waited.id }, mode, ..waited });
        kernel.overflow();
        home.hear(WALL);
        let Some(Notification::Acquire(heard)) = home.poll_notification() else { panic!("{reqid}") };
        assert_eq!(
            (heard.selector, heard.reqid, heard.proto, heard.mode),
            (selector, ReqId(reqid), proto, mode)
        );
        assert_eq!(home.poll_notification(), None);
        let mut made = Sa { mode, ..esp(0x1000 + reqid, ReqId(reqid)) };
        made.id.proto = proto;
        if proto == SaProto::Ah {
            (made.enc, made.enc_key) = (EncAlgorithm::Null, Secret::default());
        }
        assert_eq!(one(&mut home, Request::Add(Box::new(made))), Reply::Done);
    }
    assert!(home.is_open(&packet));
    assert!(home.is_open(&gre(1, 2)) && !home.is_open(&gre(1, 3)));
}

pub(crate) fn a_crash_leaves_nothing_behind<F: Fake>(kernel: F) {
    let policies = if has_forward(&kernel) { 3 } else { 2 };
    let mut first = home(&kernel);
    first.requests(WALL, vec![add(Direction::Out), add(Direction::In)]);
    first.requests(WALL, vec![Request::Add(Box::new(esp(0x1001, ReqId(1))))]);
    // Somebody else's stays.
    kernel.add_sa(&esp(0x1002, ReqId(1)));
    // Nobody cleans up.
    std::mem::forget(first);
    let (mut second, left) = with_guarded(&kernel, Vec::new());
    assert_eq!(left, Leftovers { sas: 1, policies });
    assert_eq!(kernel.sas(), 1);
    // The one that is wanted again is there all the time; the others go.
    kernel.was_protected();
    assert_eq!(second.requests(WALL, vec![add(Direction::Out)]), [Reply::Done]);
    assert!(kernel.was_protected());
    assert_eq!(second.policies().len(), 1);
    drop(second);
    assert_eq!((kernel.sas(), kernel.policies()), (1, 0));
}

pub(crate) fn the_end_removes_what_was_made_here_alone<F: Fake>(kernel: F) {
    kernel.add_policy(&Policy { selector: gre(7, 8), action: Action::None, ..seeds(Direction::Out) });
    // It has the name of the one that the kernel is tried with.
    let theirs = coati_kernel::trial_id();
    kernel.add_sa(&Sa { id: theirs, ..esp(0x2002, ReqId(3)) });
    let mut home = home(&kernel);
    home.requests(WALL, vec![add(Direction::Out), add(Direction::In)]);
    home.requests(WALL, vec![Request::Add(Box::new(esp(0x1001, ReqId(1))))]);
    assert!(kernel.sas() == 2 && kernel.policies() > 2);
    // A packet waits, and a negotiation is under way.
    let reqid = reqid_out(&home);
    let SaId { source, destination, proto, .. } = esp(0, reqid).id;
    let get = Request::GetSpi { source, destination, proto, mode: Mode::Transport, reqid, spi: Spi(0) };
    kernel.awaits(&esp(0, reqid));
    one(&mut home, get);
    drop(home);
    assert_eq!((kernel.sas(), kernel.policies()), (1, 1));
    let mut after = self::home(&kernel);
    let Reply::Sas { sas } = one(&mut after, Request::Dump(None)) else { panic!() };
    assert_eq!((sas[0].id, after.policies()[0].selector), (theirs, gre(7, 8)));
}

/// The kernel tells of packets from another port, and sends to the old one until it is told otherwise.
pub(crate) fn another_port_of_a_nat_is_said<F: Fake>(kernel: F) {
    let mut home = home(&kernel);
    let nat_t = NatT { source_port: 4500, destination_port: 4500, ..NatT::default() };
    let sa = Sa { nat_t: Some(nat_t), ..esp(0x1001, ReqId(1)) };
    one(&mut home, Request::Add(Box::new(sa.clone())));
    let mut says = |spi: u32, source: IpAddr| {
        kernel.says_moved(&SaId { spi: Spi(spi), ..sa.id }, source, 1027);
        home.hear(WALL);
        home.poll_notification()
    };
    assert_eq!(says(0x1001, sa.id.source), Some(Notification::Moved { id: sa.id, port: 1027 }));
    // From another address, and of an SA that nobody has.
    assert_eq!(says(0x1001, [198, 51, 100, 7].into()), None);
    assert_eq!(says(0x1002, sa.id.source), None);
}
