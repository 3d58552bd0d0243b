//! A whole message with its extensions, as it goes to a kernel and comes from one: RFC 2367 section 2.3 and KAME's.

use std::net::IpAddr;

use super::{
    Extension, HEADER_LEN, Header, IpsecRequest, Layout, Lifetime, VERSION, extension, extensions, finish,
    host_u16, host_u32, parse_key, push_extension,
};
use crate::WireError;
use crate::error::{array, u16_at};

/// `sadb_sa` (section 2.3.1), but for length and type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaNumbers {
    /// Security parameters index.
    pub spi: u32,
    /// Replay window: on Linux in packets, elsewhere in bytes of its bitmap.
    pub replay: u8,
    /// 0 larval, 1 mature, 2 dying, 3 dead.
    pub state: u8,
    /// One of [`super::auth`].
    pub auth: u8,
    /// One of [`super::encrypt`], or of [`super::compress`].
    pub encrypt: u8,
    /// `SADB_X_EXT_*` of KAME, `SADB_SAFLAGS_*` of Linux.
    pub flags: u32,
}

/// `sadb_address` (section 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Bits of it that count.
    pub prefix_len: u8,
    /// Port, or half of what a protocol has instead.
    pub port: u16,
    /// IP protocol; 255 is any.
    pub protocol: u8,
}

impl Address {
    /// An end of an SA.
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix_len: if address.is_ipv4() { 32 } else { 128 }, port: 0, protocol: 0 }
    }

    fn emit(&self, layout: Layout) -> Vec<u8> {
        let head = [self.protocol, self.prefix_len, 0, 0];
        [&head[..], &layout.emit_sockaddr(self.address, self.port)].concat()
    }

    fn parse(layout: Layout, body: &[u8]) -> Result<Self, WireError> {
        let [protocol, prefix_len] = array("sadb_address", body, 4)?;
        let (address, port, _) = layout.parse_sockaddr(body.get(8..).unwrap_or(&[]))?;
        Ok(Self { address, prefix_len, port, protocol })
    }
}

/// `sadb_x_sa2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sa2 {
    /// 0 any, 1 transport, 2 tunnel.
    pub mode: u8,
    /// Sequence number of packets so far, low 32 bits.
    pub sequence: u32,
    /// Its policy.
    pub reqid: u32,
}

/// `sadb_x_policy` and what follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyNumbers {
    /// 0 discard, 1 none, 2 IPsec.
    pub kind: u16,
    /// 1 in, 2 out, 3 forwarded.
    pub direction: u8,
    /// FreeBSD: 1 everybody's, 2 an if_ipsec interface's, 4 a socket's.
    pub scope: u8,
    /// The kernel's number.
    pub id: u32,
    /// The smaller is looked at first; NetBSD has none.
    pub priority: u32,
    /// What is wanted, the first applied first.
    pub requests: Vec<IpsecRequest>,
}

impl PolicyNumbers {
    fn emit(&self, layout: Layout) -> Vec<u8> {
        let mut body = self.kind.to_ne_bytes().to_vec();
        body.extend_from_slice(&[self.direction, self.scope]);
        body.extend_from_slice(&self.id.to_ne_bytes());
        body.extend_from_slice(&self.priority.to_ne_bytes());
        self.requests.iter().for_each(|request| body.extend(request.emit(layout)));
        body
    }

    fn parse(layout: Layout, body: &[u8]) -> Result<Self, WireError> {
        const WHAT: &str = "sadb_x_policy";
        let [direction, scope] = array(WHAT, body, 6)?;
        Ok(Self {
            kind: host_u16(WHAT, body, 4)?,
            direction,
            scope,
            id: host_u32(WHAT, body, 8)?,
            priority: host_u32(WHAT, body, 12)?,
            requests: IpsecRequest::parse_all(layout, body.get(16..).unwrap_or(&[]))?,
        })
    }
}

/// UDP encapsulation (`sadb_x_nat_t_type`, `sadb_x_nat_t_port`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NatT {
    /// `UDP_ENCAP_*`: 2 is ESP in UDP, 1 the drafts' with a marker; 0 is none.
    pub kind: u8,
    /// Port of the outer source.
    pub source_port: u16,
    /// Port of the outer destination.
    pub destination_port: u16,
    /// The address that a NAT has replaced (`NAT_T_OA`, `NAT_T_OAI`).
    pub original: Option<IpAddr>,
}

/// A message; what is not in it is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// One of [`super::message`].
    pub kind: u8,
    /// What went wrong, 0 for nothing.
    pub errno: u8,
    /// One of [`super::sa_type`].
    pub sa_type: u8,
    /// The request's number; in dumps 0 marks the last one.
    pub sequence: u32,
    /// The process that asked.
    pub pid: u32,
    /// The SA.
    pub sa: Option<SaNumbers>,
    /// What it has used.
    pub current: Option<Lifetime>,
    /// When it ends.
    pub hard: Option<Lifetime>,
    /// When it is to be renewed.
    pub soft: Option<Lifetime>,
    /// Source, of an SA or selector.
    pub source: Option<Address>,
    /// Destination.
    pub destination: Option<Address>,
    /// Integrity key, of 8 KiB at the most.
    pub auth_key: &'a [u8],
    /// Encryption key, of 8 KiB at the most.
    pub encrypt_key: &'a [u8],
    /// SPIs to choose from, first and last.
    pub spi_range: Option<(u32, u32)>,
    /// Mode and reqid.
    pub sa2: Option<Sa2>,
    /// Policy.
    pub policy: Option<PolicyNumbers>,
    /// UDP encapsulation.
    pub nat_t: Option<NatT>,
    /// Replay window in packets, where it is too large for `sadb_sa` (FreeBSD).
    pub replay_window: Option<u32>,
    /// The interface whose hardware does it (FreeBSD 15).
    pub interface: Option<&'a str>,
    /// Numbers of the integrity algorithms that the kernel has (answers to SADB_REGISTER).
    pub supported_auth: Vec<u8>,
    /// The same of ciphers, or of compression.
    pub supported_encrypt: Vec<u8>,
}

/// Bytes of the flags of `sadb_x_if_hw_offl`, of which none is set, and of the name behind them.
const FLAGS_LEN: usize = 4;
const INTERFACE_LEN: usize = 16;
/// Bytes of an entry of `sadb_supported`.
const ALGORITHM_LEN: usize = 8;

impl<'a> Message<'a> {
    /// Its bytes in this layout. Of what a layout has no place for nothing is in them.
    pub fn emit(&self, layout: Layout) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(&[VERSION, self.kind, self.errno, self.sa_type]);
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.pid.to_ne_bytes());
        let mut push = |kind, body: &[u8]| push_extension(&mut bytes, kind, body);
        if let Some(sa) = &self.sa {
            let numbers = [sa.replay, sa.state, sa.auth, sa.encrypt];
            push(extension::SA, &[sa.spi.to_be_bytes(), numbers, sa.flags.to_ne_bytes()].concat());
        }
        for (kind, lifetime) in [
            (extension::LIFETIME_CURRENT, &self.current),
            (extension::LIFETIME_HARD, &self.hard),
            (extension::LIFETIME_SOFT, &self.soft),
        ] {
            if let Some(lifetime) = lifetime {
                push(kind, &lifetime.emit());
            }
        }
        for (kind, address) in
            [(extension::ADDRESS_SOURCE, &self.source), (extension::ADDRESS_DESTINATION, &self.destination)]
        {
            if let Some(address) = address {
                push(kind, &address.emit(layout));
            }
        }
        for (kind, key) in [(extension::KEY_AUTH, self.auth_key), (extension::KEY_ENCRYPT, self.encrypt_key)]
        {
            if let Ok(bits) = u16::try_from(key.len() * 8)
                && bits > 0
            {
                push(kind, &[&bits.to_ne_bytes(), &[0, 0][..], key].concat());
            }
        }
        if let Some((first, last)) = self.spi_range {
            push(extension::SPI_RANGE, &[first.to_ne_bytes(), last.to_ne_bytes(), [0; 4]].concat());
        }
        if let Some(sa2) = &self.sa2 {
            let mode = [sa2.mode, 0, 0, 0];
            push(extension::SA2, &[mode, sa2.sequence.to_ne_bytes(), sa2.reqid.to_ne_bytes()].concat());
        }
        if let Some(policy) = &self.policy {
            push(extension::POLICY, &policy.emit(layout));
        }
        if let Some(nat_t) = &self.nat_t {
            push(extension::NAT_T_TYPE, &[nat_t.kind, 0, 0, 0]);
            for (kind, port) in [
                (extension::NAT_T_SOURCE_PORT, nat_t.source_port),
                (extension::NAT_T_DESTINATION_PORT, nat_t.destination_port),
            ] {
                let [high, low] = port.to_be_bytes();
                push(kind, &[high, low, 0, 0]);
            }
            if let Some(original) = nat_t.original {
                push(extension::NAT_T_ORIGINAL, &Address::host(original).emit(layout));
            }
        }
        if let Some(window) = self.replay_window.filter(|_| layout == Layout::FreeBsd) {
            push(extension::SA_REPLAY, &window.to_ne_bytes());
        }
        if let Some(interface) = self.interface.filter(|_| layout == Layout::FreeBsd) {
            let mut body = [0; FLAGS_LEN + INTERFACE_LEN];
            // The last byte stays 0.
            for (to, from) in body.iter_mut().skip(FLAGS_LEN).zip(interface.bytes().take(INTERFACE_LEN - 1)) {
                *to = from;
            }
            push(extension::INTERFACE, &body);
        }
        for (kind, list) in [
            (extension::SUPPORTED_AUTH, &self.supported_auth),
            (extension::SUPPORTED_ENCRYPT, &self.supported_encrypt),
        ] {
            if !list.is_empty() {
                let entry = |number: &u8| [*number, 0, 0, 0, 0, 0, 0, 0];
                let body: Vec<u8> = [0; 4].into_iter().chain(list.iter().flat_map(entry)).collect();
                push(kind, &body);
            }
        }
        finish(&mut bytes);
        bytes
    }

    /// Reads the message that `bytes` begin with, and returns what follows it. An extension that comes twice is wrong
    /// (section 2.3), one that is not known here is passed over.
    pub fn parse(layout: Layout, bytes: &'a [u8]) -> Result<(Self, &'a [u8]), WireError> {
        let (header, rest, following) = Header::parse(bytes)?;
        let Header { kind, errno, sa_type, sequence, pid, .. } = header;
        let mut message = Self { kind, errno, sa_type, sequence, pid, ..Self::default() };
        let mut seen: u64 = 0;
        for found in extensions(rest) {
            let found = found?;
            if let Some(bit) = 1u64.checked_shl(found.kind.into()) {
                if seen & bit != 0 {
                    return Err(WireError::TooMany { what: "PF_KEY extensions of a kind", limit: 1 });
                }
                seen |= bit;
            }
            message.take(layout, found)?;
        }
        Ok((message, following))
    }

    fn take(&mut self, layout: Layout, found: Extension<'a>) -> Result<(), WireError> {
        let Extension { kind, bytes: body } = found;
        let port = || u16_at("sadb_x_nat_t_port", body, 4);
        match kind {
            extension::SA => {
                const WHAT: &str = "sadb_sa";
                let [replay, state, auth, encrypt] = array(WHAT, body, 8)?;
                let spi = u32::from_be_bytes(array(WHAT, body, 4)?);
                let flags = host_u32(WHAT, body, 12)?;
                self.sa = Some(SaNumbers { spi, replay, state, auth, encrypt, flags });
            }
            extension::LIFETIME_CURRENT => self.current = Some(Lifetime::parse(body)?),
            extension::LIFETIME_HARD => self.hard = Some(Lifetime::parse(body)?),
            extension::LIFETIME_SOFT => self.soft = Some(Lifetime::parse(body)?),
            extension::ADDRESS_SOURCE => self.source = Some(Address::parse(layout, body)?),
            extension::ADDRESS_DESTINATION => self.destination = Some(Address::parse(layout, body)?),
            extension::KEY_AUTH => self.auth_key = parse_key(body)?,
            extension::KEY_ENCRYPT => self.encrypt_key = parse_key(body)?,
            extension::SPI_RANGE => {
                const WHAT: &str = "sadb_spirange";
                self.spi_range = Some((host_u32(WHAT, body, 4)?, host_u32(WHAT, body, 8)?));
            }
            extension::SA2 => {
                const WHAT: &str = "sadb_x_sa2";
                let [mode] = array(WHAT, body, 4)?;
                let (sequence, reqid) = (host_u32(WHAT, body, 8)?, host_u32(WHAT, body, 12)?);
                self.sa2 = Some(Sa2 { mode, sequence, reqid });
            }
            extension::POLICY => self.policy = Some(PolicyNumbers::parse(layout, body)?),
            extension::NAT_T_TYPE => {
                let [kind] = array("sadb_x_nat_t_type", body, 4)?;
                self.nat_t.get_or_insert_default().kind = kind;
            }
            extension::NAT_T_SOURCE_PORT => self.nat_t.get_or_insert_default().source_port = port()?,
            extension::NAT_T_DESTINATION_PORT => {
                self.nat_t.get_or_insert_default().destination_port = port()?;
            }
            extension::NAT_T_ORIGINAL => {
                let original = Address::parse(layout, body)?;
                self.nat_t.get_or_insert_default().original = Some(original.address);
            }
            // Its number is another thing's elsewhere.
            extension::SA_REPLAY if layout == Layout::FreeBsd => {
                self.replay_window = Some(host_u32("sadb_x_sa_replay", body, 4)?);
            }
            extension::INTERFACE if layout == Layout::FreeBsd => {
                let name: [u8; INTERFACE_LEN] = array("sadb_x_if_hw_offl", body, 4 + FLAGS_LEN)?;
                let length = name.iter().position(|byte| *byte == 0).unwrap_or(INTERFACE_LEN);
                self.interface =
                    body.get(4 + FLAGS_LEN..).and_then(|name| std::str::from_utf8(name.get(..length)?).ok());
            }
            extension::SUPPORTED_AUTH => self.supported_auth = numbers(body),
            extension::SUPPORTED_ENCRYPT => self.supported_encrypt = numbers(body),
            _ => {}
        }
        Ok(())
    }
}

/// The algorithms of `sadb_supported` (section 2.3.6).
fn numbers(body: &[u8]) -> Vec<u8> {
    let entries = body.get(8..).unwrap_or(&[]).chunks_exact(ALGORITHM_LEN);
    entries.filter_map(|entry| entry.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message;
    use super::*;

    fn ip() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))
        ]
    }

    fn address() -> impl Strategy<Value = Option<Address>> {
        prop::option::of((ip(), any::<u8>(), any::<u16>(), any::<u8>()).prop_map(
            |(address, prefix_len, port, protocol)| Address { address, prefix_len, port, protocol },
        ))
    }

    fn lifetime() -> impl Strategy<Value = Option<Lifetime>> {
        any::<Option<(u32, u64, u64, u64)>>().prop_map(|numbers| {
            numbers.map(|(allocations, bytes, add_time, use_time)| Lifetime {
                allocations,
                bytes,
                add_time,
                use_time,
            })
        })
    }

    fn policy() -> impl Strategy<Value = Option<PolicyNumbers>> {
        let request = (any::<(u16, u8, u8, u16)>(), prop::option::of((ip(), ip()))).prop_map(
            |((proto, mode, level, reqid), ends)| IpsecRequest {
                proto,
                mode,
                level,
                reqid: reqid.into(),
                ends,
            },
        );
        let requests = prop::collection::vec(request, 0..5);
        prop::option::of((any::<(u16, u8, u8, u32, u32)>(), requests).prop_map(
            |((kind, direction, scope, id, priority), requests)| PolicyNumbers {
                kind,
                direction,
                scope,
                id,
                priority,
                requests,
            },
        ))
    }

    fn nat_t() -> impl Strategy<Value = Option<NatT>> {
        prop::option::of((any::<(u8, u16, u16)>(), prop::option::of(ip())).prop_map(
            |((kind, source_port, destination_port), original)| NatT {
                kind,
                source_port,
                destination_port,
                original,
            },
        ))
    }

    fn layout() -> impl Strategy<Value = Layout> {
        prop::sample::select(&Layout::ALL[..])
    }

    /// The seed's outbound policy with a tunnel besides, as the headers say: 16 bytes for each protocol on Linux, 8 on
    /// the BSDs, and socket addresses that begin with their length there.
    #[test]
    #[cfg(target_endian = "little")]
    fn a_policy_in_each_layout() {
        let ends = Some((IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1])));
        let request = IpsecRequest { proto: 50, mode: 2, level: 3, reqid: 7, ends };
        let host = |last| Some(Address { protocol: 47, ..Address::host(IpAddr::from([192, 0, 2, last])) });
        let message = Message {
            kind: message::SPDADD,
            source: host(1),
            destination: host(2),
            policy: Some(PolicyNumbers {
                kind: 2,
                direction: 2,
                priority: 0x8000_0000,
                requests: vec![request],
                ..PolicyNumbers::default()
            }),
            ..Message::default()
        };
        let linux = message.emit(Layout::Linux);
        assert_eq!(linux[..16], [2, 14, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(linux[16..32], [3, 0, 5, 0, 47, 32, 0, 0, 2, 0, 0, 0, 192, 0, 2, 1]);
        assert_eq!(linux[64..80], [8, 0, 18, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(linux[80..96], [48, 0, 50, 0, 2, 3, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(linux[96..104], [2, 0, 0, 0, 192, 0, 2, 1]);
        assert_eq!(linux.len(), 128);
        let freebsd = message.emit(Layout::FreeBsd);
        assert_eq!(freebsd[16..32], [3, 0, 5, 0, 47, 32, 0, 0, 16, 2, 0, 0, 192, 0, 2, 1]);
        assert_eq!(freebsd[64..80], [7, 0, 18, 0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(freebsd[80..96], [40, 0, 50, 0, 2, 3, 7, 0, 16, 2, 0, 0, 192, 0, 2, 1]);
        assert_eq!(freebsd.len(), 120);
        assert_eq!(message.emit(Layout::NetBsd), freebsd);
        let v6 = |layout: Layout| layout.emit_sockaddr("2001:db8::1".parse().unwrap(), 500);
        assert_eq!(v6(Layout::Linux)[..4], [10, 0, 1, 0xf4]);
        assert_eq!(v6(Layout::FreeBsd)[..4], [28, 28, 1, 0xf4]);
        assert_eq!(v6(Layout::NetBsd)[..4], [28, 24, 1, 0xf4]);
    }

    /// Each of these would be read beyond its end, or for ever.
    #[test]
    fn what_lies_is_refused() {
        let ends = Some((IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1])));
        let request = IpsecRequest { proto: 50, mode: 2, level: 3, reqid: 7, ends };
        for layout in Layout::ALL {
            let numbers = |requests| PolicyNumbers { kind: 2, requests, ..PolicyNumbers::default() };
            let of =
                |requests| Message { policy: Some(numbers(requests)), ..Message::default() }.emit(layout);
            let good = of(vec![request]);
            assert!(Message::parse(layout, &good).is_ok());
            let mut endless = good.clone();
            endless[32..34].copy_from_slice(&[0, 0]);
            assert!(Message::parse(layout, &endless).is_err());
            let mut beyond = good.clone();
            beyond[32] = 0xf8;
            assert!(Message::parse(layout, &beyond).is_err());
            assert!(Message::parse(layout, &of(vec![request; 17])).is_err());
            let mut twice = good.clone();
            twice.extend_from_slice(&good[HEADER_LEN..]);
            finish(&mut twice);
            assert!(Message::parse(layout, &twice).is_err());
        }
    }

    proptest! {
        #[test]
        fn round_trip(
            layout in layout(), head in any::<(u8, u8, u8, u32, u32)>(), sa in any::<Option<[u32; 2]>>(),
            numbers in any::<[u8; 4]>(), lifetimes in [lifetime(), lifetime(), lifetime()],
            ends in [address(), address()], auth_key in prop::collection::vec(any::<u8>(), 0..70),
            encrypt_key in prop::collection::vec(any::<u8>(), 0..40), spi_range in any::<Option<(u32, u32)>>(),
            sa2 in any::<Option<(u8, u32, u32)>>(), policy in policy(), nat_t in nat_t(), window in any::<Option<u32>>(),
            supported in prop::collection::vec(1u8.., 0..9), behind in prop::collection::vec(any::<u8>(), 0..20),
            interface in prop::option::of("[a-z][a-z0-9]{0,14}"),
        ) {
            let (kind, errno, sa_type, sequence, pid) = head;
            let [replay, state, auth, encrypt] = numbers;
            let [current, hard, soft] = lifetimes;
            let [source, destination] = ends;
            let message = Message {
                kind, errno, sa_type, sequence, pid, current, hard, soft, source, destination, spi_range, policy, nat_t,
                sa: sa.map(|[spi, flags]| SaNumbers { spi, replay, state, auth, encrypt, flags }),
                auth_key: &auth_key, encrypt_key: &encrypt_key,
                sa2: sa2.map(|(mode, sequence, reqid)| Sa2 { mode, sequence, reqid }),
                replay_window: window.filter(|_| layout == Layout::FreeBsd),
                interface: interface.as_deref().filter(|_| layout == Layout::FreeBsd),
                supported_auth: supported.clone(), supported_encrypt: supported,
            };
            let mut bytes = message.emit(layout);
            prop_assert_eq!(bytes.len() % 8, 0);
            prop_assert_eq!(usize::from(u16::from_ne_bytes([bytes[4], bytes[5]])) * 8, bytes.len());
            bytes.extend_from_slice(&behind);
            prop_assert_eq!(Message::parse(layout, &bytes), Ok((message, &behind[..])));
        }

        #[test]
        fn any_bytes(layout in layout(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = vec![2, 3, 0, 3];
            framed.extend_from_slice(&u16::try_from(2 + bytes.len() / 8).unwrap().to_ne_bytes());
            framed.extend_from_slice(&[0; 10]);
            framed.extend_from_slice(&bytes);
            let _ = Message::parse(layout, &bytes);
            if let Ok((message, _)) = Message::parse(layout, &framed) {
                let again = message.emit(layout);
                prop_assert_eq!(Message::parse(layout, &again), Ok((message, &[][..])));
            }
        }
    }
}
