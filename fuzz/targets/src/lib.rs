//! What the fuzzer calls: a function for each parser and engine that reads what strangers send.
//!
//! Each function takes any bytes and must neither panic nor hang, and holds what it looks at to more than that: what
//! was parsed and emitted parses to the same, spans lie inside their text, tables stay bounded, nothing leaves in
//! clear. libFuzzer calls them through the thin programs in `fuzz/fuzz_targets`, and `cargo test` with the corpus and
//! mutations of it, so that the check runs everywhere. `fuzz/README.md` says how to work with them.

#![forbid(unsafe_code)]

mod bfd;
mod bundles;
mod config;
mod forward;
mod ike;
mod ipcomp;
mod ospf;
mod pfkey;
mod reader;
mod seed;
mod wire;
mod xfrm;

pub use bfd::bfd;
pub use bundles::bundles;
pub use config::{bird_conf, ospfd_conf, psk_txt, racoon_conf, rc_conf, setkey_conf, site};
pub use forward::{admin_request, forwarder};
pub use ike::{ike_fragment, ike_session};
pub use ipcomp::ipcomp;
pub use ospf::{ospf_packets, ospf_session};
pub use pfkey::pfkey;
pub use wire::{adminport, esp, gre, icmp, ipv4, ipv6, isakmp, isakmp_sa, ospf_lsa, ospf_packet, udp};
pub use xfrm::xfrm;

/// A function that takes any bytes.
pub type Target = fn(&[u8]);

/// All targets by name. Each has a program in `fuzz/fuzz_targets` and a folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("admin_request", admin_request),
    ("adminport", adminport),
    ("bfd", bfd),
    ("bird_conf", bird_conf),
    ("bundles", bundles),
    ("esp", esp),
    ("forwarder", forwarder),
    ("gre", gre),
    ("icmp", icmp),
    ("ike_fragment", ike_fragment),
    ("ike_session", ike_session),
    ("ipcomp", ipcomp),
    ("ipv4", ipv4),
    ("ipv6", ipv6),
    ("isakmp", isakmp),
    ("isakmp_sa", isakmp_sa),
    ("ospf_lsa", ospf_lsa),
    ("ospf_packet", ospf_packet),
    ("ospf_session", ospf_session),
    ("ospfd_conf", ospfd_conf),
    ("pfkey", pfkey),
    ("psk_txt", psk_txt),
    ("racoon_conf", racoon_conf),
    ("rc_conf", rc_conf),
    ("setkey_conf", setkey_conf),
    ("site", site),
    ("udp", udp),
    ("xfrm", xfrm),
];
