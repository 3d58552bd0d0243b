//! SAs as the kernel wants and shows them.

use coati_sadb::{
    AuthAlgorithm, EncAlgorithm, Lifetime, Mode, NatT, Refusal, ReqId, Sa, SaId, SaProto, SaState, Secret,
    Spi, Usage,
};
use coati_wire::xfrm::{
    self, Algorithm, Attribute, Encap, LifetimeLimits, NO_LIMIT, ReplayEsn, SaInfo, encap, mode, sa_flag,
};

use crate::algorithm::{aead, aead_name, cipher, cipher_name, hash, hash_name};
use crate::{family_of, protocol, protocol_number};

/// The largest window that fits into the structure itself, in packets.
const SHORT_WINDOW: u32 = 32;

/// The kernel's name for an SA.
pub(crate) fn name(id: &SaId) -> xfrm::SaId {
    xfrm::SaId {
        destination: id.destination.into(),
        spi: id.spi.0,
        family: family_of(id.destination),
        proto: protocol_number(id.proto),
    }
}

/// An SA without keys: what a larval one and every other begin with.
pub(crate) fn larval(id: &SaId, mode: Mode, reqid: ReqId) -> SaInfo {
    let tunnel = mode == Mode::Tunnel;
    SaInfo {
        id: xfrm::Id { destination: id.destination.into(), spi: id.spi.0, proto: protocol_number(id.proto) },
        source: id.source.into(),
        limits: limits(&Lifetime::default(), &Lifetime::default()),
        reqid: reqid.0,
        family: family_of(id.destination),
        mode: if tunnel { mode::TUNNEL } else { mode::TRANSPORT },
        // What a tunnel carries may be of the other family.
        flags: if tunnel { sa_flag::AF_UNSPEC } else { 0 },
        ..SaInfo::default()
    }
}

/// The SA with its keys.
pub(crate) fn message(sa: &Sa) -> Result<(SaInfo, Vec<Attribute<'_>>), Refusal> {
    sa.check()?;
    let mut info = larval(&sa.id, sa.mode, sa.reqid);
    info.limits = limits(&sa.soft, &sa.hard);
    let mut attributes = Vec::new();
    if sa.id.proto == SaProto::Ipcomp {
        attributes.push(Attribute::Compression(Algorithm { name: "deflate", key: &[], icv_bits: 0 }));
        return Ok((info, attributes));
    }
    let key = sa.enc_key.expose();
    if sa.id.proto == SaProto::Esp {
        attributes.push(match (aead_name(sa.enc), cipher_name(sa.enc)) {
            (Some((name, icv_bits)), _) => Attribute::Aead(Algorithm { name, key, icv_bits }),
            (None, Some(name)) => Attribute::Crypt(Algorithm { name, key, icv_bits: 0 }),
            (None, None) => return Err(unknown(sa.enc.setkey_name())),
        });
    }
    if sa.auth != AuthAlgorithm::None {
        let (name, icv_bits) = hash_name(sa.auth).ok_or_else(|| unknown(sa.auth.setkey_name()))?;
        let key = sa.auth_key.expose();
        attributes.push(Attribute::AuthTruncated(Algorithm { name, key, icv_bits }));
    }
    if sa.id.proto == SaProto::Ah && sa.id.destination.is_ipv4() {
        info.flags |= sa_flag::ALIGN4;
    }
    if sa.esn {
        info.flags |= sa_flag::ESN;
    }
    if let Some(nat_t) = &sa.nat_t {
        attributes.push(Attribute::Encap(Encap {
            kind: if nat_t.non_ike_marker { encap::ESP_IN_UDP_NON_IKE } else { encap::ESP_IN_UDP },
            source_port: nat_t.source_port,
            destination_port: nat_t.destination_port,
            original: nat_t.original.map(Into::into).unwrap_or_default(),
        }));
    }
    match u8::try_from(sa.replay_window) {
        Ok(window) if sa.replay_window <= SHORT_WINDOW && !sa.esn => info.replay_window = window,
        _ => attributes.push(Attribute::ReplayEsn(ReplayEsn {
            window: sa.replay_window,
            bitmap: vec![0; sa.replay_window.div_ceil(32) as usize],
            ..ReplayEsn::default()
        })),
    }
    Ok((info, attributes))
}

fn unknown(name: &str) -> Refusal {
    Refusal::Unsupported(format!("Linux is not asked for {name} here: use the embedded data plane"))
}

fn limits(soft: &Lifetime, hard: &Lifetime) -> LifetimeLimits {
    let count = |limit: u64| if limit == 0 { NO_LIMIT } else { limit };
    LifetimeLimits {
        soft_bytes: count(soft.bytes),
        hard_bytes: count(hard.bytes),
        soft_packets: count(soft.packets),
        hard_packets: count(hard.packets),
        soft_add_seconds: soft.add_seconds,
        hard_add_seconds: hard.add_seconds,
        soft_use_seconds: soft.use_seconds,
        hard_use_seconds: hard.use_seconds,
    }
}

/// Soft and hard limits.
fn lifetimes(limits: &LifetimeLimits) -> (Lifetime, Lifetime) {
    let count = |limit: u64| if limit == NO_LIMIT { 0 } else { limit };
    let soft = Lifetime {
        packets: count(limits.soft_packets),
        bytes: count(limits.soft_bytes),
        add_seconds: limits.soft_add_seconds,
        use_seconds: limits.soft_use_seconds,
    };
    let hard = Lifetime {
        packets: count(limits.hard_packets),
        bytes: count(limits.hard_bytes),
        add_seconds: limits.hard_add_seconds,
        use_seconds: limits.hard_use_seconds,
    };
    (soft, hard)
}

/// The name of an SA that the kernel tells of.
pub(crate) fn id_of(info: &SaInfo) -> Option<SaId> {
    Some(SaId {
        source: info.source.ip(info.family)?,
        destination: info.id.destination.ip(info.family)?,
        proto: protocol(info.id.proto)?,
        spi: Spi(info.id.spi),
    })
}

/// What it has used of its limits, as an EXPIRE says it.
pub(crate) fn used(info: &SaInfo, wall: u64) -> Lifetime {
    Lifetime {
        packets: info.used.packets,
        bytes: info.used.bytes,
        add_seconds: wall.saturating_sub(info.used.added),
        use_seconds: info.used.used,
    }
}

pub(crate) fn mode_of(number: u8) -> Option<Mode> {
    match number {
        mode::TRANSPORT => Some(Mode::Transport),
        mode::TUNNEL => Some(Mode::Tunnel),
        _ => None,
    }
}

/// An SA that the kernel tells of; `None` when there are no words for it here.
pub(crate) fn sa_of(info: &SaInfo, attributes: &[Attribute<'_>], wall: u64) -> Option<Sa> {
    let (soft, hard) = lifetimes(&info.limits);
    let mut sa = Sa {
        id: id_of(info)?,
        mode: mode_of(info.mode)?,
        reqid: ReqId(info.reqid),
        enc: EncAlgorithm::Null,
        enc_key: Secret::default(),
        auth: AuthAlgorithm::None,
        auth_key: Secret::default(),
        replay_window: info.replay_window.into(),
        esn: info.flags & sa_flag::ESN != 0,
        nat_t: None,
        soft,
        hard,
        state: SaState::Larval,
        usage: Usage {
            packets: info.used.packets,
            bytes: info.used.bytes,
            added: info.used.added,
            used: info.used.used,
        },
        sequence: 0,
        offload: None,
    };
    let is_truncated = attributes.iter().any(|a| matches!(a, Attribute::AuthTruncated(_)));
    let secret = |key: &[u8]| Secret::new(key.to_vec());
    for attribute in attributes {
        match attribute {
            Attribute::Crypt(found) => (sa.enc, sa.enc_key) = (cipher(found.name)?, secret(found.key)),
            Attribute::Aead(found) => {
                (sa.enc, sa.enc_key) = (aead(found.name, found.icv_bits)?, secret(found.key));
            }
            Attribute::AuthTruncated(found) => {
                (sa.auth, sa.auth_key) = (hash(found.name, found.icv_bits)?, secret(found.key));
            }
            // The kernel shows it in both ways; 96 bits are what it takes by itself.
            Attribute::Auth(found) if !is_truncated => {
                (sa.auth, sa.auth_key) = (hash(found.name, 96)?, secret(found.key));
            }
            Attribute::Compression(found) if found.name != "deflate" => return None,
            Attribute::Encap(found) => {
                sa.nat_t = Some(NatT {
                    source_port: found.source_port,
                    destination_port: found.destination_port,
                    original: found.original.ip(info.family).filter(|address| !address.is_unspecified()),
                    non_ike_marker: found.kind == encap::ESP_IN_UDP_NON_IKE,
                });
            }
            Attribute::Replay { sent, received, .. } => sa.sequence = (*sent).max(*received).into(),
            Attribute::ReplayEsn(found) => {
                sa.replay_window = found.window;
                sa.sequence = found.sent.max(found.received);
            }
            _ => continue,
        }
        if matches!(
            attribute,
            Attribute::Crypt(_)
                | Attribute::Aead(_)
                | Attribute::Auth(_)
                | Attribute::AuthTruncated(_)
                | Attribute::Compression(_)
        ) {
            sa.state = SaState::Mature;
        }
    }
    if sa.state == SaState::Mature && is_dying(&sa, wall) {
        sa.state = SaState::Dying;
    }
    Some(sa)
}

/// Whether a soft limit is behind it: the kernel knows, and does not say.
fn is_dying(sa: &Sa, wall: u64) -> bool {
    let over = |limit: u64, value: u64| limit != 0 && value >= limit;
    let since = |at: u64| if at == 0 { 0 } else { wall.saturating_sub(at) };
    over(sa.soft.bytes, sa.usage.bytes)
        || over(sa.soft.packets, sa.usage.packets)
        || over(sa.soft.add_seconds, since(sa.usage.added))
        || over(sa.soft.use_seconds, since(sa.usage.used))
}
