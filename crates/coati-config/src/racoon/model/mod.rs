//! What racoon.conf says, as types. The defaults are those of racoon's code, where its manual differs from it.
//!
//! Two models are equal when they mean the same: where a thing is written ([`Origin`]) takes no part. That is what a
//! reload compares.

mod daemon;
mod mode_cfg;
mod remote;
mod sainfo;

use std::fmt;
use std::net::IpAddr;

pub use daemon::{
    Account, Adminsock, GssIdEncoding, Listen, LogLevel, Padding, PathEntry, Paths, Privsep, Timer,
};
pub use mode_cfg::{Accounting, ModeCfg, SplitKind, SplitNetwork};
pub use remote::{
    AuthMethod, Certificate, ExchangeMode, GeneratePolicy, IkeFrag, NatTraversal, PeersCertificate, Proposal,
    ProposalCheck, Rekey, Remote, RemoteWho, Script, ScriptEvent,
};
pub use sainfo::{Endpoint, EndpointPort, SaInfo, SainfoId};

use crate::diagnostic::Origin;
use crate::racoon::identifier::Identifier;

/// The whole file, with all that it includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RacoonConf {
    /// `path …`.
    pub paths: Paths,
    /// `log`.
    pub log: LogLevel,
    /// `timer { … }`.
    pub timer: Timer,
    /// `listen { … }`.
    pub listen: Listen,
    /// `padding { … }`.
    pub padding: Padding,
    /// `privsep { … }`.
    pub privsep: Privsep,
    /// `pfkey_buffer` in kilobytes; 0 leaves it to the system.
    pub pfkey_buffer: u32,
    /// `gss_id_enc`.
    pub gss_id_enc: GssIdEncoding,
    /// `remote` blocks, in the order of the file.
    pub remotes: Vec<Remote>,
    /// `sainfo` blocks, those that say more about whom they are for first.
    pub sainfos: Vec<SaInfo>,
    /// `mode_cfg { … }`.
    pub mode_cfg: ModeCfg,
}

impl RacoonConf {
    /// Whether a remote section lets peers log in, or there is something for them in `mode_cfg { … }`.
    pub fn serves_road_warriors(&self) -> bool {
        let serves = |remote: &Remote| remote.authenticates_by(AuthMethod::serves_logins);
        self.mode_cfg != ModeCfg::default() || self.remotes.iter().any(serves)
    }

    /// The files that `keyid file` names.
    pub fn key_id_files(&self) -> impl Iterator<Item = &FileName> {
        let of_remotes = self.remotes.iter().flat_map(|remote| {
            remote.peers_identifiers.iter().map(|(id, _)| id).chain([&remote.my_identifier])
        });
        let of_sainfos = self.sainfos.iter().filter_map(|info| info.from.as_ref());
        of_remotes.chain(of_sainfos).filter_map(|identifier| match identifier {
            Identifier::KeyIdFile(file) => Some(file),
            _ => None,
        })
    }
}

/// `ADDR [port]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UdpEndpoint {
    /// The address.
    pub address: IpAddr,
    /// The interface of a link-local address, as in `fe80::1%em0`.
    pub zone: Option<String>,
    /// The UDP port.
    pub port: u16,
}

impl fmt::Display for UdpEndpoint {
    /// As racoon.conf has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(zone) = &self.zone {
            write!(f, "%{zone}")?;
        }
        write!(f, " [{}]", self.port)
    }
}

/// How long keys live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lifetime {
    /// `lifetime time` in seconds.
    pub seconds: u32,
    /// `lifetime byte` in bytes; `None` is without limit.
    pub bytes: Option<u64>,
}

impl Lifetime {
    /// What both phases have when nothing else is said (RFC 2407 section 4.5).
    pub const DEFAULT_SECONDS: u32 = 28_800;

    /// The limit in kilobytes of 1024 bytes, as IKE negotiates it; at least one.
    pub fn kilobytes(&self) -> Option<u32> {
        self.bytes.map(|bytes| u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1))
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self { seconds: Self::DEFAULT_SECONDS, bytes: None }
    }
}

/// A file that a directive names, as written: relative to the `path` that is for its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// The name.
    pub name: String,
    /// Where it is written.
    pub origin: Origin,
}
