//! What the engine is told.

use std::net::Ipv4Addr;
use std::time::Duration;

/// For all interfaces.
#[derive(Clone, Debug)]
pub struct Config {
    /// Router id.
    pub router_id: Ipv4Addr,
    /// Where this speaker is faster than the RFC.
    pub deviations: Deviations,
}

/// Named deviations from RFC 2328. Each only shortens waits on this side; all are on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviations {
    /// A neighbour that does not know us yet gets a hello at once, not with the next periodic one.
    pub hello_at_once: bool,
    /// Unanswered database descriptions, requests and updates are repeated early, then ever later up to RxmtInterval.
    pub early_retransmission: bool,
    /// Own LSAs are originated by back-off from 50 ms to 5 s instead of once in MinLSInterval, and instances of others
    /// are taken five at once and then one a second instead of once in MinLSArrival.
    pub prompt_origination: bool,
}

impl Default for Deviations {
    fn default() -> Self {
        Self { hello_at_once: true, early_retransmission: true, prompt_origination: true }
    }
}

/// For one interface. The defaults are FRR's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Area.
    pub area: Ipv4Addr,
    /// Cost.
    pub cost: u16,
    /// HelloInterval in seconds.
    pub hello_interval: u16,
    /// RouterDeadInterval in seconds.
    pub dead_interval: u32,
    /// RxmtInterval.
    pub retransmit_interval: Duration,
    /// InfTransDelay in seconds.
    pub transmit_delay: u16,
    /// Advertised, but nobody is spoken to.
    pub passive: bool,
    /// A neighbour's larger MTU does no harm.
    pub mtu_ignore: bool,
    /// Where it was configured, for explanations; may be empty.
    pub origin: String,
}

impl Default for InterfaceConfig {
    fn default() -> Self {
        Self {
            area: Ipv4Addr::UNSPECIFIED,
            cost: 10,
            hello_interval: 10,
            dead_interval: 40,
            retransmit_interval: Duration::from_secs(5),
            transmit_delay: 1,
            passive: false,
            mtu_ignore: false,
            origin: String::new(),
        }
    }
}
