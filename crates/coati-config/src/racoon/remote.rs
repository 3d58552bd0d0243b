//! `remote`: its header, what it inherits, and its directives.

use crate::diagnostic::Span;
use crate::lexer::Kind;
use crate::racoon::identifier::IdentityOf;
use crate::racoon::model::{
    Certificate, ExchangeMode, FileName, GeneratePolicy, IkeFrag, NatTraversal, PeersCertificate,
    ProposalCheck, Rekey, Remote, RemoteWho, Script, ScriptEvent,
};
use crate::racoon::parser::{Block, Parsed, Parser, WrittenLifetimes};

const REMOTE: Block = Block {
    what: "directive",
    words: &[
        "remote_address",
        "exchange_mode",
        "doi",
        "situation",
        "my_identifier",
        "peers_identifier",
        "verify_identifier",
        "certificate_type",
        "ca_type",
        "peers_certfile",
        "verify_cert",
        "send_cert",
        "send_cr",
        "match_empty_cr",
        "initial_contact",
        "passive",
        "proposal_check",
        "support_proxy",
        "generate_policy",
        "nat_traversal",
        "ike_frag",
        "esp_frag",
        "dpd",
        "dpd_delay",
        "dpd_retry",
        "dpd_maxfail",
        "rekey",
        "nonce_size",
        "ph1id",
        "lifetime",
        "dh_group",
        "script",
        "mode_cfg",
        "xauth_login",
        "weak_phase1_check",
        "proposal",
    ],
    repeatable: &["peers_identifier", "lifetime", "script", "proposal"],
};

const ON_OFF_FORCE: [&str; 3] = ["on", "off", "force"];

impl<'a> Parser<'a, '_, '_> {
    pub(super) fn remote(&mut self, opener: Span) -> Parsed<()> {
        let who_span = self.cursor.span();
        let who = self.who()?;
        let origin = self.origin(opener);
        let mut remote = Remote::new(who.clone(), origin.clone());
        let mut lifetimes = WrittenLifetimes::default();
        let mut only_header = false;
        let errors_before = self.cursor.remarks.errors();
        if self.cursor.accept_word("inherit") {
            (remote, lifetimes) = self.parent(&who)?;
            let inherited = remote.who.endpoint().cloned();
            remote = Remote { who, origin, ..remote };
            if let RemoteWho::Named { address, .. } = &mut remote.who {
                *address = inherited;
            }
            only_header = self.cursor.accept(';');
        }
        if !only_header {
            self.remote_body(opener, &mut remote, &mut lifetimes)?;
        }
        self.duplicate_remote(&remote, who_span);
        for (proposal, own) in remote.proposals.iter_mut().zip(&lifetimes.proposals) {
            proposal.lifetime = own.or(lifetimes.remote).resolved();
        }
        // A block that could not be read in full is not blamed for what may have been there.
        if self.cursor.remarks.errors() == errors_before {
            self.check_remote(opener, &remote);
        }
        self.state.conf.remotes.push(remote);
        self.state.lifetimes.push(lifetimes);
        Ok(())
    }

    fn remote_body(
        &mut self,
        opener: Span,
        remote: &mut Remote,
        lifetimes: &mut WrittenLifetimes,
    ) -> Parsed<()> {
        // Lists of its own take the place of inherited ones.
        let (mut own_proposals, mut own_identifiers, mut own_address) = (Vec::new(), Vec::new(), false);
        let mut own_lifetime = lifetimes.remote;
        self.block(opener, &REMOTE, |parser, word, span| {
            match word {
                "proposal" => {
                    own_proposals.extend(parser.proposal(span)?);
                    return Ok(());
                }
                "lifetime" => parser.lifetime(&mut own_lifetime)?,
                "peers_identifier" => {
                    let identifier = parser.identifier(IdentityOf::Peer)?;
                    own_identifiers.push((identifier, parser.origin(span)));
                }
                "remote_address" => parser.remote_address(remote, span, &mut own_address)?,
                "verify_identifier" | "verify_cert" | "send_cert" | "send_cr" | "match_empty_cr"
                | "initial_contact" | "passive" | "support_proxy" | "dpd" | "mode_cfg" => {
                    let on = parser.switch()?;
                    set_switch(remote, word, on);
                }
                "certificate_type" | "ca_type" | "peers_certfile" | "script" => {
                    parser.file_directive(remote, word, span)?;
                }
                "ike_frag" | "esp_frag" | "nat_traversal" | "dpd_delay" | "dpd_retry" | "dpd_maxfail" => {
                    parser.path_directive(remote, word, span)?;
                }
                _ => parser.negotiation_directive(remote, word, span)?,
            }
            parser.end()
        })?;
        lifetimes.remote = own_lifetime;
        if !own_identifiers.is_empty() {
            remote.peers_identifiers = own_identifiers;
        }
        if !own_proposals.is_empty() {
            (remote.proposals, lifetimes.proposals) = own_proposals.into_iter().unzip();
        }
        Ok(())
    }

    /// `ADDR [port]`, `anonymous [port]` or `"name"`.
    fn who(&mut self) -> Parsed<RemoteWho> {
        if self.cursor.accept_word("anonymous") {
            return Ok(RemoteWho::Anonymous { port: self.port()?.unwrap_or(500) });
        }
        if let Some(Kind::Quoted(_)) = self.cursor.peek() {
            return Ok(RemoteWho::Named { name: self.text("a name")?, address: None });
        }
        self.udp_endpoint(500).map(RemoteWho::Address)
    }

    /// The block that is inherited: by name only from a named one, else by address or `anonymous`.
    fn parent(&mut self, heir: &RemoteWho) -> Parsed<(Remote, WrittenLifetimes)> {
        let span = self.cursor.span();
        let wanted = self.who()?;
        let same = |who: &RemoteWho| match (who, &wanted) {
            (RemoteWho::Address(one), RemoteWho::Address(other)) => {
                (one.address, &one.zone) == (other.address, &other.zone)
            }
            (RemoteWho::Anonymous { .. }, RemoteWho::Anonymous { .. }) => true,
            (RemoteWho::Named { name: one, .. }, RemoteWho::Named { name: other, .. }) => one == other,
            _ => false,
        };
        let named = |who: &RemoteWho| matches!(who, RemoteWho::Named { .. });
        if named(heir) && !named(&wanted) {
            let error = self.error(span, "a named remote can only inherit from a named one");
            return Err(error.help("give the other block a name, and its address as `remote_address`"));
        }
        let mut both = self.state.conf.remotes.iter().zip(&self.state.lifetimes).rev();
        let found = both.find(|(remote, _)| same(&remote.who));
        found.map(|(remote, lifetimes)| (remote.clone(), lifetimes.clone())).ok_or_else(|| {
            let there: Vec<String> =
                self.state.conf.remotes.iter().take(8).map(|remote| remote.who.to_string()).collect();
            let help = match there.as_slice() {
                [] => "write the block that is inherited before this one".to_owned(),
                there => format!("before this one there are: {}", there.join(", ")),
            };
            self.error(span, format!("there is no `remote {wanted}` to inherit from")).help(help)
        })
    }

    /// Another block for the same peer, or of the same name.
    fn duplicate_remote(&mut self, remote: &Remote, span: Span) {
        let Some(place) = self.written_before(format!("remote {}", remote.who), &remote.origin) else {
            return;
        };
        if let RemoteWho::Named { name, .. } = &remote.who {
            let error = self.error(span, format!("there is a remote \"{name}\" already, at {place}"));
            self.report(error.help("give one of them another name"));
        } else {
            let message = format!("there is a `remote {}` already, at {place}", remote.who);
            self.warn(span, message, "of two that fit a peer alike none begins a connection: remove one");
        }
    }

    fn remote_address(&mut self, remote: &mut Remote, span: Span, own: &mut bool) -> Parsed<()> {
        let endpoint = self.udp_endpoint(500)?;
        match &mut remote.who {
            RemoteWho::Named { address, .. } if !*own => {
                *address = Some(endpoint);
                *own = true;
                Ok(())
            }
            RemoteWho::Named { .. } => Err(self.error(span, "this block has a remote_address already")),
            _ => {
                let error = self.error(span, "only a named remote has a remote_address");
                Err(error.help("the address of this one is in its first line: remove it here"))
            }
        }
    }

    /// Directives that name files.
    fn file_directive(&mut self, remote: &mut Remote, word: &str, span: Span) -> Parsed<()> {
        match word {
            "certificate_type" => {
                remote.certificate =
                    Some(if self.choice("kind of certificate", &[("x509", true), ("plain_rsa", false)])? {
                        let certificate = self.file("the certificate")?;
                        Certificate::X509 { certificate, key: self.file("its private key")? }
                    } else {
                        Certificate::PlainRsa { key: self.file("the private key")? }
                    });
            }
            "ca_type" => {
                self.choice("kind of certificate", &[("x509", ())])?;
                remote.ca = Some(self.file("the certificate of the CA")?);
            }
            "peers_certfile" => {
                let kind = match self.cursor.peek() {
                    Some(Kind::Quoted(_)) => {
                        let help = "write: peers_certfile x509 \"…\";";
                        self.warn(span, "peers_certfile without a kind is taken as x509", help);
                        0
                    }
                    _ => {
                        self.choice("kind of certificate", &[("x509", 0), ("plain_rsa", 1), ("dnssec", 2)])?
                    }
                };
                remote.peers_certificate = Some(match kind {
                    0 => PeersCertificate::X509(self.file("the peer's certificate")?),
                    1 => PeersCertificate::PlainRsa(self.file("the peer's public key")?),
                    _ => {
                        let error = self.error(span, "certificates are not looked up in the DNS");
                        return Err(error.help("save it in a file and write: peers_certfile x509 \"…\";"));
                    }
                });
            }
            _ => {
                let file = self.file("the script")?;
                let events = ScriptEvent::ALL.map(|event| (event.name(), event));
                let event = self.choice("event", &events)?;
                remote.scripts.retain(|script| script.event != event);
                remote.scripts.push(Script { event, file });
            }
        }
        Ok(())
    }

    /// A file in quotes.
    pub(super) fn file(&mut self, what: &str) -> Parsed<FileName> {
        let span = self.cursor.span();
        Ok(FileName { name: self.text(what)?, origin: self.origin(span) })
    }

    /// Directives about the way between the peers.
    fn path_directive(&mut self, remote: &mut Remote, word: &str, span: Span) -> Parsed<()> {
        match word {
            "ike_frag" => {
                remote.ike_frag = match self.word_of("value", &ON_OFF_FORCE)? {
                    "on" => IkeFrag::On,
                    "force" => IkeFrag::Force,
                    _ => IkeFrag::Off,
                };
            }
            "nat_traversal" => {
                remote.nat_traversal = match self.word_of("value", &ON_OFF_FORCE)? {
                    "on" => NatTraversal::On,
                    "force" => NatTraversal::Force,
                    _ => NatTraversal::Off,
                };
            }
            "dpd_delay" => remote.dpd_delay = self.plain_seconds(word)?,
            "dpd_retry" => remote.dpd_retry = self.plain_seconds(word)?,
            "dpd_maxfail" => remote.dpd_maxfail = self.cursor.number("a number")?,
            _ => {
                let size = self.ranged("a size in bytes", 0, 65_535)?;
                if size != 65_535 {
                    let message =
                        "esp_frag makes no difference: packets are cut before ESP by the MTU of the tunnel";
                    self.warn(span, message, "remove it, and set the MTU of the tunnel instead");
                }
            }
        }
        Ok(())
    }

    /// Directives about what is negotiated, and with whom.
    fn negotiation_directive(&mut self, remote: &mut Remote, word: &str, span: Span) -> Parsed<()> {
        let value = self.cursor.span();
        match word {
            "exchange_mode" => remote.exchange_modes = self.exchange_modes()?,
            "doi" => drop(self.word_of("doi", &["ipsec_doi"])?),
            "situation" => {
                let situation = self.word_of("situation", &["identity_only", "secrecy", "integrity"])?;
                if situation != "identity_only" {
                    let error = self.error(value, format!("the situation `{situation}` was never supported"));
                    return Err(error.help("write: situation identity_only;"));
                }
            }
            "my_identifier" => remote.my_identifier = self.identifier(IdentityOf::Peer)?,
            "proposal_check" => {
                remote.proposal_check = match self.word_of("value", &["obey", "strict", "claim", "exact"])? {
                    "obey" => ProposalCheck::Obey,
                    "claim" => ProposalCheck::Claim,
                    "exact" => ProposalCheck::Exact,
                    _ => ProposalCheck::Strict,
                };
                remote.proposal_check_origin = self.origin(span);
            }
            "generate_policy" => {
                remote.generate_policy = match self.word_of("value", &["on", "off", "require", "unique"])? {
                    "off" => GeneratePolicy::Off,
                    "unique" => GeneratePolicy::Unique,
                    _ => GeneratePolicy::Require,
                };
            }
            "rekey" => {
                remote.rekey = match self.word_of("value", &ON_OFF_FORCE)? {
                    "off" => Rekey::Off,
                    "force" => Rekey::Force,
                    _ => Rekey::On,
                };
            }
            "nonce_size" => {
                let size: u16 = self.cursor.number("a size from 8 to 256 bytes")?;
                if !(8..=256).contains(&size) {
                    return Err(self.error(value, "a nonce has 8 to 256 bytes"));
                }
                remote.nonce_size = size;
            }
            "ph1id" => remote.ph1id = self.cursor.number("a number")?,
            "xauth_login" => remote.xauth_login = Some(self.text("a login")?),
            "weak_phase1_check" => {
                if self.switch()? {
                    let message =
                        "weak_phase1_check is not obeyed: what nobody authenticated is never believed";
                    self.warn(
                        span,
                        message,
                        "remove it; dead peer detection finds lost peers: dpd_delay 20;",
                    );
                }
            }
            _ => {
                let error = self.error(span, "dh_group cannot be defined here");
                return Err(error.help("it belongs into the proposal { … } block"));
            }
        }
        Ok(())
    }

    /// One of these words.
    pub(super) fn word_of(&mut self, what: &str, words: &[&'static str]) -> Parsed<&'static str> {
        let words: Vec<(&'static str, &'static str)> = words.iter().map(|word| (*word, *word)).collect();
        self.choice(what, &words)
    }

    /// `main, aggressive`; commas may be left out.
    fn exchange_modes(&mut self) -> Parsed<Vec<ExchangeMode>> {
        let all = [
            ("main", Some(ExchangeMode::Main)),
            ("aggressive", Some(ExchangeMode::Aggressive)),
            ("base", None),
        ];
        let (mut modes, mut base) = (Vec::new(), None);
        loop {
            let span = self.cursor.span();
            match self.choice("exchange mode", &all)? {
                Some(mode) if modes.contains(&mode) => {}
                Some(mode) => modes.push(mode),
                None => base = Some(span),
            }
            let comma = self.cursor.accept(',');
            let another = match self.cursor.peek() {
                Some(Kind::Word(word)) => {
                    let mode = all.iter().any(|(name, _)| *name == word);
                    let directive = REMOTE.words.contains(&word) || self.on_new_line();
                    comma || mode || !directive
                }
                _ => comma,
            };
            if !another {
                break;
            }
        }
        let message = "base mode is not spoken: hardly any peer has it";
        match base {
            Some(span) if modes.is_empty() => {
                Err(self.error(span, message).help("write: exchange_mode main;"))
            }
            Some(span) => {
                self.warn(span, message, "remove it from the list");
                Ok(modes)
            }
            None => Ok(modes),
        }
    }
}

fn set_switch(remote: &mut Remote, word: &str, on: bool) {
    let switch = match word {
        "verify_identifier" => &mut remote.verify_identifier,
        "verify_cert" => &mut remote.verify_cert,
        "send_cert" => &mut remote.send_cert,
        "send_cr" => &mut remote.send_cr,
        "match_empty_cr" => &mut remote.match_empty_cr,
        "initial_contact" => &mut remote.initial_contact,
        "passive" => &mut remote.passive,
        "support_proxy" => &mut remote.support_proxy,
        "dpd" => &mut remote.dpd,
        _ => &mut remote.mode_cfg,
    };
    *switch = on;
}
