//! `mode_cfg`, and the two blocks that say where racoon looks users up: `ldapcfg` and `radiuscfg`, which are checked and
//! then answered.

use std::net::{IpAddr, Ipv4Addr};

use coati_sadb::Prefix;

use crate::diagnostic::Span;
use crate::lexer::Kind;
use crate::racoon::model::{Accounting, ModeCfg, SplitKind, SplitNetwork};
use crate::racoon::parser::{Block, Parsed, Parser};

const MODE_CFG: Block = Block {
    what: "statement of `mode_cfg`",
    words: &[
        "network4",
        "netmask4",
        "pool_size",
        "dns4",
        "wins4",
        "nbns4",
        "default_domain",
        "split_network",
        "split_dns",
        "banner",
        "pfs_group",
        "save_passwd",
        "auth_source",
        "auth_groups",
        "group_source",
        "conf_source",
        "accounting",
        "auth_throttle",
    ],
    repeatable: &["dns4", "wins4", "nbns4", "split_network", "split_dns", "auth_groups"],
};
const LDAP: Block = Block {
    what: "statement of `ldapcfg`",
    words: &[
        "version",
        "host",
        "port",
        "uri",
        "timeout",
        "debug",
        "base",
        "subtree",
        "bind_dn",
        "bind_pw",
        "attr_user",
        "attr_addr",
        "attr_mask",
        "attr_group",
        "attr_member",
    ],
    repeatable: &[],
};
const RADIUS: Block = Block {
    what: "statement of `radiuscfg`",
    words: &["auth", "acct", "timeout", "retries"],
    repeatable: &["auth", "acct"],
};

impl Parser<'_, '_, '_> {
    pub(super) fn mode_cfg(&mut self, opener: Span) -> Parsed<()> {
        let mut conf = self.state.conf.mode_cfg.clone();
        conf.origin = self.origin(opener);
        self.block(opener, &MODE_CFG, |parser, word, span| {
            parser.mode_cfg_statement(&mut conf, word, span)?;
            parser.end()
        })?;
        if let (Some(network), Some(netmask)) = (conf.network4, conf.netmask4)
            && conf.pool_size > !netmask.to_bits()
            && netmask != Ipv4Addr::BROADCAST
        {
            let message =
                format!("pool_size {} is more than the network {network}/{netmask} has", conf.pool_size);
            self.warn(
                opener,
                message,
                format!("write: pool_size {};", (!netmask.to_bits()).saturating_sub(1)),
            );
        }
        self.state.conf.mode_cfg = conf;
        Ok(())
    }

    fn mode_cfg_statement(&mut self, conf: &mut ModeCfg, word: &str, span: Span) -> Parsed<()> {
        match word {
            "network4" => conf.network4 = Some(self.ipv4()?),
            "netmask4" => conf.netmask4 = Some(self.netmask()?),
            "pool_size" => {
                conf.pool_size = self.ranged("a number of addresses", 1, ModeCfg::MOST_ADDRESSES)?
            }
            "dns4" => self.servers(&mut conf.dns4, ModeCfg::MOST_DNS, "name servers")?,
            "wins4" | "nbns4" => self.servers(&mut conf.wins4, ModeCfg::MOST_WINS, "WINS servers")?,
            "default_domain" => conf.default_domain = Some(self.text("a domain")?),
            "split_network" => self.split_network(conf)?,
            "split_dns" => conf.split_dns.extend(self.list(|parser| parser.text("a domain"))?),
            "banner" => conf.banner = Some(self.file("a file")?),
            "pfs_group" => {
                let none = self.cursor.accept_word("0");
                conf.pfs_group = if none { None } else { Some(self.group()?) };
            }
            "save_passwd" => conf.save_passwd = self.switch()?,
            "auth_groups" => conf.auth_groups.extend(self.list(|parser| parser.text("a group"))?),
            "auth_source" => self.source_of("auth_source", "system", &["radius", "pam", "ldap"])?,
            "group_source" => self.source_of("group_source", "system", &["ldap"])?,
            "conf_source" => self.source_of("conf_source", "local", &["radius", "ldap"])?,
            "accounting" => {
                let there = [
                    ("none", Some(Accounting::None)),
                    ("system", Some(Accounting::System)),
                    ("radius", None),
                    ("pam", None),
                ];
                let value = self.cursor.span();
                match self.choice("kind of accounting", &there)? {
                    Some(accounting) => conf.accounting = accounting,
                    None => {
                        let error = self.error(value, "Coati keeps no accounts with RADIUS or PAM");
                        return Err(error.help("write `accounting system;` or `accounting none;`"));
                    }
                }
            }
            "auth_throttle" => conf.auth_throttle = self.ranged("a number of seconds", 0, 3600)?,
            _ => return Err(self.cursor.remarks.unknown(span, MODE_CFG.what, word, MODE_CFG.words)),
        }
        Ok(())
    }

    /// The one source that there is; the others are answered.
    fn source_of(&mut self, directive: &str, ours: &'static str, others: &[&'static str]) -> Parsed<()> {
        let span = self.cursor.span();
        let words: Vec<(&'static str, bool)> =
            std::iter::once((ours, true)).chain(others.iter().map(|other| (*other, false))).collect();
        if self.choice("source", &words)? {
            return Ok(());
        }
        let error = self.error(span, "Coati asks neither RADIUS nor LDAP nor PAM");
        Err(error.help(format!("write `{directive} {ours};`")))
    }

    fn ipv4(&mut self) -> Parsed<Ipv4Addr> {
        let (word, span) = self.cursor.word("an IPv4 address")?;
        match self.ip(word, span)? {
            IpAddr::V4(address) => Ok(address),
            IpAddr::V6(_) => Err(self.error(span, format!("`{word}` is not an IPv4 address"))),
        }
    }

    fn netmask(&mut self) -> Parsed<Ipv4Addr> {
        let span = self.cursor.span();
        let mask = self.ipv4()?;
        if mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() < 32 {
            let error =
                self.error(span, format!("`{mask}` is not a netmask: its ones are not all at the front"));
            return Err(error.help("for example 255.255.255.0"));
        }
        Ok(mask)
    }

    fn servers(&mut self, servers: &mut Vec<Ipv4Addr>, most: usize, what: &str) -> Parsed<()> {
        let span = self.cursor.span();
        servers.extend(self.list(Self::ipv4)?);
        if servers.len() > most {
            servers.truncate(most);
            return Err(self.error(span, format!("clients are given at most {most} {what}")));
        }
        Ok(())
    }

    fn split_network(&mut self, conf: &mut ModeCfg) -> Parsed<()> {
        let kind =
            self.choice("kind", &[("include", SplitKind::Include), ("local_lan", SplitKind::LocalLan)])?;
        let networks = self.list(Self::network4)?;
        match &mut conf.split_network {
            Some(split) if split.kind == kind => split.networks.extend(networks),
            slot => *slot = Some(SplitNetwork { kind, networks }),
        }
        Ok(())
    }

    /// `NET/N` of IPv4.
    fn network4(&mut self) -> Parsed<Prefix> {
        let (prefix, span) = self.prefix()?;
        if prefix.address.is_ipv6() {
            return Err(self.error(span, format!("`{prefix}` is not an IPv4 network")));
        }
        Ok(prefix)
    }

    pub(super) fn ldapcfg(&mut self, opener: Span) -> Parsed<()> {
        self.block(opener, &LDAP, |parser, word, _| {
            match word {
                "version" => drop(parser.ranged("a version of LDAP", 2, 3)?),
                "port" => drop(parser.ranged("a port", 1, 65_535)?),
                "timeout" | "debug" => drop(parser.cursor.number::<u32>("a number")?),
                "subtree" => drop(parser.switch()?),
                _ => drop(parser.cursor.quoted("a value")?),
            }
            parser.end()
        })?;
        let help = "remove it; `auth_source system;` in mode_cfg asks this machine";
        self.warn(opener, "ldapcfg is not used: Coati asks no LDAP server", help);
        Ok(())
    }

    pub(super) fn radiuscfg(&mut self, opener: Span) -> Parsed<()> {
        self.block(opener, &RADIUS, |parser, word, _| {
            match word {
                "timeout" | "retries" => drop(parser.cursor.number::<u32>("a number")?),
                _ => {
                    parser.text("a host")?;
                    // racoon wants the port without brackets.
                    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
                    match parser.cursor.peek() {
                        Some(Kind::Word(word)) if digits(word) => {
                            parser.ranged("a port", 1, 65_535)?;
                        }
                        _ => drop(parser.port()?),
                    }
                    parser.cursor.quoted("a secret")?;
                }
            }
            parser.end()
        })?;
        let help = "remove it; `auth_source system;` in mode_cfg asks this machine";
        self.warn(opener, "radiuscfg is not used: Coati asks no RADIUS server", help);
        Ok(())
    }
}
