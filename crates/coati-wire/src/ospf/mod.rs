//! ospf format.
