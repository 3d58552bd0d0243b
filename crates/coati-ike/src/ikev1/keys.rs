//! Keys of both phases (RFC 2409 sections 5 and 5.5, appendix B).

use coati_crypto::Zeroizing;
use coati_crypto::cbc::{CbcAlgorithm, CbcKey};
use coati_crypto::hash::HashAlgorithm;
use coati_crypto::mac::Hmac;
use coati_sadb::Secret;

use crate::config::IkeCipher;

/// A key of the PRF. It is prepared for each use, which costs two blocks of the hash: prepared ones take 700 bytes, and
/// there are three of them for each peer, which are idle for hours.
#[derive(Debug)]
pub(crate) struct Prf {
    hash: HashAlgorithm,
    key: Secret,
}

impl Prf {
    pub(crate) fn new(hash: HashAlgorithm, key: &[u8]) -> Self {
        Self { hash, key: Secret::new(key.to_vec()) }
    }

    /// Of all `parts`, one after the other.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> Vec<u8> {
        Hmac::new(self.hash, self.key.expose()).sign(parts)
    }
}

/// Keys of an ISAKMP SA.
#[derive(Debug)]
pub(crate) struct Keys {
    hash: HashAlgorithm,
    /// SKEYID, for HASH_I and HASH_R.
    pub(crate) skeyid: Prf,
    /// SKEYID_d, for phase 2.
    pub(crate) d: Prf,
    /// SKEYID_a, for the hashes of phase 2.
    pub(crate) a: Prf,
    cipher: CbcAlgorithm,
    /// Of the cipher, prepared for each use as those of the PRF are.
    cipher_key: Secret,
    /// The last block of phase 1, from which phase 2's initialization vectors come.
    pub(crate) last_block: Vec<u8>,
}

/// What phase 1's keys are made of; values of the initiator first.
pub(crate) struct Material<'a> {
    /// Of the authentication method.
    pub(crate) skeyid: &'a [u8],
    pub(crate) publics: [&'a [u8]; 2],
    pub(crate) cookies: [[u8; 8]; 2],
    pub(crate) shared: &'a [u8],
}

impl Keys {
    /// All keys that come from SKEYID. That of the cipher is given away where `exposed` wants it.
    pub(crate) fn derive(
        hash: HashAlgorithm,
        cipher: IkeCipher,
        material: &Material<'_>,
        exposed: Option<&mut Secret>,
    ) -> Option<Self> {
        let prf = Prf::new(hash, material.skeyid);
        let [icookie, rcookie] = &material.cookies;
        let d = Zeroizing::new(prf.sign(&[material.shared, icookie, rcookie, &[0]]));
        let a = Zeroizing::new(prf.sign(&[&d, material.shared, icookie, rcookie, &[1]]));
        let e = Zeroizing::new(prf.sign(&[&a, material.shared, icookie, rcookie, &[2]]));
        let (algorithm, key_len) = match cipher {
            IkeCipher::Aes(bits) => (CbcAlgorithm::Aes, usize::from(bits) / 8),
            IkeCipher::TripleDes => (CbcAlgorithm::TripleDes, 24),
        };
        let key = encryption_key(hash, &e, key_len);
        if let Some(exposed) = exposed {
            *exposed = Secret::new(key.to_vec());
        }
        // Whether it is one that can be used.
        CbcKey::new(algorithm, &key).ok()?;
        let mut last_block = hash.digest(&material.publics);
        last_block.truncate(algorithm.block_len());
        let (d, a) = (Prf::new(hash, &d), Prf::new(hash, &a));
        let cipher_key = Secret::new(key.to_vec());
        Some(Self { hash, skeyid: prf, d, a, cipher: algorithm, cipher_key, last_block })
    }

    /// The first initialization vector of a phase 2 exchange.
    pub(crate) fn phase2_iv(&self, message_id: u32) -> Vec<u8> {
        let mut iv = self.hash.digest(&[&self.last_block, &message_id.to_be_bytes()]);
        iv.truncate(self.cipher.block_len());
        iv
    }

    /// Pads and encrypts; the last block becomes the next initialization vector.
    pub(crate) fn encrypt(&self, iv: &mut Vec<u8>, body: &mut Vec<u8>) {
        let block = self.cipher.block_len();
        body.resize(body.len().next_multiple_of(block), 0);
        let key = CbcKey::new(self.cipher, self.cipher_key.expose());
        if key.is_ok_and(|key| key.encrypt(iv, body).is_ok()) {
            *iv = body.get(body.len().saturating_sub(block)..).unwrap_or(&[]).to_vec();
        }
    }

    /// Decrypts; returns the plain text and the next initialization vector. `None` when it is not whole blocks.
    pub(crate) fn decrypt(&self, iv: &[u8], body: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let block = self.cipher.block_len();
        if body.is_empty() || !body.len().is_multiple_of(block) {
            return None;
        }
        let mut plain = body.to_vec();
        CbcKey::new(self.cipher, self.cipher_key.expose()).ok()?.decrypt(iv, &mut plain).ok()?;
        Some((plain, body.get(body.len() - block..)?.to_vec()))
    }

    /// KEYMAT of one SA: `shared` is the secret of PFS, nonces are those of quick mode, the initiator's first.
    pub(crate) fn keymat(
        &self,
        shared: Option<&[u8]>,
        protocol: u8,
        spi: u32,
        nonces: [&[u8]; 2],
        len: usize,
    ) -> Zeroizing<Vec<u8>> {
        let spi = spi.to_be_bytes();
        let [ni, nr] = nonces;
        let mut keymat = Zeroizing::new(Vec::with_capacity(len + 64));
        let mut block = Zeroizing::new(Vec::new());
        while keymat.len() < len {
            block = Zeroizing::new(self.d.sign(&[&block, shared.unwrap_or(&[]), &[protocol], &spi, ni, nr]));
            keymat.extend_from_slice(&block);
        }
        keymat.truncate(len);
        keymat
    }
}

/// SKEYID_e as it is, or stretched when the cipher takes more (appendix B).
fn encryption_key(hash: HashAlgorithm, e: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    if let Some(key) = e.get(..len) {
        return Zeroizing::new(key.to_vec());
    }
    let prf = Hmac::new(hash, e);
    let mut key = Zeroizing::new(Vec::with_capacity(len + 64));
    let mut block = Zeroizing::new(prf.sign(&[&[0]]));
    key.extend_from_slice(&block);
    while key.len() < len {
        block = Zeroizing::new(prf.sign(&[&block]));
        key.extend_from_slice(&block);
    }
    key.truncate(len);
    key
}
