//! A network of routers in virtual time: loss, delay, reordering, cuts, restarts, and a seed to replay a failure.

#![forbid(unsafe_code)]
