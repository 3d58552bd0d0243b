//! Graceful restart (RFC 3623): packets go on while a router's program is not there.

mod helper;
mod restarter;

pub(crate) use restarter::Restart;

use std::net::Ipv4Addr;

use coati_wire::ospf::{LsaBody, LsaKey, lsa_kind};

/// Opaque type of Grace-LSAs (appendix A).
const GRACE: u8 = 3;
/// TLV with the grace period in seconds.
const GRACE_PERIOD: u16 = 1;
/// TLV with the reason.
const REASON: u16 = 2;
/// TLV with the router's address, on networks with many of them.
const ADDRESS: u16 = 3;
/// Nobody is helped for longer, in seconds.
pub(crate) const LONGEST: u32 = 1800;

/// Why a router restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It did not expect to.
    Unknown = 0,
    /// Somebody wanted it to.
    Software = 1,
}

/// The link state id of Grace-LSAs.
const GRACE_ID: Ipv4Addr = Ipv4Addr::new(GRACE, 0, 0, 0);

/// Whether an LSA announces a graceful restart.
pub(crate) fn is_grace(key: &LsaKey) -> bool {
    key.kind == lsa_kind::OPAQUE_LINK && key.id.octets().first() == Some(&GRACE)
}

/// The grace period of a Grace-LSA in seconds.
fn grace_period(body: &LsaBody) -> Option<u32> {
    let LsaBody::Opaque(data) = body else { return None };
    let mut rest = data.as_slice();
    while let Some(([k0, k1, l0, l1], behind)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = behind.get(..length)?;
        if u16::from_be_bytes([*k0, *k1]) == GRACE_PERIOD {
            return value.try_into().ok().map(u32::from_be_bytes);
        }
        // Values are padded to four bytes.
        rest = behind.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// What a Grace-LSA says: a period in seconds, the reason, and on networks with many routers our address there.
fn grace_body(period: u32, reason: Reason, address: Option<Ipv4Addr>) -> LsaBody {
    let mut data = Vec::with_capacity(24);
    let mut put = |kind: u16, value: &[u8]| {
        data.extend(kind.to_be_bytes());
        data.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        data.extend(value);
        data.resize(data.len().next_multiple_of(4), 0);
    };
    put(GRACE_PERIOD, &period.to_be_bytes());
    put(REASON, &[reason as u8]);
    if let Some(address) = address {
        put(ADDRESS, &address.octets());
    }
    LsaBody::Opaque(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read() {
        let body = grace_body(120, Reason::Software, Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(grace_period(&body), Some(120));
        let LsaBody::Opaque(data) = body else { unreachable!() };
        assert_eq!(data[8..16], [0, 2, 0, 1, 1, 0, 0, 0]);
        assert_eq!(data[16..], [0, 3, 0, 4, 192, 0, 2, 1]);
    }
}
