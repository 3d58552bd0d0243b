//! The effective configuration as racoon.conf would have it: what `racoon -C` shows. Read again, it gives the same
//! model.

use std::fmt::{self, Display, Formatter};

use crate::racoon::model::{
    Account, Accounting, Adminsock, Certificate, Endpoint, EndpointPort, ExchangeMode, GeneratePolicy,
    GssIdEncoding, IkeFrag, Lifetime, Listen, LogLevel, ModeCfg, NatTraversal, Padding, Paths,
    PeersCertificate, Privsep, Proposal, ProposalCheck, RacoonConf, Rekey, Remote, RemoteWho, SaInfo,
    SainfoId, SplitKind, Timer,
};
use crate::racoon::sainfo::protocol_name;

impl Display for RacoonConf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.paths)?;
        writeln!(f, "log {};", self.log)?;
        if self.pfkey_buffer != 0 {
            writeln!(f, "pfkey_buffer {};", self.pfkey_buffer)?;
        }
        if self.gss_id_enc == GssIdEncoding::Latin1 {
            writeln!(f, "gss_id_enc latin1;")?;
        }
        write!(f, "{}{}{}{}", self.timer, self.listen, self.padding, self.privsep)?;
        if self.mode_cfg != ModeCfg::default() {
            write!(f, "{}", self.mode_cfg)?;
        }
        self.remotes.iter().try_for_each(|remote| remote.fmt(f))?;
        self.sainfos.iter().try_for_each(|info| info.fmt(f))
    }
}

impl Display for Paths {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (kind, entry) in [
            ("include", &self.include),
            ("pre_shared_key", &self.pre_shared_key),
            ("certificate", &self.certificate),
            ("script", &self.script),
            ("pidfile", &self.pidfile),
        ] {
            if let Some(entry) = entry {
                writeln!(f, "path {kind} \"{}\";", entry.path)?;
            }
        }
        Ok(())
    }
}

impl Display for LogLevel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notify => "notify",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Debug2 => "debug2",
        })
    }
}

impl Display for Timer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "timer {{")?;
        writeln!(f, "\tcounter {};", self.counter)?;
        writeln!(f, "\tinterval {} sec;", self.interval)?;
        writeln!(f, "\tpersend {};", self.persend)?;
        writeln!(f, "\tphase1 {} sec;", self.phase1)?;
        writeln!(f, "\tphase2 {} sec;", self.phase2)?;
        writeln!(f, "\tnatt_keepalive {} sec;", self.natt_keepalive)?;
        writeln!(f, "}}")
    }
}

impl Display for Listen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        writeln!(f, "listen {{")?;
        for (endpoint, _) in &self.isakmp {
            writeln!(f, "\tisakmp {endpoint};")?;
        }
        for (endpoint, _) in &self.isakmp_natt {
            writeln!(f, "\tisakmp_natt {endpoint};")?;
        }
        if self.strict_address {
            writeln!(f, "\tstrict_address;")?;
        }
        match &self.adminsock {
            Adminsock::Usual => {}
            Adminsock::Disabled => writeln!(f, "\tadminsock disabled;")?,
            Adminsock::At { path, owner, group, mode, .. } => {
                writeln!(f, "\tadminsock \"{path}\" {owner} {group} {mode:04o};")?;
            }
        }
        writeln!(f, "}}")
    }
}

impl Display for Account {
    /// In quotes, which numbers may have too.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "\"{id}\""),
            Self::Name(name) => write!(f, "\"{name}\""),
        }
    }
}

impl Display for Padding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        writeln!(f, "padding {{")?;
        writeln!(f, "\trandomize {};", on_off(self.randomize))?;
        writeln!(f, "\trandomize_length {};", on_off(self.randomize_length))?;
        writeln!(f, "\tmaximum_length {};", self.maximum_length)?;
        writeln!(f, "\texclusive_tail {};", on_off(self.exclusive_tail))?;
        writeln!(f, "\tstrict_check {};", on_off(self.strict_check))?;
        writeln!(f, "}}")
    }
}

impl Display for Privsep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if *self == Self::default() {
            return Ok(());
        }
        writeln!(f, "privsep {{")?;
        writeln!(f, "\tuser {};", self.user)?;
        writeln!(f, "\tgroup {};", self.group)?;
        if let Some(chroot) = &self.chroot {
            writeln!(f, "\tchroot \"{}\";", chroot.path)?;
        }
        writeln!(f, "}}")
    }
}

impl Display for ModeCfg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "mode_cfg {{")?;
        if let Some(network) = self.network4 {
            writeln!(f, "\tnetwork4 {network};")?;
        }
        if let Some(netmask) = self.netmask4 {
            writeln!(f, "\tnetmask4 {netmask};")?;
        }
        writeln!(f, "\tpool_size {};", self.pool_size)?;
        if !self.dns4.is_empty() {
            writeln!(f, "\tdns4 {};", joined(&self.dns4))?;
        }
        if !self.wins4.is_empty() {
            writeln!(f, "\twins4 {};", joined(&self.wins4))?;
        }
        if let Some(domain) = &self.default_domain {
            writeln!(f, "\tdefault_domain \"{domain}\";")?;
        }
        if let Some(split) = &self.split_network {
            let kind = match split.kind {
                SplitKind::Include => "include",
                SplitKind::LocalLan => "local_lan",
            };
            writeln!(f, "\tsplit_network {kind} {};", joined(&split.networks))?;
        }
        if !self.split_dns.is_empty() {
            writeln!(f, "\tsplit_dns {};", quoted(&self.split_dns))?;
        }
        if let Some(banner) = &self.banner {
            writeln!(f, "\tbanner \"{}\";", banner.name)?;
        }
        if let Some(group) = self.pfs_group {
            writeln!(f, "\tpfs_group {group};")?;
        }
        writeln!(f, "\tsave_passwd {};", on_off(self.save_passwd))?;
        if !self.auth_groups.is_empty() {
            writeln!(f, "\tauth_groups {};", quoted(&self.auth_groups))?;
        }
        let accounting = match self.accounting {
            Accounting::None => "none",
            Accounting::System => "system",
        };
        writeln!(f, "\taccounting {accounting};")?;
        writeln!(f, "\tauth_throttle {};", self.auth_throttle)?;
        writeln!(f, "}}")
    }
}

impl Display for RemoteWho {
    /// As the first line of the block has it.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(endpoint) => endpoint.fmt(f),
            Self::Anonymous { port } => write!(f, "anonymous [{port}]"),
            Self::Named { name, .. } => write!(f, "\"{name}\""),
        }
    }
}

impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "remote {} {{", self.who)?;
        if let RemoteWho::Named { address: Some(address), .. } = &self.who {
            writeln!(f, "\tremote_address {address};")?;
        }
        let modes: Vec<&str> = self.exchange_modes.iter().map(|mode| mode.name()).collect();
        if !modes.is_empty() {
            writeln!(f, "\texchange_mode {};", modes.join(", "))?;
        }
        writeln!(f, "\tmy_identifier {};", self.my_identifier)?;
        for (identifier, _) in &self.peers_identifiers {
            writeln!(f, "\tpeers_identifier {identifier};")?;
        }
        writeln!(f, "\tverify_identifier {};", on_off(self.verify_identifier))?;
        self.fmt_certificates(f)?;
        writeln!(f, "\tinitial_contact {};", on_off(self.initial_contact))?;
        writeln!(f, "\tpassive {};", on_off(self.passive))?;
        writeln!(f, "\tproposal_check {};", self.proposal_check.name())?;
        writeln!(f, "\tsupport_proxy {};", on_off(self.support_proxy))?;
        writeln!(f, "\tgenerate_policy {};", self.generate_policy.name())?;
        writeln!(f, "\tnat_traversal {};", self.nat_traversal.name())?;
        writeln!(f, "\tike_frag {};", self.ike_frag.name())?;
        writeln!(f, "\tdpd {};", on_off(self.dpd))?;
        writeln!(f, "\tdpd_delay {};", self.dpd_delay)?;
        writeln!(f, "\tdpd_retry {};", self.dpd_retry)?;
        writeln!(f, "\tdpd_maxfail {};", self.dpd_maxfail)?;
        writeln!(f, "\trekey {};", self.rekey.name())?;
        writeln!(f, "\tnonce_size {};", self.nonce_size)?;
        if self.ph1id != 0 {
            writeln!(f, "\tph1id {};", self.ph1id)?;
        }
        for script in &self.scripts {
            writeln!(f, "\tscript \"{}\" {};", script.file.name, script.event.name())?;
        }
        writeln!(f, "\tmode_cfg {};", on_off(self.mode_cfg))?;
        if let Some(login) = &self.xauth_login {
            writeln!(f, "\txauth_login \"{login}\";")?;
        }
        self.proposals.iter().try_for_each(|proposal| proposal.fmt(f))?;
        writeln!(f, "}}")
    }
}

impl Remote {
    fn fmt_certificates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.certificate {
            Some(Certificate::X509 { certificate, key }) => {
                writeln!(f, "\tcertificate_type x509 \"{}\" \"{}\";", certificate.name, key.name)?;
            }
            Some(Certificate::PlainRsa { key }) => {
                writeln!(f, "\tcertificate_type plain_rsa \"{}\";", key.name)?;
            }
            None => {}
        }
        if let Some(ca) = &self.ca {
            writeln!(f, "\tca_type x509 \"{}\";", ca.name)?;
        }
        match &self.peers_certificate {
            Some(PeersCertificate::X509(file)) => writeln!(f, "\tpeers_certfile x509 \"{}\";", file.name)?,
            Some(PeersCertificate::PlainRsa(file)) => {
                writeln!(f, "\tpeers_certfile plain_rsa \"{}\";", file.name)?;
            }
            None => {}
        }
        writeln!(f, "\tverify_cert {};", on_off(self.verify_cert))?;
        writeln!(f, "\tsend_cert {};", on_off(self.send_cert))?;
        writeln!(f, "\tsend_cr {};", on_off(self.send_cr))?;
        writeln!(f, "\tmatch_empty_cr {};", on_off(self.match_empty_cr))
    }
}

impl Display for Proposal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tproposal {{")?;
        writeln!(f, "\t\tencryption_algorithm {};", self.cipher)?;
        writeln!(f, "\t\thash_algorithm {};", self.hash)?;
        writeln!(f, "\t\tauthentication_method {};", self.method)?;
        writeln!(f, "\t\tdh_group {};", self.dh_group)?;
        fmt_lifetime(f, "\t\t", self.lifetime)?;
        writeln!(f, "\t}}")
    }
}

impl Display for SaInfo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {{", self.header())?;
        if self.remoteid != 0 {
            writeln!(f, "\tremoteid {};", self.remoteid)?;
        }
        if let Some(group) = self.pfs_group {
            writeln!(f, "\tpfs_group {group};")?;
        }
        fmt_lifetime(f, "\t", self.lifetime)?;
        for (what, list) in [
            ("encryption_algorithm", joined(&self.encryption)),
            ("authentication_algorithm", joined(&self.authentication)),
            ("compression_algorithm", joined(&self.compression)),
        ] {
            if !list.is_empty() {
                writeln!(f, "\t{what} {list};")?;
            }
        }
        writeln!(f, "}}")
    }
}

impl SaInfo {
    /// The first line of the block, without the brace: whom it is for.
    pub fn header(&self) -> String {
        let mut header = format!("sainfo {}", self.source);
        if (&self.source, &self.destination) != (&SainfoId::Anonymous, &SainfoId::Anonymous) {
            header.push_str(&format!(" {}", self.destination));
        }
        if let Some(from) = &self.from {
            header.push_str(&format!(" from {from}"));
        }
        if let Some(group) = &self.group {
            header.push_str(&format!(" group \"{group}\""));
        }
        header
    }
}

impl Display for SainfoId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::ClientAddress => f.write_str("clientaddr"),
            Self::Network(endpoint) => endpoint.fmt(f),
            Self::Range { first, last, port, upper } => {
                write!(f, "address {first}-{last} {} {}", port_text(*port), protocol_name(*upper))
            }
            Self::Name(identifier) => identifier.fmt(f),
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = if self.subnet { "subnet" } else { "address" };
        write!(f, "{kind} {} {} {}", self.prefix, port_text(self.port), protocol_name(self.upper))
    }
}

impl ExchangeMode {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Aggressive => "aggressive",
        }
    }
}

impl ProposalCheck {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Obey => "obey",
            Self::Strict => "strict",
            Self::Claim => "claim",
            Self::Exact => "exact",
        }
    }
}

impl GeneratePolicy {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Require => "require",
            Self::Unique => "unique",
        }
    }
}

impl NatTraversal {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Force => "force",
        }
    }
}

impl IkeFrag {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Force => "force",
        }
    }
}

impl Rekey {
    /// Its word in racoon.conf.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Force => "force",
        }
    }
}

fn fmt_lifetime(f: &mut Formatter<'_>, indent: &str, lifetime: Lifetime) -> fmt::Result {
    writeln!(f, "{indent}lifetime time {} sec;", lifetime.seconds)?;
    match lifetime.bytes {
        Some(bytes) => writeln!(f, "{indent}lifetime byte {bytes} B;"),
        None => Ok(()),
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn port_text(port: EndpointPort) -> String {
    port.map_or("[any]".to_owned(), |port| format!("[{port}]"))
}

fn joined(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(list: &[String]) -> String {
    list.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}
