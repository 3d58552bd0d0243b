//! The identities of quick mode (RFC 2407 section 4.6.2): hosts, networks and ranges, as policies have them.

use std::net::IpAddr;

use coati_sadb::{Port, Prefix, Selector, Upper};
use coati_wire::isakmp::Identity;

use crate::config::EndpointId;

/// The identities of a policy: ours, theirs.
pub(crate) fn endpoints(selector: &Selector) -> (EndpointId, EndpointId) {
    (
        EndpointId { prefix: selector.source.network(), upper: selector.upper, port: selector.source_port },
        EndpointId {
            prefix: selector.destination.network(),
            upper: selector.upper,
            port: selector.destination_port,
        },
    )
}

pub(crate) fn identity(endpoint: &EndpointId) -> Identity {
    let protocol = match endpoint.upper {
        Upper::Any => 0,
        Upper::Proto(number) => number,
    };
    let host = endpoint.prefix.is_host();
    let (kind, data) = match endpoint.prefix.network().address {
        IpAddr::V4(address) if host => (Identity::IPV4, address.octets().to_vec()),
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(endpoint.prefix.length)).unwrap_or(0);
            (Identity::IPV4_SUBNET, [address.octets(), mask.to_be_bytes()].concat())
        }
        IpAddr::V6(address) if host => (Identity::IPV6, address.octets().to_vec()),
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(endpoint.prefix.length)).unwrap_or(0);
            (Identity::IPV6_SUBNET, [address.octets(), mask.to_be_bytes()].concat())
        }
    };
    let port = match endpoint.port {
        Port::Any => 0,
        Port::Is(port) => port,
    };
    Identity { kind, protocol, port, data }
}

/// The endpoint an identity is about, when it is of a kind that policies have.
pub(crate) fn endpoint(id: &Identity) -> Option<EndpointId> {
    let upper = if id.protocol == 0 { Upper::Any } else { Upper::Proto(id.protocol) };
    let prefix = match id.kind {
        Identity::IPV4 | Identity::IPV6 => Prefix::host(id.address()?),
        Identity::IPV4_SUBNET => {
            let (address, mask) = halves::<4>(&id.data)?;
            let mask = u32::from_be_bytes(mask);
            let length = prefix_length(mask.leading_ones(), mask.count_ones())?;
            Prefix::new(IpAddr::from(address), length).ok()?.network()
        }
        Identity::IPV6_SUBNET => {
            let (address, mask) = halves::<16>(&id.data)?;
            let mask = u128::from_be_bytes(mask);
            let length = prefix_length(mask.leading_ones(), mask.count_ones())?;
            Prefix::new(IpAddr::from(address), length).ok()?.network()
        }
        // A range is a policy's only when it is exactly a network.
        Identity::IPV4_RANGE => {
            let (first, last) = halves::<4>(&id.data)?;
            let (first, last) = (u32::from_be_bytes(first), u32::from_be_bytes(last));
            let same = (first ^ last).leading_zeros();
            let prefix = Prefix::new(IpAddr::from(first.to_be_bytes()), u8::try_from(same).ok()?).ok()?;
            let whole = last.checked_sub(first)? == u32::MAX.checked_shr(same).unwrap_or(0);
            (whole && prefix.network() == prefix).then_some(prefix)?
        }
        Identity::IPV6_RANGE => {
            let (first, last) = halves::<16>(&id.data)?;
            let (first, last) = (u128::from_be_bytes(first), u128::from_be_bytes(last));
            let same = (first ^ last).leading_zeros();
            let prefix = Prefix::new(IpAddr::from(first.to_be_bytes()), u8::try_from(same).ok()?).ok()?;
            let whole = last.checked_sub(first)? == u128::MAX.checked_shr(same).unwrap_or(0);
            (whole && prefix.network() == prefix).then_some(prefix)?
        }
        _ => return None,
    };
    let port = if id.port == 0 { Port::Any } else { Port::Is(id.port) };
    Some(EndpointId { prefix, upper, port })
}

/// Whether an answer's identity is the one that was asked for. A host behind a NAT may be given the address by which the
/// peer sees it (RFC 3947 section 5.2), as strongSwan does in transport mode.
pub(crate) fn answers(body: &[u8], asked: &EndpointId, natted: bool) -> bool {
    let said = Identity::parse(body).ok().as_ref().and_then(endpoint);
    said.is_some_and(|said| {
        let hosts = said.prefix.is_host() && asked.prefix.is_host();
        said == *asked || natted && hosts && (said.upper, said.port) == (asked.upper, asked.port)
    })
}

/// Two addresses, or an address and its mask.
pub(crate) fn halves<const N: usize>(data: &[u8]) -> Option<([u8; N], [u8; N])> {
    let (first, second) = data.split_at_checked(N)?;
    Some((first.try_into().ok()?, second.try_into().ok()?))
}

/// The length of a prefix whose mask has these ones; `None` when they are not all in front.
pub(crate) fn prefix_length(leading: u32, all: u32) -> Option<u8> {
    u8::try_from(leading).ok().filter(|_| leading == all)
}

pub(crate) fn describe(endpoint: &EndpointId) -> String {
    let upper = match endpoint.upper {
        Upper::Any => "any".to_owned(),
        Upper::Proto(47) => "gre".to_owned(),
        Upper::Proto(number) => format!("protocol {number}"),
    };
    match endpoint.port {
        Port::Any => format!("{}[{upper}]", endpoint.prefix),
        Port::Is(port) => format!("{}[{upper} {port}]", endpoint.prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(address: &str, upper: Upper) -> EndpointId {
        EndpointId { prefix: Prefix::host(address.parse().unwrap()), upper, port: Port::Any }
    }

    #[test]
    fn a_host_behind_a_nat_may_be_called_by_the_nats_address() {
        let asked = host("192.0.2.1", Upper::GRE);
        let said = |endpoint: &EndpointId| identity(endpoint).emit();
        let natted = host("203.0.113.7", Upper::GRE);
        assert!(answers(&said(&asked), &asked, false));
        assert!(answers(&said(&natted), &asked, true));
        assert!(!answers(&said(&natted), &asked, false), "there is no NAT");
        assert!(
            !answers(&said(&host("203.0.113.7", Upper::Any)), &asked, true),
            "it protects something else"
        );
        let network =
            EndpointId { prefix: Prefix::new("203.0.113.0".parse().unwrap(), 24).unwrap(), ..asked };
        assert!(!answers(&said(&network), &asked, true));
        assert!(!answers(&[1, 47], &asked, true));
    }
}
