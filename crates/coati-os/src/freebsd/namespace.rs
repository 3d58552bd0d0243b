//! Linux' namespaces, which are not here.

use std::io;

/// Says that there is none to go into: a jail with a network of its own (VNET) is not made by a program for itself.
pub fn isolate() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "FreeBSD has no network namespaces"))
}
