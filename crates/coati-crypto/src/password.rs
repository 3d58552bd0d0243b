//! Passwords as systems keep them, crypt(5): yescrypt, SHA-512 and SHA-256.

use thiserror::Error;

use sha_crypt::ShaCrypt;
use yescrypt::Yescrypt;
use yescrypt::password_hash::{Error as HashError, PasswordVerifier};

/// Why a password cannot be compared with what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// No password fits, as with `!` and `*` in /etc/shadow.
    #[error("the account has no password, or is locked")]
    Locked,
    /// A format that is not known, or that is broken.
    #[error("the password is kept in a format that cannot be used (only yescrypt, SHA-512 and SHA-256 can)")]
    Format,
}

/// Shortest last part of a hash, in characters: 32 bytes of yescrypt and SHA-256. Libraries compare with as much as there
/// is, so with nothing when there is none.
const SHORTEST_HASH: usize = 43;

/// Whether `password` is the one of which `kept` is the hash, in the form of crypt(5). Takes as long as the hash was made
/// to take: up to some tenths of a second, and tens of megabytes.
pub fn verify(password: &[u8], kept: &str) -> Result<bool, PasswordError> {
    if kept.is_empty() || kept.starts_with(['!', '*']) {
        return Err(PasswordError::Locked);
    }
    let last = kept.rsplit('$').next().unwrap_or("");
    if last.len() < SHORTEST_HASH || password.contains(&0) {
        return Err(PasswordError::Format);
    }
    let outcome = match kept.split('$').nth(1) {
        Some("y") => Yescrypt::default().verify_password(password, kept),
        Some("5" | "6") => ShaCrypt::SHA512.verify_password(password, kept),
        _ => return Err(PasswordError::Format),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(_) => Err(PasswordError::Format),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made by libxcrypt's crypt(3).
    const KEPT: [&str; 4] = [
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$4cT1XRLT6DySXCxUCKRWFonjJQoecjIoQys0VZwcGL.",
        "$6$saltsalt$aLQIWH181LkCDYAP2xWlgVhfRFaS/sC8P1MvDzWD79iDbF/sHyMBo117srwCj7P0XpZG8.3RnH4MxLDiWF/bf/",
        "$6$rounds=10000$saltsalt$C1bRZIFQgpXzn1j1aq7lx.yTf4msUV/XmjrDmhohBfgNVMwUwHKotDo2ZBZ4WB7WnJ14LhqMjxp9LEVfXtwos0",
        "$5$abc.def/$dwbI6sr5xLuckqNRe6I1JmDnd5Z8AMWUQqMfOPg8cW.",
    ];

    #[test]
    fn as_crypt_makes_them() {
        for kept in KEPT {
            assert_eq!(verify("pa55 wörd".as_bytes(), kept), Ok(true), "{kept}");
            assert_eq!(verify(b"pa55 word", kept), Ok(false), "{kept}");
            assert_eq!(verify(b"", kept), Ok(false), "{kept}");
        }
    }

    #[test]
    fn what_fits_nobody() {
        for locked in ["", "*", "!", "!!", &format!("!{}", KEPT[0])] {
            assert_eq!(verify(b"", locked), Err(PasswordError::Locked), "{locked}");
        }
        let md5 = "$1$abcdefgh$O7NzVPGatuHjVrwQf5UZL0";
        for broken in [md5, "x", "abcdefghijklm", "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$", "$6$saltsalt$", "$y$j9T"]
        {
            assert_eq!(verify(b"", broken), Err(PasswordError::Format), "{broken}");
        }
        assert_eq!(verify(b"pa55\0", KEPT[1]), Err(PasswordError::Format));
    }

    proptest! {
        /// Cut or spoilt hashes let nobody in.
        #[test]
        fn spoilt_ones(which in 1..KEPT.len(), at in 0usize..120, letter in "[ -~]", cut in any::<bool>()) {
            let kept = KEPT[which];
            let at = at % kept.len();
            let mut spoilt = kept[..at].to_owned();
            if !cut {
                spoilt.push_str(&letter);
                spoilt.push_str(&kept[at + 1..]);
            }
            // Rounds may become a thousand times as many; of the last letter not all bits mean something.
            prop_assume!(spoilt == kept || !(3..=16).contains(&at) && (cut || at + 1 < kept.len()));
            let passes = verify("pa55 wörd".as_bytes(), &spoilt) == Ok(true);
            prop_assert_eq!(passes, spoilt == kept);
        }
    }
}
