//! Security associations (RFC 4301 section 4.4.2).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AuthAlgorithm, EncAlgorithm, Refusal, Secret};

/// Security parameters index; host order. 0 to 255 are reserved (RFC 4303 section 2.1).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spi(pub u32);

impl Spi {
    /// The well-known index of DEFLATE, for IPComp without negotiation (RFC 3173 section 3.3, RFC 2394).
    pub const DEFLATE: Spi = Spi(2);
    /// The indices of IPComp, 16 bits, that may be negotiated (RFC 3173 section 3.3).
    pub const NEGOTIATED_CPI: std::ops::RangeInclusive<u32> = 256..=61_439;
    /// The first SPI that may be used for an SA.
    pub const FIRST: u32 = 256;

    /// Whether the SPI lies in the range that RFC 4303 reserves.
    pub fn is_reserved(self) -> bool {
        self.0 < Self::FIRST
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({:#010x})", self.0)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

/// Ties SAs to the policy they were made for; 0 means none. 1–16383 are written by hand, above are allotted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReqId(pub u32);

impl ReqId {
    /// The last one that configuration may name (IPSEC_MANUAL_REQID_MAX of KAME).
    pub const MANUAL_MAX: u32 = 0x3fff;
}

/// The protocol of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaProto {
    /// Encapsulating security payload, IP protocol 50.
    Esp,
    /// Authentication header, IP protocol 51.
    Ah,
    /// IP payload compression, IP protocol 108, always by DEFLATE (RFC 2394).
    Ipcomp,
}

impl SaProto {
    /// The name setkey(8) prints.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
            Self::Ipcomp => "ipcomp",
        }
    }
}

/// How an SA wraps its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Whatever the policy asks for (setkey's default).
    Any,
    /// Protects the payload and keeps the IP header.
    Transport,
    /// Wraps the whole packet in a new one.
    Tunnel,
}

impl Mode {
    /// The name setkey(8) prints.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Transport => "transport",
            Self::Tunnel => "tunnel",
        }
    }
}

/// Where an SA is in its life (RFC 2367 section 1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SaState {
    /// An SPI is reserved, keys are being negotiated.
    Larval,
    /// In use.
    Mature,
    /// Its soft lifetime is over: still usable, to be replaced.
    Dying,
    /// Its hard lifetime is over.
    Dead,
}

impl SaState {
    /// The name setkey(8) prints.
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::Larval => "larval",
            Self::Mature => "mature",
            Self::Dying => "dying",
            Self::Dead => "dead",
        }
    }
}

/// Limits of an SA; 0 means no limit, as in PF_KEY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifetime {
    /// Packets.
    pub packets: u64,
    /// Bytes protected.
    pub bytes: u64,
    /// Seconds since the SA was added.
    pub add_seconds: u64,
    /// Seconds since it was first used.
    pub use_seconds: u64,
}

/// What an SA or policy has done so far. Times are seconds since the Unix epoch; 0 means never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Packets protected or verified.
    pub packets: u64,
    /// Bytes of them (inner payload).
    pub bytes: u64,
    /// When it was added.
    pub added: u64,
    /// When it was first used (SA) or last used (policy).
    pub used: u64,
}

/// UDP encapsulation of ESP (RFC 3948): ports in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NatT {
    /// Source port of the outer UDP header.
    pub source_port: u16,
    /// Destination port of the outer UDP header.
    pub destination_port: u16,
    /// The peer's own address, when a NAT has put another one in its place (`NAT OA` in dumps).
    #[serde(default)]
    pub original: Option<IpAddr>,
    /// Eight zero bytes come before ESP, since it shares IKE's own port: the way of the drafts 00 and 01 before RFC 3947.
    #[serde(default)]
    pub non_ike_marker: bool,
}

/// What names an SA: destination, protocol and SPI (RFC 4301 section 4.1); the source narrows it for dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SaId {
    /// Source of the outer header.
    pub source: IpAddr,
    /// Destination of the outer header.
    pub destination: IpAddr,
    /// Protocol.
    pub proto: SaProto,
    /// Index chosen by the receiver.
    pub spi: Spi,
}

/// One security association, as `setkey add` and IKE hand it over and `setkey -D` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sa {
    /// Its name.
    pub id: SaId,
    /// Transport or tunnel.
    pub mode: Mode,
    /// The policy it belongs to.
    pub reqid: ReqId,
    /// Encryption.
    pub enc: EncAlgorithm,
    /// Encryption key, with the salt behind it for counter modes.
    pub enc_key: Secret,
    /// Integrity.
    pub auth: AuthAlgorithm,
    /// Integrity key.
    pub auth_key: Secret,
    /// Size of the anti-replay window in packets; 0 switches the check off.
    pub replay_window: u32,
    /// Sequence numbers have 64 bits, of which packets carry the lower half (ESN, RFC 4303 section 2.2.1).
    #[serde(default)]
    pub esn: bool,
    /// UDP encapsulation, when a NAT lies between.
    pub nat_t: Option<NatT>,
    /// When to ask for a successor.
    pub soft: Lifetime,
    /// When to stop.
    pub hard: Lifetime,
    /// Where it is in its life; `Mature` when added.
    pub state: SaState,
    /// What it has done; ignored when added.
    pub usage: Usage,
    /// Highest sequence number sent or received; ignored when added.
    pub sequence: u64,
    /// The hardware that does it, where a kernel gives it to some.
    #[serde(default)]
    pub offload: Option<Offload>,
}

/// An SA in the hands of a network card, which encrypts and decrypts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offload {
    /// The card's interface.
    pub interface: String,
    /// Whether it is for packets that come in; `None`: whoever holds the SA finds out.
    pub inbound: Option<bool>,
}

impl Offload {
    /// Bytes of an interface's name at the most (`IFNAMSIZ`, without the zero behind it).
    pub const LONGEST_NAME: usize = 15;
}

impl Sa {
    /// The largest replay window, in packets.
    pub const MAX_WINDOW: u32 = 4096;

    /// A usable one in transport mode for nobody's policy, without limits and without a replay window.
    pub fn with_keys(
        id: SaId,
        enc: EncAlgorithm,
        enc_key: Secret,
        auth: AuthAlgorithm,
        auth_key: Secret,
    ) -> Self {
        Self {
            id,
            mode: Mode::Transport,
            reqid: ReqId(0),
            enc,
            enc_key,
            auth,
            auth_key,
            replay_window: 0,
            esn: false,
            nat_t: None,
            soft: Lifetime::default(),
            hard: Lifetime::default(),
            state: SaState::Mature,
            usage: Usage::default(),
            sequence: 0,
            offload: None,
        }
    }

    /// Says what makes no sense whoever is to hold it, before anything is changed.
    pub fn check(&self) -> Result<(), Refusal> {
        self.id.check()?;
        let invalid = |text: &str| Err(Refusal::Invalid(text.to_owned()));
        match self.id.proto {
            SaProto::Ipcomp if self.esn => {
                return invalid("ipcomp has no sequence numbers: no -f esn with it");
            }
            SaProto::Ipcomp => {
                if !self.enc_key.is_empty() || !self.auth_key.is_empty() {
                    return invalid("ipcomp has no keys: give -C deflate alone");
                }
                return Ok(());
            }
            SaProto::Ah if self.enc != EncAlgorithm::Null || !self.enc_key.is_empty() => {
                return invalid("ah does not encrypt: no -E with it");
            }
            SaProto::Ah if self.auth == AuthAlgorithm::None => {
                return invalid("ah without authentication is of no use: give -A");
            }
            SaProto::Ah if self.nat_t.is_some() => {
                return invalid("ah does not go through a NAT, nor into UDP");
            }
            SaProto::Ah | SaProto::Esp => {}
        }
        self.enc.check_key(self.enc_key.expose()).map_err(Refusal::Invalid)?;
        self.auth.check_key(self.auth_key.expose()).map_err(Refusal::Invalid)?;
        if self.enc.is_aead() && self.auth != AuthAlgorithm::None {
            let text = format!("{} authenticates by itself: no -A beside it", self.enc.setkey_name());
            return Err(Refusal::Invalid(text));
        }
        match self.enc {
            EncAlgorithm::Null if self.auth == AuthAlgorithm::None => {
                return invalid("it would neither encrypt nor authenticate: give -A");
            }
            EncAlgorithm::AesCtr if self.auth == AuthAlgorithm::None => {
                return invalid("aes-ctr without authentication can be forged: give -A");
            }
            _ => {}
        }
        if let Some(Offload { interface, .. }) = &self.offload
            && (interface.is_empty() || interface.len() > Offload::LONGEST_NAME)
        {
            let most = Offload::LONGEST_NAME;
            return Err(Refusal::Invalid(format!(
                "`{interface}` is no interface: names have {most} letters at the most"
            )));
        }
        if self.replay_window > Self::MAX_WINDOW {
            let text = format!(
                "a replay window of {} packets: {} are the most",
                self.replay_window,
                Self::MAX_WINDOW
            );
            return Err(Refusal::Invalid(text));
        }
        if self.esn && self.replay_window == 0 {
            return invalid("extended sequence numbers are told by the replay window: give -r too");
        }
        Ok(())
    }
}

impl SaId {
    /// Whether an inbound packet could belong to both: the source does not tell (RFC 4301 section 4.1).
    pub fn is_told_as(&self, other: &Self) -> bool {
        (self.destination, self.proto, self.spi) == (other.destination, other.proto, other.spi)
    }

    /// Says what makes no sense in it.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(Refusal::Invalid("source and destination are of different families".into()));
        }
        if self.destination.is_unspecified() {
            let text = format!("{} is no destination: no packet goes there", self.destination);
            return Err(Refusal::Invalid(text));
        }
        if self.source.is_multicast() {
            let text = format!("{} is a multicast address: no packet comes from one", self.source);
            return Err(Refusal::Invalid(text));
        }
        let Spi(spi) = self.spi;
        if self.proto == SaProto::Ipcomp {
            let has_16_bits = (Spi::FIRST..=u32::from(u16::MAX)).contains(&spi);
            if self.spi != Spi::DEFLATE && !has_16_bits {
                return Err(Refusal::Invalid(format!(
                    "{spi} is no index of ipcomp: it has 16 bits, and 256 is the first to use"
                )));
            }
        } else if self.spi.is_reserved() {
            return Err(Refusal::Invalid(format!("SPI {spi} is reserved: 256 is the first to use")));
        }
        Ok(())
    }
}
