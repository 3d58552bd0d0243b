//! The structures that messages begin with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::fields::Fields;
use crate::WireError;

/// A limit that is none (`XFRM_INF`): of bytes and packets; of seconds that is 0.
pub const NO_LIMIT: u64 = u64::MAX;

/// Address families.
pub mod family {
    /// IPv4.
    pub const INET: u16 = 2;
    /// IPv6.
    pub const INET6: u16 = 10;
}

/// Modes (`XFRM_MODE_*`).
pub mod mode {
    /// Transport.
    pub const TRANSPORT: u8 = 0;
    /// Tunnel.
    pub const TUNNEL: u8 = 1;
}

/// Directions of policies (`XFRM_POLICY_*`).
pub mod direction {
    /// To this host.
    pub const IN: u8 = 0;
    /// From this host.
    pub const OUT: u8 = 1;
    /// Through this host.
    pub const FORWARD: u8 = 2;
}

/// What policies do.
pub mod action {
    /// Let pass, protected when there are templates.
    pub const ALLOW: u8 = 0;
    /// Drop.
    pub const BLOCK: u8 = 1;
}

/// Flags of SAs (`XFRM_STATE_*`).
pub mod sa_flag {
    /// Packets of both families go through the tunnel.
    pub const AF_UNSPEC: u8 = 32;
    /// AH behind IPv4 has whole words (RFC 4302 section 2.6); without it, whole double words.
    pub const ALIGN4: u8 = 64;
    /// Extended sequence numbers.
    pub const ESN: u8 = 128;
}

/// `xfrm_address_t`: of which family it is stands elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u8; 16]);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                Self([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            }
            IpAddr::V6(address) => Self(address.octets()),
        }
    }
}

impl Address {
    /// The address when it is of this family of [`family`].
    pub fn ip(self, family: u16) -> Option<IpAddr> {
        let [a, b, c, d, ..] = self.0;
        match family {
            family::INET => Some(Ipv4Addr::new(a, b, c, d).into()),
            family::INET6 => Some(Ipv6Addr::from(self.0).into()),
            _ => None,
        }
    }
}

/// Declares a structure whose fields follow each other: each with how it is read and written, and the padding behind
/// the last.
macro_rules! structure {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $way:ident $(pad $pad:literal)?,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $name {
            pub(super) fn parse(fields: &mut Fields<'_>) -> Result<Self, WireError> {
                let mut found = Self::default();
                $(
                    found.$field = structure!(@read fields $way $type);
                    $(fields.padding::<$pad>()?;)?
                )*
                Ok(found)
            }

            pub(super) fn append(&self, bytes: &mut Vec<u8>) {
                $(
                    structure!(@write bytes $way self.$field);
                    $(bytes.extend([0; $pad]);)?
                )*
            }

            /// Appends it as the body of a message of this type.
            #[allow(dead_code, reason = "some are only parts of others")]
            pub(super) fn emit(&self, bytes: &mut Vec<u8>, kind: u16) -> u16 {
                self.append(bytes);
                kind
            }
        }
    };
    (@read $fields:ident nested $type:ty) => { <$type>::parse($fields)? };
    (@read $fields:ident $way:ident $type:ty) => { $fields.$way()? };
    (@write $bytes:ident nested $value:expr) => { $value.append($bytes) };
    (@write $bytes:ident address $value:expr) => { $bytes.extend($value.0) };
    (@write $bytes:ident be16 $value:expr) => { $bytes.extend($value.to_be_bytes()) };
    (@write $bytes:ident be32 $value:expr) => { $bytes.extend($value.to_be_bytes()) };
    (@write $bytes:ident $way:ident $value:expr) => { $bytes.extend($value.to_ne_bytes()) };
}

pub(super) use structure;

structure! {
    /// `xfrm_selector`: which packets. A port counts where its mask has bits.
    Selector {
        /// Destination.
        destination: Address = address,
        /// Source.
        source: Address = address,
        /// Destination port; the code of ICMP.
        destination_port: u16 = be16,
        /// Its bits that count.
        destination_port_mask: u16 = be16,
        /// Source port; the type of ICMP.
        source_port: u16 = be16,
        /// Its bits that count.
        source_port_mask: u16 = be16,
        /// Of the addresses, one of [`family`]; 0 is any.
        family: u16 = u16,
        /// Bits of the destination that count.
        destination_len: u8 = u8,
        /// Bits of the source that count.
        source_len: u8 = u8,
        /// IP protocol; 0 is any.
        proto: u8 = u8 pad 3,
        /// Interface; 0 is any.
        interface: u32 = u32,
        /// User.
        user: u32 = u32,
    }
}

structure! {
    /// `xfrm_id`: destination, SPI and IP protocol.
    Id {
        /// Destination.
        destination: Address = address,
        /// SPI, 0 for any.
        spi: u32 = be32,
        /// IP protocol.
        proto: u8 = u8 pad 3,
    }
}

structure! {
    /// `xfrm_lifetime_cfg`.
    LifetimeLimits {
        /// Bytes until a successor is asked for, or [`NO_LIMIT`].
        soft_bytes: u64 = u64,
        /// Bytes until the end, or [`NO_LIMIT`].
        hard_bytes: u64 = u64,
        /// Packets until a successor is asked for, or [`NO_LIMIT`].
        soft_packets: u64 = u64,
        /// Packets until the end, or [`NO_LIMIT`].
        hard_packets: u64 = u64,
        /// Seconds since it was made, or 0.
        soft_add_seconds: u64 = u64,
        /// Seconds since it was made, or 0.
        hard_add_seconds: u64 = u64,
        /// Seconds since the first use, or 0.
        soft_use_seconds: u64 = u64,
        /// Seconds since the first use, or 0.
        hard_use_seconds: u64 = u64,
    }
}

structure! {
    /// `xfrm_lifetime_cur`: times in Unix seconds, 0 for never.
    LifetimeUsed {
        /// Bytes.
        bytes: u64 = u64,
        /// Packets.
        packets: u64 = u64,
        /// When it was made.
        added: u64 = u64,
        /// When it was used first.
        used: u64 = u64,
    }
}

structure! {
    /// `xfrm_usersa_info`: an SA without its algorithms.
    SaInfo {
        /// Which packets may use it.
        selector: Selector = nested,
        /// Its name.
        id: Id = nested,
        /// Source of the outer header.
        source: Address = address,
        /// Its limits.
        limits: LifetimeLimits = nested,
        /// What it has done.
        used: LifetimeUsed = nested,
        /// Packets that fell out of the replay window.
        missed_window: u32 = u32,
        /// Packets that had been there before.
        replayed: u32 = u32,
        /// Packets that were not authentic.
        not_authentic: u32 = u32,
        /// A number that its maker gave it.
        sequence: u32 = u32,
        /// Ties it to a policy.
        reqid: u32 = u32,
        /// Of its addresses, one of [`family`].
        family: u16 = u16,
        /// One of [`mode`].
        mode: u8 = u8,
        /// Replay window in packets, 32 at the most; a larger one is an attribute.
        replay_window: u8 = u8,
        /// Of [`sa_flag`].
        flags: u8 = u8 pad 7,
    }
}

structure! {
    /// `xfrm_usersa_id`.
    SaId {
        /// Destination of the outer header.
        destination: Address = address,
        /// SPI.
        spi: u32 = be32,
        /// Of the destination, one of [`family`].
        family: u16 = u16,
        /// IP protocol.
        proto: u8 = u8 pad 1,
    }
}

structure! {
    /// `xfrm_userspi_info`.
    SpiRange {
        /// The larval SA.
        info: SaInfo = nested,
        /// First SPI that may be taken.
        first: u32 = u32,
        /// Last one.
        last: u32 = u32,
    }
}

structure! {
    /// `xfrm_userpolicy_info`: a policy without its templates.
    PolicyInfo {
        /// Which packets.
        selector: Selector = nested,
        /// Its limits.
        limits: LifetimeLimits = nested,
        /// What it has done; `used` is the last use in requests of old kernels.
        used: LifetimeUsed = nested,
        /// The smaller number comes first.
        priority: u32 = u32,
        /// Its number; the last three bits are its direction.
        index: u32 = u32,
        /// One of [`direction`].
        direction: u8 = u8,
        /// One of [`action`].
        action: u8 = u8,
        /// Flags.
        flags: u8 = u8,
        /// Who may share its SAs.
        share: u8 = u8 pad 4,
    }
}

structure! {
    /// `xfrm_userpolicy_id`.
    PolicyId {
        /// Which packets.
        selector: Selector = nested,
        /// Its number; 0: the selector says which.
        index: u32 = u32,
        /// One of [`direction`].
        direction: u8 = u8 pad 3,
    }
}

structure! {
    /// `xfrm_user_acquire`: an SA is wanted.
    Acquire {
        /// Its destination and protocol.
        id: Id = nested,
        /// Its source.
        source: Address = address,
        /// The packet.
        packet: Selector = nested,
        /// The policy that was met.
        policy: PolicyInfo = nested,
        /// Integrity algorithms that may be used.
        auth_algorithms: u32 = u32,
        /// Encryption algorithms that may be used.
        encryption_algorithms: u32 = u32,
        /// Compression algorithms that may be used.
        compression_algorithms: u32 = u32,
        /// Number of the larval SA.
        sequence: u32 = u32,
    }
}

structure! {
    /// `xfrm_user_expire`.
    Expire {
        /// The SA.
        info: SaInfo = nested,
        /// 1 for the hard limit, 0 for the soft one.
        hard: u8 = u8 pad 7,
    }
}

structure! {
    /// `xfrm_user_mapping`: an authentic packet in UDP has come from elsewhere.
    Mapping {
        /// The SA that it came through.
        id: SaId = nested,
        /// Ties that to a policy.
        reqid: u32 = u32,
        /// The SA's source.
        old_source: Address = address,
        /// Where the packet came from.
        new_source: Address = address,
        /// The SA's source port.
        old_port: u16 = be16,
        /// The port that the packet came from.
        new_port: u16 = be16,
    }
}

impl PolicyInfo {
    /// Its bytes alone, as a socket takes them for a policy of its own (`IP_XFRM_POLICY`).
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append(&mut bytes);
        bytes
    }
}
