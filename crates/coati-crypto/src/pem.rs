//! PEM (RFC 7468 and OpenSSL's older form): the blocks of a file, whatever text stands around them.
//!
//! Files that come from `openssl x509 -text` hold a description before the block; files of an old CA hold a whole
//! chain. The base64 of a private key is decoded in constant time.

use base64ct::{Base64, Encoding};
use thiserror::Error;
use zeroize::Zeroizing;

/// Larger files are not keys or certificates.
pub(crate) const MAX_FILE: usize = 1 << 20;
/// More blocks than this are not read.
const MAX_BLOCKS: usize = 1024;

/// One block.
pub(crate) struct Block {
    /// What stands after `BEGIN`.
    pub(crate) label: String,
    /// Its header lines say that it is encrypted (OpenSSL's `Proc-Type: 4,ENCRYPTED`).
    pub(crate) encrypted: bool,
    /// What it holds. Empty when it is encrypted.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Why a file is not PEM.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PemError {
    /// The end of a block is missing.
    #[error("the block that begins in line {line} (BEGIN {label}) has no END line; was the file cut off?")]
    NoEnd {
        /// Line of its `BEGIN`.
        line: usize,
        /// Its label.
        label: String,
    },
    /// What stands in a block is no base64.
    #[error("the block that begins in line {line} (BEGIN {label}) holds something that is no base64")]
    Base64 {
        /// Line of its `BEGIN`.
        line: usize,
        /// Its label.
        label: String,
    },
    /// Too many or too large.
    #[error("the file is too large for keys or certificates (more than 1 MiB or 1024 blocks)")]
    TooLarge,
}

/// Whether this looks like PEM and not like DER.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

/// All blocks.
pub(crate) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, PemError> {
    if bytes.len() > MAX_FILE {
        return Err(PemError::TooLarge);
    }
    let mut list = Vec::new();
    let mut lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    while let Some((index, first)) = lines.next() {
        let Some(label) = label_of(first, b"-----BEGIN ") else { continue };
        if list.len() == MAX_BLOCKS {
            return Err(PemError::TooLarge);
        }
        let line = index + 1;
        let (mut text, mut encrypted, mut ended) = (Zeroizing::new(String::new()), false, false);
        for (_, inner) in lines.by_ref() {
            if label_of(inner, b"-----END ").is_some() {
                ended = true;
                break;
            }
            // Header lines have a colon, base64 has not.
            if inner.contains(&b':') {
                encrypted |= inner.starts_with(b"Proc-Type:") && inner.ends_with(b"ENCRYPTED");
            } else if !encrypted {
                // Reserved at once: a growing string would leave copies of a key behind.
                if text.capacity() == 0 {
                    text.reserve(bytes.len());
                }
                let Ok(inner) = std::str::from_utf8(inner) else {
                    return Err(PemError::Base64 { line, label });
                };
                text.extend(inner.split_ascii_whitespace());
            }
        }
        if !ended {
            return Err(PemError::NoEnd { line, label });
        }
        let der = match Base64::decode_vec(&text) {
            Ok(der) => Zeroizing::new(der),
            Err(_) => return Err(PemError::Base64 { line, label }),
        };
        list.push(Block { label, encrypted, der });
    }
    Ok(list)
}

fn label_of(line: &[u8], before: &[u8]) -> Option<String> {
    let label = line.strip_prefix(before)?.strip_suffix(b"-----")?;
    let fits = label.len() <= 64 && label.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    fits.then(|| String::from_utf8_lossy(label).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_around_blocks_and_long_lines() {
        let text = b"Certificate:\n    Data:\n-----BEGIN X-----\r\nAAEC\r\nAw==\r\n-----END X-----\nmore\n\
                     -----BEGIN Y Z-----\nBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUGBAUG\n\
                     -----END Y Z-----";
        let list = blocks(text).unwrap();
        let list: Vec<_> = list.iter().map(|block| (block.label.as_str(), block.der.len())).collect();
        assert_eq!(list, [("X", 4), ("Y Z", 57)]);
        assert!(is_pem(text));
    }

    #[test]
    fn damaged_blocks_say_where() {
        let cut = blocks(b"\n-----BEGIN X-----\nAAEC\n").err();
        assert_eq!(cut, Some(PemError::NoEnd { line: 2, label: "X".into() }));
        let odd = blocks(b"-----BEGIN X-----\nA*EC\n-----END X-----").err();
        assert_eq!(odd, Some(PemError::Base64 { line: 1, label: "X".into() }));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut text = b"-----BEGIN X-----\n".to_vec();
            text.extend_from_slice(&bytes);
            let _ = blocks(&text);
        }
    }
}
