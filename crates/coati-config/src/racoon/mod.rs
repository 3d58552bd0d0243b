//! racoon.conf(5): the directives of main mode with pre-shared keys and of quick mode, as a typed model.
//!
//! What is not supported yet is an error that says so: a directive is obeyed or refused, never ignored, unless it
//! makes no difference here.

pub mod algorithms;
pub mod identifier;
pub mod model;

use std::net::IpAddr;
use std::sync::Arc;

use coati_sadb::{Prefix, Upper};

pub use algorithms::{AuthMethod, CompAlgorithm, DhGroup, EspAuth, EspCipher, Phase1Cipher, Phase1Hash};
pub use identifier::{DistinguishedName, DnAttribute, Identifier};
pub use model::*;

use crate::diagnostic::{Diagnostic, Origin, Source, Span};
use crate::lexer::{Cursor, Kind, describe};

const DEFAULT_LIFETIME: u32 = Lifetime::DEFAULT_SECONDS;

const TOP: [&str; 10] =
    ["path", "include", "log", "timer", "listen", "padding", "privsep", "remote", "sainfo", "mode_cfg"];
const REMOTE: [&str; 20] = [
    "exchange_mode",
    "doi",
    "situation",
    "my_identifier",
    "peers_identifier",
    "verify_identifier",
    "initial_contact",
    "passive",
    "proposal_check",
    "support_proxy",
    "generate_policy",
    "nat_traversal",
    "ike_frag",
    "dpd_delay",
    "dpd_retry",
    "dpd_maxfail",
    "rekey",
    "nonce_size",
    "lifetime",
    "proposal",
];
const PROPOSAL: [&str; 5] =
    ["encryption_algorithm", "hash_algorithm", "authentication_method", "dh_group", "lifetime"];
const SAINFO: [&str; 5] =
    ["pfs_group", "lifetime", "encryption_algorithm", "authentication_algorithm", "compression_algorithm"];
const GROUPS: [(&str, u16); 7] = [
    ("modp1024", 2),
    ("modp1536", 5),
    ("modp2048", 14),
    ("modp3072", 15),
    ("modp4096", 16),
    ("modp6144", 17),
    ("modp8192", 18),
];

/// Reads the file: the model with remarks, or the first error.
pub fn parse(source: &Arc<Source>) -> Result<(RacoonConf, Vec<Diagnostic>), Diagnostic> {
    let mut parser = Parser { cursor: Cursor::new(source, "{};,[]")?, weak: Weak::default() };
    let mut conf = RacoonConf::default();
    while parser.cursor.peek().is_some() {
        parser.top(&mut conf)?;
    }
    Ok((conf, parser.cursor.remarks.list))
}

/// Weak algorithms are named once each.
#[derive(Default)]
struct Weak {
    group: bool,
    hash: bool,
    cipher: bool,
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    weak: Weak,
}

impl<'a> Parser<'a> {
    fn top(&mut self, conf: &mut RacoonConf) -> Result<(), Diagnostic> {
        let (word, span) = self.cursor.word("a statement")?;
        match word {
            "path" => {
                let kinds = ["include", "pre_shared_key", "certificate", "script", "pidfile", "backupsa"];
                let (kind, span) = self.cursor.word("a kind of path")?;
                if !kinds.contains(&kind) {
                    return Err(self.cursor.remarks.unknown(span, "path", kind, &kinds));
                }
                let (text, span) = self.cursor.quoted("a path")?;
                if kind == "pre_shared_key" {
                    let origin = Origin { source: self.cursor.remarks.source.clone(), span };
                    conf.paths.pre_shared_key = Some(PathEntry { path: text.to_owned(), origin });
                }
                self.cursor.expect(';')
            }
            "log" => {
                let levels = ["error", "warning", "notify", "info", "debug", "debug2"];
                self.one_of("log level", &levels)?;
                self.cursor.expect(';')
            }
            "timer" => self.block(span, |parser, word, span| parser.timer(conf, word, span)),
            "listen" => self.block(span, |parser, word, span| parser.listen(conf, word, span)),
            "padding" => self.block(span, |parser, word, span| parser.padding(word, span)),
            "remote" => {
                let remote = self.remote(span)?;
                conf.remotes.push(remote);
                Ok(())
            }
            "sainfo" => {
                let sainfo = self.sainfo(span)?;
                conf.sainfos.push(sainfo);
                Ok(())
            }
            "include" | "privsep" | "mode_cfg" | "ldapcfg" | "radiuscfg" | "complex_bundle"
            | "pfkey_buffer" => Err(self.unsupported(span, word)),
            _ => Err(self.cursor.remarks.unknown(span, "statement", word, &TOP)),
        }
    }

    fn unsupported(&self, span: Span, word: &str) -> Diagnostic {
        self.cursor
            .remarks
            .error(span, format!("`{word}` is not supported yet"))
            .help("remove it, if you can do without")
    }

    /// `{ statement … }`; what opens the block is shown when it is never closed.
    fn block(
        &mut self,
        opener: Span,
        mut statement: impl FnMut(&mut Self, &'a str, Span) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        self.cursor.expect('{')?;
        loop {
            if self.cursor.accept('}') {
                return Ok(());
            }
            match self.cursor.peek() {
                Some(Kind::Word(_)) => {
                    let (word, span) = self.cursor.word("a statement")?;
                    statement(self, word, span)?;
                }
                Some(kind) => {
                    let span = self.cursor.span();
                    let message = format!("expected a statement or `}}`, found {}", describe(kind));
                    return Err(self.cursor.remarks.error(span, message));
                }
                None => {
                    let error = self.cursor.remarks.error(opener, "this block is never closed");
                    return Err(error.help("add the closing brace `}`"));
                }
            }
        }
    }

    fn one_of(&mut self, what: &str, allowed: &[&str]) -> Result<&'a str, Diagnostic> {
        let (word, span) = self.cursor.word(what)?;
        if allowed.contains(&word) {
            Ok(word)
        } else {
            Err(self.cursor.remarks.unknown(span, what, word, allowed))
        }
    }

    fn switch(&mut self) -> Result<bool, Diagnostic> {
        Ok(self.one_of("value", &["on", "off"])? == "on")
    }

    /// `N unit`, in seconds.
    fn time(&mut self) -> Result<u32, Diagnostic> {
        let span = self.cursor.span();
        let number: u32 = self.cursor.number("a time")?;
        let units = ["sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes", "hour", "hours"];
        let factor = match self.one_of("unit of time", &units)?.chars().next() {
            Some('m') => 60,
            Some('h') => 3600,
            _ => 1,
        };
        number
            .checked_mul(factor)
            .filter(|seconds| *seconds > 0)
            .ok_or_else(|| self.cursor.remarks.error(span, "this time is out of range"))
    }

    /// `[ port ]`, when it is there.
    fn port(&mut self) -> Result<Option<u16>, Diagnostic> {
        if !self.cursor.accept('[') {
            return Ok(None);
        }
        if self.cursor.accept_word("any") {
            self.cursor.expect(']')?;
            return Ok(None);
        }
        let port = self.cursor.number("a port")?;
        self.cursor.expect(']')?;
        Ok(Some(port))
    }

    fn address(&mut self) -> Result<IpAddr, Diagnostic> {
        let (word, span) = self.cursor.word("an address")?;
        word.parse().map_err(|_| {
            self.cursor
                .remarks
                .error(span, format!("`{word}` is not an IP address"))
                .help("write it in numbers, for example 192.0.2.1; names are not looked up")
        })
    }

    fn timer(&mut self, conf: &mut RacoonConf, word: &str, span: Span) -> Result<(), Diagnostic> {
        match word {
            "counter" => conf.timer.counter = self.cursor.number("a number")?,
            "interval" => conf.timer.interval = self.time()?,
            "persend" => {
                self.cursor.number::<u32>("a number")?;
            }
            "phase1" | "phase2" | "natt_keepalive" => {
                self.time()?;
            }
            _ => {
                let allowed = ["counter", "interval", "persend", "phase1", "phase2", "natt_keepalive"];
                return Err(self.cursor.remarks.unknown(span, "timer", word, &allowed));
            }
        }
        self.cursor.expect(';')
    }

    fn listen(&mut self, conf: &mut RacoonConf, word: &str, span: Span) -> Result<(), Diagnostic> {
        match word {
            "isakmp" => {
                let address = self.address()?;
                let port = self.port()?.unwrap_or(500);
                conf.listen.isakmp.push((UdpEndpoint { address, zone: None, port }, Origin::default()));
            }
            "isakmp_natt" => return Err(self.unsupported(span, word)),
            "strict_address" => {}
            "adminsock" => {
                conf.listen.adminsock = if self.cursor.accept_word("disabled") {
                    Adminsock::Disabled
                } else {
                    let path = self.cursor.quoted("a path")?.0.to_owned();
                    Adminsock::At { path, owner: Account::Id(0), group: Account::Id(0), mode: 0o600 }
                };
                while !matches!(self.cursor.peek(), Some(Kind::Punctuation(';')) | None) {
                    self.cursor.next();
                }
            }
            _ => {
                let allowed = ["isakmp", "isakmp_natt", "strict_address", "adminsock"];
                return Err(self.cursor.remarks.unknown(span, "statement of `listen`", word, &allowed));
            }
        }
        self.cursor.expect(';')
    }

    fn padding(&mut self, word: &str, span: Span) -> Result<(), Diagnostic> {
        match word {
            "maximum_length" => {
                self.cursor.number::<u32>("a length")?;
            }
            "randomize" | "randomize_length" | "exclusive_tail" | "strict_check" => {
                self.switch()?;
            }
            _ => {
                let allowed =
                    ["randomize", "randomize_length", "maximum_length", "exclusive_tail", "strict_check"];
                return Err(self.cursor.remarks.unknown(span, "statement of `padding`", word, &allowed));
            }
        }
        self.cursor.expect(';')
    }

    fn remote(&mut self, opener: Span) -> Result<Remote, Diagnostic> {
        let place = Origin { source: self.cursor.remarks.source.clone(), span: opener };
        let anonymous = self.cursor.accept_word("anonymous");
        let address = if anonymous { None } else { Some(self.address()?) };
        let port = self.port()?.unwrap_or(500);
        if self.cursor.peek() == Some(Kind::Word("inherit")) {
            return Err(self.unsupported(self.cursor.span(), "inherit"));
        }
        let who = match address {
            Some(address) => RemoteWho::Address(UdpEndpoint { address, zone: None, port }),
            None => RemoteWho::Anonymous { port },
        };
        let mut remote = Remote::new(who, place);
        remote.exchange_modes = vec![ExchangeMode::Main];
        let (mut main_mode, mut lifetime) = (false, None);
        let mut unfinished = Vec::new();
        self.block(opener, |parser, word, span| match word {
            "proposal" => {
                unfinished.push(parser.proposal(span)?);
                Ok(())
            }
            "exchange_mode" => {
                main_mode = parser.exchange_mode()?;
                parser.cursor.expect(';')
            }
            "lifetime" => {
                lifetime = Some(parser.lifetime()?);
                parser.cursor.expect(';')
            }
            _ => {
                parser.remote_directive(&mut remote, word, span)?;
                parser.cursor.expect(';')
            }
        })?;
        if !main_mode {
            let error = self.cursor.remarks.error(opener, "no exchange_mode in this block");
            return Err(error.help("add: exchange_mode main;"));
        }
        if unfinished.is_empty() {
            let error = self.cursor.remarks.error(opener, "no proposal in this block");
            return Err(error.help(
                "add: proposal { encryption_algorithm aes; hash_algorithm sha256; \
                                   authentication_method pre_shared_key; dh_group 14; }",
            ));
        }
        remote.proposals = unfinished
            .into_iter()
            .map(|(mut proposal, own)| {
                proposal.lifetime.seconds = own.or(lifetime).unwrap_or(DEFAULT_LIFETIME);
                proposal
            })
            .collect();
        Ok(remote)
    }

    /// Whether main mode is among them.
    fn exchange_mode(&mut self) -> Result<bool, Diagnostic> {
        loop {
            let span = self.cursor.span();
            match self.one_of("exchange mode", &["main", "aggressive", "base"])? {
                "main" => {}
                other => return Err(self.unsupported(span, other)),
            }
            self.cursor.accept(',');
            if !matches!(self.cursor.peek(), Some(Kind::Word(_))) {
                return Ok(true);
            }
        }
    }

    fn remote_directive(&mut self, remote: &mut Remote, word: &str, span: Span) -> Result<(), Diagnostic> {
        match word {
            "doi" => {
                self.one_of("doi", &["ipsec_doi"])?;
            }
            "situation" => {
                self.one_of("situation", &["identity_only"])?;
            }
            "my_identifier" | "peers_identifier" => {
                self.one_of("identifier", &["address"])?;
                if matches!(self.cursor.peek(), Some(Kind::Word(_))) {
                    self.address()?;
                }
            }
            "verify_identifier" | "verify_cert" | "send_cert" | "send_cr" | "match_empty_cr"
            | "weak_phase1_check" => {
                self.switch()?;
            }
            "support_proxy" | "mode_cfg" => {
                if self.switch()? {
                    return Err(self.unsupported(span, word));
                }
            }
            "generate_policy" | "nat_traversal" => {
                if self.one_of("value", &["off", "on", "force", "require", "unique"])? != "off" {
                    return Err(self.unsupported(span, word));
                }
            }
            "rekey" => {
                self.one_of("value", &["on", "off", "force"])?;
            }
            "initial_contact" => remote.initial_contact = self.switch()?,
            "passive" => remote.passive = self.switch()?,
            "proposal_check" => {
                let check = match self.one_of("value", &["obey", "strict", "claim", "exact"])? {
                    "obey" => ProposalCheck::Obey,
                    "claim" => ProposalCheck::Claim,
                    "exact" => ProposalCheck::Exact,
                    _ => ProposalCheck::Strict,
                };
                remote.proposal_check = check;
                remote.proposal_check_origin = Origin { source: self.cursor.remarks.source.clone(), span };
            }
            "ike_frag" => {
                remote.ike_frag = match self.one_of("value", &["on", "off", "force"])? {
                    "on" => IkeFrag::On,
                    "force" => IkeFrag::Force,
                    _ => IkeFrag::Off,
                };
            }
            "dpd" => {
                self.switch()?;
            }
            "dpd_delay" => remote.dpd_delay = self.cursor.number("a number of seconds")?,
            "dpd_retry" => remote.dpd_retry = self.cursor.number("a number of seconds")?,
            "dpd_maxfail" => remote.dpd_maxfail = self.cursor.number("a number")?,
            "nonce_size" => {
                let span = self.cursor.span();
                let size: u16 = self.cursor.number("a size from 8 to 255 bytes")?;
                remote.nonce_size = Some(size)
                    .filter(|size| *size >= 8)
                    .ok_or_else(|| self.cursor.remarks.error(span, "a nonce has 8 to 255 bytes"))?;
            }
            "script" | "certificate_type" | "ca_type" | "peers_certfile" | "xauth_login" | "ph1id"
            | "esp_frag" => {
                return Err(self.unsupported(span, word));
            }
            "dh_group" => {
                let error = self.cursor.remarks.error(span, "dh_group cannot be defined here");
                return Err(error.help("it belongs into the proposal { … } block"));
            }
            _ => return Err(self.cursor.remarks.unknown(span, "directive", word, &REMOTE)),
        }
        Ok(())
    }

    /// `lifetime time N unit`, in seconds.
    fn lifetime(&mut self) -> Result<u32, Diagnostic> {
        let span = self.cursor.span();
        match self.one_of("kind of lifetime", &["time", "byte"])? {
            "byte" => {
                let error = self.cursor.remarks.error(span, "byte lifetime support is deprecated");
                Err(error.help("use lifetime time"))
            }
            _ => self.time(),
        }
    }

    fn proposal(&mut self, opener: Span) -> Result<(Proposal, Option<u32>), Diagnostic> {
        let (mut cipher, mut hash, mut group, mut method, mut lifetime) = (None, None, None, false, None);
        self.block(opener, |parser, word, span| {
            match word {
                "encryption_algorithm" => cipher = Some(parser.phase1_cipher()?),
                "hash_algorithm" => hash = Some(parser.phase1_hash()?),
                "dh_group" => group = Some(parser.group()?),
                "authentication_method" => {
                    let span = parser.cursor.span();
                    let (name, _) = parser.cursor.word("an authentication method")?;
                    match name {
                        "pre_shared_key" => method = true,
                        "rsasig" | "dsssig" | "rsaenc" | "rsarev" | "gssapi_krb" | "hybrid_rsa_client"
                        | "hybrid_rsa_server" | "xauth_psk_client" | "xauth_psk_server"
                        | "xauth_rsa_client" | "xauth_rsa_server" => {
                            return Err(parser.unsupported(span, name));
                        }
                        _ => {
                            let allowed = ["pre_shared_key", "rsasig"];
                            return Err(parser.cursor.remarks.unknown(span, "method", name, &allowed));
                        }
                    }
                }
                "lifetime" => lifetime = Some(parser.lifetime()?),
                _ => {
                    return Err(parser.cursor.remarks.unknown(
                        span,
                        "statement of `proposal`",
                        word,
                        &PROPOSAL,
                    ));
                }
            }
            parser.cursor.expect(';')
        })?;
        let missing = |what: &str, example: &str| {
            self.cursor
                .remarks
                .error(opener, format!("no {what} in this proposal"))
                .help(format!("add: {what} {example};"))
        };
        if !method {
            return Err(missing("authentication_method", "pre_shared_key"));
        }
        let proposal = Proposal {
            cipher: cipher.ok_or_else(|| missing("encryption_algorithm", "aes"))?,
            hash: hash.ok_or_else(|| missing("hash_algorithm", "sha256"))?,
            dh_group: group.ok_or_else(|| missing("dh_group", "14"))?,
            method: AuthMethod::PreSharedKey,
            lifetime: Lifetime::default(),
            origin: Origin { source: self.cursor.remarks.source.clone(), span: opener },
        };
        Ok((proposal, lifetime))
    }

    /// The bits of an AES key, when they are written.
    fn aes_bits(&mut self) -> Result<u16, Diagnostic> {
        let Some(Kind::Word(word)) = self.cursor.peek() else { return Ok(128) };
        let span = self.cursor.span();
        match word.parse() {
            Ok(bits @ (128 | 192 | 256)) => {
                self.cursor.next();
                Ok(bits)
            }
            Ok(_) => Err(self
                .cursor
                .remarks
                .error(span, format!("AES has no keys of {word} bits"))
                .help("128, 192 or 256")),
            Err(_) => Ok(128),
        }
    }

    fn phase1_cipher(&mut self) -> Result<Phase1Cipher, Diagnostic> {
        let span = self.cursor.span();
        match self.one_of("encryption algorithm", &["aes", "rijndael", "3des"])? {
            "3des" => {
                self.weak_cipher(span);
                Ok(Phase1Cipher::TripleDes)
            }
            _ => self.aes_bits().map(Phase1Cipher::Aes),
        }
    }

    fn phase1_hash(&mut self) -> Result<Phase1Hash, Diagnostic> {
        let span = self.cursor.span();
        let names = ["sha1", "sha256", "sha2_256", "sha384", "sha2_384", "sha512", "sha2_512"];
        Ok(match self.one_of("hash algorithm", &names)? {
            "sha1" => {
                self.weak_hash(span, "hash_algorithm sha256;");
                Phase1Hash::Sha1
            }
            "sha384" | "sha2_384" => Phase1Hash::Sha384,
            "sha512" | "sha2_512" => Phase1Hash::Sha512,
            _ => Phase1Hash::Sha256,
        })
    }

    fn group(&mut self) -> Result<DhGroup, Diagnostic> {
        let (word, span) = self.cursor.word("a group")?;
        let found = GROUPS.iter().find(|(name, number)| *name == word || number.to_string() == word);
        let Some((_, number)) = found else {
            let names: Vec<&str> =
                GROUPS.iter().map(|(name, _)| *name).chain(["2", "5", "14", "15", "16"]).collect();
            return Err(self.cursor.remarks.unknown(span, "group", word, &names));
        };
        if *number < 14 && !std::mem::replace(&mut self.weak.group, true) {
            let message = format!("group {number} is weak: its discrete logarithms are within reach");
            let help = "write `dh_group 14;` and `pfs_group 14;` (modp2048), on both sides";
            self.cursor.remarks.warn(span, message, help);
        }
        DhGroup::NAMES
            .iter()
            .map(|(_, group)| *group)
            .find(|group| group.number() == *number)
            .ok_or_else(|| self.unsupported(span, word))
    }

    fn weak_cipher(&mut self, span: Span) {
        if !std::mem::replace(&mut self.weak.cipher, true) {
            let help = "write `encryption_algorithm aes;`, on both sides";
            self.cursor.remarks.warn(span, "3des is weak: its blocks of 64 bits collide (SWEET32)", help);
        }
    }

    fn weak_hash(&mut self, span: Span, better: &str) {
        if !std::mem::replace(&mut self.weak.hash, true) {
            let help = format!("write `{better}`, on both sides");
            self.cursor.remarks.warn(span, "SHA-1 is on its way out", help);
        }
    }

    fn sainfo(&mut self, opener: Span) -> Result<SaInfo, Diagnostic> {
        let place = Origin { source: self.cursor.remarks.source.clone(), span: opener };
        let (source, destination) = if self.cursor.accept_word("anonymous") {
            (SainfoId::Anonymous, SainfoId::Anonymous)
        } else {
            (SainfoId::Network(self.endpoint()?), SainfoId::Network(self.endpoint()?))
        };
        let mut info = SaInfo {
            source,
            destination,
            from: None,
            group: None,
            remoteid: 0,
            origin: place,
            pfs_group: None,
            lifetime: Lifetime::default(),
            encryption: vec![],
            authentication: vec![],
            compression: vec![CompAlgorithm::Deflate],
        };
        let mut compression = false;
        self.block(opener, |parser, word, span| {
            match word {
                "pfs_group" => info.pfs_group = Some(parser.group()?),
                "lifetime" => info.lifetime.seconds = parser.lifetime()?,
                "encryption_algorithm" => info.encryption = parser.list(Self::phase2_cipher)?,
                "authentication_algorithm" => info.authentication = parser.list(Self::phase2_auth)?,
                "compression_algorithm" => {
                    parser.list(|parser| parser.one_of("compression algorithm", &["deflate"]))?;
                    compression = true;
                }
                "remoteid" | "my_identifier" => return Err(parser.unsupported(span, word)),
                _ => return Err(parser.cursor.remarks.unknown(span, "statement of `sainfo`", word, &SAINFO)),
            }
            parser.cursor.expect(';')
        })?;
        for (there, what, example) in [
            (!info.encryption.is_empty(), "encryption_algorithm", "aes"),
            (!info.authentication.is_empty(), "authentication_algorithm", "hmac_sha256"),
            (compression, "compression_algorithm", "deflate"),
        ] {
            if !there {
                let error = self.cursor.remarks.error(opener, format!("no {what} in this sainfo"));
                return Err(error.help(format!("add: {what} {example};")));
            }
        }
        Ok(info)
    }

    fn list<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<Vec<T>, Diagnostic> {
        let mut list = vec![one(self)?];
        while self.cursor.accept(',') {
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn phase2_cipher(&mut self) -> Result<EspCipher, Diagnostic> {
        let span = self.cursor.span();
        Ok(
            match self.one_of("encryption algorithm", &["aes", "rijndael", "3des", "null_enc", "aes_gcm"])? {
                "3des" => {
                    self.weak_cipher(span);
                    EspCipher::TripleDes
                }
                "null_enc" => {
                    self.cursor.remarks.warn(
                        span,
                        "null_enc encrypts nothing",
                        "write `encryption_algorithm aes;`, on both sides",
                    );
                    EspCipher::Null
                }
                "aes_gcm" => EspCipher::AesGcm16(self.aes_bits()?),
                _ => EspCipher::Aes(self.aes_bits()?),
            },
        )
    }

    fn phase2_auth(&mut self) -> Result<EspAuth, Diagnostic> {
        let span = self.cursor.span();
        let names = [
            "hmac_sha1",
            "hmac_sha256",
            "hmac_sha2_256",
            "hmac_sha384",
            "hmac_sha2_384",
            "hmac_sha512",
            "hmac_sha2_512",
        ];
        let name = self.one_of("authentication algorithm", &names)?;
        if name == "hmac_sha1" {
            self.weak_hash(span, "authentication_algorithm hmac_sha256;");
        }
        EspAuth::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, auth)| *auth)
            .ok_or_else(|| self.cursor.remarks.unknown(span, "authentication algorithm", name, &names))
    }

    /// `address|subnet A[/N] [port] PROTO`.
    fn endpoint(&mut self) -> Result<Endpoint, Diagnostic> {
        let subnet = self.one_of("kind of identity", &["address", "subnet"])? == "subnet";
        let (word, span) = self.cursor.word("an address")?;
        let prefix: Prefix =
            word.parse().map_err(|error| self.cursor.remarks.error(span, format!("{error}")))?;
        if let Some(port) = self.port()?
            && port != 0
        {
            return Err(self.unsupported(span, "a port in sainfo"));
        }
        let (word, span) = self.cursor.word("a protocol")?;
        let upper = match word {
            "any" => Upper::Any,
            "gre" => Upper::GRE,
            "icmp" => Upper::Proto(1),
            "tcp" => Upper::Proto(6),
            "udp" => Upper::Proto(17),
            number => Upper::Proto(number.parse().map_err(|_| {
                self.cursor.remarks.unknown(span, "protocol", number, &["any", "gre", "icmp", "tcp", "udp"])
            })?),
        };
        Ok(Endpoint { prefix, subnet, port: None, upper })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: &str = include_str!("../../../../examples/seed/freebsd-a/racoon.conf");

    fn error_of(text: &str) -> String {
        parse(&Source::new("racoon.conf", text)).unwrap_err().to_string()
    }

    #[test]
    fn the_file_of_the_how_to() {
        let (conf, remarks) = parse(&Source::new("racoon.conf", SEED)).unwrap();
        let remote = &conf.remotes[0];
        assert_eq!(remote.address(), Some("198.51.100.1".parse().unwrap()));
        // Weak things work, and each is named once.
        assert_eq!(remarks.len(), 3, "{remarks:?}");
    }

    #[test]
    fn wrong_lines_and_their_places() {
        for (from, to, wanted) in [
            ("dpd_delay 20;", "dpd_dellay 20;", "unknown directive `dpd_dellay` (did you mean `dpd_delay`?)"),
            ("passive off;", "passive off", "a semicolon `;` is missing before `initial_contact`"),
            ("198.51.100.1 [500]", "198.51.100.256 [500]", "`198.51.100.256` is not an IP address"),
            ("8 hour", "8 hours ago", "a semicolon `;` is missing before `ago`"),
            ("8 hour", "8 days", "unknown unit of time `days`"),
            ("dh_group 2;", "dh_group 3;", "unknown group `3`"),
            ("exchange_mode main;", "", "no exchange_mode in this block"),
            ("exchange_mode main;", "exchange_mode aggressive;", "`aggressive` is not supported yet"),
            (
                "encryption_algorithm aes, 3des;",
                "encryption_algorithm aes 3des;",
                "a semicolon `;` is missing before `3des`",
            ),
            ("compression_algorithm deflate;", "", "no compression_algorithm in this sainfo"),
            ("encryption_algorithm aes;", "encryption_algorithm aes 64;", "AES has no keys of 64 bits"),
        ] {
            assert!(SEED.contains(from), "{from}");
            let error = error_of(&SEED.replacen(from, to, 1));
            assert!(error.contains(wanted), "{from} -> {to}\n  {error}");
        }
        let cut = SEED.trim_end().trim_end_matches('}');
        assert!(error_of(cut).contains("this block is never closed"));
    }

    proptest! {
        #[test]
        fn any_text(text in "(remote anonymous \\{|sainfo anonymous \\{|path )?\\PC{0,300}") {
            let _ = parse(&Source::new("racoon.conf", text));
        }

        #[test]
        fn any_cut(cut in 0usize..800) {
            if let Some(text) = SEED.get(..cut) {
                let _ = parse(&Source::new("racoon.conf", text));
            }
        }
    }
}
