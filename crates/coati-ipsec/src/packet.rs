//! A packet with room before it, so that headers are put in front without moving the payload.

/// Bytes kept free before a packet: outer IPv6, UDP, ESP, IV and GRE with all options, and the same again for bundles.
pub const HEADROOM: usize = 256;

/// One IP packet in a buffer of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    buffer: Vec<u8>,
    start: usize,
}

impl Packet {
    /// A copy of `bytes` with [`HEADROOM`] before and some room behind.
    pub fn new(bytes: &[u8]) -> Self {
        let mut packet = Self { buffer: Vec::with_capacity(HEADROOM + bytes.len() + 96), start: 0 };
        packet.refill(bytes);
        packet
    }

    /// Takes other contents, keeping the buffer.
    pub fn refill(&mut self, bytes: &[u8]) {
        self.refill_parts(&[bytes]);
    }

    /// Takes `parts`, one after the other, as its contents, keeping the buffer.
    pub fn refill_parts(&mut self, parts: &[&[u8]]) {
        // What is in the room before the packet does not matter.
        self.buffer.resize(HEADROOM, 0);
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.start = HEADROOM;
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or(&[])
    }

    /// The packet, to change in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..).unwrap_or(&mut [])
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Grows the packet by `count` bytes at its front; `false` when there is no room.
    #[must_use]
    pub fn grow_front(&mut self, count: usize) -> bool {
        match self.start.checked_sub(count) {
            Some(start) => {
                self.start = start;
                true
            }
            None => false,
        }
    }

    /// Cuts `count` bytes off the front.
    pub fn shrink_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
    }

    /// Makes the packet `length` bytes long, filled with zeroes or cut at its end.
    pub fn resize(&mut self, length: usize) {
        self.buffer.resize(self.start + length, 0);
    }
}
