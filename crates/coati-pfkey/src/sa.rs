//! SAs as kernels want and show them.

use std::net::IpAddr;

use coati_sadb::{
    EncAlgorithm, Lifetime, Mode, NatT, Offload, Refusal, ReqId, Sa, SaId, SaProto, SaState, Secret, Spi,
    Usage,
};
use coati_wire::pfkey::{self, Address, Layout, Message, Sa2, SaNumbers, compress, encrypt, sa_type};

use crate::algorithm::{cipher, cipher_number, hash, hash_number};
use crate::{OWN_MARK, number, value};

const TYPES: [(SaProto, u8); 3] =
    [(SaProto::Ah, sa_type::AH), (SaProto::Esp, sa_type::ESP), (SaProto::Ipcomp, sa_type::IPCOMP)];
pub(crate) const MODES: [(Mode, u8); 3] = [(Mode::Any, 0), (Mode::Transport, 1), (Mode::Tunnel, 2)];
const STATES: [(SaState, u8); 4] =
    [(SaState::Larval, 0), (SaState::Mature, 1), (SaState::Dying, 2), (SaState::Dead, 3)];

/// Packets in the largest window of Linux' af_key.
const LINUX_WINDOW: u32 = 32;
/// `SADB_X_EXT_RAWCPI`: the index is the SPI's; without it the BSDs take the algorithm's number.
const RAW_CPI: u32 = 0x80;
/// `UDP_ENCAP_ESPINUDP_NON_IKE` and `UDP_ENCAP_ESPINUDP`.
const ESP_IN_UDP_NON_IKE: u8 = 1;
const ESP_IN_UDP: u8 = 2;

/// `SADB_SATYPE_*`.
pub(crate) fn type_number(proto: SaProto) -> u8 {
    number(&TYPES, &proto)
}

/// The protocol of an SA type.
pub(crate) fn proto_of(sa_type: u8) -> Option<SaProto> {
    value(&TYPES, sa_type)
}

/// A message about the SAs between two hosts.
pub(crate) fn between(kind: u8, proto: SaProto, source: IpAddr, destination: IpAddr) -> Message<'static> {
    Message {
        kind,
        sa_type: type_number(proto),
        source: Some(Address::host(source)),
        destination: Some(Address::host(destination)),
        ..Message::default()
    }
}

/// A message about one SA, which is only named.
pub(crate) fn named(kind: u8, id: &SaId) -> Message<'static> {
    let sa = SaNumbers { spi: id.spi.0, ..SaNumbers::default() };
    Message { sa: Some(sa), ..between(kind, id.proto, id.source, id.destination) }
}

/// The same for SADB_GETSPI: what a larval SA is given.
pub(crate) fn larval(kind: u8, id: &SaId, mode: Mode, reqid: ReqId) -> Message<'static> {
    let sa2 = Sa2 { mode: number(&MODES, &mode), sequence: 0, reqid: reqid.0 };
    Message { sa2: Some(sa2), ..between(kind, id.proto, id.source, id.destination) }
}

/// The message that makes this SA, or gives a larval one its keys.
pub(crate) fn message(layout: Layout, kind: u8, sa: &Sa) -> Result<Message<'_>, Refusal> {
    sa.check()?;
    let is_compression = sa.id.proto == SaProto::Ipcomp;
    if sa.esn {
        return Err(Refusal::Unsupported("PF_KEY has no extended sequence numbers".into()));
    }
    let mut numbers =
        SaNumbers { spi: sa.id.spi.0, state: number(&STATES, &SaState::Mature), ..<_>::default() };
    let mut message = larval(kind, &sa.id, sa.mode, sa.reqid);
    message.hard = Some(limits(&Lifetime {
        use_seconds: if sa.hard.use_seconds == 0 { OWN_MARK } else { sa.hard.use_seconds },
        ..sa.hard
    }));
    message.soft = Some(limits(&sa.soft));
    if is_compression {
        numbers.encrypt = compress::DEFLATE;
        if layout != Layout::Linux && sa.id.spi != Spi::DEFLATE {
            numbers.flags = RAW_CPI;
        }
        message.sa = Some(numbers);
        return Ok(message);
    }
    if sa.id.proto == SaProto::Esp {
        numbers.encrypt =
            cipher_number(layout, sa.enc).ok_or_else(|| unknown(layout, sa.enc.setkey_name()))?;
        message.encrypt_key = sa.enc_key.expose();
    }
    numbers.auth = hash_number(layout, sa.auth).ok_or_else(|| unknown(layout, sa.auth.setkey_name()))?;
    message.auth_key = sa.auth_key.expose();
    (numbers.replay, message.replay_window) = replay(layout, sa.replay_window);
    message.nat_t = sa.nat_t.as_ref().map(|nat_t| pfkey::NatT {
        kind: if nat_t.non_ike_marker { ESP_IN_UDP_NON_IKE } else { ESP_IN_UDP },
        source_port: nat_t.source_port,
        destination_port: nat_t.destination_port,
        original: nat_t.original,
    });
    message.interface = sa.offload.as_ref().map(|offload| offload.interface.as_str());
    message.sa = Some(numbers);
    Ok(message)
}

/// A replay window of so many packets: Linux counts them, the others bytes of a bitmap, and FreeBSD has an extension for
/// what does not fit. A larger one than there is becomes the largest.
fn replay(layout: Layout, window: u32) -> (u8, Option<u32>) {
    let short = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    match layout {
        Layout::Linux => (short(window.min(LINUX_WINDOW)), None),
        Layout::FreeBsd if window > u32::from(u8::MAX) * 8 => (u8::MAX, Some(window)),
        Layout::FreeBsd | Layout::NetBsd => (short(window.div_ceil(8)), None),
    }
}

/// The largest replay window there is over PF_KEY, in packets, when that is less than [`Sa::MAX_WINDOW`].
pub fn largest_window(layout: Layout) -> Option<u32> {
    match layout {
        Layout::Linux => Some(LINUX_WINDOW),
        Layout::NetBsd => Some(u32::from(u8::MAX) * 8),
        Layout::FreeBsd => None,
    }
}

fn unknown(layout: Layout, name: &str) -> Refusal {
    Refusal::Unsupported(match layout {
        Layout::Linux => format!("Linux has no {name} over PF_KEY: use --dataplane xfrm or embedded"),
        Layout::FreeBsd | Layout::NetBsd => {
            format!("the kernel is not asked for {name} here: use --dataplane embedded")
        }
    })
}

fn limits(limits: &Lifetime) -> pfkey::Lifetime {
    pfkey::Lifetime {
        allocations: u32::try_from(limits.packets).unwrap_or(u32::MAX),
        bytes: limits.bytes,
        add_time: limits.add_seconds,
        use_time: limits.use_seconds,
    }
}

fn lifetime(found: Option<pfkey::Lifetime>) -> Lifetime {
    let found = found.unwrap_or_default();
    Lifetime {
        packets: found.allocations.into(),
        bytes: found.bytes,
        add_seconds: found.add_time,
        use_seconds: if found.use_time == OWN_MARK { 0 } else { found.use_time },
    }
}

/// Whether it was made here.
pub(crate) fn is_own(message: &Message<'_>) -> bool {
    message.hard.is_some_and(|hard| hard.use_time == OWN_MARK)
}

/// The name of the SA that a message is about.
pub(crate) fn id_of(message: &Message<'_>) -> Option<SaId> {
    Some(SaId {
        source: message.source?.address,
        destination: message.destination?.address,
        proto: proto_of(message.sa_type)?,
        spi: Spi(message.sa?.spi),
    })
}

/// What it has used of its limits, as an EXPIRE says it.
pub(crate) fn used(message: &Message<'_>, wall: u64) -> Lifetime {
    let current = message.current.unwrap_or_default();
    Lifetime {
        packets: current.allocations.into(),
        bytes: current.bytes,
        add_seconds: wall.saturating_sub(current.add_time),
        use_seconds: current.use_time,
    }
}

pub(crate) fn mode_of(message: &Message<'_>) -> Option<Mode> {
    value(&MODES, message.sa2.unwrap_or_default().mode)
}

pub(crate) fn reqid_of(message: &Message<'_>) -> ReqId {
    ReqId(message.sa2.unwrap_or_default().reqid)
}

/// The SA of a dump; `None` when there are no words for it here.
pub(crate) fn sa_of(layout: Layout, message: &Message<'_>) -> Option<Sa> {
    let id = id_of(message)?;
    let numbers = message.sa?;
    let current = message.current.unwrap_or_default();
    let is_compression = id.proto == SaProto::Ipcomp;
    if is_compression && !matches!(numbers.encrypt, compress::DEFLATE | encrypt::NONE) {
        return None;
    }
    let window = match layout {
        Layout::Linux => numbers.replay.into(),
        Layout::FreeBsd | Layout::NetBsd => u32::from(numbers.replay) * 8,
    };
    let nat_t = message.nat_t.filter(|nat_t| nat_t.kind != 0);
    let secret = |key: &[u8]| Secret::new(key.to_vec());
    Some(Sa {
        id,
        mode: mode_of(message)?,
        reqid: reqid_of(message),
        enc: if is_compression { EncAlgorithm::Null } else { cipher(numbers.encrypt)? },
        enc_key: secret(message.encrypt_key),
        auth: hash(layout, numbers.auth)?,
        auth_key: secret(message.auth_key),
        replay_window: message.replay_window.unwrap_or(window),
        // Nobody says so over PF_KEY.
        esn: false,
        nat_t: nat_t.map(|nat_t| NatT {
            source_port: nat_t.source_port,
            destination_port: nat_t.destination_port,
            original: nat_t.original.filter(|address| !address.is_unspecified()),
            non_ike_marker: nat_t.kind == ESP_IN_UDP_NON_IKE,
        }),
        soft: lifetime(message.soft),
        hard: lifetime(message.hard),
        state: value(&STATES, numbers.state)?,
        usage: Usage {
            packets: current.allocations.into(),
            bytes: current.bytes,
            added: current.add_time,
            used: current.use_time,
        },
        sequence: message.sa2.unwrap_or_default().sequence.into(),
        offload: message
            .interface
            .map(|interface| Offload { interface: interface.to_owned(), inbound: None }),
    })
}
