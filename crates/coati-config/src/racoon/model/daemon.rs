//! What concerns the daemon and not a peer: paths, timers, sockets, rights.

use crate::diagnostic::Origin;
use crate::racoon::model::UdpEndpoint;

/// `path KIND "…"`; none has a default but the pid file, which the daemon knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// `path include`: the folder that `include` begins at.
    pub include: Option<PathEntry>,
    /// `path pre_shared_key`: the file with the keys; psk.txt beside racoon.conf when it is not given.
    pub pre_shared_key: Option<PathEntry>,
    /// `path certificate`: the folder of certificates, keys and CAs.
    pub certificate: Option<PathEntry>,
    /// `path script`: the folder of hooks.
    pub script: Option<PathEntry>,
    /// `path pidfile`.
    pub pidfile: Option<PathEntry>,
}

/// One `path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEntry {
    /// As written.
    pub path: String,
    /// Where.
    pub origin: Origin,
}

/// `log`: what is said and everything above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only errors.
    Error,
    /// Warnings.
    Warning,
    /// What is worth a notice.
    Notify,
    /// The course of things.
    #[default]
    Info,
    /// For developers.
    Debug,
    /// With packets.
    Debug2,
}

/// `timer { … }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// `counter`: retransmissions of one message.
    pub counter: u32,
    /// `interval` between them, in seconds.
    pub interval: u32,
    /// `persend`: copies of each message.
    pub persend: u32,
    /// `phase1`: seconds that phase 1 may take.
    pub phase1: u32,
    /// `phase2`: seconds that phase 2 may take.
    pub phase2: u32,
    /// `natt_keepalive`: seconds between keepalives; 0 is never.
    pub natt_keepalive: u32,
}

impl Default for Timer {
    fn default() -> Self {
        Self { counter: 5, interval: 10, persend: 1, phase1: 30, phase2: 30, natt_keepalive: 20 }
    }
}

/// `listen { … }`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// `isakmp`; without any, all addresses are used.
    pub isakmp: Vec<(UdpEndpoint, Origin)>,
    /// `isakmp_natt`: sockets for ESP in UDP.
    pub isakmp_natt: Vec<(UdpEndpoint, Origin)>,
    /// `strict_address`: one address that cannot be had is an error.
    pub strict_address: bool,
    /// `adminsock`.
    pub adminsock: Adminsock,
}

/// `adminsock`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Adminsock {
    /// Not mentioned: where it usually is.
    #[default]
    Usual,
    /// `disabled`.
    Disabled,
    /// `"path" ["owner" "group" MODE]`.
    At {
        /// The socket.
        path: String,
        /// Its owner; user 0 by default.
        owner: Account,
        /// Its group; group 0 by default.
        group: Account,
        /// Its mode, 0600 by default.
        mode: u32,
        /// Where.
        origin: Origin,
    },
}

/// A user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Account {
    /// By number.
    Id(u32),
    /// By name.
    Name(String),
}

impl Default for Account {
    fn default() -> Self {
        Self::Id(0)
    }
}

/// `padding { … }` of IKE messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Padding {
    /// `randomize`: random bytes, not zeros.
    pub randomize: bool,
    /// `randomize_length`: more than is needed.
    pub randomize_length: bool,
    /// `maximum_length` of that, in bytes.
    pub maximum_length: u32,
    /// `exclusive_tail`: the last byte counts the bytes before it.
    pub exclusive_tail: bool,
    /// `strict_check` of what the peer sends.
    pub strict_check: bool,
}

impl Default for Padding {
    fn default() -> Self {
        Self {
            randomize: true,
            randomize_length: false,
            maximum_length: 20,
            exclusive_tail: true,
            strict_check: false,
        }
    }
}

/// `privsep { … }`: as whom, and where, the part runs that talks to the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privsep {
    /// `user`; 0 keeps the rights.
    pub user: Account,
    /// Where.
    pub user_origin: Origin,
    /// `group`; 0 keeps the rights.
    pub group: Account,
    /// Where.
    pub group_origin: Origin,
    /// `chroot`.
    pub chroot: Option<PathEntry>,
}

/// `gss_id_enc`: how GSS-API names would be written. Kept only to be shown: GSS-API is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GssIdEncoding {
    /// `utf-16le`.
    #[default]
    Utf16Le,
    /// `latin1`.
    Latin1,
}
