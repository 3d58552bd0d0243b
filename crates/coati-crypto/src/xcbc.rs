//! AES-XCBC-MAC (RFC 3566): CBC whose last block is the tag, with keys for a whole and for a padded last block.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use crate::cbc::{KeyError, LengthError};

/// Bytes of a key, a block and a full tag.
const BLOCK: usize = 16;
/// Blocks that are encrypted at once.
const BUFFERED: usize = 32;

/// A key, prepared.
#[derive(Debug)]
pub struct XcbcKey {
    cipher: EncryptingKey,
    /// K2: added to a last block that is whole.
    whole: [u8; BLOCK],
    /// K3: added to one that was padded.
    padded: [u8; BLOCK],
}

impl XcbcKey {
    /// Prepares a key of 16 bytes (section 4: K1, K2 and K3 are what it makes of three constants).
    pub fn new(key: &[u8]) -> Result<Self, KeyError> {
        let prepare = |key: &[u8]| {
            let unbound = UnboundCipherKey::new(&AES_128, key).map_err(|_| KeyError::Length(key.len()))?;
            EncryptingKey::cbc(unbound).map_err(|_| KeyError::Degenerate)
        };
        let master = prepare(key)?;
        let derived = |constant: u8| {
            let mut block = [constant; BLOCK];
            encrypt(&master, [0; BLOCK], &mut block).map_err(|_| KeyError::Degenerate)?;
            Ok(block)
        };
        Ok(Self { cipher: prepare(&derived(1)?)?, whole: derived(2)?, padded: derived(3)? })
    }

    /// Begins a tag.
    pub fn start(&self) -> XcbcContext<'_> {
        XcbcContext { key: self, chain: [0; BLOCK], buffer: [0; BLOCK * BUFFERED], filled: 0 }
    }
}

/// A tag while its data comes.
pub struct XcbcContext<'a> {
    key: &'a XcbcKey,
    chain: [u8; BLOCK],
    /// What is not encrypted yet; never empty once there was anything, since the last block is another.
    buffer: [u8; BLOCK * BUFFERED],
    filled: usize,
}

impl XcbcContext<'_> {
    /// More of the data.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.filled == self.buffer.len() {
                self.encrypt_front(BUFFERED);
            }
            let count = data.len().min(self.buffer.len() - self.filled);
            let (now, later) = data.split_at(count);
            if let Some(place) = self.buffer.get_mut(self.filled..self.filled + count) {
                place.copy_from_slice(now);
            }
            self.filled += count;
            data = later;
        }
    }

    /// The beginning of the tag, as long as `out`.
    pub fn finish_into(mut self, out: &mut [u8]) {
        let before_last = self.filled.saturating_sub(1) / BLOCK;
        self.encrypt_front(before_last);
        let last_key = if self.filled == BLOCK { &self.key.whole } else { &self.key.padded };
        let mut last = [0; BLOCK];
        last.iter_mut().zip(self.buffer.iter().take(self.filled)).for_each(|(to, from)| *to = *from);
        if let Some(end) = last.get_mut(self.filled) {
            *end = 0x80;
        }
        last.iter_mut().zip(last_key).for_each(|(byte, key)| *byte ^= key);
        // Whole blocks are never refused.
        let _ = encrypt(&self.key.cipher, self.chain, &mut last);
        out.iter_mut().zip(last).for_each(|(to, from)| *to = from);
    }

    /// Encrypts so many whole blocks at the front of the buffer, and moves the rest there.
    fn encrypt_front(&mut self, blocks: usize) {
        let length = blocks * BLOCK;
        if let Some(front) = self.buffer.get_mut(..length)
            && encrypt(&self.key.cipher, self.chain, front).is_ok()
            && let Some(last) = front.last_chunk::<BLOCK>()
        {
            self.chain = *last;
            self.buffer.copy_within(length.., 0);
            self.filled -= length;
        }
    }
}

fn encrypt(key: &EncryptingKey, iv: [u8; BLOCK], data: &mut [u8]) -> Result<(), LengthError> {
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    key.less_safe_encrypt(data, context).map(|_| ()).map_err(|_| LengthError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3566 section 4.6: the key is 0, 1, 2, …, and so is the data but that of the last case.
    #[test]
    fn known_answers() {
        let bytes: Vec<u8> = (0..34).collect();
        let key = XcbcKey::new(&bytes[..16]).unwrap();
        let tag = |data: &[u8], piece: usize| {
            let mut context = key.start();
            data.chunks(piece).for_each(|part| context.update(part));
            let mut tag = [0; 16];
            context.finish_into(&mut tag);
            tag.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        for (data, wanted) in [
            (&bytes[..0], "75f0251d528ac01c4573dfd584d79f29"),
            (&bytes[..3], "5b376580ae2f19afe7219ceef172756f"),
            (&bytes[..16], "d2a246fa349b68a79998a4394ff7a263"),
            (&bytes[..20], "47f51b4564966215b8985c63055ed308"),
            (&bytes[..32], "f54f0ec8d2b9f3d36807734bd5283fd4"),
            (&bytes[..34], "becbb3bccdb518a30677d5481fb6b4d8"),
            (&[0; 1000], "f0dafee895db30253761103b5d84528f"),
        ] {
            for piece in [1, 7, 16, 1000] {
                assert_eq!(tag(data, piece), wanted, "{} bytes in pieces of {piece}", data.len());
            }
        }
        assert!(XcbcKey::new(&bytes[..15]).is_err());
    }
}
