//! `setkey FILE ...`: PF_KEY messages that somebody has saved, one behind the other. Those of dumps are shown as `-D` and
//! `-DP` show what they are about, all others, and those with algorithms that we have no name for, field by field.

use std::io;

use coati_sadb::{
    Action, AuthAlgorithm, EncAlgorithm, Level, Lifetime, NatT, Policy, PolicyId, Port, Prefix, Priority,
    ReqId, Rule, Sa, SaId, SaProto, Secret, Selector, Spi, Upper, Usage,
};
use coati_wire::pfkey::{
    self, Extension, Header, Repr, encrypt, extension, extensions, message, parse_sockaddr,
};

use super::dump::{Form, Tail};
use super::monitor::message_text;
use super::options::Options;
use crate::files;
use crate::pfkey::{AUTH, DIRECTIONS, ENCRYPT, MODES, PROTOCOLS, SA_TYPES, STATES, policy_type, value};

/// Shows them all.
pub fn show(options: &Options, files: &[String]) -> io::Result<bool> {
    for file in files {
        let bytes = std::fs::File::open(file)
            .and_then(files::to_end)
            .map_err(|e| io::Error::new(e.kind(), format!("{file}: {e}")))?;
        print!(
            "{}",
            text(&Form::of(options), &bytes).map_err(|why| io::Error::other(format!("{file}: {why}")))?
        );
    }
    Ok(true)
}

/// All messages of `bytes`; what is wrong with the first that is none, and where.
fn text(form: &Form, bytes: &[u8]) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = bytes.len() - rest.len();
        let (header, _, following) = Header::parse(rest).map_err(|error| format!("at byte {at}: {error}"))?;
        let own = rest.get(..header.length).unwrap_or(rest);
        text.push_str(&one(form, &header, own));
        rest = following;
    }
    Ok(text)
}

fn one(form: &Form, header: &Header, bytes: &[u8]) -> String {
    let form = Form { pid: header.pid, ..*form };
    let tail = Tail { sequence: header.sequence, references: header.reserved };
    let known = match header.kind {
        message::DUMP | message::GET => sa(bytes).map(|sa| form.sa(&sa, tail)),
        message::SPDDUMP | message::SPDGET => policy(bytes).map(|policy| form.policy(&policy, tail)),
        _ => None,
    };
    known.unwrap_or_else(|| message_text(bytes))
}

fn sa(bytes: &[u8]) -> Option<Sa> {
    let (found, _) = Repr::parse(bytes).ok()?;
    let proto = value(&SA_TYPES, found.sa_type)?;
    let limits = |limits: pfkey::Lifetime| Lifetime {
        packets: limits.allocations.into(),
        bytes: limits.bytes,
        add_seconds: limits.add_time,
        use_seconds: limits.use_time,
    };
    Some(Sa {
        id: SaId { source: found.source, destination: found.destination, proto, spi: Spi(found.spi) },
        mode: value(&MODES, found.mode)?,
        reqid: ReqId(found.reqid),
        enc: match (proto, found.encrypt) {
            (SaProto::Ah | SaProto::Ipcomp, _) | (SaProto::Esp, encrypt::NONE) => EncAlgorithm::Null,
            (SaProto::Esp, number) => value(&ENCRYPT, number)?,
        },
        enc_key: Secret::new(found.encrypt_key.to_vec()),
        auth: value::<AuthAlgorithm>(&AUTH, found.auth)?,
        auth_key: Secret::new(found.auth_key.to_vec()),
        replay_window: u32::from(found.replay) * 8,
        esn: found.flags & pfkey::FLAG_ESN != 0,
        nat_t: found.nat_t.map(|(source_port, destination_port)| NatT {
            source_port,
            destination_port,
            ..NatT::default()
        }),
        soft: limits(found.soft),
        hard: limits(found.hard),
        state: value(&STATES, found.state)?,
        usage: Usage {
            packets: found.current.allocations.into(),
            bytes: found.current.bytes,
            added: found.current.add_time,
            used: found.current.use_time,
        },
        sequence: found.packet_sequence.into(),
        offload: None,
    })
}

fn policy(bytes: &[u8]) -> Option<Policy> {
    let (_, rest, _) = Header::parse(bytes).ok()?;
    let all: Vec<Extension<'_>> = extensions(rest).collect::<Result<_, _>>().ok()?;
    let find = |kind| all.iter().find(|found| found.kind == kind).map(|found| found.bytes);
    let (source, source_port, protocol) = address(find(extension::ADDRESS_SOURCE)?)?;
    let (destination, destination_port, _) = address(find(extension::ADDRESS_DESTINATION)?)?;
    // Where there is a port, a type or a key, both of its halves count.
    let both = |own: u16, other: u16, has_halves: bool| match own {
        0 if other == 0 || !has_halves => Port::Any,
        port => Port::Is(port),
    };
    let has_halves = Upper::Proto(protocol).has_numbers_of_its_own();
    let policy = find(extension::POLICY)?;
    let half = |at: usize| Some(u16::from_ne_bytes(*policy.get(at..)?.first_chunk()?));
    let word = |at: usize| Some(u32::from_ne_bytes(*policy.get(at..)?.first_chunk()?));
    let times = find(extension::LIFETIME_CURRENT)
        .and_then(|current| Some((*current.get(16..)?.first_chunk()?, *current.get(24..)?.first_chunk()?)));
    let (added, used) = times.unwrap_or_default();
    Some(Policy {
        id: PolicyId(word(8)?),
        selector: Selector {
            source,
            source_port: both(source_port, destination_port, has_halves),
            destination,
            destination_port: both(destination_port, source_port, has_halves),
            upper: if matches!(protocol, 0 | 255) { Upper::Any } else { Upper::Proto(protocol) },
        },
        direction: value(&DIRECTIONS, *policy.get(6)?)?,
        priority: Priority(word(12)?),
        action: match half(4)? {
            policy_type::DISCARD => Action::Discard,
            policy_type::NONE => Action::None,
            policy_type::IPSEC => Action::Ipsec(rules(policy.get(16..)?)?),
            _ => return None,
        },
        usage: Usage { added: u64::from_ne_bytes(added), used: u64::from_ne_bytes(used), ..Usage::default() },
    })
}

fn address(bytes: &[u8]) -> Option<(Prefix, u16, u8)> {
    let (address, port, _) = parse_sockaddr(bytes.get(8..)?).ok()?;
    Some((Prefix::new(address, *bytes.get(5)?).ok()?, port, *bytes.get(4)?))
}

fn rules(bytes: &[u8]) -> Option<Vec<Rule>> {
    let mut rules = Vec::new();
    let mut rest = bytes;
    while let Some(length) = rest.first_chunk() {
        let length = usize::from(u16::from_ne_bytes(*length));
        let rule = rest.get(..length)?;
        let ends = match rule.get(16..)? {
            [] => None,
            ends => {
                let (source, _, next) = parse_sockaddr(ends).ok()?;
                let (destination, ..) = parse_sockaddr(ends.get(next..)?).ok()?;
                Some((source, destination))
            }
        };
        let proto = u16::from_ne_bytes(*rule.get(2..)?.first_chunk()?);
        let reqid = u32::from_ne_bytes(*rule.get(8..)?.first_chunk()?);
        rules.push(Rule {
            proto: value(&PROTOCOLS, u8::try_from(proto).ok()?)?,
            mode: value(&MODES, *rule.get(4)?)?,
            endpoints: ends,
            level: match *rule.get(5)? {
                0 => Level::Default,
                1 => Level::Use,
                2 => Level::Require,
                3 => Level::Unique(ReqId(reqid)),
                _ => return None,
            },
        });
        rest = rest.get(length..)?;
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use coati_config::Source;
    use coati_config::setkey::{Dialect, parse};
    use coati_sadb::{Reply, Request};
    use proptest::prelude::*;

    use super::*;
    use crate::pfkey::{reply_messages, request_message};

    const FORM: Form =
        Form { dialect: Dialect::IpsecTools, ports: false, mask_keys: false, now: 1_764_000_000, pid: 0 };

    /// SAs and policies as a dump's messages, which are shown as the dump itself, but for their count.
    #[test]
    fn saved_dumps_are_shown_as_dumps() {
        let text_of = "add 192.0.2.1 192.0.2.2 esp 0x1000 -m transport -u 7 -r 4 -lh 900 -ls 720 -E aes-cbc \"sixteen byte key\" \
                       -A hmac-sha256 \"thirty-two bytes of text in here\";\
                       add 192.0.2.1[4500] 192.0.2.2[30001] esp-udp 0x1001 -E null -A hmac-sha1 \"twenty bytes of text\";\
                       add 2001:db8::1 2001:db8::2 ipcomp 0x1002 -m tunnel -C deflate;\
                       add 192.0.2.1 192.0.2.2 ah 0x1003 -A hmac-sha512 \"sixty-four bytes of text are what this algorithm wants as a key!\";\
                       spdadd 192.0.2.1 192.0.2.2 gre 1234 -P out prio high + 3 ipsec ipcomp/transport//use esp/transport//unique:7;\
                       spdadd 10.0.0.0/24[80] 10.1.0.0/16 tcp -P in ipsec esp/tunnel/192.0.2.1-192.0.2.2/require ah/transport//default;\
                       spdadd ::/0 ::/0 icmp6 135,0 -P fwd none; spdadd 0.0.0.0/0 0.0.0.0/0 any -P out discard;";
        let (mut sas, mut policies) = (Vec::new(), Vec::new());
        for statement in parse(&Source::new("t", text_of)).unwrap() {
            match statement.request {
                Request::Add(mut sa) => {
                    sa.usage = Usage { packets: 3, bytes: 400, added: 1_763_999_000, used: 1_763_999_999 };
                    sas.push(*sa);
                }
                Request::SpdAdd(mut policy) => {
                    policy.usage = Usage { added: 1_763_999_000, used: 5, ..Usage::default() };
                    policy.id = PolicyId(9);
                    policies.push(*policy);
                }
                other => panic!("{other:?}"),
            }
        }
        let tail = Tail { sequence: 0, references: 0 };
        let mut wanted: String = sas.iter().map(|sa| FORM.sa(sa, tail)).collect();
        wanted += &policies.iter().map(|policy| FORM.policy(policy, tail)).collect::<String>();
        let mut bytes = reply_messages(&Request::Dump(None), &Reply::Sas { sas }).concat();
        bytes.extend(reply_messages(&Request::SpdDump, &Reply::Policies { policies }).concat());
        assert_eq!(text(&FORM, &bytes).unwrap(), wanted);
        // What is no answer to a dump is shown field by field.
        let other = request_message(&Request::SpdFlush);
        assert!(text(&FORM, &other).unwrap().starts_with("sadb_msg{ version=2 type=19 "));
        // An algorithm without a name: keyed MD5 of RFC 1828.
        bytes[26] = 249;
        assert!(text(&FORM, &bytes).unwrap().contains("  auth=249 encrypt=12 "));
        let error = text(&FORM, &bytes[..bytes.len() - 1]).unwrap_err();
        assert!(error.starts_with("at byte "), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = text(&FORM, &bytes);
        }

        #[test]
        fn changed_policies(at in 4usize..150, value: u8) {
            let text_of = "spdadd ::/0 ::/0 tcp -P out ipsec esp/tunnel/2001:db8::1-2001:db8::2/require ah/transport//use;";
            let Request::SpdAdd(policy) = parse(&Source::new("t", text_of)).unwrap().remove(0).request else { panic!() };
            let mut bytes =
                reply_messages(&Request::SpdDump, &Reply::Policies { policies: vec![*policy] }).concat();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            let _ = text(&FORM, &bytes);
        }
    }
}
