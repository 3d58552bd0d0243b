//! esp format.
