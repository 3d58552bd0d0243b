//! pcap files (pcap-savefile(5)) of raw IP packets.

use std::io::{self, Write};
use std::time::Duration;

/// LINKTYPE_RAW: packets begin with an IPv4 or IPv6 header.
const LINKTYPE_RAW: u32 = 101;

/// Writes packets with their times since 1970.
pub fn write<'a>(
    out: &mut impl Write,
    packets: impl Iterator<Item = (Duration, &'a [u8])>,
) -> io::Result<()> {
    for word in [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, LINKTYPE_RAW] {
        out.write_all(&word.to_ne_bytes())?;
    }
    for (time, bytes) in packets {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        for word in [seconds, time.subsec_micros(), length, length] {
            out.write_all(&word.to_ne_bytes())?;
        }
        out.write_all(bytes)?;
    }
    Ok(())
}
