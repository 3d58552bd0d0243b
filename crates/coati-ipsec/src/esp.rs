//! The ESP transform in transport mode (RFC 4303): seal and open one packet in place.
//!
//! Cipher and integrity are those of the SA: CBC (RFC 2451, 3602), AES-CTR (RFC 3686) or NULL (RFC 2410) with HMAC
//! (RFC 2403, 2404, 4868) or AES-XCBC-MAC (RFC 3566), AES-GCM (RFC 4106), ChaCha20-Poly1305 (RFC 7634). A new cipher is
//! a new variant of [`Cipher`].

use std::sync::OnceLock;

use coati_crypto::RandomSource;
use coati_crypto::aead::{AeadAlgorithm, AeadKey, TAG_LEN};
use coati_crypto::cbc::{CbcAlgorithm, CbcKey};
use coati_crypto::ctr::CtrKey;
use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::{MacContext, MacKey};
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Refusal, Sa, Secret};
use coati_wire::esp;

use crate::counters::Drop;
use crate::packet::Packet;

/// Keys of an SA of ESP or AH, ready for use.
#[derive(Debug)]
pub(crate) struct Transform {
    enc: EncAlgorithm,
    cipher: Cipher,
    mac: Option<MacKey>,
    icv_len: usize,
    /// Whether sequence numbers have 64 bits.
    esn: bool,
    /// IVs of counter modes are sequence numbers with this added bit by bit: whoever is given the same keys twice has other
    /// IVs the second time.
    iv_mask: OnceLock<u64>,
}

/// Keys of an SA, made ready by the first packet: that takes 1.7 KB, and of many SAs hardly any is used.
#[derive(Debug)]
pub(crate) struct LazyTransform {
    keys: SaKeys,
    ready: OnceLock<Box<Transform>>,
}

/// What a transform is made of.
#[derive(Clone, Debug)]
struct SaKeys {
    enc: EncAlgorithm,
    enc_key: Secret,
    auth: AuthAlgorithm,
    auth_key: Secret,
    esn: bool,
}

impl LazyTransform {
    /// Prepares the keys of `sa`, which [`Sa::check`] has found right.
    pub(crate) fn new(sa: &Sa) -> Result<Self, Refusal> {
        let keys = SaKeys {
            enc: sa.enc,
            enc_key: sa.enc_key.clone(),
            auth: sa.auth,
            auth_key: sa.auth_key.clone(),
            esn: sa.esn,
        };
        Transform::new(&keys)?;
        Ok(Self { keys, ready: OnceLock::new() })
    }

    /// Those of the SA.
    pub(crate) fn algorithms(&self) -> (EncAlgorithm, AuthAlgorithm) {
        (self.keys.enc, self.keys.auth)
    }

    /// Ready for use; `None` does not happen, since the same keys were made ready before.
    pub(crate) fn get(&self) -> Option<&Transform> {
        if let Some(ready) = self.ready.get() {
            return Some(ready);
        }
        let made = Box::new(Transform::new(&self.keys).ok()?);
        Some(self.ready.get_or_init(|| made))
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per SA, and read for every packet: no pointer to follow")]
enum Cipher {
    Null,
    Cbc(CbcKey),
    /// The key, and the nonce that begins every counter block.
    Ctr(CtrKey, [u8; 4]),
    /// The key, and the salt that begins every nonce.
    Aead(AeadKey, [u8; 4]),
}

impl Transform {
    /// Prepares the keys.
    fn new(sa: &SaKeys) -> Result<Self, Refusal> {
        let key = sa.enc_key.expose();
        if !sa.enc.is_aead() && sa.auth == AuthAlgorithm::None {
            let name = sa.enc.setkey_name();
            return Err(Refusal::Invalid(format!("{name} without authentication can be forged: give -A")));
        }
        let bad_key =
            |error: coati_crypto::cbc::KeyError| Refusal::Invalid(format!("encryption key: {error}"));
        let cipher = match sa.enc {
            EncAlgorithm::Null => Cipher::Null,
            EncAlgorithm::TripleDesCbc => {
                Cipher::Cbc(CbcKey::new(CbcAlgorithm::TripleDes, key).map_err(bad_key)?)
            }
            EncAlgorithm::AesCbc => Cipher::Cbc(CbcKey::new(CbcAlgorithm::Aes, key).map_err(bad_key)?),
            EncAlgorithm::AesCtr => {
                let (key, nonce) = salted(key)?;
                Cipher::Ctr(CtrKey::new(key).map_err(bad_key)?, nonce)
            }
            EncAlgorithm::AesGcm16 | EncAlgorithm::ChaCha20Poly1305 => {
                let algorithm = match sa.enc {
                    EncAlgorithm::AesGcm16 => AeadAlgorithm::AesGcm,
                    _ => AeadAlgorithm::ChaCha20Poly1305,
                };
                let (key, salt) = salted(key)?;
                Cipher::Aead(AeadKey::new(algorithm, key).map_err(bad_key)?, salt)
            }
        };
        let auth_key = sa.auth_key.expose();
        let hmac = |hash| Some(MacKey::hmac(hash, auth_key));
        let mac = match sa.auth {
            AuthAlgorithm::None => None,
            AuthAlgorithm::HmacMd5 => hmac(HashAlgorithm::Md5),
            AuthAlgorithm::HmacSha1 => hmac(HashAlgorithm::Sha1),
            AuthAlgorithm::HmacSha256 | AuthAlgorithm::HmacSha256Cut96 => hmac(HashAlgorithm::Sha256),
            AuthAlgorithm::HmacSha384 => hmac(HashAlgorithm::Sha384),
            AuthAlgorithm::HmacSha512 => hmac(HashAlgorithm::Sha512),
            AuthAlgorithm::AesXcbcMac => Some(MacKey::aes_xcbc(auth_key).map_err(bad_key)?),
        };
        let icv_len = if sa.enc.is_aead() { TAG_LEN } else { sa.auth.icv_len() };
        Ok(Self { enc: sa.enc, cipher, mac, icv_len, esn: sa.esn, iv_mask: OnceLock::new() })
    }

    /// Puts ESP between the IP header of `header_len` bytes and its payload of protocol `next_header`. The IP
    /// header is moved to the front as it is; its length, protocol and checksum are the caller's to mend.
    pub(crate) fn seal(
        &self,
        packet: &mut Packet,
        header_len: usize,
        next_header: u8,
        spi: u32,
        sequence: u64,
        random: &mut dyn RandomSource,
    ) -> Result<(), Drop> {
        let iv_len = self.enc.iv_len();
        let added = esp::HEADER_LEN + iv_len;
        let payload_len = packet.len().checked_sub(header_len).ok_or(Drop::Malformed)?;
        let padding = esp::padding(payload_len, self.enc.block_len());
        if !packet.grow_front(added) {
            return Err(Drop::Headroom);
        }
        packet.bytes_mut().copy_within(added..added + header_len, 0);
        let clear_end = header_len + added + payload_len + padding + esp::TRAILER_LEN;
        packet.resize(clear_end + self.icv_len);
        let (high, low) = halves(sequence);
        let (_, body) = packet.bytes_mut().split_at_mut(header_len);
        let (covered, icv) = body.split_at_mut(clear_end - header_len);
        covered[..esp::HEADER_LEN].copy_from_slice(&esp::Header { spi, sequence: low }.emit());
        esp::emit_trailer(&mut covered[added + payload_len..], next_header);
        let (head, text) = covered.split_at_mut(added);
        let (_, iv) = head.split_at_mut(esp::HEADER_LEN);
        match &self.cipher {
            Cipher::Null => {}
            Cipher::Cbc(key) => {
                random.fill(iv);
                key.encrypt(iv, text).map_err(|_| Drop::EspLength)?;
            }
            Cipher::Ctr(key, nonce) => {
                iv.copy_from_slice(&self.counter_iv(sequence, random));
                key.apply(counter_block(nonce, iv), text).map_err(|_| Drop::EspLength)?;
            }
            Cipher::Aead(key, salt) => {
                iv.copy_from_slice(&self.counter_iv(sequence, random));
                let aad = self.associated_data(spi, sequence);
                let aad = aad.get(..self.associated_len()).unwrap_or(&aad);
                let tag = key.seal(nonce(salt, iv), aad, text).map_err(|_| Drop::EspLength)?;
                icv.copy_from_slice(&tag);
            }
        }
        if let Some(mac) = &self.mac {
            self.cover(mac.start(), covered, high).finish_into(icv);
        }
        Ok(())
    }

    /// Verifies, decrypts and takes ESP out again: afterwards the packet is the IP header, unmended, and the
    /// payload, whose protocol is returned. A packet that fails is left in an unspecified state. `sequence` is the whole
    /// number, of which the packet has the lower half.
    pub(crate) fn open(&self, packet: &mut Packet, header_len: usize, sequence: u64) -> Result<u8, Drop> {
        let iv_len = self.enc.iv_len();
        let added = esp::HEADER_LEN + iv_len;
        let total = packet.len();
        let body = packet.bytes_mut().get_mut(header_len..).ok_or(Drop::EspLength)?;
        let covered_len = body.len().checked_sub(self.icv_len).ok_or(Drop::EspLength)?;
        let text_len = covered_len.checked_sub(added).ok_or(Drop::EspLength)?;
        if text_len < esp::TRAILER_LEN || text_len % self.enc.block_len() != 0 {
            return Err(Drop::EspLength);
        }
        if let Some(mac) = &self.mac {
            let (covered, icv) = body.split_at(covered_len);
            if !self.cover(mac.start(), covered, halves(sequence).0).verify(icv) {
                return Err(Drop::Forged);
            }
        }
        let (head, rest) = body.split_at_mut(added);
        let (esp_header, iv) = head.split_at(esp::HEADER_LEN);
        match &self.cipher {
            Cipher::Null => {}
            Cipher::Cbc(key) => {
                let (text, _) = rest.split_at_mut(text_len);
                key.decrypt(iv, text).map_err(|_| Drop::EspLength)?;
            }
            Cipher::Ctr(key, nonce) => {
                let (text, _) = rest.split_at_mut(text_len);
                key.apply(counter_block(nonce, iv), text).map_err(|_| Drop::EspLength)?;
            }
            Cipher::Aead(key, salt) => {
                let (header, _) = esp::Header::parse(esp_header).map_err(|_| Drop::EspLength)?;
                let aad = self.associated_data(header.spi, sequence);
                let aad = aad.get(..self.associated_len()).unwrap_or(&aad);
                key.open(nonce(salt, iv), aad, rest).map_err(|_| Drop::Forged)?;
            }
        }
        let text = rest.get(..text_len).unwrap_or(&[]);
        let (payload_len, next_header) = esp::parse_trailer(text).map_err(|_| Drop::Padding)?;
        packet.bytes_mut().copy_within(..header_len, added);
        packet.shrink_front(added);
        packet.resize(total.min(header_len + payload_len));
        Ok(next_header)
    }

    /// What makes the integrity check value, and how many bytes are sent of it.
    pub(crate) fn mac(&self) -> Option<(&MacKey, usize)> {
        self.mac.as_ref().map(|mac| (mac, self.icv_len))
    }

    /// Covers what is sent and the half of an extended sequence number that is not (RFC 4303 section 2.2.1).
    pub(crate) fn cover<'a>(&self, mut mac: MacContext<'a>, covered: &[u8], high: u32) -> MacContext<'a> {
        mac.update(covered);
        if self.esn {
            mac.update(&high.to_be_bytes());
        }
        mac
    }

    /// What AEADs authenticate beside the text: SPI and sequence number, the whole one (RFC 4106 section 5). The first
    /// [`Self::associated_len`] bytes count.
    fn associated_data(&self, spi: u32, sequence: u64) -> [u8; 12] {
        let mut data = [0; 12];
        let (high, low) = halves(sequence);
        let words = if self.esn { [spi, high, low] } else { [spi, low, 0] };
        data.as_chunks_mut().0.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_be_bytes());
        data
    }

    fn associated_len(&self) -> usize {
        if self.esn { 12 } else { 8 }
    }

    fn counter_iv(&self, sequence: u64, random: &mut dyn RandomSource) -> [u8; 8] {
        let mask = self.iv_mask.get_or_init(|| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            u64::from_be_bytes(bytes)
        });
        (sequence ^ mask).to_be_bytes()
    }
}

/// The upper and the lower half of a sequence number.
pub(crate) fn halves(sequence: u64) -> (u32, u32) {
    let half = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    (half(sequence >> 32), half(sequence))
}

/// The key, and the four bytes behind it.
fn salted(key: &[u8]) -> Result<(&[u8], [u8; 4]), Refusal> {
    key.split_last_chunk().map(|(key, salt)| (key, *salt)).ok_or(Refusal::Invalid("no salt".into()))
}

/// Salt and IV (RFC 4106 section 4, RFC 7634 section 2).
fn nonce(salt: &[u8; 4], iv: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    let (front, back) = nonce.split_at_mut(4);
    front.copy_from_slice(salt);
    back.iter_mut().zip(iv).for_each(|(to, from)| *to = *from);
    nonce
}

/// Nonce, IV and the number of the first block, 1 (RFC 3686 section 4).
fn counter_block(salt: &[u8; 4], iv: &[u8]) -> [u8; 16] {
    let mut block = [0; 16];
    let (front, back) = block.split_at_mut(12);
    front.copy_from_slice(&nonce(salt, iv));
    back.copy_from_slice(&1u32.to_be_bytes());
    block
}

#[cfg(test)]
mod tests {
    use coati_sadb::{Lifetime, Mode, ReqId, SaId, SaProto, SaState, Spi, Usage};

    use super::*;
    use crate::snapshot::LiveSa;

    /// Of 20 000 SAs hardly any is used, see docs/performance.md.
    #[test]
    fn an_idle_sa_is_small() {
        let sa = Sa {
            id: SaId {
                source: "192.0.2.1".parse().unwrap(),
                destination: "198.51.100.1".parse().unwrap(),
                proto: SaProto::Esp,
                spi: Spi(0x1000),
            },
            mode: Mode::Transport,
            reqid: ReqId(0),
            enc: EncAlgorithm::AesCbc,
            enc_key: Secret::new(vec![1; 16]),
            auth: AuthAlgorithm::HmacSha1,
            auth_key: Secret::new(vec![2; 20]),
            replay_window: 64,
            esn: true,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
            offload: None,
        };
        let transform = LazyTransform::new(&sa).unwrap();
        assert!(transform.ready.get().is_none(), "before the first packet");
        assert!(transform.get().is_some() && transform.ready.get().is_some(), "from then on");
        assert!(size_of::<LiveSa>() <= 288, "{}", size_of::<LiveSa>());
        let short = Sa { enc_key: Secret::new(vec![1; 15]), ..sa };
        assert!(LazyTransform::new(&short).is_err(), "a wrong key is told when it is given");
    }
}
