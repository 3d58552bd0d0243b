//! Where SAs, policies and tunnels live.

use clap::ValueEnum;

/// A home for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Dataplane {
    /// In this program: its own ESP and GRE on TUN interfaces and raw sockets.
    #[default]
    Embedded,
    /// In the Linux kernel: XFRM and ip_gre.
    Xfrm,
}

impl Dataplane {
    /// Which one, and why.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Embedded => {
                "embedded: Coati does ESP and GRE itself (the usual one; --dataplane xfrm leaves them to the kernel)"
            }
            Self::Xfrm => "xfrm: the Linux kernel does ESP and GRE (--dataplane xfrm)",
        }
    }
}
