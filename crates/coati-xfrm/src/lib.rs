//! Linux over XFRM netlink as a [`coati_kernel::Kernel`], in PF_KEY's vocabulary.
//!
//! Sans-IO but for [`Sockets`], which whoever owns the sockets implements. What was made here is known again after a
//! crash, since the kernel itself keeps the mark: SAs have [`OWN_SEQUENCE`] as their maker's number, policies an index of
//! [`OWN_INDEXES`].
//!
//! Three things are not as in the embedded data plane. A larval SA is not told apart by the kernel: it is one without
//! algorithms. An ACQUIRE is said once, and then the kernel waits half a minute for the SA; those that nobody has heard
//! are heard when the home begins. And an `in` policy has a twin for forwarded packets (`fwd`), as setkey(8) makes it on
//! Linux.

#![forbid(unsafe_code)]

mod algorithm;
mod home;
mod policy;
mod sa;

pub use home::{OWN_INDEXES, OWN_SEQUENCE, Sockets, Xfrm, home, refusal_of};

use std::net::IpAddr;

use coati_sadb::SaProto;
use coati_wire::xfrm::family;

/// IP protocols by SA protocol.
const PROTOCOLS: [(SaProto, u8); 3] = [(SaProto::Esp, 50), (SaProto::Ah, 51), (SaProto::Ipcomp, 108)];

fn protocol_number(proto: SaProto) -> u8 {
    PROTOCOLS.into_iter().find(|(known, _)| *known == proto).map_or(0, |(_, number)| number)
}

fn protocol(number: u8) -> Option<SaProto> {
    PROTOCOLS.into_iter().find(|(_, known)| *known == number).map(|(proto, _)| proto)
}

fn family_of(address: IpAddr) -> u16 {
    if address.is_ipv4() { family::INET } else { family::INET6 }
}

#[cfg(test)]
#[path = "../../coati-kernel/tests/suite/mod.rs"]
mod suite;
#[cfg(test)]
mod tests;
