//! The Internet checksum (RFC 1071) and the Fletcher checksum of LSAs live with their users; this is the former.

/// The one's complement sum of `parts`, folded to 16 bits and not yet complemented. Each part but the last must
/// have an even length.
pub fn sum(parts: &[&[u8]]) -> u16 {
    // Four bytes at a time in the machine's own order: the sum does not mind (section 2 (B)), it is turned at the end.
    let mut total: u64 = 0;
    for part in parts {
        let (longs, rest) = part.as_chunks::<4>();
        total += longs.iter().map(|long| u64::from(u32::from_ne_bytes(*long))).sum::<u64>();
        let (words, rest) = rest.as_chunks::<2>();
        total += words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>();
        if let [last] = rest {
            total += u64::from(u16::from_ne_bytes([*last, 0]));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::from_be(u16::try_from(total).unwrap_or(u16::MAX))
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

    proptest::proptest! {
        #[test]
        fn it_is_the_sum_of_16_bit_words(first in proptest::collection::vec(proptest::num::u8::ANY, 0..50), last: Vec<u8>) {
            let first = &first[..first.len() & !1];
            let total: u64 = [first, &last].concat().chunks(2).map(|pair| {
                u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))
            }).sum();
            // One's complement has two zeroes; 0 comes from zeroes only.
            let expected = if total == 0 { 0 } else { (total - 1) % 0xffff + 1 };
            proptest::prop_assert_eq!(u64::from(sum(&[first, &last])), expected);
        }
    }
}
