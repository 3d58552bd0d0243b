//! Developer commands: check, test, bench, fuzz, interop.

#![forbid(unsafe_code)]

fn main() {}
