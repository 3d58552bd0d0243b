//! What crosses the internet: counted by protocol, and written as pcap when asked for.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use coati_os::raw::CaptureSocket;
use coati_wire::ipv4;

use crate::clock::unix_micros;

/// Packets seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// GRE in clear: must stay 0.
    pub clear_gre: AtomicU64,
    /// ESP, also inside UDP.
    pub esp: AtomicU64,
    /// All other UDP, which is IKE here.
    pub udp: AtomicU64,
}

/// Starts counting on the interface of this index, in a thread that ends with the process; without a file already when
/// nobody holds the counters any more, since looking at each packet costs whoever measures in the lab a good part of the
/// machine.
pub fn start(index: u32, pcap: Option<&Path>) -> io::Result<Arc<Seen>> {
    let socket = CaptureSocket::new(index)?;
    let mut file = pcap.map(create).transpose()?;
    let seen = Arc::new(Seen::default());
    let counting = seen.clone();
    std::thread::Builder::new().name("capture".into()).spawn(move || {
        let mut buffer = vec![0; 65_536];
        while file.is_some() || Arc::strong_count(&counting) > 1 {
            match socket.receive(&mut buffer, Duration::from_millis(50)) {
                Ok(length) => {
                    let frame = buffer.get(..length).unwrap_or(&[]);
                    count(&counting, frame);
                    if let Some(file) = &mut file
                        && write_record(file, frame).is_err()
                    {
                        return;
                    }
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    if let Some(file) = &mut file {
                        let _ = file.flush();
                    }
                }
                Err(_) => return,
            }
        }
    })?;
    Ok(seen)
}

fn count(seen: &Seen, frame: &[u8]) {
    let Some([8, 0, packet @ ..]) = frame.get(12..) else { return };
    let Ok(packet) = ipv4::Packet::new(packet) else { return };
    let counter = match packet.protocol() {
        ipv4::protocol::GRE => &seen.clear_gre,
        ipv4::protocol::ESP => &seen.esp,
        ipv4::protocol::UDP if is_esp_in_udp(packet.payload()) => &seen.esp,
        ipv4::protocol::UDP => &seen.udp,
        _ => return,
    };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// On port 4500, what does not begin with four zero bytes, and is no keepalive of one byte, is ESP (RFC 3948).
fn is_esp_in_udp(datagram: &[u8]) -> bool {
    let [s0, s1, d0, d1, _, _, _, _, payload @ ..] = datagram else { return false };
    let natt = [u16::from_be_bytes([*s0, *s1]), u16::from_be_bytes([*d0, *d1])].contains(&4500);
    natt && payload.len() > 4 && !payload.starts_with(&[0; 4])
}

/// The classic file header (pcap-savefile(5)): microseconds, Ethernet.
fn create(path: &Path) -> io::Result<BufWriter<File>> {
    let mut file = BufWriter::new(File::create(path)?);
    for word in [0xa1b2_c3d4u32, 2 | 4 << 16, 0, 0, 65_535, 1] {
        file.write_all(&word.to_ne_bytes())?;
    }
    Ok(file)
}

fn write_record(file: &mut BufWriter<File>, frame: &[u8]) -> io::Result<()> {
    let now = unix_micros();
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    for word in [
        u32::try_from(now / 1_000_000).unwrap_or(u32::MAX),
        u32::try_from(now % 1_000_000).unwrap_or(0),
        length,
        length,
    ] {
        file.write_all(&word.to_ne_bytes())?;
    }
    file.write_all(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn esp_in_udp_is_told_from_ike() {
        let datagram = |port: u16, payload: &[u8]| {
            [&port.to_be_bytes()[..], &4500_u16.to_be_bytes(), &[0; 4], payload].concat()
        };
        assert!(is_esp_in_udp(&datagram(4500, &[0, 0, 1, 2, 0, 0, 0, 1, 9])));
        assert!(is_esp_in_udp(&datagram(20_000, &[0, 0, 1, 2, 0, 0, 0, 1, 9])));
        assert!(!is_esp_in_udp(&datagram(4500, &[0, 0, 0, 0, 1, 2, 3])));
        assert!(!is_esp_in_udp(&datagram(4500, &[0xff])));
        assert!(!is_esp_in_udp(&[1, 2, 3]));
        assert!(!is_esp_in_udp(&[1, 244, 1, 244, 0, 0, 0, 0, 9, 9, 9, 9, 9]));
    }
}
