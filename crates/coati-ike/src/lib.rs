//! The IKE engine, sans-IO: main mode, quick mode, informational exchanges, lifetimes.

#![forbid(unsafe_code)]
