//! `mode_cfg { … }`: what roadwarriors are given, and how they are let in.

use std::net::Ipv4Addr;

use coati_sadb::Prefix;

use crate::diagnostic::Origin;
use crate::racoon::algorithms::DhGroup;
use crate::racoon::model::FileName;

/// `mode_cfg { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeCfg {
    /// `network4`: the first address of the pool.
    pub network4: Option<Ipv4Addr>,
    /// `netmask4`.
    pub netmask4: Option<Ipv4Addr>,
    /// `pool_size`: addresses in the pool.
    pub pool_size: u32,
    /// `dns4`, at most 3.
    pub dns4: Vec<Ipv4Addr>,
    /// `wins4`, at most 4.
    pub wins4: Vec<Ipv4Addr>,
    /// `default_domain`.
    pub default_domain: Option<String>,
    /// `split_network`.
    pub split_network: Option<SplitNetwork>,
    /// `split_dns`: domains that the given name servers are for.
    pub split_dns: Vec<String>,
    /// `banner`: a file; without it [`ModeCfg::USUAL_BANNER`], if that is there.
    pub banner: Option<FileName>,
    /// `pfs_group` that clients are told to use.
    pub pfs_group: Option<DhGroup>,
    /// `save_passwd`: clients may keep the password.
    pub save_passwd: bool,
    /// `auth_groups`: who logs in has to be in one of them.
    pub auth_groups: Vec<String>,
    /// `accounting`.
    pub accounting: Accounting,
    /// `auth_throttle`: how long a wrong login waits for its refusal, in seconds.
    pub auth_throttle: u32,
    /// Where the block begins.
    pub origin: Origin,
}

impl ModeCfg {
    /// `dns4` takes no more.
    pub const MOST_DNS: usize = 3;
    /// `wins4` takes no more.
    pub const MOST_WINS: usize = 4;
    /// A pool has no more addresses.
    pub const MOST_ADDRESSES: u32 = 1 << 16;
    /// What clients are shown where the file says nothing.
    pub const USUAL_BANNER: &str = "/etc/motd";
}

impl Default for ModeCfg {
    fn default() -> Self {
        Self {
            network4: None,
            netmask4: None,
            pool_size: 255,
            dns4: Vec::new(),
            wins4: Vec::new(),
            default_domain: None,
            split_network: None,
            split_dns: Vec::new(),
            banner: None,
            pfs_group: None,
            save_passwd: false,
            auth_groups: Vec::new(),
            accounting: Accounting::None,
            auth_throttle: 1,
            origin: Origin::default(),
        }
    }
}

/// `split_network`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitNetwork {
    /// What the networks are.
    pub kind: SplitKind,
    /// IPv4 networks.
    pub networks: Vec<Prefix>,
}

/// What the networks of `split_network` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitKind {
    /// `include`: only these go through the tunnel.
    Include,
    /// `local_lan`: these do not.
    LocalLan,
}

/// `accounting` of sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounting {
    /// None.
    #[default]
    None,
    /// The system's record of logins.
    System,
}
