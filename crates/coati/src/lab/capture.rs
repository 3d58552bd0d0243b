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
    /// ESP.
    pub esp: AtomicU64,
    /// UDP, which is IKE here.
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
        ipv4::protocol::UDP => &seen.udp,
        _ => return,
    };
    counter.fetch_add(1, Ordering::Relaxed);
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
