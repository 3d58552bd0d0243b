//! PF_KEY messages as ipsec-tools shows them (kdebug_sadb of libipsec): numbers, lengths in units of 8 bytes. What crosses
//! Coati's planes has no sequence number and no process, and keys are left out of what is told to `setkey -x`.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use coati_router::admin::MonitorLine;
use coati_sadb::{Notification, Reply, Request, Sa, SaId};
use coati_wire::pfkey::{self, Extension, Header, extension, extensions, parse_sockaddr};

use super::dump::hex;
use crate::pfkey::{line_message, reply_messages, request_message};

/// What happens, with the SAs that are there: what is told of the end of one is no more than its name and use.
#[derive(Default)]
pub struct Watched(HashMap<SaId, Sa>);

impl Watched {
    /// These are there when it begins.
    pub fn new(sas: Vec<Sa>) -> Self {
        Self(sas.into_iter().map(|sa| (sa.id, sa)).collect())
    }

    /// One message, or one line about what PF_KEY has no message for; its bytes before it, when `hexdump`. `wall` is now,
    /// in Unix seconds.
    pub fn line(&mut self, line: &MonitorLine, hexdump: bool, wall: u64) -> String {
        let text = match (line_message(line, &self.0, wall), line) {
            (Some(message), _) if hexdump => bytes_text(&message) + &message_text(&message),
            (Some(message), _) => message_text(&message),
            (None, MonitorLine::Notification(Notification::UnknownSpi { source, destination, spi })) => {
                format!("a packet from {source} to {destination} with the unknown spi {spi}\n\n")
            }
            (None, MonitorLine::Notification(Notification::Moved { id, port })) => {
                format!("{} {} comes from port {port} now\n\n", id.source, id.spi)
            }
            (None, _) => String::new(),
        };
        self.follow(line);
        text
    }

    fn follow(&mut self, line: &MonitorLine) {
        match line {
            MonitorLine::Request(Request::Add(sa) | Request::Update(sa)) => {
                self.0.insert(sa.id, (**sa).clone());
            }
            MonitorLine::Request(Request::Delete(id)) => {
                self.0.remove(id);
            }
            MonitorLine::Request(Request::DeleteAll { source, destination, proto }) => self
                .0
                .retain(|id, _| (id.source, id.destination, id.proto) != (*source, *destination, *proto)),
            MonitorLine::Request(Request::Flush(proto)) => {
                self.0.retain(|id, _| proto.is_some_and(|proto| proto != id.proto));
            }
            MonitorLine::Notification(Notification::Expire(expire)) if expire.hard => {
                self.0.remove(&expire.id);
            }
            _ => {}
        }
    }
}

/// What `-v` shows of a request.
pub fn request_text(request: &Request) -> String {
    message_text(&request_message(request))
}

/// What `-v` shows of the answer.
pub fn reply_text(request: &Request, reply: &Reply) -> String {
    reply_messages(request, reply).iter().map(|message| message_text(message)).collect()
}

/// Sixteen bytes a line, each line with where it begins.
fn bytes_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in bytes.chunks(16).enumerate() {
        let _ = write!(text, "{:08x}: ", index * 16);
        for byte in line {
            let _ = write!(text, "{byte:02x} ");
        }
        text.push('\n');
    }
    text
}

/// One message, and an empty line behind it.
pub fn message_text(bytes: &[u8]) -> String {
    let (header, rest) = match Header::parse(bytes) {
        Ok((header, rest, _)) => (header, rest),
        Err(error) => return format!("{error}\n\n"),
    };
    let mut text = format!(
        "sadb_msg{{ version={} type={} errno={} satype={}\n  len={} reserved={} seq={} pid={}\n",
        pfkey::VERSION,
        header.kind,
        header.errno,
        header.sa_type,
        header.length / 8,
        header.reserved,
        header.sequence,
        header.pid
    );
    for found in extensions(rest) {
        match found {
            Ok(found) => {
                let _ = writeln!(text, "sadb_ext{{ len={} type={} }}", found.bytes.len() / 8, found.kind);
                // What is too short says no more than that.
                let _ = extension_text(&mut text, &found);
            }
            Err(error) => {
                let _ = writeln!(text, "{error}");
            }
        }
    }
    text.push('\n');
    text
}

/// Fields of an extension; `None` behind the first that is not there.
fn extension_text(text: &mut String, found: &Extension<'_>) -> Option<()> {
    let bytes = found.bytes;
    let byte = |at: usize| bytes.get(at).copied();
    let half = |at: usize| Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let _ = match found.kind {
        extension::SA => writeln!(
            text,
            "sadb_sa{{ spi={} replay={} state={}\n  auth={} encrypt={} flags=0x{:08x} }}",
            word(4)?.to_be(),
            byte(8)?,
            byte(9)?,
            byte(10)?,
            byte(11)?,
            word(12)?
        ),
        extension::LIFETIME_CURRENT | extension::LIFETIME_HARD | extension::LIFETIME_SOFT => writeln!(
            text,
            "sadb_lifetime{{ alloc={}, bytes={}\n  addtime={}, usetime={} }}",
            word(4)?,
            long(8)?,
            long(16)?,
            long(24)?
        ),
        extension::ADDRESS_SOURCE
        | extension::ADDRESS_DESTINATION
        | extension::ADDRESS_PROXY
        | extension::NAT_T_ORIGINAL => {
            let _ = writeln!(
                text,
                "sadb_address{{ proto={} prefixlen={} reserved=0x{:02x}{:02x} }}",
                byte(4)?,
                byte(5)?,
                byte(6)?,
                byte(7)?
            );
            sockaddr_text(text, bytes.get(8..)?)?;
            Ok(())
        }
        extension::KEY_AUTH | extension::KEY_ENCRYPT => {
            let bits = half(4)?;
            let key = bytes.get(8..8 + usize::from(bits) / 8)?;
            writeln!(text, "sadb_key{{ bits={bits} reserved={}\n  key={} }}", half(6)?, hex(key))
        }
        extension::PROPOSAL => writeln!(text, "sadb_prop{{ replay={}\n}}", byte(4)?),
        extension::SUPPORTED_AUTH | extension::SUPPORTED_ENCRYPT => {
            text.push_str("sadb_sup{\n");
            for algorithm in bytes.get(8..)?.chunks_exact(8) {
                let [id, ivlen, min_low, min_high, max_low, max_high, ..] = algorithm else { break };
                let min = u16::from_ne_bytes([*min_low, *min_high]);
                let max = u16::from_ne_bytes([*max_low, *max_high]);
                let _ = writeln!(text, "  {{ id={id} ivlen={ivlen} min={min} max={max} }}");
            }
            writeln!(text, "}}")
        }
        extension::SPI_RANGE => writeln!(
            text,
            "sadb_spirange{{ min=0x{:08x} max=0x{:08x}\n  reserved={} }}",
            word(4)?,
            word(8)?,
            word(12)?
        ),
        extension::POLICY => {
            let _ = writeln!(
                text,
                "sadb_x_policy{{ type={} dir={} id={:x} priority={} }}",
                half(4)?,
                byte(6)?,
                word(8)?,
                word(12)?
            );
            rules_text(text, bytes.get(16..)?)?;
            Ok(())
        }
        extension::SA2 => writeln!(
            text,
            "sadb_x_sa2{{ mode={} reqid={}\n  reserved1={} reserved2={} sequence={} }}",
            byte(4)?,
            word(12)?,
            byte(5)?,
            half(6)?,
            word(8)?
        ),
        extension::NAT_T_TYPE => writeln!(text, "sadb_x_nat_t_type{{ type={} }}", byte(4)?),
        extension::NAT_T_SOURCE_PORT | extension::NAT_T_DESTINATION_PORT => {
            writeln!(text, "sadb_x_nat_t_port{{ port={} }}", half(4)?.to_be())
        }
        _ => writeln!(text, " {}", hex(bytes.get(4..)?)),
    };
    Some(())
}

fn rules_text(text: &mut String, rules: &[u8]) -> Option<()> {
    let mut rest = rules;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let [proto_low, proto_high, mode, level, _, _, reqid @ ..] = behind else { break };
        let reqid = u32::from_ne_bytes(*reqid.first_chunk()?);
        let proto = u16::from_ne_bytes([*proto_low, *proto_high]);
        let _ = writeln!(text, " {{ len={length} proto={proto} mode={mode} level={level} reqid={reqid}");
        let ends = rest.get(16..length)?;
        if !ends.is_empty() {
            let next = sockaddr_text(text, ends)?;
            sockaddr_text(text, ends.get(next..)?)?;
        }
        text.push_str(" }\n");
        rest = rest.get(length..)?;
    }
    Some(())
}

/// An address, and how many bytes it has.
fn sockaddr_text(text: &mut String, bytes: &[u8]) -> Option<usize> {
    let (address, port, length) = parse_sockaddr(bytes).ok()?;
    let (family, octets) = match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    };
    let _ = writeln!(text, "sockaddr{{ len={length} family={family} port={port}\n{}  }}", hex(&octets));
    Some(length)
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::parse;
    use coati_sadb::{Acquire, Expire, Lifetime, Mode, PolicyId, Refusal, ReqId, SaProto, Spi};
    use coati_wire::pfkey::message;
    use proptest::prelude::*;

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

    fn requests(text: &str) -> Vec<Request> {
        parse(&Source::new("t", text)).unwrap().into_iter().map(|statement| statement.request).collect()
    }

    #[test]
    fn a_getspi_as_a_real_one() {
        let request = |spi| Request::GetSpi {
            source: "192.0.2.2".parse().unwrap(),
            destination: "192.0.2.1".parse().unwrap(),
            proto: SaProto::Esp,
            mode: Mode::Transport,
            reqid: ReqId(16385),
            spi: Spi(spi),
        };
        // racoon writes its own port and protocol 255 there, although the SA is for all of them.
        let wanted = recorded(message::GETSPI).replace("proto=255", "proto=0").replace("port=500", "port=0");
        assert_eq!(Watched::default().line(&MonitorLine::Request(request(0)), false, 0), wanted);
        let range = request_text(&request(0x1234));
        assert!(range.contains("sadb_spirange{ min=0x00001234 max=0x00001234\n  reserved=0 }\n"), "{range}");
    }

    #[test]
    fn an_acquire_as_a_real_one() {
        let Some(Request::SpdAdd(policy)) = requests("spdadd 192.0.2.1 192.0.2.2 gre -P out none;").pop()
        else {
            panic!()
        };
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
        assert_eq!(
            Watched::default().line(&MonitorLine::Notification(Notification::Acquire(acquire)), false, 0),
            wanted
        );
    }

    #[test]
    fn policies_have_the_lengths_of_pf_key() {
        let text = "spdadd 192.0.2.2 192.0.2.1 gre -P in ipsec esp/transport//unique;\
                    spdadd ::/0 ::/0 any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/require;";
        let messages: Vec<String> = requests(text).iter().map(request_text).collect();
        assert!(messages[0].contains("  len=12 "), "{}", messages[0]);
        assert!(messages[0].contains("{ len=16 proto=50 mode=1 level=3 reqid=0\n }"));
        assert!(messages[1].contains("len=72 proto=50 mode=2 level=2"), "{}", messages[1]);
        let end = "sockaddr{ len=28 family=10 port=0\n 20010db8 00000000 00000000 00000002  }\n }\n\n";
        assert!(messages[1].ends_with(end), "{}", messages[1]);
    }

    #[test]
    fn keys_and_ports_of_nat_traversal() {
        let text = "add 192.0.2.1[4500] 192.0.2.2[30001] esp-udp 10.1.2.3 0x1000 -A hmac-sha1 \"twenty bytes of text\";";
        let text = request_text(&requests(text)[0]);
        for part in [
            "sadb_key{ bits=160 reserved=0\n  key= 7477656e 74792062 79746573 206f6620 74657874 }\n",
            "sadb_x_nat_t_type{ type=2 }\nsadb_ext{ len=1 type=21 }\nsadb_x_nat_t_port{ port=4500 }\n",
            "sadb_ext{ len=3 type=23 }\nsadb_address{ proto=0 prefixlen=32 reserved=0x0000 }\n\
             sockaddr{ len=16 family=2 port=0\n 0a010203  }\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    /// The limit that is over, the replay window and the algorithms are those of the SA; the time it was added is one of
    /// the calendar.
    #[test]
    fn the_end_of_an_sa() {
        let add = "add 192.0.2.1 192.0.2.2 esp 0x1000 -m transport -r 8 -u 7 -ls 80 -lh 100 -bs 3000 -bh 4000 -E aes-cbc \
                   \"sixteen bytes ok\" -A hmac-sha1 \"twenty bytes of text\";";
        let Some(request @ Request::Add(sa)) = &requests(add).pop() else { panic!() };
        let expire = |hard| {
            let current = Lifetime { packets: 3, bytes: 400, add_seconds: 90, use_seconds: 1_000_020 };
            let expire = Expire { id: sa.id, reqid: sa.reqid, hard, current };
            MonitorLine::Notification(Notification::Expire(expire))
        };
        let mut watched = Watched::default();
        watched.line(&MonitorLine::Request(request.clone()), false, 1_000_000);
        let soft = watched.line(&expire(false), false, 1_000_090);
        assert_eq!(
            soft,
            "sadb_msg{ version=2 type=8 errno=0 satype=3\n  len=20 reserved=0 seq=0 pid=0\n\
             sadb_ext{ len=2 type=1 }\nsadb_sa{ spi=4096 replay=8 state=2\n  auth=3 encrypt=12 flags=0x00000000 }\n\
             sadb_ext{ len=4 type=4 }\nsadb_lifetime{ alloc=0, bytes=3000\n  addtime=80, usetime=0 }\n\
             sadb_ext{ len=4 type=2 }\nsadb_lifetime{ alloc=3, bytes=400\n  addtime=1000000, usetime=1000020 }\n\
             sadb_ext{ len=3 type=5 }\nsadb_address{ proto=0 prefixlen=32 reserved=0x0000 }\n\
             sockaddr{ len=16 family=2 port=0\n c0000201  }\n\
             sadb_ext{ len=3 type=6 }\nsadb_address{ proto=0 prefixlen=32 reserved=0x0000 }\n\
             sockaddr{ len=16 family=2 port=0\n c0000202  }\n\
             sadb_ext{ len=2 type=19 }\nsadb_x_sa2{ mode=1 reqid=7\n  reserved1=0 reserved2=0 sequence=0 }\n\n"
        );
        let hard = watched.line(&expire(true), false, 1_000_090);
        assert!(hard.contains("replay=8 state=3") && hard.contains("bytes=4000\n  addtime=100,"), "{hard}");
        assert!(!hard.contains("addtime=80"), "{hard}");
        // It is gone, so that no more is known of one with its name.
        let again = watched.line(&expire(true), false, 1_000_090);
        assert!(again.contains("replay=0 state=3") && again.contains("addtime=1000000,"), "{again}");
    }

    #[test]
    fn bytes_before_a_message() {
        let text = Watched::default().line(&MonitorLine::Request(Request::SpdFlush), true, 0);
        assert_eq!(
            text,
            "00000000: 02 13 00 00 02 00 00 00 00 00 00 00 00 00 00 00 \n\
             sadb_msg{ version=2 type=19 errno=0 satype=0\n  len=2 reserved=0 seq=0 pid=0\n\n"
        );
    }

    #[test]
    fn answers() {
        let request = requests("delete 192.0.2.1 192.0.2.2 esp 0x1000;").remove(0);
        let refused = reply_text(&request, &Reply::Refused { refusal: Refusal::NoSa });
        assert_eq!(
            refused,
            "sadb_msg{ version=2 type=4 errno=2 satype=3\n  len=2 reserved=0 seq=0 pid=0\n\n"
        );
        assert_eq!(reply_text(&request, &Reply::Done), request_text(&request));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            message_text(&bytes);
        }

        #[test]
        fn changed_messages(at in 16usize..120, value: u8) {
            let text = "spdadd ::/0 ::/0 any -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/require ah/transport//use;";
            let mut bytes = request_message(&requests(text)[0]);
            bytes[at] = value;
            message_text(&bytes);
        }
    }
}
