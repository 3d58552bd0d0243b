//! icmp format.
