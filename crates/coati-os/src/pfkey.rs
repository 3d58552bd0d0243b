//! PF_KEY sockets (RFC 2367): one that asks, one that hears what the kernel says unasked. Linux' af_key and the BSDs have
//! the same ones, but for the number of the family.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{Domain, Protocol, Socket, Type};
use zeroize::{Zeroize, Zeroizing};

/// `PF_KEY_V2`.
const PF_KEY_V2: i32 = 2;
/// Room for what is said while nobody listens, in bytes: a dump comes at once.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Room for one message: its length field is in units of 8 bytes, and no kernel has one of 64 KiB.
const LARGEST: usize = 65_536;
/// How long an answer may take. Linux may look for the modules of all ciphers that it knows.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both sockets.
#[derive(Debug)]
pub struct PfKeySockets {
    asks: Socket,
    hears: Socket,
    buffer: Zeroizing<Vec<u8>>,
}

impl PfKeySockets {
    /// Opens them; the kernel is listened to from now on. Needs root.
    pub fn new() -> io::Result<Self> {
        let open = || {
            let domain = Domain::from(crate::PF_KEY);
            let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(PF_KEY_V2)))?;
            // The kernel may have a lower limit.
            let mut room = RECEIVE_BUFFER;
            while socket.set_recv_buffer_size(room).is_err() && room > LARGEST {
                room /= 2;
            }
            Ok::<_, io::Error>(socket)
        };
        let (asks, hears) = (open()?, open()?);
        asks.set_read_timeout(Some(PATIENCE))?;
        hears.set_nonblocking(true)?;
        Ok(Self { asks, hears, buffer: Zeroizing::new(vec![0; LARGEST]) })
    }

    /// A descriptor that can be read when the kernel has said something.
    pub fn news(&self) -> io::Result<OwnedFd> {
        self.hears.as_fd().try_clone_to_owned()
    }

    /// Sends a request. What the asking socket has heard before is forgotten: it hears what others ask for, too.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        while recv(&self.asks, &mut self.buffer[..], RecvFlags::DONTWAIT).is_ok() {}
        send(&self.asks, message, SendFlags::empty())?;
        Ok(())
    }

    /// The next message at the asking socket.
    pub fn receive(&mut self) -> io::Result<Zeroizing<Vec<u8>>> {
        take(&self.asks, &mut self.buffer)
    }

    /// Sends a message from the socket that hears.
    pub fn register(&mut self, message: &[u8]) -> io::Result<()> {
        send(&self.hears, message, SendFlags::empty())?;
        Ok(())
    }

    /// The next message that has come unasked; `None` when there is none. An error says that some got lost.
    pub fn hear(&mut self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        loop {
            match take(&self.hears, &mut self.buffer) {
                Ok(message) => return Ok(Some(message)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn take(socket: &Socket, buffer: &mut [u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    let (length, _) = recv(socket, &mut *buffer, RecvFlags::empty())?;
    let message = buffer.get_mut(..length).unwrap_or(&mut []);
    let taken = Zeroizing::new(message.to_vec());
    // There may have been keys in it.
    message.zeroize();
    Ok(taken)
}
