//! Who a peer is where its address does not say it: the hosts behind one NAT share an address.

use std::net::{IpAddr, SocketAddr};

use coati_wire::isakmp::Identity;

/// One end of SAs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    /// The address its packets come from.
    pub(crate) address: IpAddr,
    /// The port a NAT before it has given it.
    pub(crate) nat_port: Option<u16>,
    /// Body of the identification it has proved.
    pub(crate) identity: Vec<u8>,
}

impl Party {
    /// Whether it is the same host. Behind a NAT that is who has proved the same identity and comes from the same port,
    /// or from another one when the identity is an address: behind one NAT only one host has it.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.address == other.address
            && match (self.nat_port, other.nat_port) {
                (None, None) => true,
                (ours, theirs) => {
                    let is_address =
                        matches!(self.identity.first(), Some(&(Identity::IPV4 | Identity::IPV6)));
                    self.identity == other.identity && (ours == theirs || is_address)
                }
            }
    }

    /// The NAT has given the host that was at `before` another port.
    pub(crate) fn moved(&mut self, before: SocketAddr, now: SocketAddr) {
        if self.nat_port.is_some() {
            debug_assert_eq!(self.address, before.ip());
            self.nat_port = Some(now.port());
        }
    }

    /// Whether packets from there are this party's.
    pub(crate) fn is_at(&self, remote: SocketAddr) -> bool {
        self.address == remote.ip() && self.nat_port.is_none_or(|port| port == remote.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_behind_one_nat() {
        let party = |nat_port, kind: u8, name: &str| Party {
            address: "203.0.113.7".parse().unwrap(),
            nat_port,
            identity: [&[kind, 0, 0, 0], name.as_bytes()].concat(),
        };
        let (address, name) = (Identity::IPV4, Identity::FQDN);
        assert!(
            party(None, address, "a").is(&party(None, address, "b")),
            "without a NAT the address says it"
        );
        assert!(party(Some(1), name, "a").is(&party(Some(1), name, "a")));
        assert!(!party(Some(1), name, "a").is(&party(Some(2), name, "a")), "a name that several may have");
        assert!(party(Some(1), address, "a").is(&party(Some(2), address, "a")), "it has begun anew");
        assert!(!party(Some(1), address, "a").is(&party(Some(2), address, "b")));
        assert!(!party(Some(1), name, "a").is(&party(Some(1), name, "b")));
    }
}
