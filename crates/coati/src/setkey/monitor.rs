//! `setkey -x`: each PF_KEY message as ipsec-tools shows it (kdebug_sadb of libipsec): numbers of RFC 2367 and of
//! `<linux/pfkeyv2.h>`, lengths in units of 8 bytes. What crosses Coati's planes is not encoded as PF_KEY, so sequence
//! number and process are 0, and keys are left out.

use std::fmt::Write;
use std::net::IpAddr;

use coati_router::admin::MonitorLine;
use coati_sadb::{
    Acquire, Action, AuthAlgorithm, Direction, EncAlgorithm, Expire, Level, Lifetime, Mode, Notification,
    Policy, ReqId, Request, Rule, Sa, SaId, SaProto, SaState, Selector, Upper,
};

/// Types of messages (RFC 2367 section 3.1 and the KAME extensions).
mod message {
    pub(super) const GETSPI: u8 = 1;
    pub(super) const UPDATE: u8 = 2;
    pub(super) const ADD: u8 = 3;
    pub(super) const DELETE: u8 = 4;
    pub(super) const GET: u8 = 5;
    pub(super) const ACQUIRE: u8 = 6;
    pub(super) const EXPIRE: u8 = 8;
    pub(super) const FLUSH: u8 = 9;
    pub(super) const DUMP: u8 = 10;
    pub(super) const SPDUPDATE: u8 = 13;
    pub(super) const SPDADD: u8 = 14;
    pub(super) const SPDDELETE: u8 = 15;
    pub(super) const SPDDUMP: u8 = 18;
    pub(super) const SPDFLUSH: u8 = 19;
}

/// Types of extensions (RFC 2367 section 3.2 and the KAME ones).
mod extension {
    pub(super) const SA: u8 = 1;
    pub(super) const LIFETIME_CURRENT: u8 = 2;
    pub(super) const LIFETIME_HARD: u8 = 3;
    pub(super) const LIFETIME_SOFT: u8 = 4;
    pub(super) const ADDRESS_SOURCE: u8 = 5;
    pub(super) const ADDRESS_DESTINATION: u8 = 6;
    pub(super) const X_POLICY: u8 = 18;
    pub(super) const X_SA2: u8 = 19;
}

/// One message, or one line about what PF_KEY has no message for.
pub fn line_text(line: &MonitorLine) -> String {
    let message = match line {
        MonitorLine::Request(request) => request_message(request),
        MonitorLine::Notification(Notification::Acquire(acquire)) => acquire_message(acquire),
        MonitorLine::Notification(Notification::Expire(expire)) => expire_message(expire),
        MonitorLine::Notification(Notification::UnknownSpi { source, destination, spi }) => {
            return format!("a packet from {source} to {destination} with the unknown spi {spi}\n\n");
        }
    };
    message.text()
}

/// A message while its extensions are collected.
struct Message {
    kind: u8,
    satype: u8,
    /// In units of 8 bytes.
    length: usize,
    body: String,
}

impl Message {
    fn new(kind: u8, proto: Option<SaProto>) -> Self {
        Self { kind, satype: proto.map_or(0, satype), length: 2, body: String::new() }
    }

    fn extension(&mut self, length: usize, kind: u8, body: std::fmt::Arguments<'_>) {
        self.length += length;
        let _ = writeln!(self.body, "sadb_ext{{ len={length} type={kind} }}\n{body}");
    }

    fn text(&self) -> String {
        format!(
            "sadb_msg{{ version=2 type={} errno=0 satype={}\n  len={} reserved=0 seq=0 pid=0\n{}\n",
            self.kind, self.satype, self.length, self.body
        )
    }

    fn address(&mut self, kind: u8, address: IpAddr, prefix_len: u8, proto: u8, port: u16) {
        let (length, size, family) = if address.is_ipv4() { (3, 16, 2) } else { (5, 28, 10) };
        let mut hex = String::new();
        match address {
            IpAddr::V4(address) => {
                let _ = write!(hex, " {:08x}", u32::from(address));
            }
            IpAddr::V6(address) => {
                for word in address.octets().chunks(4) {
                    hex.push(' ');
                    for byte in word {
                        let _ = write!(hex, "{byte:02x}");
                    }
                }
            }
        }
        self.extension(
            length,
            kind,
            format_args!(
                "sadb_address{{ proto={proto} prefixlen={prefix_len} reserved=0x0000 }}\n\
                 sockaddr{{ len={size} family={family} port={port}\n{hex}  }}"
            ),
        );
    }

    fn hosts(&mut self, source: IpAddr, destination: IpAddr) {
        let bits = if source.is_ipv4() { 32 } else { 128 };
        self.address(extension::ADDRESS_SOURCE, source, bits, 0, 0);
        self.address(extension::ADDRESS_DESTINATION, destination, bits, 0, 0);
    }

    fn selector(&mut self, selector: &Selector) {
        let proto = match selector.upper {
            Upper::Any => 255,
            Upper::Proto(number) => number,
        };
        let port = |port| match port {
            coati_sadb::Port::Any => 0,
            coati_sadb::Port::Is(number) => number,
        };
        let (source, destination) = (&selector.source, &selector.destination);
        self.address(
            extension::ADDRESS_SOURCE,
            source.address,
            source.length,
            proto,
            port(selector.source_port),
        );
        self.address(
            extension::ADDRESS_DESTINATION,
            destination.address,
            destination.length,
            proto,
            port(selector.destination_port),
        );
    }

    fn lifetime(&mut self, kind: u8, lifetime: &Lifetime) {
        self.extension(
            4,
            kind,
            format_args!(
                "sadb_lifetime{{ alloc={}, bytes={}\n  addtime={}, usetime={} }}",
                lifetime.packets, lifetime.bytes, lifetime.add_seconds, lifetime.use_seconds
            ),
        );
    }

    fn sa(&mut self, spi: u32, replay_bytes: u32, state: u8, auth: u8, encrypt: u8) {
        self.extension(
            2,
            extension::SA,
            format_args!(
                "sadb_sa{{ spi={spi} replay={replay_bytes} state={state}\n  auth={auth} encrypt={encrypt} \
                 flags=0x00000000 }}"
            ),
        );
    }

    fn sa2(&mut self, mode: Mode, reqid: ReqId) {
        self.extension(
            2,
            extension::X_SA2,
            format_args!(
                "sadb_x_sa2{{ mode={} reqid={}\n  reserved1=0 reserved2=0 sequence=0 }}",
                mode_number(mode),
                reqid.0
            ),
        );
    }

    fn policy(&mut self, kind: u8, direction: Direction, id: u32, priority: u32, rules: &[Rule]) {
        let mut length = 2;
        let mut body = String::new();
        for rule in rules {
            let size = rule_size(rule);
            length += size / 8;
            let (level, reqid) = match rule.level {
                Level::Default => (0, 0),
                Level::Use => (1, 0),
                Level::Require => (2, 0),
                Level::Unique(reqid) => (3, reqid.0),
            };
            let proto = protocol_number(rule.proto);
            let mode = mode_number(rule.mode);
            let _ =
                write!(body, "\n {{ len={size} proto={proto} mode={mode} level={level} reqid={reqid}\n }}");
        }
        let direction = match direction {
            Direction::In => 1,
            Direction::Out => 2,
            Direction::Fwd => 3,
        };
        self.extension(
            length,
            extension::X_POLICY,
            format_args!(
                "sadb_x_policy{{ type={kind} dir={direction} id={id:x} priority={priority} }}{body}"
            ),
        );
    }
}

/// Bytes of `struct sadb_x_ipsecrequest` with the addresses of its ends.
fn rule_size(rule: &Rule) -> usize {
    16 + match rule.endpoints {
        None => 0,
        Some((IpAddr::V4(_), _)) => 2 * 16,
        Some((IpAddr::V6(_), _)) => 2 * 28,
    }
}

fn request_message(request: &Request) -> Message {
    let message = |kind| Message::new(kind, None);
    match request {
        Request::GetSpi { source, destination, proto, mode, reqid } => {
            let mut message = Message::new(message::GETSPI, Some(*proto));
            message.sa2(*mode, *reqid);
            message.hosts(*source, *destination);
            message
        }
        Request::Add(sa) => sa_message(message::ADD, sa),
        Request::Update(sa) => sa_message(message::UPDATE, sa),
        Request::Delete(id) => id_message(message::DELETE, id),
        Request::Get(id) => id_message(message::GET, id),
        Request::Flush(proto) => Message::new(message::FLUSH, *proto),
        Request::Dump(proto) => Message::new(message::DUMP, *proto),
        Request::SpdAdd(policy) => policy_message(message::SPDADD, policy),
        Request::SpdUpdate(policy) => policy_message(message::SPDUPDATE, policy),
        Request::SpdDelete(selector, direction) => {
            let mut message = message(message::SPDDELETE);
            message.selector(selector);
            message.policy(2, *direction, 0, 0, &[]);
            message
        }
        Request::SpdFlush => message(message::SPDFLUSH),
        Request::SpdDump => message(message::SPDDUMP),
    }
}

fn sa_message(kind: u8, sa: &Sa) -> Message {
    let mut message = Message::new(kind, Some(sa.id.proto));
    let auth = match sa.auth {
        AuthAlgorithm::None => 0,
        AuthAlgorithm::HmacSha1 => 3,
        AuthAlgorithm::HmacSha256 | AuthAlgorithm::HmacSha256Cut96 => 5,
        AuthAlgorithm::HmacSha384 => 6,
        AuthAlgorithm::HmacSha512 => 7,
    };
    let encrypt = match sa.enc {
        // SADB_X_CALG_DEFLATE.
        _ if sa.id.proto == SaProto::Ipcomp => 2,
        EncAlgorithm::TripleDesCbc => 3,
        EncAlgorithm::Null => 11,
        EncAlgorithm::AesCbc => 12,
        EncAlgorithm::AesGcm16 => 20,
    };
    let state = match sa.state {
        SaState::Larval => 0,
        SaState::Mature => 1,
        SaState::Dying => 2,
        SaState::Dead => 3,
    };
    message.sa(sa.id.spi.0, sa.replay_window / 8, state, auth, encrypt);
    message.lifetime(extension::LIFETIME_HARD, &sa.hard);
    message.lifetime(extension::LIFETIME_SOFT, &sa.soft);
    message.hosts(sa.id.source, sa.id.destination);
    message.sa2(sa.mode, sa.reqid);
    message
}

fn id_message(kind: u8, id: &SaId) -> Message {
    let mut message = Message::new(kind, Some(id.proto));
    message.sa(id.spi.0, 0, 0, 0, 0);
    message.hosts(id.source, id.destination);
    message
}

fn policy_message(kind: u8, policy: &Policy) -> Message {
    let mut message = Message::new(kind, None);
    message.selector(&policy.selector);
    let (kind, rules): (u8, &[Rule]) = match &policy.action {
        Action::Discard => (0, &[]),
        Action::None => (1, &[]),
        Action::Ipsec(rules) => (2, rules),
    };
    message.policy(kind, policy.direction, policy.id.0, policy.priority.0, rules);
    message
}

fn acquire_message(acquire: &Acquire) -> Message {
    let mut message = Message::new(message::ACQUIRE, Some(acquire.proto));
    message.hosts(acquire.source, acquire.destination);
    message.policy(2, Direction::Out, acquire.policy.0, coati_sadb::Priority::default().0, &[]);
    message
}

fn expire_message(expire: &Expire) -> Message {
    let mut message = Message::new(message::EXPIRE, Some(expire.id.proto));
    let state = if expire.hard { 3 } else { 2 };
    message.sa(expire.id.spi.0, 0, state, 0, 0);
    message.lifetime(extension::LIFETIME_CURRENT, &expire.current);
    message.hosts(expire.id.source, expire.id.destination);
    message.sa2(Mode::Any, expire.reqid);
    message
}

fn satype(proto: SaProto) -> u8 {
    match proto {
        SaProto::Ah => 2,
        SaProto::Esp => 3,
        SaProto::Ipcomp => 9,
    }
}

fn protocol_number(proto: SaProto) -> u8 {
    match proto {
        SaProto::Esp => 50,
        SaProto::Ah => 51,
        SaProto::Ipcomp => 108,
    }
}

fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::Any => 0,
        Mode::Transport => 1,
        Mode::Tunnel => 2,
    }
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::parse;
    use coati_sadb::PolicyId;

    use super::*;

    /// A message of the recording of a real racoon, with its sequence number and process as ours are.
    fn recorded(kind: u8) -> String {
        let recording = include_str!("../../golden/racoon/setkey-x.txt");
        let begin = format!("sadb_msg{{ version=2 type={kind} errno=0 satype=3\n");
        let at = recording.find(&begin).unwrap();
        let text = recording[at..].split("\n\n").next().unwrap();
        let line = text.lines().nth(1).unwrap();
        let length = line.split("seq=").next().unwrap();
        text.replace(line, &format!("{length}seq=0 pid=0")) + "\n\n"
    }

    #[test]
    fn a_getspi_as_a_real_one() {
        let request = Request::GetSpi {
            source: "192.0.2.2".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            proto: SaProto::Esp,
            mode: Mode::Transport,
            reqid: ReqId(16385),
        };
        // racoon writes its own port and protocol 255 there, although the SA is for all of them.
        let wanted = recorded(message::GETSPI).replace("proto=255", "proto=0").replace("port=500", "port=0");
        assert_eq!(line_text(&MonitorLine::Request(request)), wanted);
    }

    #[test]
    fn an_acquire_as_a_real_one() {
        let statements = parse(&Source::new("t", "spdadd 192.0.2.1 192.0.2.2 gre -P out none;")).unwrap();
        let Request::SpdAdd(policy) = &statements[0].request else { panic!() };
        let acquire = Acquire {
            policy: PolicyId(1),
            source: "192.0.2.1".parse().unwrap(),
            destination: "192.0.2.2".parse().unwrap(),
            selector: policy.selector,
            proto: SaProto::Esp,
            mode: Mode::Transport,
            reqid: ReqId(16384),
        };
        // Ours proposes nothing: IKE has its own proposals.
        let wanted = recorded(message::ACQUIRE)
            .replace("len=11 ", "len=10 ")
            .replace("sadb_ext{ len=1 type=13 }\nsadb_prop{ replay=32\n}\n", "");
        assert_eq!(line_text(&MonitorLine::Notification(Notification::Acquire(acquire))), wanted);
    }

    #[test]
    fn policies_have_the_lengths_of_pf_key() {
        let text = "spdadd 192.0.2.2 192.0.2.1 gre -P in ipsec esp/transport//unique;\
                    spdadd ::/0 ::/0 any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/require;";
        let messages: Vec<String> = parse(&Source::new("t", text))
            .unwrap()
            .into_iter()
            .map(|statement| line_text(&MonitorLine::Request(statement.request)))
            .collect();
        assert!(messages[0].contains("  len=12 "), "{}", messages[0]);
        assert!(messages[0].contains("{ len=16 proto=50 mode=1 level=3 reqid=0\n }"));
        assert!(messages[1].contains("len=72 proto=50 mode=2 level=2"), "{}", messages[1]);
    }
}
