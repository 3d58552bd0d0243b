//! The operating system: TUN, raw sockets, netlink, namespaces, privileges. The only crate with unsafe code.

#![deny(missing_docs)]
