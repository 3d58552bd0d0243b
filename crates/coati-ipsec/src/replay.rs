//! The anti-replay window of an inbound SA (RFC 4303 section 3.4.3).

/// Which sequence numbers were seen, over a window that ends with the highest.
#[derive(Clone, Debug)]
pub struct ReplayWindow {
    /// One bit per number, ring of 64-bit words; empty when the check is off.
    words: Vec<u64>,
    /// Packets the window covers.
    size: u64,
    highest: u64,
}

/// The largest window, in packets.
const MAX_SIZE: u32 = 4096;

impl ReplayWindow {
    /// A window of `size` packets, 0 for none. It is rounded up to 64 and at most 4096.
    pub fn new(size: u32) -> Self {
        let words = size.min(MAX_SIZE).div_ceil(64);
        // One word more than the window needs, so that the word being entered can be cleared whole.
        let ring = if words == 0 { 0 } else { words + 1 };
        Self { words: vec![0; ring as usize], size: u64::from(words) * 64, highest: 0 }
    }

    /// The highest number accepted so far.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The whole number of which a packet carries the lower half: the one that lies nearest to the window (RFC 4303 appendix
    /// A2.2). Without a window, the one that lies nearest to the highest.
    pub fn extend(&self, low: u32) -> Result<u64, ReplayError> {
        let size = if self.size == 0 { 1 << 31 } else { self.size };
        // The first number of the window; it may lie before 0, where no number can have been.
        let bottom = i128::from(self.highest) - i128::from(size) + 1;
        let ahead = (i128::from(low) - bottom).rem_euclid(1 << 32);
        u64::try_from(bottom + ahead).map_err(|_| ReplayError::TooOld)
    }

    /// Whether `sequence` would be accepted: to be asked before the costly integrity check. 0 never is.
    pub fn check(&self, sequence: u64) -> Result<(), ReplayError> {
        if self.words.is_empty() {
            return Ok(());
        }
        if sequence == 0 || sequence.saturating_add(self.size) <= self.highest {
            return Err(ReplayError::TooOld);
        }
        if sequence <= self.highest && self.word(sequence) & bit(sequence) != 0 {
            return Err(ReplayError::Seen);
        }
        Ok(())
    }

    /// Marks `sequence` as seen, after the integrity check; the check of the number is made again, because another
    /// thread may have accepted it meanwhile.
    pub fn accept(&mut self, sequence: u64) -> Result<(), ReplayError> {
        self.check(sequence)?;
        if self.words.is_empty() {
            self.highest = self.highest.max(sequence);
            return Ok(());
        }
        if sequence > self.highest {
            let count = self.words.len() as u64;
            let (from, to) = (self.highest / 64, sequence / 64);
            for word in from + 1..=to.min(from + count) {
                let index = self.index(word);
                self.words[index] = 0;
            }
            self.highest = sequence;
        }
        let index = self.index(sequence / 64);
        self.words[index] |= bit(sequence);
        Ok(())
    }

    fn index(&self, word: u64) -> usize {
        usize::try_from(word % self.words.len() as u64).unwrap_or(0)
    }

    fn word(&self, sequence: u64) -> u64 {
        self.words[self.index(sequence / 64)]
    }
}

/// Why a sequence number is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It was accepted before.
    Seen,
    /// It lies before the window, so nobody knows.
    TooOld,
}

fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Beside the obvious model: a set of all accepted numbers.
        #[test]
        fn as_the_model(size in prop::sample::select(vec![64u32, 128, 1024, 4096]),
                        steps in prop::collection::vec((0u64..200, 0u64..6000, any::<bool>()), 1..300)) {
            let mut window = ReplayWindow::new(size);
            let (mut seen, mut highest) = (HashSet::new(), 0u64);
            for (near, far, forward) in steps {
                let sequence = if forward { highest + near * (1 + far / 3000) } else { highest.saturating_sub(far) };
                let wanted = if sequence == 0 || sequence + u64::from(size) <= highest {
                    Err(ReplayError::TooOld)
                } else if seen.contains(&sequence) {
                    Err(ReplayError::Seen)
                } else {
                    Ok(())
                };
                prop_assert_eq!(window.accept(sequence), wanted, "sequence {} highest {}", sequence, highest);
                if wanted.is_ok() {
                    seen.insert(sequence);
                    highest = highest.max(sequence);
                }
                prop_assert_eq!(window.highest(), highest);
            }
        }
    }

    proptest! {
        /// Numbers of 64 bits of which only half is told, across the places where the upper half changes: as if all of it
        /// were told, as long as it is less than half of 2^32 ahead.
        #[test]
        fn extended_numbers_as_the_model(size in prop::sample::select(vec![32u32, 64, 1024, 4096]),
                                         epoch in 0u64..3, before in 0u64..6000,
                                         steps in prop::collection::vec((0u64..9000, any::<bool>()), 1..200)) {
            let mut window = ReplayWindow::new(size);
            let size = u64::from(size.next_multiple_of(64));
            let start = (epoch << 32).saturating_sub(before).max(1);
            // What a receiver has to have seen to be there: it cannot leap over 2^32.
            let (mut seen, mut highest) = (HashSet::new(), 0);
            while highest < start {
                highest = start.min(highest + (1 << 31));
                let low = (highest & 0xffff_ffff) as u32;
                let whole = window.extend(low).unwrap();
                prop_assert_eq!(whole, highest);
                window.accept(whole).unwrap();
                seen.insert(whole);
            }
            for (distance, forward) in steps {
                let sequence = if forward { highest + distance } else { highest.saturating_sub(distance % size) };
                let found = window.extend((sequence & 0xffff_ffff) as u32).and_then(|whole| window.accept(whole).map(|()| whole));
                let wanted = if sequence == 0 {
                    Err(ReplayError::TooOld)
                } else if seen.contains(&sequence) {
                    Err(ReplayError::Seen)
                } else {
                    Ok(sequence)
                };
                prop_assert_eq!(found, wanted, "sequence {} highest {}", sequence, highest);
                if wanted.is_ok() {
                    seen.insert(sequence);
                    highest = highest.max(sequence);
                }
            }
        }
    }

    /// What is older than the window is taken for what is far ahead, which no integrity check value fits.
    #[test]
    fn before_the_window_is_far_ahead() {
        let mut window = ReplayWindow::new(64);
        window.accept(1 << 31).unwrap();
        window.accept((1 << 32) + 10).unwrap();
        assert_eq!(window.extend(10), Ok((1 << 32) + 10));
        assert_eq!(
            window.extend(u32::MAX),
            Ok(u64::from(u32::MAX)),
            "within the window, of the epoch before"
        );
        assert_eq!(window.extend(u32::MAX - 60), Ok((2 << 32) - 61), "before it");
        let young = ReplayWindow::new(64);
        assert_eq!(young.extend(u32::MAX), Err(ReplayError::TooOld), "before the first of all");
        assert_eq!(young.extend(1), Ok(1));
    }

    #[test]
    fn a_window_of_zero_checks_nothing() {
        let mut window = ReplayWindow::new(0);
        assert_eq!(window.accept(5), Ok(()));
        assert_eq!(window.accept(5), Ok(()));
    }
}
