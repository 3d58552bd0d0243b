use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use coati_kernel::{KernelHome, Leftovers};
use coati_sadb::{
    Action, AuthAlgorithm, Changes, Direction, EncAlgorithm, Home, Level, Lifetime, Mode, NatT, Notification,
    Offload, Policy, PolicyId, Port, Prefix, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId,
    SaProto, SaState, Secret, Selector, Spi, Upper, Usage,
};
use coati_wire::pfkey::{
    self, Layout, Lifetime as Limits, Message, PolicyNumbers, SaNumbers, message, sa_type,
};
use proptest::prelude::*;
use zeroize::Zeroizing;

use crate::suite::{self, WALL, add, address, esp, gre, home, one, reqid_out, rule, seeds, with_all};
use crate::{PfKey, Sockets, policy, refusal_of, remark_of, sa};

const ENOENT: u8 = 2;
const ESRCH: u8 = 3;
const EEXIST: u8 = 17;
const LAYOUTS: [Layout; 3] = Layout::ALL;

/// As much of a kernel as a home can tell from the real one.
struct Tables {
    layout: Layout,
    /// Each as the message that it came with.
    sas: Vec<Vec<u8>>,
    policies: Vec<Vec<u8>>,
    answers: VecDeque<Vec<u8>>,
    unasked: VecDeque<Vec<u8>>,
    /// What it says to new SAs.
    refuses: Option<u8>,
    /// The next time it is listened to, something is lost.
    overflows: bool,
    /// After each request: whether there was an outbound policy.
    protected: Vec<bool>,
    /// How often a policy was made or replaced.
    policy_puts: usize,
    next_id: u32,
    registered: Vec<u8>,
}

#[derive(Clone)]
struct Fake(Rc<RefCell<Tables>>);

impl Fake {
    fn new(layout: Layout) -> Self {
        Self(Rc::new(RefCell::new(Tables {
            layout,
            sas: Vec::new(),
            policies: Vec::new(),
            answers: VecDeque::new(),
            unasked: VecDeque::new(),
            refuses: None,
            overflows: false,
            protected: Vec::new(),
            policy_puts: 0,
            next_id: 8,
            registered: Vec::new(),
        })))
    }

    fn says(&self, message: &Message<'_>) {
        let mut tables = self.0.borrow_mut();
        let bytes = message.emit(tables.layout);
        tables.unasked.push_back(bytes);
    }
}

fn parse(layout: Layout, bytes: &[u8]) -> Message<'_> {
    Message::parse(layout, bytes).unwrap().0
}

impl Tables {
    fn place_of_sa(&self, wanted: &Message<'_>) -> Option<usize> {
        let id = sa::id_of(wanted).map(|id| (id.destination, id.proto, id.spi));
        self.sas.iter().position(|bytes| {
            sa::id_of(&parse(self.layout, bytes)).map(|id| (id.destination, id.proto, id.spi)) == id
        })
    }

    fn place_of_policy(&self, wanted: &Message<'_>) -> Option<usize> {
        let what = |message: &Message<'_>| {
            (message.source, message.destination, message.policy.as_ref().map(|policy| policy.direction))
        };
        self.policies.iter().position(|bytes| what(&parse(self.layout, bytes)) == what(wanted))
    }

    fn answer(&mut self, asked: &Message<'_>) -> Result<Vec<Vec<u8>>, u8> {
        let layout = self.layout;
        let echo = asked.emit(layout);
        match asked.kind {
            message::ADD | message::UPDATE => {
                if let Some(errno) = self.refuses {
                    return Err(errno);
                }
                // One that takes the place of a larval one without an SPI.
                let reqid = sa::reqid_of(asked);
                self.sas.retain(|bytes| {
                    let old = parse(layout, bytes);
                    old.sa.is_some_and(|sa| sa.spi != 0) || sa::reqid_of(&old) != reqid
                });
                match (asked.kind, self.place_of_sa(asked)) {
                    (message::ADD, Some(_)) => return Err(EEXIST),
                    (message::UPDATE, None) => return Err(ESRCH),
                    (_, Some(place)) => drop(self.sas.remove(place)),
                    _ => {}
                }
                self.sas.push(echo.clone());
            }
            message::GETSPI => {
                let sa = Some(SaNumbers { spi: 0xabcd, ..SaNumbers::default() });
                let larval = Message { sa, spi_range: None, ..asked.clone() }.emit(layout);
                // What Linux waits for gets the SPI.
                self.sas.retain(|bytes| parse(layout, bytes).sa.is_some_and(|sa| sa.spi != 0));
                self.sas.push(larval.clone());
                return Ok(vec![larval]);
            }
            message::DELETE => drop(self.sas.remove(self.place_of_sa(asked).ok_or(ESRCH)?)),
            message::GET => return Ok(vec![self.sas[self.place_of_sa(asked).ok_or(ESRCH)?].clone()]),
            message::FLUSH => self.sas.clear(),
            message::DUMP => return dump(&self.sas),
            message::SPDADD | message::SPDUPDATE => {
                self.policy_puts += 1;
                let mut policy = asked.clone();
                let numbers = policy.policy.as_mut().unwrap();
                self.next_id += 8;
                numbers.id = self.next_id;
                if let Some(place) = self.place_of_policy(asked) {
                    if asked.kind == message::SPDADD {
                        return Err(EEXIST);
                    }
                    self.policies.remove(place);
                }
                // What kernels do with a number that is not theirs to choose.
                for request in numbers.requests.iter().filter(|request| request.level == 3) {
                    assert!((1..=ReqId::MANUAL_MAX).contains(&request.reqid));
                }
                self.policies.push(policy.emit(layout));
            }
            message::SPDDELETE => drop(self.policies.remove(self.place_of_policy(asked).ok_or(ENOENT)?)),
            message::SPDDELETE2 => {
                let id = asked.policy.as_ref().unwrap().id;
                let is_it = |bytes: &Vec<u8>| parse(layout, bytes).policy.unwrap().id == id;
                drop(self.policies.remove(self.policies.iter().position(is_it).ok_or(ENOENT)?));
            }
            message::SPDDUMP => {
                let mut list = self.policies.clone();
                if layout == Layout::Linux {
                    list.reverse();
                }
                return dump(&list);
            }
            _ => return Err(22),
        }
        self.unasked.push_back(echo.clone());
        Ok(vec![echo])
    }
}

fn dump(list: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, u8> {
    if list.is_empty() { Err(ENOENT) } else { Ok(list.to_vec()) }
}

impl Sockets for Fake {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let mut tables = self.0.borrow_mut();
        let layout = tables.layout;
        let asked = parse(layout, request);
        let is_dump = matches!(asked.kind, message::DUMP | message::SPDDUMP);
        // Every socket hears what others have asked for.
        let others = Message { pid: 1, ..Message { kind: asked.kind, ..Message::default() } };
        tables.answers = VecDeque::from([vec![7; 9], others.emit(layout)]);
        let result = tables.answer(&asked);
        let answers = match result {
            Ok(list) => {
                let count = u32::try_from(list.len()).unwrap();
                let number = |(place, bytes): (u32, &Vec<u8>)| {
                    let sequence = if is_dump { count - 1 - place } else { asked.sequence };
                    Message { kind: asked.kind, sequence, pid: asked.pid, ..parse(layout, bytes) }
                        .emit(layout)
                };
                (0..).zip(&list).map(number).collect()
            }
            Err(errno) => {
                let Message { kind, sa_type, sequence, pid, .. } = asked;
                vec![Message { kind, errno, sa_type, sequence, pid, ..Message::default() }.emit(layout)]
            }
        };
        tables.answers.extend(answers);
        let has_out = tables.policies.iter().any(|it| parse(layout, it).policy.unwrap().direction == 2);
        tables.protected.push(has_out);
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        let answer = self.0.borrow_mut().answers.pop_front();
        answer.map(Zeroizing::new).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn register(&mut self, message: &[u8]) -> io::Result<()> {
        let mut tables = self.0.borrow_mut();
        let asked = parse(tables.layout, message);
        assert_eq!(asked.kind, message::REGISTER);
        let (supported_auth, supported_encrypt) = (vec![3], vec![2, 3, 12]);
        let answer = Message { supported_auth, supported_encrypt, ..asked };
        let bytes = answer.emit(tables.layout);
        tables.registered.push(answer.sa_type);
        tables.unasked.push_back(bytes);
        Ok(())
    }

    fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut tables = self.0.borrow_mut();
        if std::mem::take(&mut tables.overflows) {
            tables.unasked.clear();
            return Err(io::Error::other("lost"));
        }
        Ok(tables.unasked.pop_front().map(Zeroizing::new))
    }

    fn counters(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

impl suite::Fake for Fake {
    type Kernel = PfKey<Self>;

    fn home(&self, guarded: Vec<Selector>) -> Result<(KernelHome<PfKey<Self>>, Leftovers), Refusal> {
        let layout = self.0.borrow().layout;
        crate::home(self.clone(), layout, guarded)
    }

    fn add_policy(&self, policy: &Policy) {
        let mut tables = self.0.borrow_mut();
        let mut message = policy::message(tables.layout, message::SPDADD, policy).unwrap();
        message.hard = None;
        let bytes = message.emit(tables.layout);
        tables.policies.push(bytes);
    }

    fn add_sa(&self, sa: &Sa) {
        let mut tables = self.0.borrow_mut();
        let mut message = sa::message(tables.layout, message::ADD, sa).unwrap();
        message.hard = None;
        let bytes = message.emit(tables.layout);
        tables.sas.push(bytes);
    }

    fn flush_policies(&self) {
        self.0.borrow_mut().policies.clear();
        self.says(&Message { kind: message::SPDFLUSH, ..Message::default() });
    }

    fn says_expired(&self, sa: &Sa, hard: bool) {
        let limit = |is: bool| is.then(Limits::default);
        self.says(&Message { soft: limit(!hard), hard: limit(hard), ..sa::named(message::EXPIRE, &sa.id) });
    }

    fn says_wanted(&self, (source, destination): (IpAddr, IpAddr), policy: &Policy) {
        let told = sa::between(message::ACQUIRE, SaProto::Esp, source, destination);
        let policy = PolicyNumbers { kind: 2, direction: 2, id: policy.id.0, ..PolicyNumbers::default() };
        self.says(&Message { policy: Some(policy), ..told });
    }

    fn awaits(&self, sa: &Sa) {
        let mut tables = self.0.borrow_mut();
        let larval = sa::larval(message::ADD, &sa.id, sa.mode, sa.reqid);
        let bytes = Message { sa: Some(SaNumbers::default()), ..larval }.emit(tables.layout);
        tables.sas.push(bytes);
    }

    /// As `pfkey_send_new_mapping` of Linux does: the address and port before, then those now.
    fn says_moved(&self, sa: &SaId, source: IpAddr, port: u16) {
        let nat_t = Some(pfkey::NatT { source_port: 4500, destination_port: port, ..pfkey::NatT::default() });
        let now = Some(pfkey::Address::host(source));
        self.says(&Message { destination: now, nat_t, ..sa::named(message::NEW_MAPPING, sa) });
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
    LAYOUTS.map(Fake::new);
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
fn every_protocol_is_registered() {
    for layout in LAYOUTS {
        let kernel = Fake::new(layout);
        drop(home(&kernel));
        assert_eq!(kernel.0.borrow().registered, [sa_type::ESP, sa_type::AH, sa_type::IPCOMP]);
    }
}

#[test]
fn numbers_of_unique_are_chosen_here_and_stay() {
    let kernel = Fake::new(Layout::Linux);
    let mut home = home(&kernel);
    let by_hand = Policy {
        selector: gre(7, 8),
        action: Action::Ipsec(vec![rule(Level::Unique(ReqId(ReqId::MANUAL_MAX)))]),
        ..seeds(Direction::Out)
    };
    home.requests(WALL, vec![Request::SpdAdd(Box::new(by_hand)), add(Direction::Out), add(Direction::In)]);
    // 16383 is taken.
    assert_eq!(reqid_out(&home), ReqId(ReqId::MANUAL_MAX - 1));
    // The first SA lets packets go that wait for it: the policy is put anew, with the same number.
    let puts = kernel.0.borrow().policy_puts;
    let reqid = reqid_out(&home);
    home.take_changes();
    one(&mut home, Request::Add(Box::new(esp(0x1001, reqid))));
    assert_eq!((kernel.0.borrow().policy_puts, reqid_out(&home)), (puts + 1, reqid));
    assert_eq!(home.take_changes(), Changes { sas: true, policies: false });
    one(&mut home, Request::Add(Box::new(esp(0x1002, reqid))));
    assert_eq!(kernel.0.borrow().policy_puts, puts + 1);
}

/// Each with what it is in the layouts of Linux, FreeBSD and NetBSD: `Ok` is taken, else what is said.
#[test]
fn what_is_refused() {
    let sa = |change: fn(&mut Sa)| {
        let mut sa = esp(0x1001, ReqId(0));
        change(&mut sa);
        Request::Add(Box::new(sa))
    };
    let policy = |change: fn(&mut Policy)| {
        let mut policy = seeds(Direction::Out);
        change(&mut policy);
        Request::SpdAdd(Box::new(policy))
    };
    fn tunnel(level: Level) -> Action {
        Action::Ipsec(vec![Rule {
            mode: Mode::Tunnel,
            endpoints: Some((address(1), address(2))),
            ..rule(level)
        }])
    }
    let reserved = "SPI 255 is reserved: 256 is the first to use";
    let families = "source and destination are of different families";
    let two = "esp/tunnel needs two addresses of one family: esp/tunnel/A-B/require";
    let taken = ["", "", ""];
    let cases: Vec<(Request, [&str; 3])> = vec![
        (sa(|_| {}), taken),
        (sa(|sa| sa.id.spi = Spi(255)), [reserved; 3]),
        (sa(|sa| sa.id.source = "2001:db8::1".parse().unwrap()), [families; 3]),
        (
            sa(|sa| sa.enc_key = Secret::new(vec![1; 15])),
            ["aes-cbc takes a key of 128 or 192 or 256 bits, this one has 120"; 3],
        ),
        (
            sa(|sa| sa.auth_key = Secret::new(vec![1; 16])),
            ["hmac-sha1 takes a key of 160 bits, this one has 128"; 3],
        ),
        (
            sa(|sa| (sa.auth, sa.auth_key) = (AuthAlgorithm::HmacSha256, Secret::new(vec![1; 32]))),
            ["Linux has no hmac-sha256 over PF_KEY: use --dataplane xfrm or embedded", "", ""],
        ),
        (
            sa(|sa| (sa.auth, sa.auth_key) = (AuthAlgorithm::HmacSha256Cut96, Secret::new(vec![1; 32]))),
            [
                "",
                "the kernel is not asked for hmac-sha256-96 here: use --dataplane embedded",
                "the kernel is not asked for hmac-sha256-96 here: use --dataplane embedded",
            ],
        ),
        (
            sa(|sa| {
                (sa.enc, sa.enc_key) = (EncAlgorithm::AesGcm16, Secret::new(vec![1; 20]));
                (sa.auth, sa.auth_key) = (AuthAlgorithm::None, Secret::default());
            }),
            ["Linux has no aes-gcm-16 over PF_KEY: use --dataplane xfrm or embedded", "", ""],
        ),
        (
            sa(|sa| {
                (sa.enc, sa.enc_key) = (EncAlgorithm::Null, Secret::default());
                (sa.auth, sa.auth_key) = (AuthAlgorithm::None, Secret::default());
            }),
            ["it would neither encrypt nor authenticate: give -A"; 3],
        ),
        (sa(|sa| sa.replay_window = 4096), taken),
        (policy(|_| {}), taken),
        (policy(|policy| policy.action = tunnel(Level::Require)), taken),
        (
            policy(|policy| policy.action = tunnel(Level::Use)),
            ["Linux has no esp/tunnel/…/use for packets that go out: they need `require`", "", ""],
        ),
        (
            policy(|policy| {
                policy.action = Action::Ipsec(vec![Rule { mode: Mode::Tunnel, ..rule(Level::Require) }]);
            }),
            [two; 3],
        ),
        (
            policy(|policy| policy.action = Action::Ipsec(vec![rule(Level::Unique(ReqId(16_384)))])),
            ["unique:16384 is beyond 16383, the last one to choose"; 3],
        ),
        (
            policy(|policy| policy.action = Action::Ipsec(vec![rule(Level::Require); 5])),
            [
                "",
                "the kernel has 4 protocols in a policy at the most",
                "the kernel has 4 protocols in a policy at the most",
            ],
        ),
        (
            policy(|policy| policy.direction = Direction::Fwd),
            [
                "",
                "only Linux has fwd: here `in` holds for packets that are forwarded too",
                "only Linux has fwd: here `in` holds for packets that are forwarded too",
            ],
        ),
        (policy(|policy| policy.selector.source = "2001:db8::/32".parse().unwrap()), [families; 3]),
    ];
    for (request, wanted) in &cases {
        for (layout, wanted) in LAYOUTS.into_iter().zip(wanted) {
            let said = refusal_of(layout, request).map(|refusal| refusal.to_string()).unwrap_or_default();
            assert_eq!(said, *wanted, "{layout:?} {request:?}");
        }
    }
}

/// What the kernel refuses is said in words: mostly by the module that is missing.
#[test]
fn what_the_kernel_refuses() {
    let cases: &[(Layout, u8, EncAlgorithm, &str)] = &[
        (Layout::Linux, 93, EncAlgorithm::AesCbc, "the kernel has no esp: load its module esp4"),
        (
            Layout::FreeBsd,
            43,
            EncAlgorithm::AesCbc,
            "the kernel has no esp: load its module ipsec (kldload ipsec)",
        ),
        (Layout::FreeBsd, 22, EncAlgorithm::AesCbc, "the kernel finds something wrong with it (EINVAL)"),
        (
            Layout::FreeBsd,
            22,
            EncAlgorithm::AesGcm16,
            "the kernel has no aes-gcm-16: load the module that has it",
        ),
        (Layout::Linux, 1, EncAlgorithm::AesCbc, "the kernel does not let us: run it as root"),
        (Layout::Linux, 17, EncAlgorithm::AesCbc, "it exists already"),
        (Layout::Linux, 3, EncAlgorithm::AesCbc, "no such SA"),
    ];
    for (layout, errno, enc, wanted) in cases {
        let kernel = Fake::new(*layout);
        let mut home = home(&kernel);
        kernel.0.borrow_mut().refuses = Some(*errno);
        let mut new = esp(0x1001, ReqId(0));
        if *enc == EncAlgorithm::AesGcm16 {
            (new.enc, new.enc_key) = (*enc, Secret::new(vec![1; 20]));
            (new.auth, new.auth_key) = (AuthAlgorithm::None, Secret::default());
        }
        let Reply::Refused { refusal } = one(&mut home, Request::Add(Box::new(new))) else { panic!() };
        assert_eq!(refusal.to_string(), *wanted);
    }
}

#[test]
fn a_kernel_that_does_not_answer() {
    struct Silent;
    impl Sockets for Silent {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn register(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
            Ok(None)
        }
        fn counters(&self) -> Vec<(String, u64)> {
            Vec::new()
        }
    }
    let refusal = crate::home(Silent, Layout::FreeBsd, Vec::new()).err().unwrap();
    assert_eq!(refusal.to_string(), "PF_KEY: the kernel does not answer");
}

/// Replay windows: packets on Linux, 32 at the most; elsewhere bytes of a bitmap, and on FreeBSD an extension beyond.
#[test]
fn replay_windows() {
    for (window, linux, freebsd, netbsd) in [
        (0, (0, None), (0, None), (0, None)),
        (32, (32, None), (4, None), (4, None)),
        (64, (32, None), (8, None), (8, None)),
        (2040, (32, None), (255, None), (255, None)),
        (4096, (32, None), (255, Some(4096)), (255, None)),
    ] {
        for (layout, wanted) in LAYOUTS.into_iter().zip([linux, freebsd, netbsd]) {
            let new = Sa { replay_window: window, ..esp(0x1001, ReqId(0)) };
            let message = sa::message(layout, message::ADD, &new).unwrap();
            assert_eq!((message.sa.unwrap().replay, message.replay_window), wanted, "{layout:?} {window}");
            let remark = remark_of(layout, &Request::Add(Box::new(new.clone())));
            let becomes =
                wanted.1.unwrap_or(u32::from(wanted.0) * if layout == Layout::Linux { 1 } else { 8 });
            assert_eq!(remark.is_some(), becomes < window, "{layout:?} {window} {remark:?}");
            assert!(remark.is_none_or(|text| text.contains(&format!("becomes one of {becomes}:"))));
        }
    }
}

/// What Linux 6.1 has said in the guest of the scenario pfkey-with-strongswan, by name.
fn recorded(name: &str) -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let named = |line: &'static str| line.split_once(' ').filter(|(found, _)| *found == name);
    let all = include_str!("recorded/linux.hex").lines().filter_map(named);
    all.map(|(_, hex)| hex.as_bytes().chunks(2).map(byte).collect()).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn recorded_messages_of_linux() {
    let layout = Layout::Linux;
    let (ours, theirs): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    let of = |name| recorded(name).remove(0);
    let bytes = of("register");
    let register = parse(layout, &bytes);
    assert!(register.supported_auth.contains(&3) && register.supported_encrypt.contains(&12), "{register:?}");
    let sas: Vec<Sa> =
        recorded("dump-sa").iter().map(|bytes| sa::sa_of(layout, &parse(layout, bytes)).unwrap()).collect();
    for (sa, ends, reqid) in [(&sas[0], (ours, theirs), 16383), (&sas[1], (theirs, ours), 16382)] {
        assert_eq!(((sa.id.source, sa.id.destination), sa.reqid), (ends, ReqId(reqid)));
        assert_eq!((sa.enc, sa.enc_key.len()), (EncAlgorithm::AesCbc, 16));
        assert_eq!((sa.auth, sa.auth_key.len()), (AuthAlgorithm::HmacSha1, 20));
        assert_eq!((sa.mode, sa.state, sa.replay_window), (Mode::Transport, SaState::Mature, 32));
        // The mark is not shown.
        assert_eq!((sa.hard.add_seconds, sa.hard.use_seconds), (6, 0));
        assert!(sa.usage.packets > 0);
    }
    for name in ["add", "update"] {
        assert!(sa::is_own(&parse(layout, &of(name))), "{name}");
    }
    // The second is one of IKE's sockets.
    let dump = recorded("dump-policy");
    let policies: Vec<Message<'_>> = dump.iter().map(|bytes| parse(layout, bytes)).collect();
    assert_eq!(policies.iter().map(policy::is_own).collect::<Vec<_>>(), [true, false]);
    let found = policy::policy_of(&policies[0]).unwrap();
    let selector = (found.selector.source.address, found.selector.destination.address, found.selector.upper);
    assert_eq!((selector, found.direction), ((ours, theirs, Upper::GRE), Direction::Out));
    assert_eq!(found.action, Action::Ipsec(vec![rule(Level::Unique(ReqId(16_383)))]));
    // All of it, told to a home in the order in which it was said.
    let kernel = Fake::new(layout);
    let mut home = home(&kernel);
    let mut policy = seeds(Direction::Out);
    policy.selector.source = Prefix::host(ours);
    policy.selector.destination = Prefix::host(theirs);
    home.requests(WALL, vec![Request::SpdAdd(Box::new(policy.clone()))]);
    let mut tell = |name: &str| {
        for bytes in recorded(name) {
            kernel.0.borrow_mut().unasked.push_back(bytes);
        }
        home.hear(WALL);
        let heard: Vec<Notification> = std::iter::from_fn(|| home.poll_notification()).collect();
        (heard, home.is_open(&policy.selector))
    };
    let (heard, open) = tell("acquire");
    assert!(matches!(&heard[..], [Notification::Acquire(it)] if it.reqid == ReqId(16383)), "{heard:?}");
    assert!(!open);
    assert!(!tell("update").1);
    assert!(tell("add").1);
    let (heard, _) = tell("expire");
    assert!(matches!(&heard[..], [Notification::Expire(first), ..] if !first.hard), "{heard:?}");
}

prop_compose! {
    fn an_sa()(
        which in 0usize..3, tunnel: bool, spi in 256u32.., reqid: u32, window in 0u32..5, v6: bool,
        limits in any::<[u32; 4]>(), nat in any::<Option<(u16, u16, bool)>>(), key: u8,
    ) -> Sa {
        let ends: [IpAddr; 2] = match v6 {
            true => ["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()],
            false => [address(1), address(2)],
        };
        let proto = [SaProto::Esp, SaProto::Ah, SaProto::Ipcomp][which];
        let secret = |length| Secret::new(vec![key; length]);
        let limit = |numbers: [u32; 2]| Lifetime {
            packets: numbers[0].into(),
            bytes: u64::from(numbers[1]) << 20,
            add_seconds: numbers[1].into(),
            use_seconds: 0,
        };
        Sa {
            id: SaId {
                source: ends[0], destination: ends[1], proto,
                spi: Spi(if proto == SaProto::Ipcomp { spi & 0xffff | 256 } else { spi }),
            },
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            reqid: ReqId(reqid),
            enc: if proto == SaProto::Esp { EncAlgorithm::AesCbc } else { EncAlgorithm::Null },
            enc_key: secret(if proto == SaProto::Esp { 24 } else { 0 }),
            auth: if proto == SaProto::Ipcomp { AuthAlgorithm::None } else { AuthAlgorithm::HmacSha512 },
            auth_key: secret(if proto == SaProto::Ipcomp { 0 } else { 64 }),
            replay_window: if proto == SaProto::Ipcomp { 0 } else { window * 8 },
            esn: false,
            nat_t: nat.filter(|_| proto == SaProto::Esp).map(|(source_port, destination_port, marker)| NatT {
                source_port, destination_port, original: None, non_ike_marker: marker,
            }),
            soft: limit([limits[0], limits[1]]),
            hard: limit([limits[2], limits[3]]),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
            offload: None,
        }
    }
}

proptest! {
    #[test]
    fn sas_come_back(sa in an_sa(), layout in prop::sample::select(&LAYOUTS[..])) {
        let message = sa::message(layout, message::ADD, &sa).unwrap();
        let bytes = message.emit(layout);
        prop_assert_eq!(bytes.len() % 8, 0);
        let found = parse(layout, &bytes);
        prop_assert!(sa::is_own(&found));
        prop_assert_eq!(sa::sa_of(layout, &found), Some(sa));
    }

    #[test]
    fn policies_come_back(
        layout in prop::sample::select(&LAYOUTS[..]), direction in 0usize..2, upper: Option<u8>, lengths in [0u8..33, 0u8..33],
        ports in any::<[u16; 2]>(), priority: u32, levels in prop::collection::vec((0usize..4, any::<bool>()), 0..4),
        which in 0usize..3,
    ) {
        let upper = upper.filter(|number| !matches!(number, 0 | 255)).map_or(Upper::Any, Upper::Proto);
        let halves = upper.has_numbers_of_its_own();
        let port = |own: u16, other: u16| if own == 0 && (other == 0 || !halves) { Port::Any } else { Port::Is(own) };
        let rules: Vec<Rule> = levels.iter().map(|(level, tunnel)| {
            let level = [Level::Default, Level::Use, Level::Require, Level::Unique(ReqId(7))][*level];
            // Linux has no such.
            let level = if *tunnel && level == Level::Use { Level::Require } else { level };
            let mode = if *tunnel { Mode::Tunnel } else { Mode::Transport };
            Rule { mode, endpoints: tunnel.then(|| (address(1), address(2))), ..rule(level) }
        }).collect();
        let policy = Policy {
            id: PolicyId(0),
            selector: Selector {
                source: Prefix::new(address(1), lengths[0]).unwrap(), source_port: port(ports[0], ports[1]),
                destination: Prefix::new(address(2), lengths[1]).unwrap(), destination_port: port(ports[1], ports[0]),
                upper,
            },
            direction: [Direction::In, Direction::Out][direction],
            priority: Priority(if layout == Layout::NetBsd { 0 } else { priority }),
            action: [Action::Discard, Action::None, Action::Ipsec(rules)][which].clone(),
            usage: Usage::default(),
        };
        let message = policy::message(layout, message::SPDADD, &policy).unwrap();
        let bytes = message.emit(layout);
        let found = parse(layout, &bytes);
        prop_assert!(policy::is_own(&found));
        prop_assert_eq!(policy::policy_of(&found), Some(policy));
    }
}

/// `-hwif`: an extension of FreeBSD 15's; the others have none and do it themselves, which is said.
#[test]
#[cfg(target_endian = "little")]
fn what_hardware_is_to_do() {
    let offload = Some(Offload { interface: "mce0".to_owned(), inbound: None });
    let new = Sa { offload: offload.clone(), ..esp(0x1001, ReqId(0)) };
    let extension: Vec<u8> = [3, 0, 31, 0, 0, 0, 0, 0].into_iter().chain(*b"mce0").chain([0; 12]).collect();
    for layout in LAYOUTS {
        let bytes = sa::message(layout, message::ADD, &new).unwrap().emit(layout);
        let is_freebsd = layout == Layout::FreeBsd;
        assert_eq!(bytes.windows(24).any(|window| window == extension), is_freebsd, "{layout:?}");
        let shown = sa::sa_of(layout, &parse(layout, &bytes)).unwrap();
        assert_eq!(shown.offload, offload.clone().filter(|_| is_freebsd));
        let remark = remark_of(layout, &Request::Add(Box::new(new.clone())));
        assert_eq!(remark.is_some_and(|text| text.contains("nothing to hardware")), !is_freebsd);
    }
    let kernel = Fake::new(Layout::FreeBsd);
    let mut home = home(&kernel);
    kernel.0.borrow_mut().refuses = Some(22);
    let Reply::Refused { refusal } = one(&mut home, Request::Add(Box::new(new))) else { panic!() };
    assert!(refusal.to_string().starts_with("not with the hardware of mce0 (leave -hwif out; "), "{refusal}");
}
