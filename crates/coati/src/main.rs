//! Coati: joins sites with OSPF over GRE over IPsec transport mode, keyed by IKE.

#![forbid(unsafe_code)]

fn main() {}
