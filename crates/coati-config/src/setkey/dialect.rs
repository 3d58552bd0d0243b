//! The two programs of this name.

/// Whose words are read and whose output is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ipsec-tools' on Linux.
    IpsecTools,
    /// ipsec-tools' on a BSD, whose kernels know neither priorities nor `fwd`: the port that the how-to uses.
    IpsecToolsBsd,
    /// /sbin/setkey of FreeBSD.
    FreeBsd,
}

impl Dialect {
    /// The names that options have for them.
    pub const NAMES: [(&str, Dialect); 3] = [
        ("ipsec-tools", Self::IpsecTools),
        ("ipsec-tools-bsd", Self::IpsecToolsBsd),
        ("freebsd", Self::FreeBsd),
    ];

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, dialect)| dialect)
    }

    /// Whether policies have priorities of their own; without them they are looked at in the order they were added.
    pub fn has_priorities(self) -> bool {
        self == Self::IpsecTools
    }

    /// Whether there are policies for packets that are forwarded, beside `in` and `out`.
    pub fn has_fwd(self) -> bool {
        self == Self::IpsecTools
    }

    /// Whether a policy may name the key of GRE.
    pub fn has_gre_keys(self) -> bool {
        self != Self::FreeBsd
    }
}

impl Default for Dialect {
    /// That of this platform.
    fn default() -> Self {
        if cfg!(target_os = "freebsd") { Self::FreeBsd } else { Self::IpsecTools }
    }
}
