//! ipv6 format.
