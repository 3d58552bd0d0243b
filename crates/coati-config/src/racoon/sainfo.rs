//! `sainfo`: whom it is for, and what it offers.

use std::net::IpAddr;

use coati_sadb::{Prefix, Upper};

use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::lexer::Kind;
use crate::racoon::algorithms::{CompAlgorithm, EspAuth, EspCipher};
use crate::racoon::identifier::{Identifier, IdentityOf};
use crate::racoon::model::{Endpoint, EndpointPort, Lifetime, SaInfo, SainfoId};
use crate::racoon::parser::{Block, Parsed, Parser};
use crate::racoon::proposal::OwnLifetime;

const SAINFO: Block = Block {
    what: "statement of `sainfo`",
    words: &[
        "pfs_group",
        "lifetime",
        "encryption_algorithm",
        "authentication_algorithm",
        "compression_algorithm",
        "remoteid",
        "my_identifier",
    ],
    repeatable: &["lifetime"],
};

/// Protocols that have a name here.
const PROTOCOLS: [(&str, Upper); 10] = [
    ("any", Upper::Any),
    ("esp", Upper::Proto(50)),
    ("ah", Upper::Proto(51)),
    ("ipcomp", Upper::Proto(108)),
    ("icmp", Upper::Proto(1)),
    ("icmp6", Upper::Proto(58)),
    ("ipv6-icmp", Upper::Proto(58)),
    ("tcp", Upper::Proto(6)),
    ("udp", Upper::Proto(17)),
    ("gre", Upper::GRE),
];

const IDENTITIES: [&str; 7] = ["address", "subnet", "fqdn", "user_fqdn", "keyid", "anonymous", "clientaddr"];

impl<'a> Parser<'a, '_, '_> {
    pub(super) fn sainfo(&mut self, opener: Span) -> Parsed<()> {
        let header = self.cursor.span();
        let (source, destination) = self.selectors()?;
        let mut info = SaInfo {
            source,
            destination,
            from: None,
            group: None,
            remoteid: 0,
            pfs_group: None,
            lifetime: Lifetime::default(),
            encryption: Vec::new(),
            authentication: Vec::new(),
            compression: Vec::new(),
            origin: self.origin(opener),
        };
        loop {
            if info.from.is_none() && self.cursor.accept_word("from") {
                info.from = Some(self.identifier(IdentityOf::Sainfo)?);
            } else if info.group.is_none() && self.cursor.accept_word("group") {
                info.group = Some(self.text("a group")?);
            } else {
                break;
            }
        }
        let header = header.to(self.cursor.previous());
        let errors_before = self.cursor.remarks.errors();
        let mut compression = false;
        self.sainfo_body(opener, &mut info, &mut compression)?;
        if self.cursor.remarks.errors() == errors_before {
            let aead = !info.encryption.is_empty() && info.encryption.iter().all(|cipher| cipher.is_aead());
            let authenticated = aead || !info.authentication.is_empty();
            let needed = [
                (!info.encryption.is_empty(), "encryption_algorithm", "aes"),
                (authenticated, "authentication_algorithm", "hmac_sha256"),
                (compression, "compression_algorithm", "deflate"),
            ];
            self.missing(opener, "sainfo", &needed);
        }
        let selectors = format!("{} remoteid {}", info.header(), info.remoteid);
        if let Some(place) = self.written_before(selectors, &info.origin) {
            let message = format!("there is a sainfo for exactly these already, at {place}");
            // racoon looks for doubles among those with identities only.
            if info.header() == "sainfo anonymous" {
                self.warn(header, message, "remove one of them: the first one is used");
            } else {
                let error = self.error(header, message);
                self.report(error.help("remove one of them"));
            }
        }
        self.state.conf.sainfos.push(info);
        Ok(())
    }

    fn sainfo_body(&mut self, opener: Span, info: &mut SaInfo, compression: &mut bool) -> Parsed<()> {
        let mut lifetime = OwnLifetime::default();
        self.block(opener, &SAINFO, |parser, word, span| {
            match word {
                "pfs_group" => info.pfs_group = Some(parser.group()?),
                "lifetime" => parser.lifetime(&mut lifetime)?,
                "encryption_algorithm" => {
                    info.encryption = parser.algorithms(span, "encryption algorithm", Self::esp_cipher)?;
                }
                "authentication_algorithm" => {
                    info.authentication =
                        parser.algorithms(span, "authentication algorithm", Self::esp_auth)?;
                    let both = [EspAuth::HmacSha256, EspAuth::HmacSha256Cut96];
                    if both.iter().all(|one| info.authentication.contains(one)) {
                        let message = "hmac_sha256 and hmac_sha256_96 have the same number in IKE";
                        let help =
                            "write the one that the peer has; who cuts to 96 bits are old Linux kernels";
                        return Err(parser.error(span, message).help(help));
                    }
                }
                "compression_algorithm" => {
                    *compression = true;
                    let one = |parser: &mut Self| {
                        parser.named("compression algorithm", &CompAlgorithm::NAMES, &CompAlgorithm::GONE)
                    };
                    info.compression = parser.those_there(one)?.0;
                }
                "remoteid" => info.remoteid = parser.cursor.number("a number")?,
                _ => {
                    let error = parser.error(span, "my_identifier has no place in a sainfo");
                    return Err(error.help("write it in the remote block"));
                }
            }
            parser.end()
        })?;
        info.lifetime = lifetime.resolved();
        Ok(())
    }

    /// A list; names that only racoon knew are left out with a warning.
    fn those_there<T: PartialEq>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Parsed<Parsed<T>>,
    ) -> Parsed<(Vec<T>, Option<Diagnostic>)> {
        let (mut there, mut last_gone) = (Vec::new(), None);
        for found in self.list(&mut one)? {
            match found {
                Ok(algorithm) if there.contains(&algorithm) => {}
                Ok(algorithm) => there.push(algorithm),
                Err(gone) => {
                    self.report(Diagnostic { severity: Severity::Warning, ..gone.clone() });
                    last_gone = Some(gone);
                }
            }
        }
        Ok((there, last_gone))
    }

    /// The same, when one at least has to be there.
    fn algorithms<T: PartialEq>(
        &mut self,
        span: Span,
        what: &str,
        one: impl FnMut(&mut Self) -> Parsed<Parsed<T>>,
    ) -> Parsed<Vec<T>> {
        let (there, gone) = self.those_there(one)?;
        match gone {
            Some(gone) if there.is_empty() => {
                let error = self.error(span, format!("no {what} is left of this list"));
                Err(Diagnostic { help: gone.help, ..error })
            }
            _ => Ok(there),
        }
    }

    fn esp_cipher(&mut self) -> Parsed<Parsed<EspCipher>> {
        let span = self.cursor.span();
        let cipher = match self.named("encryption algorithm", &EspCipher::NAMES, &EspCipher::GONE)? {
            Ok(cipher) => cipher,
            Err(gone) => {
                // The bits of its key, when they are written.
                if matches!(self.cursor.peek(), Some(Kind::Word(word)) if word.parse::<u16>().is_ok()) {
                    self.cursor.next();
                }
                return Ok(Err(gone));
            }
        };
        Ok(Ok(match cipher {
            EspCipher::Aes(_) => EspCipher::Aes(self.aes_bits()?),
            EspCipher::AesGcm16(_) => EspCipher::AesGcm16(self.aes_bits()?),
            EspCipher::AesCtr(_) => EspCipher::AesCtr(self.aes_bits()?),
            EspCipher::TripleDes => {
                self.weak_cipher(span);
                cipher
            }
            EspCipher::Null => {
                let help = "write `encryption_algorithm aes;`, on both sides";
                self.warn(span, "null_enc encrypts nothing", help);
                cipher
            }
            EspCipher::ChaCha20Poly1305 => cipher,
        }))
    }

    fn esp_auth(&mut self) -> Parsed<Parsed<EspAuth>> {
        let span = self.cursor.span();
        let auth = self.named("authentication algorithm", &EspAuth::NAMES, &EspAuth::GONE)?;
        match auth {
            Ok(EspAuth::HmacSha1) => self.weak_sha1(span, "authentication_algorithm hmac_sha256;"),
            Ok(EspAuth::HmacMd5) => self.weak_md5(span, "authentication_algorithm hmac_sha256;"),
            _ => {}
        }
        Ok(auth)
    }

    /// `anonymous`, or the identities of both ends; one of them may be `anonymous`.
    fn selectors(&mut self) -> Parsed<(SainfoId, SainfoId)> {
        let span = self.cursor.span();
        let source = self.selector()?;
        if source == SainfoId::ClientAddress {
            let error = self.error(span, "clientaddr is the peer's address: it stands second");
            return Err(error.help("write: sainfo anonymous clientaddr { … }"));
        }
        let ends = match self.cursor.peek() {
            Some(Kind::Punctuation('{')) | None => true,
            Some(Kind::Word(word)) => word == "from" || word == "group",
            _ => false,
        };
        if ends {
            if source == SainfoId::Anonymous {
                return Ok((SainfoId::Anonymous, SainfoId::Anonymous));
            }
            let error = self.error(span.to(self.cursor.previous()), "a sainfo is for both ends, this is one");
            return Err(error.help("write the peer's identity behind it, or `anonymous`"));
        }
        let destination = self.selector()?;
        if let (Some(one), Some(other)) = (family(&source), family(&destination))
            && one != other
        {
            let span = span.to(self.cursor.previous());
            return Err(
                self.error(span, "one end is IPv4, the other IPv6: no packet goes from one to the other")
            );
        }
        Ok((source, destination))
    }

    fn selector(&mut self) -> Parsed<SainfoId> {
        let (word, span) = self.cursor.word("an identity")?;
        match word {
            "anonymous" => Ok(SainfoId::Anonymous),
            "clientaddr" => Ok(SainfoId::ClientAddress),
            "address" | "subnet" => self.endpoint(word == "subnet"),
            "fqdn" => Ok(SainfoId::Name(Identifier::Fqdn(self.text("a domain name")?))),
            "user_fqdn" => Ok(SainfoId::Name(Identifier::UserFqdn(self.text("user@domain")?))),
            "keyid" => {
                self.cursor.accept_word("tag");
                Ok(SainfoId::Name(Identifier::KeyIdTag(self.text("a key id")?)))
            }
            "asn1dn" => {
                let error = self.error(span, "a distinguished name is no identity of phase 2");
                Err(error.help("write it behind `from`: sainfo anonymous from asn1dn \"…\" { … }"))
            }
            _ => Err(self.cursor.remarks.unknown(span, "identity", word, &IDENTITIES)),
        }
    }

    /// `A[/N] [port] PROTO`, or `A-B [port] PROTO`.
    fn endpoint(&mut self, subnet: bool) -> Parsed<SainfoId> {
        let span = self.cursor.span();
        if let Some((first, last)) = self.range()? {
            if subnet {
                let error = self.error(span, "a range is no subnet");
                return Err(error.help("write: address FIRST-LAST …"));
            }
            let (port, upper) = self.port_and_protocol()?;
            return Ok(SainfoId::Range { first, last, port, upper });
        }
        let (prefix, span) = self.prefix()?;
        if prefix.network().address != prefix.address {
            let message = format!("{prefix} has bits behind its prefix, which do not count");
            self.warn(span, message, format!("write {}", prefix.network()));
        }
        let (port, upper) = self.port_and_protocol()?;
        Ok(SainfoId::Network(Endpoint { prefix, subnet, port, upper }))
    }

    /// `A-B`, when that comes next; blanks may stand before the minus.
    fn range(&mut self) -> Parsed<Option<(IpAddr, IpAddr)>> {
        let Some(Kind::Word(word)) = self.cursor.peek() else { return Ok(None) };
        let span = self.cursor.span();
        let (first, last) = match word.split_once('-') {
            Some((first, last)) => (first, last),
            None => {
                let next = self.cursor.tokens.get(self.cursor.at + 1).map(|token| token.kind);
                let Some(Kind::Word(next)) = next else { return Ok(None) };
                let Some(last) = next.strip_prefix('-') else { return Ok(None) };
                self.cursor.next();
                (word, last)
            }
        };
        self.cursor.next();
        let span = span.to(self.cursor.previous());
        let (first, last) = (self.ip(first, span)?, self.ip(last, span)?);
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(self.error(span, "the end of this range is before its beginning"));
        }
        Ok(Some((first, last)))
    }

    /// `A` or `A/N`; blanks may stand before the slash.
    pub(super) fn prefix(&mut self) -> Parsed<(Prefix, Span)> {
        let (word, span) = self.cursor.word("an address")?;
        let length = match self.cursor.peek() {
            Some(Kind::Word(next)) if next.starts_with('/') && !word.contains('/') => {
                self.cursor.next();
                next
            }
            _ => "",
        };
        let span = span.to(self.cursor.previous());
        let prefix = format!("{word}{length}").parse();
        prefix.map(|prefix| (prefix, span)).map_err(|error| self.error(span, format!("{error}")))
    }

    /// `[port] PROTO`, or `[any] PROTO`, or only `PROTO`.
    fn port_and_protocol(&mut self) -> Parsed<(EndpointPort, Upper)> {
        let span = self.cursor.span();
        let port = if self.cursor.accept('[') {
            let port = if self.cursor.accept_word("any") {
                None
            } else {
                // racoon takes 0 for any.
                Some(self.cursor.number("a port, or `any`")?).filter(|port| *port != 0)
            };
            self.cursor.expect(']')?;
            port
        } else {
            None
        };
        let (word, word_span) = self.cursor.word("a protocol")?;
        let named = PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, upper)| *upper);
        let upper = named.or_else(|| word.parse().ok().map(Upper::Proto)).ok_or_else(|| {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            self.cursor.remarks.unknown(word_span, "protocol", word, &names)
        })?;
        if port.is_some() && matches!(upper, Upper::Proto(1 | 58)) {
            let error = self.error(span, "ICMP has no ports");
            return Err(error.help("write [any]"));
        }
        Ok((port, upper))
    }
}

/// Whether it is IPv4, when it has addresses.
fn family(id: &SainfoId) -> Option<bool> {
    match id {
        SainfoId::Network(endpoint) => Some(endpoint.prefix.address.is_ipv4()),
        SainfoId::Range { first, .. } => Some(first.is_ipv4()),
        SainfoId::Anonymous | SainfoId::ClientAddress | SainfoId::Name(_) => None,
    }
}

/// The name that a protocol has here, or its number.
pub(super) fn protocol_name(upper: Upper) -> String {
    let named = PROTOCOLS.iter().find(|(_, other)| *other == upper).map(|(name, _)| (*name).to_owned());
    named.unwrap_or_else(|| match upper {
        Upper::Any => "any".to_owned(),
        Upper::Proto(number) => number.to_string(),
    })
}
