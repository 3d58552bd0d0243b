//! `proposal` of a `remote` block, and what it has in common with `sainfo`: lifetimes, groups, lengths of keys, weak
//! choices.

use crate::diagnostic::Span;
use crate::lexer::Kind;
use crate::racoon::algorithms::{AuthMethod, DhGroup, EspCipher, Phase1Cipher, Phase1Hash};
use crate::racoon::model::{Lifetime, Proposal};
use crate::racoon::parser::{Block, Parsed, Parser};

const PROPOSAL: Block = Block {
    what: "statement of `proposal`",
    words: &[
        "encryption_algorithm",
        "hash_algorithm",
        "authentication_method",
        "dh_group",
        "lifetime",
        "gss_id",
        "gssapi_id",
    ],
    // One in seconds and one in bytes.
    repeatable: &["lifetime"],
};

/// A lifetime as far as it is written.
#[derive(Clone, Copy, Default)]
pub(super) struct OwnLifetime {
    seconds: Option<u32>,
    bytes: Option<u64>,
}

impl OwnLifetime {
    /// What is not written here is taken from `outer`.
    pub(super) fn or(self, outer: Self) -> Self {
        Self { seconds: self.seconds.or(outer.seconds), bytes: self.bytes.or(outer.bytes) }
    }

    /// What is not written has its default.
    pub(super) fn resolved(self) -> Lifetime {
        Lifetime { seconds: self.seconds.unwrap_or(Lifetime::DEFAULT_SECONDS), bytes: self.bytes }
    }
}

impl Parser<'_, '_, '_> {
    /// `time N unit` or `byte N unit`.
    pub(super) fn lifetime(&mut self, into: &mut OwnLifetime) -> Parsed<()> {
        if self.choice("kind of lifetime", &[("time", true), ("byte", false)])? {
            into.seconds = Some(self.time()?);
        } else {
            into.bytes = Some(self.bytes()?);
        }
        Ok(())
    }

    /// The block; `None` when something is missing in it, which has been said.
    pub(super) fn proposal(&mut self, opener: Span) -> Parsed<Option<(Proposal, OwnLifetime)>> {
        let (mut cipher, mut hash, mut group, mut method) = (None, None, None, None);
        let mut lifetime = OwnLifetime::default();
        let errors_before = self.cursor.remarks.errors();
        self.block(opener, &PROPOSAL, |parser, word, span| {
            match word {
                "encryption_algorithm" => cipher = Some(parser.phase1_cipher()?),
                "hash_algorithm" => hash = Some(parser.phase1_hash()?),
                "dh_group" => group = Some(parser.group()?),
                "authentication_method" => {
                    let what = "authentication method";
                    method = Some(parser.named(what, &AuthMethod::NAMES, &AuthMethod::GONE)??);
                }
                "lifetime" => parser.lifetime(&mut lifetime)?,
                _ => {
                    parser.text("a name")?;
                    let message = format!("{word} makes no difference: GSS-API is not built into Coati");
                    parser.warn(span, message, "remove it");
                }
            }
            parser.end()
        })?;
        if let (Some(cipher), Some(hash), Some(dh_group), Some(method)) = (cipher, hash, group, method) {
            let (lifetime_now, origin) = (lifetime.resolved(), self.origin(opener));
            let proposal = Proposal { cipher, hash, method, dh_group, lifetime: lifetime_now, origin };
            return Ok(Some((proposal, lifetime)));
        }
        // What is there but wrong is not missing too.
        if self.cursor.remarks.errors() == errors_before {
            let needed = [
                (method.is_some(), "authentication_method", "pre_shared_key"),
                (cipher.is_some(), "encryption_algorithm", "aes"),
                (hash.is_some(), "hash_algorithm", "sha256"),
                (group.is_some(), "dh_group", "14"),
            ];
            self.missing(opener, "proposal", &needed);
        }
        Ok(None)
    }

    fn phase1_cipher(&mut self) -> Parsed<Phase1Cipher> {
        let span = self.cursor.span();
        let names = &Phase1Cipher::NAMES;
        match self.named("encryption algorithm", names, &Phase1Cipher::GONE)?? {
            Phase1Cipher::Aes(_) => self.aes_bits().map(Phase1Cipher::Aes),
            Phase1Cipher::TripleDes => {
                self.weak_cipher(span);
                Ok(Phase1Cipher::TripleDes)
            }
        }
    }

    fn phase1_hash(&mut self) -> Parsed<Phase1Hash> {
        let span = self.cursor.span();
        let hash = self.named("hash algorithm", &Phase1Hash::NAMES, &Phase1Hash::GONE)??;
        match hash {
            Phase1Hash::Sha1 => self.weak_sha1(span, "hash_algorithm sha256;"),
            Phase1Hash::Md5 => self.weak_md5(span, "hash_algorithm sha256;"),
            _ => {}
        }
        Ok(hash)
    }

    /// The bits of an AES key, when they are written.
    pub(super) fn aes_bits(&mut self) -> Parsed<u16> {
        let Some(Kind::Word(word)) = self.cursor.peek() else { return Ok(128) };
        let span = self.cursor.span();
        match word.parse() {
            Ok(bits @ (128 | 192 | 256)) => {
                self.cursor.next();
                Ok(bits)
            }
            Ok(_) => Err(self.error(span, format!("AES has no keys of {word} bits")).help("128, 192 or 256")),
            Err(_) => Ok(128),
        }
    }

    /// A Diffie-Hellman group by name or by number.
    pub(super) fn group(&mut self) -> Parsed<DhGroup> {
        let span = self.cursor.span();
        let by_number = match self.cursor.peek() {
            Some(Kind::Word(word)) => DhGroup::NAMES
                .iter()
                .map(|(_, group)| *group)
                .find(|group| group.number().to_string() == word),
            _ => None,
        };
        let group = match by_number {
            Some(group) => {
                self.cursor.next();
                group
            }
            None => self.named("group", &DhGroup::NAMES, &DhGroup::GONE)??,
        };
        if group.is_weak() && !std::mem::replace(&mut self.state.weak.group, true) {
            let message = format!("group {group} is weak: its discrete logarithms are within reach");
            let help = "write `dh_group 14;` and `pfs_group 14;` (modp2048), on both sides";
            self.warn(span, message, help);
        }
        Ok(group)
    }

    pub(super) fn weak_cipher(&mut self, span: Span) {
        if !std::mem::replace(&mut self.state.weak.cipher, true) {
            let help = format!("write `encryption_algorithm {};`, on both sides", EspCipher::Aes(128).name());
            self.warn(span, "3des is weak: its blocks of 64 bits collide (SWEET32)", help);
        }
    }

    pub(super) fn weak_sha1(&mut self, span: Span, better: &str) {
        if !std::mem::replace(&mut self.state.weak.sha1, true) {
            self.warn(span, "SHA-1 is on its way out", format!("write `{better}`, on both sides"));
        }
    }

    pub(super) fn weak_md5(&mut self, span: Span, better: &str) {
        if !std::mem::replace(&mut self.state.weak.md5, true) {
            self.warn(span, "MD5 is broken", format!("write `{better}`, on both sides"));
        }
    }
}
