//! Exponentiations and signatures, handed out so that no call into the engine takes long.

use coati_crypto::dh::{Group, PrivateKey, PublicValueError};
use coati_crypto::sign::{SignError, SigningKey};
use coati_crypto::{FastRandom, RandomSource, Zeroizing};

use crate::ikev1::signature::{Evidence, Judged};

/// Work for another thread; run it and hand the result to [`crate::Engine::handle_job`].
pub struct Job {
    pub(crate) id: u64,
    work: Work,
}

enum Work {
    Generate(Group, FastRandom),
    GenerateAndAgree(Group, FastRandom, Vec<u8>),
    Agree(Box<PrivateKey>, Vec<u8>),
    Sign(SigningKey, FastRandom, Vec<u8>),
    Judge(Box<Evidence>),
}

/// What came out of a [`Job`].
pub struct JobDone {
    pub(crate) id: u64,
    pub(crate) private: Option<Box<PrivateKey>>,
    pub(crate) public: Vec<u8>,
    pub(crate) shared: Option<Result<Zeroizing<Vec<u8>>, PublicValueError>>,
    pub(crate) proof: Option<Proof>,
}

/// What became of a proof.
pub(crate) enum Proof {
    /// Our signature.
    Signed(Result<Vec<u8>, SignError>),
    /// The verdict on the peer's.
    Judged(Result<Judged, String>),
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for JobDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobDone").field("id", &self.id).finish_non_exhaustive()
    }
}

impl JobDone {
    fn proof(id: u64, proof: Proof) -> Self {
        Self { id, private: None, public: Vec::new(), shared: None, proof: Some(proof) }
    }
}

impl Job {
    pub(crate) fn generate(id: u64, group: Group, random: &mut dyn RandomSource) -> Self {
        Self { id, work: Work::Generate(group, FastRandom::keyed_by(random)) }
    }

    pub(crate) fn generate_and_agree(
        id: u64,
        group: Group,
        random: &mut dyn RandomSource,
        peer: Vec<u8>,
    ) -> Self {
        Self { id, work: Work::GenerateAndAgree(group, FastRandom::keyed_by(random), peer) }
    }

    pub(crate) fn agree(id: u64, private: Box<PrivateKey>, peer: Vec<u8>) -> Self {
        Self { id, work: Work::Agree(private, peer) }
    }

    pub(crate) fn sign(id: u64, key: SigningKey, random: &mut dyn RandomSource, hash: Vec<u8>) -> Self {
        Self { id, work: Work::Sign(key, FastRandom::keyed_by(random), hash) }
    }

    pub(crate) fn judge(id: u64, evidence: Evidence) -> Self {
        Self { id, work: Work::Judge(Box::new(evidence)) }
    }

    /// Does the work: some milliseconds.
    pub fn run(self) -> JobDone {
        let id = self.id;
        match self.work {
            Work::Generate(group, mut random) => {
                let private = PrivateKey::generate(group, &mut random);
                let public = private.public();
                JobDone { id, private: Some(Box::new(private)), public, shared: None, proof: None }
            }
            Work::GenerateAndAgree(group, mut random, peer) => {
                let private = PrivateKey::generate(group, &mut random);
                let (public, shared) = (private.public(), private.agree(&peer));
                JobDone { id, private: None, public, shared: Some(shared), proof: None }
            }
            Work::Agree(private, peer) => {
                let shared = Some(private.agree(&peer));
                JobDone { id, private: None, public: Vec::new(), shared, proof: None }
            }
            Work::Sign(key, mut random, hash) => {
                JobDone::proof(id, Proof::Signed(key.sign(&hash, &mut random)))
            }
            Work::Judge(evidence) => JobDone::proof(id, Proof::Judged(evidence.judge())),
        }
    }
}
