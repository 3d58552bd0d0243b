//! Keys of phase 1 for whoever reads a capture of our own exchanges. Off, unless [`Engine::expose_keys`] is called.

use coati_sadb::Secret;

use super::Engine;

/// What tshark needs to decrypt what came under one ISAKMP SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedKey {
    /// Of the ISAKMP SA.
    pub initiator_cookie: [u8; 8],
    /// The key of its cipher (RFC 2409 appendix B).
    pub key: Secret,
}

impl Engine {
    /// From now on the key of each new ISAKMP SA is kept for [`Self::poll_exposed_key`]. Whoever has it can read what
    /// was and will be said under that SA.
    pub fn expose_keys(&mut self) {
        self.core.exposed.get_or_insert_default();
    }

    /// The next key since the last call.
    pub fn poll_exposed_key(&mut self) -> Option<ExposedKey> {
        self.core.exposed.as_mut()?.pop_front()
    }
}
