//! udp format.
