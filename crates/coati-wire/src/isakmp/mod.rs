//! isakmp format.
