//! Road warriors: user names and passwords on top of phase 1 (XAUTH), and the addresses and routes they are given
//! (mode config). What both sides are configured with, and what comes out for scripts.

use std::net::Ipv4Addr;
use std::time::Duration;

use coati_sadb::Secret;

/// What a server gives to its clients (`mode_cfg` of racoon.conf), and how it knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeConfig {
    /// First address of the pool (`network4`); `None` gives no addresses.
    pub network4: Option<Ipv4Addr>,
    /// Netmask that goes with an address.
    pub netmask4: Option<Ipv4Addr>,
    /// Addresses in the pool.
    pub pool_size: u32,
    /// Name servers.
    pub dns4: Vec<Ipv4Addr>,
    /// WINS servers.
    pub wins4: Vec<Ipv4Addr>,
    /// Domain for short names.
    pub default_domain: Option<String>,
    /// Domains that the name servers are for.
    pub split_dns: Vec<String>,
    /// Networks that go through the tunnel, or that alone do not.
    pub split: Split,
    /// What the client shows to its user.
    pub banner: Option<String>,
    /// The group of PFS that clients are told to use, by its number on the wire; 0 is none.
    pub pfs_group: u16,
    /// Whether clients may store the password.
    pub save_passwd: bool,
    /// Who decides about a login.
    pub logins: Logins,
    /// How long a wrong login waits for its refusal.
    pub auth_throttle: Duration,
}

/// `split_network` of racoon.conf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// Everything goes through the tunnel.
    #[default]
    All,
    /// Only these do.
    Include(Vec<Network>),
    /// Everything but these does.
    LocalLan(Vec<Network>),
}

/// An IPv4 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its mask.
    pub mask: Ipv4Addr,
}

/// Who decides about a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Logins {
    /// These users are let in.
    Table(Vec<User>),
    /// The owner of the engine is asked by [`crate::Engine::poll_login`].
    #[default]
    Owner,
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Password.
    pub password: Secret,
}

impl Default for ModeConfig {
    /// racoon's defaults.
    fn default() -> Self {
        Self {
            network4: None,
            netmask4: None,
            pool_size: 255,
            dns4: Vec::new(),
            wins4: Vec::new(),
            default_domain: None,
            split_dns: Vec::new(),
            split: Split::All,
            banner: None,
            pfs_group: 0,
            save_passwd: false,
            logins: Logins::Owner,
            auth_throttle: Duration::from_secs(1),
        }
    }
}

/// A login to be checked: call [`crate::Engine::handle_login`] with its number and the verdict.
#[derive(Debug)]
pub struct LoginRequest {
    /// Names it.
    pub id: u64,
    /// From where.
    pub remote: std::net::SocketAddr,
    /// Who.
    pub user: String,
    /// The password given.
    pub password: Secret,
}

/// What a client was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its address inside.
    pub address: Option<Ipv4Addr>,
    /// The netmask that goes with it.
    pub netmask: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// WINS servers.
    pub wins: Vec<Ipv4Addr>,
    /// Domain for short names.
    pub default_domain: Option<String>,
    /// Domains that the name servers are for.
    pub split_dns: Vec<String>,
    /// Networks that go through the tunnel; none is everything.
    pub split_include: Vec<Network>,
    /// Networks that do not.
    pub split_local: Vec<Network>,
    /// What the user is to be shown.
    pub banner: Option<String>,
}

impl Network {
    fn prefix_len(self) -> u32 {
        u32::from(self.mask).leading_ones()
    }
}

impl Settings {
    /// The variables that racoon gives to the scripts `phase1_up` and `phase1_down`. Values come from the peer: they
    /// are set in an environment, never put into a command line.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let words = |list: &[Ipv4Addr]| list.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(" ");
        let first = |list: &[Ipv4Addr]| list.first().map(Ipv4Addr::to_string).unwrap_or_default();
        let masks = |list: &[Network]| {
            list.iter().map(|net| format!("{}/{}", net.address, net.mask)).collect::<Vec<_>>().join(" ")
        };
        let lengths = |list: &[Network]| {
            list.iter()
                .map(|net| format!("{}/{}", net.address, net.prefix_len()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let mask = self.netmask.unwrap_or(Ipv4Addr::BROADCAST);
        let list = vec![
            ("INTERNAL_ADDR4", self.address.map(|address| address.to_string()).unwrap_or_default()),
            ("INTERNAL_NETMASK4", self.netmask.map(|mask| mask.to_string()).unwrap_or_default()),
            (
                "INTERNAL_CIDR4",
                self.address.map_or(String::new(), |_| u32::from(mask).leading_ones().to_string()),
            ),
            ("INTERNAL_DNS4", first(&self.dns)),
            ("INTERNAL_DNS4_LIST", words(&self.dns)),
            ("INTERNAL_WINS4", first(&self.wins)),
            ("INTERNAL_WINS4_LIST", words(&self.wins)),
            ("SPLIT_INCLUDE", masks(&self.split_include)),
            ("SPLIT_INCLUDE_CIDR", lengths(&self.split_include)),
            ("SPLIT_LOCAL", masks(&self.split_local)),
            ("SPLIT_LOCAL_CIDR", lengths(&self.split_local)),
            ("DEFAULT_DOMAIN", self.default_domain.clone().unwrap_or_default()),
        ];
        list.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}
