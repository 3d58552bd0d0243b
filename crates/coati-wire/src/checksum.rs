//! checksum format.
