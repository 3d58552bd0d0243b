//! The ESP transform in transport mode (RFC 4303): seal and open one packet in place.
//!
//! Cipher and integrity are those of the SA: CBC with HMAC (RFC 2451, 3602, 2404, 4868), AES-GCM (RFC 4106), NULL
//! (RFC 2410). A new cipher is a new variant of [`Cipher`].

use std::sync::OnceLock;

use coati_crypto::RandomSource;
use coati_crypto::aead::{AeadKey, TAG_LEN};
use coati_crypto::cbc::{CbcAlgorithm, CbcKey};
use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_sadb::{AuthAlgorithm, EncAlgorithm, Refusal, Sa, Secret};
use coati_wire::esp;

use crate::counters::Drop;
use crate::packet::Packet;

/// Keys of an SA, ready for use.
#[derive(Debug)]
pub(crate) struct Transform {
    enc: EncAlgorithm,
    cipher: Cipher,
    hmac: Option<Hmac>,
    icv_len: usize,
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
}

impl LazyTransform {
    /// Checks algorithms and key lengths of `sa`.
    pub(crate) fn new(sa: &Sa) -> Result<Self, Refusal> {
        let keys =
            SaKeys { enc: sa.enc, enc_key: sa.enc_key.clone(), auth: sa.auth, auth_key: sa.auth_key.clone() };
        Transform::new(&keys)?;
        Ok(Self { keys, ready: OnceLock::new() })
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
    /// The key, and the salt that begins every nonce.
    Gcm(AeadKey, [u8; 4]),
}

impl Transform {
    /// Checks algorithms and key lengths and prepares the keys.
    fn new(sa: &SaKeys) -> Result<Self, Refusal> {
        let key = sa.enc_key.expose();
        if !sa.enc.key_lengths().contains(&key.len()) {
            let allowed: Vec<String> = sa.enc.key_lengths().iter().map(|l| (l * 8).to_string()).collect();
            return Err(Refusal::Invalid(format!(
                "{} takes a key of {} bits, not {}",
                sa.enc.setkey_name(),
                allowed.join(" or "),
                key.len() * 8
            )));
        }
        if sa.auth_key.len() != sa.auth.key_len() {
            return Err(Refusal::Invalid(format!(
                "{} takes a key of {} bits, not {}",
                sa.auth.setkey_name(),
                sa.auth.key_len() * 8,
                sa.auth_key.len() * 8
            )));
        }
        if sa.enc.is_aead() == (sa.auth != AuthAlgorithm::None) {
            return Err(Refusal::Invalid(if sa.enc.is_aead() {
                format!("{} authenticates by itself: no -A beside it", sa.enc.setkey_name())
            } else {
                format!("{} without authentication can be forged: give -A", sa.enc.setkey_name())
            }));
        }
        let bad_key =
            |error: coati_crypto::cbc::KeyError| Refusal::Invalid(format!("encryption key: {error}"));
        let cipher = match sa.enc {
            EncAlgorithm::Null => Cipher::Null,
            EncAlgorithm::TripleDesCbc => {
                Cipher::Cbc(CbcKey::new(CbcAlgorithm::TripleDes, key).map_err(bad_key)?)
            }
            EncAlgorithm::AesCbc => Cipher::Cbc(CbcKey::new(CbcAlgorithm::Aes, key).map_err(bad_key)?),
            EncAlgorithm::AesGcm16 => {
                let (key, salt) = key.split_last_chunk::<4>().ok_or(Refusal::Invalid("no salt".into()))?;
                Cipher::Gcm(AeadKey::new(key).map_err(bad_key)?, *salt)
            }
        };
        let hash = match sa.auth {
            AuthAlgorithm::None => None,
            AuthAlgorithm::HmacSha1 => Some(HashAlgorithm::Sha1),
            AuthAlgorithm::HmacSha256 | AuthAlgorithm::HmacSha256Cut96 => Some(HashAlgorithm::Sha256),
            AuthAlgorithm::HmacSha384 => Some(HashAlgorithm::Sha384),
            AuthAlgorithm::HmacSha512 => Some(HashAlgorithm::Sha512),
        };
        let hmac = hash.map(|hash| Hmac::new(hash, sa.auth_key.expose()));
        let icv_len = if sa.enc.is_aead() { TAG_LEN } else { sa.auth.icv_len() };
        Ok(Self { enc: sa.enc, cipher, hmac, icv_len })
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
        let low = u32::try_from(sequence & 0xffff_ffff).unwrap_or(0);
        let (_, body) = packet.bytes_mut().split_at_mut(header_len);
        let (covered, icv) = body.split_at_mut(clear_end - header_len);
        covered[..esp::HEADER_LEN].copy_from_slice(&esp::Header { spi, sequence: low }.emit());
        esp::emit_trailer(&mut covered[added + payload_len..], next_header);
        let (head, text) = covered.split_at_mut(added);
        let (esp_header, iv) = head.split_at_mut(esp::HEADER_LEN);
        match &self.cipher {
            Cipher::Null => {}
            Cipher::Cbc(key) => {
                random.fill(iv);
                key.encrypt(iv, text).map_err(|_| Drop::EspLength)?;
            }
            Cipher::Gcm(key, salt) => {
                iv.copy_from_slice(&sequence.to_be_bytes());
                let tag = key.seal(nonce(salt, iv), esp_header, text).map_err(|_| Drop::EspLength)?;
                icv.copy_from_slice(&tag);
            }
        }
        if let Some(hmac) = &self.hmac {
            hmac.sign_into(covered, icv);
        }
        Ok(())
    }

    /// Verifies, decrypts and takes ESP out again: afterwards the packet is the IP header, unmended, and the
    /// payload, whose protocol is returned. A packet that fails is left in an unspecified state.
    pub(crate) fn open(&self, packet: &mut Packet, header_len: usize) -> Result<u8, Drop> {
        let iv_len = self.enc.iv_len();
        let added = esp::HEADER_LEN + iv_len;
        let total = packet.len();
        let body = packet.bytes_mut().get_mut(header_len..).ok_or(Drop::EspLength)?;
        let covered_len = body.len().checked_sub(self.icv_len).ok_or(Drop::EspLength)?;
        let text_len = covered_len.checked_sub(added).ok_or(Drop::EspLength)?;
        if text_len < esp::TRAILER_LEN || text_len % self.enc.block_len() != 0 {
            return Err(Drop::EspLength);
        }
        if let Some(hmac) = &self.hmac {
            let (covered, icv) = body.split_at(covered_len);
            if !hmac.verify_truncated(covered, icv) {
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
            Cipher::Gcm(key, salt) => {
                key.open(nonce(salt, iv), esp_header, rest).map_err(|_| Drop::Forged)?;
            }
        }
        let text = rest.get(..text_len).unwrap_or(&[]);
        let (payload_len, next_header) = esp::parse_trailer(text).map_err(|_| Drop::Padding)?;
        packet.bytes_mut().copy_within(..header_len, added);
        packet.shrink_front(added);
        packet.resize(total.min(header_len + payload_len));
        Ok(next_header)
    }
}

/// Salt and IV (RFC 4106 section 4).
fn nonce(salt: &[u8; 4], iv: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    let (front, back) = nonce.split_at_mut(4);
    front.copy_from_slice(salt);
    back.iter_mut().zip(iv).for_each(|(to, from)| *to = *from);
    nonce
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
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
        };
        let transform = LazyTransform::new(&sa).unwrap();
        assert!(transform.ready.get().is_none(), "before the first packet");
        assert!(transform.get().is_some() && transform.ready.get().is_some(), "from then on");
        assert!(size_of::<LiveSa>() <= 288, "{}", size_of::<LiveSa>());
        let short = Sa { enc_key: Secret::new(vec![1; 15]), ..sa };
        assert!(LazyTransform::new(&short).is_err(), "a wrong key is told when it is given");
    }
}
