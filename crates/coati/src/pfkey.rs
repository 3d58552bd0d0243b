//! What crosses the planes, as PF_KEY messages: for racoonctl binaries that exist already, and for what setkey shows of
//! messages. Numbers are those of RFC 2367 and of `<linux/pfkeyv2.h>`; nobody here has a sequence number.

use std::collections::HashMap;

use coati_router::admin::MonitorLine;
use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Direction, EncAlgorithm, Expire, Level, Lifetime, Mode, Notification,
    Policy, Port, Priority, Refusal, Reply, ReqId, Request, Rule, Sa, SaId, SaProto, SaState, Secret,
    Selector, Upper, Usage,
};
use coati_wire::pfkey::{
    self, Header, auth, compress, emit_address, emit_sockaddr, encrypt, extension, finish, message,
    push_extension, sa_type,
};
use rustix::io::Errno;

/// `UDP_ENCAP_ESPINUDP`.
const ESP_IN_UDP: u8 = 2;

/// Numbers of authentication algorithms; of two with one number, the usual one first.
pub const AUTH: [(AuthAlgorithm, u8); 8] = [
    (AuthAlgorithm::None, auth::NONE),
    (AuthAlgorithm::HmacSha1, auth::SHA1_HMAC),
    (AuthAlgorithm::HmacSha256, auth::SHA256_HMAC),
    (AuthAlgorithm::HmacSha256Cut96, auth::SHA256_HMAC),
    (AuthAlgorithm::HmacSha384, auth::SHA384_HMAC),
    (AuthAlgorithm::HmacSha512, auth::SHA512_HMAC),
    (AuthAlgorithm::HmacMd5, auth::MD5_HMAC),
    (AuthAlgorithm::AesXcbcMac, auth::AES_XCBC_MAC),
];

/// Numbers of encryption algorithms.
pub const ENCRYPT: [(EncAlgorithm, u8); 6] = [
    (EncAlgorithm::TripleDesCbc, encrypt::TRIPLE_DES_CBC),
    (EncAlgorithm::Null, encrypt::NULL),
    (EncAlgorithm::AesCbc, encrypt::AES_CBC),
    (EncAlgorithm::AesGcm16, encrypt::AES_GCM_16),
    (EncAlgorithm::AesCtr, encrypt::AES_CTR),
    (EncAlgorithm::ChaCha20Poly1305, encrypt::CHACHA20_POLY1305),
];

/// Types of SAs.
pub const SA_TYPES: [(SaProto, u8); 3] =
    [(SaProto::Ah, sa_type::AH), (SaProto::Esp, sa_type::ESP), (SaProto::Ipcomp, sa_type::IPCOMP)];

/// Protocols of rules: those of IP.
pub const PROTOCOLS: [(SaProto, u8); 3] = [(SaProto::Esp, 50), (SaProto::Ah, 51), (SaProto::Ipcomp, 108)];

/// Modes.
pub const MODES: [(Mode, u8); 3] = [(Mode::Any, 0), (Mode::Transport, 1), (Mode::Tunnel, 2)];

/// States of SAs.
pub const STATES: [(SaState, u8); 4] =
    [(SaState::Larval, 0), (SaState::Mature, 1), (SaState::Dying, 2), (SaState::Dead, 3)];

/// Directions of policies.
pub const DIRECTIONS: [(Direction, u8); 3] = [(Direction::In, 1), (Direction::Out, 2), (Direction::Fwd, 3)];

/// The number of `wanted` in one of the tables.
pub fn number<T: PartialEq>(table: &[(T, u8)], wanted: &T) -> u8 {
    table.iter().find(|(value, _)| value == wanted).map_or(0, |(_, number)| *number)
}

/// What has this number in one of the tables.
pub fn value<T: Copy>(table: &[(T, u8)], wanted: u8) -> Option<T> {
    table.iter().find(|(_, number)| *number == wanted).map(|(value, _)| *value)
}

/// The number of an upper protocol.
const ANY_PROTOCOL: u8 = 255;

/// Policies that discard, let through, protect.
pub mod policy_type {
    /// `discard`.
    pub const DISCARD: u16 = 0;
    /// `none`.
    pub const NONE: u16 = 1;
    /// `ipsec`.
    pub const IPSEC: u16 = 2;
}

/// The same for those who only watch.
pub fn without_keys(mut request: Request) -> Request {
    if let Request::Add(sa) | Request::Update(sa) = &mut request {
        (sa.enc_key, sa.auth_key) = (Secret::default(), Secret::default());
    }
    request
}

/// What `setkey -x` is told at `wall` in Unix seconds, when PF_KEY has a message for it. `sas` are those that are there
/// before it.
pub fn line_message(line: &MonitorLine, sas: &HashMap<SaId, Sa>, wall: u64) -> Option<Vec<u8>> {
    match line {
        MonitorLine::Request(request) => Some(request_message(request)),
        MonitorLine::Notification(Notification::Acquire(acquire)) => Some(acquire_message(acquire)),
        MonitorLine::Notification(Notification::Expire(expire)) => {
            Some(expire_message(expire, sas.get(&expire.id), wall))
        }
        MonitorLine::Notification(Notification::UnknownSpi { .. } | Notification::Moved { .. }) => None,
    }
}

/// The message that asks for this.
pub fn request_message(request: &Request) -> Vec<u8> {
    match request {
        Request::GetSpi { source, destination, proto, mode, reqid, spi } => {
            let mut message = Message::new(message::GETSPI, Some(*proto));
            message.sa2(*mode, 0, *reqid);
            message.hosts(*source, *destination);
            if spi.0 != 0 {
                let range = [spi.0.to_ne_bytes(), spi.0.to_ne_bytes(), [0; 4]].concat();
                message.extension(extension::SPI_RANGE, &range);
            }
            message.bytes()
        }
        Request::Add(sa) => sa_message(message::ADD, sa),
        Request::Update(sa) => sa_message(message::UPDATE, sa),
        Request::Delete(id) => id_message(message::DELETE, id),
        Request::DeleteAll { source, destination, proto } => {
            let mut message = Message::new(message::DELETE, Some(*proto));
            message.hosts(*source, *destination);
            message.bytes()
        }
        Request::Get(id) => id_message(message::GET, id),
        Request::Flush(proto) => Message::new(message::FLUSH, *proto).bytes(),
        Request::Dump(proto) => Message::new(message::DUMP, *proto).bytes(),
        Request::SpdAdd(policy) => policy_message(message::SPDADD, policy),
        Request::SpdUpdate(policy) => policy_message(message::SPDUPDATE, policy),
        Request::SpdDelete(selector, direction) => {
            let mut message = Message::new(message::SPDDELETE, None);
            message.selector(selector);
            message.policy(policy_type::IPSEC, *direction, 0, Priority(0), &[]);
            message.bytes()
        }
        Request::SpdFlush => Message::new(message::SPDFLUSH, None).bytes(),
        Request::SpdDump => Message::new(message::SPDDUMP, None).bytes(),
    }
}

/// The messages that answer it.
pub fn reply_messages(request: &Request, reply: &Reply) -> Vec<Vec<u8>> {
    let asked = request_message(request);
    let (kind, satype) = Header::parse(&asked).map_or((0, 0), |(header, ..)| (header.kind, header.sa_type));
    match reply {
        Reply::Done => vec![asked],
        Reply::Refused { refusal } => {
            let errno = u8::try_from(errno(refusal).raw_os_error()).unwrap_or(u8::MAX);
            vec![Header::emit_alone(kind, errno, satype, 0).to_vec()]
        }
        Reply::Spi { spi } => match request {
            Request::GetSpi { source, destination, proto, .. } => {
                let (source, destination, proto) = (*source, *destination, *proto);
                vec![id_message(kind, &SaId { source, destination, proto, spi: *spi })]
            }
            _ => vec![asked],
        },
        Reply::Sas { sas } => sas.iter().map(|sa| sa_message(kind, sa)).collect(),
        Reply::Policies { policies } => policies.iter().map(|it| policy_message(kind, it)).collect(),
    }
}

/// What a kernel would say.
fn errno(refusal: &Refusal) -> Errno {
    match refusal {
        Refusal::NoSa | Refusal::NoPolicy => Errno::NOENT,
        Refusal::Exists => Errno::EXIST,
        Refusal::Invalid(_) => Errno::INVAL,
        Refusal::Unsupported(_) => Errno::OPNOTSUPP,
        Refusal::NoRoom(_) => Errno::NOBUFS,
        Refusal::Withheld => Errno::CANCELED,
    }
}

/// An SA as the answer to a dump has it.
pub fn sa_repr(sa: &Sa, sequence: u32, pid: u32) -> pfkey::Repr<'_> {
    pfkey::Repr {
        sa_type: number(&SA_TYPES, &sa.id.proto),
        sequence,
        pid,
        spi: sa.id.spi.0,
        replay: u8::try_from(sa.replay_window / 8).unwrap_or(u8::MAX),
        state: number(&STATES, &sa.state),
        auth: number(&AUTH, &sa.auth),
        encrypt: encryption(sa),
        flags: flags(sa),
        current: pfkey::Lifetime {
            allocations: u32::try_from(sa.usage.packets).unwrap_or(u32::MAX),
            bytes: sa.usage.bytes,
            add_time: sa.usage.added,
            use_time: sa.usage.used,
        },
        hard: lifetime(&sa.hard),
        soft: lifetime(&sa.soft),
        source: sa.id.source,
        destination: sa.id.destination,
        auth_key: sa.auth_key.expose(),
        encrypt_key: sa.enc_key.expose(),
        mode: number(&MODES, &sa.mode),
        packet_sequence: u32::try_from(sa.sequence & 0xffff_ffff).unwrap_or(0),
        reqid: sa.reqid.0,
        nat_t: sa.nat_t.map(|ports| (ports.source_port, ports.destination_port)),
    }
}

/// Flags of `sadb_sa`.
pub fn flags(sa: &Sa) -> u32 {
    if sa.esn { pfkey::FLAG_ESN } else { 0 }
}

fn encryption(sa: &Sa) -> u8 {
    match sa.id.proto {
        SaProto::Ipcomp => compress::DEFLATE,
        SaProto::Ah => encrypt::NONE,
        SaProto::Esp => number(&ENCRYPT, &sa.enc),
    }
}

fn lifetime(lifetime: &Lifetime) -> pfkey::Lifetime {
    pfkey::Lifetime {
        allocations: u32::try_from(lifetime.packets).unwrap_or(u32::MAX),
        bytes: lifetime.bytes,
        add_time: lifetime.add_seconds,
        use_time: lifetime.use_seconds,
    }
}

/// A message while its extensions are collected.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u8, proto: Option<SaProto>) -> Self {
        let satype = proto.map_or(sa_type::UNSPEC, |proto| number(&SA_TYPES, &proto));
        Self(Header::emit_alone(kind, 0, satype, 0).to_vec())
    }

    fn bytes(mut self) -> Vec<u8> {
        finish(&mut self.0);
        self.0
    }

    fn extension(&mut self, kind: u16, body: &[u8]) {
        push_extension(&mut self.0, kind, body);
    }

    fn hosts(&mut self, source: std::net::IpAddr, destination: std::net::IpAddr) {
        let bits = if source.is_ipv4() { 32 } else { 128 };
        self.extension(extension::ADDRESS_SOURCE, &emit_address(source, bits, 0, 0));
        self.extension(extension::ADDRESS_DESTINATION, &emit_address(destination, bits, 0, 0));
    }

    fn selector(&mut self, selector: &Selector) {
        let protocol = match selector.upper {
            Upper::Any => ANY_PROTOCOL,
            Upper::Proto(number) => number,
        };
        let port = |port| match port {
            Port::Any => 0,
            Port::Is(number) => number,
        };
        for (kind, prefix, own) in [
            (extension::ADDRESS_SOURCE, &selector.source, selector.source_port),
            (extension::ADDRESS_DESTINATION, &selector.destination, selector.destination_port),
        ] {
            self.extension(kind, &emit_address(prefix.address, prefix.length, protocol, port(own)));
        }
    }

    fn lifetime(&mut self, kind: u16, limit: &Lifetime) {
        let limit = lifetime(limit);
        let numbers = [limit.bytes, limit.add_time, limit.use_time].map(u64::to_ne_bytes).concat();
        self.extension(kind, &[&limit.allocations.to_ne_bytes()[..], &numbers].concat());
    }

    fn usage(&mut self, usage: &Usage) {
        let current = Lifetime {
            packets: usage.packets,
            bytes: usage.bytes,
            add_seconds: usage.added,
            use_seconds: usage.used,
        };
        self.lifetime(extension::LIFETIME_CURRENT, &current);
    }

    fn sa(&mut self, spi: u32, numbers: [u8; 4], flags: u32) {
        self.extension(extension::SA, &[spi.to_be_bytes(), numbers, flags.to_ne_bytes()].concat());
    }

    fn sa2(&mut self, mode: Mode, sequence: u32, reqid: ReqId) {
        let mode = [number(&MODES, &mode), 0, 0, 0];
        self.extension(extension::SA2, &[mode, sequence.to_ne_bytes(), reqid.0.to_ne_bytes()].concat());
    }

    fn key(&mut self, kind: u16, key: &[u8]) {
        if let Ok(bits) = u16::try_from(key.len() * 8)
            && bits > 0
        {
            self.extension(kind, &[&bits.to_ne_bytes(), &[0, 0][..], key].concat());
        }
    }

    fn policy(&mut self, kind: u16, direction: Direction, id: u32, priority: Priority, rules: &[Rule]) {
        let mut body = kind.to_ne_bytes().to_vec();
        body.extend_from_slice(&[number(&DIRECTIONS, &direction), 0]);
        body.extend_from_slice(&id.to_ne_bytes());
        body.extend_from_slice(&priority.0.to_ne_bytes());
        for rule in rules {
            let ends = rule.endpoints.map_or(Vec::new(), |(source, destination)| {
                [emit_sockaddr(source, 0), emit_sockaddr(destination, 0)].concat()
            });
            let (level, reqid) = match rule.level {
                Level::Default => (0, 0),
                Level::Use => (1, 0),
                Level::Require => (2, 0),
                Level::Unique(reqid) => (3, reqid.0),
            };
            let length = u16::try_from(16 + ends.len()).unwrap_or(u16::MAX);
            body.extend_from_slice(&length.to_ne_bytes());
            body.extend_from_slice(&u16::from(number(&PROTOCOLS, &rule.proto)).to_ne_bytes());
            body.extend_from_slice(&[number(&MODES, &rule.mode), level, 0, 0]);
            body.extend_from_slice(&reqid.to_ne_bytes());
            body.extend_from_slice(&[0; 4]);
            body.extend_from_slice(&ends);
        }
        self.extension(extension::POLICY, &body);
    }
}

fn sa_message(kind: u8, sa: &Sa) -> Vec<u8> {
    let mut message = Message::new(kind, Some(sa.id.proto));
    let replay = u8::try_from(sa.replay_window / 8).unwrap_or(u8::MAX);
    let numbers = [replay, number(&STATES, &sa.state), number(&AUTH, &sa.auth), encryption(sa)];
    message.sa(sa.id.spi.0, numbers, flags(sa));
    // Of the limits, an EXPIRE has the one that is over (RFC 2367 section 3.1.8).
    if kind != message::EXPIRE || sa.state == SaState::Dead {
        message.lifetime(extension::LIFETIME_HARD, &sa.hard);
    }
    if kind != message::EXPIRE || sa.state != SaState::Dead {
        message.lifetime(extension::LIFETIME_SOFT, &sa.soft);
    }
    if sa.usage.added != 0 {
        message.usage(&sa.usage);
    }
    message.hosts(sa.id.source, sa.id.destination);
    message.key(extension::KEY_AUTH, sa.auth_key.expose());
    message.key(extension::KEY_ENCRYPT, sa.enc_key.expose());
    message.sa2(sa.mode, u32::try_from(sa.sequence & 0xffff_ffff).unwrap_or(0), sa.reqid);
    if let Some(nat_t) = sa.nat_t {
        message.extension(extension::NAT_T_TYPE, &[ESP_IN_UDP, 0, 0, 0]);
        for (kind, port) in [
            (extension::NAT_T_SOURCE_PORT, nat_t.source_port),
            (extension::NAT_T_DESTINATION_PORT, nat_t.destination_port),
        ] {
            let [high, low] = port.to_be_bytes();
            message.extension(kind, &[high, low, 0, 0]);
        }
        if let Some(original) = nat_t.original {
            let bits = if original.is_ipv4() { 32 } else { 128 };
            message.extension(extension::NAT_T_ORIGINAL, &emit_address(original, bits, 0, 0));
        }
    }
    message.bytes()
}

fn id_message(kind: u8, id: &SaId) -> Vec<u8> {
    let mut message = Message::new(kind, Some(id.proto));
    message.sa(id.spi.0, [0; 4], 0);
    message.hosts(id.source, id.destination);
    message.bytes()
}

fn policy_message(kind: u8, policy: &Policy) -> Vec<u8> {
    let mut message = Message::new(kind, None);
    message.selector(&policy.selector);
    if policy.usage.added != 0 {
        let usage = &policy.usage;
        let current = Lifetime { add_seconds: usage.added, use_seconds: usage.used, ..Lifetime::default() };
        for limit in [extension::LIFETIME_HARD, extension::LIFETIME_SOFT] {
            message.lifetime(limit, &Lifetime::default());
        }
        message.lifetime(extension::LIFETIME_CURRENT, &current);
    }
    let (kind, rules): (u16, &[Rule]) = match &policy.action {
        Action::Discard => (policy_type::DISCARD, &[]),
        Action::None => (policy_type::NONE, &[]),
        Action::Ipsec(rules) => (policy_type::IPSEC, rules),
    };
    message.policy(kind, policy.direction, policy.id.0, policy.priority, rules);
    message.bytes()
}

fn acquire_message(acquire: &Acquire) -> Vec<u8> {
    let mut message = Message::new(message::ACQUIRE, Some(acquire.proto));
    message.hosts(acquire.source, acquire.destination);
    message.policy(policy_type::IPSEC, Direction::Out, acquire.policy.0, Priority::default(), &[]);
    message.bytes()
}

fn expire_message(expire: &Expire, sa: Option<&Sa>, wall: u64) -> Vec<u8> {
    let state = if expire.hard { SaState::Dead } else { SaState::Dying };
    let usage = Usage {
        packets: expire.current.packets,
        bytes: expire.current.bytes,
        added: wall.saturating_sub(expire.current.add_seconds),
        used: expire.current.use_seconds,
    };
    if let Some(sa) = sa {
        let (enc_key, auth_key) = (Secret::default(), Secret::default());
        return sa_message(message::EXPIRE, &Sa { enc_key, auth_key, state, usage, ..sa.clone() });
    }
    // Somebody else's, of which no more is known.
    let mut message = Message::new(message::EXPIRE, Some(expire.id.proto));
    message.sa(expire.id.spi.0, [0, number(&STATES, &state), 0, 0], 0);
    message.usage(&usage);
    message.hosts(expire.id.source, expire.id.destination);
    message.sa2(Mode::Any, 0, expire.reqid);
    message.bytes()
}
