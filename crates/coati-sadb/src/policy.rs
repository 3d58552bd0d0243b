//! Security policies (RFC 4301 section 4.4.1), in the words of setkey(8)'s `spdadd … -P`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Mode, Refusal, ReqId, SaProto, Selector, Usage};

/// The number the data plane gives a policy (`spid` in dumps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyId(pub u32);

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To this host.
    In,
    /// From this host.
    Out,
    /// Through this host (Linux only; `in` elsewhere).
    Fwd,
}

impl Direction {
    /// The word of setkey(8).
    pub fn setkey_name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Fwd => "fwd",
        }
    }
}

/// What is done to packets that match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Dropped.
    Discard,
    /// Let through as they are (`none`, BYPASS of RFC 4301).
    None,
    /// Protected by these, the first applied first.
    Ipsec(Vec<Rule>),
}

/// One protocol of a bundle: `esp/transport//unique`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// ESP, AH or IPComp.
    pub proto: SaProto,
    /// Transport or tunnel.
    pub mode: Mode,
    /// Outer addresses, source first: needed for tunnel mode, absent for transport.
    pub endpoints: Option<(IpAddr, IpAddr)>,
    /// How strictly, and with whose SA.
    pub level: Level,
}

impl Rule {
    /// Rules of a policy at the most, and SAs that a packet may come through (`XFRM_MAX_DEPTH` of Linux).
    pub const MAX: usize = 6;

    /// The outer addresses of tunnel mode.
    pub fn tunnel_ends(&self) -> Option<(IpAddr, IpAddr)> {
        self.endpoints.filter(|_| self.mode == Mode::Tunnel)
    }
}

/// What IKE can negotiate of the rules of a policy: ESP, and what is compressed before it (RFC 3173).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle<'a> {
    /// `ipcomp/transport//use`, when it is there.
    pub ipcomp: Option<&'a Rule>,
    /// `esp/…`.
    pub esp: &'a Rule,
}

impl<'a> Bundle<'a> {
    /// Sorts them; `None` for a combination whose keys are given by hand only.
    pub fn of(rules: &'a [Rule]) -> Option<Self> {
        match rules {
            [esp] if esp.proto == SaProto::Esp => Some(Self { ipcomp: None, esp }),
            [ipcomp, esp] if (ipcomp.proto, esp.proto) == (SaProto::Ipcomp, SaProto::Esp) => {
                Some(Self { ipcomp: Some(ipcomp), esp })
            }
            _ => None,
        }
    }
}

/// How strictly a rule wants its SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The system's default, which is `require` here.
    Default,
    /// Protect when an SA is there, else let through.
    Use,
    /// Protect or hold the packet.
    Require,
    /// As `require`, with an SA of its own, tied by this reqid; 0 asks the data plane to allot one.
    Unique(ReqId),
}

/// Order among policies: the smaller value is looked at first. Default 0x8000_0000, as on Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u32);

impl Default for Priority {
    fn default() -> Self {
        Self(0x8000_0000)
    }
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Its number; 0 when it is added, the data plane allots one.
    pub id: PolicyId,
    /// Which packets.
    pub selector: Selector,
    /// Which way.
    pub direction: Direction,
    /// Order among policies.
    pub priority: Priority,
    /// What to do.
    pub action: Action,
    /// What it has done; `used` is when it was last used. Ignored when added.
    pub usage: Usage,
}

impl Policy {
    /// Says what makes no sense whoever is to hold it, before anything is changed.
    pub fn check(&self) -> Result<(), Refusal> {
        let Action::Ipsec(rules) = &self.action else { return Ok(()) };
        if rules.len() > Rule::MAX {
            let text = format!("a policy has {} protocols at the most", Rule::MAX);
            return Err(Refusal::Unsupported(text));
        }
        for rule in rules.iter().filter(|rule| rule.mode == Mode::Tunnel) {
            if rule.endpoints.is_none_or(|(near, far)| near.is_ipv4() != far.is_ipv4()) {
                let name = rule.proto.setkey_name();
                let text =
                    format!("{name}/tunnel needs two addresses of one family: {name}/tunnel/A-B/require");
                return Err(Refusal::Invalid(text));
            }
        }
        Ok(())
    }
}
