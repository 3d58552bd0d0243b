//! The Internet checksum (RFC 1071) and the Fletcher checksum of LSAs live with their users; this is the former.

/// The one's complement sum of `parts`, folded to 16 bits and not yet complemented. Each part but the last must
/// have an even length.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut total: u64 = 0;
    for part in parts {
        let (words, rest) = part.as_chunks::<2>();
        total += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
        if let [last] = rest {
            total += u64::from(*last) << 8;
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(u16::MAX)
}

/// The checksum to write into a header whose checksum field is 0 in `parts`.
pub fn internet(parts: &[&[u8]]) -> u16 {
    !sum(parts)
}

/// Whether `parts`, with their checksum field in place, are intact.
pub fn is_intact(parts: &[&[u8]]) -> bool {
    sum(parts) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 1071 section 3.
    #[test]
    fn known_answer() {
        assert_eq!(sum(&[&[0x00, 0x01, 0xf2, 0x03], &[0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(sum(&[&[1]]), 0x100);
    }
}
