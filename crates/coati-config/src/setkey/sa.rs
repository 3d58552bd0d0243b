//! SAs by hand: `add`, `update`, `get`, `getspi`, `delete`, `deleteall`.

use std::net::IpAddr;

use coati_sadb::{
    AuthAlgorithm, EncAlgorithm, Lifetime, Mode, NatT, Offload, ReqId, Request, Sa, SaId, SaProto, SaState,
    Secret, Spi, Usage,
};

use super::algorithms::{
    Found, authentication, authentication_names, encryption, encryption_names, is_compression,
};
use super::selector::Host;
use super::{COMMANDS, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::lexer::Kind;
use crate::psk::hex;

/// Bits of the longest key that the null algorithms take, and leave alone.
const MAX_NULL_KEY: usize = 2048;
/// Where ESP in UDP goes when no port is written (RFC 3948).
const NAT_T_PORT: u16 = 4500;

pub(super) const OPTIONS: [&str; 14] =
    ["-m", "-r", "-u", "-f", "-lh", "-ls", "-bh", "-bs", "-ctx", "-hwif", "-esn", "-E", "-A", "-C"];
const FLAGS: [&str; 6] = ["zero-pad", "random-pad", "seq-pad", "cyclic-seq", "nocyclic-seq", "esn"];

/// The hosts and the protocol of an SA.
struct Ends {
    pairs: Vec<(IpAddr, IpAddr)>,
    proto: SaProto,
    /// Inside UDP.
    nat_t: Option<NatT>,
    /// Where both hosts stand.
    span: Span,
}

/// What may come behind the SPI.
#[derive(Default)]
struct Extensions {
    mode: Option<(Mode, Span)>,
    reqid: ReqId,
    replay_window: u32,
    /// Where extended sequence numbers are asked for.
    esn: Option<Span>,
    soft: Lifetime,
    hard: Lifetime,
    enc: Option<(EncAlgorithm, Secret, Span)>,
    auth: Option<(AuthAlgorithm, Secret, Span)>,
    compresses: bool,
    offload: Option<Offload>,
    /// Where the soft limits stand.
    places: Vec<(&'static str, Span)>,
}

impl Parser<'_> {
    /// `add` and `update`.
    pub(super) fn sas(&mut self, request: impl Fn(Sa) -> Request) -> Result<Vec<Request>, Diagnostic> {
        let ends = self.ends()?;
        let spi = self.spi(ends.proto)?;
        let found = self.extensions(ends.proto, true)?;
        self.warn_of_hosts(&ends);
        self.warn_of_limits(&found);
        let mode = found.mode.map_or(Mode::Any, |(mode, _)| mode);
        let sa = |(source, destination): (IpAddr, IpAddr)| Sa {
            id: SaId { source, destination, proto: ends.proto, spi },
            mode,
            reqid: found.reqid,
            enc: found.enc.as_ref().map_or(EncAlgorithm::Null, |enc| enc.0),
            enc_key: found.enc.as_ref().map_or_else(Secret::default, |enc| enc.1.clone()),
            auth: found.auth.as_ref().map_or(AuthAlgorithm::None, |auth| auth.0),
            auth_key: found.auth.as_ref().map_or_else(Secret::default, |auth| auth.1.clone()),
            replay_window: found.replay_window,
            esn: found.esn.is_some(),
            nat_t: ends.nat_t,
            soft: found.soft,
            hard: found.hard,
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
            offload: found.offload.clone(),
        };
        let sas: Vec<Sa> = ends.pairs.iter().map(|pair| sa(*pair)).collect();
        // As whoever is to hold it says it.
        let span = found.esn.filter(|_| ends.proto == SaProto::Ipcomp).or(found.enc.map(|(.., span)| span));
        for sa in &sas {
            sa.check().map_err(|refusal| {
                let span = if sa.id.check().is_err() { ends.span } else { span.unwrap_or(ends.span) };
                self.cursor.remarks.error(span, refusal.to_string())
            })?;
        }
        Ok(sas.into_iter().map(request).collect())
    }

    /// A soft limit above the hard one is taken by every setkey, and never reached.
    fn warn_of_limits(&mut self, found: &Extensions) {
        for (soft, hard, (option, above)) in [
            (found.soft.add_seconds, found.hard.add_seconds, ("-ls", "-lh")),
            (found.soft.bytes, found.hard.bytes, ("-bs", "-bh")),
        ] {
            if hard != 0
                && soft > hard
                && let Some(span) =
                    found.places.iter().find_map(|(name, span)| (*name == option).then_some(*span))
            {
                let message = format!("the soft limit {soft} is never reached: the hard one is {hard}");
                self.cursor.remarks.warn(span, message, format!("give {option} less than {above}"));
            }
        }
    }

    /// `get` and `delete`.
    pub(super) fn sa_ids(&mut self, request: impl Fn(SaId) -> Request) -> Result<Vec<Request>, Diagnostic> {
        let Ends { pairs, proto, .. } = self.ends()?;
        let spi = self.spi(proto)?;
        if let Some((_, span)) = self.extensions(proto, false)?.mode {
            self.cursor.remarks.warn(span, "the mode is obsolete here", "leave -m out");
        }
        let id = |(source, destination)| SaId { source, destination, proto, spi };
        Ok(pairs.into_iter().map(|pair| request(id(pair))).collect())
    }

    pub(super) fn get_spi(&mut self) -> Result<Vec<Request>, Diagnostic> {
        let ends = self.ends()?;
        let spi = match self.cursor.peek() {
            Some(Kind::Word("0" | "0x0")) => {
                self.cursor.next();
                Spi(0)
            }
            _ => self.spi(ends.proto)?,
        };
        let found = self.extensions(ends.proto, false)?;
        let mode = found.mode.map_or(Mode::Any, |(mode, _)| mode);
        let request = |(source, destination)| Request::GetSpi {
            source,
            destination,
            proto: ends.proto,
            mode,
            reqid: found.reqid,
            spi,
        };
        Ok(ends.pairs.into_iter().map(request).collect())
    }

    pub(super) fn delete_all(&mut self) -> Result<Vec<Request>, Diagnostic> {
        let Ends { pairs, proto, .. } = self.ends()?;
        let request = |(source, destination)| Request::DeleteAll { source, destination, proto };
        Ok(pairs.into_iter().map(request).collect())
    }

    /// The protocol that `flush` and `dump` may name.
    pub(super) fn optional_proto(&mut self) -> Result<Option<SaProto>, Diagnostic> {
        match self.cursor.peek() {
            Some(Kind::Punctuation(';')) | None => Ok(None),
            // The next command: the caller will say that the semicolon before it is missing.
            Some(Kind::Word(word)) if COMMANDS.contains(&word) => Ok(None),
            _ => self.proto().map(|(proto, _)| Some(proto)),
        }
    }

    fn ends(&mut self) -> Result<Ends, Diagnostic> {
        let lookup = self.lookup();
        let source = self.host(lookup)?;
        let destination = self.host(lookup)?;
        let pairs = self.pairs(&source, &destination)?;
        let (proto, is_in_udp) = self.proto()?;
        let port = |host: &Host| if host.port == 0 { NAT_T_PORT } else { host.port };
        let mut nat_t = is_in_udp.then(|| NatT {
            source_port: port(&source),
            destination_port: port(&destination),
            ..NatT::default()
        });
        if let (Some(nat_t), Some(Kind::Word(word))) = (&mut nat_t, self.cursor.peek())
            && let Ok(original) = word.parse()
        {
            nat_t.original = Some(original);
            self.cursor.next();
        }
        let span = source.span.to(destination.span);
        for host in [&source, &destination] {
            if host.port != 0 && !is_in_udp {
                let message = format!("an SA of {} has no ports", proto.setkey_name());
                self.cursor.remarks.warn(host.span, message, "they are for esp-udp");
            }
        }
        Ok(Ends { pairs, proto, nat_t, span })
    }

    /// What every setkey takes, and what is hardly meant.
    fn warn_of_hosts(&mut self, ends: &Ends) {
        for (source, destination) in &ends.pairs {
            let message = if source == destination {
                format!(
                    "source and destination are the same: only packets of {source} to itself go through it"
                )
            } else if source.is_unspecified() && !destination.is_unspecified() {
                format!("{source} is the source of no packet")
            } else {
                continue;
            };
            self.cursor.remarks.warn(ends.span, message, "name the two hosts of the SA");
        }
    }

    /// The protocol, and whether it goes inside UDP.
    fn proto(&mut self) -> Result<(SaProto, bool), Diagnostic> {
        let (word, span) = self.cursor.word("a protocol")?;
        let unsupported =
            |help: &str| self.cursor.remarks.error(span, format!("unsupported protocol `{word}`")).help(help);
        match word {
            "esp" => Ok((SaProto::Esp, false)),
            "esp-udp" => Ok((SaProto::Esp, true)),
            "ah" => Ok((SaProto::Ah, false)),
            "ipcomp" => Ok((SaProto::Ipcomp, false)),
            "esp-old" => Err(unsupported("use esp: RFC 1827 is obsolete")),
            "ah-old" => Err(unsupported("use ah: RFC 1826 is obsolete")),
            "tcp" => {
                Err(unsupported("signatures of TCP (RFC 2385) are no IPsec; no data plane here has them"))
            }
            _ => {
                Err(self.cursor.remarks.unknown(span, "protocol", word, &["esp", "esp-udp", "ah", "ipcomp"]))
            }
        }
    }

    fn spi(&mut self, proto: SaProto) -> Result<Spi, Diagnostic> {
        let span = self.cursor.span();
        let spi: u32 = self.number("an SPI")?;
        let error = |message: String, help: &str| Err(self.cursor.remarks.error(span, message).help(help));
        if proto == SaProto::Ipcomp {
            if spi > u32::from(u16::MAX) || spi < Spi::FIRST && Spi(spi) != Spi::DEFLATE {
                let help = "use 256 (0x100) to 65535 (0xffff), RFC 3173 section 3.3";
                return error(format!("{spi} is no index of ipcomp"), help);
            }
        } else if spi < Spi::FIRST {
            return error(format!("SPI {spi} is reserved"), "use 256 (0x100) or more, RFC 4303 section 2.1");
        }
        Ok(Spi(spi))
    }

    /// The options of an SA; with its algorithms, when it `has_keys` to have them. All that is wrong with them is said.
    fn extensions(&mut self, proto: SaProto, has_keys: bool) -> Result<Extensions, Diagnostic> {
        let mut found = Extensions::default();
        let mut seen = Vec::new();
        let mut wrong = None;
        while let Some(Kind::Word(word)) = self.cursor.peek() {
            let span = self.cursor.span();
            self.cursor.next();
            let read = match word != "-f" && seen.contains(&word) {
                true => Err(self.cursor.remarks.error(span, format!("{word} is given twice"))),
                false => self.extension(word, span, proto, has_keys, &mut found),
            };
            seen.push(word);
            if let Err(error) = read {
                self.cursor.remarks.list.extend(wrong.replace(error));
                if !self.finds_option() {
                    break;
                }
            }
        }
        if let Some(error) = wrong {
            return Err(error);
        }
        if let (Some((enc, ..)), Some((auth, _, span))) = (&found.enc, &found.auth)
            && enc.is_aead()
            && *auth != AuthAlgorithm::None
        {
            let message = format!("{} authenticates by itself", enc.setkey_name());
            return Err(self.cursor.remarks.error(*span, message).help("leave -A out"));
        }
        if let (Some(span), true, 0) = (found.esn, has_keys && proto != SaProto::Ipcomp, found.replay_window)
        {
            let message = "extended sequence numbers are told by the replay window";
            let help = "add -r 8 (64 packets) or more";
            return Err(self.cursor.remarks.error(span, message).help(help));
        }
        if has_keys && found.enc.is_none() && found.auth.is_none() && !found.compresses {
            let span = self.cursor.span();
            return Err(self.cursor.remarks.error(span, "no algorithm").help(match proto {
                SaProto::Ipcomp => "add -C deflate",
                SaProto::Ah => "add -A ALGORITHM KEY",
                SaProto::Esp => "add -E ALGORITHM KEY and -A ALGORITHM KEY",
            }));
        }
        Ok(found)
    }

    /// Goes to the next option of this command; whether there is one.
    fn finds_option(&mut self) -> bool {
        while let Some(Kind::Word(_) | Kind::Quoted(_)) = self.cursor.peek() {
            match self.cursor.peek() {
                Some(Kind::Word(word)) if OPTIONS.contains(&word) => return true,
                Some(Kind::Word(word)) if COMMANDS.contains(&word) => return false,
                _ => drop(self.cursor.next()),
            }
        }
        false
    }

    /// What belongs to an option.
    fn extension(
        &mut self,
        word: &str,
        span: Span,
        proto: SaProto,
        has_keys: bool,
        found: &mut Extensions,
    ) -> Result<(), Diagnostic> {
        match word {
            "-m" => found.mode = Some((self.mode()?, span.to(self.cursor.previous()))),
            "-r" => found.replay_window = self.replay_window()?,
            "-u" => found.reqid = ReqId(self.number("a reqid")?),
            "-f" => {
                if let Some(span) = self.flag()? {
                    found.esn = Some(span);
                }
            }
            "-lh" => found.hard.add_seconds = self.number("a number of seconds")?,
            "-ls" => {
                found.soft.add_seconds = self.number("a number of seconds")?;
                found.places.push(("-ls", span.to(self.cursor.previous())));
            }
            "-bh" => found.hard.bytes = self.number("a number of bytes")?,
            "-bs" => {
                found.soft.bytes = self.number("a number of bytes")?;
                found.places.push(("-bs", span.to(self.cursor.previous())));
            }
            "-ctx" => return Err(self.no_context(span)),
            "-hwif" => {
                let (interface, span) = self.cursor.word("an interface")?;
                if interface.len() > Offload::LONGEST_NAME {
                    let message = format!("`{interface}` is longer than names of interfaces are");
                    return Err(self.cursor.remarks.error(span, message));
                }
                found.offload = Some(Offload { interface: interface.to_owned(), inbound: None });
            }
            // FreeBSD's.
            "-esn" => found.esn = Some(span),
            "-E" | "-A" | "-C" if !has_keys => {
                let error = self.cursor.remarks.error(span, format!("{word} has no place here"));
                return Err(error.help("addresses, protocol and SPI tell which SA is meant"));
            }
            "-C" if proto == SaProto::Ipcomp => {
                self.compression()?;
                found.compresses = true;
            }
            "-C" => {
                let message = format!("{} does not compress", proto.setkey_name());
                let help = "an SA of ipcomp does, beside this one";
                return Err(self.cursor.remarks.error(span, message).help(help));
            }
            "-E" | "-A" if proto == SaProto::Ipcomp => {
                let error = self.cursor.remarks.error(span, "ipcomp has no keys");
                return Err(error.help("write -C deflate, and a second SA for esp"));
            }
            "-E" if proto == SaProto::Ah => {
                let error = self.cursor.remarks.error(span, "ah does not encrypt");
                return Err(error.help("leave -E out, or write esp"));
            }
            "-E" => found.enc = Some(self.encryption()?),
            "-A" => found.auth = Some(self.authentication(proto)?),
            _ => return Err(self.cursor.remarks.unknown(span, "option", word, &OPTIONS)),
        }
        Ok(())
    }

    fn mode(&mut self) -> Result<Mode, Diagnostic> {
        let (word, span) = self.cursor.word("a mode")?;
        match word {
            "transport" => Ok(Mode::Transport),
            "tunnel" => Ok(Mode::Tunnel),
            "any" => Ok(Mode::Any),
            _ => Err(self.cursor.remarks.unknown(span, "mode", word, &["transport", "tunnel", "any"])),
        }
    }

    /// Written in bytes of its bitmap, eight packets each.
    fn replay_window(&mut self) -> Result<u32, Diagnostic> {
        let span = self.cursor.span();
        let bytes: u32 = self.number("a window size")?;
        if bytes > Sa::MAX_WINDOW / 8 {
            let message = format!("a replay window has {} packets at the most", Sa::MAX_WINDOW);
            let help = format!("eight packets are a byte: write -r {}", Sa::MAX_WINDOW / 8);
            return Err(self.cursor.remarks.error(span, message).help(help));
        }
        Ok(bytes * 8)
    }

    /// Where it stands, when it is `esn`.
    fn flag(&mut self) -> Result<Option<Span>, Diagnostic> {
        let (flag, span) = self.cursor.word("a flag")?;
        match flag {
            // What is done anyway (RFC 4303 sections 2.4 and 3.3.3).
            "seq-pad" | "nocyclic-seq" => {}
            "zero-pad" | "random-pad" => {
                let message = "the padding is 1, 2, 3 and so on (RFC 4303 section 2.4)";
                self.cursor.remarks.warn(span, message, "leave it out, or write seq-pad");
            }
            "cyclic-seq" => {
                let message = "sequence numbers do not begin again (RFC 4303 section 3.3.3)";
                self.cursor.remarks.warn(span, message, "leave it out, or write nocyclic-seq");
            }
            "esn" => return Ok(Some(span)),
            _ => return Err(self.cursor.remarks.unknown(span, "flag", flag, &FLAGS)),
        }
        Ok(None)
    }

    /// `-ctx DOI ALGORITHM "label"`, of SELinux.
    pub(super) fn no_context(&self, span: Span) -> Diagnostic {
        let error = self.cursor.remarks.error(span, "unsupported option `-ctx`");
        error.help("leave it out: security contexts of SELinux are known to no data plane here")
    }

    fn compression(&mut self) -> Result<(), Diagnostic> {
        let (name, span) = self.cursor.word("a compression algorithm")?;
        if name != "deflate" {
            if is_compression(name) {
                return Err(self.unsupported(span, name, "deflate"));
            }
            return Err(self.cursor.remarks.unknown(span, "compression algorithm", name, &["deflate"]));
        }
        // The SPI is the index on the wire, as -R wants it and as the Linux kernel does anyway.
        self.cursor.accept_word("-R");
        Ok(())
    }

    fn unsupported(&self, span: Span, name: &str, instead: &str) -> Diagnostic {
        let error = self.cursor.remarks.error(span, format!("unsupported algorithm `{name}`"));
        error.help(format!("use {instead} instead, on both sides"))
    }

    fn encryption(&mut self) -> Result<(EncAlgorithm, Secret, Span), Diagnostic> {
        let (name, span) = self.cursor.word("an encryption algorithm")?;
        match encryption(name) {
            Some(Found::Ours(EncAlgorithm::Null)) => {
                self.null_key(name)?;
                Ok((EncAlgorithm::Null, Secret::default(), span))
            }
            Some(Found::Ours(ours)) => Ok((ours, self.key(name, |key| ours.check_key(key))?, span)),
            Some(Found::Instead(instead)) => Err(self.unsupported(span, name, instead)),
            None => Err(self.cursor.remarks.unknown(span, "encryption algorithm", name, &encryption_names())),
        }
    }

    fn authentication(&mut self, proto: SaProto) -> Result<(AuthAlgorithm, Secret, Span), Diagnostic> {
        let (name, span) = self.cursor.word("an authentication algorithm")?;
        match authentication(name) {
            Some(Found::Ours(AuthAlgorithm::None)) if proto == SaProto::Ah => {
                let error = self.cursor.remarks.error(span, "ah without authentication is of no use");
                Err(error.help("use hmac-sha256"))
            }
            Some(Found::Ours(AuthAlgorithm::None)) => {
                self.null_key(name)?;
                Ok((AuthAlgorithm::None, Secret::default(), span))
            }
            Some(Found::Ours(ours)) => Ok((ours, self.key(name, |key| ours.check_key(key))?, span)),
            Some(Found::Instead(instead)) => Err(self.unsupported(span, name, instead)),
            None => {
                let names = authentication_names();
                Err(self.cursor.remarks.unknown(span, "authentication algorithm", name, &names))
            }
        }
    }

    /// A key that has nothing to do, when there is one.
    fn null_key(&mut self, algorithm: &str) -> Result<(), Diagnostic> {
        let is_key = match self.cursor.peek() {
            Some(Kind::Quoted(_)) => true,
            Some(Kind::Word(word)) => word.starts_with("0x"),
            _ => false,
        };
        if is_key {
            let span = self.cursor.span();
            let bits = self.key_bytes(algorithm)?.len() * 8;
            if bits > MAX_NULL_KEY {
                let message = format!(
                    "{algorithm} takes a key of {MAX_NULL_KEY} bits at the most, this one has {bits}"
                );
                return Err(self.cursor.remarks.error(span, message).help("leave it out"));
            }
        }
        Ok(())
    }

    /// A key that the algorithm can use.
    fn key(
        &mut self,
        algorithm: &str,
        check: impl Fn(&[u8]) -> Result<(), String>,
    ) -> Result<Secret, Diagnostic> {
        let span = self.cursor.span();
        let key = self.key_bytes(algorithm)?;
        check(key.expose()).map_err(|message| self.cursor.remarks.error(span, message))?;
        // 0x are two of them.
        let written = self.cursor.remarks.source.text.get(span.start..span.end).unwrap_or("");
        if !written.starts_with('"') && written.len() % 2 == 1 {
            let message =
                format!("this key has {} digits: it is read with a 0 before them", written.len() - 2);
            self.cursor.remarks.warn(span, message, "look for a digit that was lost, or write the 0");
        }
        Ok(key)
    }

    /// `"text"`, whose bytes it is, or 0x and hexadecimal digits, of which an odd number begins with a 0.
    fn key_bytes(&mut self, algorithm: &str) -> Result<Secret, Diagnostic> {
        let span = self.cursor.span();
        match self.cursor.peek() {
            Some(Kind::Quoted(text)) => {
                self.cursor.next();
                Ok(Secret::new(self.cursor.remarks.source.bytes_of(text)))
            }
            Some(Kind::Word(word)) if !word.starts_with('-') => {
                self.cursor.next();
                let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
                digits.and_then(hex).map(Secret::new).ok_or_else(|| {
                    let error = self.cursor.remarks.error(span, "this is not a key");
                    error.help("write \"text\" or 0x and hexadecimal digits")
                })
            }
            _ => Err(self.cursor.remarks.error(span, format!("the key of {algorithm} is missing"))),
        }
    }
}
