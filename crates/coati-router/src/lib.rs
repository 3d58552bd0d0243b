//! One router, sans-IO: IKE, OSPF and routes composed as control, and the forwarder of packet batches.

#![forbid(unsafe_code)]

pub mod admin;
