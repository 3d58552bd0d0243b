//! The names that this system knows.

use std::fs::read_to_string;
use std::net::{IpAddr, ToSocketAddrs};

use coati_config::setkey::Names;

/// Protocols and services from their files; hosts from the resolver, when one is named.
pub fn system() -> Names {
    Names {
        protocols: read_to_string("/etc/protocols").unwrap_or_default(),
        services: read_to_string("/etc/services").unwrap_or_default(),
        addresses: Some(addresses),
    }
}

fn addresses(name: &str) -> Vec<IpAddr> {
    (name, 0).to_socket_addrs().map_or_else(|_| Vec::new(), |found| found.map(|it| it.ip()).collect())
}
