//! Where random bytes come from: the system's generator in the daemon, a seeded one in the simulator.

use aws_lc_rs::rand::{SecureRandom, SystemRandom as AwsRandom};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// A source of random bytes, handed to the engines so that they have none of their own.
pub trait RandomSource: Send {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);

    /// A random number.
    fn number(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    }

    /// A random number below `bound`, which must not be 0. The bias is below 2^-32 times `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        let scaled = (u64::from(self.number()) * u64::from(bound)) >> 32;
        u32::try_from(scaled).unwrap_or(0)
    }
}

/// The system's cryptographic generator.
#[derive(Debug, Default)]
pub struct SystemRandom(AwsRandom);

impl SystemRandom {
    /// A handle on it.
    pub fn new() -> Self {
        Self(AwsRandom::new())
    }
}

impl RandomSource for SystemRandom {
    fn fill(&mut self, out: &mut [u8]) {
        // Without randomness there are no safe keys: going on would be worse than ending.
        self.0.fill(out).expect("the system's random generator works");
    }
}

/// A generator that gives the same bytes for the same seed: for the simulator and tests, never for real keys.
#[derive(Clone, Debug)]
pub struct SeededRandom(ChaCha20Rng);

impl SeededRandom {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }
}

impl RandomSource for SeededRandom {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

/// A fast generator of unpredictable bytes, ChaCha20 with a key from the system: for IVs, one for each thread.
#[derive(Debug)]
pub struct FastRandom(SeededRandom);

impl FastRandom {
    /// A generator keyed by `source`.
    pub fn keyed_by(source: &mut dyn RandomSource) -> Self {
        let mut seed = [0; 32];
        source.fill(&mut seed);
        Self(SeededRandom(ChaCha20Rng::from_seed(seed)))
    }
}

impl RandomSource for FastRandom {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}
