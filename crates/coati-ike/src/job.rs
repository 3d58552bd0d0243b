//! Exponentiations, handed out so that no call into the engine takes long.

use coati_crypto::dh::{Group, PrivateKey, PublicValueError};
use coati_crypto::{FastRandom, RandomSource, Zeroizing};

/// Work for another thread; run it and hand the result to [`crate::Engine::handle_job`].
pub struct Job {
    pub(crate) id: u64,
    work: Work,
}

enum Work {
    Generate(Group, FastRandom),
    GenerateAndAgree(Group, FastRandom, Vec<u8>),
    Agree(Box<PrivateKey>, Vec<u8>),
}

/// What came out of a [`Job`].
pub struct JobDone {
    pub(crate) id: u64,
    pub(crate) private: Option<Box<PrivateKey>>,
    pub(crate) public: Vec<u8>,
    pub(crate) shared: Option<Result<Zeroizing<Vec<u8>>, PublicValueError>>,
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

    /// Does the work: some milliseconds.
    pub fn run(self) -> JobDone {
        let id = self.id;
        match self.work {
            Work::Generate(group, mut random) => {
                let private = PrivateKey::generate(group, &mut random);
                let public = private.public();
                JobDone { id, private: Some(Box::new(private)), public, shared: None }
            }
            Work::GenerateAndAgree(group, mut random, peer) => {
                let private = PrivateKey::generate(group, &mut random);
                let (public, shared) = (private.public(), private.agree(&peer));
                JobDone { id, private: None, public, shared: Some(shared) }
            }
            Work::Agree(private, peer) => {
                JobDone { id, private: None, public: Vec::new(), shared: Some(private.agree(&peer)) }
            }
        }
    }
}
