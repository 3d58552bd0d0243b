//! An IPsec kernel as a library, sans-IO: SPD, SAD, ESP transforms, replay window, lifetimes.

#![forbid(unsafe_code)]
