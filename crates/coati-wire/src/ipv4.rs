//! ipv4 format.
